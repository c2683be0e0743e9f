"""Classifiers with scikit-learn's methods: what they are asked, and which column is which class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from safecompress import audit, record
from safecompress.errors import ConfigError, DataError, ModelError, UsageError

ROWS = 200
CLASSES = {
    "numbers": np.array([0, 1, 2]),
    "from 1": np.array([1, 2, 3]),
    "with gaps": np.array([-7, 2, 40]),
    "texts": np.array(["fox", "cat", "eel"]),
    "texts of numbers": np.array(["10", "9", "2"]),
    "objects": np.array(["fox", "cat", "eel"], object),
    "floats": np.array([2.0, 0.0, 1.0]),
    "booleans": np.array([True, False]),
    "two texts": np.array(["yes", "no"]),
}
MODELS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(5, random_state=0),
    "neighbors": KNeighborsClassifier(3),
    "bayes": GaussianNB(),
    "logistic": LogisticRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    "ridge": RidgeClassifier(),
    "svm": LinearSVC(),
    "kernel svm": SVC(break_ties=True),
}


def rows(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2 * ROWS, 4))
    return x, classes[(x[:, 0] * 1.5).round().astype(int) % len(classes)]


@pytest.mark.parametrize("named", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("made", MODELS.values(), ids=MODELS)
def test_columns_are_found_by_the_classifiers_own_list(made: Any, named: np.ndarray) -> None:
    from sklearn.base import clone

    x, y = rows(named)
    model = clone(made).fit(x[:ROWS], y[:ROWS])
    recorded = record(model, (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:]))
    for side, part, labels in (("members", x[:ROWS], y[:ROWS]), ("nonmembers", x[ROWS:], y[ROWS:])):
        outputs = getattr(recorded.outputs, side)
        own = [model.classes_.tolist().index(label) for label in labels.tolist()]
        assert outputs.labels.tolist() == own
        predicted = model.classes_[outputs.logits.argmax(dim=1).numpy()]
        assert (predicted == model.predict(part)).mean() > 0.99
    assert recorded.class_names in ((), tuple(map(str, model.classes_)))


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba", "decision_function"])
def test_a_method_stands_for_its_classifier(method: str) -> None:
    x, _ = rows(CLASSES["texts"])
    y = CLASSES["texts"][x[:, :3].argmax(axis=1)]  # a linear model can learn it
    model = LogisticRegression().fit(x[:ROWS], y[:ROWS])
    data = (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])
    whole, alone = record(model, *data), record(getattr(model, method), *data)
    assert whole.class_names == alone.class_names == ("cat", "eel", "fox")
    ours, theirs = (r.outputs.members.logits.softmax(dim=1).numpy() for r in (whole, alone))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert audit(model, data, baseline=getattr(model, method)).verdict.status != "ERROR"


def test_a_class_that_no_row_has_keeps_its_column() -> None:
    x, y = rows(CLASSES["texts"])
    model = DecisionTreeClassifier(random_state=0).fit(x[:ROWS], y[:ROWS])
    kept = y != "eel"
    found = record(
        model, (x[:ROWS][kept[:ROWS]], y[:ROWS][kept[:ROWS]]), (x[ROWS:], y[ROWS:])
    ).outputs.members
    assert set(found.labels.tolist()) == {0, 2}
    assert bool(found.correct.all())


def test_labels_of_another_encoder_are_refused() -> None:
    x, y = rows(CLASSES["texts"])
    model = DecisionTreeClassifier().fit(x, y)
    numbers = np.unique(y, return_inverse=True)[1]
    with pytest.raises(DataError, match="Numbers of another encoder"):
        record(model, (x, numbers), (x, numbers))
    with pytest.raises(DataError, match="'owl' is not among the classes of model"):
        record(model, (x, np.full(len(x), "owl")), (x, y))


def test_names_that_a_user_lists_stand_beside_the_classifiers_numbers() -> None:
    x, y = rows(CLASSES["from 1"])
    model = DecisionTreeClassifier(random_state=0).fit(x[:ROWS], y[:ROWS])
    texts = np.array(["", "one", "two", "three"])[y]
    stated = ["one", "two", "three"]
    data = (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])
    named = (x[:ROWS], texts[:ROWS]), (x[ROWS:], texts[ROWS:])
    for given in (data, named):
        found = record(model, *given, classes=stated)
        assert found.class_names == tuple(stated)
        assert bool(found.outputs.members.correct.all())
    with pytest.raises(ConfigError, match="another order"):
        record(model, *data, classes=["3", "2", "1"])
    with pytest.raises(ConfigError, match="lists 2 classes"):
        record(model, *data, classes=["one", "two"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression, "is the class LogisticRegression"),
        (LogisticRegression(), "NotFittedError"),
        (LinearRegression(), "neither predict_proba"),
        (object(), "the model is a object"),
    ],
)
def test_what_is_no_fitted_classifier_is_refused(model: Any, message: str) -> None:
    x, y = rows(CLASSES["numbers"])
    with pytest.raises(UsageError, match=message):
        audit(model, ((x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])))


def test_predicted_classes_and_several_labels_are_refused() -> None:
    x, y = rows(CLASSES["numbers"])
    tree = DecisionTreeClassifier().fit(x, y)
    with pytest.raises(ModelError, match="predict returns classes"):
        record(tree.predict, (x, y), (x, y))
    several = DecisionTreeClassifier().fit(x, np.stack([y, y], axis=1))
    with pytest.raises(ModelError, match="2 labels at once"):
        record(several, (x, y), (x, y))
