"""`StudentMask`: a dense student's largest weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safecompress.candidate import SoftTarget
from safecompress.compression.first_masks.cut import cut, declared
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.defenses import Scope
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart


@final
@dataclass(frozen=True)
class StudentMask(FirstMask):
    """A dense student of teachers without its smallest weights; its soft target is kept.

    The student does not depend on the dense model, and on members only through the outputs of
    teachers that were trained without them.

    Args:
        scope: whether magnitudes are compared over all layers (`global`) or in each (`layer`).
    """

    scope: Scope
    needs_teachers = True
    looks_at_members = True

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the student's weights and the mask of the largest.

        Args:
            context: gives the student's weights, and the temperature of its soft target.
        """
        weights = declared(context.student, what="student")
        target = SoftTarget(1.0, context.sparse.student.temperature)
        return FirstMaskStart(weights, cut(context, weights, scope=self.scope), soft_target=target)


def student_global() -> StudentMask:
    """Return the mask of the student's largest weights, of all layers together."""
    return StudentMask("global")


FIRST_MASKS.add(
    "student-global",
    student_global,
    summary="a dense student of teachers loses its smallest weights, compared over all layers",
    reference="SELENA, Tang et al., USENIX Security 2022; Beyer et al., CVPR 2022",
    cost="the teachers and the student",
)


def student_layer() -> StudentMask:
    """Return the mask of the student's largest weights in each layer."""
    return StudentMask("layer")


FIRST_MASKS.add(
    "student-layer",
    student_layer,
    summary="a dense student of teachers loses its smallest weights in each layer",
    reference="SELENA, Tang et al., USENIX Security 2022; Beyer et al., CVPR 2022",
    cost="the teachers and the student",
)
