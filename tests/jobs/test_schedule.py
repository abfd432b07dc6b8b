"""Times of jobs as people write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs import catalog
from jobs.schedule import Daily, Every, parse
from kmtool.config import Config
from kmtool.errors import ConfigError, UnknownSetting

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("2m", Every(120_000)),
        (" 90s ", Every(90_000)),
        ("03:30", Daily(3, 30)),
        ("3：30", Daily(3, 30)),
        ("03:30 mon-fri", Daily(3, 30, WEEKDAYS)),
        ("03:30  Mon-Fri", Daily(3, 30, WEEKDAYS)),
        ("23:59 sat,sun", Daily(23, 59, ("sat", "sun"))),
        ("06:00 fri-mon", Daily(6, 0, ("mon", "fri", "sat", "sun"))),
        ("06:00 monday,wed", Daily(6, 0, ("mon", "wed"))),
        ("off", None),
    ],
)
def test_a_time_is_understood(text: str, schedule: object) -> None:
    assert parse(text, "jobs.sync") == schedule


NONSENSE = ("", "soon", "25:00", "12:60", "5", "0s", "10ms", "03:30 foo", "-1m", "03:30 ,")


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_names_the_setting_and_how_to_write_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "jobs.sync")
    assert "jobs.sync" in str(caught.value)
    assert '"03:30 mon-fri"' in caught.value.next_step()


@pytest.mark.parametrize("text", ["2m", "90s", "03:30", "23:05 sat,sun", "1d", "2h"])
def test_a_time_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse(text, "x")) == text


def test_the_settings_change_the_times(tmp_path: Path) -> None:
    config = Config(path=tmp_path / "kmtool.toml")
    assert catalog.schedules(config)["sync"] == Every(60_000)
    assert catalog.schedules(config)["backup"] == Daily(4, 30)
    other = replace(config, jobs={"sync": "5m", "backup": "03:30", "stock": "off"})
    assert catalog.schedules(other)["sync"] == Every(300_000)
    assert catalog.schedules(other)["backup"] == Daily(3, 30)
    assert catalog.is_off(other, "stock") and not catalog.is_off(config, "stock")


def test_an_unknown_job_names_the_nearest(tmp_path: Path) -> None:
    config = Config(path=tmp_path / "kmtool.toml", jobs={"bakup": "03:30"})
    with pytest.raises(UnknownSetting) as caught:
        catalog.schedules(config)
    assert "jobs.backup" in str(caught.value)
