"""`RemoveChannels`: remove whole channels, so that layers can be made smaller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

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
from safecompress.transforms import ChannelGroup, Channels


@final
@dataclass(frozen=True)
class RemoveChannels(OverMask):
    """Remove channels permanently, after a change of the mask; every layer's count is kept.

    In each group the channels with the smallest sum of |w| over all weights that write or read
    them are removed. As many weights grow in the remaining channels: largest gradient first, or at
    random if there is no gradient. A group loses fewer channels if a layer's weights would not fit
    into the remaining ones, so a dense layer keeps all of its channels.

    Args:
        share: share of each group's channels that are gone afterwards, in (0, 1).
        mask: the change of the mask that goes with it.

    Raises:
        ConfigError: on a share outside (0, 1).

    References: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017; groups: Fang et
    al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """

    share: float

    def __post_init__(self) -> None:
        require_share(self.share)
        super().__post_init__()

    def needs(self) -> frozenset[str]:
        """Return `channels`: the context must state which channels belong together."""
        return frozenset({"channels"})

    @property
    def name(self) -> str:
        """The mask's name and the share, e.g. `rigl channels=0.5`."""
        return f"{self.mask.name} channels={self.share:g}"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate without the channels.

        Raises:
            ConfigError: when the context does not say which channels belong together.
        """
        if context.channels is None:
            raise ConfigError(
                f"{self.name}: the context has no channels; pass the model's groups as "
                "ProposalContext.channels (models.channel_groups finds them)."
            )
        changed = self.mask(parent, context)
        left = channels_left(changed, context.channels, self.share, fitting=True)
        masks = {
            name: _moved(
                mask, left.open(name, mask.shape), priorities(parent, changed, name, context)
            )
            for name, mask in changed.topology.masks.items()
        }
        made = remask(parent, changed, masks, proposal=self.name)
        return _without_vectors(made, left)


def require_share(share: object) -> None:
    """Refuse anything but a number in (0, 1).

    Args:
        share: the share of channels to remove.

    Raises:
        ConfigError: when `share` is something else.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 < share < 1.0:
        raise ConfigError(f"share is {share!r}; expected a number in (0, 1).")


def without_channels(
    candidate: Candidate, groups: Sequence[ChannelGroup], *, share: float
) -> Candidate:
    """Return a candidate without some of its channels and their weights; no weight grows instead.

    Args:
        candidate: any candidate; its tensors are left untouched.
        groups: the channels that belong together, from `models.channel_groups`.
        share: share of each group's channels that are gone afterwards, in (0, 1).

    Raises:
        ConfigError: on a share outside (0, 1).
    """
    require_share(share)
    left = channels_left(candidate, groups, share, fitting=False)
    masks = {}
    for name, mask in candidate.topology.masks.items():
        allowed = left.open(name, mask.shape)
        masks[name] = mask if allowed is None else mask & allowed.to(mask.device)
    made = remask(candidate, candidate, masks, proposal=f"channels={share:g}")
    return _without_vectors(made, left)


def channels_left(
    candidate: Candidate, groups: Sequence[ChannelGroup], share: float, *, fitting: bool
) -> Channels:
    """Return the channels that remain when the least important of each group are removed.

    Args:
        candidate: the importance of a channel is the sum of |w| over its weights.
        groups: the channels that belong together.
        share: share of each group that is gone afterwards, in (0, 1).
        fitting: whether every layer must have room for as many weights as it has now.
    """
    before = candidate.transforms.channels
    counts = candidate.topology.layer_counts()
    gone = [_gone(group, before) for group in groups]
    fewest = [int(g.sum()) for g in gone]
    wanted = [
        max(min(int(share * g.size), g.size - 1), f) for g, f in zip(groups, fewest, strict=True)
    ]
    orders = [_order(candidate, g, away) for g, away in zip(groups, gone, strict=True)]
    while True:
        stays = {}
        for i, group in enumerate(groups):
            kept = torch.ones(group.size, dtype=torch.bool)
            kept[orders[i][: wanted[i]]] = False
            stays[i] = (group, kept)
        left = before.without(stays)
        tight = {n for n, m in candidate.topology.masks.items() if _room(left, n, m) < counts[n]}
        if not fitting or not tight:
            return left
        for i, group in enumerate(groups):
            if tight & {*group.rows, *group.columns}:
                wanted[i] = max(wanted[i] - max(1, group.size // 32), fewest[i])


def _gone(group: ChannelGroup, before: Channels) -> Tensor:
    """Return bool (size,), True where a channel of the group was removed before."""
    gone = torch.zeros(group.size, dtype=torch.bool)
    for name, channel in group.rows.items():
        if name in before.rows:
            gone[channel[~before.rows[name]]] = True
    return gone


def _order(candidate: Candidate, group: ChannelGroup, gone: Tensor) -> Tensor:
    """Return the group's channels in order of removal: removed ones, then the least important."""
    importance = torch.zeros(group.size, dtype=torch.float64)
    for dimension, members in enumerate((group.rows, group.columns)):
        for name, channel in members.items():
            mask = candidate.topology.masks.get(name)
            if mask is None:
                continue
            size = (candidate.weights[name].detach() * mask).cpu().abs().double()
            importance.index_add_(0, channel, size.transpose(0, dimension).flatten(1).sum(1))
    importance[gone] = -1.0
    return torch.argsort(importance, stable=True)


def _room(left: Channels, name: str, mask: Tensor) -> int:
    rows, columns = left.rows.get(name), left.columns.get(name)
    outputs = mask.shape[0] if rows is None else int(rows.sum())
    inputs = mask.shape[1] if columns is None else int(columns.sum())
    return outputs * inputs * math.prod(mask.shape[2:])


def _moved(mask: Tensor, allowed: Tensor | None, priority: Tensor) -> Tensor:
    """Return the mask with its weights where they are allowed, as many as before."""
    if allowed is None:
        return mask
    wanted = torch.where(allowed, priority, -torch.inf).flatten()
    moved = torch.zeros(mask.numel(), dtype=torch.bool)
    moved[largest(wanted, int(mask.sum()))] = True
    return moved.view(mask.shape).to(mask.device)


def _without_vectors(candidate: Candidate, left: Channels) -> Candidate:
    """Return the candidate with `left` recorded and removed channels' biases and norms set to 0."""
    weights, optimizer = dict(candidate.weights), dict(candidate.optimizer)
    for name, kept in left.rows.items():
        if name in candidate.topology.masks or name not in weights:
            continue
        weights[name] = weights[name] * kept.to(weights[name].device)
        optimizer[name] = {
            key: state * kept.to(state.device) if state.shape == kept.shape else state
            for key, state in optimizer.get(name, {}).items()
        }
    transforms = replace(candidate.transforms, channels=left)
    return candidate.evolve(weights=weights, optimizer=optimizer, transforms=transforms)


def channels(*, share: float = 0.5, mask: Request = "keep") -> RemoveChannels:
    """Return the proposal that takes channels away for good.

    Args:
        share: share of each group's channels that are gone afterwards, in (0, 1).
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or a share outside its range.
    """
    return RemoveChannels(share, mask=PROPOSALS.build(mask, where="mask"))


PROPOSALS.add(
    "channels",
    channels,
    summary="takes whole channels away, their weights move to the others: {share: 0.5, mask: rigl}",
    reference="Li et al., ICLR 2017; Fang et al., CVPR 2023",
    cost="the extra `channels`; the mask's own",
)
