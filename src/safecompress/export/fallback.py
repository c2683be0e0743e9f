"""`falling_back`: layers whose rounding changes a file's answers go back to fp32, one by one.

Steering rows decide which layers do, as they decide on everything that is chosen. The sealed rows
then test one file once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from safecompress.checks import Status
from safecompress.events import Event, Listener
from safecompress.export.context import ExportContext
from safecompress.export.format import Format
from safecompress.export.retest import compared
from safecompress.export.source import Source
from safecompress.export.written import write_files, written
from safecompress.protocols import map_inputs, tensors_of

_ASKED = 128
"""Most members that tell how much the rounding of a layer changes."""


def falling_back(
    source: Source, form: Format, context: ExportContext, *, on_event: Listener
) -> tuple[ExportContext, tuple[str, ...]]:
    """Return the context in which a format's file answers as the model, and what is kept for it.

    The file is compared with the model on the steering rows, by the checks of the retest. While
    one of them fails, the layer whose rounding alone changes the logits of members most stays fp32,
    then the next one. Where rounding changes nothing that the checks see, nothing is kept.

    Args:
        source: the run.
        form: the format; one without `layers` keeps nothing.
        context: of the run, with nothing kept.
        on_event: is told of every layer that is kept.

    Returns:
        The context, and the names of the kept layers in the module, costliest first.
    """
    names = form.layers(context)
    tried = context
    kept: list[str] = []
    ahead: list[str] | None = None
    while names and len(kept) < len(names) and not _alike(source, form, tried):
        if ahead is None:
            ahead = costliest(form, context)
        kept.append(ahead.pop(0))
        tried = context.keeping(kept, sharing=form.shares())
        on_event(Event("note", f"rounding '{names[kept[-1]]}' changes answers; it stays fp32"))
    return tried, tuple(names[name] for name in kept)


def costliest(form: Format, context: ExportContext) -> list[str]:
    """Return the names of a format's layers, that first whose rounding changes logits most.

    The cost of a layer is the mean squared difference that its rounding alone makes to the logits
    of members.

    Args:
        form: the format.
        context: what it writes.
    """
    names = list(form.layers(context))
    exact = _logits(form, context, kept=names)
    costs = {}
    for name in names:
        moved = _logits(form, context, kept=[other for other in names if other != name])
        costs[name] = float((moved - exact).square().mean())
    return sorted(names, key=lambda name: -costs[name])


def _logits(form: Format, context: ExportContext, *, kept: list[str]) -> Tensor:
    """Return the logits of some members from a file in which some layers are kept in fp32."""
    rounded = context.keeping(kept, sharing=form.shares(), prepared=True)
    few = map_inputs(lambda t: t[:_ASKED], context.members)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / f"layers{form.suffixes[0]}"
        write_files(form, path, written(form, rounded, {}))
        ask = form.open(path, rounded)
        said = ask(**few) if isinstance(few, Mapping) else ask(*tensors_of(few))
    return torch.as_tensor(said).double()


def _alike(source: Source, form: Format, context: ExportContext) -> bool:
    """Return whether a file answers the steering rows as the model, as far as checks can tell."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"steering{form.suffixes[0]}"
        write_files(form, path, written(form, context, {}))
        found = compared(
            source,
            path,
            form,
            context,
            source.run.splits.steer,
            level=source.run.config.verdict.level,
        )
    return not any(check.status is Status.FAIL for check in found.checks)
