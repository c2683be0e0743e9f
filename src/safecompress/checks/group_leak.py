"""`GroupLeak`: how well attacks find the members within each group of rows.

An average over all rows hides a group that leaks wholly where the group is small, and such groups
(fraud, disease, customers who leave) are often those that matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import Tensor

from safecompress.attacks import ATTACKS
from safecompress.checks.group_findings import (
    FEWEST,
    GroupFinding,
    GroupFindings,
    findings_by,
    findings_of,
    rank_of,
)
from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.checks.suite import Suite
from safecompress.errors import FOREIGN, MissingEvidenceError, UndecidableError
from safecompress.protocols import Attack, AttackResult, Estimate, GroupColumn, Groups, Pool
from safecompress.stats import Interval, auc_difference, auc_interval

CLASS = "class"
"""Name of the attribute whose groups are the classes."""
_STANDARD_ATTACKS = ("loss", "modified-entropy", "neural")
_NAMED = 3
"""Most groups that a note names of each kind."""


def classes_of(subject: Subject) -> Pool[Groups]:
    """Return the classes of a subject's rows as groups, named where names are known.

    Args:
        subject: the model.
    """
    outputs = subject.outputs
    named = tuple(map(subject.class_named, range(outputs.members.classes)))
    columns = outputs.map(lambda o: GroupColumn(o.labels, named))
    return Pool(columns.members, columns.nonmembers)


@dataclass(frozen=True)
class _AtLevel:
    """The key under which a subject keeps the findings of a measure."""

    measure: Measure
    level: float


@dataclass(frozen=True)
class GroupLeak(Measure):
    """The two-sided AUC, max(AUC, 1 − AUC), within the group in which any attack does best.

    Its intervals hold together for all groups and attacks (Bonferroni). The value is that of the
    surest leak, the interval spans from the largest lower to the largest upper end, so a limit is
    kept only where every group keeps it, and missed where any group misses it.

    Args:
        attacks: the attacks.
        by: the attribute whose groups are judged: `class`, or a column of `Evidence.groups`.
        limit: the most that an AUC may be, by which the note names groups; None names the worst.
    """

    worse: ClassVar[Literal["higher", "lower"]] = "higher"
    most: ClassVar[float] = 1.0

    attacks: tuple[Attack, ...]
    by: str = CLASS
    limit: float | None = None

    @property
    def name(self) -> str:
        return f"{CLASS}.auc" if self.by == CLASS else f"group:{self.by}.auc"

    @property
    def requires(self) -> frozenset[str]:
        own = frozenset() if self.by == CLASS else frozenset({"groups"})
        return own.union(*(attack.requires for attack in self.attacks))

    @property
    def uses_attacks(self) -> tuple[Attack, ...]:
        return self.attacks

    def findings(self, subject: Subject, *, level: float) -> GroupFindings:
        """Return what every attack finds within every group.

        Args:
            subject: the model.
            level: confidence that no interval of any group and attack misses, in (0, 1).

        Raises:
            MissingEvidenceError: when the groups of the rows, or an attack's evidence, are missing.
            UndecidableError: when no attack can be measured on these rows.
        """
        return subject.once(
            # The limit only chooses words, so measures that differ in it share their findings.
            _AtLevel(replace(self, limit=None), level),
            lambda: findings_of(
                list(self._results(subject).values()),
                self._groups(subject),
                by=self.by,
                level=level,
            ),
        )

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        return self._estimate(self.findings(subject, level=level), watch)

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        others = self._results(dense)

        def judge(result: AttackResult, rows: Pool[Tensor], level: float) -> Interval:
            return _difference_within(result, others[result.attack], rows, level)

        results = [r for name, r in self._results(subject).items() if name in others]
        found = findings_by(results, self._groups(subject), judge, by=self.by, level=level)
        return self._estimate(found, watch, difference=True)

    def _results(self, subject: Subject) -> dict[str, AttackResult]:
        """Return the results of the attacks that these rows suffice for, by name."""
        results, reason = {}, ""
        for attack in self.attacks:
            try:
                results[attack.name] = subject.attacked_by(attack)
            except UndecidableError as error:
                reason = str(error)
        if not results:
            raise UndecidableError(f"{self.name}: no attack could be measured. {reason}")
        return results

    def _groups(self, subject: Subject) -> Pool[Groups]:
        if self.by == CLASS:
            return classes_of(subject)
        columns = subject.evidence.map(lambda e: (e.groups or {}).get(self.by))
        if columns.members is None or columns.nonmembers is None:
            known = ", ".join(subject.evidence.members.groups or {}) or "none"
            raise MissingEvidenceError(
                f"{self.name}: the groups of the rows by '{self.by}' are not known (known: {known})"
                "; name the column under group_by, or give its values as groups."
            )
        return Pool(columns.members, columns.nonmembers)

    def _estimate(
        self, found: GroupFindings, watch: Stopwatch, *, difference: bool = False
    ) -> Estimate:
        if not found.cells:
            raise UndecidableError(
                f"{self.name}: no group has {FEWEST} members and {FEWEST} non-members "
                f"({_some(found.small)})."
            )
        worst = found.surest[0]
        return Estimate(
            worst.auc,
            worst.low,
            max(cell.high for cell in found.cells),
            worst.members,
            worst.nonmembers,
            "none",
            watch.seconds,
            self._note(found, difference=difference),
            worst.attack,
            group=str(worst.group),
        )

    def _note(self, found: GroupFindings, *, difference: bool) -> str:
        worst, what = found.surest[0], "difference to dense" if difference else "AUC"
        sentences = [
            f"worst in {worst.group}: {what} {worst.figures} by {worst.attack}, "
            f"on {worst.members} members and {worst.nonmembers} non-members"
        ]
        if self.limit is not None and not difference:
            over = [cell.name for cell in found.surest if cell.low > self.limit]
            if len(over) > 1:
                sentences.append(f"above the limit: {self.by} {_some(over)}")
            if undecided := found.undecided(self.limit):
                sentences.append(f"too few rows to settle: {self.by} {_some(undecided)}")
        if found.small:
            sentences.append(f"too few rows to measure: {self.by} {_some(found.small)}")
        return "; ".join(sentences)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _difference_within(
    result: AttackResult, other: AttackResult, rows: Pool[Tensor], level: float
) -> Interval:
    """Return by how much an attack does better within a group than on another model.

    Both models' scores are read in the direction in which this model leaks. The other model's
    two-sided AUC may be larger still, so the difference is never reported too small.
    """
    own, dense = (r.scores.zip(rows, lambda s, index: s[index]) for r in (result, other))
    once = auc_interval(own.members, own.nonmembers, level=level)
    sign = 1.0 if once.value >= 0.5 else -1.0
    return auc_difference(
        sign * own.members,
        sign * own.nonmembers,
        sign * dense.members,
        sign * dense.nonmembers,
        level=level,
    )


def _group_measure(
    by: str = CLASS, attacks: Sequence[str | Mapping[str, Any]] = _STANDARD_ATTACKS
) -> GroupLeak:
    """Return how well attacks do within the group in which they do best, as a measure.

    Args:
        by: `class`, or a column that `group_by` names.
        attacks: the attacks, each a name or one name with its options.

    Raises:
        ConfigError: on an unknown attack or option.
    """
    requests = [attack if isinstance(attack, str) else dict(attack) for attack in attacks]
    return GroupLeak(tuple(ATTACKS.build(r, where="attacks") for r in requests), by)


MEASURES.add(
    "group",
    _group_measure,
    summary="how well attacks do within the worst class, or the worst group of a column",
    cost="the attacks'",
)


def group_measures_of(suite: Suite) -> tuple[GroupLeak, ...]:
    """Return the measures of the leak within groups that a suite has.

    Args:
        suite: the checks.
    """
    return tuple(c.measure for c in suite.checks if isinstance(c.measure, GroupLeak))


def worst_group(
    measures: Sequence[GroupLeak], subject: Subject, *, level: float
) -> GroupFinding | None:
    """Return the group with the surest leak that any of some measures finds; None without one.

    Args:
        measures: the measures.
        subject: the model.
        level: confidence level of the intervals, in (0, 1).
    """
    found: list[GroupFinding] = []
    for measure in measures:
        try:
            found += measure.findings(subject, level=level).surest[:1]
        except FOREIGN:  # the measure's own check reports the error
            continue
    return min(found, key=rank_of, default=None)
