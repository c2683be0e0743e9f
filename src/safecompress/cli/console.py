"""What a person sees while a run works: a live line on a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from safecompress.cli.live import LiveProgress
from safecompress.events import Event

_PIPE_SECONDS = 15.0
_CANDIDATE = re.compile(r"(r\d+p\d+c\d+)/\d+")
_ROUND = re.compile(r"r(?:ound )?(\d+)")
_STYLES = {"stage": "bold", "selected": "bold cyan", "saved": "dim", "note": "yellow"}
_STATUS = {
    **{"PASS": "green", "FAIL": "bold red", "ERROR": "bold magenta"},
    **{"WARN": "yellow", "INCONCLUSIVE": "yellow", "NOT_RUN": "dim"},
}


class EventDisplay:
    """Shows events; use it as a context manager.

    Args:
        quiet: show stages, choices and checks, but neither candidates nor progress.
        as_json: print one JSON object a line instead, progress included.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self._quiet, self._json = quiet, as_json
        self._console = QuietPipeConsole(highlight=False, soft_wrap=True)
        self._live: LiveProgress | None = None
        self._run = RunState()
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not (self._quiet or self._json):
            self._live = LiveProgress(self._console)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event; when nobody reads any more, the run goes on unwatched."""
        try:
            self._show(event)
        except BrokenPipeError:
            mute_stdout()

    def _show(self, event: Event) -> None:
        self._run.heed(event)
        if self._json:
            print_json({"event": event.kind, "text": event.text.strip(), **event.data})
        elif event.kind == "progress":
            self._progress(event.data)
        elif not (self._quiet and event.kind in {"candidate", "note"}):
            if self._live is not None and event.kind in {"stage", "selected"}:
                # First, so that the line below is not printed over what is no longer true.
                self._live.wait(event.text if event.kind == "stage" else "", self._run.best)
            self._console.print(_styled(event))

    def _progress(self, data: Mapping[str, Any]) -> None:
        what = self._run.doing(str(data["piece"]))
        speed, eta = f"{data['rate']:.0f} steps/s", f"{duration(data['eta'])} left"
        if self._live is not None:
            self._live.show(what, done=data["done"], total=data["total"], speed=speed, eta=eta)
        elif not self._quiet and time.monotonic() - self._last_line > _PIPE_SECONDS:
            self._last_line = time.monotonic()
            share = data["done"] / max(1, data["total"])
            self._console.print(f"  … {what}: {share:.0%}, {speed}, run: {eta}", markup=False)


class RunState:
    """What the events so far add up to: where the run is, and its best candidate."""

    def __init__(self) -> None:
        self.best = ""
        self._rounds: int | None = None
        self._tested: dict[str, Mapping[str, Any]] = {}

    def heed(self, event: Event) -> None:
        """Take in one event."""
        data = event.data
        if event.kind == "stage":
            self._rounds = data.get("rounds")
        elif event.kind == "candidate":
            self._tested[str(data.get("candidate"))] = data
        elif event.kind == "selected" and (found := self._tested.get(str(data.get("candidate")))):
            self.best = _best_words(found)

    def doing(self, piece: str) -> str:
        """Return a piece of training as people call it."""
        found = _ROUND.match(piece)
        if found is None:
            return piece
        of = f" of {self._rounds}" if self._rounds else ""
        candidate = _CANDIDATE.fullmatch(piece)
        rest = f"{candidate[1]} settles" if candidate else "training on"
        return f"round {found[1]}{of}, {rest}"


def _best_words(record: Mapping[str, Any]) -> str:
    aucs = {name: v for name, v in (record.get("measures") or {}).items() if name.endswith(".auc")}
    accuracy = record.get("accuracy")
    figures = [] if accuracy is None else [f"accuracy {accuracy:.3f}"]
    if aucs:
        figures.append(f"strongest attack's AUC {max(aucs.values()):.3f}")
    return f"best so far: {record.get('proposal')} ({record['candidate']}), {', '.join(figures)}"


def _styled(event: Event) -> Text:
    """Return the event's line; colors show on terminals only, and not where NO_COLOR is set."""
    line = Text(event.text, style=_STYLES.get(event.kind, ""))
    if event.kind == "check":
        for status, style in _STATUS.items():
            line.highlight_regex(rf"^\s*{status}\b", style)
    return line


def print_json(line: Mapping[str, Any]) -> None:
    """Print one line of JSON at once.

    Raises:
        BrokenPipeError: when nobody reads any more.
    """
    sys.stdout.write(json.dumps(_plain(line), default=str, allow_nan=False) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it; what is not finite becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


class QuietPipeConsole(Console):
    """A console that reports a closed pipe instead of ending the program with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Let the caller decide: 1 would read as a failed verdict."""
        raise BrokenPipeError


def mute_stdout() -> None:
    """Send what is still printed nowhere; for `| head`, which stops reading."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def duration(seconds: float) -> str:
    """Return a length of time as people say it.

    >>> duration(75), duration(4000)
    ('1 min 15 s', '1 h 06 min')
    """
    if not math.isfinite(seconds):
        return "unknown time"
    s = int(seconds + 0.5)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02d} s"
    return f"{s // 3600} h {s % 3600 // 60:02d} min"
