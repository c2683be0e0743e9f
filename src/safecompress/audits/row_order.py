"""`require_one_order`: whether two models' recorded answers are about the same rows, one by one.

Rows of one class can stand in another order in a second file, and no label shows it. But a row that
is hard for one model of some data is hard for another, as a rule. Where two models that both know
the classes agree about no row, their answers are not about the same rows, and a comparison row by
row would hide what the files give away together.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.attacks.metric import true_class_log_odds
from safecompress.protocols import Outputs
from safecompress.stats.ranks import midranks

_FEWEST = 400
"""Fewest rows of a group. Models of one data set agree far beyond what chance does on as many."""
_CHANCE = 3.0
"""Standard errors of a correlation that is 0; one in 370 groups in another order is beyond."""
_FEWEST_OF_A_CLASS = 10
_MOST_TIED = 0.5


def agreement(first: Outputs, second: Outputs) -> float | None:
    """Return how far two models agree about which rows of a class are hard, from -1 to 1.

    It is the correlation of the ranks that the rows' log-odds have within their class. None where
    nothing can be said: with few rows, where a model does no better than always answering one
    class, or where most of its answers to a class are alike.

    Args:
        first: outputs on n rows.
        second: another model's outputs on the same rows, with the same labels.
    """
    labels = first.labels.numpy()
    sizes = np.bincount(labels)
    usable = sizes[labels] >= _FEWEST_OF_A_CLASS
    if int(usable.sum()) < _FEWEST or not (_knows(first) and _knows(second)):
        return None
    ranks = [_ranks(outputs, labels, usable) for outputs in (first, second)]
    if any(_tied(r, labels[usable]) > _MOST_TIED for r in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def in_another_order(first: Outputs, second: Outputs) -> bool:
    """Return whether two models' answers are surely not about the same rows in the same order.

    Args:
        first: outputs on n rows.
        second: another model's outputs, with the same labels.
    """
    found = agreement(first, second)
    # Rows that answer each other with the opposite sign are the same rows, too.
    return found is not None and abs(found) < _CHANCE / math.sqrt(len(first))


def _knows(outputs: Outputs) -> bool:
    right = float(outputs.correct.double().mean())
    most = float(torch.bincount(outputs.labels).max()) / len(outputs)
    return right > most + 3 * math.sqrt(most * (1 - most) / len(outputs))


def _ranks(
    outputs: Outputs, labels: NDArray[np.int64], usable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return each usable row's rank in its class, from -½ to ½."""
    odds = true_class_log_odds(outputs).numpy()
    ranks = np.zeros(len(odds))
    for label in np.unique(labels[usable]):
        own = labels == label
        ranks[own] = (midranks(odds[own]) - 0.5) / own.sum() - 0.5
    return ranks[usable]


def _tied(ranks: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the share of rows that have the same rank in their class as another row."""
    _, again, counts = np.unique(
        np.stack([labels, ranks]), axis=1, return_inverse=True, return_counts=True
    )
    return float((counts[again.reshape(-1)] > 1).mean())
