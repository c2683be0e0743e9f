"""Where the points of a pair move: in units of the input range, or in embeddings of tokens."""

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
"""Of text: a tenth of every token's own size, or half a token's length in the whole row."""


@dataclass(frozen=True)
class Space:
    """Where the points of a pair move, and the two models as they take them.

    Args:
        full, small: the models; both take the same points.
        points: turns rows into points, float (n, …).
        scale: what a radius of 1 is in each norm, in numbers of a point.
        radii: the usual radii, in that scale.
        unit: what a radius is a share of, in words.
        text: whether points are embeddings of tokens.
        at_once: rows in a batch.
        low, high: where points may lie.
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
        """Return what may be sent in a row's place.

        Args:
            norm: `linf` or `l2`.
            radius: as a share of `unit`; None is the usual one.
        """
        share = self.radii[norm] if radius is None else radius
        return Ball(norm, share * self.scale[norm], self.low, self.high, self.moving)


def space_of(
    full: nn.Module, small: nn.Module, inputs: Inputs, *, span: InputRange | None = None
) -> Space:
    """Return the space of a pair's points.

    Of one tensor of real numbers, points are units of the input range. Of tokens they are
    embeddings, looked up in the **full** model's table, and both models are given the same ones. So
    the full model says of a row's own point exactly what it says of the row, and all its siblings
    are compared on the same points in the same ball. The attacker modeled so may hand the full
    model embeddings in place of tokens, and knows its table: a client of split inference holds it.
    Nobody who can send nothing but text is that attacker, no point stands for a text that could be
    read, and a low rate is no promise about changed words.

    A radius of 1 is, in L2, the mean length of a vector in the table, to be spread over all tokens
    of a row; in L∞ that length over the root of the width, the size of a typical number in it.

    Args:
        full: the model attacked.
        small: the model the attacker holds.
        inputs: rows as both models take them.
        span: range of real inputs; None takes what the rows span.

    Raises:
        ModelError: when the inputs are tokens and a model puts them into no embedding layer, or the
            two layers differ in size.
        UndecidableError: on inputs of any other kind.

    Reference: adversarial points in embeddings, Miyato, Dai & Goodfellow, ICLR 2017 (there in
    training); in L2 over the whole row as there.
    """
    x = single(inputs)
    if x is not None and x.is_floating_point():
        units = span or InputRange.of_rows(x)

        def in_units(given: Inputs) -> Tensor:
            return units.units(_single(given))

        one: Mapping[Norm, float] = {"linf": 1.0, "l2": 1.0}
        models = UnitInputModel(full, units), UnitInputModel(small, units)
        return Space(*models, in_units, one, RADII, "the input range")
    if not are_tokens(inputs):
        raise UndecidableError(
            "points need inputs that are one tensor of real numbers, or tokens (one tensor of "
            "integers, or several with 'input_ids'); of other inputs agreement and divergence can "
            "be measured."
        )
    theirs, ours = embedded_pair(full, small, inputs)
    length, width = token_length(theirs), theirs.layout.width
    return Space(
        theirs,
        ours,
        lambda given: points_of(theirs, given),
        {"linf": length / math.sqrt(width), "l2": length},
        EMBEDDED_RADII,
        "the mean length of a token's embedding",
        text=True,
        at_once=AT_ONCE,
        low=-torch.inf,
        high=torch.inf,
        moving=theirs.layout.moving,
    )


def single(inputs: Inputs) -> Tensor | None:
    """Return the one tensor that inputs are, alone in a tuple or not; None where they are more."""
    if isinstance(inputs, tuple) and len(inputs) == 1:
        return inputs[0]
    return inputs if isinstance(inputs, Tensor) else None


def _single(inputs: Inputs) -> Tensor:
    x = single(inputs)
    if x is None:
        raise UndecidableError("expected one tensor of real numbers, as the rows before.")
    return x
