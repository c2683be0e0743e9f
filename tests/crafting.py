"""Small models and rows for tests of crafted inputs."""

from __future__ import annotations

from safecompress.attacks.transfer.imagined import BALLS, CLASSES, SHAPE, RowByRow, labeled, rows

__all__ = ["BALLS", "CLASSES", "SHAPE", "RowByRow", "labeled", "rows"]
