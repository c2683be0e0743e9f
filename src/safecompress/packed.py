"""`pack`, `PackedTensors`: tensors of mostly zeros, or of truth values, held without what is known.

A sparse candidate that waits for its turn needs its existing weights and their momentum, and of
each mask one bit a weight. Held as dense tensors it would take twenty times as much at 5 % density.
What comes back is bit for bit what was packed, negative zeros and NaN included.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST = 1024
"""Fewest numbers of a tensor that is packed; smaller ones take next to nothing."""
WORTH = 0.9
"""A tensor is packed where that takes at most this share of its bytes."""
_SAME_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers of as many bytes as a number has. What need not be kept is the number whose bits are all
zero; a comparison with 0.0 would lose the sign of a negative zero."""
_BITS, _VALUES = "#bits|", "#values|"


@dataclass(eq=False)
class Packed:
    """A tensor without its zeros.

    While somebody holds the tensor that was made of it, whoever asks gets the same one, so that the
    names of a tied weight still share one tensor.

    Args:
        shape: of the tensor.
        bits: where the tensor is not zero, eight places a byte, uint8 (ceil(n / 8),).
        values: what stands there, in order, (m,), of the tensor's type; None for a bool tensor.
    """

    shape: tuple[int, ...]
    bits: Tensor
    values: Tensor | None = None
    _made: weakref.ref[Tensor] | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.bits.nbytes + (0 if self.values is None else self.values.nbytes)

    @property
    def existing(self) -> int:
        """Number of places where the tensor is not zero."""
        return int(places_of(self.bits, math.prod(self.shape)).count_nonzero())

    def unpacked(self) -> Tensor:
        """Return the tensor, contiguous; it must be copied before it is changed."""
        made = None if self._made is None else self._made()
        if made is None:
            made = self._unpack()
            self._made = weakref.ref(made)
        return made

    def _unpack(self) -> Tensor:
        count = math.prod(self.shape)
        where = places_of(self.bits, count)
        if self.values is None:
            return where.reshape(self.shape)
        whole = torch.zeros(count, dtype=self.values.dtype)
        whole[where] = self.values
        return whole.reshape(self.shape)


def pack(tensor: Tensor) -> Tensor | Packed:
    """Return a tensor without its zeros, or the tensor itself where that takes hardly less.

    Args:
        tensor: of any type and shape; it is not changed. One that is not on the CPU, or of complex
            numbers, is returned as it is.
    """
    if tensor.numel() < LEAST or tensor.device.type != "cpu" or tensor.layout != torch.strided:
        return tensor
    flat = tensor.detach().reshape(-1)
    if flat.dtype == torch.bool:
        return Packed(tuple(tensor.shape), bits_of(flat))
    size = _SAME_SIZE.get(flat.element_size())
    if size is None or flat.is_complex():
        return tensor
    where = flat.view(size) != 0
    kept = int(where.count_nonzero()) / flat.numel() + 1 / (8 * flat.element_size())
    if kept > WORTH:
        return tensor
    return Packed(tuple(tensor.shape), bits_of(where), flat[where])


def bits_of(where: Tensor) -> Tensor:
    """Return truth values as bits, the first the highest of its byte, uint8 (ceil(n / 8),).

    Args:
        where: bool, on the CPU, of n places in any shape.
    """
    return torch.from_numpy(np.packbits(where.numpy().ravel()))


def places_of(bits: Tensor, count: int) -> Tensor:
    """Return what `bits_of` made bits of, bool (count,).

    Args:
        bits: uint8 (ceil(count / 8),).
        count: number of places.
    """
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=count)).view(torch.bool)


class PackedTensors(Mapping[str, Tensor]):
    """Tensors by name that are packed, each made anew where nobody holds it.

    Args:
        stored: tensors by name, packed or not.
    """

    def __init__(self, stored: Mapping[str, Tensor | Packed]) -> None:
        self.stored = dict(stored)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> PackedTensors:
        """Return tensors packed; those that are packed already are taken as they are.

        Args:
            tensors: by name.
        """
        held = dict(stored(tensors))
        # The names of a tied weight share one tensor, and so what is packed of it.
        packs = {id(t): pack(t) if isinstance(t, Tensor) else t for t in held.values()}
        return cls({name: packs[id(t)] for name, t in held.items()})

    def __getitem__(self, name: str) -> Tensor:
        found = self.stored[name]
        return found.unpacked() if isinstance(found, Packed) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    def __contains__(self, name: object) -> bool:
        return name in self.stored


def stored(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor | Packed]:
    """Return tensors as they are held, without making packed ones anew.

    Args:
        tensors: by name, packed or not.
    """
    return tensors.stored if isinstance(tensors, PackedTensors) else tensors


def flatten(packed: PackedTensors) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return packed tensors as plain ones, for a file, and what else is needed to read them.

    Args:
        packed: tensors by names, none of which begins with `#`.

    Returns:
        Tensors: one that is not packed under its name; the bits of a packed one under `#bits|NAME`
        and its values under `#values|NAME`. And, as JSON, all names in their order, which a file
        need not keep, with the shapes of packed ones and None for others.
    """
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, Any] = {}
    for name, found in packed.stored.items():
        shapes[name] = None if isinstance(found, Tensor) else list(found.shape)
        if isinstance(found, Tensor):
            tensors[name] = found
            continue
        tensors[_BITS + name] = found.bits
        if found.values is not None:
            tensors[_VALUES + name] = found.values
    return tensors, shapes


def unflatten(tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]) -> PackedTensors:
    """Return the packed tensors that `flatten` made plain, in the same order.

    Args:
        tensors: its tensors.
        shapes: its names and shapes.

    Raises:
        ValueError: when one is missing, or bits and values do not fit each other or the shape.
    """
    return PackedTensors({name: _found(tensors, name, shape) for name, shape in shapes.items()})


def _found(tensors: Mapping[str, Tensor], name: str, shape: Any) -> Tensor | Packed:
    if shape is None:
        if name not in tensors:
            raise ValueError(f"{name}: is missing")
        return tensors[name]
    bits, values = tensors.get(_BITS + name), tensors.get(_VALUES + name)
    count = math.prod(shape)
    if bits is None or bits.dtype != torch.uint8 or bits.shape != ((count + 7) // 8,):
        raise ValueError(f"{name}: its bits are not those of a tensor of shape {shape}")
    found = Packed(tuple(shape), bits, values)
    if values is not None and values.shape != (found.existing,):
        raise ValueError(f"{name}: {tuple(values.shape)} values for {found.existing} places")
    return found
