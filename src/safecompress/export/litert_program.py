"""`LitertProgram`, `session_of`: a module as a LiteRT program, and a program opened to be timed.

`litert-torch` lowers a module through StableHLO, without TensorFlow; `ai-edge-quantizer` rounds
weights in the program that results. An open number of rows is not lowered: its code for the shapes
of most models wants numbers. So a program takes one row.

A layer of a program is an operator with a weight; what it makes is a tensor, by whose name the
quantizer finds it. These names are read from the program, and nothing is concluded from their
words: which of the model's layers an operator is shows in its weight.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError
from safecompress.export.context import ExportContext
from safecompress.export.format import FP32, Session
from safecompress.export.graph import PositionalModule, in_fp32, ordinary_pooling, quiet, reason_of
from safecompress.export.loaders.litert_loader import loader
from safecompress.protocols import tensors_of

INSTALL = "pip install 'safecompress[litert]'"
_RECIPES = {"int8": "dynamic_wi8_afp32", "int4": "dynamic_wi4_afp32"}
"""Of ai-edge-quantizer: symmetric weights with a scale per channel, so that zeros stay zeros."""


class LitertProgram:
    """A model as the bytes of a `.tflite` program in fp32 for one row.

    Args:
        context: the model, computed in evaluation mode; of its members only a row's shapes matter.

    Raises:
        ConfigError: when litert-torch is not installed.
        ModelError: when the module cannot be lowered.
    """

    def __init__(self, context: ExportContext) -> None:
        try:
            with quiet():
                import litert_torch
        except ImportError as error:
            raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
        module, members = in_fp32(context.module, context.members)
        by_place = PositionalModule.of(module, members).eval()
        row = tuple(t[:1].cpu().contiguous() for t in tensors_of(members))
        with _lowering(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            litert_torch.convert(_pooled(by_place, row), row).export(str(path))
            self.fp32 = path.read_bytes()
        held = ((name, t.detach().cpu().numpy()) for name, t in module.named_parameters())
        self._weights = {name: array for name, array in held if array.ndim > 1}

    @cached_property
    def layers(self) -> dict[str, str]:
        """The model's layers of the operators with a weight, by the tensors that these make.

        Where no weight of the model is the operator's, the name of the tensor stands for it.
        """
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(self.fp32, 0)
        found = {}
        for graph in model.subgraphs:
            for operator in graph.operators:
                weights = (graph.tensors[i] for i in operator.inputs if i >= 0)
                arrays = (_constant(model, tensor, schema) for tensor in weights)
                weight = next((a for a in arrays if a is not None and a.ndim > 1), None)
                made = graph.tensors[operator.outputs[0]].name.decode()
                if weight is not None:
                    found[made] = self._source(weight) or made
        return found

    def _source(self, weight: NDArray[np.float32]) -> str | None:
        """Return the name of the model's layer whose weight an operator has."""
        alike = (n for n, array in self._weights.items() if _same_but_scaled(weight, array))
        found = next(alike, None)
        return found and found.removesuffix(".weight")

    def rounded(self, values: str, kept: Mapping[str, str]) -> bytes:
        """Return the program with its weights in whole numbers.

        Args:
            values: `int8` or `int4`.
            kept: `INT8` or `FP32` by the names of layers that are in a finer number format.

        Raises:
            ModelError: when the quantizer cannot round the program.
        """
        if set(kept) == set(self.layers) and set(kept.values()) == {FP32}:
            return self.fp32
        with _lowering():
            from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe

            every = qtyping.TFLOperationName.ALL_SUPPORTED
            none = algorithm_manager.AlgorithmName.NO_QUANTIZE
            work = quantizer.Quantizer(bytearray(self.fp32), getattr(recipe, _RECIPES[values])())
            # There is no kernel of int4 for depthwise convolutions; without this they stay fp32.
            work.add_dynamic_config(".*", qtyping.TFLOperationName.DEPTHWISE_CONV_2D, num_bits=8)
            for name, kind in kept.items():
                scope = f"^{re.escape(name)};"
                if kind == FP32:
                    work.update_quantization_recipe(scope, every, algorithm_key=none)
                else:
                    work.add_dynamic_config(scope, every, num_bits=8)
            return bytes(work.quantize().quantized_model)


def _pooled(module: nn.Module, row: tuple[Tensor, ...]) -> nn.Module:
    """Return a module with ordinary pooling in place of an adaptive one, which has no lowering."""
    table = ordinary_pooling()
    exported = torch.export.export(module, row)
    if not any(node.target in table for node in exported.graph.nodes):
        return module
    pooled: nn.Module = exported.run_decompositions(table).module()
    return pooled


@contextmanager
def _lowering() -> Iterator[None]:
    """Say what the converters of LiteRT fail on."""
    try:
        with quiet():
            yield
    except Exception as error:
        raise ModelError(
            f"export: the model cannot be lowered to LiteRT ({reason_of(error)}). Its forward must "
            "be traceable; the ONNX formats take more operators, the safetensors formats any model."
        ) from error


def _same_but_scaled(weight: NDArray[np.float32], source: NDArray[np.float32]) -> bool:
    """Return whether two weights are the same but for the order of axes and a factor per channel.

    A normalization after a layer becomes a factor of each of its output channels, one before it a
    factor of each input channel. These are the first two axes of the model's weights; a program has
    them first or last.
    """
    if weight.size != source.size:
        return False
    expected = [_by_channel(np.moveaxis(source, axis, 0)) for axis in (0, 1)]
    given = [_by_channel(np.moveaxis(weight, axis, 0)) for axis in (0, -1)]
    # One number in a channel says nothing once it is divided by its own size.
    return any(
        g.shape == e.shape and g.shape[1] > 1 and np.allclose(g, e, atol=1e-5)
        for g in given
        for e in expected
    )


def _by_channel(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sorted magnitudes of each channel, (channels, …), of length 1."""
    sizes = np.sort(np.abs(weight.reshape(len(weight), -1)), axis=1)
    lengths = np.linalg.norm(sizes, axis=1, keepdims=True)
    return np.asarray(sizes / np.where(lengths > 0, lengths, 1.0), np.float32)


def _constant(model: Any, tensor: Any, schema: Any) -> NDArray[np.float32] | None:
    """Return the numbers of a tensor that is written in the program, None of any other."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type != schema.TensorType.FLOAT32:
        return None
    return np.asarray(data, np.uint8).view(np.float32).reshape(tensor.shape)


def session_of(path: Path, *, threads: int) -> Session:
    """Open a program to measure its latency, row by row.

    Args:
        path: the file.
        threads: of the runtime inside one operator, at least 1.

    Raises:
        ConfigError: when LiteRT is not installed.
    """
    try:
        load = loader(threads)
    except ImportError as error:
        raise ConfigError(f"measure: {error.name} is not installed; {INSTALL}.") from error
    ask = load(str(path))

    def answer(feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(ask(feed), np.float32)

    return Session(f"LiteRT {version('ai-edge-litert')}, XNNPACK", answer)
