"""`QueryAttack`, `QueryTask`, `hunt_down`: attacks on a model that can only be queried."""

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
"""Largest number of input values in one batch of queries: 64 MB."""


@dataclass(frozen=True)
class QueryResult:
    """The result of a query attack.

    Args:
        points: float (n, …), for each row the point that fooled the model, or else the last point
            tried; each in its ball.
        solved: bool (n,), whether the point fools the model.
        asked: int64 (n,), number of queries for each row, including the successful one; at most
            the budget.
        budget: maximum number of queries per row.
    """

    points: Tensor
    solved: Tensor
    asked: Tensor
    budget: int

    @property
    def queries_to_success(self) -> Tensor:
        """Number of queries until success, int64 (n,); a failure counts as the whole budget."""
        return torch.where(self.solved, self.asked, torch.full_like(self.asked, self.budget))


class QueryTask:
    """The state of a query attack on n rows: budget, last points and success of each row.

    A row is `open` until the model is fooled or the row's budget is too small for the queries that
    the attack wants to make.

    Args:
        oracle: query access to the model, which counts each of the n rows separately.
        x: rows, float (n, …), inside the ball's range.
        aim: the goal for each row.
        ball: the points that may be sent instead of a row.
    """

    def __init__(self, oracle: Oracle, x: Tensor, aim: Aim, ball: Ball) -> None:
        self._oracle, self._aim = oracle, aim
        self.x, self.ball = x, ball
        self.points = x.clone()
        """For each row the point that fooled the model, or else the last point tried."""
        self.solved = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._closed = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    @property
    def open(self) -> Tensor:
        """Positions of the rows that are still open, int64, ascending."""
        return (~self.solved & ~self._closed).nonzero().squeeze(1)

    @property
    def budget(self) -> int:
        """Maximum number of queries per row."""
        return BUDGET if self._oracle.budget is None else self._oracle.budget

    @property
    def aim(self) -> Aim:
        """The goal for each of the n rows."""
        return self._aim

    def affording(self, rows: Tensor, questions: int) -> Tensor:
        """Return a bool mask (k,) of the rows that have queries left, and close the others.

        Args:
            rows: int64 (k,), open rows.
            questions: number of queries that each row needs.
        """
        can = self._oracle.left(rows) >= questions
        self._closed[rows[~can]] = True
        return can

    def attempt(self, rows: Tensor, points: Tensor) -> Tensor:
        """Query one point for each row and return the aim's values, (k,).

        A row whose point fools the model is solved and no longer open. A row without a query left
        is closed and gets −inf.

        Args:
            rows: int64 (k,), open rows.
            points: float (k, …), projected to the ball before they are sent.
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
        """Query several points for each row to measure slopes; return the aim's values, (k, m).

        These points may lie outside the ball, so they never solve a row.

        Args:
            rows: int64 (k,), open rows with m queries left.
            points: float (k, m, …).
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
    """Searches for points that fool a model, given only its logits on queries.

    With `needs_source` the attack is guided by another model that the attacker holds.
    """

    name: ClassVar[str]
    needs_source: ClassVar[bool] = False

    loss: Loss = "margin"

    @abstractmethod
    def hunt_(self, task: QueryTask, *, source: Source | None, seed: int) -> None:
        """Query until no row is open. A row's queries must not depend on the other rows.

        Args:
            task: the rows; all queries go through it.
            source: the model the attacker holds; not None where `needs_source`.
            seed: seed of everything random.
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
    """Run a query attack on a model, with a budget of queries for each row.

    Args:
        attack: the attack to run.
        target: the attacked model; only its logits are used.
        x: rows, float (n, …), inside the ball's range.
        labels: int64 (n,), the true classes.
        ball: the points that may be sent instead of a row.
        seed: seed of everything random.
        source: the model the attacker holds; required where `attack.needs_source`.
        targets: int64 (n,), the class that each point must be classified as; None accepts any class
            other than the label.
        budget: maximum number of queries per row, at least 1.
        batch_size: number of rows attacked at once; it affects the time, not the result.

    Raises:
        MissingEvidenceError: when the attack needs a source and there is none.
        ConfigError: on a budget below 1.
        DataError: when rows lie outside the ball's range, or there are not as many labels as rows.
    """
    require_rows(x, labels, ball=ball, targets=targets)
    if budget < 1:
        raise ConfigError(f"budget is {budget}; expected at least one question a row.")
    if attack.needs_source and source is None:
        raise MissingEvidenceError(f"{attack.name}: needs a model that the attacker holds.")
    parts = []
    with craft_context(source, x) as (guide, device):
        for index in torch.split(torch.arange(len(x), device=x.device), batch_size):
            block_targets = None if targets is None else targets[index].to(device)
            aim = Aim(labels[index].to(device), block_targets, attack.loss)
            oracle = Oracle(target, rows=len(index), budget=budget)
            task = QueryTask(oracle, x[index].to(device), aim, ball)
            with torch.no_grad():
                attack.hunt_(task, source=guide, seed=seed)
            points, solved = task.points.to(x.device), task.solved.to(x.device)
            parts.append((points, solved, oracle.asked.to(x.device)))
    if not parts:
        none = torch.zeros(0, dtype=torch.int64)
        return QueryResult(x.clone(), none.bool(), none, budget)
    points, solved, asked = (torch.cat(part) for part in zip(*parts, strict=True))
    return QueryResult(points, solved, asked, budget)
