"""A model from a file or a folder, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.protocols import Inputs, Pool


@dataclass(frozen=True)
class Target:
    """A model that somebody else may have made.

    Args:
        path: where it was read from.
        kind: `onnx`, `hugging-face` or `module`.
        model: takes what `inputs` returns and answers with logits or probabilities (n, classes).
        inputs: turns rows into the model's inputs, members and non-members together, so that both
            are padded alike. Rows are numbers (an array, or a tuple or mapping of them), or texts
            (a list of strings, or a tuple or mapping of one or two).
        texts: whether it takes texts.
        labels: a name for each class; empty where the file does not say.
        files: what the model was read from; none for one that was given.
    """

    path: Path
    kind: str
    model: nn.Module | Callable[..., Any]
    inputs: Callable[[Pool[Any]], Pool[Inputs]]
    texts: bool
    labels: tuple[str, ...]
    files: tuple[Path, ...]


def brief(error: BaseException, *, longest: int = 200) -> str:
    """Return another library's complaint in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else text[:longest] + " …"
