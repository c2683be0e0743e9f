"""The line that lives under the log on a terminal: what is being trained, how far, what is best."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text


class LiveProgress(Progress):
    """One bar, and under it the best candidate so far; both vanish when it stops.

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
        # The first call comes from the parent's constructor.
        if best := getattr(self, "_best", ""):
            yield Text(f"  {best}", style="dim", no_wrap=True, overflow="ellipsis")

    def show(self, what: str, *, done: int, total: int, speed: str, eta: str) -> None:
        """Show how far a piece of training is.

        Args:
            what: the piece.
            done: its steps so far.
            total: all of its steps.
            speed: of training.
            eta: what is left of the whole run.
        """
        self._eta = f"run: {eta}"
        figures = f"{done / max(1, total):.0%}  {speed}  {self._eta}"
        if what != self.tasks[0].description:
            self.reset(self._only, total=total, description=what)
        self.update(self._only, completed=done, total=total, figures=figures)

    def wait(self, what: str, best: str) -> None:
        """Show that something of unknown length goes on: nothing stale stays on the screen.

        Args:
            what: what goes on; empty keeps what is shown.
            best: the best candidate so far.
        """
        self._best = best
        if what:
            self.reset(self._only, total=None, description=what, figures=self._eta)
        self.refresh()
