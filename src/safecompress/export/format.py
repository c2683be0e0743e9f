"""`Format`: the interface of export formats; `Session`: a file opened to be timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ConfigError
from safecompress.export.context import ExportContext

Feed: TypeAlias = Mapping[str, NDArray[Any]]
"""A batch of rows as a file takes them: arrays (n, ...) by the names of its inputs."""
Predict: TypeAlias = Callable[..., Any]
"""Takes inputs as the module does, by place or by name; returns logits (n, classes)."""


@dataclass(frozen=True)
class Session:
    """A file opened in its runtime with a fixed number of threads.

    Args:
        runtime: the runtime's full name and version, for the card.
        ask: answers a batch; only the time it takes is of interest.
    """

    runtime: str
    ask: Callable[[Mapping[str, np.ndarray[Any, Any]]], Any]


class Format(ABC):
    """One way to write a model as a file, and the way back: its runtime, asked about rows.

    A format is a frozen dataclass; its fields, if it has any, are its options. A package publishes
    one in the entry-point group `safecompress.formats`. What `write` returns is opened by `open`
    and tested again on the run's sealed rows before any file is put in place.

    Attributes:
        name: as on the command line.
        summary: what the format is good for, in a few words.
        suffixes: ends of its files' names, the usual one first, e.g. `.onnx`.
        requires: extras of this package that it needs, e.g. `export`.
        exact: whether a file computes what the module does, but for the order of additions. Then
            the retest wants the module's own answers; otherwise accuracy and attacks may differ
            within the interval of the paired difference.
        rounds_inputs: whether a file rounds layers' inputs as training did. Of a model that was
            trained so, a file that does not is not exact.
        prepares: whether `write` puts `context.preprocessor` into the file, which then takes raw
            rows. The context of another format has no preprocessor.
        computes: whether a runtime computes with the file as it is, so that a latency can be
            measured; `session` is written then.
        loader: a script that loads a file in a process of its own, to measure time and memory;
            None where that is not measured. It imports its runtime in `loader(threads)`, which
            returns a function from a file's path to a function that answers a `Feed`.
        limits: sentences for the model card, on what an answer depends besides its row.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    requires: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True
    rounds_inputs: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    computes: ClassVar[bool] = False
    loader: ClassVar[Path | None] = None
    limits: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        """Return the bytes of a file.

        Args:
            context: the module, its topology, and what else a file can be made of.
            facts: JSON values that go into the file, for `verify` to find.

        Raises:
            ConfigError: when a package is missing.
            ModelError: when the model cannot be written in this format.
        """

    @abstractmethod
    def open(self, path: Path, context: ExportContext) -> Predict:
        """Load a file in its own runtime and return what answers for it.

        Args:
            path: a file that `verify` has found sound.
            context: that of `write`; a file of weights alone is filled into its module.

        Raises:
            ConfigError: when the runtime is not installed.
            ModelError: when the runtime does not take the file.
        """

    @abstractmethod
    def verify(self, path: Path) -> dict[str, Any]:
        """Read a file as its reader would, and return the facts in it: those of `write` and more.

        Args:
            path: the file.

        Raises:
            ModelError: saying what is wrong, when it was changed, cut short, or is not ours.
        """

    def session(self, path: Path, *, threads: int) -> Session:
        """Open a file to measure its latency; written where `computes` is True.

        Args:
            path: a file that `verify` has found sound.
            threads: of the runtime, inside an operator.

        Raises:
            ConfigError: when no runtime computes with the file, or it is not installed.
        """
        del threads
        raise ConfigError(
            f"{path}: no runtime computes with {self.name} as it is, so it has no latency; measure "
            "a format that runs as it is."
        )

    def for_file(self, path: Path) -> Format:
        """Return the format as a file of this name wants it, by default as it is.

        Args:
            path: the file to be written; its name may ask for packing.
        """
        del path
        return self
