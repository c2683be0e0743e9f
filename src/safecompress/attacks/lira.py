"""The likelihood-ratio attack: how a row's log-odds lie where a model saw it, and where none did.

Both attacks read φ, the log-odds of the label, which is near to Gaussian over reference models.
The fixed variance is pooled over the rows of both groups, so that members and non-members are
measured by one rule; it is read off the references alone and knows nothing of the target.
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

_LEAST_SPREAD = 1e-3
"""Nats. Far below how models differ, above the rounding of 32-bit logits: references that tie, as
saturated ones do, must not turn a last digit into certainty."""

_KINDS = {True: "saw", False: "did not see"}
_REMEDY = {
    True: "train more references, each on a random half of all rows, or use the offline attack.",
    False: "train more references, each without a random half of all rows.",
}


class Gaussians(NamedTuple):
    """One kind of references, those that saw a row or those that did not; each entry is (n,).

    Args:
        number: of references of this kind that each row has, as float64.
        mean: their mean φ.
        squares: the sum of their squared distances from it.
    """

    number: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, references: References, *, seen: bool, least: int, attack: str) -> Gaussians:
        """Return the moments over the references that saw each row, or over the others.

        Args:
            references: what they say of each row.
            seen: whether those that saw a row are meant.
            least: how many of them every row needs.
            attack: who asks, for the error.

        Raises:
            UndecidableError: when a row has fewer.
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
        # Distances from the mean first: a difference of sums of squares loses its digits.
        away = (references.log_odds - mean).square_().mul_(chosen)
        return cls(number, mean, away.sum(dim=0))

    def pooled(self) -> Tensor:
        """Return the standard deviation around the rows' own means, pooled over rows; ()."""
        return (self.squares.sum() / (self.number - 1.0).sum()).sqrt().clamp(min=_LEAST_SPREAD)

    def own(self) -> Tensor:
        """Return each row's own standard deviation, float64 (n,)."""
        return (self.squares / (self.number - 1.0)).sqrt().clamp(min=_LEAST_SPREAD)


class Spread(NamedTuple):
    """The standard deviation of each kind of references, pooled over rows; float64 (), in nats."""

    inside: Tensor
    outside: Tensor


@dataclass(frozen=True)
class LiraAttack(Attack):
    """A likelihood-ratio attack; authors give `score`, and `survey` for the fixed variance.

    Args:
        variance: `fixed` pools σ over rows, better with few references; `per-example` gives each
            row its own, better from about 64 references on.

    Raises:
        ConfigError: on another variance.
    """

    name: ClassVar[str] = "lira"
    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    knowledge: ClassVar[str] = "shadow"

    variance: Variance = "fixed"

    def __post_init__(self) -> None:
        if self.variance not in get_args(Variance):
            known = " or ".join(get_args(Variance))
            raise ConfigError(f"variance is {self.variance!r}; expected {known}.")

    def _moments(self, references: References, *, seen: bool) -> Gaussians:
        """Return the moments of one kind of references.

        Raises:
            UndecidableError: when a row has too few of them.
        """
        least = 1 if self.variance == "fixed" else 2
        return Gaussians.of(references, seen=seen, least=least, attack=self.name)

    def _pooled(self, references: References, *, seen: bool) -> Tensor:
        found = self._moments(references, seen=seen)
        if bool((found.number < 2).all()):
            raise UndecidableError(
                f"{self.name}: no row has 2 of the {len(references.seen)} references that "
                f"{_KINDS[seen]} it, so nothing says how far they lie apart; {_REMEDY[seen]}"
            )
        return found.pooled()


@dataclass(frozen=True)
class LiraOnlineAttack(LiraAttack):
    """Score = log N(φ; references that saw the row) − log N(φ; references that did not).

    Every row needs references of both kinds, at least one each (`fixed`) or two (`per-example`).

    Reference: Carlini et al., S&P 2022, algorithm 1. `fixed` is here the spread of each row's
    references around their own mean, so that rows that differ from each other do not widen it.
    """

    name: ClassVar[str] = "lira-online"

    def survey(self, references: References) -> Spread | None:
        """Return the fixed standard deviations, None where every row has its own.

        Raises:
            UndecidableError: when no row has two references of one kind.
        """
        if self.variance == "per-example":
            return None
        return Spread(self._pooled(references, seen=True), self._pooled(references, seen=False))

    def score(self, fitted: Spread | None, evidence: Evidence) -> Tensor:
        """Return the log likelihood ratio, float64 (n,), in nats.

        Raises:
            UndecidableError: when a row has too few references of one kind.
        """
        references = cast(References, evidence.references)
        inside = self._moments(references, seen=True)
        outside = self._moments(references, seen=False)
        spread = fitted or Spread(inside.own(), outside.own())
        odds = evidence.outputs.per_row(true_class_log_odds)
        z_in = (odds - inside.mean) / spread.inside
        z_out = (odds - outside.mean) / spread.outside
        # A product instead of a difference of squares, whose digits are gone far out.
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
    """Score = how many σ the row's φ lies above the references that did not see it.

    Every row needs at least one of them (`fixed`) or two (`per-example`). The paper's
    score is Φ of this number. It ranks alike, but is 1.0 to the last digit from 8.3 σ on, where
    the surest members are.

    Reference: Carlini et al., S&P 2022, section V, the offline attack.
    """

    name: ClassVar[str] = "lira-offline"

    def survey(self, references: References) -> Tensor | None:
        """Return the fixed standard deviation, float64 (), None where every row has its own.

        Raises:
            UndecidableError: when no row has two references that did not see it.
        """
        if self.variance == "per-example":
            return None
        return self._pooled(references, seen=False)

    def score(self, fitted: Tensor | None, evidence: Evidence) -> Tensor:
        """Return the z-score, float64 (n,).

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
    """Score = φ − the mean φ of references that did not see the row: one reference is enough.

    How hard a row is says nothing of who trained on it, so it is taken off.

    Reference: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference
    Attacks", ICLR 2022, here of log-odds.
    """

    name: ClassVar[str] = "calibrated"
    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    knowledge: ClassVar[str] = "shadow"

    def score(self, fitted: None, evidence: Evidence) -> Tensor:
        """Return the difference, float64 (n,), in nats.

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
