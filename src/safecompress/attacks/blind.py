"""`blind_baseline`: tests whether members and non-members differ without any model.

If they do, the two groups come from different distributions (for example collected at different
dates, or one an official test set), and every membership figure measured on them is void.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, one_hot

from safecompress.attacks.source_columns import source_columns
from safecompress.errors import UndecidableError
from safecompress.protocols import Pool, Rows, SourceRows, leading_size, map_inputs, tensors_of
from safecompress.randomness import derive, generator, permutation
from safecompress.stats.intervals import auc_p_value
from safecompress.stats.roc import auc

LEVEL = 0.001
"""Significance level of every control: each raises a false alarm on a valid audit once in 1,000."""

_ROWS = 2000
"""Largest number of rows used of each half of each group; enough to detect an AUC of .53."""

_ELEMENTS = 40_000_000
"""Largest number of input numbers used, unless that leaves fewer than 200 rows in a group."""

_PROJECTED = 60
_SELECTED = 60
_BEYOND_CHANCE = 4.0
"""Least difference of a selected column's means, in standard errors; of 3,000 columns without a
difference one exceeds it by chance in one data set of five."""

_MOST_CLASSES = 100
_TOKEN_BUCKETS = 65_536
_FEWEST_ROWS = 20


@dataclass(frozen=True)
class BlindResult:
    """How well inputs and labels alone tell members from non-members.

    Args:
        auc: AUC of the classifier with the smaller p-value, on the judged half.
        p_value: one-sided, against an AUC of at most 0.5, corrected for the classifiers tried.
        alarm: whether p < 0.001, which makes every membership figure on these rows void.
        classifier: `logistic`, `boosting` or, of labels alone, `frequencies`, the one that `auc`
            belongs to.
        looked_at: `inputs and labels`, or `labels` where the rows have no inputs.
        n_members, n_nonmembers: numbers of judged rows.
        seconds: wall time of the test.
    """

    auc: float
    p_value: float
    alarm: bool
    classifier: str
    looked_at: str
    n_members: int
    n_nonmembers: int
    seconds: float

    @property
    def message(self) -> str:
        """The result and what it means, in a sentence or two."""
        result = (
            f"blind baseline: {self.looked_at} alone tell members from non-members with AUC "
            f"{self.auc:.3f} (p = {self.p_value:.2g}, {self.classifier})"
        )
        if not self.alarm:
            return f"{result}, no more than chance."
        return (
            f"{result}: the groups differ without any model, so no membership figure means "
            "anything. Draw members and non-members at random from one source, and give each row "
            "once: rows that repeat can be told by their copies."
        )


def blind_baseline(pool: Pool[Rows], *, halves: Pool[Tensor], seed: int) -> BlindResult:
    """Fit two classifiers on inputs and labels of the fit half and test them on the other half.

    Inputs are flattened and reduced to at most 124 columns: a random projection, the columns whose
    means differ most on the fit half, and each row's mean, standard deviation and extremes. Integer
    inputs are treated as tokens and become bags of words. Labels become one-hot columns, or, with
    more than 100 classes, the logarithm of the ratio of their frequencies in the two groups. Rows
    with empty inputs (n, 0) are classified by that ratio alone, without a classifier.

    Rows that have a `source` are compared by it and not by their inputs. A vocabulary that was
    learned from members treats them otherwise than other rows; that is a leak of the model, for
    attacks to judge, and no difference between the groups.

    Args:
        pool: rows of members and of non-members.
        halves: bool masks (n_members,) and (n_nonmembers,), True = fit half.
        seed: seed of the choice of rows, the projection and the classifiers.

    Raises:
        UndecidableError: when a half of a group has fewer than 20 rows.
    """
    started = time.perf_counter()
    fit = pool.zip(halves, lambda rows, mask: _taken(rows, mask, name="fit", seed=seed))
    judged = pool.zip(halves, lambda rows, mask: _taken(rows, ~mask, name="judged", seed=seed))
    groups = (fit.members, fit.nonmembers, judged.members, judged.nonmembers)
    sizes = [len(rows) for rows in groups]
    if min(sizes) < _FEWEST_ROWS:
        raise UndecidableError(
            f"blind baseline: {min(sizes)} rows in one half of the members or non-members; "
            f"expected at least {_FEWEST_ROWS}."
        )
    known = torch.arange(sum(sizes)) < sizes[0] + sizes[1]
    target = torch.cat([torch.full((n,), g % 2 == 0) for g, n in enumerate(sizes)])
    parts = [part for part in _parts(groups, known) if part.shape[1]]
    labels = torch.cat([rows.labels for rows in groups])
    if parts:
        columns = [_reduced(part, known, target, seed=seed) for part in parts]
        columns.append(_label_columns(labels, known, target))
        x = _standardized(torch.cat(columns, dim=1), known).numpy()
        scores = {
            name: _fitted_scores(classifier, x, known.numpy(), target.numpy())
            for name, classifier in _classifiers(seed).items()
        }
    else:
        # Nothing is left to fit, and the libraries of classifiers take a second to import.
        scores = {"frequencies": _frequency_ratio(labels, known, target)[~known].double().numpy()}
    best_p, best_auc, best_name = 1.0, 0.5, next(iter(scores))
    for name, score in scores.items():
        members, nonmembers = score[: sizes[2]], score[sizes[2] :]
        p = min(1.0, len(scores) * auc_p_value(members, nonmembers))
        if p <= best_p:
            best_p, best_auc, best_name = p, auc(members, nonmembers), name
    return BlindResult(
        auc=best_auc,
        p_value=best_p,
        alarm=best_p < LEVEL,
        classifier=best_name,
        looked_at="inputs and labels" if parts else "labels",
        n_members=sizes[2],
        n_nonmembers=sizes[3],
        seconds=time.perf_counter() - started,
    )


def _taken(rows: Rows, mask: Tensor, *, name: str, seed: int) -> Rows:
    """Return a random sample of the rows in `mask`, small enough to process."""
    chosen = mask.nonzero().squeeze(1)
    width = sum(t[:1].numel() for t in tensors_of(rows.inputs)) if len(rows) else 1
    most = min(_ROWS, max(200, _ELEMENTS // (4 * max(1, width))))
    return rows.take(chosen[permutation(len(chosen), seed, "blind", name)[:most]])


def _parts(groups: tuple[Rows, ...], known: Tensor) -> list[Tensor]:
    """Return what is compared of all groups together, as tables (n, width).

    That is the source of the rows where they have one, otherwise each input tensor, flattened.
    """
    sources = [rows.source for rows in groups if rows.source is not None]
    if len(sources) == len(groups):
        numbers = torch.cat([source.numbers for source in sources])
        texts = np.concatenate([source.texts for source in sources])
        return source_columns(SourceRows(numbers, texts), known)
    flat = [
        tensors_of(map_inputs(lambda t: t.reshape(len(t), -1).cpu(), rows.inputs))
        for rows in groups
        if leading_size(rows.inputs)
    ]
    return [torch.cat(same) for same in zip(*flat, strict=True)]


def _reduced(x: Tensor, known: Tensor, target: Tensor, *, seed: int) -> Tensor:
    """Return at most 124 columns that summarize inputs (n, width), float32."""
    source = generator(seed, "blind", "projection")
    if not x.is_floating_point() and x.dtype != torch.bool:
        table = torch.randn(_TOKEN_BUCKETS, _PROJECTED, generator=source)
        projected = embedding_bag(x.long() % _TOKEN_BUCKETS, table, mode="sum")
        x = x.float()
    else:
        x = x.float()
        projected = x[:, :0]
        if x.shape[1] > _SELECTED:
            projected = x @ torch.randn(x.shape[1], _PROJECTED, generator=source)
    summary = torch.stack(
        [x.mean(dim=1), x.std(dim=1, correction=0), x.amin(dim=1), x.amax(dim=1)], dim=1
    )
    return torch.cat([projected, x[:, _most_different(x, known, target)], summary], dim=1)


def _most_different(x: Tensor, known: Tensor, target: Tensor) -> Tensor:
    """Return the columns whose means differ significantly on the fit half, largest first.

    Columns that differ by chance are left out, because they would drown a single one that matters.
    """
    if x.shape[1] <= _SELECTED:
        return torch.arange(x.shape[1])
    (mean, variance), (other_mean, other_variance) = (
        (g.mean(dim=0), g.var(dim=0) / len(g)) for g in (x[known & target], x[known & ~target])
    )
    deviations = (mean - other_mean).abs() / (variance + other_variance + 1e-12).sqrt()
    strongest = deviations.topk(_SELECTED)
    return strongest.indices[strongest.values > _BEYOND_CHANCE]


def _label_columns(labels: Tensor, known: Tensor, target: Tensor) -> Tensor:
    classes = int(labels.max()) + 1
    if classes <= _MOST_CLASSES:
        return one_hot(labels, classes).float()
    return _frequency_ratio(labels, known, target)[:, None]


def _frequency_ratio(labels: Tensor, known: Tensor, target: Tensor) -> Tensor:
    """Return by row how much more frequent its class is among members of the fit half, in logs."""
    classes = int(labels.max()) + 1
    counts = [
        torch.bincount(labels[known & side], minlength=classes) + 1.0 for side in (target, ~target)
    ]
    return (counts[0] / counts[1]).log()[labels]


def _standardized(x: Tensor, known: Tensor) -> Tensor:
    """Return columns standardized on the fit half, clamped to ±10 standard deviations."""
    scale = x[known].std(dim=0, correction=0)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return ((x - x[known].mean(dim=0)) / scale).clamp(-10, 10).nan_to_num()


def _classifiers(seed: int) -> dict[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    return {
        "logistic": LogisticRegression(C=0.01, max_iter=200),
        "boosting": HistGradientBoostingClassifier(
            max_iter=40,
            max_leaf_nodes=8,
            early_stopping=False,
            random_state=derive(seed, "blind", "boosting") % 2**32,
        ),
    }


def _fitted_scores(
    classifier: Any, x: np.ndarray, known: np.ndarray, target: np.ndarray
) -> np.ndarray:
    with warnings.catch_warnings():
        # An unconverged classifier is only a weaker test, and the user cannot act on the warning.
        warnings.simplefilter("ignore")
        classifier.fit(x[known], target[known])
    return np.asarray(classifier.predict_proba(x[~known])[:, 1])
