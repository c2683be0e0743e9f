"""`GroupFinding`, `GroupFindings` and `findings_of`: attacks within each group of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from torch import Tensor

from safecompress.protocols import AttackResult, Groups, Pool
from safecompress.stats import Interval, auc_interval, corrected_level, two_sided

FEWEST = 10
"""Fewest members, and fewest non-members, of a group within which an attack is measured."""

Judge: TypeAlias = Callable[[AttackResult, Pool[Tensor], float], Interval]


@dataclass(frozen=True)
class GroupFinding:
    """How well an attack does within one group.

    Args:
        by: the attribute, `class` or the name of a column.
        name: the group's name.
        code: the group's number among those of the attribute; the class for `class`.
        attack: the attack's name.
        auc: two-sided AUC, max(AUC, 1 − AUC), in [0.5, 1].
        low: lower end of its interval; all intervals of one attribute hold together.
        high: upper end.
        members: its members that were scored.
        nonmembers: its non-members that were scored.
    """

    by: str
    name: str
    code: int
    attack: str
    auc: float
    low: float
    high: float
    members: int
    nonmembers: int

    @property
    def group(self) -> str:
        """The group in words, such as `class churned`."""
        return f"{self.by} {self.name}"

    @property
    def figures(self) -> str:
        """The AUC with its interval in words, such as `.837 [.756, .895]`."""
        return f"{_digits(self.auc)} [{_digits(self.low)}, {_digits(self.high)}]"


@dataclass(frozen=True)
class GroupFindings:
    """What every attack finds within every group of one attribute.

    Args:
        cells: one finding for each group with enough rows and each attack.
        small: groups with rows but too few to be measured, as `NAME (members, non-members)`.
        groups: number of groups that have any rows or a name.
    """

    cells: tuple[GroupFinding, ...]
    small: tuple[str, ...]
    groups: int

    @cached_property
    def surest(self) -> tuple[GroupFinding, ...]:
        """One finding for each measured group, by the attack with the surest leak; worst first."""
        best: dict[int, GroupFinding] = {}
        for cell in sorted(self.cells, key=rank_of):
            best.setdefault(cell.code, cell)
        return tuple(best.values())

    def undecided(self, limit: float) -> tuple[str, ...]:
        """Return the groups whose intervals contain a limit, the highest upper end first.

        Args:
            limit: most that an AUC may be.
        """
        over = {c.code for c in self.cells if c.low > limit}
        open_ = sorted((c for c in self.cells if c.high > limit), key=lambda c: -c.high)
        return tuple(dict.fromkeys(c.name for c in open_ if c.code not in over))


def rank_of(cell: GroupFinding) -> tuple[float, float, int]:
    """Return a key that sorts findings, the surest leak first.

    Args:
        cell: the finding.
    """
    return -cell.low, -cell.auc, cell.code


def _digits(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def group_clause(worst: GroupFinding | None) -> str:
    """Return the worst group as a clause of the verdict's sentence; empty where none stands out.

    Args:
        worst: the group with the surest leak; None where none was measured.

    >>> group_clause(GroupFinding("class", "churned", 1, "loss", .837, .756, .895, 320, 310))
    'Worst in class churned: AUC .837 [.756, .895]'
    """
    if worst is None or worst.low <= 0.5:
        return ""
    return f"Worst in {worst.group}: AUC {worst.figures}"


def findings_of(
    results: Sequence[AttackResult], groups: Pool[Groups], *, by: str, level: float
) -> GroupFindings:
    """Return what attacks find within the groups of one attribute.

    Args:
        results: the results of the attacks on the same rows.
        groups: the groups of every row of the pool.
        by: name of the attribute.
        level: confidence that no interval of any group and attack misses, in (0, 1) (Bonferroni).
    """
    return findings_by(results, groups, _auc_within, by=by, level=level)


def _auc_within(result: AttackResult, rows: Pool[Tensor], level: float) -> Interval:
    scores = result.scores.zip(rows, lambda s, index: s[index])
    return two_sided(auc_interval(scores.members, scores.nonmembers, level=level))


def findings_by(
    results: Sequence[AttackResult],
    groups: Pool[Groups],
    judge: Judge,
    *,
    by: str,
    level: float,
) -> GroupFindings:
    """Return the figure that `judge` gives within every group and for every attack.

    Args:
        results: the results of the attacks on the same rows.
        groups: the group of every row of the pool.
        judge: returns the figure of an attack on the rows at given positions of its scores, with
            its interval at a level.
        by: name of the attribute.
        level: confidence that no interval of any group and attack misses, in (0, 1) (Bonferroni).
    """
    names = groups.members.names
    places = [
        (result, code, rows) for result in results for code, rows in _rows_by_group(result, groups)
    ]
    cells = []
    for result, code, rows in places:
        interval = judge(result, rows, corrected_level(level, len(places)))
        sizes = rows.map(len)
        cells.append(
            GroupFinding(
                by,
                names[code],
                code,
                result.attack,
                interval.value,
                interval.low,
                interval.high,
                sizes.members,
                sizes.nonmembers,
            )
        )
    measured = {cell.code for cell in cells}
    counts = groups.map(lambda g: [len(rows) for rows in g.positions()])
    small = tuple(
        f"{name} ({members}, {others})"
        for code, (name, members, others) in enumerate(
            zip(names, counts.members, counts.nonmembers, strict=True)
        )
        if code not in measured and members + others
    )
    return GroupFindings(tuple(cells), small, len(names))


def _rows_by_group(
    result: AttackResult, groups: Pool[Groups]
) -> Iterator[tuple[int, Pool[Tensor]]]:
    """Yield the groups with enough scored rows, and the positions of their rows in the scores."""
    if len(groups.members) != len(result.scores.members):
        groups = groups.zip(result.halves, lambda g, mask: g.take(~mask))
    split = groups.map(lambda g: g.positions())
    for code, (members, others) in enumerate(zip(split.members, split.nonmembers, strict=True)):
        if min(len(members), len(others)) >= FEWEST:
            yield code, Pool(members, others)
