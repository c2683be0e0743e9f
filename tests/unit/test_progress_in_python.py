"""Progress of jobs that Python code has started: terminals, logs and notebooks."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest
from rich.console import Console

from safecompress import audit
from safecompress.display import EventDisplay, python, shown
from safecompress.events import Event
from tests.recorded_outputs import arrays, saved

STEP = {"stage": "search", "piece": "round 1 parent 1", "total": 100, "rate": 5.0, "eta": 60.0}
EVENTS = [
    Event("stage", "search: <b>two</b> rounds", {"stage": "search", "rounds": 2}),
    *[Event("progress", "p", STEP | {"done": done}) for done in range(1, 100)],
    *[
        Event("candidate", f"  r1p1c{k} rigl: accuracy 0.9", {"candidate": f"r1p1c{k}"})
        for k in range(20)
    ],
    Event("selected", "round 1 of 2: rigl chosen", {"candidate": "r1p1c1"}),
    *[Event("check", "  PASS loss.auc", {}) for _ in range(40)],
]


class Handle:
    def __init__(self) -> None:
        self.shown: list[Any] = []

    def update(self, content: Any) -> None:
        self.shown.append(content)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """Stand-ins for IPython in a notebook, of which only what is used is there."""
    handle = Handle()
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    display = types.SimpleNamespace(HTML=str, display=lambda content, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def test_a_log_gets_stages_and_choices_alone(capsys) -> None:
    heard: list[Event] = []
    with shown(True, heard.append) as listen:
        for event in EVENTS:
            listen(event)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["search: <b>two</b> rounds", "round 1 of 2: rigl chosen"]
    assert heard == EVENTS


def test_nothing_is_shown_where_it_is_not_wanted(capsys) -> None:
    heard: list[Event] = []
    with shown(False, heard.append) as listen:
        for event in EVENTS:
            listen(event)
    assert heard == EVENTS
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_what_the_command_line_shows(monkeypatch) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with shown(True, lambda event: None) as listen:
        for event in EVENTS:
            listen(event)
    assert "r1p1c19 rigl" in out.getvalue()
    assert out.getvalue().count("loss.auc") >= 40


def test_a_notebook_gets_one_line_that_changes_seldom_and_is_escaped(
    notebook: Handle, capsys, monkeypatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(python.time, "monotonic", lambda: now[0])
    with shown(True, lambda event: None) as listen:
        for event in EVENTS:
            now[0] += 0.05
            listen(event)
    assert capsys.readouterr() == ("", "")
    assert 1 < len(notebook.shown) < len(EVENTS) / 5
    assert all("<b>" not in line and "\n" not in line for line in notebook.shown)
    assert any("&lt;b&gt;two" in line and "1 min 00 s left" in line for line in notebook.shown)


def test_a_notebook_says_what_ended_a_job(notebook: Handle) -> None:
    def stop() -> None:
        with shown(True, lambda event: None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert "KeyboardInterrupt" in notebook.shown[-1]


def test_ipython_in_a_terminal_is_a_terminal(monkeypatch) -> None:
    ipython = types.SimpleNamespace(get_ipython=types.SimpleNamespace)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert isinstance(python._display(), EventDisplay)


def test_an_audit_shows_itself_in_a_notebook_unless_it_is_told_not_to(
    notebook: Handle, tmp_path
) -> None:
    file = saved(tmp_path, arrays(60))
    audit(file, progress=False)
    assert notebook.shown == []
    audit(file)
    assert notebook.shown
