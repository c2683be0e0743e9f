"""`Target`: a model from a file, a folder or memory, and how rows become its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.data.classes import ClassList, names_beyond_numbers
from safecompress.errors import ConfigError
from safecompress.protocols import Inputs, Pool


@dataclass(frozen=True)
class Target:
    """A model to audit, which SafeCompress need not have made.

    Args:
        path: where the model was read from, or its name.
        kind: `onnx`, `hugging-face`, `estimator` or `module`, which stands for callables, too.
        model: takes what `inputs` returns and returns logits or probabilities (n, classes).
        inputs: turns rows into the model's inputs, members and non-members together, so that both
            are padded alike. Rows are numbers (an array, or a tuple or mapping of them), or texts
            (a list of strings, or a tuple or mapping of one or two).
        texts: whether `inputs` takes texts instead of numbers.
        labels: the model's own name for each class; empty where it has no names.
        files: the files that the model was read from; empty for a model in memory.
        stated: the classes in the order of the columns, as the user listed them; None where nothing
            was listed.
    """

    path: Path
    kind: str
    model: nn.Module | Callable[..., Any]
    inputs: Callable[[Pool[Any]], Pool[Inputs]]
    texts: bool
    labels: tuple[str, ...]
    files: tuple[Path, ...]
    stated: ClassList | None = None

    def __post_init__(self) -> None:
        own, stated = self.own_classes, self.stated
        if own is None or stated is None:
            return
        if len(own.names) != len(stated.names):
            raise ConfigError(
                f"{stated.source}: lists {len(stated.names)} classes, and {self.path} has "
                f"{len(own.names)} ({own.shown}); name every column."
            )
        if own.names != stated.names and set(own.names) == set(stated.names):
            raise ConfigError(
                f"{stated.source}: lists the classes of {self.path} in another order than the "
                f"model itself does ({own.shown}); leave the list out."
            )

    @property
    def own_classes(self) -> ClassList | None:
        """The classes as the model itself names them; None where it does not."""
        if not self.labels:
            return None
        source = f"the classes of {self.path}"
        return ClassList(self.labels, source, by_value=self.kind == "estimator")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes for reports; empty where nobody named them."""
        classes = self.stated or self.own_classes
        return () if classes is None else names_beyond_numbers(classes.names)
