"""`shown`: the progress of a job that Python code has started, in terminals, logs and notebooks.

It goes to standard error, so that what a program prints stays its own.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from safecompress.display.console import EventDisplay, RunState, duration
from safecompress.events import Event, Listener

_NOTEBOOK_SECONDS = 0.5
"""Shortest time between two updates of a notebook's line."""


@contextmanager
def shown(progress: bool, listen: Listener) -> Iterator[Listener]:
    """Show the events of a block, and pass them on.

    Args:
        progress: whether to show them.
        listen: receives every event.
    """
    if not progress:
        yield listen
        return
    with _display() as display:

        def both(event: Event) -> None:
            display(event)
            listen(event)

        yield both


def _display() -> AbstractContextManager[Listener]:
    handle = _notebook_line()
    if handle is not None:
        return NotebookLine(handle)
    # Imported here, because commands that print a line import this module and need no Rich.
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return EventDisplay(console=console, sparse=not console.is_terminal)


def _notebook_line() -> Any:
    """Return a piece of a notebook's output that can be changed; None outside of notebooks."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    return display(HTML(""), display_id=True)


class NotebookLine:
    """A listener that changes one line of a notebook; use it as a context manager.

    Args:
        handle: the piece of output, as `IPython.display.display` returns it.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._run = RunState()
        self._stage = self._now = ""
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._now = "" if error is None else f"ended by {type(error).__name__}"
        self._show()

    def __call__(self, event: Event) -> None:
        """Show one event, unless the line has just changed.

        Args:
            event: the event.
        """
        self._run.update(event)
        if event.kind == "progress":
            data = event.data
            share = data["done"] / max(1, data["total"])
            what = self._run.describe(str(data["piece"]))
            self._now = f"{what}: {share:.0%}, {duration(data['eta'])} left"
        elif event.kind == "stage":
            self._stage, self._now = event.text, ""
        else:
            self._now = event.text.strip()
        if time.monotonic() - self._last >= _NOTEBOOK_SECONDS:
            self._show()

    def _show(self) -> None:
        from IPython.display import HTML

        self._last = time.monotonic()
        parts = [part for part in (self._stage, self._now, self._run.best) if part]
        self._handle.update(HTML(html.escape(" · ".join(parts))))
