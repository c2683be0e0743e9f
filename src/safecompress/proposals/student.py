"""`Student`: replace the parent by a dense student of the teachers, cut to the density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from safecompress.candidate import Candidate
from safecompress.config import Request
from safecompress.errors import ConfigError
from safecompress.proposals.over_mask import SOFT_TARGET, STUDENT, OverMask
from safecompress.proposals.registry import PROPOSALS
from safecompress.protocols import ProposalContext


@final
@dataclass(frozen=True)
class Student(OverMask):
    """Replace the parent by a dense student of the teachers, cut to the density.

    The student was trained from untrained weights on soft labels alone, so it contains nothing of
    the dense model and of no member's own label. A candidate that already descends from the
    student is not replaced again; only its mask is changed.

    Args:
        mask: the change of the mask from the second time on.

    Raises:
        ConfigError: on a `mask` that is itself a student or soft labels.
    """

    changes: ClassVar[str] = STUDENT
    refuses: ClassVar[frozenset[str]] = frozenset({STUDENT, SOFT_TARGET})

    def __post_init__(self) -> None:
        super().__post_init__()
        # The student may have the same total in other shares per layer than the parent.
        object.__setattr__(self, "keeps", "network")

    def needs(self) -> frozenset[str]:
        """Return `student`: the context must provide the student."""
        return frozenset({"student"})

    @property
    def name(self) -> str:
        """The mask's name and `student`."""
        return f"{self.mask.name} student"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the student at the parent's step, or the parent with its mask changed."""
        if parent.from_student:
            return self.mask(parent, context)
        if context.student is None:
            raise ConfigError(f"{self.name}: the context has no student; the run trains it.")
        return context.student.evolve(step=parent.step, from_student=True)


def student(*, mask: Request = "keep") -> Student:
    """Return the proposal that goes on from a dense student of the teachers.

    Args:
        mask: the proposal that changes the mask later, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or one that is no change of the mask.

    >>> student(mask="rigl").name
    'rigl student'
    """
    return Student(mask=PROPOSALS.build(mask, where="mask"))


PROPOSALS.add(
    "student",
    student,
    summary="goes on from a dense student of teachers that never saw the row: {mask: rigl}",
    reference="SELENA, Tang et al., USENIX Security 2022; Beyer et al., CVPR 2022",
    cost="the teachers and the student, once a run",
)
