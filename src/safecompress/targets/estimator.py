"""`Estimator` and `estimator_of`: classifiers that have the methods of scikit-learn's.

No library of such classifiers is imported; XGBoost, LightGBM and others have the same methods.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from safecompress.errors import ModelError

_METHODS = ("predict_proba", "predict_log_proba", "decision_function")
"""What an estimator may be asked, best first."""


@dataclass(frozen=True)
class Estimator:
    """A classifier with the methods of scikit-learn, as a callable.

    Args:
        owner: the fitted classifier.
        method: the method that is asked: `predict_proba`, `predict_log_proba` or
            `decision_function`.
    """

    owner: Any
    method: str

    @property
    def __name__(self) -> str:
        """Name of the classifier's type."""
        return type(self.owner).__name__

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of the columns; empty where the classifier does not say.

        Raises:
            ModelError: when it predicts several labels at once.
        """
        found = getattr(self.owner, "classes_", None)
        if found is None:
            return ()
        if isinstance(found, list) and any(np.ndim(part) for part in found):
            raise ModelError(
                f"{self.__name__} predicts {len(found)} labels at once; audit one label at a time."
            )
        return tuple(np.asarray(found).tolist())

    def __call__(self, rows: Any) -> Any:
        """Return probabilities or logits, (n, classes); (n,) where there is one number for a row.

        Args:
            rows: n rows, as the classifier takes them.

        Raises:
            ModelError: when there is not one column for each class.
        """
        outputs = np.asarray(getattr(self.owner, self.method)(rows))
        if self.method == "decision_function" and (outputs.ndim == 1 or outputs.shape[1:] == (1,)):
            # The logit of the second class against the first, whose logit counts as 0.
            outputs = np.stack([np.zeros(len(outputs)), outputs.reshape(len(outputs))], axis=1)
        classes = self.classes
        if classes and (outputs.ndim != 2 or outputs.shape[1] != len(classes)):
            raise ModelError(
                f"{self.__name__}.{self.method} returned shape {outputs.shape}; expected one "
                f"column for each of its {len(classes)} classes."
            )
        return outputs


def estimator_of(model: Any) -> Estimator | None:
    """Return a model as an estimator, or None where it is something else.

    Args:
        model: an object with `predict_proba`, `predict_log_proba` or `decision_function`, or one
            of these methods itself.

    Raises:
        ModelError: on a class in place of its instance, and on what predicts classes only.
    """
    if isinstance(model, nn.Module):
        return None
    if inspect.isclass(model):
        raise ModelError(
            f"the model is the class {model.__name__}; give an instance, trained and ready to "
            "predict."
        )
    owner, name = getattr(model, "__self__", None), getattr(model, "__name__", "")
    if owner is not None and _has(owner, "classes_"):
        if name in _METHODS:
            return Estimator(owner, name)
        if name == "predict":
            raise ModelError(
                f"{type(owner).__name__}.predict returns classes; give the classifier itself, or "
                "its predict_proba, because attacks read how sure it is."
            )
    for method in _METHODS:
        if callable(getattr(model, method, None)):
            return Estimator(model, method)
    if _has(model, "predict") and not callable(model):
        raise ModelError(
            f"{type(model).__name__} has neither {' nor '.join(_METHODS)}; attacks read how sure a "
            "classifier is. Of support vector machines, set probability=True; of another library, "
            "give a callable from rows to probabilities (n, classes)."
        )
    return None


def _has(model: Any, name: str) -> bool:
    try:
        return getattr(model, name, None) is not None
    except Exception:
        # A property of somebody else's object may raise anything while it is not fitted.
        return False
