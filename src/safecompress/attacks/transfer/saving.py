"""`query_saving`: how many queries to the full model an attacker saves by holding the small one."""

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
from safecompress.attacks.transfer.smoothing import is_image
from safecompress.attacks.transfer.surrogates import Surrogates
from safecompress.errors import UndecidableError
from safecompress.protocols import Ball
from safecompress.registry.identity import require_distinct_names
from safecompress.stats import Interval, bootstrap_interval


@dataclass(frozen=True)
class QuerySaving:
    """Results of query attacks on the full model, all on the same rows.

    Args:
        without: results of the attacks without the small model, by the attack's name: those that
            use no model, and those guided by a network of the attacker's own.
        guided: results of the attacks guided by the small model or by models made from it, by the
            attack's name.
        seed: seed of the bootstrap.
    """

    without: Mapping[str, QueryResult]
    guided: Mapping[str, QueryResult]
    seed: int

    def saving(self, *, level: float) -> Interval:
        """Return the ratio of the least median number of queries without and with the small model.

        A ratio above 1 means that the small model saves queries. A failure counts as the budget.
        The interval is by bootstrap over rows; the best attack of each kind is chosen again in
        every resample.

        Args:
            level: confidence level of the interval, in (0, 1).

        Raises:
            UndecidableError: when no attack of either kind solves half of the rows, because the
                medians are then all equal to the budget.
        """
        results = [*self.without.values(), *self.guided.values()]
        if all(2 * int(r.solved.sum()) < len(r.solved) for r in results):
            raise UndecidableError(
                f"no query attack fools the full model on half of {len(results[0].solved)} rows "
                f"within {results[0].budget} questions; raise the budget or the radius."
            )
        kinds = [list(self.without.values()), list(self.guided.values())]
        columns = [r.queries_to_success.double().numpy() for kind in kinds for r in kind]
        first = len(kinds[0])

        def ratio(samples: NDArray[np.float64]) -> NDArray[np.float64]:
            medians = np.median(samples, axis=1)
            return np.asarray(medians[:, :first].min(axis=1) / medians[:, first:].min(axis=1))

        table = np.stack(columns, axis=1)
        return bootstrap_interval(ratio, table, level=level, seed=self.seed, edges=(0, np.inf))

    def solved_within(self, questions: int) -> dict[str, float]:
        """Return the share of rows that each attack solves with so many questions, in [0, 1].

        A median hides rows that fall early.

        Args:
            questions: number of questions per row, at least 1.
        """
        return {
            name: float((result.solved & (result.asked <= questions)).double().mean())
            for name, result in {**self.without, **self.guided}.items()
        }


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
    made: Surrogates | None = None,
    rows: Tensor | None = None,
) -> QuerySaving:
    """Run query attacks on the full model, with and without the small model as a guide.

    Args:
        full: the attacked model; takes units, as `small` does.
        small: the model the attacker holds.
        x: rows in units, float (n, …).
        labels: int64 (n,), the true classes.
        ball: the points that may be sent instead of a row.
        seed: seed of everything random.
        budget: maximum number of queries per row.
        attacks: the attacks to run; None is every built-in attack that works on these inputs.
        made: models that an attacker made with the small one, which guide attacks as it does, and
            without it, whose results are among those without the small model.
        rows: int64 positions of the rows to attack, for a comparison of several small models on
            the same rows; None takes the rows that both models classify correctly.

    Raises:
        UndecidableError: when there is no row that both models classify correctly.
        ConfigError: when two different attacks share a name.
    """
    chosen = right_on_both(full, small, x, labels) if rows is None else rows
    if attacks is None:
        names = [n for n in QUERY_ATTACKS.parts if n != "square" or is_image(x)]
        attacks = [QUERY_ATTACKS.build(name, where="query attacks") for name in names]
    require_distinct_names(attacks, where="query attacks", kind="attacks")
    made = made or Surrogates()
    guides = [("", small, True)] + [
        (f" on {name}", model, held)
        for held, models in ((True, made.held), (False, made.own))
        for name, model in models.items()
    ]
    results: dict[bool, dict[str, QueryResult]] = {False: {}, True: {}}
    for attack in attacks:
        for suffix, guide, held in guides if attack.needs_source else [("", None, False)]:
            results[held][attack.name + suffix] = hunt_down(
                attack,
                full,
                x[chosen],
                labels[chosen],
                ball=ball,
                seed=seed,
                source=guide,
                budget=budget,
            )
    return QuerySaving(results[False], results[True], seed)


def success_curve(result: QueryResult) -> Tensor:
    """Return the numbers of queries after which rows were solved, int64, ascending.

    The k-th of them is where the curve of solved rows over queries rises to k.

    Args:
        result: the result of a query attack.
    """
    return torch.sort(result.asked[result.solved]).values
