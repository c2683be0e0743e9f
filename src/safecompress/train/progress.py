"""`Progress`, `Reporter`: reports about running training, rare enough not to slow it down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """How far a stage of training is.

    Args:
        stage: name of the stage.
        step: steps of the stage done.
        total: steps of the stage.
        loss: mean loss of the steps since the last report.
        rate: rows per second since the last report.
    """

    stage: str
    step: int
    total: int
    loss: float
    rate: float


OnProgress: TypeAlias = Callable[[Progress], None]
"""Receives the reports of a stage."""


class Reporter:
    """Calls `callback` at most once in `interval` seconds, however many calls train a stage.

    Args:
        callback: receives the reports; None for no reports.
        stage: name of the stage.
        total: steps of the stage.
        rows: rows per step.
        interval: shortest time between two reports, in seconds.
    """

    def __init__(
        self,
        callback: OnProgress | None,
        *,
        stage: str,
        total: int,
        rows: int,
        interval: float = 0.2,
    ) -> None:
        self._callback, self._stage, self._total = callback, stage, total
        self._rows, self._interval = rows, interval
        self._last = self._since = time.perf_counter()
        self._done = 0

    def begin(self) -> None:
        """Start measuring the rate of one call of training."""
        self._since, self._done = time.perf_counter(), 0

    def due(self) -> bool:
        """Whether `interval` seconds have passed since the last report."""
        return time.perf_counter() - self._last >= self._interval

    def report(self, losses: Tensor, *, step: int) -> None:
        """Report the steps done since the last report.

        Args:
            losses: float32 (steps,), losses of all steps since `begin`.
            step: steps of the stage done.
        """
        now = time.perf_counter()
        self._last = now
        recent = losses[self._done :]
        if self._callback is not None and len(recent):
            self._callback(
                Progress(
                    stage=self._stage,
                    step=step,
                    total=self._total,
                    loss=float(recent.mean()),
                    rate=len(recent) * self._rows / max(now - self._since, 1e-9),
                )
            )
        self._since, self._done = now, len(losses)
