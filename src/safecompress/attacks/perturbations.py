"""Small changes of a model's inputs, of several strengths: what may happen to a row and keep it.

What is changed follows from the inputs: images are shifted and mirrored, words dropped, yes/no
columns flipped, other numbers disturbed. Every row is changed in the same way, so that the answer
about a row does not depend on which rows were asked about beside it.
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
"""At level 0, doubled with every level: share of the yes/no columns flipped, deviation of the noise
relative to the column's, share of the words dropped."""

_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Kind(Enum):
    """What one tensor of the inputs holds, and so how it may be changed."""

    IMAGE = "image"
    NUMBERS = "numbers"
    WORDS = "words"
    MASK = "mask"

    @classmethod
    def of(cls, tensor: Tensor) -> Kind:
        """Return what (n, …) values look like."""
        if tensor.is_floating_point():
            return cls.IMAGE if tensor.ndim == 4 else cls.NUMBERS
        if tensor.dtype == torch.bool or int(tensor.max()) <= 1:
            return cls.MASK
        return cls.WORDS


@dataclass(frozen=True)
class Perturbations:
    """What was learned of the inputs, to disturb others like them.

    Args:
        kinds: of each tensor of the inputs.
        binary: of each, bool, the columns that are 0 or 1 in every row.
        scales: of each, float32, the columns' deviations.
        seed: of everything random.
    """

    kinds: tuple[Kind, ...]
    binary: tuple[Tensor, ...]
    scales: tuple[Tensor, ...]
    seed: int

    @classmethod
    def like(cls, inputs: Inputs, *, seed: int) -> Perturbations:
        """Learn from at least one row which columns there are.

        Raises:
            UndecidableError: where there is nothing that could be changed.
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
        """Return the rows changed.

        Args:
            inputs: like those learned from, n rows.
            level: strength from 0; each doubles it, and shifts an image by one pixel more.
            copy: which of the changes of that strength.
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
    """Return numbers with 0 and 1 exchanged in some columns."""
    changed = numbers.flatten(1).clone()
    columns = flipped.flatten().nonzero().squeeze(1).to(numbers.device)
    changed[:, columns] = 1.0 - changed[:, columns]
    return changed.reshape(numbers.shape)


def _noisy(numbers: Tensor, flipped: Tensor, binary: Tensor, noise: Tensor) -> Tensor:
    """Return the same, and noise on the columns that hold other numbers than 0 and 1."""
    return _flipped(numbers, flipped) + torch.where(binary, 0.0, noise).to(numbers)


def _moved(images: Tensor, down: int, right: int, *, by: int, mirrored: bool) -> Tensor:
    """Return images shifted by some pixels, the edge repeated, (n, channels, height, width)."""
    if mirrored:
        images = images.flip(3)
    height, width = images.shape[2:]
    rows = (torch.arange(height) - by * down).clamp(0, height - 1)
    columns = (torch.arange(width) - by * right).clamp(0, width - 1)
    return images[:, :, rows][:, :, :, columns]


def _without(words: Tensor, dropped: Tensor) -> Tensor:
    """Return token ids with those at `dropped` replaced by the word before, so none is unknown."""
    before = words.roll(1, dims=-1)
    before[..., 0] = words[..., 0]
    return torch.where(dropped.to(words.device), before, words)
