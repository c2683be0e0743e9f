"""`SIGNALS`: the kinds of signal by which attacks tell members, each in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SIGNALS: Final[Mapping[str, str]] = {
    "label": "what the model says of the row's own label",
    "vector": "the whole answer, such as how sure it is",
    "comparison": "the whole answer beside those of models that did not see the row",
    "neighbors": "answers to changed copies of the row, or to rows near it",
    "boundary": "how far the row lies from where the predicted class changes",
    "inside": "gradients and hidden features",
    "versions": "how several versions of one model differ",
}
"""An attack declares one of these as its `signals`. A model may be safe to one kind and not to
another, and one that was chosen by one kind is safest to that."""
