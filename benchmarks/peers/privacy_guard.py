"""PrivacyGuard (facebookresearch/PrivacyGuard): LiRA and RMIA on tables of scores.

It trains nothing. Its tables of means and deviations are its user's to make; making them with NumPy
is part of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from privacy_guard.analysis.mia.aggregate_analysis_input import AggregationType
from privacy_guard.attacks.lira_attack import LiraAttack
from privacy_guard.attacks.rmia_attack import RmiaAttack

from benchmarks.peers.exercise import Exercise, Floats, Scoring, run

LIRA: dict[str, dict[str, Any]] = {
    "lira-online-fixed": {
        "online_attack": True,
        "use_fixed_variance": True,
        "std_dev_type": "mix",
    },
    "lira-online-own": {"online_attack": True},
    "lira-offline-fixed": {"std_dev_type": "shadows_out", "use_fixed_variance": True},
}


def score_lira(options: Mapping[str, Any], exercise: Exercise) -> Floats:
    """Score every row."""
    shadows, seen = exercise.log_odds(exercise.shadows), exercise.seen
    table = pd.DataFrame(
        {"user_id": np.arange(len(exercise.y)), "score_orig": exercise.log_odds(exercise.target)}
    )
    for kind, mask in (("in", seen), ("out", ~seen)):
        chosen = np.ma.masked_array(shadows, ~mask)
        table[f"score_mean_{kind}"] = chosen.mean(axis=0).filled(np.nan)
        table[f"score_std_{kind}"] = chosen.std(axis=0, ddof=1).filled(np.nan)
    table["score_mean"], table["score_std"] = table["score_mean_out"], table["score_std_out"]
    attack = LiraAttack(
        table[exercise.target_seen].copy(),
        table[~exercise.target_seen].copy(),
        row_aggregation=AggregationType.NONE,
        **options,
    )
    return in_order(attack.run_attack(), len(exercise.y))


def score_rmia(online: bool, exercise: Exercise) -> Floats:
    """Score every row; the population is the one that our side has."""
    count = len(exercise.shadows)
    shadows = exercise.probabilities(exercise.shadows)
    columns: dict[str, Any] = {
        "user_id": np.arange(len(exercise.y)),
        "score_orig": exercise.probabilities(exercise.target),
    }
    columns |= {f"score_ref_{k}": shadows[k] for k in range(count)}
    columns |= {f"member_ref_{k}": exercise.seen[k] for k in range(count)}
    table = pd.DataFrame(columns)
    attack = RmiaAttack(
        table[exercise.target_seen],
        table[~exercise.target_seen],
        table[exercise.population],
        row_aggregation=AggregationType.NONE,
        # Offline, those that did not see the row: half of them, as each row is drawn.
        num_reference_models=count if online else count // 2,
        online=online,
    )
    return in_order(attack.run_attack(), len(exercise.y))


def in_order(found: Any, rows: int) -> Floats:
    """Return the scores in the order of the rows."""
    scores = np.full(rows, np.nan)
    for table in (found.df_train_merge, found.df_test_merge):
        scores[table["user_id"]] = table["score"]
    return scores


def scorings(exercise: Exercise, folder: Path) -> Mapping[str, Scoring]:
    """Return its attacks on the given shadow models."""
    del exercise, folder
    found: dict[str, Scoring] = {name: partial(score_lira, how) for name, how in LIRA.items()}
    return found | {
        f"rmia-{'online' if on else 'offline'}": partial(score_rmia, on) for on in (True, False)
    }


if __name__ == "__main__":
    run(scorings, None)
