"""What an exporter takes: the smaller plain module, its masks, and its steps and bounds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from safecompress.topology import Topology
from safecompress.transforms.inputs import attach_
from safecompress.transforms.reduce import remove_channels, remove_from_topology
from safecompress.transforms.state import PLAIN, Quantization, Transforms


@dataclass(frozen=True)
class Exportable:
    """A model as a file is made of it.

    Args:
        module: plain, in evaluation mode, without the channels that are gone and without hooks;
            quantized weights are rounded, layers' inputs are not.
        topology: its masks.
        numbers: steps of its weights and bounds of its layers' inputs; None where it is fp32.
    """

    module: nn.Module
    topology: Topology
    numbers: Quantization | None


def exportable(module: nn.Module, topology: Topology, transforms: Transforms) -> Exportable:
    """Return a model as a file is made of it; the one given is left as it is.

    Args:
        module: computes as it was judged: from `load`, or a run's `model`.
        topology: its masks.
        transforms: what was done to it; of a run's file `read_model(path).transforms`.

    Raises:
        ModelError: when a channel that is gone belongs to a layer that cannot be made smaller.
    """
    smaller = remove_channels(module, transforms.channels).eval()
    attach_(smaller, PLAIN)
    masks = remove_from_topology(topology, transforms.channels)
    numbers = transforms.quantized(dict(smaller.named_parameters()), masks)
    return Exportable(smaller, masks, numbers)
