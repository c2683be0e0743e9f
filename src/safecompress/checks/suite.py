"""`Suite`: checks that run in order, each of which can fail at a level for all of them."""

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

        Where all checks in truth keep their limits, one or more of the critical ones fail in at
        most 1 - level of cases (Bonferroni over the critical checks). No such correction weakens a
        PASS, which needs all of them: a false one needs the check that is in truth broken to pass,
        at most (1 - level) / 2 of cases.

        Args:
            subject: the model to judge.
            dense: the dense model on the same rows, or None.
            level: confidence level of the intervals, in (0, 1), already corrected for repeated
                looks.
            on_result: called after each check.
        """
        among = sum(check.critical for check in self.checks)
        results = []
        for check in self.checks:
            result = check.run(subject, dense, level=level, among=among)
            results.append(result)
            if on_result is not None:
                on_result(result)
        return tuple(results)
