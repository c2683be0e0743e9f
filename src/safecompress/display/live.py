"""`LiveProgress`: the line under the log on a terminal, with progress and the best candidate."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text


class LiveProgress(Progress):
    """A progress bar with the best candidate so far below it; both disappear at the end.

    Args:
        console: the terminal that the log is printed to.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
        )
        self._best, self._eta = "", ""
        self._only = self.add_task("starting", total=None, figures="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar, and the best candidate where there is one."""
        yield self.make_tasks_table(self.tasks)
        # The base class's constructor calls this method before `_best` is set.
        if best := getattr(self, "_best", ""):
            yield Text(f"  {best}", style="dim", no_wrap=True, overflow="ellipsis")

    def show(self, what: str, *, done: int, total: int, speed: str, eta: str) -> None:
        """Show the progress of a piece of training.

        Args:
            what: the piece, in words.
            done: its steps so far.
            total: its steps in all.
            speed: the speed of training, in words.
            eta: the time left of the whole run, in words.
        """
        self._eta = f"run: {eta}"
        figures = f"{done / max(1, total):.0%}  {speed}  {self._eta}"
        if what != self.tasks[0].description:
            self.reset(self._only, total=total, description=what)
        self.update(self._only, completed=done, total=total, figures=figures)

    def wait(self, what: str, best: str) -> None:
        """Show work of unknown length, so that the progress of earlier work does not stay.

        Args:
            what: the work, in words; empty keeps the words that are shown.
            best: the best candidate so far, in words.
        """
        self._best = best
        if what:
            self.reset(self._only, total=None, description=what, figures=self._eta)
        self.refresh()
