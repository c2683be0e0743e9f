"""`Standard` and `STANDARDS`: limits that a published standard asks of a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

StandardName = Literal["aisvs"]


@dataclass(frozen=True)
class Standard:
    """Limits after a standard, and what else it asks for.

    Args:
        title: the standard with its version and the requirement's number.
        max_auc: most that any attack's AUC may be, over all rows and within every class and group,
            in [0.5, 1].
        max_tpr: pairs (TPR, FPR): the most members that any attack may find at few false positives.
        kinds: fewest kinds of attack (`Attack.signals`) that have to run.
        beyond: what it asks that no verdict on one model can show, as a clause.
    """

    title: str
    max_auc: float
    max_tpr: tuple[tuple[float, float], ...]
    kinds: int
    beyond: str


STANDARDS: Mapping[StandardName, Standard] = {
    "aisvs": Standard(
        title="OWASP AISVS 1.0, requirement 11.2.5",
        max_auc=0.55,
        max_tpr=((0.02, 0.01), (0.002, 0.001)),
        kinds=2,
        beyond="every released version of the model tested together",
    )
}
"""By name.

`aisvs`: The requirement's research page (C11.2 of the release of 2026-07-15) reads "does not exceed
random guessing" as an AUC below .55 and true-positive rates near the baseline at few false
positives, within subpopulations, too, by several attacks and beside a blind baseline. What *near*
is, is read here as at most twice the false-positive rate.
"""
STANDARD_HELP = (
    "A published standard whose limits count beside your own, the stricter first: `aisvs` is OWASP "
    "AISVS 1.0, 11.2.5: AUC at most 0.55 over all rows and within every class and group, and at "
    "most twice as many members found at 1 % and 0.1 % false positives as guessing finds, all of "
    "which the rows must settle. The verdict then says what of the requirement it is evidence for. "
    "Left out, no standard is followed."
)
"""What the option `standard` does, for the sections that have it."""
