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
"""A batch for a file: arrays (n, ...) by the names of the file's inputs."""
FP32, INT8, INT8_WEIGHTS = "fp32", "int8", "int8 weights"
"""Number formats of a layer, for `Format.finer`. A layer with int8 weights computes in fp32."""
NO_LAYERS: Mapping[str, str] = {}
"""`ExportContext.kept` of a file that rounds every layer alike."""
Predict: TypeAlias = Callable[..., Any]
"""A function of the module's inputs, by position or by name, that returns logits (n, classes)."""


@dataclass(frozen=True)
class Session:
    """A file opened in its runtime with a fixed number of threads.

    Args:
        runtime: name and version of the runtime, for the model card.
        ask: computes a batch; it is called for its duration, and its result is ignored.
    """

    runtime: str
    ask: Callable[[Mapping[str, np.ndarray[Any, Any]]], Any]


class Format(ABC):
    """One way to write a model as a file, and to compute with that file in its own runtime.

    A format is a frozen dataclass; its fields, if it has any, are its options. A package publishes
    one in the entry-point group `safecompress.formats`. An export writes a file with `write`, opens
    it with `open` and tests it on the run's sealed rows before it puts the file in place.

    Attributes:
        name: on the command line and in documents.
        summary: what the format is good for, in a few words.
        suffixes: endings of its files' names, the usual one first, e.g. `.onnx`.
        companions: endings of further files that belong to a file and lie beside it, e.g. `.bin`;
            `split` then says what stands in which.
        requires: extras of this package that it needs, e.g. `export`.
        exact: whether a file computes what the module does, up to the order of additions. Then the
            retest requires the module's own logits; otherwise accuracy and attacks may differ
            within the interval of the paired difference.
        rounds_inputs: whether a file rounds layers' inputs as quantization-aware training does. If
            not, its files of models that were trained with it are not exact.
        prepares: whether `write` puts `context.preprocessor` into the file, which then takes raw
            rows. The context of other formats has no preprocessor.
        computes: whether a runtime computes with the file directly, so that its latency can be
            measured; then `session` must be written.
        loader: path of a script that loads a file in a process of its own, to measure seconds and
            memory; None where they are not measured. Its function `loader(threads)` imports the
            runtime and returns a function from a file's path to a function of a `Feed`.
        finer: the number formats, of `INT8`, `INT8_WEIGHTS` and `FP32`, to which a layer of
            `layers` can go back where its rounding changes answers, in this order; the last is
            `FP32`.
        limits: sentences for the model card about what an answer depends on besides its row.
        usage: lines of Python for the model card that load a file, whose name `{file}` stands for;
            empty where a card shows none.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    companions: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True
    rounds_inputs: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    computes: ClassVar[bool] = False
    loader: ClassVar[Path | None] = None
    finer: ClassVar[tuple[str, ...]] = (FP32,)
    limits: ClassVar[tuple[str, ...]] = ()
    usage: ClassVar[str] = ""

    @abstractmethod
    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        """Return the bytes of a file.

        Args:
            context: the module, its topology, rows that it was trained on, and the preprocessing.
            facts: JSON values by name that go into the file; `verify` returns them.

        Raises:
            ConfigError: when a package is missing.
            ModelError: when the model cannot be written in this format.
        """

    @abstractmethod
    def open(self, path: Path, context: ExportContext) -> Predict:
        """Load a file in its own runtime and return a function that computes with it.

        Args:
            path: a file that `verify` has accepted.
            context: that of `write`. Weights without a graph are loaded into a copy of its module.

        Raises:
            ConfigError: when the runtime is not installed.
            ModelError: when the runtime does not load the file.
        """

    @abstractmethod
    def verify(self, path: Path) -> dict[str, Any]:
        """Check a file and return the facts in it: those given to `write`, and the format's own.

        Args:
            path: the file.

        Raises:
            ModelError: when the file was changed, cut short, or not written by this format.
        """

    def split(self, content: bytes) -> tuple[bytes, ...]:
        """Return what stands in the file and in each of its companions; by default all in the file.

        Args:
            content: what `write` returned; the parts, joined, are the content again.
        """
        return (content,)

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        """Return the layers that `write` rounds and can round less; by default none.

        Where rounding changes answers, an export writes the file again with the costliest of them
        in a finer number format (`context.kept`).

        Args:
            context: that of `write`.

        Returns:
            By the name that `context.kept` has for a layer, its name in the module.
        """
        del context
        return {}

    def shares(self) -> tuple[Callable[[ExportContext], Any], ...]:
        """Return what `context.once` makes that does not depend on `context.kept`."""
        return ()

    def stand_in(self) -> Format:
        """Return a format whose files answer alike and are made faster, to try out roundings."""
        return self

    def session(self, path: Path, *, threads: int) -> Session:
        """Open a file to measure its latency; a format whose `computes` is True overrides this.

        Args:
            path: a file that `verify` has accepted.
            threads: of the runtime inside one operator, at least 1.

        Raises:
            ConfigError: when no runtime computes with the file, or the runtime is not installed.
        """
        del threads
        raise ConfigError(
            f"{path}: no runtime computes with {self.name} as it is, so it has no latency; measure "
            "a format that runs as it is."
        )

    def for_file(self, path: Path) -> Format:
        """Return the format with the options that a file name implies; by default, the format.

        Args:
            path: the file that will be written; the ending `.zst`, for example, implies packing.
        """
        del path
        return self
