"""Fake-quantized models: a file holds the numbers they were trained with, and their answers."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress import export_module
from safecompress.errors import ModelError
from safecompress.export import ExportContext
from safecompress.export.graph import graph_of
from safecompress.export.trained_int8 import trained
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import PostTraining, input_bounds, quantize_after_training
from safecompress.transforms import PLAIN, Quantization, affine, attach_, codes
from safecompress_reader import read_compact
from tests.export_models import SHAPES, inputs, logits, onnx_graph, sparse_model, written

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
MODELS = list(SHAPES)


@dataclass(frozen=True)
class Fake:
    """A model that computes with rounded weights and inputs, and its file's maker."""

    made: PostTraining
    context: ExportContext


def shipped(made: PostTraining, x: Tensor, numbers: Quantization | None = None) -> ExportContext:
    return ExportContext.of(made.module, made.topology, x, numbers=numbers or made.numbers)


@cache
def fake(name: str, bits: int = 8) -> Fake:
    module, topology = sparse_model(name)
    x = inputs(name)
    rows = Rows(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x)))
    made = quantize_after_training(module, rows, bits=bits, topology=topology)
    return Fake(made, shipped(made, x))


def said(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def arrays(made: ExportContext, form: str) -> dict[str, Any]:
    held = onnx_graph(made, form).graph.initializer
    return {i.name: onnx.numpy_helper.to_array(i) for i in held}


def with_rounded_biases(made: PostTraining) -> nn.Module:
    """The one thing the file rounds and training did not; exact only without normalization."""
    model = deepcopy(made.module)
    for name, layer in model.named_modules():
        if name in made.numbers.ranges and layer.bias is not None:
            step, _ = affine(made.numbers.ranges[name])
            scale = made.numbers.scales[f"{name}.weight"] * step
            empty = ~(layer.weight != 0).flatten(1).any(dim=1)
            with torch.no_grad():
                rounded = (layer.bias / scale).round() * scale
                layer.bias.copy_(torch.where(empty, layer.bias, rounded))
    return model


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_in_the_file_are_the_trained_ones(name: str, bits: int) -> None:
    found = fake(name, bits)
    held = arrays(found.context, "onnx-int8")
    numbers = found.made.numbers
    state = found.made.module.state_dict()
    for weight in found.made.topology.masks:
        expected = codes(state[weight], bits).numpy()
        stored = held[f"{weight}_quantized"]
        # Normalization that was folded in may turn the sign of a channel.
        sign = np.sign((stored.astype(int) * expected).reshape(len(expected), -1).sum(axis=1))
        sign = np.where(sign == 0, 1, sign).reshape(-1, *[1] * (expected.ndim - 1))
        np.testing.assert_array_equal(stored, expected * sign)
        if name == "mlp":
            some = expected.reshape(len(expected), -1).any(axis=1)
            np.testing.assert_array_equal(
                held[f"{weight}_scale"][some], numbers.scales[weight].numpy()[some]
            )
    wanted = {
        (np.float32(step).item(), int(zero))
        for step, zero in (affine(bounds) for bounds in numbers.ranges.values())
    }
    graph = onnx_graph(found.context, "onnx-int8").graph
    put = {
        (held[node.input[1]].item(), int(held[node.input[2]]))
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert put == wanted


def errors(answers: Tensor, expected: Tensor) -> Tensor:
    """Per row the largest difference, as a share of the largest logit."""
    return (answers - expected).abs().amax(dim=1) / expected.abs().amax(dim=1)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("form", ["onnx-int8", "onnx-sparse-int8"])
@pytest.mark.parametrize("name", ["mlp", "alexnet"])
def test_the_file_answers_as_the_fake_quantized_model(name: str, form: str, bits: int) -> None:
    found, x = fake(name, bits), inputs(name)
    expected = said(with_rounded_biases(found.made), x)
    data = written(found.context, form)
    for optimized in (True, False):
        answers = logits(data, x, optimized=optimized)
        assert torch.equal(answers.argmax(dim=1), expected.argmax(dim=1))
        # Kernels for uint8 times int8 cut off sums of two products where a processor lacks VNNI;
        # products of 4-bit weights cannot get that large.
        least = 1e-4 if bits == 4 or not optimized else 0.15
        assert float(errors(answers, expected).max()) < least


@pytest.mark.parametrize("name", MODELS)
def test_biases_and_folding_change_little(name: str) -> None:
    found, x = fake(name), inputs(name)
    data = written(found.context, "onnx-sparse-int8")
    error = errors(logits(data, x, optimized=False), said(found.made.module, x))
    # A sum that differs in its last bits may round a layer's input to the number beside it.
    assert float(error.median()) < 5e-3
    assert float(error.max()) < 0.02


def test_whatever_the_ranges_are_they_are_used() -> None:
    found, x = fake("mlp"), inputs("mlp")
    half = {layer: bounds / 2 for layer, bounds in found.made.numbers.ranges.items()}
    narrow = shipped(found.made, x, replace(found.made.numbers, ranges=half))
    held = arrays(narrow, "onnx-int8")
    first = next(iter(half.values()))
    assert held["inputs.rounded0_scale"] == affine(first)[0].numpy()
    assert not torch.equal(
        logits(written(narrow, "onnx-int8"), x),
        logits(written(found.context, "onnx-int8"), x),
    )


def test_a_candidate_without_ranges_gets_those_of_members() -> None:
    found, x = fake("mlp"), inputs("mlp")
    bare = shipped(found.made, x, replace(found.made.numbers, ranges={}))
    module = bare.module
    attach_(module, PLAIN)
    wanted = input_bounds(module, x)
    held = arrays(bare, "onnx-int8")
    first = next(iter(wanted.values()))
    assert held["inputs.rounded0_scale"] == affine(first)[0].numpy()
    assert float(errors(logits(written(bare, "onnx-int8"), x), said(module, x)).max()) < 0.1


@pytest.mark.parametrize("name", MODELS)
def test_zeros_and_sizes_are_as_without_training(name: str) -> None:
    found, x = fake(name), inputs(name)
    plain = ExportContext.of(found.context.module, found.made.topology, x)
    ours, theirs = (len(written(f, "onnx-sparse-int8")) for f in (found.context, plain))
    assert ours < 1.15 * theirs
    data = written(found.context, "onnx-sparse-int8")
    dense = written(found.context, "onnx-int8")
    assert torch.equal(logits(data, x), logits(dense, x))


def test_stock_onnxruntime_fuses_whole_numbers() -> None:
    found = fake("alexnet")
    ran = operators(written(found.context, "onnx-sparse-int8"))
    assert ran.count("QLinearConv") == 4
    assert ran.count("QGemm") == 1
    assert not {"ScatterElements", "CumSum"} & set(ran)


def operators(data: bytes) -> list[str]:
    """The operators that onnxruntime makes of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "made.onnx")
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        made = onnx.load(options.optimized_model_filepath)
    return [node.op_type for node in made.graph.node]


class Words(nn.Module):
    """Embeddings, a linear layer over three dimensions, a channel without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.out = nn.Embedding(50, 64), nn.Linear(64, 96), nn.Linear(96, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(torch.relu(self.inner(self.table(ids))).mean(dim=1))


def test_embeddings_and_transposed_weights_and_empty_channels() -> None:
    torch.manual_seed(0)
    module = Words().eval()
    topology = Topology.dense(module)
    topology.masks["out.weight"][1] = False
    with torch.no_grad():
        module.out.bias.copy_(torch.tensor([0.1, 0.0123, -0.2]))
    ids = torch.randint(0, 50, (40, 6))
    rows = Rows(ids, torch.zeros(40, dtype=torch.int64), torch.arange(40))
    made = quantize_after_training(module, rows, topology=topology)
    held = arrays(shipped(made, ids), "onnx-int8")
    assert sum(a.dtype == np.int8 and a.ndim == 2 for a in held.values()) == 3
    answers = logits(written(shipped(made, ids), "onnx-int8"), ids, optimized=False)
    assert float(errors(answers, said(made.module, ids)).max()) < 1e-3
    np.testing.assert_allclose(answers[:, 1].numpy(), 0.0123, rtol=1e-5)


def test_a_graph_that_is_not_the_models_is_refused() -> None:
    found = fake("mlp")
    state = {n: t.numpy().copy() for n, t in found.made.module.state_dict().items()}
    graph = graph_of(found.context.module, inputs("mlp")).proto
    state["layers.1.weight"] = np.roll(state["layers.1.weight"], 1, axis=1)
    with pytest.raises(ModelError, match="not in the graph as it was trained"):
        trained(graph, state, found.made.numbers, values="int8")


@pytest.mark.parametrize(("form", "bits"), [("safetensors-int8", 8), ("safetensors-int4", 4)])
def test_compact_files_hold_the_trained_weights_and_ranges(
    form: str, bits: int, tmp_path: Any
) -> None:
    found = fake("alexnet", bits)
    path = export_module(
        *(found.made.module, found.made.topology, tmp_path / "m.safetensors"),
        members=inputs("alexnet"),
        format=form,
        numbers=found.made.numbers,
    )
    read = read_compact(path)
    for name, weight in found.made.module.state_dict().items():
        np.testing.assert_array_equal(read.weights[name], weight.numpy())
    assert {n: torch.tensor(b).tolist() for n, b in read.metadata["ranges"].items()} == {
        name: bounds.tolist() for name, bounds in found.made.numbers.ranges.items()
    }
