"""A search for points that fool a model which only answers: who is left, and what was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from safecompress.attacks.oracle import Oracle
from safecompress.attacks.transfer.aim import Aim, Loss
from safecompress.attacks.transfer.craft import craft_context, require_rows
from safecompress.errors import ConfigError, MissingEvidenceError
from safecompress.protocols import Ball, Source

BUDGET = 10_000
_ELEMENTS = 1 << 24
"""Numbers asked about at once: 64 MB."""


@dataclass(frozen=True)
class QueryResult:
    """What a query attack found.

    Args:
        points: (n, …), the point that fooled the model, or the last that was tried in vain; each
            in its ball.
        solved: bool (n,), whether it fools the model.
        asked: int64 (n,), questions about each row, the successful one included; at most the
            budget.
        budget: most questions about a row.
    """

    points: Tensor
    solved: Tensor
    asked: Tensor
    budget: int

    @property
    def queries_to_success(self) -> Tensor:
        """Questions until success, int64 (n,); a failure counts as the whole budget."""
        return torch.where(self.solved, self.asked, torch.full_like(self.asked, self.budget))


class QueryTask:
    """Rows and the one model they are hunted on.

    A row is `open` until the model is fooled or its budget does not allow what an attack asks for.

    Args:
        oracle: the model, counting each of the n rows.
        x: rows (n, …), inside the ball's range.
        aim: what is wanted of them.
        ball: where points may lie; only a point inside it ends a row's search.
    """

    def __init__(self, oracle: Oracle, x: Tensor, aim: Aim, ball: Ball) -> None:
        self._oracle, self._aim = oracle, aim
        self.x, self.ball = x, ball
        self.points = x.clone()
        """Of each row the point last tried, or the one that fooled the model."""
        self.solved = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._closed = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    @property
    def open(self) -> Tensor:
        """Rows that are still hunted, int64 positions in order."""
        return (~self.solved & ~self._closed).nonzero().squeeze(1)

    @property
    def budget(self) -> int:
        """Most questions about a row."""
        return BUDGET if self._oracle.budget is None else self._oracle.budget

    @property
    def aim(self) -> Aim:
        """What is wanted of the rows."""
        return self._aim

    def affording(self, rows: Tensor, questions: int) -> Tensor:
        """Return a bool mask of the rows that may ask so many more; the others are closed."""
        can = self._oracle.left(rows) >= questions
        self._closed[rows[~can]] = True
        return can

    def attempt(self, rows: Tensor, points: Tensor) -> Tensor:
        """Ask about one point for each row, and return the aim's values, (k,).

        A point that fools the model ends its row's search. Rows without a question left are closed
        and get −inf.

        Args:
            rows: int64 (k,), open rows.
            points: (k, …), brought into the ball before they are sent.
        """
        value = torch.full((len(rows),), -torch.inf, dtype=self.x.dtype, device=self.x.device)
        can = self.affording(rows, 1)
        rows, points = rows[can], self.ball.project(points[can], self.x[rows[can]])
        if len(rows):
            logits = self._oracle.scores(points, rows)
            aim = self._aim.take(rows)
            value[can] = aim.value(logits).to(value)
            self.solved[rows] = aim.reached(logits)
            self.points[rows] = points
        return value

    def probe(self, rows: Tensor, points: Tensor) -> Tensor:
        """Ask about several points for each row to measure a slope; return (k, m).

        They end no search: points to measure with may leave the ball.

        Args:
            rows: int64 (k,), open rows that afford m questions.
            points: (k, m, …).
        """
        many = points.shape[1]
        at_once = max(1, _ELEMENTS // max(1, points[0].numel()))
        values = []
        for index in torch.split(torch.arange(len(rows), device=rows.device), at_once):
            owners = rows[index].repeat_interleave(many)
            logits = self._oracle.scores(points[index].flatten(0, 1), owners)
            values.append(self._aim.take(owners).value(logits).reshape(-1, many))
        return torch.cat(values).to(self.x)


class QueryAttack(ABC):
    """Searches a model that answers with scores, with or without a model of its own as a guide."""

    name: ClassVar[str]
    needs_source: ClassVar[bool] = False

    loss: Loss = "margin"

    @abstractmethod
    def hunt_(self, hunt: QueryTask, *, source: Source | None, seed: int) -> None:
        """Ask until no row is open. What a row is asked must not depend on the other rows.

        Args:
            hunt: the rows, and all that may be asked about them.
            source: the model the attacker holds; given where `needs_source`.
            seed: of everything random.
        """


def hunt_down(
    attack: QueryAttack,
    target: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    seed: int,
    source: nn.Module | None = None,
    targets: Tensor | None = None,
    budget: int = BUDGET,
    batch_size: int = 256,
) -> QueryResult:
    """Attack a model through its answers alone, each row within its budget.

    Args:
        attack: how it is searched.
        target: the model attacked; it is only asked.
        x: rows, float (n, …), inside the ball's range.
        labels: int64 (n,).
        ball: what may be sent in a row's place.
        seed: of everything random.
        source: the model the attacker holds, where the attack needs one.
        targets: int64 (n,), the class each row must be taken for, or None.
        budget: most questions about a row, at least 1.
        batch_size: rows hunted at once; changes the time, not what is found.

    Raises:
        MissingEvidenceError: when the attack needs a source and there is none.
        ConfigError: on a budget below 1.
        DataError: as `craft`.
    """
    require_rows(x, labels, ball=ball, targets=targets)
    if budget < 1:
        raise ConfigError(f"budget is {budget}; expected at least one question a row.")
    if attack.needs_source and source is None:
        raise MissingEvidenceError(f"{attack.name}: needs a model that the attacker holds.")
    found = []
    with craft_context(source, x) as (guide, device):
        for index in torch.split(torch.arange(len(x), device=x.device), batch_size):
            wanted = None if targets is None else targets[index].to(device)
            aim = Aim(labels[index].to(device), wanted, attack.loss)
            oracle = Oracle(target, rows=len(index), budget=budget)
            hunt = QueryTask(oracle, x[index].to(device), aim, ball)
            with torch.no_grad():
                attack.hunt_(hunt, source=guide, seed=seed)
            points, solved = hunt.points.to(x.device), hunt.solved.to(x.device)
            found.append((points, solved, oracle.asked.to(x.device)))
    if not found:
        none = torch.zeros(0, dtype=torch.int64)
        return QueryResult(x.clone(), none.bool(), none, budget)
    points, solved, asked = (torch.cat(part) for part in zip(*found, strict=True))
    return QueryResult(points, solved, asked, budget)
