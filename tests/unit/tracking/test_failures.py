"""A tracker that fails, hangs or is missing costs a note and no result."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from safecompress.config import TrackersConfig, load_section
from safecompress.errors import ConfigError
from safecompress.events import Event
from safecompress.tracking import Job, Results, checked_trackers, tracking
from safecompress.tracking import following as module
from safecompress.tracking.secrets import redacted
from safecompress.tracking.tracker import Ending, Point, Tracker, flat

JOB = Job("compress", "run", {"seed": 1}, None, {"version": "1"})
RESULTS = Results({"a": 1.0}, {"b": "c"}, "text", [])
CALLS = ("begin", "log", "results", "end")


class Fake(Tracker):
    """Notes its calls, and raises or hangs in one of them."""

    def __init__(self, *, bad: str = "", error: BaseException | None = None) -> None:
        self.bad, self.error, self.calls = bad, error, []
        self.go_on = threading.Event()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.bad and self.error is not None:
            raise self.error
        if name == self.bad:
            self.go_on.wait(20)

    def begin(self, job: Job, *, earlier: str | None) -> str | None:
        self._call("begin")
        return None

    def log(self, points: Sequence[Point]) -> None:
        self._call("log")

    def results(self, results: Results) -> None:
        self._call("results")

    def end(self, ending: Ending) -> None:
        self._call("end")
        self.calls.append(ending)


def followed(fake: Fake, monkeypatch: pytest.MonkeyPatch, *, raised: Any = None) -> list[Event]:
    heard: list[Event] = []
    monkeypatch.setattr(module, "_make", lambda options, folder: fake)
    data = {"stage": "dense", "losses": {"dense": 0.5}, "lr": 0.1, "done": 3}
    with tracking(["mlflow"], JOB, heard.append) as tracked:
        tracked(Event("progress", "p", data))
        if raised is not None:
            raise raised
        tracked.results(lambda: RESULTS)
    return heard


def test_a_tracker_gets_everything_in_order(monkeypatch) -> None:
    fake = Fake()
    heard = followed(fake, monkeypatch)
    assert fake.calls == ["begin", "log", "results", "end", "finished"]
    assert [event.kind for event in heard] == ["progress"]


@pytest.mark.parametrize("bad", CALLS)
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), SystemExit(1), ConnectionError("no"), ValueError()]
)
def test_one_that_fails_anywhere_is_named_in_one_note(bad: str, error: Any, monkeypatch) -> None:
    heard = followed(Fake(bad=bad, error=error), monkeypatch)
    assert [event.kind for event in heard] == ["progress", "note"]
    assert "tracker mlflow failed" in heard[1].text
    assert type(error).__name__ in heard[1].text


@pytest.mark.parametrize("bad", CALLS)
def test_one_that_hangs_holds_nothing_up_for_long(bad: str, monkeypatch) -> None:
    monkeypatch.setitem(module.PATIENCE, "finished", 0.05)
    fake = Fake(bad=bad)
    heard = followed(fake, monkeypatch)
    fake.go_on.set()
    assert "not taken everything" in heard[-1].text


@pytest.mark.parametrize(
    ("raised", "ending"), [(KeyboardInterrupt(), "interrupted"), (OSError("x"), "failed")]
)
def test_it_is_told_how_a_job_ended(raised: Any, ending: str, monkeypatch) -> None:
    fake = Fake()
    with pytest.raises(type(raised)):
        followed(fake, monkeypatch, raised=raised)
    assert fake.calls == ["begin", "log", "end", ending]


def test_results_that_cannot_be_read_cost_no_result(monkeypatch) -> None:
    heard: list[Event] = []
    monkeypatch.setattr(module, "_make", lambda options, folder: Fake())
    with tracking(["mlflow"], JOB, heard.append) as tracked:
        tracked.results(lambda: {}["checks"])
    assert "KeyError" in heard[0].text


def test_secrets_of_the_environment_and_of_addresses_are_hidden(monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abcdefgh")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789")
    text = "abcdefgh at https://me:word@host/x with 0123456789"
    assert redacted(text) == "*** at https://***@host/x with ***"
    error = RuntimeError(text)
    heard = followed(Fake(bad="begin", error=error), monkeypatch)
    assert "abcdefgh" not in heard[1].text
    assert "word" not in heard[1].text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["mlfow"], "trackers"),
        (["csv", "csv"], "twice"),
        ([{"mlflow": {"url": "x"}}], "url"),
        ([{"mlflow": {}, "wandb": {}}], "one tracker"),
        ([{}], "one tracker"),
        ([{"mlflow": {"uri": "https://me:word@host"}}], "MLFLOW_TRACKING_PASSWORD"),
        ("mlflow", "list of names"),
        (3, "list of names"),
        (["csv"], "give `out`"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        checked_trackers(given, folder=None)
    assert "word@" not in str(refused.value)


def test_one_whose_package_is_missing_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'safecompress\[wandb\]'"):
        checked_trackers(["wandb"], folder=Path())


def test_settings_become_texts_without_empty_ones() -> None:
    nested = {"a": {"b": {"c": 1}, "d": None}, "e": [], "f": False, "g": ["x"]}
    assert flat(nested) == {"a.b.c": "1", "f": "False", "g": "['x']"}


def test_a_stored_configuration_reads_back() -> None:
    given = {"trackers": ["csv", {"wandb": {"project": "p"}}]}
    config = load_section(TrackersConfig, given, where="x")
    again = load_section(TrackersConfig, config.model_dump(mode="json"), where="x")
    assert checked_trackers(again.trackers, folder=Path()) == again.trackers
