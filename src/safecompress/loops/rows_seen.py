"""`RowsSeen`: which rows a model is given in training mode, so that members are those trained on.

A row that is held out and trained on all the same leaks nothing that an attack could tell apart,
and a member that was never trained on leaks nothing at all. Both would give a false PASS, so the
inputs of every training step are compared with the rows of the splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.data import Splits
from safecompress.errors import MembershipError
from safecompress.protocols import Inputs, tensors_of

LEAST_SEEN = 0.9
"""Share of the members that a loop must have trained on; batches may leave out a few."""
_SEED = 0x5AFE
_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}


class RowsSeen:
    """Notes which members a module is given while it trains, and counts rows that are held out.

    Rows are compared by a random linear hash of their bits in 64 bits: two different rows agree
    with a chance of about 2^-64.

    Args:
        module: the module, called with the inputs of a batch.
        splits: the rows.
    """

    def __init__(self, module: nn.Module, splits: Splits) -> None:
        inputs = splits.members.inputs
        self._keys = tuple(inputs) if isinstance(inputs, Mapping) else ()
        self._types = [t.dtype for t in tensors_of(inputs)]
        self._shapes = {t.shape[1:] for t in tensors_of(inputs)}
        members = self._hashed(inputs)
        others = splits.held_out(self._hashed)
        # Where a duplicate is allowed on both sides, its row counts as a member's.
        self._members = torch.unique(members)
        self._others = torch.unique(others[~torch.isin(others, members)])
        self._count = len(splits.members)
        self.seen = torch.zeros(len(self._members), dtype=torch.int64)
        self.held_out = torch.zeros((), dtype=torch.int64)
        self._handle = module.register_forward_pre_hook(self._look, with_kwargs=True)

    def remove_(self) -> None:
        """Take the hook off again."""
        self._handle.remove()

    @property
    def members(self) -> int:
        """Number of members that were given exactly as they are."""
        return round(float((self.seen > 0).double().mean()) * self._count)

    def check(self, *, augmented: bool) -> None:
        """Raise where the rows trained on are not the members.

        Args:
            augmented: whether the loop changes its inputs, so that it need not give members as
                they are.

        Raises:
            MembershipError: when a held-out row was trained on, or too few members were.
        """
        if held_out := int(self.held_out):
            raise MembershipError(
                f"your loop trained on rows that are held out: {held_out} times a batch held one. "
                "Attacks cannot tell such a row from a member, and the verdict would be a false "
                "PASS. Train on splits.members alone."
            )
        if augmented or self.members >= LEAST_SEEN * self._count:
            return
        raise MembershipError(
            f"your loop trained on {self.members} of the {self._count} members as they are. A "
            "member that was not trained on leaks nothing, and the verdict would be a false PASS. "
            "Train on all of splits.members; where the loop changes its inputs, say augmented=True."
        )

    def state(self) -> dict[str, Tensor]:
        """Return what was seen so far, on the CPU."""
        return {"seen": self.seen.cpu().clone(), "held_out": self.held_out.cpu().clone()}

    def load_(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned.

        Args:
            state: of the same splits.
        """
        self.seen, self.held_out = state["seen"].clone(), state["held_out"].clone()

    @torch.no_grad()
    def _look(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not module.training or torch.is_inference_mode_enabled():
            return
        given = self._given(args, kwargs)
        if len(given) < len(self._types) or any(not t.ndim for t in given):
            return
        hashes = _hash(given, self._types)
        self._to_(hashes.device)
        at, known = _found(hashes, self._members)
        self.seen.index_add_(0, at, known.long())
        self.held_out += _found(hashes, self._others)[1].sum()

    def _hashed(self, inputs: Inputs) -> Tensor:
        return _hash(list(tensors_of(inputs)), self._types)

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
        """Return the tensors of a call that stand for a row's inputs, as the splits hold them."""
        if "input_ids" in kwargs and not self._keys:
            return [kwargs["input_ids"]]
        named = dict(args[0]) if args and isinstance(args[0], Mapping) else kwargs
        if self._keys:
            return [named[key] for key in self._keys if isinstance(named.get(key), Tensor)]
        # Beside the inputs a model may be given labels, weights or masks.
        values = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
        return [v for v in values if v.shape[1:] in self._shapes][: len(self._types)]

    def _to_(self, device: torch.device) -> None:
        if self.seen.device != device or self._members.device != device:
            self._members, self._others = self._members.to(device), self._others.to(device)
            self.seen, self.held_out = self.seen.to(device), self.held_out.to(device)


def _found(hashes: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return per hash a place among the known ones, and whether it is the hash's own."""
    if not len(known):
        nowhere = torch.zeros(len(hashes), dtype=torch.bool, device=hashes.device)
        return nowhere.long(), nowhere
    at = torch.searchsorted(known, hashes).clamp(max=len(known) - 1)
    return at, known[at] == hashes


def _hash(tensors: list[Tensor], types: list[torch.dtype]) -> Tensor:
    """Return a number for each row, int64 (n,): sums of its bits with random odd factors.

    Padding by zeros adds nothing, so a row padded to its batch has the number that it has alone.
    """
    total = torch.zeros(len(tensors[0]), dtype=torch.int64, device=tensors[0].device)
    for number, (tensor, kind) in enumerate(zip(tensors, types, strict=True)):
        # Minus zero equals zero, and their bits do not.
        flat = tensor.detach().to(kind).flatten(1) + 0
        bits = flat.view(_INTEGERS[flat.element_size()]).long() if flat.numel() else flat.long()
        factors = torch.randint(
            -(2**62),
            2**62,
            (bits.shape[1],),
            generator=torch.Generator().manual_seed(_SEED + number),
        )
        total += (bits * (2 * factors + 1).to(bits.device)).sum(1)
    return total
