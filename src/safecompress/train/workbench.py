"""`Workbench`: copies candidates into the one live module of a trainer, and their weights out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.topology import Topology
from safecompress.train.active import Active, active_weights, sparse_parts
from safecompress.train.sparse_layers import SparseLayers, sparse_layers
from safecompress.train.state import load_module_, module_tensors
from safecompress.transforms import PLAIN, InputQuantizer, Transforms, attach_, ranges_of


@dataclass(frozen=True)
class _Bound:
    """What the optimizer moves under some masks and transforms, and the sparse layers."""

    topology: Topology
    transforms: Transforms
    active: Active
    layers: SparseLayers

    def fits(self, candidate: Candidate) -> bool:
        transforms = candidate.transforms
        return (
            self.topology is candidate.topology
            and self.transforms.bits == transforms.bits
            and self.transforms.channels is transforms.channels
        )


class Workbench:
    """Copies candidates into the module, and weights out of it after training.

    Args:
        module: the module, on its device.
        memory_format: memory format of its parameters.
    """

    def __init__(self, module: nn.Module, memory_format: torch.memory_format) -> None:
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._module, self._format = module, memory_format
        self._bound: _Bound | None = None
        self._inputs: Mapping[str, InputQuantizer] = {}
        self._lay_out_()

    def clear_(self) -> None:
        """Remove rounding of inputs; the module then computes with the weights that are in it."""
        self._lay_out_()
        self._inputs = attach_(self._module, PLAIN)

    def put_(self, candidate: Candidate) -> None:
        """Copy a candidate into the module, which then computes what the candidate computes.

        Weights that do not exist are zero there, and quantized ones rounded.

        Args:
            candidate: a candidate of this module.

        Raises:
            ModelError: when the candidate belongs to another model.
        """
        self._lay_out_()
        self._inputs = attach_(self._module, candidate.transforms)
        load_module_(self._module, candidate.weights)
        for part in sparse_parts(self.active(candidate)):
            part.read_()

    def active(self, candidate: Candidate) -> Active:
        """Return what the optimizer moves, per parameter name.

        Args:
            candidate: a candidate of this module. Calls in a row with the same masks and transforms
                return the same object.
        """
        return self._of(candidate).active

    def sparse_layers(self, candidate: Candidate) -> SparseLayers:
        """Return the layers that can compute with their existing weights alone.

        Args:
            candidate: a candidate of this module.
        """
        return self._of(candidate).layers

    def weights(self, active: Active) -> dict[str, Tensor]:
        """Return copies of the module's tensors, quantized weights as they are before rounding.

        Where a defense has written other weights into the module, those are returned unchanged.

        Args:
            active: what the optimizer moves, per parameter name.
        """
        rounded = [p for p in sparse_parts(active) if p.bits is not None and p.written()]
        for part in rounded:
            part.write_(rounded=False)
        tensors = module_tensors(self._module)
        for part in rounded:
            part.write_()
        return tensors

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Run a block in which each quantized input measures its range once, at its first call."""
        for quantizer in self._inputs.values():
            quantizer.watching = True
        try:
            yield
        finally:
            for quantizer in self._inputs.values():
                quantizer.watching = False

    def forget_gradients_(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def ranges(self) -> dict[str, Tensor]:
        """Return per layer the measured range of its quantized input, float32 (2,)."""
        return dict(ranges_of(self._inputs)) if self._inputs else {}

    def _lay_out_(self) -> None:
        # Another trainer of the same module may have left it in another memory format.
        self._module.to(memory_format=self._format)  # type: ignore[call-overload]

    def _of(self, candidate: Candidate) -> _Bound:
        if self._bound is None or not self._bound.fits(candidate):
            topology, transforms = candidate.topology, candidate.transforms
            active = active_weights(self.parameters, topology, self._module, transforms)
            layers = sparse_layers(active, self._module)
            self._bound = _Bound(topology, transforms, active, layers)
        return self._bound
