"""Helpers shared by the tests."""

from __future__ import annotations

import os


def calibrating() -> bool:
    """Whether laws run at full counts (`make calibrate`)."""
    return os.environ.get("SAFECOMPRESS_CALIBRATE") == "1"


def count(small: int, full: int) -> int:
    """Return how often to repeat a law: `small` in `make test`, `full` in `make calibrate`."""
    return full if calibrating() else small
