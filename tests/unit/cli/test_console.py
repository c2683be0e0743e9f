"""What a person, a pipe and a program see of a run: the same events in each of the modes."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from safecompress.cli.streams import print_anything
from safecompress.display import console
from safecompress.display.console import EventDisplay, RunState
from safecompress.events import Event

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f]")
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def candidate(name: str, proposal: str, auc: float) -> Event:
    record = {
        "candidate": name,
        "proposal": proposal,
        "accuracy": 0.7,
        "measures": {"loss.auc": auc, "neural.auc": auc + 0.01, "loss.balanced-accuracy": 0.9},
    }
    return Event("candidate", f"  {name} {proposal}: AUC {auc}", record)


def progress(piece: str, done: int, total: int = 40) -> Event:
    data = {"stage": "s", "piece": piece, "done": done, "total": total, "rate": 99.6, "eta": 75.0}
    return Event("progress", f"{piece} {done}/{total}", data)


RUN = (
    Event("stage", "dense model", {"stage": "dense"}),
    *(progress("dense", done) for done in range(41)),
    Event("saved", "saved dense.safetensors", {"path": "dense.safetensors"}),
    Event("stage", "search: 2 rounds of 2 candidates", {"stage": "search", "rounds": 2}),
    progress("round 1 parent 1", 10),
    progress("r1p1c1/1", 40),
    candidate("r1p1c1", "rigl", 0.551),
    candidate("r1p1c2", "[b]set[/b]", 0.561),
    Event("selected", "round 1: rigl chosen", {"round": 1, "candidate": "r1p1c1"}),
    progress("r2p1c1/1", 20),
    Event("selected", "round 2: every candidate was discarded", {"round": 2, "candidate": None}),
    Event("stage", "verdict on the sealed rows", {"stage": "verdict"}),
    Event("check", "  PASS         density 0.050", {"name": "density", "value": float("nan")}),
    Event("check", "  FAIL         loss.auc 0.700", {"name": "loss.auc", "value": 0.7}),
)
TOLD = [event.text for event in RUN if event.kind != "progress"]


def watch(**mode: bool) -> None:
    with EventDisplay(**mode) as watcher:
        for event in RUN:
            watcher(event)


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """A real terminal as standard output; gives a function that returns what it was sent."""
    master, slave = pty.openpty()
    sent: list[bytes] = []

    def read() -> None:
        # Linux ends a terminal that nobody writes to any more with an error.
        try:
            while chunk := os.read(master, 65536):
                sent.append(chunk)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def finish() -> str:
        screen.close()
        reader.join()
        return b"".join(sent).decode()

    with os.fdopen(slave, "w", encoding="utf-8") as screen:
        monkeypatch.setattr("sys.stdout", screen)
        reader.start()
        yield finish
    os.close(master)


def test_a_pipe_gets_every_line_once_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    watch()
    printed = capsys.readouterr().out
    assert printed.splitlines() == TOLD
    assert CONTROL.search(printed) is None


def test_a_pipe_hears_of_progress_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    watch()
    lines = [line for line in capsys.readouterr().out.splitlines() if line not in TOLD]
    assert lines[0] == "  … dense: 38%, 100 steps/s, run: 1 min 15 s left"
    # 44 progress events a second apart.
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("stage", "rate", "after", "line"),
    [
        ("final", 1.26, 4, "75%, 1.3 steps/s, run: 52 s left, then 4 shadow models"),
        ("final", 0.4, 0, "75%, 2.5 s a step, run: 52 s left"),
        ("shadows", 0.002, 0, "75%, 8 min 20 s a model, run: 52 s left"),
    ],
)
def test_what_is_slow_is_told_in_seconds_and_shadow_models_are_told_to_come(
    stage: str,
    rate: float,
    after: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 10**6, 100))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    data = {"stage": stage, "piece": "it", "done": 3, "total": 4, "rate": rate, "eta": 52.0}
    with EventDisplay() as display:
        display(Event("progress", "it", data | {"shadows_after": after}))
    assert capsys.readouterr().out == f"  … it: {line}\n"


def test_quiet_leaves_candidates_and_progress_out(capsys: pytest.CaptureFixture[str]) -> None:
    watch(quiet=True)
    expected = [e.text for e in RUN if e.kind not in {"progress", "candidate", "note"}]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("quiet", [False, True])
def test_json_is_one_strict_object_a_line(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    watch(as_json=True, quiet=quiet)
    lines = capsys.readouterr().out.splitlines()
    read = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [line["event"] for line in read] == [event.kind for event in RUN]
    assert [line["text"] for line in read] == [event.text.strip() for event in RUN]
    assert read[-2]["value"] is None
    assert read[-1]["value"] == 0.7


def test_a_terminal_keeps_the_log_and_loses_the_live_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch) as finish:
        watch()
        sent = finish()
    lines = [line.strip() for line in re.split(r"[\r\n]+", SEQUENCE.sub("", sent))]
    for text in TOLD:
        times = sum(line == text.strip() for line in lines)
        assert times == 1, f"{text} was printed {times} times"
    assert any("round 2 of 2, r2p1c1 settles" in line and "50%" in line for line in lines)
    assert any("run: 1 min 15 s left" in line for line in lines)
    assert "best so far: rigl (r1p1c1), accuracy 0.700, strongest attack's AUC 0.561" in lines
    assert "\x1b[32m" in sent, "a passed check is green"
    assert "\x1b[1;31m" in sent, "a failed one red"
    # Both live lines are erased and the cursor is shown again.
    assert sent.rindex("\x1b[2K") > sent.rindex("loss.auc 0.700")
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")


@pytest.mark.parametrize("mode", ["quiet", "as_json"])
def test_quiet_and_json_draw_nothing_on_a_terminal(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch) as finish:
        watch(**{mode: True})
        sent = finish()
    assert "━" not in sent
    assert "\x1b[2K" not in sent
    assert ("\x1b" in sent) is (mode == "quiet"), "JSON is not colored"


def test_no_color_is_honored(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as finish:
        monkeypatch.setenv("NO_COLOR", "1")
        watch()
        sent = finish()
    assert not re.search(r"\x1b\[(?:1;)?3\dm", sent)


def interrupted() -> None:
    with EventDisplay() as watcher:
        watcher(RUN[1])
        raise KeyboardInterrupt


def test_an_interrupted_run_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as finish:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        sent = finish()
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")


@pytest.mark.parametrize(
    ("piece", "rounds", "words"),
    [
        ("dense", None, "dense"),
        ("magnitude", 6, "magnitude"),
        ("round 3 parent 1", 6, "round 3 of 6, training on"),
        ("round 3 parent 1", None, "round 3, training on"),
        ("r12p2c3/1", 20, "round 12 of 20, r12p2c3 settles"),
        ("rest", 6, "rest"),
    ],
)
def test_pieces_are_called_what_people_call_them(
    piece: str, rounds: int | None, words: str
) -> None:
    story = RunState()
    story.update(Event("stage", "search", {"stage": "search", "rounds": rounds}))
    assert story.describe(piece) == words


def test_a_closed_pipe_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as nobody:
        monkeypatch.setattr("sys.stdout", nobody)
        print_anything()
        watch()
        watch(as_json=True)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437", "latin-1", "utf-16"])
def test_whatever_is_printed_can_be(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "AUC ≤ 0.6 − dense … ok → “ö” \udcff \N{SNOWMAN} ●━"
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    print_anything()
    console.say(text)
    Console(highlight=False, soft_wrap=True).print(text)
    out.flush()
    said = raw.getvalue().decode(encoding)
    for character, plain in (("≤", "<="), ("−", "-"), ("…", "..."), ("→", "->"), ("“", '"')):
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            assert character not in said
            assert plain in said
        else:
            assert said.count(character) == 2
    assert said.count("AUC") == 2
