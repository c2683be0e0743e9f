"""A leak as a score of scikit-learn's model selection: of exactly the rows that were fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    cross_validate,
)
from sklearn.tree import DecisionTreeClassifier

from safecompress import leak_scorer
from safecompress.errors import ConfigError

X, Y = make_classification(300, flip_y=0.5, random_state=0)
GROUPS = np.arange(300) % 7
TREE = DecisionTreeClassifier(random_state=0)
SPLITTERS = [
    3,
    KFold(3, shuffle=True, random_state=1),
    RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
    # Half of the rows are in neither part: the complement of the test part is not what was fitted.
    ShuffleSplit(3, train_size=0.25, test_size=0.25, random_state=0),
    GroupKFold(3),
]


def by_hand(model: Any, x: Any, y: Any, train: Any, test: Any) -> float:
    """Return 0.5 minus the AUC by which each row's own probability tells members."""
    own = [model.predict_proba(x[part])[np.arange(len(part)), y[part]] for part in (train, test)]
    truth = np.repeat([1, 0], [len(train), len(test)])
    return 0.5 - roc_auc_score(truth, np.concatenate(own))


@pytest.mark.parametrize("cv", SPLITTERS, ids=repr)
def test_the_score_is_of_the_rows_that_each_model_was_fitted_on(cv: Any) -> None:
    grouped = {"groups": GROUPS} if isinstance(cv, GroupKFold) else {}
    scorer = leak_scorer(X, Y, cv=cv, **grouped)
    model = LogisticRegression(C=100)
    kept = {"return_estimator": True, "return_indices": True}
    done = cross_validate(model, X, Y, cv=cv, scoring=scorer, **grouped, **kept)
    expected = [
        by_hand(m, X, Y, train, test)
        for m, train, test in zip(
            done["estimator"], done["indices"]["train"], done["indices"]["test"], strict=True
        )
    ]
    assert done["test_score"] == pytest.approx(expected, abs=1e-3)


def test_a_search_can_choose_by_it() -> None:
    scoring = {"accuracy": "accuracy", "leak": leak_scorer(X, Y, cv=3)}
    grid = {"max_depth": [1, 20]}
    search = GridSearchCV(TREE, grid, cv=3, scoring=scoring, refit="leak")
    results = search.fit(X, Y).cv_results_
    shallow, deep = results["mean_test_leak"]
    assert deep < -0.1 < shallow
    assert search.best_params_ == {"max_depth": 1}


def test_training_parts_have_no_score_and_other_rows_are_refused() -> None:
    scorer = leak_scorer(X, Y, cv=3)
    done = cross_validate(TREE, X, Y, cv=3, scoring=scorer, return_train_score=True)
    assert np.isnan(done["train_score"]).all()
    assert np.isfinite(done["test_score"]).all()
    fitted = TREE.fit(X, Y)
    with pytest.raises(ConfigError, match="test part of none"):
        scorer(fitted, X[:50], Y[:50])


def test_a_row_on_both_sides_counts_on_neither() -> None:
    x, y = np.concatenate([X, X[:100]]), np.concatenate([Y, Y[:100]])
    cv = [(np.arange(150, 400), np.arange(150))]
    (score,) = cross_validate(TREE, x, y, cv=cv, scoring=leak_scorer(x, y, cv=cv))["test_score"]
    model = DecisionTreeClassifier(random_state=0).fit(x[150:], y[150:])
    expected = by_hand(model, x, y, np.arange(150, 300), np.arange(100, 150))
    assert score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("form", ["frame", "sparse", "names"])
def test_rows_of_other_forms_and_labels_that_are_words(form: str) -> None:
    x: Any = {"frame": pd.DataFrame(X), "sparse": scipy.sparse.csr_matrix(X)}.get(form, X)
    y: Any = np.array(["no", "yes"])[Y] if form == "names" else Y
    plain = cross_validate(TREE, X, Y, cv=3, scoring=leak_scorer(X, Y, cv=3))["test_score"]
    done = cross_validate(TREE, x, y, cv=3, scoring=leak_scorer(x, y, cv=3))["test_score"]
    assert done == pytest.approx(plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": KFold(3, shuffle=True)}, "random_state a number"),
        ({"cv": [([0, 1], [2, 3]), ([0, 4], [2, 3])]}, "same test part"),
        ({"attack": "rmia"}, "references"),
        ({"attack": "los"}, "loss"),
    ],
)
def test_what_cannot_be_exact_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        leak_scorer(X, Y, **options)
