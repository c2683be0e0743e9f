"""Real models that know their members by heart, and inputs that reach them in a wrong way.

Only changes that leave the inputs' information about the labels are among them. Where it is
destroyed, such as by taking absolute values, what a model says looks like that of a weaker one, and
nothing in outputs, labels and inputs tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neural_network import MLPClassifier

Table: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = np.random.Generator


@dataclass(frozen=True)
class Overfitted:
    """A model with the rows it was trained on, and as many that it never saw.

    Args:
        ask: returns probabilities (n, classes) of rows (n, columns) scaled as in training.
        raw: rows before they are scaled, members first.
        labels: classes of all rows.
        members: number of members.
    """

    ask: Callable[[Table], Table]
    raw: Table
    labels: NDArray[np.int64]
    members: int

    @property
    def scaled(self) -> Table:
        """The rows as the model was trained on them."""
        known = self.raw[: self.members]
        return (self.raw - known.mean(axis=0)) / known.std(axis=0)

    def groups(self, rows: Table) -> Any:
        """Return members and non-members with their labels."""
        m = self.members
        return (rows[:m], self.labels[:m]), (rows[m:], self.labels[m:])


@cache
def overfitted(number: int) -> Overfitted:
    """Return one of several over-fitted models: networks and forests of 2 to 8 classes."""
    draw = np.random.default_rng([77, number])
    n, columns, classes = 500, int(draw.choice([12, 25, 40])), int(draw.choice([2, 3, 5, 8]))
    weights = draw.normal(size=(columns, classes))
    plain = draw.normal(size=(2 * n, columns))
    labels = (plain @ weights + 1.5 * draw.gumbel(size=(2 * n, classes))).argmax(axis=1)
    raw = plain * np.geomspace(1, 300, columns) + draw.permutation(np.linspace(-500, 500, columns))
    known = raw[:n]
    scaled = (known - known.mean(axis=0)) / known.std(axis=0)
    if number % 3 == 2:
        model: Any = ExtraTreesClassifier(80, random_state=number)
    else:
        model = MLPClassifier((128,), alpha=0, max_iter=2000, random_state=number)
    model.fit(scaled, labels[:n])
    return Overfitted(model.predict_proba, raw, labels.astype(np.int64), n)


def scaler_forgotten(model: Overfitted, draw: Draw) -> Table:
    del draw
    return model.raw


def scaled_by_another_set(model: Overfitted, draw: Draw) -> Table:
    raw = model.raw
    return (raw - raw.mean(axis=0) * draw.uniform(0.2, 0.7)) / (
        raw.std(axis=0) * draw.uniform(2, 6)
    )


def columns_in_another_order(model: Overfitted, draw: Draw) -> Table:
    return model.scaled[:, draw.permutation(model.scaled.shape[1])]


def scaled_to_one(model: Overfitted, draw: Draw) -> Table:
    del draw
    low, high = model.raw.min(axis=0), model.raw.max(axis=0)
    return (model.raw - low) / (high - low)


def rows_of_another_order(model: Overfitted, draw: Draw) -> Table:
    rows = model.scaled.copy()
    rows[: model.members] = rows[draw.permutation(model.members)]
    return rows


WRONG_INPUTS: dict[str, Callable[[Overfitted, Draw], Table]] = {
    change.__name__.replace("_", " "): change
    for change in (
        scaler_forgotten,
        scaled_by_another_set,
        columns_in_another_order,
        scaled_to_one,
        rows_of_another_order,
    )
}
