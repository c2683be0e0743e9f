"""What the optimizer moves: dense parameters, and vectors of the weights that exist.

A weight that does not exist is no part of any vector, so neither momentum nor weight decay nor
AdamW can move it, and it has no state. A quantized weight is a vector, too: the optimizer moves
what is not rounded, the model computes with what is, and its gradient there moves the former.
Gathering gradients and scattering weights costs less than the optimizer saves by not visiting the
missing ones: a sparse step is no slower than a dense one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.topology import Topology
from safecompress.transforms import PLAIN, Transforms, quantized_values


@dataclass(frozen=True, eq=False)
class ActiveWeights:
    """The existing weights of one sparse parameter, as a vector.

    Args:
        parameter: the whole parameter, its entries packed without gaps in any memory format.
        positions: int64 (n,), places in memory of the weights that exist, ascending.
        values: (n,) what the optimizer moves; the parameter follows by `write_`.
        bits: bits to which the parameter's copy of the values is rounded; None rounds nothing.
        rows: int64 (n,), the output channel of each value; needed to round.
    """

    parameter: nn.Parameter
    positions: Tensor
    values: nn.Parameter
    bits: int | None = None
    rows: Tensor | None = None

    @classmethod
    def of(cls, parameter: nn.Parameter, mask: Tensor, *, bits: int | None = None) -> ActiveWeights:
        """Return the weights of `parameter` that exist by `mask`, bool of its shape."""
        in_memory = torch.empty_like(parameter, dtype=torch.bool).copy_(mask)
        positions = _memory(in_memory).nonzero().squeeze(1)
        values = _memory(parameter.detach()).index_select(0, positions)
        rows = None
        if bits is not None:
            channel = torch.arange(len(mask), device=mask.device)
            whole = torch.empty_like(parameter, dtype=torch.int64)
            whole.copy_(channel.view(-1, *[1] * (mask.ndim - 1)).expand(mask.shape))
            rows = _memory(whole).index_select(0, positions)
        return cls(parameter, positions, nn.Parameter(values), bits, rows)

    def read_(self) -> None:
        """Take the values from the parameter, and zero its missing weights."""
        memory = _memory(self.parameter.detach())
        torch.index_select(memory, 0, self.positions, out=self.values.detach())
        memory.zero_()
        self.write_()

    def read_gradient_(self) -> None:
        """Take the gradient of the existing weights from the parameter's."""
        gradient = self.parameter.grad
        self.values.grad = None if gradient is None else self.compact(gradient)

    def write_(self, *, rounded: bool = True) -> None:
        """Put the values back into the parameter; missing weights are left as they are.

        Args:
            rounded: whether to round where the parameter is quantized.
        """
        values = self.rounded() if rounded else self.values.detach()
        _memory(self.parameter.detach()).scatter_(0, self.positions, values)

    def written(self) -> bool:
        """Whether the parameter holds what `write_` put there, and nobody has changed it since."""
        held = _memory(self.parameter.detach()).index_select(0, self.positions)
        return torch.equal(held, self.rounded())

    def rounded(self) -> Tensor:
        """Return the values as the model computes with them, (n,), without a gradient."""
        if self.bits is None or self.rows is None:
            return self.values.detach()
        return quantized_values(self.values, self.rows, len(self.parameter), self.bits)

    def compact(self, tensor: Tensor) -> Tensor:
        """Return the existing entries of a tensor of the parameter's shape, (n,)."""
        own = self.parameter
        if tensor.stride() != own.stride() or tensor.device != own.device:
            tensor = torch.empty_like(own).copy_(tensor)
        return _memory(tensor.detach()).index_select(0, self.positions)

    def expand(self, vector: Tensor) -> Tensor:
        """Return a tensor of the parameter's shape with `vector` in it, zero elsewhere."""
        whole = torch.zeros_like(self.parameter, requires_grad=False)
        _memory(whole).scatter_(0, self.positions, vector)
        return whole


Active = Mapping[str, nn.Parameter | ActiveWeights]
"""Per name what is trained: the parameter itself where it is dense, else its existing weights."""


def active_weights(
    parameters: Mapping[str, nn.Parameter],
    topology: Topology,
    module: nn.Module,
    transforms: Transforms = PLAIN,
) -> Active:
    """Return what of the parameters is trained under a topology.

    Args:
        parameters: the module's trained parameters.
        topology: which weights exist.
        module: the live module.
        transforms: which weights are quantized, and which biases and normalization belong to
            channels that are gone.

    Raises:
        ModelError: when the topology belongs to another model.
    """
    maskable = {id(p): mask for p, mask in topology.bind(module)}
    vectors = {
        id(p): transforms.channels.rows[name].to(p.device)
        for name, p in parameters.items()
        if name in transforms.channels.rows and id(p) not in maskable
    }

    def part(p: nn.Parameter) -> nn.Parameter | ActiveWeights:
        bits = transforms.bits if id(p) in maskable else None
        mask = maskable.get(id(p), vectors.get(id(p)))
        if mask is None or (bits is None and bool(mask.all())):
            return p
        return ActiveWeights.of(p, mask, bits=bits)

    return {name: part(p) for name, p in parameters.items()}


def sparse_parts(active: Active) -> list[ActiveWeights]:
    """Return the parameters that are not moved themselves."""
    return [part for part in active.values() if isinstance(part, ActiveWeights)]


def _memory(tensor: Tensor) -> Tensor:
    """Return a packed tensor's entries in the order they lie in memory, as a view."""
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset())
