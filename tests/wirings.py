"""Small models with and without faults of wiring, for tests of what an audit refuses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from safecompress.protocols import Outputs, Pool, Rows
from tests.support import count

Array = NDArray[Any]
ROWS = count(600, 1000)
MODELS = {
    "network": lambda: MLPClassifier((100,), max_iter=120, learning_rate_init=5e-3, random_state=0),
    "logistic": lambda: LogisticRegression(max_iter=200),
    "forest": lambda: RandomForestClassifier(30, random_state=0),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
}


@dataclass(frozen=True)
class Wiring:
    """A model's inputs and logits, and labels, of n members followed by n others."""

    x: Array
    z: Array
    y: Array
    raw: Array
    model: Any

    @property
    def classes(self) -> int:
        return self.z.shape[1]

    @property
    def n(self) -> int:
        return len(self.y) // 2

    def outputs(self) -> Pool[Outputs]:
        z, y = torch.from_numpy(self.z.astype(np.float32)), torch.from_numpy(self.y)
        ids = torch.arange(len(y))
        parts = (slice(0, self.n), slice(self.n, None))
        return Pool(*(Outputs(z[part], y[part], ids[part]) for part in parts))

    def rows(self) -> Pool[Rows]:
        x, y = torch.from_numpy(self.x.astype(np.float32)), torch.from_numpy(self.y)
        ids = torch.arange(len(y))
        parts = (slice(0, self.n), slice(self.n, None))
        return Pool(*(Rows(x[part], y[part], ids[part]) for part in parts))

    def fed(self, x: Array) -> Wiring:
        """Return the same model's outputs for other inputs."""
        return replace(self, x=x, z=logits(self.model, x, self.classes))

    def labeled(self, y: Array) -> Wiring:
        return replace(self, y=y)


def logits(model: Any, x: Array, classes: int) -> Array:
    p = np.zeros((len(x), classes))
    p[:, model.classes_] = model.predict_proba(x)
    return np.log(np.clip(p, 1e-38, None))


@cache
def wired(kind: str, *, classes: int = 5, n: int = ROWS, noise: float = 0.0) -> Wiring:
    """Return a model fitted on standardized inputs of columns with very different scales."""
    draw = np.random.default_rng(classes)
    s = draw.normal(size=(2 * n, 20))
    y = (s @ draw.normal(size=(20, classes)) + draw.gumbel(size=(2 * n, classes))).argmax(1)
    y = np.where(draw.random(2 * n) < noise, draw.integers(0, classes, 2 * n), y)
    y[:classes] = np.arange(classes)
    raw = s * np.geomspace(1, 300, 20) + np.linspace(-500, 500, 20)
    x = (raw - raw[:n].mean(0)) / raw[:n].std(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MODELS[kind]().fit(x[:n], y[:n])
    return Wiring(x, logits(model, x, classes), y, raw, model)
