"""`exportable`: a model as exporters take it: a smaller plain module, masks, steps and ranges."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from safecompress.topology import Topology
from safecompress.transforms.inputs import attach_
from safecompress.transforms.reduce import remove_channels, remove_from_topology
from safecompress.transforms.state import PLAIN, Quantization, Transforms


@dataclass(frozen=True)
class Exportable:
    """A model from which a file can be written.

    Args:
        module: a plain module in evaluation mode, without removed channels and without hooks;
            quantized weights are rounded, inputs of layers are not.
        topology: its masks.
        numbers: steps of its weights and ranges of its layers' inputs; None where it is fp32.
    """

    module: nn.Module
    topology: Topology
    numbers: Quantization | None


def exportable(module: nn.Module, topology: Topology, transforms: Transforms) -> Exportable:
    """Return a model from which a file can be written; the one given is left as it is.

    Args:
        module: the model as it was judged, from `load` or a run's `model`.
        topology: its masks.
        transforms: its transforms; those of a run's file are `read_model(path).transforms`.

    Raises:
        ModelError: when a removed channel belongs to a layer that cannot be made smaller.
    """
    smaller = remove_channels(module, transforms.channels).eval()
    attach_(smaller, PLAIN)
    masks = remove_from_topology(topology, transforms.channels)
    numbers = transforms.quantized(dict(smaller.named_parameters()), masks)
    return Exportable(smaller, masks, numbers)
