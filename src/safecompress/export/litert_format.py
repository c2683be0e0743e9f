"""`Litert`, `LitertInt8`, `LitertInt4`: `.tflite` programs for phones and browsers."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from safecompress.export import loaders
from safecompress.export.context import ExportContext
from safecompress.export.format import FP32, INT8, Format, Predict, Session
from safecompress.export.graph import input_names
from safecompress.export.litert_program import LitertProgram, session_of
from safecompress.export.registry import FORMATS
from safecompress.export.signed_program import signed_program, verified_program
from safecompress.targets.device_file import open_device_file


class LitertFormat(Format, ABC):
    """A `.tflite` for preprocessed rows, one in a call, as the fact `rows` says.

    Attributes:
        values: number format of the weights.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".tflite",)
    requires: ClassVar[frozenset[str]] = frozenset({"litert"})
    computes: ClassVar[bool] = True
    loader: ClassVar[Path | None] = loaders.LITERT
    usage: ClassVar[str] = (
        "from ai_edge_litert.interpreter import Interpreter\n\n"
        "model = Interpreter({file})\n"
        "model.allocate_tensors()\n"
        "(wanted,), (made,) = model.get_input_details(), model.get_output_details()\n"
        'model.set_tensor(wanted["index"], row)  # one row, (1, ...), of wanted["dtype"]\n'
        "model.invoke()\n"
        'logits = model.get_tensor(made["index"])'
    )
    values: ClassVar[Literal["fp32", "int8", "int4"]] = "fp32"

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        lowered = context.once(LitertProgram)
        program = lowered.fp32
        if self.values != "fp32":
            program = lowered.rounded(self.values, context.kept)
        named = {"inputs": list(input_names(context.members)), "rows": 1}
        return signed_program(program, {**facts, **named})

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        return {} if self.values == "fp32" else context.once(LitertProgram).layers

    def shares(self) -> tuple[Callable[[ExportContext], Any], ...]:
        return (LitertProgram,)

    def open(self, path: Path, context: ExportContext) -> Predict:
        model: Any = open_device_file(path, "litert").model
        names = input_names(context.members)

        def ask(*inputs: Any, **named: Any) -> Any:
            return model(*(inputs or (named[name] for name in names)))

        return ask

    def verify(self, path: Path) -> dict[str, Any]:
        return verified_program(path)[1]

    def session(self, path: Path, *, threads: int) -> Session:
        return session_of(path, threads=threads)


@dataclass(frozen=True)
class Litert(LitertFormat):
    """Weights and activations in fp32, every zero in the file."""

    name = "litert"
    summary = "phones and browsers, by LiteRT"


FORMATS.add("litert", Litert, summary=Litert.summary)


@dataclass(frozen=True)
class LitertInt8(LitertFormat):
    """Weights in int8 with a scale per output channel; each call finds the ranges of inputs."""

    name = "litert-int8"
    summary = "the same with int8 weights"
    exact = False
    values = "int8"
    finer = (FP32,)


FORMATS.add("litert-int8", LitertInt8, summary=LitertInt8.summary)


@dataclass(frozen=True)
class LitertInt4(LitertFormat):
    """Weights in int4 with a scale per output channel, otherwise as `litert-int8`."""

    name = "litert-int4"
    summary = "the same with int4 weights"
    exact = False
    values = "int4"
    finer = (INT8, FP32)


FORMATS.add("litert-int4", LitertInt4, summary=LitertInt4.summary)
