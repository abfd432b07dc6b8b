"""Mistakes in bringing a backup back: the replay of the journal, files imported again, stock."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

REPLAY = "kmtool/operations/replay.py"
REBIND = "kmtool/operations/rebind.py"
RESTORE = "kmtool/operations/restore.py"

RESTORING: tuple[Mutant, ...] = (
    Mutant(
        "replay_forgets_release",
        (
            Edit(
                REPLAY,
                '        elif entry.kind == "RELEASE":\n',
                '        elif entry.kind == "FREE":\n',
            ),
        ),
        "a key that was taken back stays where it was once sent",
        Sees.DOCTOR,
        "pools",
    ),
    Mutant(
        "replay_leaves_keys_on_sale",
        (Edit(REPLAY, "                    _take_out(shop, key, done)\n", ""),),
        "a sent key whose order is not here yet stays on the shelf",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "replay_remembers_nothing",
        (Edit(REPLAY, "        seen_keys.remember_seen(shop.db, seen)\n", ""),),
        "what was sent for orders that are not here yet is not kept for them",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "import_claims_nothing",
        (Edit("kmtool/operations/import_keys.py", "            claim(shop, batch_id)\n", ""),),
        "a lost file that is imported again brings sold keys back into sale",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "rebound_to_another_line",
        (
            Edit(
                REBIND,
                "        line = here.get(line_no)\n",
                "        line = next(iter(here.values()), None)\n",
            ),
        ),
        "keys go back to the first line of their order, whichever they were sent for",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "rebound_is_sent_again",
        (
            Edit(
                REBIND,
                'AttemptState.INTENT, AttemptState.UNKNOWN, now, "", "sent before"',
                'AttemptState.INTENT, AttemptState.REJECTED, now, "", "sent before"',
            ),
        ),
        "after a restore the same message goes out again instead of being asked about",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "new_order_takes_new_keys",
        (
            Edit(
                REBIND,
                "    if seen_keys.any_seen(shop.db):\n        rebind(shop, order)\n",
                "    return\n",
            ),
        ),
        "an order that comes again after a restore does not ask what was sent for it",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "no_quarantine",
        (
            Edit(
                RESTORE,
                "taken, journal = _quarantine(shop), False",
                "taken, journal = 0, False",
            ),
        ),
        "without a journal the stock of the backup's day is sold on",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "cut_journal_believed",
        (
            Edit(
                RESTORE,
                "    return machines.delivered_keys(shop.db) <= {*word.sent, *word.released}\n",
                "    return bool(word)\n",
            ),
            Edit(
                "kmtool/operations/journal_check.py",
                "        journal_whole.make_whole(present)\n",
                "        pass\n",
            ),
            Edit(
                "kmtool/operations/home.py",
                "    if file is None or not shop.journal.path.exists():\n        return False\n",
                "    if file is None:\n        return True\n",
            ),
        ),
        "whatever lies at the journal's place is believed to be all of it",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "session_numbers_again",
        (
            Edit(
                REPLAY,
                "    number = max(last, machines.last_session(shop.db)) + 1\n",
                "    number = machines.last_session(shop.db) + 1\n",
            ),
        ),
        "after a restore sessions get numbers that the journal knows already",
        Sees.ENDS,
    ),
    Mutant(
        "sold_list_ignored",
        (
            Edit(
                "kmtool/operations/stock_back.py",
                "    gone = _fingerprints(shop, sold)\n",
                "    gone: set[bytes] = set()\n",
            ),
        ),
        "the quarantine opens without a look at the lists of what was sold",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "adopted_as_it_is",
        (
            Edit(
                "kmtool/operations/adopt.py",
                "settled = Settled(True) if joins else settle(shop, trusted=journal_complete)",
                "settled = Settled(True)",
            ),
        ),
        "a copy becomes the shop without being brought up to the journal",
        Sees.ENDS,
    ),
    Mutant(
        "backup_as_it_is",
        (
            Edit(
                RESTORE,
                "settled, figures = settle(shop), figures_of(shop)\n            if not keep:",
                "settled, figures = Settled(True), figures_of(shop)\n            if not keep:",
            ),
        ),
        "the backup takes the database's place as it is: what was sent since is not looked at",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "one_line_is_asked_about",
        (
            Edit(
                REBIND,
                '            if effect["reason"] != SENT_BEFORE:  # else another line of its'
                " message was here before\n                _put_on_record",
                '            if effect["reason"] == SENT_BEFORE:\n                return\n'
                "            if True:\n                _put_on_record",
            ),
        ),
        "of a message that was tried since the copy only the first line is asked about",
        Sees.DOCTOR,
        "returned",
    ),
)
