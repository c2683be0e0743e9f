"""`Space`: the points that attacks on a pair use, in units of the input range or as embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer.embeddings import (
    AT_ONCE,
    are_tokens,
    embedded_pair,
    points_of,
    token_length,
)
from safecompress.attacks.transfer.units import UnitInputModel
from safecompress.errors import UndecidableError
from safecompress.protocols import Ball, InputRange, Inputs, Norm

RADII: Mapping[Norm, float] = {"linf": 8 / 255, "l2": 0.5}
"""The usual radii for images of 32 × 32 pixels, in units of the input range."""
EMBEDDED_RADII: Mapping[Norm, float] = {"linf": 0.1, "l2": 0.5}
"""Radii for text as fractions of `Space.scale`: in L∞ a tenth of a typical number of an embedding,
in L2 half the mean length of an embedding for the whole row."""


@dataclass(frozen=True)
class Space:
    """The points that attacks on a pair of models use, and the two models wrapped to take them.

    Args:
        full, small: the wrapped models; both take the same points.
        points: converts rows to points, float (n, …).
        scale: the size of a radius of 1 in each norm, in the numbers of a point.
        radii: the default radius in each norm, as a fraction of `scale`.
        unit: what a radius is a fraction of, in words for reports.
        text: whether points are embeddings of tokens.
        at_once: number of rows in a batch.
        low, high: the least and greatest value of a point's numbers.
        moving: which numbers of a point may change; see `Ball`.
    """

    full: nn.Module
    small: nn.Module
    points: Callable[[Inputs], Tensor]
    scale: Mapping[Norm, float]
    radii: Mapping[Norm, float]
    unit: str
    text: bool = False
    at_once: int = 256
    low: float = 0.0
    high: float = 1.0
    moving: Callable[[Tensor], Tensor] | None = None

    def ball(self, norm: Norm, radius: float | None = None) -> Ball:
        """Return the points that may be sent instead of a row.

        Args:
            norm: `linf` or `l2`.
            radius: as a fraction of `scale`, at least 0; None is the default in `radii`.
        """
        share = self.radii[norm] if radius is None else radius
        return Ball(norm, share * self.scale[norm], self.low, self.high, self.moving)


def space_of(
    full: nn.Module, small: nn.Module, inputs: Inputs, *, span: InputRange | None = None
) -> Space:
    """Return the space of a pair's points.

    For inputs that are one tensor of real numbers, points are units of the input range. For tokens,
    points are embeddings, looked up in the **full** model's table and given to both models. The
    full model's outputs on a row's own point are therefore those on the row, and all small models
    of one full model are compared on the same points in the same ball.

    This models an attacker who knows the full model's embedding table and can send embeddings in
    place of tokens, as a client of split inference can. It does not model an attacker who can only
    send text: a point need not correspond to any text, and a low rate does not mean that changed
    words cannot fool the model.

    A radius of 1 is, in L2, the mean length of an embedding in the table, for the change of all
    tokens of a row together; in L∞ it is that length over the square root of the width, the size of
    a typical number of an embedding.

    Args:
        full: the attacked model.
        small: the model the attacker holds.
        inputs: rows as both models take them.
        span: the range of real inputs; None takes the range of these rows.

    Raises:
        ModelError: when the inputs are tokens and a model does not have exactly one embedding layer
            for them, or the two layers differ in size.
        UndecidableError: on inputs of any other kind.

    Reference: adversarial points in embeddings, Miyato, Dai & Goodfellow, ICLR 2017 (there in
    training); in L2 over the whole row as there.
    """
    x = single(inputs)
    if x is not None and x.is_floating_point():
        units = span or InputRange.of_rows(x)

        def in_units(given: Inputs) -> Tensor:
            return units.units(_single(given))

        scale: Mapping[Norm, float] = {"linf": 1.0, "l2": 1.0}
        models = UnitInputModel(full, units), UnitInputModel(small, units)
        return Space(*models, in_units, scale, RADII, "the input range")
    if not are_tokens(inputs):
        raise UndecidableError(
            "points need inputs that are one tensor of real numbers, or tokens (one tensor of "
            "integers, or several with 'input_ids'); of other inputs agreement and divergence can "
            "be measured."
        )
    full_points, small_points = embedded_pair(full, small, inputs)
    length, width = token_length(full_points), full_points.layout.width
    return Space(
        full_points,
        small_points,
        lambda given: points_of(full_points, given),
        {"linf": length / math.sqrt(width), "l2": length},
        EMBEDDED_RADII,
        "the mean length of a token's embedding",
        text=True,
        at_once=AT_ONCE,
        low=-torch.inf,
        high=torch.inf,
        moving=full_points.layout.moving,
    )


def single(inputs: Inputs) -> Tensor | None:
    """Return the tensor of inputs that are one tensor, alone in a tuple or not; None for others.

    Args:
        inputs: rows as a model takes them.
    """
    if isinstance(inputs, tuple) and len(inputs) == 1:
        return inputs[0]
    return inputs if isinstance(inputs, Tensor) else None


def _single(inputs: Inputs) -> Tensor:
    x = single(inputs)
    if x is None:
        raise UndecidableError("expected one tensor of real numbers, as the rows before.")
    return x
