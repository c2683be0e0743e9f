"""`ActiveWeights`, `active_weights`: the tensors that the optimizer moves.

A dense parameter is moved itself. Of a sparse one the optimizer gets a vector of the weights that
exist: a missing weight has no optimizer state, and neither momentum nor weight decay nor AdamW can
move it. A quantized parameter gets a vector, too: the vector keeps the values before rounding, the
parameter holds the rounded ones, and the gradient at the rounded values moves the vector. Copying
between parameter and vector costs less than the optimizer saves by skipping missing weights, so a
sparse step is no slower than a dense one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.models.memory import is_packed
from safecompress.topology import Topology
from safecompress.transforms import PLAIN, Transforms, quantized_values


@dataclass(frozen=True, eq=False)
class ActiveWeights:
    """The existing weights of one sparse parameter, as a vector.

    Args:
        parameter: the whole parameter, its entries packed without gaps in any memory format.
        positions: int64 (n,), offsets in memory of the weights that exist, ascending.
        values: (n,), of the parameter's dtype; the optimizer moves them, and `write_` copies them
            into the parameter.
        bits: bits to which the parameter's copy of the values is rounded; None rounds nothing.
        rows: int64 (n,), the output channel of each value; needed where `bits` is given.
    """

    parameter: nn.Parameter
    positions: Tensor
    values: nn.Parameter
    bits: int | None = None
    rows: Tensor | None = None

    @classmethod
    def of(cls, parameter: nn.Parameter, mask: Tensor, *, bits: int | None = None) -> ActiveWeights:
        """Return the weights of a parameter that exist.

        Args:
            parameter: the whole parameter, packed without gaps.
            mask: bool of the parameter's shape, True where a weight exists.
            bits: 8 or 4, to which the parameter's copy is rounded; None rounds nothing.

        Raises:
            ModelError: when the parameter's entries leave gaps in memory.
        """
        if not is_packed(parameter):
            raise ModelError(
                f"a parameter of shape {tuple(parameter.shape)} is a view with gaps in memory; "
                "give it memory of its own: parameter.data = parameter.data.clone()."
            )
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
        """Copy the values out of the parameter, and set its missing weights to zero."""
        memory = _memory(self.parameter.detach())
        torch.index_select(memory, 0, self.positions, out=self.values.detach())
        memory.zero_()
        self.write_()

    def read_gradient_(self) -> None:
        """Copy the existing weights' gradient from that of the whole parameter."""
        gradient = self.parameter.grad
        self.values.grad = None if gradient is None else self.compact(gradient)

    def write_(self, *, rounded: bool = True) -> None:
        """Copy the values into the parameter; missing weights are left as they are.

        Args:
            rounded: whether the copy is rounded where the parameter is quantized.
        """
        values = self.rounded() if rounded else self.values.detach()
        _memory(self.parameter.detach()).scatter_(0, self.positions, values)

    def written(self) -> bool:
        """Whether the parameter still holds the values as `write_` copies them, rounded."""
        present = _memory(self.parameter.detach()).index_select(0, self.positions)
        return torch.equal(present, self.rounded())

    def rounded(self) -> Tensor:
        """Return the values as the model computes with them, (n,), without a gradient."""
        if self.bits is None or self.rows is None:
            return self.values.detach()
        return quantized_values(self.values, self.rows, len(self.parameter), self.bits)

    def compact(self, tensor: Tensor) -> Tensor:
        """Return the entries of a tensor at the existing weights, (n,).

        Args:
            tensor: of the parameter's shape; any memory format and device.
        """
        parameter = self.parameter
        if tensor.stride() != parameter.stride() or tensor.device != parameter.device:
            tensor = torch.empty_like(parameter).copy_(tensor)
        return _memory(tensor.detach()).index_select(0, self.positions)

    def expand(self, vector: Tensor) -> Tensor:
        """Return a tensor of the parameter's shape that is zero at missing weights.

        Args:
            vector: (n,), its entries at the existing weights.
        """
        whole = torch.zeros_like(self.parameter, requires_grad=False)
        _memory(whole).scatter_(0, self.positions, vector)
        return whole


Active = Mapping[str, nn.Parameter | ActiveWeights]
"""Per parameter name what the optimizer moves: the dense parameter, or its existing weights."""


def active_weights(
    parameters: Mapping[str, nn.Parameter],
    topology: Topology,
    module: nn.Module,
    transforms: Transforms = PLAIN,
) -> Active:
    """Return what the optimizer moves under a topology, per parameter name.

    Args:
        parameters: the module's trained parameters, by name.
        topology: which weights exist.
        module: the live module.
        transforms: to how many bits weights are rounded, and which entries of biases and
            normalization belong to removed channels.

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
    """Return those of which a vector is trained instead of the parameter itself.

    Args:
        active: what the optimizer moves, per parameter name.
    """
    return [part for part in active.values() if isinstance(part, ActiveWeights)]


def _memory(tensor: Tensor) -> Tensor:
    """Return a packed tensor's entries in the order of their addresses in memory, as a view."""
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset())
