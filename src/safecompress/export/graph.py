"""A module as an ONNX graph in fp32: plain operators, an open batch, no traces of its making."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError
from safecompress.models.adapt import adapt
from safecompress.protocols import Inputs, tensors_of

INSTALL = "pip install 'safecompress[export]'"
OPSET = 18
LOGITS, BATCH = "logits", "n"


class PositionalModule(nn.Module):
    """Any model as one that takes its inputs by place and returns a plain tensor.

    Args:
        model: as it is.
        names: by which it takes its inputs; None where it takes them by place.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...] | None) -> None:
        super().__init__()
        self.model, self._names = model, names

    @classmethod
    def of(cls, model: nn.Module, sample: Inputs) -> PositionalModule:
        """Return a model that takes inputs like `sample` by place."""
        return cls(model, tuple(sample) if isinstance(sample, Mapping) else None)

    def forward(self, *inputs: Tensor) -> Tensor:
        if self._names is None:
            return adapt(self.model(*inputs))
        return adapt(self.model(**dict(zip(self._names, inputs, strict=True))))


def graph_of(module: nn.Module, sample: Inputs) -> Any:
    """Return a module as an `onnx.ModelProto` of fp32 weights.

    Batch normalization after a convolution is folded into it. Weights keep their names where
    nothing was folded; one input is called `inputs`, those of a mapping by its keys; the output
    `logits`.

    Args:
        module: called in evaluation mode; left as it was.
        sample: some rows as the module takes them; only shapes matter, the batch stays open.

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
    # A single row would be taken for a batch that is always 1.
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
        graph = program.model_proto
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        raise ModelError(
            f"export: the model cannot be written as ONNX ({type(error).__name__}: {told}). Its "
            "forward must be traceable for any batch: no branches on values, no Python numbers "
            "read off tensors. The safetensors formats take any model."
        ) from error
    finally:
        module.train(training)
    _cleaned(graph, BATCH)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:
        raise ModelError(f"export: the graph is not valid ONNX ({error}).") from error
    return graph


def input_names(sample: Inputs) -> tuple[str, ...]:
    """Return what a file calls its inputs: `inputs`, `inputs.0` and so on, or a mapping's keys."""
    if isinstance(sample, Tensor):
        return ("inputs",)
    if isinstance(sample, tuple):
        return tuple(f"inputs.{i}" for i in range(len(sample)))
    return tuple(sample)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence other libraries' notes on their own workings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _cleaned(graph: Any, batch: str) -> None:
    """Drop traces of where nodes came from, and name weights as the module does; in place."""
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
