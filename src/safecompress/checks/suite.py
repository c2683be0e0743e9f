"""A suite of checks and the verdict they add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safecompress.checks.check import Check, CheckResult
from safecompress.checks.conditions import Status
from safecompress.checks.measures import AttackMeasure
from safecompress.checks.subject import Subject
from safecompress.errors import ConfigError
from safecompress.registry.identity import require_distinct_names

EXIT_CODES = {Status.PASS: 0, Status.FAIL: 1, Status.INCONCLUSIVE: 3, Status.ERROR: 4}


@dataclass(frozen=True)
class Suite:
    """Checks, run in order; never aborts.

    Raises:
        ConfigError: when two checks share a name, or two different attacks do: controls, curves
            and the comparison name attacks and not checks.
    """

    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        measures = (c.measure for c in self.checks)
        attacks = [m.attack for m in measures if isinstance(m, AttackMeasure)]
        require_distinct_names(attacks, where="verdict.checks", kind="attacks")
        names = [c.name for c in self.checks]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ConfigError(
                f"verdict.checks: two checks are called '{twice[0]}'; give one of them a name."
            )

    def run(
        self,
        subject: Subject,
        dense: Subject | None,
        *,
        level: float,
        on_result: Callable[[CheckResult], None] | None = None,
    ) -> tuple[CheckResult, ...]:
        """Run every check on one model.

        Args:
            subject: the model to judge.
            dense: the dense model on the same rows, or None.
            level: confidence level of the intervals, already corrected for repeated looks.
            on_result: called after each check.
        """
        results = []
        for check in self.checks:
            result = check.run(subject, dense, level=level)
            results.append(result)
            if on_result is not None:
                on_result(result)
        return tuple(results)


def overall(results: Sequence[CheckResult]) -> Status:
    """Return what the checks add up to.

    PASS needs at least one critical check that ran, and every critical one passed. A critical
    check that could not run is an ERROR: a test that was not made is not a test that was passed.
    """
    critical = [r.status for r in results if r.critical]
    if not critical or Status.ERROR in critical or Status.NOT_RUN in critical:
        return Status.ERROR
    if Status.FAIL in critical:
        return Status.FAIL
    if Status.INCONCLUSIVE in critical:
        return Status.INCONCLUSIVE
    return Status.PASS


def corrected_level(level: float, looks: int) -> float:
    """Return the level of one interval when the sealed rows were looked at `looks` times.

    Bonferroni: that any of so many looks at this confidence misleads has a chance of 1 - level at
    most. Verdicts given before were given at their own, wider chance.

    >>> round(corrected_level(0.95, 5), 4)
    0.99
    """
    return 1.0 - (1.0 - level) / max(looks, 1)
