"""Mistakes in sending: intent, journal, network, outcome, and finding out what is unclear."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

ROUTES = "kmtool/operations/routes.py"
RESOLVE = "kmtool/operations/resolve.py"
PERMIT = "kmtool/operations/permit.py"
KINDS = "kmtool/operations/kinds.py"

SENDING: tuple[Mutant, ...] = (
    Mutant(
        "unclear_is_refused",
        (
            Edit(
                ROUTES,
                "    except Unknown as error:\n"
                "        return Outcome(Result.UNKNOWN, detail=str(error))\n"
                "    except KmError as error:\n"
                "        return Outcome(Result.REJECTED, detail=str(error))\n"
                "    except Exception as error:  # noqa: BLE001  (the edge: an adapter's",
                "    except Unknown as error:\n"
                "        return Outcome(Result.RETRIABLE, detail=str(error))\n"
                "    except KmError as error:\n"
                "        return Outcome(Result.REJECTED, detail=str(error))\n"
                "    except Exception as error:  # noqa: BLE001  (the edge: an adapter's",
            ),
        ),
        "a time-out is taken for «not sent», as most HTTP clients' retries do",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "unclear_is_done",
        (
            Edit(
                ROUTES,
                "        return Outcome(Result.UNKNOWN, detail=str(error))\n"
                "    except KmError as error:\n"
                "        return Outcome(Result.REJECTED, detail=str(error))\n"
                "    except Exception as error:  # noqa: BLE001  (the edge: an adapter's",
                "        return Outcome(Result.OK, detail=str(error))\n"
                "    except KmError as error:\n"
                "        return Outcome(Result.REJECTED, detail=str(error))\n"
                "    except Exception as error:  # noqa: BLE001  (the edge: an adapter's",
            ),
        ),
        "no answer is taken for success, so that nothing is sent twice",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "adapter_bug_is_refused",
        (
            Edit(
                ROUTES,
                "        return Outcome(\n"
                '            Result.UNKNOWN, detail=told("{kind_of} in the adapter"',
                "        return Outcome(\n"
                '            Result.RETRIABLE, detail=told("{kind_of} in the adapter"',
            ),
        ),
        "an answer that cannot be read counts as «not sent», though the other side acted",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "grace_ignored",
        (
            Edit(
                RESOLVE,
                "(verdict is Verdict.NOT_DONE and asked_ms >= final_at)",
                "verdict is Verdict.NOT_DONE",
            ),
        ),
        "a probe that finds nothing is believed at once, while the other side is still at work",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "repeat_max_ignored",
        (
            Edit(
                RESOLVE,
                'rule in {Repeat.IDEMPOTENT, Repeat.REPEAT_SAFE} and effect["tries"] < tries:',
                "rule in {Repeat.IDEMPOTENT, Repeat.REPEAT_SAFE}:",
            ),
        ),
        "a route that bears a few repeats is tried until it answers",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "marker_per_try",
        (
            Edit(
                KINDS,
                '    if effect["generation"] > 1:\n        marker +=',
                '    if effect["tries"]:\n'
                "        marker = f\"{order['code']}{effect['tries']}-{parcel['n']}\"\n"
                '    if effect["generation"] > 1:\n        marker +=',
            ),
        ),
        "every try gets an id of its own: nobody can find the first one or see a repeat in it",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "text_made_anew",
        (
            Edit(
                KINDS,
                "    mark = written.get(",
                '    if effect["tries"] and not seen.parcels[effect["parcel_id"]]["parts"] > 1:\n'
                "        from kmtool.operations.messages import Templates\n"
                "        from kmtool.store import products\n\n"
                "        opened = {row['key_id']: open_key(shop, row)"
                " for row in seen.keys_of(effect)}\n"
                "        bound = [(line, [{**row, 'id': row['key_id']}"
                " for row in seen.keys_of(effect) if row['line_id'] == line['id']])"
                " for line in seen.lines_of(effect)]\n"
                "        known = products.by_sku(shop.db, sorted({row['sku']"
                " for row in seen.keys_of(effect)} | {line['sku']"
                " for line in seen.lines_of(effect)}))\n"
                "        shown = [one for line, some in bound"
                " for one in pictured.message_lines(known, line, some, opened)]\n"
                "        fresh = Templates(shop).write(order['channel'], order['number'],"
                " order['code'], shown, (1, 1))\n"
                "        written = {**written, 'subject': fresh.subject,"
                " 'text': fresh.text.text()}\n"
                "    mark = written.get(",
            ),
        ),
        "a message is rendered again for every try, with the template of today",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "other_route_after_unclear",
        (
            Edit(
                "kmtool/operations/chain.py",
                '    if any(one["state"] in {AttemptState.UNKNOWN, AttemptState.INTENT}'
                ' for one in tried):\n        return ""\n',
                "",
            ),
        ),
        "the next route takes over although an unclear try may have arrived by the first",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "fencing_off",
        (
            Edit(
                "kmtool/store/sessions.py",
                '    return bool(db.value(sql, id=session) == "live")',
                "    return db.value(sql, id=session) is not None",
            ),
        ),
        "a session counts as live as long as its row is there",
        Sees.NO_REPEAT,
    ),
    Mutant(
        "stopped_process_sends",
        (
            Edit(
                "kmtool/operations/awake.py",
                "        if now - self._moved > STOOD_STILL_S or now > until:\n"
                "            return Outcome(Result.RETRIABLE, detail=WHY)\n",
                "",
            ),
        ),
        "a process that slept between intent and network goes on as if nothing had happened",
        Sees.NO_REPEAT,
        "duel",
    ),
    Mutant(
        "no_look_before_sending",
        (
            Edit(
                "kmtool/operations/reread.py",
                '    is_fresh = limit <= order["facts_ms"] <= now + CLOCK_SLACK_MS\n',
                "    is_fresh = limit > 0\n",
            ),
        ),
        "the order is not read again before it is sent, however old its facts are",
        Sees.STOPPED,
    ),
    Mutant(
        "mode_asked_once",
        (
            Edit(
                PERMIT,
                '    return found.mode is Mode.WATCH or (asks and order["released_ms"] is None)',
                "    return False",
            ),
        ),
        "a channel that was set to watch still gets what was bound before",
        Sees.STOPPED,
    ),
    Mutant(
        "address_asked_once",
        (
            Edit(
                PERMIT,
                '    if not effect["tries"] or parcel["address_digest"] ==',
                '    if effect["id"] or parcel["address_digest"] ==',
            ),
        ),
        "a repeat goes to the buyer's new address without a person's word",
        Sees.NO_REPEAT,
    ),
)
