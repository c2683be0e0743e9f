"""`TransferOutcome`: what points crafted on a small model, or without it, do to the full one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from safecompress.attacks.transfer.masking import GradientSigns
from safecompress.errors import UndecidableError
from safecompress.stats import (
    Interval,
    accuracy_difference,
    bootstrap_interval,
    clopper_pearson,
    corrected_level,
)

MASKED_BELOW = 0.5
"""Largest ratio of white-box PGD's success on the small and on the full model at which the small
model is considered to mask its gradients."""


@dataclass(frozen=True)
class TransferOutcome:
    """The effect on the full model of points crafted on a small model, and of points without it.

    Args:
        fooled: by the attack's name, bool (n,): whether its point fools the full model, for the n
            rows that both models classify correctly.
        without: the same for the attacks of an attacker who does not hold the small model; empty
            where none ran.
        crafted_on: by the attack's name, in either group, the name of the model that an attacker
            made and that its points were crafted on; attacks on the small model itself are missing.
        white_box: fraction of these rows on which white-box PGD fools the small model, in [0, 1];
            None where the small model has no gradients.
        white_box_full: the same fraction for the full model; None where it has no gradients.
        questioned: fraction of the first rows on which a query attack fools the small model, in
            [0, 1]; measured only where the small model has gradients and the full one has none,
            else None.
        signs: what a comparison of both models' gradients shows of hidden ones; None where one of
            them has no gradients.
        points: the points of the strongest attack, float (n, …), in units.
        rows: positions of the n rows among those given, int64 (n,).
    """

    fooled: Mapping[str, Tensor]
    without: Mapping[str, Tensor]
    crafted_on: Mapping[str, str]
    white_box: float | None
    white_box_full: float | None
    questioned: float | None
    signs: GradientSigns | None
    points: Tensor = field(repr=False)
    rows: Tensor = field(repr=False)

    @cached_property
    def worst(self) -> str:
        """Name of the attack that fools the full model most often."""
        return _strongest(self.fooled)

    @cached_property
    def worst_without(self) -> str:
        """Name of the strongest attack without the small model; there must be one."""
        return _strongest(self.without)

    @property
    def floor(self) -> float:
        """Fraction of rows that the strongest attack without the small model fools, in [0, 1]."""
        return float(self.without[self.worst_without].double().mean())

    @property
    def rates(self) -> dict[str, float]:
        """The rate of every attack by its name, those without the small model last."""
        every = {**self.fooled, **self.without}
        return {name: float(fooled.double().mean()) for name, fooled in every.items()}

    @property
    def masks(self) -> tuple[str, ...]:
        """The signs that the small model masks its gradients, in words; empty without signs.

        One is that white-box PGD fools the small model less than half as often as it fools the full
        model, or, if the full model has no gradients, less than half as often as a query attack
        fools the small model. That query attacks beat gradient attacks is the usual sign of masking
        (Athalye et al., ICML 2018, section 3.1). The others are those of `GradientSigns`, which see
        a gradient that is hidden under a larger one, on a model that white-box PGD fools easily. A
        small model without gradients does not mask any.
        """
        expected = self.questioned if self.white_box_full is None else self.white_box_full
        signs = [] if self.signs is None else list(self.signs.found)
        if self.white_box is not None and self.white_box < MASKED_BELOW * (expected or 0.0):
            by = "questions" if self.white_box_full is None else "the dense one"
            signs.insert(
                0,
                f"white-box PGD fools it on {self.white_box:.0%} of the rows, {by} on "
                f"{expected or 0.0:.0%}",
            )
        return tuple(signs)

    @property
    def masked(self) -> bool:
        """Whether the small model masks its gradients, so that its rate is only a lower bound."""
        return bool(self.masks)

    @property
    def partial(self) -> bool:
        """Whether the rate is only a lower bound, because the small model has no gradients.

        An attacker who holds an exported graph can rebuild the network from it and then has
        gradients.
        """
        return self.white_box is None

    def rate(self, *, level: float) -> Interval:
        """Return the fraction of rows that the strongest attack fools, with its interval.

        The upper bound is the highest of all attacks' Clopper–Pearson bounds, which is at least
        that of the truly strongest attack. The lower bound is the highest lower bound at a level
        corrected for the number of attacks.

        Args:
            level: confidence level of the interval, in (0, 1).
        """
        counts = {name: (int(f.sum()), len(f)) for name, f in self.fooled.items()}
        corrected = corrected_level(level, len(counts))
        high = max(clopper_pearson(k, n, level=level).high for k, n in counts.values())
        low = max(clopper_pearson(k, n, level=corrected).low for k, n in counts.values())
        k, n = counts[self.worst]
        return Interval(k / n, min(low, k / n), high)

    def gain(self, *, level: float, seed: int) -> Interval:
        """Return what holding the small model adds to the rate, with its paired interval.

        That is the rate of the strongest attack minus that of the strongest without the small
        model, in [-1, 1]. The bootstrap over rows chooses both anew in every resample. The interval
        is at least as wide as Tango's for the two that are strongest on these rows, which has a
        width where hardly any row differs.

        Args:
            level: confidence level of the interval, in (0, 1).
            seed: seed of the bootstrap.

        Raises:
            UndecidableError: when no attack without the small model ran.
        """
        if not self.without:
            raise UndecidableError(
                "transfer: no attacker without the small model ran, so there is no floor."
            )
        kinds = [list(self.fooled.values()), list(self.without.values())]
        table = np.stack([f.double().numpy() for kind in kinds for f in kind], axis=1)
        first = len(kinds[0])

        def gained(samples: NDArray[np.float64]) -> NDArray[np.float64]:
            rates = samples.mean(axis=1)
            return np.asarray(rates[:, :first].max(axis=1) - rates[:, first:].max(axis=1))

        strongest = (self.fooled[self.worst], self.without[self.worst_without])
        fixed = accuracy_difference(*strongest, level=level)
        if len(table) < 2:
            return fixed
        drawn = bootstrap_interval(gained, table, level=level, seed=seed, edges=(-1, 1))
        return Interval(fixed.value, min(drawn.low, fixed.low), max(drawn.high, fixed.high))


def _strongest(fooled: Mapping[str, Tensor]) -> str:
    return max(fooled, key=lambda name: float(fooled[name].double().mean()))
