"""`graph_of`, `ExportedGraph`: a module as an ONNX graph in fp32.

The graph has standard operators, an open number of rows, and no names or paths of the machine that
made it, so that equal models give equal files.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError
from safecompress.export.outside import Outside, taken_out, without_values
from safecompress.models.adapt import adapt
from safecompress.protocols import Inputs, map_inputs, tensors_of

INSTALL = "pip install 'safecompress[export]'"
OPSET = 18
LOGITS, BATCH = "logits", "n"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300
"""Characters of another library's message that are passed on."""


class PositionalModule(nn.Module):
    """A wrapper whose `forward` takes inputs by position and returns the tensor of logits.

    Args:
        model: any model; it is not copied.
        names: keywords of the model's inputs, in order; None where it takes them by position.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...] | None) -> None:
        super().__init__()
        self.model, self._names = model, names

    @classmethod
    def of(cls, model: nn.Module, sample: Inputs) -> PositionalModule:
        """Wrap a model.

        Args:
            model: any model; it is not copied.
            sample: inputs of the kind that the model takes; the keys of a mapping are its keywords.
        """
        return cls(model, tuple(sample) if isinstance(sample, Mapping) else None)

    def forward(self, *inputs: Tensor) -> Tensor:
        if self._names is None:
            return adapt(self.model(*inputs))
        return adapt(self.model(**dict(zip(self._names, inputs, strict=True))))


@dataclass(frozen=True)
class ExportedGraph:
    """A module's graph.

    Args:
        proto: an `onnx.ModelProto`.
        outside: values of its large initializers, where they are too many for one message.
    """

    proto: Any
    outside: Outside


def graph_of(module: nn.Module, sample: Inputs) -> ExportedGraph:
    """Return a module as an ONNX graph with fp32 weights.

    Batch normalization after a convolution is folded into it. Weights that nothing is folded into
    keep the names of the module. Inputs are named by `input_names`, the output is `logits`.

    Args:
        module: computed in evaluation mode; its mode is restored.
        sample: model-ready inputs of at least one row; only their shapes and types are used, and
            the number of rows of the graph is open.

    Raises:
        ConfigError: when onnx or onnxscript is not installed.
        ModelError: when the module cannot be expressed with ONNX's operators.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it and says so less clearly
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
    names, given = input_names(sample), tensors_of(sample)
    by_place = PositionalModule.of(module, sample)
    # `torch.export` specializes a dimension of size 1, which would fix the batch at one row.
    rows = tuple(t[:1].expand(2, *t.shape[1:]).contiguous().cpu() for t in given)
    training = module.training
    by_place.eval()
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                by_place,
                rows,
                dynamo=True,
                input_names=list(names),
                output_names=[LOGITS],
                opset_version=OPSET,
                dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in rows),),
                verbose=False,
            )
        if program is None:
            raise ModelError("torch.onnx returned nothing.")
        outside = taken_out(program.model)
        graph = program.model_proto
    except Exception as error:
        raise ModelError(
            f"export: the model cannot be written as ONNX ({reason_of(error)}). Its forward must "
            "be traceable for any batch, without branches on values and Python numbers read off "
            "tensors, and use operations that ONNX has. The safetensors formats take any model."
        ) from error
    finally:
        module.train(training)
    renamed = _cleaned(graph, BATCH)
    try:
        onnx.checker.check_model(without_values(graph) if outside else graph, full_check=True)
    except Exception as error:
        raise ModelError(f"export: the graph is not valid ONNX ({error}).") from error
    return ExportedGraph(graph, {renamed.get(name, name): a for name, a in outside.items()})


def in_fp32(module: nn.Module, members: Inputs) -> tuple[nn.Module, Inputs]:
    """Return a module and its inputs with real numbers in fp32, which is what files compute in.

    Args:
        module: a copy is converted where a parameter is of another precision; it stays as it is.
        members: inputs of the module; they are converted with it.
    """
    real = [p for p in module.parameters() if p.is_floating_point()]
    if all(p.dtype == torch.float32 for p in real):
        return module, members
    return deepcopy(module).float(), map_inputs(
        lambda t: t.float() if t.is_floating_point() else t, members
    )


def input_names(sample: Inputs) -> tuple[str, ...]:
    """Return the names of a file's inputs, in order.

    Args:
        sample: inputs of the module. A tensor is named `inputs`, those of a tuple `inputs.0`,
            `inputs.1` and so on, those of a mapping by their keys.
    """
    if isinstance(sample, Tensor):
        return ("inputs",)
    if isinstance(sample, tuple):
        return tuple(f"inputs.{i}" for i in range(len(sample)))
    return tuple(sample)


def ordinary_pooling() -> dict[Any, Callable[..., Any]]:
    """Return what an exported program is to compute instead of operators that converters lack.

    It is a table for `ExportedProgram.run_decompositions`: adaptive max pooling becomes pooling
    with windows of one size, where the windows divide the image.
    """
    return {torch.ops.aten.adaptive_max_pool2d.default: _max_pool}


def _max_pool(x: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    """Compute adaptive max pooling by ordinary pooling; the edge dialect lacks the former."""
    windows = []
    for size, wanted in zip(x.shape[-2:], output_size, strict=True):
        if size % wanted:
            raise ModelError(f"adaptive_max_pool2d: {wanted} windows do not divide {size}.")
        windows.append(size // wanted)
    pooled: tuple[Tensor, Tensor] = torch.ops.aten.max_pool2d_with_indices(x, windows, windows)
    return pooled


def reason_of(error: BaseException) -> str:
    """Return the type and the first sentences of the error behind another library's error.

    Args:
        error: what was raised; of a chain of causes the first one holds the reason, and the others
            say how to report it.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    text = _COLORS.sub("", str(error)).strip()
    # Later paragraphs and lines are about logs and stacks.
    first = " ".join(text.partition("\n")[0].split()).rstrip(".")
    kind = type(error).__name__
    return f"{kind}: {first[:_LONGEST]}" if first else kind


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what other libraries say, which users can do nothing about.

    Their errors are raised, too; what they log and print of them are stacks and whole graphs.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    unread = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(unread), redirect_stderr(unread):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _cleaned(graph: Any, batch: str) -> dict[str, str]:
    """Remove metadata of the exporting machine and the wrapper's name prefix, in place.

    Returns the new names of initializers by the old ones.
    """
    body = graph.graph
    del graph.metadata_props[:], body.metadata_props[:], body.value_info[:]
    graph.producer_name, graph.producer_version, graph.doc_string = "safecompress", "", ""
    graph.model_version, body.name, body.doc_string = 0, "model", ""
    prefix = "model."
    renamed = {
        i.name: i.name.removeprefix(prefix) for i in body.initializer if i.name.startswith(prefix)
    }
    for node in body.node:
        del node.metadata_props[:]
        node.doc_string = node.name = ""
        node.input[:] = [renamed.get(name, name) for name in node.input]
    for initializer in body.initializer:
        initializer.name = renamed.get(initializer.name, initializer.name)
        initializer.doc_string = ""
        del initializer.metadata_props[:]
    opened = {
        dim.dim_param: batch
        for value in body.input
        for dim in value.type.tensor_type.shape.dim[:1]
        if dim.dim_param
    }
    for value in [*body.input, *body.output]:
        del value.metadata_props[:]
        value.doc_string = ""
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in opened:
                dim.dim_param = opened[dim.dim_param]
    return renamed
