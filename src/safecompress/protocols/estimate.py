"""A figure with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Args:
        value, low, high: the figure and its two-sided interval at the audit's level.
        n_members, n_nonmembers: rows it rests on.
        knowledge: `auditor`, `shadow`, or `none` where no attacker is involved.
        seconds: time it took.
        note: what has to be known to read the figure; empty where nothing has.
    """

    value: float
    low: float
    high: float
    n_members: int
    n_nonmembers: int
    knowledge: str = "none"
    seconds: float = 0.0
    note: str = ""
