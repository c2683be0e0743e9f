"""`Perturbations`: small changes of inputs, of several strengths, that leave a row's class alone.

The kind of change follows from the inputs: images are shifted and mirrored, words are dropped,
yes/no columns flipped, and noise is added to other numbers. All rows are changed in the same way,
so that a row's result does not depend on the other rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from safecompress.errors import UndecidableError
from safecompress.protocols import Inputs, map_inputs, tensors_of
from safecompress.randomness import generator

_FLIPPED, _NOISE, _DROPPED = 0.005, 0.05, 0.02
"""Strengths at level 0, doubled with every level: the fraction of yes/no columns flipped, the
standard deviation of the noise relative to the column's, and the fraction of words dropped."""

_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Kind(Enum):
    """The kind of data in one input tensor, which decides how it is changed."""

    IMAGE = "image"
    NUMBERS = "numbers"
    WORDS = "words"
    MASK = "mask"

    @classmethod
    def of(cls, tensor: Tensor) -> Kind:
        """Return the kind that a tensor's shape, dtype and values suggest.

        Args:
            tensor: (n, …), with at least one element.
        """
        if tensor.is_floating_point():
            return cls.IMAGE if tensor.ndim == 4 else cls.NUMBERS
        if tensor.dtype == torch.bool or int(tensor.max()) <= 1:
            return cls.MASK
        return cls.WORDS


@dataclass(frozen=True)
class Perturbations:
    """Changes of inputs, scaled by statistics of the inputs that they were fitted to.

    Args:
        kinds: for each input tensor, its kind.
        binary: for each input tensor, bool of a row's shape: columns that are 0 or 1 in every row.
        scales: for each input tensor, float32 of a row's shape: the columns' standard deviations.
        seed: seed of everything random.
    """

    kinds: tuple[Kind, ...]
    binary: tuple[Tensor, ...]
    scales: tuple[Tensor, ...]
    seed: int

    @classmethod
    def like(cls, inputs: Inputs, *, seed: int) -> Perturbations:
        """Return changes fitted to some inputs.

        Args:
            inputs: at least one row.
            seed: seed of everything random.

        Raises:
            UndecidableError: when no tensor of the inputs is of a kind that can be changed.
        """
        tensors = tuple(t.cpu() for t in tensors_of(inputs))
        kinds = tuple(Kind.of(t) if t.numel() else Kind.MASK for t in tensors)
        if set(kinds) == {Kind.MASK}:
            raise UndecidableError(
                f"perturbations: inputs of {[str(t.dtype) for t in tensors]} "
                f"{[tuple(t.shape[1:]) for t in tensors]}; expected images, numbers or words to "
                "change a little."
            )
        binary = tuple(((t == 0) | (t == 1)).all(dim=0) for t in tensors)
        scales = tuple(t.float().std(dim=0, correction=0) for t in tensors)
        return cls(kinds, binary, scales, seed)

    def __call__(self, inputs: Inputs, *, level: int, copy: int) -> Inputs:
        """Return changed inputs of the same structure.

        Args:
            inputs: n rows, of the same kinds and shapes as those fitted to.
            level: strength, at least 0; each level doubles the strength, or shifts an image by one
                more pixel.
            copy: number of the change among those of the same strength, at least 0.
        """
        changed = [
            self._changed(place, tensor, level=level, copy=copy)
            for place, tensor in enumerate(tensors_of(inputs))
        ]
        rest = iter(changed)
        return map_inputs(lambda _: next(rest), inputs)

    def _changed(self, place: int, x: Tensor, *, level: int, copy: int) -> Tensor:
        kind, strength = self.kinds[place], 2.0**level
        source = generator(self.seed, "perturbation", place, level, copy)
        if kind is Kind.IMAGE:
            return _moved(x, *_DIRECTIONS[copy % 4], by=level + 1, mirrored=copy % 8 >= 4)
        if kind is Kind.WORDS:
            return _without(x, torch.rand(x.shape[1:], generator=source) < strength * _DROPPED)
        if kind is Kind.NUMBERS:
            binary, scale = self.binary[place], self.scales[place]
            flipped = binary & (torch.rand(x.shape[1:], generator=source) < strength * _FLIPPED)
            noise = strength * _NOISE * scale * torch.randn(x.shape[1:], generator=source)
            return _flipped(x, flipped) if bool(binary.all()) else _noisy(x, flipped, binary, noise)
        return x


def _flipped(numbers: Tensor, flipped: Tensor) -> Tensor:
    """Return numbers with 0 and 1 swapped in the columns where `flipped` is True."""
    changed = numbers.flatten(1).clone()
    columns = flipped.flatten().nonzero().squeeze(1).to(numbers.device)
    changed[:, columns] = 1.0 - changed[:, columns]
    return changed.reshape(numbers.shape)


def _noisy(numbers: Tensor, flipped: Tensor, binary: Tensor, noise: Tensor) -> Tensor:
    """Return numbers flipped as in `_flipped`, with noise added to the columns not in `binary`."""
    return _flipped(numbers, flipped) + torch.where(binary, 0.0, noise).to(numbers)


def _moved(images: Tensor, down: int, right: int, *, by: int, mirrored: bool) -> Tensor:
    """Return images (n, channels, height, width) shifted by some pixels, their edge repeated."""
    if mirrored:
        images = images.flip(3)
    height, width = images.shape[2:]
    rows = (torch.arange(height) - by * down).clamp(0, height - 1)
    columns = (torch.arange(width) - by * right).clamp(0, width - 1)
    return images[:, :, rows][:, :, :, columns]


def _without(words: Tensor, dropped: Tensor) -> Tensor:
    """Return token ids where dropped ones are replaced by the token before.

    Repeating a token needs no id for "unknown", which a vocabulary may not have.
    """
    before = words.roll(1, dims=-1)
    before[..., 0] = words[..., 0]
    return torch.where(dropped.to(words.device), before, words)
