"""`Patience`: how long to wait for models that other processes are training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from safecompress.run.folder import STATE

PATIENCE = 180.0
"""Seconds without a sign of life after which a lock is not waited for any longer. A machine that is
gone keeps its locks on a network file system until its lease ends, in NFSv4 by default after 90
seconds."""
_BETWEEN = 2.0
"""Seconds between two looks."""


class Patience:
    """Waits for locks, for as long as those who hold them show that they are alive.

    Args:
        cohort: the cohort's folder. A new checkpoint in a model's folder is a sign of life.
    """

    def __init__(self, cohort: Path) -> None:
        self._cohort = cohort
        self._seen: list[str] = []
        self._since = time.monotonic()

    def wait_for(self, numbers: Sequence[int]) -> bool:
        """Wait a moment, and return whether the models are worth another try.

        Args:
            numbers: the models whose folders are locked.
        """
        seen = sorted(
            f"{number}/{path.name}"
            for number in numbers
            for path in (self._cohort / f"{number:04d}" / STATE).glob("*")
        )
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        if time.monotonic() - self._since >= PATIENCE:
            return False
        time.sleep(_BETWEEN)
        return True
