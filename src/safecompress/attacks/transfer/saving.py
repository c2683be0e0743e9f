"""How many questions a small model saves who attacks the full one by asking it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safecompress.attacks.transfer.adaptive import right_on_both
from safecompress.attacks.transfer.query_attack import BUDGET, QueryAttack, QueryResult, hunt_down
from safecompress.attacks.transfer.registry import QUERY_ATTACKS
from safecompress.errors import UndecidableError
from safecompress.protocols import Ball
from safecompress.registry.identity import require_distinct_names
from safecompress.stats import Interval, bootstrap_interval

_IMAGE_DIMENSIONS = 4


@dataclass(frozen=True)
class QuerySaving:
    """Questions to success on the full model, by every attack on the same rows.

    Args:
        without: per attack without a prior, what it found.
        guided: per attack guided by the small model, what it found.
        seed: of the resampling.
    """

    without: Mapping[str, QueryResult]
    guided: Mapping[str, QueryResult]
    seed: int

    def saving(self, *, level: float) -> Interval:
        """Return the ratio of the two kinds' least median questions, with its bootstrap interval.

        Above 1 the small model saves questions. A failure counts as the budget. Which attack is
        the best of its kind is chosen anew in every resample.

        Raises:
            UndecidableError: when no attack of either kind solves half of the rows: a ratio of two
                budgets says nothing.
        """
        hunted = [*self.without.values(), *self.guided.values()]
        if all(2 * int(h.solved.sum()) < len(h.solved) for h in hunted):
            raise UndecidableError(
                f"no query attack fools the full model on half of {len(hunted[0].solved)} rows "
                f"within {hunted[0].budget} questions; raise the budget or the radius."
            )
        kinds = [list(self.without.values()), list(self.guided.values())]
        columns = [h.queries_to_success.double().numpy() for kind in kinds for h in kind]
        first = len(kinds[0])

        def ratio(samples: NDArray[np.float64]) -> NDArray[np.float64]:
            medians = np.median(samples, axis=1)
            return np.asarray(medians[:, :first].min(axis=1) / medians[:, first:].min(axis=1))

        table = np.stack(columns, axis=1)
        return bootstrap_interval(ratio, table, level=level, seed=self.seed, edges=(0, np.inf))


def query_saving(
    full: nn.Module,
    small: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    seed: int,
    budget: int = BUDGET,
    attacks: Sequence[QueryAttack] | None = None,
    rows: Tensor | None = None,
) -> QuerySaving:
    """Attack the full model by questions, with and without the small one as a guide.

    Args:
        full: the model attacked; takes units, as `small` does.
        small: the model the attacker holds.
        x: rows in units, float (n, …).
        labels: int64 (n,).
        ball: what may be sent in a row's place.
        seed: of everything random.
        budget: most questions about a row.
        attacks: those to run; None is every built-in one that these inputs allow.
        rows: positions of the rows to hunt, so that two small models are compared on the same
            ones; None takes those that both models get right.

    Raises:
        UndecidableError: when there is no row that both models get right.
        ConfigError: when two different attacks share a name.
    """
    chosen = right_on_both(full, small, x, labels) if rows is None else rows
    if attacks is None:
        names = [n for n in QUERY_ATTACKS.parts if n != "square" or x.ndim == _IMAGE_DIMENSIONS]
        attacks = [QUERY_ATTACKS.build(name, where="query attacks") for name in names]
    require_distinct_names(attacks, where="query attacks", kind="attacks")
    found: dict[bool, dict[str, QueryResult]] = {False: {}, True: {}}
    for attack in attacks:
        found[attack.needs_source][attack.name] = hunt_down(
            attack,
            full,
            x[chosen],
            labels[chosen],
            ball=ball,
            seed=seed,
            source=small if attack.needs_source else None,
            budget=budget,
        )
    return QuerySaving(found[False], found[True], seed)


def success_curve(hunted: QueryResult) -> Tensor:
    """Return the questions at which rows were solved, int64, ascending: a curve's steps."""
    return torch.sort(hunted.asked[hunted.solved]).values
