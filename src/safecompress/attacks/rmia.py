"""`RmiaAttack`: compares a row's probability gain over references with that of a population.

Probabilities are kept as logarithms, so that they stay exact where they underflow or saturate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from safecompress.attacks.metric import minus_log, true_class_log_odds
from safecompress.attacks.registry import ATTACKS, COST_OF_REFERENCES
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Attack, Evidence, Pool, References

_BLOCK = 1 << 15
"""Number of log-odds processed at a time, 256 KB in float64, which fit the processor's cache."""

_ROUNDING = 1e-12
"""Rounding error of a log ratio relative to its two parts; closer ratios count as equal."""


class Population(NamedTuple):
    """What the attack has learned on the fit half.

    Args:
        ratios: float64 (m,), log ratios of the population's rows, ascending.
        online: whether p̄ includes references that saw the row.
    """

    ratios: Tensor
    online: bool


class MeanProbability(NamedTuple):
    """A mean probability p̄ per row, in two forms so that no precision is lost at either end.

    Args:
        log_p: float64 (n,), log p̄, exact where p̄ is small.
        rest: float64 (n,), 1 − p̄, exact where p̄ is near 1.
    """

    log_p: Tensor
    rest: Tensor

    @classmethod
    def of(cls, references: References, *, online: bool) -> MeanProbability:
        """Return ½(p_in + p_out) online, p_out offline.

        p_in is the mean over references that saw a row and p_out that over the others. A plain mean
        over all references would leak membership by itself: when each row is in exactly half of all
        training sets, fewer of the remaining references saw a row that the target saw.

        Args:
            references: log-odds of n rows, with at least one reference that did not see each row
                and, online, one that did.
            online: whether to include references that saw the row.
        """
        rows = max(1, _BLOCK // len(references.seen))
        blocks = zip(
            torch.split(references.log_odds, rows, dim=1),
            torch.split(references.seen, rows, dim=1),
            strict=True,
        )
        means = [_block_means(odds, seen, online=online) for odds, seen in blocks]
        return cls(*torch.cat(means, dim=1).unbind())

    def lifted(self, a: float) -> MeanProbability:
        """Return ½((1 + a)·p̄ + (1 − a)), the offline estimate of the mean over all references.

        Args:
            a: in [0, 1].
        """
        share = 0.5 * (1.0 + a)
        if share == 1.0:
            return self
        floor = self.log_p.new_tensor(math.log1p(-share))
        return MeanProbability(
            torch.logaddexp(self.log_p + math.log(share), floor), share * self.rest
        )

    def log(self) -> Tensor:
        """Return log p̄."""
        return torch.where(self.rest < 0.5, torch.log1p(-self.rest.clamp(max=0.5)), self.log_p)


def _block_means(odds: Tensor, seen: Tensor, *, online: bool) -> Tensor:
    """Return log p̄ and 1 − p̄, (2, n), from log-odds and which references saw a row, (k, n)."""
    outside = 1.0 / (~seen).sum(dim=0, dtype=odds.dtype)
    if online:
        inside = 1.0 / seen.sum(dim=0, dtype=odds.dtype)
        weight = 0.5 * torch.where(seen, inside, outside)
    else:
        # A reference of weight 0 gets probability 0, so that it cannot set the row's peak below.
        weight = torch.where(seen, 0.0, outside)
        odds = odds.masked_fill(seen, -torch.inf)
    # With t = exp(−|odds|), p and 1 − p are 1/(1 + t) and t/(1 + t), or the other way round. So
    # p = exp(below)/(1 + t), and taking out the largest exp(below) of a row prevents underflow.
    below = odds.clamp(max=0.0)
    peak = below.amax(dim=0)
    share = weight / (1.0 + torch.exp(-odds.abs()))
    scaled = (share * torch.exp(below - peak)).sum(dim=0)
    rest = (share * torch.exp(-odds.clamp(min=0.0))).sum(dim=0)
    return torch.stack([torch.log(scaled) + peak, rest])


@dataclass(frozen=True)
class RmiaAttack(Attack):
    """Score = fraction of population rows z with ratio(x) ≥ γ·ratio(z), ratio(x) = p_θ(x)/p̄(x).

    p is the probability of the row's label. The population is the fit half's non-members. p_in and
    p_out are the means over references that saw the row and over those that did not. Online, p̄ is
    ½(p_in + p_out); offline, ½((1 + a)·p_out + (1 − a)).

    Args:
        gamma: γ, at least 1. With few classes or a confident model most ratios lie within a factor
            of 2 of each other, so that γ = 2 makes rows tie; use 1 there.
        a: slope of p_in as a linear function of p_out, in [0, 1], for the offline attack.
        online: whether to use references that saw the row; None does where each row of the fit half
            has both references that saw it and references that did not.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Zarifzadeh et al., Low-Cost High-Power Membership Inference Attacks, ICML 2024,
    section 3; the offline p̄ is of its appendix.
    """

    name: ClassVar[str] = "rmia"
    signals: ClassVar[str] = "label"
    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    learns: ClassVar[bool] = True
    knowledge: ClassVar[str] = "shadow"

    gamma: float = 1.0
    a: float = 0.3
    online: bool | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.gamma < math.inf:
            raise ConfigError(f"gamma is {self.gamma}; expected a number of at least 1.")
        if not 0.0 <= self.a <= 1.0:
            raise ConfigError(f"a is {self.a}; expected a number in [0, 1].")

    def fit(self, known: Pool[Evidence], *, seed: int) -> Population:
        """Return the population's sorted ratios.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: not used.

        Raises:
            UndecidableError: when a row of the population has too few references.
        """
        del seed
        online = self.online
        if online is None:
            sides = (cast(References, e.references) for e in (known.members, known.nonmembers))
            online = all(map(on_both_sides, sides))
        p, mean = self._logs(known.nonmembers, online=online)
        return Population((p - mean).sort().values, online)

    def score(self, fitted: Population, evidence: Evidence) -> Tensor:
        """Return the fraction of the population that each row exceeds, float64 (n,), in [0, 1].

        Args:
            fitted: what `fit` returned.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when a row has too few references.
        """
        p, mean = self._logs(evidence, online=fitted.online)
        reach = (p - mean) - _ROUNDING * (p + mean) - math.log(self.gamma)
        exceeded = torch.searchsorted(fitted.ratios, reach, right=True)
        return exceeded.double() / len(fitted.ratios)

    def _logs(self, evidence: Evidence, *, online: bool) -> tuple[Tensor, Tensor]:
        """Return log p_θ and log p̄ of each row, float64 (n,), at most 0."""
        references = cast(References, evidence.references)
        require_references(references, online=online, attack=self.name)
        mean = MeanProbability.of(references, online=online)
        if not online:
            mean = mean.lifted(self.a)
        return -minus_log(evidence.outputs.per_row(true_class_log_odds)), mean.log()


ATTACKS.add(
    "rmia",
    RmiaAttack,
    summary="a row's probability relative to references, compared with a population's",
    reference="Zarifzadeh et al., ICML 2024",
    cost=COST_OF_REFERENCES,
)


def on_both_sides(references: References) -> bool:
    """Return whether every row was seen by some references and not seen by others.

    Args:
        references: log-odds of n rows.
    """
    seen = references.seen
    return bool((seen.any(dim=0) & ~seen.all(dim=0)).all())


def require_references(references: References, *, online: bool, attack: str) -> None:
    """Raise an error when a row lacks references for a mean probability.

    Args:
        references: log-odds of n rows.
        online: whether references that saw a row are needed, too.
        attack: name of the attack, for the error message.

    Raises:
        UndecidableError: naming how many rows lack references of one kind.
    """
    seen_by_all = references.seen.all(dim=0)
    seen_by_none = ~references.seen.any(dim=0)
    count = len(references.seen)
    if bool(seen_by_all.any()):
        raise UndecidableError(
            f"{attack}: all {count} references saw {int(seen_by_all.sum())} of "
            f"{len(references)} rows; it needs at least 1 that did not see each row. Train "
            "more references, each without a random half of all rows."
        )
    if online and bool(seen_by_none.any()):
        raise UndecidableError(
            f"{attack}: none of {count} references saw {int(seen_by_none.sum())} of "
            f"{len(references)} rows; online it needs at least 1 that saw each row. Train more "
            "references, each on a random half of all rows, or set online: false."
        )
