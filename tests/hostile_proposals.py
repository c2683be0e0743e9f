"""Made-up proposals that break their contract, each in its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from safecompress.candidate import Candidate, SoftTarget
from safecompress.protocols import Proposal, ProposalContext
from safecompress.randomness import generator
from safecompress.topology import Topology
from safecompress.transforms import Channels, Transforms

Change = Callable[[Candidate, str, torch.Generator], Any]


@dataclass(frozen=True)
class Hostile(Proposal):
    """Does one thing that no proposal may do.

    Args:
        does: key of `BREACHES` or of `CRASHES`.
        layer: which of the maskable weights it does it to, counted round.
        updates: how often it is applied while a candidate settles.
    """

    does: str
    layer: int = 0
    updates: int = 1

    @property
    def name(self) -> str:
        return f"hostile {self.does}"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        names = sorted(parent.topology.masks)
        draw = generator(context.seed, "hostile")
        change = (BREACHES | CRASHES)[self.does]
        return cast("Candidate", change(parent, names[self.layer % len(names)], draw))


def _remasked(parent: Candidate, name: str, mask: torch.Tensor) -> Candidate:
    """Return the parent under another mask, everything else in order."""
    weights = dict(parent.weights) | {name: parent.weights[name] * mask}
    optimizer = dict(parent.optimizer)
    ever = dict(parent.ever_active)
    ever[name] = ever[name] | mask
    topology = Topology(dict(parent.topology.masks) | {name: mask})
    return parent.evolve(weights=weights, optimizer=optimizer, topology=topology, ever_active=ever)


def _denser(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    mask = parent.topology.masks[name].clone()
    missing = (~mask).flatten().nonzero().squeeze(1)
    some = torch.randint(1, len(missing) + 1, (1,), generator=draw)
    mask.view(-1)[missing[: int(some)]] = True
    return _remasked(parent, name, mask)


def _sparser(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    mask = parent.topology.masks[name].clone()
    there = mask.flatten().nonzero().squeeze(1)
    some = torch.randint(1, len(there) + 1, (1,), generator=draw)
    mask.view(-1)[there[: int(some)]] = False
    return _remasked(parent, name, mask)


def _shared_anew(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    """Move one weight to another layer: the total stays, the layers' counts do not."""
    other = next(n for n in sorted(parent.topology.masks) if n != name)
    more, less = parent.topology.masks[name].clone(), parent.topology.masks[other].clone()
    more.view(-1)[(~more).flatten().nonzero()[0]] = True
    less.view(-1)[less.flatten().nonzero()[0]] = False
    return _remasked(_remasked(parent, name, more), other, less)


def _everything(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    for layer, mask in parent.topology.masks.items():
        parent = _remasked(parent, layer, torch.ones_like(mask))
    return parent


def _weights(parent: Candidate, name: str, tensor: Any) -> Candidate:
    return parent.evolve(weights=dict(parent.weights) | {name: tensor})


def _value(value: float) -> Change:
    def planted(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
        tensor, mask = parent.weights[name].clone(), parent.topology.masks[name]
        there = mask.flatten().nonzero().squeeze(1)
        place = there[int(torch.randint(len(there), (1,), generator=draw))]
        tensor.view(-1)[place] = value
        return _weights(parent, name, tensor)

    return planted


def _state_of_another_shape(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    state = dict(parent.optimizer) | {name: {"momentum_buffer": torch.zeros(3, 2, 1)}}
    return parent.evolve(optimizer=state)


def _infinite_state(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    full = torch.full_like(parent.weights[name], torch.inf)
    return parent.evolve(optimizer=dict(parent.optimizer) | {name: {"momentum_buffer": full}})


def _values_without_a_weight(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    missing = (~parent.topology.masks[name]).to(parent.weights[name].dtype)
    return _weights(parent, name, parent.weights[name] + missing)


def _number_as_mask(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    masks = dict(parent.topology.masks)
    return parent.evolve(topology=Topology(masks | {name: masks[name].float()}))


def _mask_of_another_shape(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    masks = dict(parent.topology.masks)
    return parent.evolve(topology=Topology(masks | {name: masks[name].flatten()}))


def _without_a_mask(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    masks = {n: m for n, m in parent.topology.masks.items() if n != name}
    return parent.evolve(topology=Topology(masks))


def _forgets_what_existed(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    none = torch.zeros_like(parent.topology.masks[name])
    return parent.evolve(ever_active=dict(parent.ever_active) | {name: none})


def _channels_of_another_size(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    rows = {name: torch.ones(len(parent.weights[name]) + 1, dtype=torch.bool)}
    return parent.evolve(transforms=replace(parent.transforms, channels=Channels(rows, {})))


def _weights_in_gone_channels(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    rows = {name: torch.zeros(len(parent.weights[name]), dtype=torch.bool)}
    return parent.evolve(transforms=replace(parent.transforms, channels=Channels(rows, {})))


def _in_place(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    # Not through autograd, so that no version counter tells of it.
    parent.weights[name].data.numpy().fill(1.0)
    return parent.evolve(
        weights=dict(parent.weights) | {name: torch.zeros_like(parent.weights[name])}
    )


def _mask_in_place(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    copied = parent.evolve(
        topology=Topology({n: m.clone() for n, m in parent.topology.masks.items()})
    )
    parent.topology.masks[name].logical_not_()
    return copied


def _mapping_in_place(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
    copied = parent.evolve(weights=dict(parent.weights))
    cast("dict[str, torch.Tensor]", parent.weights).pop(name)
    return copied


BREACHES: dict[str, Change] = {
    "denser": _denser,
    "sparser": _sparser,
    "dense": _everything,
    "shared anew": _shared_anew,
    "step on": lambda parent, name, draw: parent.evolve(step=parent.step + 1),
    "step back": lambda parent, name, draw: parent.evolve(step=parent.step - 1),
    "NaN": _value(float("nan")),
    "inf": _value(float("inf")),
    "no weight": lambda parent, name, draw: parent.evolve(
        weights={n: t for n, t in parent.weights.items() if n != name}
    ),
    "foreign weight": lambda parent, name, draw: _weights(parent, "foreign", torch.zeros(2)),
    "weight of another shape": lambda parent, name, draw: _weights(
        parent, name, parent.weights[name].flatten()
    ),
    "weight of another type": lambda parent, name, draw: _weights(
        parent, name, parent.weights[name].to(torch.bfloat16)
    ),
    "weight in a graph": lambda parent, name, draw: _weights(
        parent, name, parent.weights[name].clone().requires_grad_()
    ),
    "weight that is none": lambda parent, name, draw: _weights(
        parent, name, parent.weights[name].tolist()
    ),
    "values without a weight": _values_without_a_weight,
    "number as mask": _number_as_mask,
    "mask of another shape": _mask_of_another_shape,
    "no mask": _without_a_mask,
    "forgets what existed": _forgets_what_existed,
    "state of another shape": _state_of_another_shape,
    "infinite state": _infinite_state,
    "3 bits": lambda parent, name, draw: parent.evolve(transforms=Transforms(bits=3)),
    "channels of another size": _channels_of_another_size,
    "weights in gone channels": _weights_in_gone_channels,
    "undeclared soft target": lambda parent, name, draw: parent.evolve(
        soft_target=SoftTarget(0.5, 1.0)
    ),
    "twice the soft target": lambda parent, name, draw: parent.evolve(
        soft_target=SoftTarget(2.0, 1.0)
    ),
    "undeclared student": lambda parent, name, draw: parent.evolve(from_student=True),
    "nothing": lambda parent, name, draw: None,
    "weights alone": lambda parent, name, draw: parent.weights,
    "changes weights in place": _in_place,
    "changes masks in place": _mask_in_place,
    "changes mappings in place": _mapping_in_place,
}
"""What no candidate may come of, by what is done."""


def _raising(error: type[BaseException]) -> Change:
    def raises(parent: Candidate, name: str, draw: torch.Generator) -> Candidate:
        raise error(f"planted in '{name}'\nand more")

    return raises


class ForeignError(Exception):
    """An error of somebody's package."""


CRASHES: dict[str, Change] = {
    error.__name__: _raising(error)
    for error in (
        ForeignError, ValueError, TypeError, KeyError, RuntimeError, RecursionError, AssertionError,
        StopIteration, OSError, SystemExit,
    )
}  # fmt: skip
"""Errors that nobody expects, by name."""
