"""A daemon whose connection to PostgreSQL is lost connects again and goes on as a new session."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.demo_shop import Sold
from jobs import daemon as running
from kmtool.app import open_shop
from kmtool.errors import DatabaseAway
from kmtool.operations import doctor
from kmtool.store import sessions
from kmtool.store.db import connect
from tests.jobs.shop_on_loopback import ITEM, daemon, lines, make, simulated, wait_for

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_lost_connection_does_not_end_it(tmp_path: Path, database: str) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside, database=database)
        number = outside.add_order([Sold(ITEM, 1)])
        with daemon(tmp_path) as process:
            wait_for(lambda: outside.orders[number].shipped_ms, process)
            for n in range(2, 4):
                admin = connect(database)
                admin.all(CUT)
                admin.close()
                number = outside.add_order([Sold(ITEM, 1)])
                wait_for(lambda: outside.orders[number].shipped_ms, process)  # noqa: B023
                with open_shop(config) as shop:
                    wait_for(lambda: lines(shop) == {"delivered": n}, process)  # noqa: B023
                    live = [row["id"] for row in sessions.live(shop.db)]
                    assert len(live) == 1 and live[0] >= n
            with open_shop(config) as shop:
                assert running.stop(shop).asked == 1
                assert process.wait(60) == 0
                assert [c.name for c in doctor.ledger_checks(shop) if not c.ok] == []
        told = (tmp_path / "logs" / "kmtool.log").read_text(encoding="utf-8")
        assert "was lost" in told and DatabaseAway.code == "KM-E705"
        texts = [m["text"] for o in outside.orders.values() for m in o.messages]
        assert len(texts) == len(outside.orders) == 3


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_command_says_what_happened(tmp_path: Path, database: str) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside, database=database)
        with pytest.raises(DatabaseAway) as lost, open_shop(config) as shop:
            admin = connect(database)
            admin.all(CUT)
            admin.close()
            lines(shop)
        assert lost.value.exit_code == 7
