"""`finer`, `moves`: layers go back to finer number formats, those first that change answers most.

Nothing here knows of runs: what is good enough is a function that the caller gives.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from safecompress.export.context import ExportContext
from safecompress.export.format import FP32, INT8, INT8_WEIGHTS, Format
from safecompress.export.written import write_files, written
from safecompress.protocols import map_inputs, tensors_of

_ASKED = 128
"""Most members that tell how much the rounding of a layer changes."""
_BITS = {INT8: 8, INT8_WEIGHTS: 12, FP32: 32}
"""The price of a weight. Arithmetic in fp32 beside int8 weights costs no bytes, but time."""


@dataclass(frozen=True)
class Move:
    """A layer that goes back to a finer number format.

    Args:
        layer: its name in `Format.layers`.
        to: the number format.
    """

    layer: str
    to: str


def finer(
    form: Format, context: ExportContext, good: Callable[[ExportContext], bool]
) -> ExportContext:
    """Return the context with the fewest layers in finer formats whose file is good enough.

    The order of layers is measured once, and halving finds how many moves it takes: a format of 100
    layers is tried eight times. Where not even the last move is enough, all are made.

    Args:
        form: the format; one without `layers` changes nothing.
        context: with every layer as the format rounds it.
        good: whether the file of a context is good enough.
    """
    if good(context) or not form.layers(context):
        return context
    path = moves(form, context)

    def after(made: int) -> ExportContext:
        return context.keeping(_kept(path[:made]), sharing=form.shares())

    few, enough = 0, len(path)
    while enough - few > 1:
        middle = (few + enough) // 2
        if good(after(middle)):
            enough = middle
        else:
            few = middle
    return after(enough)


def moves(form: Format, context: ExportContext) -> list[Move]:
    """Return the moves to finer formats, that first which helps most for the bits that it takes.

    The cost of a layer in a number format is the mean squared difference that its rounding alone
    makes to the logits of members. A move helps by the difference of two costs, and takes bits for
    each of the layer's weights that exist. A layer may skip a number format that helps less.

    Args:
        form: the format.
        context: what it writes.

    Returns:
        Moves after the last of which every layer is in fp32.
    """
    costs, weights = _costs(form.stand_in(), context), _weights(form, context)
    bits = [4 if INT8 in form.finer else 8, *(_BITS[kind] for kind in form.finer)]
    at = dict.fromkeys(costs, 0)
    path = []
    while ahead := [
        ((held[now] - held[to]) / (bits[to] - bits[now]) / weights[name], name, to)
        for name, held in costs.items()
        for now in [at[name]]
        for to in range(now + 1, len(bits))
    ]:
        _, name, to = max(ahead, key=lambda move: move[0])
        at[name] = to
        path.append(Move(name, form.finer[to - 1]))
    return path


def _weights(form: Format, context: ExportContext) -> dict[str, int]:
    """Return by layer the number of its weights that exist, at least 1."""
    state = context.module.state_dict()
    own = form.layers(context).items()
    # Some modules hold several weights, which then have names of their own.
    found = ((name, state.get(f"{source}.weight", state.get(source))) for name, source in own)
    return {name: 1 if w is None else max(1, int(w.count_nonzero())) for name, w in found}


def _costs(form: Format, context: ExportContext) -> dict[str, list[float]]:
    """Return by layer the cost of each number format, from the coarsest to fp32, which costs 0."""
    names = list(form.layers(context))
    *between, exact = form.finer
    single = dict.fromkeys(names, exact)
    expected = _logits(form, context, single)
    costs = {}
    for name in names:
        others = {other: exact for other in names if other != name}
        ways = [others, *({**others, name: kind} for kind in between)]
        moved = (_logits(form, context, kept) - expected for kept in ways)
        costs[name] = [*(float(by.square().mean()) for by in moved), 0.0]
    return costs


def _logits(form: Format, context: ExportContext, kept: Mapping[str, str]) -> Tensor:
    """Return the logits of some members from a file with some layers in finer formats."""
    rounded = context.keeping(kept, sharing=form.shares(), prepared=True)
    few = map_inputs(lambda t: t[:_ASKED], context.members)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / f"layers{form.suffixes[0]}"
        write_files(form, path, written(form, rounded, {}))
        ask = form.open(path, rounded)
        said = ask(**few) if isinstance(few, Mapping) else ask(*tensors_of(few))
    return torch.as_tensor(said).double()


def _kept(path: Sequence[Move]) -> dict[str, str]:
    """Return the number formats after some moves, the layer that moved first first."""
    return {move.layer: move.to for move in path}
