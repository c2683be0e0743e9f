"""`better_classifier`: by how much a simple classifier of the same rows beats the model.

Weights see their own training rows as nobody else does. Where a simple classifier that was fitted
on half of these rows ranks the other half better, the model did not get the inputs it knows, or it
is very weak.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from safecompress.checks.skill import (
    MILD,
    Floats,
    Integers,
    Skill,
    arrays_of,
    in_errors,
    probabilities,
    with_frequencies,
)
from safecompress.protocols import Outputs, Rows, leading_size, map_inputs, tensors_of
from safecompress.randomness import generator, permutation
from safecompress.stats.ranks import midranks

_ROWS, _FEWEST = 1500, 120
"""Most and fewest rows, half of them to fit on."""
_EACH = 5
"""Fewest judged rows of at least two classes."""
_ELEMENTS = 6_000_000
"""Most input numbers that are read."""
_COLUMNS = 60
"""Most columns; wider inputs are reduced to their principal components."""
_BUCKETS = 65_536
_TOKEN_COLUMNS = 200
_ERRORS = 4.5
_WORSE = 0.1
"""Difference of the areas under the ROC curve that no sound weakness of a model explains."""
_FAR_WORSE = 0.15
"""Difference of accuracies, over all rows and over classes that weigh the same, from which a model
is doubted however sure it is."""
_HALF = 0.5
"""Part of the simple classifier's area above chance that pruned models keep."""
_PART = 0.25
"""Part of the simple classifier's skill that predicted classes without probabilities must have."""
_OFF, _FAR_OFF = 0.1, 0.4
"""Misfit from which a model is compared by its ranking, and by its accuracy, too; honest pruned
models without further training reach the first."""
_OVERSURE = 0.15
"""Excess of sureness, of half as mild a model, from which it is compared."""


@dataclass(frozen=True)
class BetterClassifier:
    """A simple classifier that beats the model on rows that the model was trained on.

    Args:
        text: by how much, in words.
        contradicts: whether the model's sureness or its frequencies of classes do not fit these
            rows either, which weakness does not explain. Otherwise the model may be weak.
    """

    text: str
    contradicts: bool


def better_classifier(outputs: Outputs, rows: Rows, skill: Skill) -> BetterClassifier | None:
    """Return by how much a simple classifier beats the model; None where none does.

    A model whose sureness or frequencies of classes are off contradicts itself where a simple
    classifier is better. One that is weak because it was held back or is too simple has both right
    on its members; it is doubted only where it is far less often right.
    Compared are the ranking, as an area under the ROC curve that frequencies of classes do not
    change, and the accuracy, over all rows and over classes that weigh the same, which weights of
    classes cannot both lower.

    Args:
        outputs: the model's outputs for members.
        rows: the members, with their inputs.
        skill: the model's skill. Of a constant nothing but the accuracy is compared. A model of
            predicted classes without probabilities must be far worse, because its ranking and
            sureness are unknown.
    """
    if len(rows) < _FEWEST or not leading_size(rows.inputs):
        return None
    width = sum(t[0].numel() for t in tensors_of(rows.inputs))
    most = min(_ROWS, _ELEMENTS // max(1, width))
    at = permutation(len(rows), 0, "simple classifier")[:most]
    logits, labels = arrays_of(outputs.take(at))
    misfit = _misfit(logits, labels)
    if not width or len(at) < _FEWEST or (misfit == 0 and skill.constant):
        return None
    columns = _columns(rows.take(at))
    fitted = len(at) // 2
    judged = labels[fitted:]
    if (np.bincount(judged) >= _EACH).sum() < 2:
        return None
    own = probabilities(logits[fitted:])
    doubt = None
    for classifier in _classifiers():
        theirs = _fitted(classifier, columns, labels, fitted, own.shape[1])
        if skill.constant:
            contradicts = _less_right(own, theirs, judged)
        elif skill.one_hot:
            contradicts = _far_worse(own, theirs, judged)
        else:
            contradicts = misfit > 0 and _ranks_worse(own, theirs, judged)
            contradicts |= misfit > _FAR_OFF and _less_right(own, theirs, judged)
        if contradicts:
            return BetterClassifier(_comparison(own, theirs, judged), contradicts=True)
        if doubt is None and _less_right(own, theirs, judged, least=_FAR_WORSE):
            doubt = BetterClassifier(_comparison(own, theirs, judged), contradicts=False)
    return doubt


def _comparison(own: Floats, theirs: Floats, labels: Integers) -> str:
    right, mine = (float((p.argmax(axis=1) == labels).mean()) for p in (theirs, own))
    ranked, ranks = (_placements(p, labels).mean() for p in (theirs, own))
    return (
        f"a simple classifier fitted on half of these rows is right on {right:.1%} of members "
        f"that it never saw, this model on {mine:.1%} of them, though it was trained on them; "
        f"areas under the ROC curve {ranked:.2f} and {ranks:.2f}"
    )


def _ranks_worse(own: Floats, theirs: Floats, labels: Integers) -> bool:
    first, second = _placements(own, labels), _placements(theirs, labels)
    return _leads(second - first) and bool(first.mean() - 0.5 < _HALF * (second.mean() - 0.5))


def _far_worse(own: Floats, theirs: Floats, labels: Integers) -> bool:
    chance = 1 / len(np.unique(labels))
    first, second = (_balanced(p.argmax(axis=1) == labels, labels) - chance for p in (own, theirs))
    ranked = _placements(theirs, labels).mean() - _placements(own, labels).mean() > _WORSE
    return bool(_less_right(own, theirs, labels) and ranked and first < _PART * second)


def _less_right(own: Floats, theirs: Floats, labels: Integers, *, least: float = _WORSE) -> bool:
    first, second = (p.argmax(axis=1) == labels for p in (own, theirs))
    lead = second.astype(np.float64) - first
    balanced = _balanced(second, labels) - _balanced(first, labels)
    return _leads(lead, least) and bool(balanced > least)


def _leads(lead: Floats, least: float = _WORSE) -> bool:
    return bool(lead.mean() > least and in_errors(lead) > _ERRORS)


def _balanced(right: NDArray[np.bool_], labels: Integers) -> float:
    """Return the mean over classes of the share of their rows that are right."""
    counts = np.bincount(labels)
    return float((np.bincount(labels, weights=right) / np.maximum(counts, 1))[counts > 0].mean())


def _misfit(logits: Floats, labels: Integers) -> float:
    """Return by how much frequencies of classes or sureness are off; 0 where that may be chance.

    A model that is weak because it was held back or is too simple has both right on its members.
    """
    p, mild = probabilities(logits), probabilities(logits, temperature=MILD / 2)
    frequencies = np.bincount(labels, minlength=p.shape[1]) / len(labels)
    off = float(np.abs(p.mean(axis=0) - frequencies).sum() / 2)
    mended = with_frequencies(mild, labels)
    excess = mended.max(axis=1) - (mended.argmax(axis=1) == labels)
    oversure = float(excess.mean()) if in_errors(excess) > _ERRORS else 0.0
    found = max(off, oversure)
    return found if off > _OFF or oversure > _OVERSURE else 0.0


def _placements(p: Floats, labels: Integers) -> Floats:
    """Return for each row the share of other classes' rows whose probability of its class is lower.

    Ties count half.
    """
    shares = np.full(len(labels), 0.5)
    for label in np.unique(labels):
        own = labels == label
        if own.all():
            break
        below = midranks(p[:, label])[own] - midranks(p[own, label])
        shares[own] = below / (len(labels) - own.sum())
    return shares


def _columns(rows: Rows) -> Floats:
    """Return inputs as standardized columns, float64 (n, at most 60 or 200 a tensor)."""
    flat = tensors_of(map_inputs(lambda t: t.reshape(len(t), -1).cpu(), rows.inputs))
    parts = [_reduced(part) for part in flat if part.shape[1]]
    return np.asarray(torch.cat(parts, dim=1).double().numpy())


def _reduced(x: Tensor) -> Tensor:
    real = x.is_floating_point() or x.dtype in (torch.bool, torch.uint8)
    if not real and x.shape[1] > 1:
        source = generator(0, "simple classifier", "tokens")
        table = torch.randn(_BUCKETS, _TOKEN_COLUMNS, generator=source)
        return _standardized(embedding_bag(x.long() % _BUCKETS, table, mode="sum"))
    x = _standardized(x.float())
    if x.shape[1] <= _COLUMNS:
        return x
    # The smaller of the two Gram matrices has the same principal components.
    if x.shape[1] <= len(x):
        return _standardized(x @ torch.linalg.eigh(x.T @ x)[1][:, -_COLUMNS:])
    return _standardized(torch.linalg.eigh(x @ x.T)[1][:, -_COLUMNS:])


def _standardized(x: Tensor) -> Tensor:
    x = x.nan_to_num(0.0, 0.0, 0.0)
    scale = x.std(dim=0, correction=0)
    x = (x - x.mean(dim=0)) / torch.where(scale > 0, scale, torch.ones_like(scale))
    return x.clamp(-10, 10)


def _classifiers() -> tuple[Any, ...]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    return (
        LogisticRegression(C=0.3, max_iter=100),
        RandomForestClassifier(30, max_depth=8, random_state=0, n_jobs=1),
    )


def _fitted(classifier: Any, x: Floats, labels: Integers, fitted: int, classes: int) -> Floats:
    """Return probabilities for the rows after the first `fitted`, from a fit on those."""
    found = np.full((len(x) - fitted, classes), 1e-12)
    if len(np.unique(labels[:fitted])) < 2:
        return found
    with warnings.catch_warnings():
        # An unconverged classifier is only a weaker test, and the user cannot act on the warning.
        warnings.simplefilter("ignore")
        classifier.fit(x[:fitted], labels[:fitted])
    found[:, classifier.classes_] = classifier.predict_proba(x[fitted:])
    return found
