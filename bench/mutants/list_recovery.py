"""Mistakes in recovery and in the send journal: dead senders, lost records, old copies."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

SENDER = "kmtool/operations/sender.py"
JOURNAL = "kmtool/journal.py"
CHECK = "kmtool/operations/journal_check.py"

RECOVERY: tuple[Mutant, ...] = (
    Mutant(
        "dead_tries_stay_open",
        (Edit(SENDER, "        for attempt in left:\n", "        for attempt in left[1:]:\n"),),
        "of what a dead sender left open the first is forgotten",
        Sees.DOCTOR,
    ),
    Mutant(
        "dead_means_not_sent",
        (
            Edit(
                SENDER,
                'attempt["id"], AttemptState.INTENT, AttemptState.UNKNOWN, now',
                'attempt["id"], AttemptState.INTENT, AttemptState.REJECTED, now',
            ),
        ),
        "a try whose sender died is taken for one that never began",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "journal_forgotten",
        (Edit("kmtool/operations/send.py", "    shop.journal.append(entries)\n", ""),),
        "the journal is not written: the database has it all",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "journal_one_late",
        (
            Edit(
                JOURNAL,
                "        if not entries:\n            return\n        try:\n",
                '        entries, self._kept = getattr(self, "_kept", ()), entries\n'
                "        if not entries:\n            return\n        try:\n",
            ),
        ),
        "records are kept back and written with the next ones, to save a write",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "journal_not_forced",
        (Edit(JOURNAL, "                self._force(file)\n", ""),),
        "the journal is written but not forced to the disk before the network is touched",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "journal_not_made_whole",
        (
            Edit(SENDER, "        journal_whole.make_whole(shop, busy)\n", ""),
            Edit(
                "kmtool/operations/journal_check.py",
                "        journal_whole.make_whole(present)\n",
                "        pass\n",
            ),
        ),
        "a journal that lost records is believed as it lies",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "old_copy_sends",
        (Edit(SENDER, "        journal_check.must_not_be_older(shop)\n", ""),),
        "a database that is older than the journal sends as if it were current",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "unknown_sessions_pass",
        (
            Edit(
                CHECK,
                "        if known.get(session, 0) < n:\n",
                "        if known.get(session, n) < n:\n",
            ),
        ),
        "sessions that a copy knows nothing of do not count against it",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "sent_keys_not_counted",
        (
            Edit(
                "kmtool/operations/send.py",
                "    before = machines.count_journalled(shop.db, shop.session, len(found))"
                " if found else 0\n",
                "    before = 0\n",
            ),
        ),
        "the database does not count what a session journals",
        Sees.ENDS,
    ),
    Mutant(
        "copy_sends",
        (Edit(SENDER, "        home.must_be_home(shop)\n", ""),),
        "nobody asks whether this folder is the shop or a copy of it",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "any_place_is_home",
        (
            Edit(
                "kmtool/operations/home.py",
                "    if file.place != place and not _was_renamed(shop.config, file):\n",
                "    if file.place != place and not file.place:\n",
            ),
        ),
        "a copied folder with the same token counts as renamed",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "grace_by_the_wall_clock",
        (
            Edit(
                "kmtool/operations/waited.py",
                "        return max(began_ms, look(shop)) + wait_ms\n",
                "        return began_ms + wait_ms\n",
            ),
        ),
        "a clock that is set forward ends the time in which what was sent may still arrive",
        Sees.MONEY,
        "clocks",
    ),
)
