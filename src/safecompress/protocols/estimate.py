"""`Estimate`: a measured figure with its confidence interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Args:
        value, low, high: the figure and its two-sided interval at the audit's level.
        n_members, n_nonmembers: numbers of members and non-members that the figure is computed on.
        knowledge: what the attacker's thresholds are learned from: `auditor` for true memberships,
            `shadow` for reference models, `none` where no attacker is involved.
        seconds: wall time of the measurement.
        note: a sentence that a reader needs to interpret the figure; empty where none is needed.
        attack: name of the attack that the figure is of, where a measure takes the worst of
            several; otherwise empty.
        rates: the figures of the single attackers by name, where a measure takes the strongest of
            several and each is reported; otherwise empty.
        group: the group of rows that the figure is of, such as `class 1`, where a measure takes the
            worst group; otherwise empty.
    """

    value: float
    low: float
    high: float
    n_members: int
    n_nonmembers: int
    knowledge: str = "none"
    seconds: float = 0.0
    note: str = ""
    attack: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    group: str = ""
