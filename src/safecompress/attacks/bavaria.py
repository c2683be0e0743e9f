"""`BavariaOnlineAttack`, `BavariaOfflineAttack`: likelihood ratios with a prior on the variance.

LiRA must choose between one variance for all rows, which is wrong for most of them, and a variance
of each row's own, which few references do not carry. A prior on the variance is between both: a row
with few references is judged by about the variance of all rows, one with many by its own. How much
the prior weighs is learned from the references, as is its variance, so there is nothing to tune.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, cast, get_args

import torch
from scipy.special import polygamma
from torch import Tensor

from safecompress.attacks.lira import LEAST_SPREAD, Gaussians
from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.registry import ATTACKS, COST_OF_REFERENCES
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Attack, Evidence, References

Predictive = Literal["student", "gaussian"]

_LEAST_WEIGHT, _LARGEST_WEIGHT = 0.1, 1e6
"""Limits of the prior's weight. At the upper one rows hardly differ from one common variance."""


class Prior(NamedTuple):
    """What is known of a row's variance of φ before its own references are read.

    Args:
        variance: the variance that the prior expects, above 0, in nats².
        weight: the number of degrees of freedom that the prior counts as, above 0.
    """

    variance: float
    weight: float

    @classmethod
    def of(cls, moments: Gaussians, *, attack: str) -> Prior:
        """Learn the prior from the moments of all rows.

        The logarithm of a row's variance scatters because each is estimated from few references,
        by a known amount, and because true variances differ. What it scatters beyond the first is
        the second, and that determines the weight.

        Args:
            moments: moments of φ over one kind of references.
            attack: name of the attack, for the error message.

        Raises:
            UndecidableError: when fewer than two rows have two of these references.

        Reference: Smyth, "Linear models and empirical Bayes methods", 2004, section 6.2.
        """
        freedom = moments.number - 1.0
        told = freedom > 0
        if int(told.sum()) < 2:
            raise UndecidableError(
                f"{attack}: fewer than 2 of {len(told)} rows have 2 references of each kind that "
                "it reads, so nothing says how far they lie apart; train more references, each "
                "on a random half of all rows."
            )
        half = 0.5 * freedom[told]
        own = (0.5 * moments.squares[told] / half).clamp(min=LEAST_SPREAD**2)
        logs = own.log() - torch.digamma(half) + half.log()
        excess = float(logs.var() - torch.polygamma(1, half).mean())
        weight = _weight_of(excess)
        variance = float(logs.mean()) + float(polygamma(0, weight / 2)) - math.log(weight / 2)
        return cls(math.exp(variance), weight)


def _weight_of(excess: float) -> float:
    """Return the weight of a prior whose log-variances scatter by `excess`, a variance."""
    # Imported here, because it takes longer than all else that this package needs of scipy.
    from scipy.optimize import brentq

    def scatter(log_weight: float) -> float:
        return float(polygamma(1, math.exp(log_weight) / 2)) - excess

    low, high = math.log(_LEAST_WEIGHT), math.log(_LARGEST_WEIGHT)
    if scatter(high) >= 0:
        return _LARGEST_WEIGHT
    if scatter(low) <= 0:
        return _LEAST_WEIGHT
    return math.exp(float(brentq(scatter, low, high, xtol=1e-12)))


class Predicted(NamedTuple):
    """The distribution of φ that references of one kind predict for each row.

    Args:
        mean: float64 (n,), in nats.
        scale: float64 (n,), in nats.
        freedom: float64 (n,), degrees of freedom of a Student's t; infinite for a Gaussian.
    """

    mean: Tensor
    scale: Tensor
    freedom: Tensor

    @classmethod
    def of(cls, moments: Gaussians, prior: Prior, predictive: Predictive) -> Predicted:
        """Return the distributions after each row's references were read.

        The variance has the prior, the mean is known from the row's references alone, so a new φ is
        t-distributed around their mean, and its variance has an additional 1/number for the mean.

        Args:
            moments: moments of φ over one kind of references, with at least one a row.
            prior: the prior of the variance.
            predictive: `gaussian` uses the posterior's variance as if it was known.
        """
        freedom = prior.weight + moments.number - 1.0
        variance = (prior.weight * prior.variance + moments.squares) / freedom
        scale = (variance * (1.0 + 1.0 / moments.number)).sqrt().clamp(min=LEAST_SPREAD)
        if predictive == "gaussian":
            freedom = torch.full_like(freedom, torch.inf)
        return cls(moments.mean, scale, freedom)

    def log_density(self, odds: Tensor) -> Tensor:
        """Return the log density at each row's φ, float64 (n,), without what all rows share.

        Args:
            odds: float64 (n,), φ in nats.
        """
        z = (odds - self.mean) / self.scale
        nu = torch.where(torch.isinf(self.freedom), 1.0, self.freedom)
        norming = torch.lgamma(0.5 * (nu + 1.0)) - torch.lgamma(0.5 * nu) - 0.5 * torch.log(nu / 2)
        student = norming - 0.5 * (nu + 1.0) * torch.log1p(z.square() / nu)
        shape = torch.where(torch.isinf(self.freedom), -0.5 * z.square(), student)
        return shape - self.scale.log()

    def sigmas(self, odds: Tensor) -> Tensor:
        """Return how many σ of a Gaussian are as unlikely to be exceeded as φ, float64 (n,).

        The number of σ is exact for a Gaussian and good to 0.04 for three degrees of freedom. It
        stays finite and increases strictly where a tail probability would round to 0 or 1.

        Args:
            odds: float64 (n,), φ in nats.

        Reference: Wallace, "Bounds on normal approximations to Student's and the chi-square
        distributions", 1959, equation 2.9.
        """
        z = (odds - self.mean) / self.scale
        nu = torch.where(torch.isinf(self.freedom), 1.0, self.freedom)
        size = (nu * torch.log1p(z.square() / nu)).sqrt() * (8.0 * nu + 1.0) / (8.0 * nu + 3.0)
        return torch.where(torch.isinf(self.freedom), z, z.sign() * size)


@dataclass(frozen=True)
class BavariaAttack(Attack):
    """A likelihood-ratio attack whose variances have a prior; authors write `survey` and `score`.

    Args:
        predictive: `student` accounts for what is unknown of a row's variance, `gaussian` does not.

    Raises:
        ConfigError: on another predictive distribution.
    """

    form: ClassVar[str] = "bavaria"
    """Name of the form; with Gaussians, `-gaussian` follows in the name."""
    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    knowledge: ClassVar[str] = "shadow"
    signals: ClassVar[str] = "label"

    predictive: Predictive = "student"

    def __post_init__(self) -> None:
        if self.predictive not in get_args(Predictive):
            known = " or ".join(get_args(Predictive))
            raise ConfigError(f"predictive is {self.predictive!r}; expected {known}.")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the form and the distribution, so that both fit into one suite."""
        return self.form if self.predictive == "student" else f"{self.form}-gaussian"

    def _moments(self, references: References, *, seen: bool) -> Gaussians:
        return Gaussians.of(references, seen=seen, least=1, attack=self.name)

    def _prior(self, references: References, *, seen: bool) -> Prior:
        return Prior.of(self._moments(references, seen=seen), attack=self.name)

    def _predicted(self, references: References, prior: Prior, *, seen: bool) -> Predicted:
        return Predicted.of(self._moments(references, seen=seen), prior, self.predictive)


@dataclass(frozen=True)
class BavariaOnlineAttack(BavariaAttack):
    """Score = log density of φ under references that saw the row − the same of those that did not.

    Every row needs a reference of each kind, and two rows need two of each.

    Reference: Brännvall, "Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA",
    arXiv 2603.11799, 2026, for normal-inverse-gamma priors and both predictive distributions. Here
    the mean has no prior, and the prior of the variance is estimated as by Smyth, 2004.
    """

    form: ClassVar[str] = "bavaria-online"

    def survey(self, references: References) -> tuple[Prior, Prior]:
        """Return the priors of references that saw a row, and of those that did not.

        Args:
            references: log-odds of all rows, members or not.

        Raises:
            UndecidableError: when references do not say how far they lie apart.
        """
        return self._prior(references, seen=True), self._prior(references, seen=False)

    def score(self, fitted: tuple[Prior, Prior], evidence: Evidence) -> Tensor:
        """Return the log likelihood ratio, float64 (n,), in nats.

        Args:
            fitted: what `survey` returned.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when a row lacks a reference of one kind.
        """
        references = cast(References, evidence.references)
        odds = evidence.outputs.per_row(true_class_log_odds)
        inside = self._predicted(references, fitted[0], seen=True)
        outside = self._predicted(references, fitted[1], seen=False)
        return inside.log_density(odds) - outside.log_density(odds)


ATTACKS.add(
    "bavaria-online",
    BavariaOnlineAttack,
    summary="likelihood ratio of references with a prior on the variance, best with few of them",
    reference="Brännvall, arXiv 2603.11799, 2026",
    cost=COST_OF_REFERENCES,
)


@dataclass(frozen=True)
class BavariaOfflineAttack(BavariaAttack):
    """Score = number of σ by which φ exceeds what references that did not see the row predict.

    Every row needs one such reference, and two rows need two.

    Reference: as of `BavariaOnlineAttack`.
    """

    form: ClassVar[str] = "bavaria-offline"

    def survey(self, references: References) -> Prior:
        """Return the prior of references that did not see a row.

        Args:
            references: log-odds of all rows, members or not.

        Raises:
            UndecidableError: when references do not say how far they lie apart.
        """
        return self._prior(references, seen=False)

    def score(self, fitted: Prior, evidence: Evidence) -> Tensor:
        """Return the number of σ, float64 (n,).

        Args:
            fitted: what `survey` returned.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when every reference saw a row.
        """
        references = cast(References, evidence.references)
        outside = self._predicted(references, fitted, seen=False)
        return outside.sigmas(evidence.outputs.per_row(true_class_log_odds))


ATTACKS.add(
    "bavaria-offline",
    BavariaOfflineAttack,
    summary="how far a row's confidence lies above references, with a prior on the variance",
    reference="Brännvall, arXiv 2603.11799, 2026",
    cost=COST_OF_REFERENCES,
)
