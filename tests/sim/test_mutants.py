"""The seeded bugs fit the program as it is: each applies exactly once, compiles, changes code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.mutants import DoesNotFit, Edit, Mutant, applied, files_of
from bench.mutants.catalog import MUTANTS
from bench.mutants.run import mutated

ROOT = Path(__file__).resolve().parents[2]
FEWEST = 40


def test_there_are_enough_of_them_and_each_has_a_name() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) >= FEWEST
    assert len(set(names)) == len(names)
    assert all(mutant.why and mutant.edits for mutant in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_compiles_and_changes_the_program(mutant: Mutant) -> None:
    for name, text in files_of(mutant, ROOT).items():
        before = ast.dump(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        assert ast.dump(ast.parse(text)) != before, f"{name} is as it was"
        compile(text, name, "exec")


def test_an_old_text_that_stands_nowhere_or_twice_is_an_error() -> None:
    with pytest.raises(DoesNotFit, match="found 0 times"):
        applied("one two", Edit("a.py", "three", "four"))
    with pytest.raises(DoesNotFit, match="found 2 times"):
        applied("one one", Edit("a.py", "one", "four"))


def test_two_edits_of_one_file_are_both_made(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\ntwo = 2\n", encoding="utf-8")
    edits = (Edit("a.py", "= 1", "= 10"), Edit("a.py", "= 2", "= 20"))
    mutant = Mutant("both", edits, "", MUTANTS[0].sees)
    assert files_of(mutant, tmp_path) == {"a.py": "one = 10\ntwo = 20\n"}


def test_a_copy_is_as_before_when_the_mutant_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\n", encoding="utf-8")
    mutant = Mutant("one", (Edit("a.py", "= 1", "= 2"),), "", MUTANTS[0].sees)
    with mutated(tmp_path, mutant):
        assert (tmp_path / "a.py").read_text(encoding="utf-8") == "one = 2\n"
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == "one = 1\n"
