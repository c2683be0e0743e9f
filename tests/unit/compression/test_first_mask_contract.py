"""Every registered first mask keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.compression.first_masks.contract import violations
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.sparse import initialize
from safecompress.topology import Topology, maskable_parameters
from tests.contracts import Breaches, assert_caught, cases
from tests.support import count


@pytest.mark.parametrize("seed", range(count(2, 30)))
@pytest.mark.parametrize("name", sorted(FIRST_MASKS.all()))
def test_every_registered_first_mask_keeps_the_contract(name: str, seed: int) -> None:
    assert violations(FIRST_MASKS.build(name, where="test"), seed=seed) == ()


@dataclass(frozen=True)
class Largest(FirstMask):
    """The largest untrained weights."""

    distribution: str = "erk"

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        weights = {name: context.untrained[name] for name in maskable_parameters(context.module)}
        topology = initialize(
            weights,
            density=context.sparse.density,
            distribution=self.distribution,
            method="magnitude-layer",
            seed=context.seed,
        )
        return FirstMaskStart(context.untrained, topology)


class Thawed(FirstMask):
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        return Largest().start(context)


class Denser(Largest):
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        return replace(super().start(context), topology=Topology.dense(context.module))


class Diverged(Largest):
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        start = super().start(context)
        return replace(start, weights={n: t * torch.inf for n, t in start.weights.items()})


class Drawn(Largest):
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        start = super().start(context)
        return replace(start, weights={n: torch.randn(t.shape) for n, t in start.weights.items()})


class InPlace(Largest):
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        for tensor in context.untrained.values():
            tensor.mul_(2)
        return super().start(context)


class Curious(Largest):
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        gradient: Any = context.gradient
        gradient(context.untrained)
        return super().start(context)


class Modest(Largest):
    needs_dense = True


@dataclass(frozen=True)
class Counting(Largest):
    calls: list[int] = field(default_factory=list, init=False)

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        self.calls.append(1)
        start = super().start(context)
        scale = float(len(self.calls))
        return replace(start, weights={n: t * scale for n, t in start.weights.items()})


BREACHES: Mapping[str, Breaches] = {
    "first-masks": [
        (Thawed(), "not a frozen dataclass"),
        (Denser(), "kept 72 weights of 72"),
        (Diverged(), "NaN or infinite values"),
        (Drawn(), "draws from a global random generator"),
        (InPlace(), "changes untrained/0.bias of its context in place"),
        (Curious(), "'NoneType' object is not callable"),
        (Modest(), "does as well without them"),
        (Counting(), "the same context gives different starts"),
    ]
}


@cases(BREACHES)
def test_every_breach_is_noticed(part: FirstMask, expected: str) -> None:
    assert_caught(violations(part), expected)


def test_an_honest_first_mask_breaks_nothing() -> None:
    assert violations(Largest("uniform")) == ()
