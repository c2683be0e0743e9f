"""A check measures, then judges; it never raises."""

from __future__ import annotations

from dataclasses import dataclass

from safecompress.checks.conditions import Condition, Status
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import MissingEvidenceError, SafeCompressError, UndecidableError
from safecompress.protocols import Estimate


@dataclass(frozen=True)
class CheckResult:
    """How one check ended; `estimate` is None where there was nothing to measure."""

    name: str
    status: Status
    critical: bool
    condition: str
    estimate: Estimate | None
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class Check:
    """A measure, the condition it must keep, and whether the verdict depends on it."""

    name: str
    measure: Measure
    condition: Condition
    critical: bool = True

    def run(self, subject: Subject, dense: Subject | None, *, level: float) -> CheckResult:
        """Measure and judge.

        Args:
            subject: the model.
            dense: the dense model on the same rows, for relative conditions.
            level: confidence level of the interval.
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
        except Exception as error:  # third-party attacks may raise anything
            return self._without_estimate(Status.ERROR, error, watch)
        status = self.condition.judge(estimate)
        if status is Status.FAIL and not self.critical:
            status = Status.WARN
        return CheckResult(
            self.name,
            status,
            self.critical,
            str(self.condition),
            estimate,
            watch.seconds,
            "difference to the dense model" if self.condition.relative else estimate.note,
        )

    def _without_estimate(self, status: Status, error: Exception, watch: Stopwatch) -> CheckResult:
        text = str(error) if isinstance(error, SafeCompressError) else f"{error!r}"
        return CheckResult(
            self.name, status, self.critical, str(self.condition), None, watch.seconds, text
        )
