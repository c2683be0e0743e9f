"""`InfoRmiaAttack`: how much information about a row's label the model has beyond its references.

RMIA counts the population's rows that a row exceeds, so its score has as many values as there are
such rows. The information is continuous, needs no population and no threshold between rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor

from safecompress.attacks.metric import minus_log, true_class_log_odds
from safecompress.attacks.registry import ATTACKS, COST_OF_REFERENCES
from safecompress.attacks.rmia import MeanProbability, on_both_sides, require_references
from safecompress.errors import ConfigError
from safecompress.protocols import Attack, Evidence, References

Divergence = Literal["answer", "population"]

_BITS = 40


@dataclass(frozen=True)
class InfoRmiaAttack(Attack):
    """Score = log(p_θ / p̄) + KL(p̄ ‖ p_θ), for p of the label and p̄ of the references.

    The first term is the information about the row in the model, beyond what is expected. The
    second corrects for how far the model is from the references without the row. It is taken of
    this row's answer, label against all other classes, where the sum is (1 − p̄)·(φ − φ̄) for the
    log-odds φ, or over a population. Over a population it is one number for all rows of a model; as
    it moves no row against another, it is left out.

    Args:
        divergence: `answer` or `population`, that of which the second term is taken.
        a: slope of p_in as a linear function of p_out, in [0, 1], for the offline attack.
        online: whether to use references that saw the row; None does where each row has both
            references that saw it and references that did not.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Tao & Shokri, "Information-Theoretic Membership Inference for Granular
    Quantification of Memorization", ICLR 2026: `population` is their attack on whole records,
    `answer` their attack on one token, with the classes besides the label taken together, because
    references keep nothing but the label's log-odds.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"references"})
    knowledge: ClassVar[str] = "shadow"
    signals: ClassVar[str] = "label"

    divergence: Divergence = "answer"
    a: float = 0.3
    online: bool | None = None

    def __post_init__(self) -> None:
        if self.divergence not in get_args(Divergence):
            known = " or ".join(get_args(Divergence))
            raise ConfigError(f"divergence is {self.divergence!r}; expected {known}.")
        if not 0.0 <= self.a <= 1.0:
            raise ConfigError(f"a is {self.a}; expected a number in [0, 1].")

    @property
    def name(self) -> str:  # type: ignore[override]
        """`informia` and, where the divergence is a population's, `-population`."""
        return "informia" if self.divergence == "answer" else "informia-population"

    def survey(self, references: References) -> bool:
        """Return whether references that saw a row are used.

        Args:
            references: log-odds of all rows, members or not.
        """
        return on_both_sides(references) if self.online is None else self.online

    def score(self, fitted: bool, evidence: Evidence) -> Tensor:
        """Return the information, float64 (n,), in nats.

        Args:
            fitted: what `survey` returned.
            evidence: the target's outputs and references on n rows.

        Raises:
            UndecidableError: when a row has too few references.
        """
        references = cast(References, evidence.references)
        require_references(references, online=fitted, attack=self.name)
        mean = MeanProbability.of(references, online=fitted)
        if not fitted:
            mean = mean.lifted(self.a)
        odds = evidence.outputs.per_row(true_class_log_odds)
        if self.divergence == "population":
            return _difference(-minus_log(odds), mean.log())
        # 1 − p̄ can round to 0 only where p̄ is 1, where the sum is 0 whatever φ is.
        rest = mean.rest.clamp(min=torch.finfo(torch.float64).tiny)
        return rest * _difference(odds, mean.log() - rest.log())


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Return a − b to 40 bits of the larger: what rounding adds would order rows that tie."""
    exponent = torch.frexp(a.abs() + b.abs()).exponent
    return torch.ldexp(torch.round(torch.ldexp(a - b, _BITS - exponent)), exponent - _BITS)


ATTACKS.add(
    "informia",
    InfoRmiaAttack,
    summary="how much a model knows about a row's label beyond its references, in nats",
    reference="Tao & Shokri, ICLR 2026",
    cost=COST_OF_REFERENCES,
)
