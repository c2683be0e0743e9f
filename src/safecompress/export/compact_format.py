"""`CompactFormat` and the formats `safetensors`, `-fp16`, `-int8`, `-int4`.

They hold weights and topology; `safecompress_reader` reads them without torch.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from safecompress.errors import ModelError
from safecompress.export import loaders
from safecompress.export.compact import compact_bytes, stream_cuts, zstd
from safecompress.export.context import ExportContext
from safecompress.export.format import FP32, INT8, Format, Predict
from safecompress.export.packing import GRIDS
from safecompress.export.registry import FORMATS, ZSTD
from safecompress.transforms import Transforms, attach_
from safecompress_reader import DamagedFileError, read_compact


@dataclass(frozen=True)
class CompactFormat(Format, ABC):
    """The existing weights and their positions; a program unpacks them before it computes.

    Args:
        packed: whether the whole file is packed with zstd. A file whose name ends in `.zst` always
            is.

    Attributes:
        values: number format of the weights in the file.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".safetensors", ZSTD)
    rounds_inputs: ClassVar[bool] = True
    loader: ClassVar[Path | None] = loaders.COMPACT
    usage: ClassVar[str] = (
        "from safecompress_reader import read_compact  # one file; needs no torch\n\n"
        "found = read_compact({file})\n"
        "found.weights, found.masks, found.metadata"
    )
    values: ClassVar[Literal["fp32", "fp16", "int8", "int4"]] = "fp32"

    packed: bool = False

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        data = compact_bytes(
            context.module.state_dict(),
            context.topology,
            values=self.values,
            squeezed=self.packed,
            facts=facts,
            numbers=context.numbers,
            kept=context.kept,
        )
        return zstd(data, cuts=stream_cuts(data)) if self.packed else data

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        if self.values not in GRIDS or context.numbers is not None:
            return {}
        # Of tied weights the file holds the first.
        held = {id(p): name for name, p in reversed([*context.module.named_parameters()])}
        names = [name for name in held.values() if name in context.topology.masks]
        return {name: name.removesuffix(".weight") for name in sorted(names)}

    def open(self, path: Path, context: ExportContext) -> Predict:
        """Return the context's module with the weights of a file and its ranges of layers' inputs.

        Args:
            path: a compact file.
            context: that of `write`; its module is copied.

        Raises:
            ModelError: when the file is damaged, or its weights do not fit the module.
        """
        try:
            content = read_compact(path)
            filled = deepcopy(context.module)
            weights = {n: torch.from_numpy(np.array(array)) for n, array in content.weights.items()}
            filled.load_state_dict(weights)
            ranges = {
                name: torch.tensor(b) for name, b in content.metadata.get("ranges", {}).items()
            }
            attach_(filled, Transforms(activations=bool(ranges), ranges=ranges))
        except (DamagedFileError, RuntimeError) as error:
            raise ModelError(f"{path}: does not fill the model: {error}") from error
        return filled.eval()

    def verify(self, path: Path) -> dict[str, Any]:
        try:
            return dict(read_compact(path).metadata)
        except DamagedFileError as error:
            raise ModelError(str(error)) from error

    def for_file(self, path: Path) -> CompactFormat:
        return replace(self, packed=self.packed or path.suffix.lower() == ZSTD)


@dataclass(frozen=True)
class Compact(CompactFormat):
    """Weights in fp32 without their zeros, and which of them exist."""

    name = "safetensors"
    summary = "weights and topology for any program"


FORMATS.add("safetensors", Compact, summary=Compact.summary)


@dataclass(frozen=True)
class CompactFp16(CompactFormat):
    """Weights in half precision without their zeros, and which of them exist."""

    name = "safetensors-fp16"
    summary = "the same in half precision"
    exact = False
    values = "fp16"


FORMATS.add("safetensors-fp16", CompactFp16, summary=CompactFp16.summary)


@dataclass(frozen=True)
class CompactInt8(CompactFormat):
    """Weights as whole numbers of 8 bits, with a scale per output channel."""

    name = "safetensors-int8"
    summary = "the same in whole numbers"
    exact = False
    values = "int8"


FORMATS.add("safetensors-int8", CompactInt8, summary=CompactInt8.summary)


@dataclass(frozen=True)
class CompactInt4(CompactFormat):
    """Weights as whole numbers of 4 bits, with a scale per output channel."""

    name = "safetensors-int4"
    finer = (INT8, FP32)
    summary = "the smallest file; name it .zst"
    exact = False
    values = "int4"


FORMATS.add("safetensors-int4", CompactInt4, summary=CompactInt4.summary)
