"""`violations`: the rules that drop and grow rules must keep to, also those that packages publish.

>>> from safecompress.sparse import DROP_RULES
>>> violations(DROP_RULES.build("magnitude", where="example"))
()
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, TypeAlias, get_args

import torch
from torch import Tensor

from safecompress.errors import ConfigError
from safecompress.randomness import generator
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
    unknown_needs,
)
from safecompress.sparse.drop import DropRule
from safecompress.sparse.grow import GrowRule
from safecompress.sparse.layer import Layer, Requirement

MaskRule: TypeAlias = DropRule | GrowRule

_SHAPES: tuple[tuple[int, ...], ...] = ((8, 3, 3, 3), (10, 16), (1, 7))
_DENSITY = 0.4


def violations(rule: MaskRule, *, seed: int = 0) -> tuple[str, ...]:
    """Return what a drop or grow rule breaks, in words; empty when it keeps to everything.

    A rule must be a frozen dataclass that holds nothing but its options. For every kind of layer it
    must return scores of the weight's shape that are finite where they are read: at existing
    weights for a drop rule, at missing ones for a grow rule. It must not change the layer's
    tensors. The same layer and generator must give the same scores, whatever was scored before.
    It must not draw from global generators, and it must need the gradient and the moving average
    exactly when it declares them.

    Args:
        rule: the rule; it scores about thirty small layers.
        seed: seed of the layers.
    """
    rules = (
        holds_only_its_options,
        has_a_name,
        _declares_what_it_needs,
        _scores_every_layer,
        _changes_nothing,
        _repeats_itself,
        _knows_one_layer_at_a_time,
    )
    return broken(rule, rules, seed=seed)


def _layer(
    rule: MaskRule,
    shape: tuple[int, ...],
    seed: int,
    *,
    density: float = _DENSITY,
    dtype: torch.dtype = torch.float32,
) -> Layer:
    """Return a layer of random numbers with only what the rule declares to require."""

    def normal(what: str) -> Tensor:
        source = generator(seed, "contract", what, *shape)
        return torch.randn(shape, generator=source).to(dtype)

    mask = torch.rand(shape, generator=generator(seed, "contract", "mask", *shape)) < density
    ever = torch.rand(shape, generator=generator(seed, "contract", "ever", *shape)) < density
    return Layer(
        name=f"layer{len(shape)}.weight",
        weight=normal("weight") * mask,
        mask=mask,
        ever_active=mask | ever,
        gradient=normal("gradient") if "gradient" in rule.requires else None,
        moving_average=normal("average") if "moving_average" in rule.requires else None,
        generator=generator(seed, "contract", "rule", *shape),
    )


def _read(rule: MaskRule, layer: Layer) -> Tensor:
    """Return the scores that are read: those of existing weights, or those of missing ones."""
    chosen: Tensor = rule.score(layer)[layer.mask if isinstance(rule, DropRule) else ~layer.mask]
    return chosen


def _declares_what_it_needs(rule: MaskRule, seed: int) -> Iterator[str]:
    known = set(get_args(Requirement))
    yield from unknown_needs(rule, known)
    for needed in sorted(set(rule.requires) & known):
        lacking: dict[str, Any] = {needed: None}
        layer = replace(_layer(rule, _SHAPES[1], seed), **lacking)
        try:
            rule.score(layer)
        except ConfigError:
            continue
        yield f"it requires '{needed}' and does as well without it"


def _scores_every_layer(rule: MaskRule, seed: int) -> Iterator[str]:
    for what, layer in _kinds_of_layer(rule, seed).items():
        scores = rule.score(layer)
        if not isinstance(scores, Tensor) or scores.shape != layer.weight.shape:
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            yield f"{what}: scores are {found}; expected the weight's {tuple(layer.weight.shape)}"
            return
        chosen = scores[layer.mask if isinstance(rule, DropRule) else ~layer.mask]
        if not bool(torch.isfinite(chosen.double()).all()):
            yield f"{what}: scores are not finite"


def _kinds_of_layer(rule: MaskRule, seed: int) -> dict[str, Layer]:
    """Return layers of every shape and type: empty ones, full ones, and ones with equal scores."""
    kinds = {f"a layer of shape {shape}": _layer(rule, shape, seed) for shape in _SHAPES}
    kinds |= {
        f"a layer in {str(dtype).removeprefix('torch.')}": _layer(
            rule, _SHAPES[1], seed, dtype=dtype
        )
        for dtype in (torch.float16, torch.bfloat16, torch.float64)
    }
    kinds["an empty layer"] = _layer(rule, _SHAPES[1], seed, density=0.0)
    kinds["a full layer"] = _layer(rule, _SHAPES[1], seed, density=1.1)
    usual = _layer(rule, _SHAPES[1], seed)
    for what, number in (("equal weights", 1.0), ("weights that are all zero", 0.0)):
        alike: dict[str, Any] = {
            name: torch.full_like(usual.weight, number)
            for name in ("gradient", "moving_average")
            if name in rule.requires
        }
        weight = number * usual.mask.to(usual.weight.dtype)
        kinds[f"a layer of {what}"] = replace(usual, weight=weight, **alike)
    return kinds


def _changes_nothing(rule: MaskRule, seed: int) -> Iterator[str]:
    layer = _layer(rule, _SHAPES[0], seed)
    tensors = {
        field.name: value
        for field in fields(layer)
        if isinstance(value := getattr(layer, field.name), Tensor)
    }
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    scores = rule.score(layer)
    for name, tensor in tensors.items():
        if not torch.equal(tensor, before[name]):
            yield f"it changes the layer's {name} in place"
    storage = scores.untyped_storage().data_ptr()
    for name, tensor in tensors.items():
        if tensor.untyped_storage().data_ptr() == storage:
            yield f"its scores are the layer's own {name}, which whoever sorts them would change"


def _repeats_itself(rule: MaskRule, seed: int) -> Iterator[str]:
    state = global_generators()
    first = _read(rule, _layer(rule, _SHAPES[1], seed))
    if global_generators() != state:
        yield f"{GLOBAL_DRAW} (the layer has a generator of its own)"
    with other_global_generators():
        second = _read(rule, _layer(rule, _SHAPES[1], seed))
    if not torch.equal(first, second):
        yield "the same layer and generator give different scores"


def _knows_one_layer_at_a_time(rule: MaskRule, seed: int) -> Iterator[str]:
    first = _read(rule, _layer(rule, _SHAPES[1], seed))
    _read(rule, _layer(rule, _SHAPES[0], seed + 1))
    if not torch.equal(first, _read(rule, _layer(rule, _SHAPES[1], seed))):
        yield "scores depend on the layers that were scored before"
