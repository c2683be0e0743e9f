"""`Shipping`: whether a file may be shipped, by its run's verdict and its own tests.

A file is judged twice: it must be *faithful*, which means that no comparison tells it from the
model it was made of, and that model must have passed. One status stands for both, so that a
faithful file of a model that failed is a FAIL as the model is.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from safecompress.checks import CheckResult, Status, overall
from safecompress.verdicts.sentence import listed

_WORST_FIRST = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.PASS)
"""A decided FAIL stays one, whatever could not be tested besides."""
_FAILED = frozenset({Status.FAIL, Status.ERROR})


def worst(*statuses: Status) -> Status:
    """Return the worst of some verdicts: FAIL, then ERROR, INCONCLUSIVE and PASS.

    Args:
        statuses: at least one of these four.

    >>> print(worst(Status.PASS, Status.ERROR), worst(Status.FAIL, Status.ERROR))
    ERROR FAIL
    """
    return min(statuses, key=_WORST_FIRST.index)


@dataclass(frozen=True)
class Shipping:
    """The verdict on a file.

    Args:
        run: the verdict of its run.
        run_sentence: the same in words.
        run_steps: what that verdict says to do next.
        retest: what the run's checks, as far as a file answers them, add up to on the file.
        comparisons: the comparisons of the file with the model.
        limits: the limits on size and latency.
        size: bytes of the file.
        allow_failed: whether a faithful file of a failed model is put in place all the same.
    """

    run: Status
    run_sentence: str
    run_steps: tuple[str, ...]
    retest: Status
    comparisons: tuple[CheckResult, ...]
    limits: tuple[CheckResult, ...]
    size: int
    allow_failed: bool

    @property
    def faithful(self) -> bool | None:
        """Whether the file is the model; None where the comparisons could not decide it."""
        status = overall(self.comparisons)
        return None if status is Status.INCONCLUSIVE else status is Status.PASS

    @property
    def own(self) -> Status:
        """The status of the comparisons and the limits."""
        return overall((*self.comparisons, *self.limits))

    @property
    def status(self) -> Status:
        """The status of the file: the worst of its run's verdict and of its own tests.

        The repeated checks lack the controls and the attacks with shadow models, and count one more
        look, so they can add a failure but cannot take away one, nor undo a decision.
        """
        repeated = (self.retest,) if self.retest in _FAILED else ()
        return worst(self.run, self.own, *repeated)

    @property
    def failed(self) -> bool:
        """Whether the model failed or was not judged, in its run or as it is in the file."""
        return self.run in _FAILED or self.retest in _FAILED

    @property
    def shipped(self) -> bool:
        """Whether the file is put in place."""
        return self.own not in _FAILED and (self.allow_failed or not self.failed)

    @property
    def despite(self) -> bool:
        """Whether the file is put in place although its model failed."""
        return self.shipped and self.failed

    @property
    def sentence(self) -> str:
        """The status in plain words."""
        size = f"{self.size:,} bytes"
        if self.own in _FAILED:
            return f"Not shipped: {self._own_failure()}. The model: {self.run_sentence}"
        how = self._faithfulness()
        if not self.shipped:
            return f"Not shipped, because the model failed. {self._why()} The file is {how}."
        if self.despite:
            return f"Shipped although it failed: {self._why()} {size}, {how}."
        return f"{size}, {how}. The model: {self.run_sentence}"

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What to do about it, a sentence each; empty after a PASS."""
        if self.status is Status.PASS:
            return ()
        steps = []
        if self.own is not Status.PASS:
            steps += self._own_steps()
        if self.run is not Status.PASS:
            steps += self.run_steps or ("Judge the run again, and export it once it has passed.",)
        elif self.retest in _FAILED:
            steps.append(
                "Export a format that rounds less (e.g. onnx), because the model passed and the "
                "file does not."
            )
        if self.failed and not self.shipped and self.own not in _FAILED:
            steps.append(
                "Only to look at it, a file of a failed model is written with --allow-failed "
                "(allow_failed=True); its card then says that it failed."
            )
        return tuple(steps)

    def _why(self) -> str:
        """Return the sentence of the run, or on the repeated checks if these alone failed."""
        if self.run in _FAILED:
            return self.run_sentence
        return f"Its checks, repeated on the file, end in {self.retest}."

    def _faithfulness(self) -> str:
        if self.faithful:
            return "faithful to the model: no check tells the two apart"
        undecided = self._among(self.comparisons, {Status.INCONCLUSIVE})
        return f"as far as could be decided, the model; undecided: {listed(undecided)}"

    def _own_failure(self) -> str:
        unlike, over = (
            self._among(results, _FAILED | {Status.NOT_RUN})
            for results in (self.comparisons, self.limits)
        )
        parts = []
        if unlike or not self.comparisons:
            names = listed(unlike) or "no check ran"
            parts.append(f"the file is not shown to be faithful to the model ({names})")
        if over:
            parts.append(f"it misses its limits ({listed(over)})")
        return " and ".join(parts)

    def _own_steps(self) -> list[str]:
        broken = _FAILED | {Status.NOT_RUN, Status.INCONCLUSIVE}
        unlike = self._among(self.comparisons, broken)
        over = self._among(self.limits, broken)
        steps = []
        if unlike or not self.comparisons:
            steps.append(
                "Export a format that rounds less, such as onnx (fp32) or onnx-sparse, because "
                f"this file is not shown to be the model: {listed(unlike) or 'no check ran'}."
            )
        if over:
            steps.append(
                "Take a smaller or faster format (`safecompress list formats`), lower "
                f"sparse.density, or set another limit: {listed(over)}."
            )
        return steps

    @staticmethod
    def _among(results: Sequence[CheckResult], statuses: Set[Status]) -> list[str]:
        return [r.name for r in results if r.critical and r.status in statuses]
