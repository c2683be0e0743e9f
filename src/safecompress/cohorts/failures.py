"""`Failures`: errors of some models of a cohort, which do not end the training of the others."""

from __future__ import annotations

from safecompress.errors import BusyRunError, WorkerError

_OF_ONE_MODEL = (BusyRunError, WorkerError)
"""Errors that say nothing of other models: a lock that is not released, a process that dies."""


class Failures:
    """What ended the training of some models, gathered while the others are trained.

    No training is cut short by the error of another one. A training that has not begun is begun
    unless an error is likely to meet it, too: what diverges in one draw of the rows, or finds the
    disk full, would cost hours more for nothing.
    """

    def __init__(self) -> None:
        self._errors: list[Exception] = []

    @property
    def go_on(self) -> bool:
        """Whether further models are worth beginning."""
        return all(isinstance(error, _OF_ONE_MODEL) for error in self._errors)

    def add(self, error: Exception) -> None:
        """Note an error.

        Args:
            error: what ended the training of a model, or of several side by side.
        """
        self._errors.append(error)

    def raise_first(self) -> None:
        """Raise the first error that says most: one that meets all models before others."""
        for error in sorted(self._errors, key=lambda e: isinstance(e, _OF_ONE_MODEL)):
            raise error
