"""`leak_scorer`: how little a model leaks, as a scorer for scikit-learn's model selection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing as take

from safecompress.attacks import ATTACKS
from safecompress.checks import AttackMeasure, Subject
from safecompress.data.output_kind import OutputKind
from safecompress.errors import ConfigError
from safecompress.protocols import Attack
from safecompress.stats import surely_below_chance
from safecompress.targets.record import record

_LEVEL = 0.95


@dataclass(frozen=True)
class LeakScorer:
    """A scorer of scikit-learn: called with a fitted model and the rows that it was not fitted on.

    Args:
        x: all rows.
        y: their labels.
        attack: the attack.
        seed: seed of the attack.
        outputs: what the models return.
        folds: by the digest of a test fold's rows, the numbers of its rows and of those trained on.
        trained: digests of the training folds.
    """

    x: Any = field(repr=False)
    y: Any = field(repr=False)
    attack: Attack
    seed: int
    outputs: OutputKind
    folds: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(repr=False)
    trained: frozenset[str] = field(repr=False)

    def __call__(self, estimator: Any, x: Any, y: Any = None) -> float:
        """Return 0.5 minus the attack's AUC: 0 for no leak, -0.5 where every member is found.

        Args:
            estimator: a classifier that was fitted on the training part of one of the splits.
            x: the test part of this split.
            y: its labels, which are known from the start.

        Returns:
            The score; NaN for a training part, of which no row is a non-member.

        Raises:
            ConfigError: when the rows are of none of the splits.
        """
        del y
        asked = _digest(_keys(x))
        if asked in self.trained:
            return float("nan")
        if asked not in self.folds:
            raise ConfigError(
                "leak_scorer: these rows are the test part of none of its splits, so it is not "
                "known which rows the model was fitted on. Give leak_scorer the same x, y, groups "
                "and cv as the model selection."
            )
        test, train = self.folds[asked]
        members, nonmembers = ((take(self.x, i), take(self.y, i)) for i in (train, test))
        recorded = record(estimator, members, nonmembers, outputs=self.outputs)
        subject = Subject.of(recorded.evidence, name="model", density=None, seed=self.seed)
        auc = AttackMeasure(self.attack).estimate(subject, level=_LEVEL)
        if surely_below_chance(auc.value, auc.high):
            # Such scores tell members as well, turned round.
            return auc.value - 0.5
        return 0.5 - auc.value


def leak_scorer(
    x: Any,
    y: Any,
    *,
    cv: Any = None,
    groups: Any = None,
    attack: str | Mapping[str, Any] = "loss",
    outputs: OutputKind = "auto",
    seed: int = 0,
) -> LeakScorer:
    """Return a scorer of membership leaks for `cross_validate`, `GridSearchCV` and their like.

    scikit-learn tells a scorer the fitted model and the rows that it is tested on, and not the rows
    that it was fitted on. So the scorer is given all rows and the splits: it recognizes a test part
    by its contents, and knows the training part that belongs to it. That must be exact, for rows
    that are wrongly taken for members hide a leak.

    It steers and judges nothing: the folds choose the model, so its score on them looks better than
    it is, and a few hundred rows tell little. Audit the chosen model on rows that had no part.

    Args:
        x: all rows, as the model selection gets them: array, sparse matrix, data frame or list.
        y: their labels.
        cv: the same splits as in the model selection: a number of folds, a splitter whose
            `random_state` is a number where it shuffles, or a list of splits.
        groups: as the model selection gets them, for splitters that use groups.
        attack: an attack that reads outputs alone, by name or as `{name: {option: value}}`.
        outputs: what the models return, as in `audit`.
        seed: seed of the attack.

    Raises:
        ConfigError: when the splits differ from one call to the next or have a test part in common,
            and when the attack needs more than outputs.

    Example:
        The tree that leaks least among those that are almost as accurate as the best:

        >>> from sklearn.datasets import make_classification
        >>> from sklearn.model_selection import GridSearchCV
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> from safecompress import leak_scorer
        >>> x, y = make_classification(400, flip_y=0.4, random_state=0)
        >>> scoring = {"accuracy": "accuracy", "leak": leak_scorer(x, y, cv=3)}
        >>> def safest(results):
        ...     accurate = results["mean_test_accuracy"]
        ...     enough = accurate >= accurate.max() - 0.02
        ...     return int((results["mean_test_leak"] - 9 * ~enough).argmax())
        >>> tree = DecisionTreeClassifier(random_state=0)
        >>> search = GridSearchCV(tree, {"max_depth": [2, 20]}, cv=3, scoring=scoring, refit=safest)
        >>> search.fit(x, y).best_params_
        {'max_depth': 2}
    """
    built = ATTACKS.build(attack, where="leak_scorer.attack")
    if built.requires:
        needs = ", ".join(sorted(built.requires))
        raise ConfigError(f"leak_scorer: attack '{built.name}' needs {needs} besides outputs.")
    splitter = check_cv(cv, y, classifier=True)
    keys = _keys(x)

    def splits() -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(x, y, groups)]

    found, again = splits(), splits()
    pairs = zip(found, again, strict=True)
    if not all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in pairs):
        raise ConfigError(
            "leak_scorer: cv splits otherwise at every call, so the rows of a fold cannot be "
            "known; give its random_state a number."
        )
    folds: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for train, test in found:
        name = _digest(keys[test])
        if name in folds:
            raise ConfigError("leak_scorer: two splits have the same test part; leave one out.")
        # A row of both parts is neither a member nor a non-member.
        both = np.intersect1d(keys[train], keys[test])
        parts = (part[~np.isin(keys[part], both)] for part in (test, train))
        folds[name] = (next(parts), next(parts))
    trained = frozenset(_digest(keys[train]) for train, _ in found) - set(folds)
    return LeakScorer(x, y, built, seed, outputs, folds, trained)


def _keys(rows: Any) -> NDArray[np.str_]:
    """Return a digest of every row's contents, the same wherever the row stands."""
    return np.array([hashlib.sha256(row).hexdigest() for row in _contents(rows)])


def _contents(rows: Any) -> Iterable[bytes]:
    if hasattr(rows, "tocsr"):
        sparse = rows.tocsr().sorted_indices()
        bounds = zip(sparse.indptr, sparse.indptr[1:], strict=False)
        parts = ((sparse.indices[a:b], sparse.data[a:b]) for a, b in bounds)
        return (where.astype("int64").tobytes() + what.tobytes() for where, what in parts)
    to_bytes: Callable[[Any], bytes] = lambda row: repr(row).encode()  # noqa: E731
    if hasattr(rows, "itertuples"):
        return (to_bytes(tuple(row)) for row in rows.itertuples(index=False))
    if isinstance(rows, np.ndarray) and rows.dtype != object:
        return (np.ascontiguousarray(row).tobytes() for row in rows)
    listed: Sequence[Any] = rows.tolist() if isinstance(rows, np.ndarray) else rows
    return map(to_bytes, listed)


def _digest(keys: NDArray[np.str_]) -> str:
    return hashlib.sha256("".join(keys).encode()).hexdigest()
