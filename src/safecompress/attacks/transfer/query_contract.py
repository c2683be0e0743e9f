"""The rules of query attacks: questions counted, budgets kept, rows hunted one by one.

`safecompress.attacks.transfer.contract.violations` runs them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer.aim import LOSSES
from safecompress.attacks.transfer.imagined import BALLS, CLASSES, RowByRow, labeled
from safecompress.attacks.transfer.model_state import changes_of, prepared
from safecompress.attacks.transfer.query_attack import (
    QueryAttack,
    QueryResult,
    QueryTask,
    hunt_down,
)
from safecompress.protocols import Ball, Source
from safecompress.registry.contract import GLOBAL_DRAW, global_generators, other_global_generators

_BUDGETS = (1, 2, 13, 40)
_ENOUGH = 400
"""Questions within which every attack should fool a model that is its own guide."""
_SOLVED = 0.5
_WIDE = Ball("l2", 2.0)
_ROUNDING = 1e-6


class _Counting(nn.Module):
    """A model that counts the points it was asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.heard = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.heard += len(x)
        logits: Tensor = self.model(x)
        return logits


class _Watched(QueryAttack):
    """An attack, and which rows it leaves open."""

    name: ClassVar[str] = "watched"

    def __init__(self, attack: QueryAttack) -> None:
        self.attack, self.loss, self.left_open = attack, attack.loss, 0

    def hunt_(self, hunt: QueryTask, *, source: Source | None, seed: int) -> None:
        self.attack.hunt_(hunt, source=source, seed=seed)
        self.left_open += len(hunt.open)


def _hunted(
    attack: QueryAttack,
    target: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    seed: int,
    ball: Ball = BALLS[0],
    targets: Tensor | None = None,
    budget: int = _BUDGETS[-1],
    batch_size: int = 256,
) -> QueryResult:
    """Hunt with a source of other weights, and only where the attack declares that it needs one."""
    source = RowByRow(seed=seed + 1) if attack.needs_source else None
    return hunt_down(
        attack,
        target,
        x,
        labels,
        ball=ball,
        seed=seed,
        source=source,
        targets=targets,
        budget=budget,
        batch_size=batch_size,
    )


def _declares_what_it_climbs(attack: QueryAttack, seed: int) -> Iterator[str]:
    del seed
    if attack.loss not in LOSSES:
        yield f"its loss is {attack.loss!r}; expected one of {', '.join(LOSSES)}"


def _counts_its_questions(attack: QueryAttack, seed: int) -> Iterator[str]:
    model = RowByRow(seed=seed)
    x, labels = labeled(model, 7, seed=seed)
    for ball in BALLS:
        for targets in (None, (labels + 1) % CLASSES):
            for budget in _BUDGETS:
                target, watched = _Counting(model), _Watched(attack)
                watched.needs_source = attack.needs_source  # type: ignore[misc]
                found = _hunted(
                    watched, target, x, labels, ball=ball, seed=seed, targets=targets, budget=budget
                )
                what = f"{ball.norm}, budget {budget}"
                for problem in _miscounted(found, target, watched):
                    yield f"{what}: {problem}"
                if not bool(ball.holds(found.points, x, rounding=_ROUNDING).all()):
                    yield f"{what}: its points leave the ball or the input range"
                with torch.no_grad():
                    said = model(found.points).argmax(1)
                fooled = said != labels if targets is None else said == targets
                if bool((found.solved & ~fooled).any()):
                    yield f"{what}: it calls rows solved whose points do not fool the target"


def _miscounted(found: QueryResult, target: _Counting, watched: _Watched) -> Iterator[str]:
    if bool((found.asked > found.budget).any()):
        yield f"it asks up to {int(found.asked.max())} questions about a row"
    if int(found.asked.sum()) != target.heard:
        yield f"the target was asked {target.heard} times and {int(found.asked.sum())} are counted"
    if watched.left_open:
        yield f"it gives up on {watched.left_open} rows that could be asked about further"


def _repeats_itself(attack: QueryAttack, seed: int) -> Iterator[str]:
    model = RowByRow(seed=seed)
    x, labels = labeled(model, 8, seed=seed)
    for ball in BALLS:
        state = global_generators()
        first = _hunted(attack, model, x, labels, ball=ball, seed=seed)
        if global_generators() != state:
            yield GLOBAL_DRAW
            return
        with other_global_generators():
            second = _hunted(attack, model, x, labels, ball=ball, seed=seed)
        if not _same(first, second):
            yield "the same seed asks different questions"
            return


def _takes_rows_one_by_one(attack: QueryAttack, seed: int) -> Iterator[str]:
    """The models' logits are the same bits in any batch, so a difference is the attack's."""
    model = RowByRow(seed=seed)
    x, labels = labeled(model, 5, seed=seed)
    for ball in BALLS:
        together = _hunted(attack, model, x, labels, ball=ball, seed=seed, batch_size=3)
        for i in range(len(x)):
            one = slice(i, i + 1)
            alone = _hunted(attack, model, x[one], labels[one], ball=ball, seed=seed)
            if not torch.equal(alone.points, together.points[one]) or not torch.equal(
                alone.asked, together.asked[one]
            ):
                yield "what is asked about a row depends on the other rows"
                return


def _same(one: QueryResult, other: QueryResult) -> bool:
    return torch.equal(one.points, other.points) and torch.equal(one.asked, other.asked)


def _leaves_models_alone(attack: QueryAttack, seed: int) -> Iterator[str]:
    target, source = prepared(RowByRow(seed=seed)), prepared(RowByRow(seed=seed + 1))
    before = [copy.deepcopy(model.state_dict()) for model in (target, source)]
    x, labels = labeled(target, 5, seed=seed)
    given = x.clone(), labels.clone()
    hunt_down(attack, target, x, labels, ball=BALLS[0], seed=seed, source=source, budget=60)
    yield from changes_of(target, before[0], what="the target")
    yield from changes_of(source, before[1], what="the source")
    if not (torch.equal(x, given[0]) and torch.equal(labels, given[1])):
        yield "it changes the rows or labels in place"


def _fools_what_can_be_fooled(attack: QueryAttack, seed: int) -> Iterator[str]:
    target = RowByRow(seed=seed)
    x, labels = labeled(target, 40, seed=seed)
    found = hunt_down(
        attack, target, x, labels, ball=_WIDE, seed=seed, source=target, budget=_ENOUGH
    )
    share = float(found.solved.double().mean())
    if share < _SOLVED:
        yield (
            f"of rows that are easily fooled it fools {share:.0%} within {_ENOUGH} questions; "
            f"expected at least {_SOLVED:.0%}"
        )


QUERY_RULES = (
    _declares_what_it_climbs,
    _counts_its_questions,
    _repeats_itself,
    _takes_rows_one_by_one,
    _leaves_models_alone,
    _fools_what_can_be_fooled,
)
"""What a query attack must keep to, besides what holds for both kinds."""
