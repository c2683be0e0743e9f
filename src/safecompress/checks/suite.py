"""`Suite` and `corrected_level`: checks that run in order, at a level for repeated looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safecompress.checks.check import Check, CheckResult
from safecompress.checks.conditions import Status
from safecompress.checks.subject import Subject
from safecompress.errors import ConfigError
from safecompress.registry.identity import require_distinct_names

EXIT_CODES = {Status.PASS: 0, Status.FAIL: 1, Status.INCONCLUSIVE: 3, Status.ERROR: 4}


@dataclass(frozen=True)
class Suite:
    """Checks that run in order; an error in one does not stop the others.

    Args:
        checks: the checks, in the order in which they run.

    Raises:
        ConfigError: when two checks share a name, or two different attacks do. Controls, curves
            and the comparison refer to attacks by name, so a shared name would be ambiguous.
    """

    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        attacks = [attack for check in self.checks for attack in check.measure.uses_attacks]
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
            level: confidence level of the intervals, in (0, 1), already corrected for repeated
                looks.
            on_result: called after each check.
        """
        results = []
        for check in self.checks:
            result = check.run(subject, dense, level=level)
            results.append(result)
            if on_result is not None:
                on_result(result)
        return tuple(results)


def corrected_level(level: float, looks: int) -> float:
    """Return the level of one interval when several models were judged on the same sealed rows.

    Bonferroni: with `looks` intervals at the returned level, the chance that any of them misses its
    true value is at most 1 - level. Earlier verdicts are not corrected after the fact.

    Args:
        level: confidence level of one single look, in (0, 1).
        looks: distinct models judged on these rows so far, this one included; 0 counts as 1.

    >>> round(corrected_level(0.95, 5), 4)
    0.99
    """
    return 1.0 - (1.0 - level) / max(looks, 1)
