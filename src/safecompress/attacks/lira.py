"""`LiraOnlineAttack`, `LiraOfflineAttack`, `CalibratedAttack`: likelihood ratios from references.

All three use φ, the log-odds of the label, whose distribution over reference models is close to a
Gaussian. The fixed variance is pooled over the rows of both groups, so that members and non-members
are scored by one rule. It depends on the references only and therefore carries no information about
the target's members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.registry import ATTACKS, COST_OF_REFERENCES
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Attack, Evidence, References

Variance = Literal["fixed", "per-example"]

LEAST_SPREAD = 1e-3
"""Least standard deviation in nats: far below the differences between models, but above the
rounding of 32-bit logits. Saturated references tie, and without a floor rounding would decide the
score."""

_KINDS = {True: "saw", False: "did not see"}
_REMEDY = {
    True: "train more references, each on a random half of all rows, or use the offline attack.",
    False: "train more references, each without a random half of all rows.",
}


class Gaussians(NamedTuple):
    """Moments of φ over the references that saw a row, or over those that did not.

    Args:
        number: float64 (n,), number of these references for each row.
        mean: float64 (n,), their mean φ, in nats.
        squares: float64 (n,), the sum of squared deviations of their φ from the mean.
    """

    number: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, references: References, *, seen: bool, least: int, attack: str) -> Gaussians:
        """Return the moments over the references that saw each row, or over the others.

        Args:
            references: log-odds of n rows.
            seen: True for the references that saw a row, False for those that did not.
            least: least number of these references that every row must have.
            attack: name of the attack, for the error message.

        Raises:
            UndecidableError: when a row has fewer than `least`.
        """
        chosen = (references.seen if seen else ~references.seen).double()
        number = chosen.sum(dim=0)
        short = number < least
        if bool(short.any()):
            raise UndecidableError(
                f"{attack}: {int(short.sum())} of {len(short)} rows have fewer than {least} of "
                f"the {len(chosen)} references that {_KINDS[seen]} them; {_REMEDY[seen]}"
            )
        mean = (chosen * references.log_odds).sum(dim=0) / number
        # Squares of deviations, because the difference of two sums of squares would cancel.
        squares = (references.log_odds - mean).square_().mul_(chosen)
        return cls(number, mean, squares.sum(dim=0))

    def pooled(self) -> Tensor:
        """Return the standard deviation around each row's mean, pooled over rows, float64 ()."""
        return (self.squares.sum() / (self.number - 1.0).sum()).sqrt().clamp(min=LEAST_SPREAD)

    def own(self) -> Tensor:
        """Return each row's own standard deviation, float64 (n,)."""
        return (self.squares / (self.number - 1.0)).sqrt().clamp(min=LEAST_SPREAD)


class Spread(NamedTuple):
    """Standard deviations of φ, float64 () pooled over rows or (n,) per row, in nats.

    Args:
        inside: over references that saw a row.
        outside: over references that did not.
    """

    inside: Tensor
    outside: Tensor


@dataclass(frozen=True)
class LiraAttack(Attack):
    """A likelihood-ratio attack; authors write `score`, and `survey` for the fixed variance.

    Args:
        variance: `fixed` pools σ over rows and is better with few references; `per-example`
            estimates σ for each row and is better from about 64 references on.

    Raises:
        ConfigError: on another variance.
    """

    form: ClassVar[str] = "lira"
    """Name of the form; with a variance for each row, `-own-variance` follows in the name."""
    signals: ClassVar[str] = "label"
    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    knowledge: ClassVar[str] = "shadow"

    variance: Variance = "fixed"

    def __post_init__(self) -> None:
        if self.variance not in get_args(Variance):
            known = " or ".join(get_args(Variance))
            raise ConfigError(f"variance is {self.variance!r}; expected {known}.")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the form and the variance, so that both variances fit into one suite."""
        return self.form if self.variance == "fixed" else f"{self.form}-own-variance"

    def _moments(self, references: References, *, seen: bool) -> Gaussians:
        """Return the moments over the references that saw a row, or over those that did not.

        Raises:
            UndecidableError: when a row has too few of these references.
        """
        least = 1 if self.variance == "fixed" else 2
        return Gaussians.of(references, seen=seen, least=least, attack=self.name)

    def _pooled(self, references: References, *, seen: bool) -> Tensor:
        moments = self._moments(references, seen=seen)
        if bool((moments.number < 2).all()):
            raise UndecidableError(
                f"{self.name}: no row has 2 of the {len(references.seen)} references that "
                f"{_KINDS[seen]} it, so nothing says how far they lie apart; {_REMEDY[seen]}"
            )
        return moments.pooled()


@dataclass(frozen=True)
class LiraOnlineAttack(LiraAttack):
    """Score = log N(φ; references that saw the row) − log N(φ; references that did not).

    Every row needs references of both kinds, at least one each (`fixed`) or two (`per-example`).

    Reference: Carlini et al., S&P 2022, algorithm 1. Here the `fixed` variance is around each row's
    own mean, so that differences between rows do not widen it.
    """

    form: ClassVar[str] = "lira-online"

    def survey(self, references: References) -> Spread | None:
        """Return the fixed standard deviations; None for the variance `per-example`.

        Args:
            references: log-odds of all rows, members or not.

        Raises:
            UndecidableError: when no row has two references that saw it, or two that did not.
        """
        if self.variance == "per-example":
            return None
        return Spread(self._pooled(references, seen=True), self._pooled(references, seen=False))

    def score(self, fitted: Spread | None, evidence: Evidence) -> Tensor:
        """Return the log likelihood ratio, float64 (n,), in nats.

        Args:
            fitted: what `survey` returned.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when a row has too few references that saw it, or that did not.
        """
        references = cast(References, evidence.references)
        inside = self._moments(references, seen=True)
        outside = self._moments(references, seen=False)
        spread = fitted or Spread(inside.own(), outside.own())
        odds = evidence.outputs.per_row(true_class_log_odds)
        z_in = (odds - inside.mean) / spread.inside
        z_out = (odds - outside.mean) / spread.outside
        # (a − b)(a + b) instead of a² − b²: no cancellation at large log-odds.
        return 0.5 * (z_out - z_in) * (z_out + z_in) + torch.log(spread.outside / spread.inside)


ATTACKS.add(
    "lira-online",
    LiraOnlineAttack,
    summary="likelihood ratio of references that saw a row to references that did not",
    reference="Carlini et al., S&P 2022",
    cost=COST_OF_REFERENCES,
)


@dataclass(frozen=True)
class LiraOfflineAttack(LiraAttack):
    """Score = number of σ by which φ exceeds the mean φ of references that did not see the row.

    Every row needs at least one such reference (`fixed`) or two (`per-example`). The paper's score
    is the normal distribution function Φ of this number. Both rank rows alike, but Φ rounds to 1.0
    from 8.3 σ on, which would make the most certain members tie.

    Reference: Carlini et al., S&P 2022, section V, the offline attack.
    """

    form: ClassVar[str] = "lira-offline"

    def survey(self, references: References) -> Tensor | None:
        """Return the fixed standard deviation, float64 (); None for the variance `per-example`.

        Args:
            references: log-odds of all rows, members or not.

        Raises:
            UndecidableError: when no row has two references that did not see it.
        """
        if self.variance == "per-example":
            return None
        return self._pooled(references, seen=False)

    def score(self, fitted: Tensor | None, evidence: Evidence) -> Tensor:
        """Return the z-score, float64 (n,).

        Args:
            fitted: what `survey` returned.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when a row has too few references that did not see it.
        """
        outside = self._moments(cast(References, evidence.references), seen=False)
        spread = outside.own() if fitted is None else fitted
        return (evidence.outputs.per_row(true_class_log_odds) - outside.mean) / spread


ATTACKS.add(
    "lira-offline",
    LiraOfflineAttack,
    summary="how far a row's confidence lies above that of references that did not see it",
    reference="Carlini et al., S&P 2022",
    cost=COST_OF_REFERENCES,
)


@dataclass(frozen=True)
class CalibratedAttack(Attack):
    """Score = φ − the mean φ of references that did not see the row; one reference is enough.

    The mean measures how easy a row is. Easiness is no sign of membership, so it is subtracted.

    Reference: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference
    Attacks", ICLR 2022, here of log-odds.
    """

    name: ClassVar[str] = "calibrated"
    signals: ClassVar[str] = "label"
    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    knowledge: ClassVar[str] = "shadow"

    def score(self, fitted: None, evidence: Evidence) -> Tensor:
        """Return the difference, float64 (n,), in nats.

        Args:
            fitted: not used.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when a row has no reference that did not see it.
        """
        del fitted
        references = cast(References, evidence.references)
        outside = Gaussians.of(references, seen=False, least=1, attack=self.name)
        return evidence.outputs.per_row(true_class_log_odds) - outside.mean


ATTACKS.add(
    "calibrated",
    CalibratedAttack,
    summary="confidence relative to that of references that did not see the row; one is enough",
    reference="Watson et al., ICLR 2022",
    cost=COST_OF_REFERENCES,
)
