"""What every transfer and query attack must keep to, built in or published by somebody else.

>>> from safecompress.attacks.transfer import TRANSFER_ATTACKS
>>> violations(TRANSFER_ATTACKS.build("fgsm", where="example"))
()
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.attacks.transfer.craft import craft_context
from safecompress.attacks.transfer.imagined import BALLS, CLASSES, RowByRow, labeled
from safecompress.attacks.transfer.model_state import changes_of, prepared
from safecompress.attacks.transfer.query_attack import QueryAttack
from safecompress.attacks.transfer.query_contract import QUERY_RULES
from safecompress.protocols import Ball, TransferAttack
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
)

_ROWS = 12
_ROUNDING = 1e-6


def violations(attack: TransferAttack | QueryAttack, *, seed: int = 0) -> tuple[str, ...]:
    """Return what an attack that crafts inputs breaks, in words; empty when it keeps to everything.

    Either kind must be a frozen dataclass that holds nothing but its options and no model of its
    own, leave the models alone, keep every point in its ball and in the input range, and give every
    row what it gives it alone, the same for the same seed.

    A transfer attack must also climb: the source's loss rises on the whole, and points that are
    given a target come nearer to it than others do. A query attack must ask until it has fooled
    the target or its budget is spent, never beyond, with every question counted; it must call a
    row solved only where the target is fooled, and fool one that can be fooled.

    Args:
        attack: the attack; it is run some thirty times on a few rows of 72 numbers.
        seed: of the models, the rows and the attack.
    """
    common = (holds_only_its_options, has_a_name, _holds_no_model)
    if isinstance(attack, TransferAttack):
        return broken(attack, (*common, *_TRANSFER_RULES), seed=seed)
    return broken(attack, (*common, *QUERY_RULES), seed=seed)


def _holds_no_model(attack: Any, seed: int) -> Iterator[str]:
    del seed
    options = dataclasses.fields(attack) if dataclasses.is_dataclass(attack) else ()
    for name in [option.name for option in options]:
        if isinstance(getattr(attack, name), nn.Module | Tensor):
            yield f"its option {name} is a model or tensor; models come with the call"


def _perturbed(
    attack: TransferAttack,
    source: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    seed: int,
    targets: Tensor | None = None,
) -> Tensor:
    """Return the attack's own points, before anybody brings them into the ball."""
    with craft_context(source, x) as (asked, _):
        return attack.perturb(
            asked, x.clone(), labels.clone(), ball=ball, seed=seed, targets=targets
        ).detach()


def _towards(labels: Tensor) -> Sequence[Tensor | None]:
    return None, (labels + 1) % CLASSES


def _stays_in_the_ball(attack: TransferAttack, seed: int) -> Iterator[str]:
    source = RowByRow(seed=seed)
    x, labels = labeled(source, _ROWS, seed=seed)
    for ball, targets in product(BALLS, _towards(labels)):
        found = _perturbed(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
        what = f"{ball.norm}, {'untargeted' if targets is None else 'targeted'}"
        if found.shape != x.shape:
            yield f"{what}: it returns shape {tuple(found.shape)}; expected {tuple(x.shape)}"
            return
        if not bool(torch.isfinite(found).all()):
            yield f"{what}: its points are not finite"
        elif not bool(ball.holds(found, x, rounding=_ROUNDING).all()):
            yield f"{what}: its points leave the ball or the input range"
    still = _perturbed(attack, source, x, labels, ball=Ball("linf", 0.0), seed=seed)
    if not torch.allclose(still, x, atol=_ROUNDING):
        yield "in a ball of radius 0 it moves the rows"


def _climbs(attack: TransferAttack, seed: int) -> Iterator[str]:
    source = RowByRow(seed=seed)
    x, labels = labeled(source, 4 * _ROWS, seed=seed)
    targets = (labels + 1) % CLASSES

    def loss(points: Tensor, wanted: Tensor) -> float:
        with torch.no_grad():
            return float(cross_entropy(source(points), wanted))

    for ball in BALLS:
        away = _perturbed(attack, source, x, labels, ball=ball, seed=seed)
        towards = _perturbed(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
        before, after = loss(x, labels), loss(away, labels)
        if after <= before:
            yield f"{ball.norm}: the source's loss does not rise ({before:.3f} to {after:.3f})"
        aimless, aimed = loss(away, targets), loss(towards, targets)
        if aimed >= min(loss(x, targets), aimless):
            yield (
                f"{ball.norm}: with a target it comes no nearer to it (loss {aimed:.3f}) than "
                f"without ({aimless:.3f})"
            )


def _repeats_itself(attack: TransferAttack, seed: int) -> Iterator[str]:
    source = RowByRow(seed=seed)
    x, labels = labeled(source, _ROWS, seed=seed)
    for ball, targets in product(BALLS, _towards(labels)):
        state = global_generators()
        first = _perturbed(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
        if global_generators() != state:
            yield GLOBAL_DRAW
            return
        with other_global_generators():
            second = _perturbed(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
        if not torch.equal(first, second):
            yield "the same seed gives different points"
            return


def _takes_rows_one_by_one(attack: TransferAttack, seed: int) -> Iterator[str]:
    """The source's logits are the same bits in any batch, so a difference is the attack's."""
    source = RowByRow(seed=seed)
    x, labels = labeled(source, 9, seed=seed)
    for ball, targets in product(BALLS, _towards(labels)):
        together = _perturbed(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
        for i in range(len(x)):
            one = slice(i, i + 1)
            alone = _perturbed(
                attack,
                source,
                x[one],
                labels[one],
                ball=ball,
                seed=seed,
                targets=None if targets is None else targets[one],
            )
            if not torch.equal(alone, together[one]):
                yield "what a row gets depends on the other rows"
                return


def _leaves_the_source_alone(attack: TransferAttack, seed: int) -> Iterator[str]:
    source = prepared(RowByRow(seed=seed))
    x, labels = labeled(source, _ROWS, seed=seed)
    before = copy.deepcopy(source.state_dict())
    given = x.clone(), labels.clone()
    with craft_context(source, x) as (asked, _):
        attack.perturb(asked, x, labels, ball=BALLS[0], seed=seed)
    yield from changes_of(source, before, what="the source")
    if not (torch.equal(x, given[0]) and torch.equal(labels, given[1])):
        yield "it changes the rows or labels in place"


class _Scaled(nn.Module):
    """A model whose logits are larger, or all zero."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.scale * self.model(x)
        return logits


def _survives_extremes(attack: TransferAttack, seed: int) -> Iterator[str]:
    source = RowByRow(seed=seed)
    x, labels = labeled(source, _ROWS, seed=seed)
    for what, scale in (("saturated logits", 1e4), ("logits that say nothing", 0.0)):
        for ball in BALLS:
            found = _perturbed(attack, _Scaled(source, scale), x, labels, ball=ball, seed=seed)
            if not bool(torch.isfinite(found).all()):
                yield f"of a source with {what} its points are not finite ({ball.norm})"
            elif not bool(ball.holds(found, x, rounding=_ROUNDING).all()):
                yield f"of a source with {what} its points leave the ball ({ball.norm})"


_TRANSFER_RULES = (
    _stays_in_the_ball,
    _climbs,
    _repeats_itself,
    _takes_rows_one_by_one,
    _leaves_the_source_alone,
    _survives_extremes,
)
