"""`Target`: a model from a file, a folder or memory, and how rows become its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.protocols import Inputs, Pool


@dataclass(frozen=True)
class Target:
    """A model to audit, which SafeCompress need not have made.

    Args:
        path: where the model was read from, or its name.
        kind: `onnx`, `hugging-face` or `module`.
        model: takes what `inputs` returns and returns logits or probabilities (n, classes).
        inputs: turns rows into the model's inputs, members and non-members together, so that both
            are padded alike. Rows are numbers (an array, or a tuple or mapping of them), or texts
            (a list of strings, or a tuple or mapping of one or two).
        texts: whether `inputs` takes texts instead of numbers.
        labels: a name for each class; empty where the file has no names.
        files: the files that the model was read from; empty for a model in memory.
    """

    path: Path
    kind: str
    model: nn.Module | Callable[..., Any]
    inputs: Callable[[Pool[Any]], Pool[Inputs]]
    texts: bool
    labels: tuple[str, ...]
    files: tuple[Path, ...]


def brief(error: BaseException, *, longest: int = 200) -> str:
    """Return the message of another library's error in one line.

    Args:
        error: the error; its type's name stands for an empty message.
        longest: number of characters after which the message is cut.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else text[:longest] + " …"
