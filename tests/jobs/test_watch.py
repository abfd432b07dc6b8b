"""What the daemon's main thread looks after: deadlines, heartbeats, a clock that jumps."""

from __future__ import annotations

from jobs.daemon import Daemon
from kmtool.clock import ManualClock
from kmtool.operations import alerts, sender
from kmtool.shop import Shop
from kmtool.store import jobs, sessions

MINUTE_MS = 60_000


def late(shop: Shop) -> list[str]:
    return [one.subject for one in alerts.listing(shop, None).alerts if one.code == "job_late"]


def test_a_job_over_its_deadline_is_told_until_it_ends(shop: Shop, clock: ManualClock) -> None:
    with sender.sending(shop, "run") as mine:
        watched = Daemon(shop.config, clock)
        watched._session = mine.session
        with shop.db.tx():
            run_id = jobs.start(shop.db, "sync", mine.session, clock.now_ms())
        watched._at_work["sync"] = (clock.monotonic(), run_id)
        clock.advance(9 * MINUTE_MS)
        watched._beat(mine)
        assert late(shop) == []
        clock.advance(2 * MINUTE_MS)
        watched._beat(mine)
        assert late(shop) == ["sync"]
        assert mine.session is not None
        row = sessions.get(shop.db, mine.session)
        assert row is not None and row["heartbeat_ms"] == clock.now_ms()
        beat = shop.db.value("SELECT heartbeat_ms FROM job_runs WHERE id = :id", id=run_id)
        assert beat == clock.now_ms()
        watched._at_work.clear()
        watched._beat(mine)
        assert late(shop) == []


def test_a_jump_of_the_clock_is_put_on_record(shop: Shop, clock: ManualClock) -> None:
    watched = Daemon(shop.config, clock)
    drift = shop.now_ms() - shop.clock.monotonic() * 1000
    assert watched._note_jump(shop, drift) == drift
    assert watched._note_jump(shop, drift - 50_000) == drift
    assert shop.db.value("SELECT count(*) FROM audit WHERE action = 'clock_jump'") == 0
    watched._note_jump(shop, drift - 3_600_000)
    detail = shop.db.value("SELECT detail FROM audit WHERE action = 'clock_jump'")
    assert detail == "3600 s"
