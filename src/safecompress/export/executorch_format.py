"""`Executorch`, `ExecutorchInt8`: programs for phones and other devices, computed by XNNPACK."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from safecompress.export import loaders
from safecompress.export.context import ExportContext
from safecompress.export.executorch_model import ExecutorchModel
from safecompress.export.executorch_program import (
    ExecutorchProgram,
    load_method,
    most_rows,
    use_threads,
)
from safecompress.export.format import Format, Predict, Session
from safecompress.export.graph import input_names
from safecompress.export.registry import FORMATS
from safecompress.export.signed_program import signed_program, verified_program


class ExecutorchFormat(Format, ABC):
    """A `.pte` program for preprocessed rows; the fact `rows` is the most rows of one call.

    Attributes:
        values: number format of the weights.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".pte",)
    requires: ClassVar[frozenset[str]] = frozenset({"executorch"})
    computes: ClassVar[bool] = True
    loader: ClassVar[Path | None] = loaders.EXECUTORCH
    usage: ClassVar[str] = (
        "from executorch.runtime import Runtime\n\n"
        'method = Runtime.get().load_program({file}).load_method("forward")\n'
        "(logits,) = method.execute([rows])"
    )
    values: ClassVar[Literal["fp32", "int8"]] = "fp32"

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        lowered = context.once(ExecutorchProgram)
        program = lowered.fp32 if self.values == "fp32" else lowered.int8(context.kept)
        rows = most_rows(load_method(program, "export"))
        named = {"inputs": list(input_names(context.members)), "rows": rows}
        return signed_program(program, {**facts, **named})

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        return {} if self.values == "fp32" else context.once(ExecutorchProgram).layers

    def shares(self) -> tuple[Callable[[ExportContext], Any], ...]:
        return (ExecutorchProgram,)

    def open(self, path: Path, context: ExportContext) -> Predict:
        del context
        return ExecutorchModel(path)

    def verify(self, path: Path) -> dict[str, Any]:
        return verified_program(path)[1]

    def session(self, path: Path, *, threads: int) -> Session:
        # A program keeps the threads that exist when it is loaded, so they are set first.
        runtime = use_threads(threads)
        return Session(runtime, ExecutorchModel(path).answer)


@dataclass(frozen=True)
class Executorch(ExecutorchFormat):
    """Weights and activations in fp32, every zero in the file."""

    name = "executorch"
    summary = "phones and other devices, by XNNPACK"


FORMATS.add("executorch", Executorch, summary=Executorch.summary)


@dataclass(frozen=True)
class ExecutorchInt8(ExecutorchFormat):
    """Static int8 by the ranges of members; the layer that makes the logits stays fp32."""

    name = "executorch-int8"
    summary = "the same in whole numbers"
    exact = False
    values = "int8"


FORMATS.add("executorch-int8", ExecutorchInt8, summary=ExecutorchInt8.summary)
