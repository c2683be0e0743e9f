"""The rule that a model is judged only by references of its own recipe, and where it is kept.

What a member looks like is learned from references. A defense changes how members look, so
references of another recipe teach a rule for other models, and a leak passes unseen.

- Shadow models of a run and models of a cohort repeat the recipe; a cohort's folder refuses any
  other.
- Recorded outputs may name the recipes, in `RECIPE` and `REFERENCE_RECIPE`; `require_own_recipe`
  refuses different ones.
- Where recorded outputs name none, nobody knows: `reference_clause` says so in a verdict's scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safecompress.data.raw import Array
from safecompress.errors import DataError

RECIPE = "recipe"
"""Array of recorded outputs: one text, what the model was trained by, such as a digest of it."""
REFERENCE_RECIPE = "reference_recipe"
"""The same of the reference models: one text for all of them, or one for each."""


def require_own_recipe(arrays: Mapping[str, Array], path: Path, *, references: int) -> bool:
    """Return whether a file says that its references are of the model's own recipe.

    Args:
        arrays: those of the file; both names are left out, or both are there.
        path: the file, for messages.
        references: number of reference models.

    Raises:
        DataError: when a reference is of another recipe, one of the two names is missing, or they
            are not texts.
    """
    given = [name for name in (RECIPE, REFERENCE_RECIPE) if name in arrays]
    if not given:
        return False
    if len(given) == 1:
        missing = REFERENCE_RECIPE if given == [RECIPE] else RECIPE
        raise DataError(
            f"{path}: has an array '{given[0]}' and none named '{missing}'; name the recipe of the "
            "model and of its references, or of neither."
        )
    own = _texts(arrays, RECIPE, path, most=1)[0]
    theirs = _texts(arrays, REFERENCE_RECIPE, path, most=references)
    others = [(number, text) for number, text in enumerate(theirs) if text != own]
    if others:
        number, text = others[0]
        raise DataError(
            f"{path}: the model's recipe is '{_short(own)}', that of {len(others)} of "
            f"{len(theirs)} reference models (the first: number {number}) is '{_short(text)}'. A "
            "model is judged only by references of its own recipe, for others do not memorize as "
            "it does: train references by its recipe, or leave these out."
        )
    return True


def _texts(arrays: Mapping[str, Array], name: str, path: Path, *, most: int) -> list[str]:
    array = arrays[name]
    texts = array.reshape(-1).tolist()
    if array.ndim > 1 or len(texts) not in {1, most} or any(type(t) is not str for t in texts):
        wanted = "one text" if most == 1 else f"one text, or one for each of {most} models"
        raise DataError(
            f"{path}: array '{name}' has shape {array.shape} of {array.dtype}; expected {wanted}."
        )
    return texts


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def reference_clause(count: int, *, own_recipe: bool) -> str:
    """Return what a verdict's scope says of reference models, to follow the names of attacks.

    Args:
        count: number of reference models, at least 1.
        own_recipe: whether they are known to be of the judged model's recipe.
    """
    if own_recipe:
        return f" with {count} reference models of the model's own recipe"
    return (
        f" with {count} reference models, whose recipe is not known here (what a model of another "
        "recipe memorizes is not seen by them)"
    )
