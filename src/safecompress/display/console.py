"""`say`, `EventDisplay`: all that commands print, with a live line on terminals only.

Rich is imported where it is used, so that a command that prints a line need not wait for it.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from safecompress.events import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from safecompress.display.live import LiveProgress

_PIPE_SECONDS = 15.0
_CANDIDATE = re.compile(r"(r\d+p\d+c\d+)/\d+")
_ROUND = re.compile(r"r(?:ound )?(\d+)")
_STYLES = {"stage": "bold", "selected": "bold cyan", "saved": "dim", "note": "yellow"}
_STATUS = {
    **{"PASS": "green", "FAIL": "bold red", "ERROR": "bold magenta"},
    **{"WARN": "yellow", "INCONCLUSIVE": "yellow", "NOT_RUN": "dim"},
}


def say(text: str) -> None:
    """Print a line, in the encoding of standard output and flushed.

    `typer.echo` would write UTF-8 to an output that says it takes ASCII.

    Args:
        text: the line, without its end.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class EventDisplay:
    """A listener that prints events; use it as a context manager.

    Args:
        quiet: whether candidates, notes and progress are hidden.
        as_json: whether events, progress included, are printed as one JSON object a line.
        sparse: whether only stages, choices and, now and then, progress are printed.
        console: where lines are printed; standard output by default.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        as_json: bool = False,
        sparse: bool = False,
        console: Console | None = None,
    ) -> None:
        self._quiet, self._json, self._sparse = quiet, as_json, sparse
        from rich.console import Console

        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live: LiveProgress | None = None
        self._run = RunState()
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not (self._quiet or self._json):
            from safecompress.display.live import LiveProgress

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
        """Print one event.

        Args:
            event: the event.
        """
        self._run.update(event)
        if self._json:
            print_json({"event": event.kind, "text": event.text.strip(), **event.data})
        elif event.kind == "progress":
            self._progress(event.data)
        elif not (
            (self._quiet and event.kind in {"candidate", "note"})
            or (self._sparse and event.kind not in {"stage", "selected"})
        ):
            if self._live is not None and event.kind in {"stage", "selected"}:
                # The live line is updated first: printing redraws it, and it must not be stale.
                self._live.wait(event.text if event.kind == "stage" else "", self._run.best)
            self._console.print(_styled(event))

    def _progress(self, data: Mapping[str, Any]) -> None:
        what = self._run.describe(str(data["piece"]))
        unit = "model" if data["stage"] == "shadows" else "step"
        speed, eta = pace(data["rate"], unit), f"{duration(data['eta'])} left"
        if shadows := data.get("shadows_after"):
            eta += f", then {shadows} shadow models"
        if self._live is not None:
            self._live.show(what, done=data["done"], total=data["total"], speed=speed, eta=eta)
        elif not self._quiet and time.monotonic() - self._last_line > _PIPE_SECONDS:
            self._last_line = time.monotonic()
            share = data["done"] / max(1, data["total"])
            self._console.print(f"  … {what}: {share:.0%}, {speed}, run: {eta}", markup=False)


class RunState:
    """The state of a run as its events tell it: the number of rounds and the best candidate."""

    def __init__(self) -> None:
        self.best = ""
        self._rounds: int | None = None
        self._tested: dict[str, Mapping[str, Any]] = {}

    def update(self, event: Event) -> None:
        """Update the state by one event.

        Args:
            event: the event.
        """
        data = event.data
        if event.kind == "stage":
            self._rounds = data.get("rounds")
        elif event.kind == "candidate":
            self._tested[str(data.get("candidate"))] = data
        elif event.kind == "selected" and (record := self._tested.get(str(data.get("candidate")))):
            self.best = _best_words(record)

    def describe(self, piece: str) -> str:
        """Return the words for a piece of training, such as `round 1 of 4, r1p1c2 settles`.

        Args:
            piece: its name in progress events.
        """
        match = _ROUND.match(piece)
        if match is None:
            return piece
        total = f" of {self._rounds}" if self._rounds else ""
        candidate = _CANDIDATE.fullmatch(piece)
        rest = f"{candidate[1]} settles" if candidate else "training on"
        return f"round {match[1]}{total}, {rest}"


def _best_words(record: Mapping[str, Any]) -> str:
    aucs = {name: v for name, v in (record.get("measures") or {}).items() if name.endswith(".auc")}
    accuracy = record.get("accuracy")
    figures = [] if accuracy is None else [f"accuracy {accuracy:.3f}"]
    if aucs:
        figures.append(f"strongest attack's AUC {max(aucs.values()):.3f}")
    return f"best so far: {record.get('proposal')} ({record['candidate']}), {', '.join(figures)}"


def _styled(event: Event) -> Text:
    """Return the event's line; colors show on terminals only, and not where NO_COLOR is set."""
    from rich.text import Text

    line = Text(event.text, style=_STYLES.get(event.kind, ""))
    if event.kind == "check":
        for status, style in _STATUS.items():
            line.highlight_regex(rf"^\s*{status}\b", style)
    return line


def print_json(line: Mapping[str, Any]) -> None:
    """Print one line of JSON and flush it, so that a reading program gets it at once.

    Args:
        line: the object; numbers that are not finite become null.
    """
    sys.stdout.write(json_text(line) + "\n")
    sys.stdout.flush()


def json_text(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return a document as JSON, with what is no type of JSON as text.

    Args:
        document: the object; numbers that are not finite become null.
        indent: spaces of each level; None writes one line in ASCII.
    """
    return json.dumps(
        _plain(document),
        default=str,
        allow_nan=False,
        indent=indent,
        ensure_ascii=indent is None,
    )


def _plain(value: Any) -> Any:
    """Return `value` in types of JSON; numbers that are not finite become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def pace(rate: float, unit: str) -> str:
    """Return a speed in words.

    Args:
        rate: units in a second, above 0.
        unit: what is counted, in the singular.

    >>> pace(99.6, "step"), pace(1.26, "step"), pace(0.0125, "model")
    ('100 steps/s', '1.3 steps/s', '1 min 20 s a model')
    """
    if rate >= 1:
        return f"{rate:.{0 if rate >= 10 else 1}f} {unit}s/s"
    return f"{duration(1 / rate)} a {unit}" if rate < 0.1 else f"{1 / rate:.1f} s a {unit}"


def duration(seconds: float) -> str:
    """Return a length of time in words.

    Args:
        seconds: the length; unknown where it is not finite.

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
