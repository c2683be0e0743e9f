"""`Check` and `CheckResult`: a measure judged against a condition.

Running a check never raises: an error becomes the status of its result, so that the remaining
checks of a suite still run.
"""

from __future__ import annotations

from dataclasses import dataclass

from safecompress.checks.conditions import Condition, Status
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import FOREIGN, MissingEvidenceError, SafeCompressError, UndecidableError
from safecompress.protocols import Estimate


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
            Otherwise such a result is a WARN, which the verdict's sentence names.
    """

    name: str
    measure: Measure
    condition: Condition
    critical: bool = True
    decisive: bool = True

    def run(self, subject: Subject, dense: Subject | None, *, level: float) -> CheckResult:
        """Measure and judge.

        Args:
            subject: the model.
            dense: the dense model on the same rows, for relative conditions.
            level: confidence level of the interval, in (0, 1).
        """
        watch = Stopwatch()
        try:
            if self.condition.relative:
                if dense is None:
                    raise MissingEvidenceError(
                        "the condition is relative to the dense model, and there is none."
                    )
                estimate = self.measure.difference(subject, dense, level=level)
            else:
                estimate = self.measure.estimate(subject, level=level)
        except MissingEvidenceError as error:
            return self._without_estimate(Status.NOT_RUN, error, watch)
        except UndecidableError as error:
            return self._without_estimate(Status.INCONCLUSIVE, error, watch)
        except SafeCompressError as error:
            return self._without_estimate(Status.ERROR, error, watch)
        except FOREIGN as error:  # third-party attacks may raise anything
            return self._without_estimate(Status.ERROR, error, watch)
        status = self.condition.judge(estimate)
        decided = status is not Status.INCONCLUSIVE
        if (status is Status.FAIL and not self.critical) or (not decided and not self.decisive):
            status = Status.WARN
        return CheckResult(
            self.name,
            status,
            self.critical,
            str(self.condition),
            estimate,
            watch.seconds,
            _message(estimate, relative=self.condition.relative),
            decided,
            estimate.attack or self._attack,
            leak=self.measure.leak,
        )

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
    def _attack(self) -> str:
        """Name of the measured attack; empty where the measure is of none or of several."""
        attacks = self.measure.uses_attacks
        return attacks[0].name if len(attacks) == 1 else ""


def _message(estimate: Estimate, *, relative: bool) -> str:
    """Return what has to be known to read a figure."""
    said = ["difference to the dense model"] if relative else []
    return "; ".join([*said, *([estimate.note] if estimate.note else [])])
