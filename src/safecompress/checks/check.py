"""`Check` and `CheckResult`: a measure judged against a condition.

Running a check never raises: an error becomes the status of its result, so that the remaining
checks of a suite still run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from safecompress.checks.conditions import Condition, Status
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import FOREIGN, MissingEvidenceError, SafeCompressError, UndecidableError
from safecompress.protocols import Estimate
from safecompress.stats import corrected_level


@dataclass(frozen=True)
class CheckResult:
    """How one check ended.

    Args:
        name: the check's name.
        status: how it ended.
        critical: whether the verdict depends on it.
        condition: the condition in words.
        estimate: what was measured; None where measuring failed.
        seconds: wall-clock time it took.
        message: the error where measuring failed, otherwise a remark; may be empty.
        decided: False where the rows could not settle the condition; such a result is INCONCLUSIVE,
            or WARN where the check is not decisive.
        attack: name of the attack that the check measures or controls; empty where there is none.
        advice: what to do about a result other than PASS; may be empty.
        leak: whether a failure means that the model is not safe, and not only not good enough.
    """

    name: str
    status: Status
    critical: bool
    condition: str
    estimate: Estimate | None
    seconds: float
    message: str = ""
    decided: bool = True
    attack: str = ""
    advice: str = ""
    leak: bool = False


@dataclass(frozen=True)
class Check:
    """A measure and the condition that it must keep.

    Args:
        name: unique in a suite.
        measure: what is measured.
        condition: what the measure's interval must keep.
        critical: whether the verdict depends on it; a failure is a FAIL if so, otherwise a WARN.
        decisive: whether the verdict stays undecided where the rows cannot settle the condition.
            Otherwise such a result is a WARN, which the verdict's sentence names. Where the
            interval lies beyond the limit the verdict stays undecided in any case.
    """

    name: str
    measure: Measure
    condition: Condition
    critical: bool = True
    decisive: bool = True

    @property
    def tests_a_leak(self) -> bool:
        """Whether the measure is of a leak, and the largest leak would miss the condition."""
        limit = self.condition.bound if self.condition.relation == "at_most" else math.inf
        return self.measure.leak and limit < self.measure.most

    def run(
        self, subject: Subject, dense: Subject | None, *, level: float, among: int = 1
    ) -> CheckResult:
        """Measure and judge.

        A PASS needs every critical check, so each is judged at the level itself. A FAIL needs only
        one of them, so it has to hold at the level corrected for their number; a figure that misses
        its limit at the level itself only is INCONCLUSIVE, whether the check is decisive or not: a
        limit that was seen to be missed has not been kept.

        Args:
            subject: the model.
            dense: the dense model on the same rows, for relative conditions.
            level: confidence level of the interval, in (0, 1).
            among: number of critical checks that may fail the same verdict, this one included.
        """
        watch = Stopwatch()
        try:
            estimate = self.measured(subject, dense, level=level)
            status = self.condition.judge(estimate)
            doubt = ""
            if status is Status.FAIL and self.critical and among > 1:
                stricter = corrected_level(level, among)
                wider = self.measured(subject, dense, level=stricter)
                if self.condition.judge(wider) is not Status.FAIL:
                    status = Status.INCONCLUSIVE
                    doubt = (
                        f"beyond its limit at level {level:.4g}, but not at {stricter:.4g}, which "
                        f"allows for {among} checks: [{wider.low:.3f}, {wider.high:.3f}]"
                    )
        except MissingEvidenceError as error:
            return self._without_estimate(Status.NOT_RUN, error, watch)
        except UndecidableError as error:
            return self._without_estimate(Status.INCONCLUSIVE, error, watch)
        except SafeCompressError as error:
            return self._without_estimate(Status.ERROR, error, watch)
        except FOREIGN as error:  # third-party attacks may raise anything
            return self._without_estimate(Status.ERROR, error, watch)
        decided = status is not Status.INCONCLUSIVE
        waived = not decided and not self.decisive and not doubt
        if (status is Status.FAIL and not self.critical) or waived:
            status = Status.WARN
        return CheckResult(
            self.name,
            status,
            self.critical,
            str(self.condition),
            estimate,
            watch.seconds,
            "; ".join(part for part in (self._figure, estimate.note, doubt) if part),
            decided,
            estimate.attack or self._attack,
            leak=self.measure.leak,
        )

    def measured(self, subject: Subject, dense: Subject | None, *, level: float) -> Estimate:
        """Return the estimate that the condition judges.

        Args:
            subject: the model.
            dense: the dense model on the same rows, for relative conditions.
            level: confidence level of the interval, in (0, 1).

        Raises:
            MissingEvidenceError: when evidence, or the dense model of a relative condition, is
                missing.
            UndecidableError: when the figure cannot be measured on these rows.
        """
        upper = self.condition.relation == "at_most"
        if not self.condition.relative:
            measured = self.measure.limited if upper else self.measure.estimate
            return measured(subject, level=level)
        if dense is None:
            raise MissingEvidenceError(
                "the condition is relative to the dense model, and there is none."
            )
        compared = self.measure.limited_difference if upper else self.measure.difference
        return compared(subject, dense, level=level)

    def _without_estimate(
        self, status: Status, error: BaseException, watch: Stopwatch
    ) -> CheckResult:
        text = str(error) if isinstance(error, SafeCompressError) else f"{error!r}"
        decided = status is not Status.INCONCLUSIVE
        if not decided and not self.decisive:
            status = Status.WARN
        return CheckResult(
            self.name,
            status,
            self.critical,
            str(self.condition),
            None,
            watch.seconds,
            text,
            decided,
            self._attack,
            leak=self.measure.leak,
        )

    @property
    def _figure(self) -> str:
        """What the estimate is where it is not the measure's own figure."""
        return "difference to the dense model" if self.condition.relative else ""

    @property
    def _attack(self) -> str:
        """Name of the measured attack; empty where the measure is of none or of several."""
        attacks = self.measure.uses_attacks
        return attacks[0].name if len(attacks) == 1 else ""


def named_check(
    measure: Measure,
    condition: Condition,
    *,
    name: str | None = None,
    critical: bool = True,
    decisive: bool = True,
) -> Check:
    """Return a check that is called by its measure and condition where it has no name of its own.

    Args:
        measure: what is measured.
        condition: what its interval must keep.
        name: the check's name; None makes it.
        critical: whether the verdict depends on it.
        decisive: whether the verdict stays undecided where the rows cannot settle it.
    """
    return Check(name or f"{measure.name} {condition}", measure, condition, critical, decisive)
