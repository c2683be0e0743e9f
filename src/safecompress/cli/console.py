"""What a person sees while a run works: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import os
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from safecompress.events import Event

_PIPE_SECONDS = 15.0


class Watcher:
    """Shows events; use it as a context manager.

    Args:
        quiet: show stages, choices and checks, but neither candidates nor progress.
        as_json: print one JSON object a line instead, progress included.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self._quiet, self._json = quiet, as_json
        self._console = QuietPipeConsole(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not (self._quiet or self._json):
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn(
                    "{task.percentage:>3.0f}%  {task.fields[speed]}  run: {task.fields[eta]}"
                ),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event; when nobody reads any more, the run goes on unwatched."""
        try:
            self._show(event)
        except BrokenPipeError:
            mute_stdout()

    def _show(self, event: Event) -> None:
        if self._json:
            line = {"event": event.kind, "text": event.text.strip(), **event.data}
            sys.stdout.write(json.dumps(line, default=str) + "\n")
            sys.stdout.flush()
        elif event.kind == "progress":
            self._progress(event)
        elif not (self._quiet and event.kind in {"candidate", "note"}):
            self._console.print(event.text, markup=False)

    def _progress(self, event: Event) -> None:
        data = event.data
        speed, eta = f"{data['rate']:.0f} steps/s", f"{duration(data['eta'])} left"
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", speed="", eta="")
            self._bar.update(
                self._task,
                description=f"{data['piece']}",
                completed=data["done"],
                total=data["total"],
                speed=speed,
                eta=eta,
            )
        elif not self._quiet and time.monotonic() - self._last_line > _PIPE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(f"  … {event.text}, {eta}", markup=False)


class QuietPipeConsole(Console):
    """A console that reports a closed pipe instead of ending the program with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Let the caller decide: 1 would read as a failed verdict."""
        raise BrokenPipeError


def mute_stdout() -> None:
    """Send what is still printed nowhere; for `| head`, which stops reading."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def duration(seconds: float) -> str:
    """Return a length of time as people say it.

    >>> duration(75), duration(4000)
    ('1 min 15 s', '1 h 06 min')
    """
    s = int(seconds + 0.5)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02d} s"
    return f"{s // 3600} h {s % 3600 // 60:02d} min"
