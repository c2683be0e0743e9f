"""`Case`: a result of a check that asks for action, for the rules of advice."""

from __future__ import annotations

from dataclasses import dataclass

from safecompress.checks import Check, CheckResult


@dataclass(frozen=True)
class Case:
    """A result that asks for action.

    Args:
        result: how the check or control ended.
        check: the check; None of a control.
        classifies: whether the model chooses one of several classes, so that `compress` takes it.
    """

    result: CheckResult
    check: Check | None
    classifies: bool = True

    @property
    def figure(self) -> str:
        """The check's name with its figure."""
        e = self.result.estimate
        return self.result.name if e is None else f"{self.result.name} ({e.value:.3f})"
