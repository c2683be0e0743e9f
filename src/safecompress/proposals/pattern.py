"""`Pattern`: gives masks a regular form (constant fan-in, N of M, or whole blocks)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Protocol, final

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.config import Request
from safecompress.errors import ConfigError
from safecompress.proposals.over_mask import OverMask
from safecompress.proposals.registry import PROPOSALS
from safecompress.proposals.remask import priorities, remask
from safecompress.protocols import ProposalContext
from safecompress.sparse.selection import largest


class Form(Protocol):
    """Chooses the entries of highest priority that a form allows."""

    def __call__(self, priority: Tensor, count: int) -> Tensor | None:
        """Return a mask with `count` entries, or None if the form allows fewer.

        Args:
            priority: float64 (outputs, inputs, positions); the highest are chosen first.
            count: number of entries to choose.

        Returns:
            Bool (outputs, inputs, positions).
        """


def constant_fan_in(priority: Tensor, count: int) -> Tensor | None:
    """Choose equally many entries for every output; a remainder gives the best outputs one more.

    Args:
        priority: float64 (outputs, inputs, positions); the highest are chosen first.
        count: number of entries to choose.

    Reference: Lasby et al., "Dynamic Sparse Training with Structured Sparsity", ICLR 2024.
    """
    rows = priority.flatten(1)
    each, over = divmod(count, len(rows))
    rank = _ranks(rows)
    chosen = rank < each
    if over:
        following = torch.where(rank == each, rows, -torch.inf).amax(dim=1)
        best = torch.zeros(len(rows), dtype=torch.bool)
        best[largest(following, over)] = True
        chosen |= (rank == each) & best.unsqueeze(1)
    return chosen.view(priority.shape)


def n_of_m(priority: Tensor, count: int, *, n: int, m: int) -> Tensor | None:
    """Choose at most `n` of every `m` neighboring inputs, for each output and kernel position.

    Args:
        priority: float64 (outputs, inputs, positions); the highest are chosen first.
        count: number of entries to choose.
        n: the most that are chosen of each group, at least 1 and below `m`.
        m: inputs in a group.

    Returns:
        Bool, of the shape of `priority`; None if the form allows fewer than `count` entries.

    Reference: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From
    Scratch", ICLR 2021.
    """
    by_input = priority.transpose(1, 2)
    inputs = by_input.shape[2]
    padded = torch.nn.functional.pad(by_input, (0, -inputs % m), value=-torch.inf)
    rank = _ranks(padded.reshape(-1, m)).view(padded.shape)[..., :inputs]
    allowed = rank < n
    if int(allowed.sum()) < count:
        return None
    best = largest(torch.where(allowed, by_input, -torch.inf).flatten(), count)
    chosen = torch.zeros(by_input.numel(), dtype=torch.bool)
    chosen[best] = True
    return chosen.view(by_input.shape).transpose(1, 2)


def blocks(priority: Tensor, count: int, *, height: int, width: int) -> Tensor | None:
    """Choose whole blocks of outputs × fan-in by mean priority, and a part of one more block.

    Args:
        priority: float64 (outputs, inputs, positions); the highest are chosen first.
        count: number of entries to choose.
        height: outputs in a block.
        width: entries of the fan-in (inputs × positions) in a block.

    Reference: Gray et al., "GPU Kernels for Block-Sparse Weights", 2017.
    """
    matrix = priority.flatten(1)
    rows, columns = matrix.shape
    across = -(-columns // width)
    row = torch.arange(rows).unsqueeze(1) // height
    block = (row * across + torch.arange(columns).unsqueeze(0) // width).flatten()
    number = int(block[-1]) + 1
    size = torch.bincount(block, minlength=number)
    total = torch.zeros(number, dtype=torch.float64).index_add_(0, block, matrix.flatten())
    order = torch.argsort(total / size, descending=True, stable=True)
    whole = int((size[order].cumsum(0) <= count).sum())
    taken = torch.zeros(number, dtype=torch.bool)
    taken[order[:whole]] = True
    chosen = taken[block]
    if over := count - int(chosen.sum()):
        partly = torch.where(block == order[whole], matrix.flatten(), -torch.inf)
        chosen[largest(partly, over)] = True
    return chosen.view(priority.shape)


def _ranks(rows: Tensor) -> Tensor:
    """Return each entry's place in its row, 0 for the largest; equal entries keep their order."""
    order = torch.argsort(rows, dim=1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(
        1, order, torch.arange(rows.shape[1]).expand_as(order).contiguous()
    )


def form_named(text: str) -> Form:
    """Return the form called `fan-in`, `N:M` or `HxW`.

    Args:
        text: the name; N, M, H and W are whole numbers from 1 to 9999, N below M.

    Raises:
        ConfigError: when it is none of these.
    """
    if text == "fan-in":
        return constant_fan_in
    match = re.fullmatch(r"([1-9]\d{0,3})([:x])([1-9]\d{0,3})", str(text))
    if match:
        first, second = int(match[1]), int(match[3])
        if match[2] == "x":
            return partial(blocks, height=first, width=second)
        if first < second:
            return partial(n_of_m, n=first, m=second)
    raise ConfigError(
        f"form is {text!r}; expected fan-in, N of M as '2:4' with N below M, or blocks of outputs "
        "× fan-in as '4x4'. Quote it: YAML reads 2:4 as a number."
    )


@final
@dataclass(frozen=True)
class Pattern(OverMask):
    """Give the mask a regular form, after a change of the mask; every layer's count is kept.

    Within the form, weights are chosen in this order: first those that the change of the mask
    keeps, by magnitude; then those that it grows, then all others, both by the size of their
    gradient, or at random if there is no gradient. A layer with more weights than N of M allow
    stays as the change of the mask left it. If channels have been removed, the form applies to the
    remaining rows and columns.

    Args:
        form: `fan-in` (as many for every output, up to one), `N:M` (at most N of M neighboring
            inputs) or `HxW` (blocks of H outputs and W of the fan-in, one of them not full).
        mask: the change of the mask that goes with it.

    Raises:
        ConfigError: on another form.
    """

    form: str

    def __post_init__(self) -> None:
        form_named(self.form)
        super().__post_init__()

    @property
    def name(self) -> str:
        """The mask's name and the form, e.g. `rigl 2:4`."""
        return f"{self.mask.name} {self.form}"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate with a mask of the form."""
        changed, form = self.mask(parent, context), form_named(self.form)
        masks = {}
        for name, mask in changed.topology.masks.items():
            shaped = _fitted(changed, name, form, priorities(parent, changed, name, context))
            masks[name] = mask if shaped is None else shaped.to(mask.device)
        return remask(parent, changed, masks, proposal=self.name)


def _fitted(changed: Candidate, name: str, form: Form, priority: Tensor) -> Tensor | None:
    """Return the layer's mask in the form, in the remaining channels; None if it does not fit."""
    shape, channels = priority.shape, changed.transforms.channels
    rows = channels.rows.get(name, torch.ones(shape[0], dtype=torch.bool))
    columns = channels.columns.get(name, torch.ones(shape[1], dtype=torch.bool))
    whole = priority.reshape(shape[0], shape[1], -1)
    count = int(changed.topology.masks[name].sum())
    chosen = form(whole[rows][:, columns], count)
    if chosen is None:
        return None
    mask = torch.zeros(whole.shape, dtype=torch.bool)
    places = (rows.nonzero(), columns.nonzero().squeeze(1).unsqueeze(0))
    mask[places] = chosen
    return mask.view(shape)


def pattern(*, form: str, mask: Request = "keep") -> Pattern:
    """Return the proposal that gives the mask a regular form.

    Args:
        form: `fan-in`, `N:M` as `2:4`, or blocks as `4x4`.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal or form.

    >>> pattern(form="2:4", mask="rigl").name
    'rigl 2:4'
    """
    return Pattern(form, mask=PROPOSALS.build(mask, where="mask"))


PROPOSALS.add(
    "pattern",
    pattern,
    summary="a mask of constant fan-in, N of M, or blocks: {form: '2:4', mask: rigl}",
    reference="Lasby et al., ICLR 2024; Zhou et al., ICLR 2021; Gray et al., 2017",
    cost="the mask's own",
)
