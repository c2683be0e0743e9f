"""ONNX files: the same answers as PyTorch, whole numbers bit for bit, and no file trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress import export_module
from safecompress.errors import ConfigError, ModelError
from safecompress.export import FORMATS, ExportContext, verify
from safecompress.export.integrity import signed
from safecompress.export.onnx_format import OnnxFormat, OnnxGraphs
from safecompress.topology import Topology
from tests.export_models import (
    SHAPES,
    Branching,
    context,
    inputs,
    logits,
    onnx_graph,
    sparse_model,
    written,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
ON_ONNX = [n for n, part in FORMATS.parts.items() if isinstance(part.factory(), OnnxFormat)]
MODELS = list(SHAPES)


def file_of(name: str, form: str, density: float = 0.05) -> bytes:
    return written(context(name, density), form, {"format": form})


@pytest.mark.parametrize("form", ON_ONNX)
@pytest.mark.parametrize("name", MODELS)
def test_every_format_passes_the_checker_with_standard_operators(name: str, form: str) -> None:
    graph = onnx_graph(context(name), form)
    onnx.checker.check_model(graph, full_check=True)
    (opset,) = graph.opset_import
    assert (opset.domain, opset.version >= 18) == ("", True)
    assert {node.domain for node in graph.graph.node} == {""}


@pytest.mark.parametrize("form", ["onnx", "onnx-sparse"])
@pytest.mark.parametrize("name", MODELS)
def test_fp32_answers_as_pytorch_does(name: str, form: str) -> None:
    for n in (1, 7, 64):
        x = inputs(name, 64)[:n]
        with torch.no_grad():
            expected = context(name).module(x)
        said = logits(file_of(name, form), x)
        torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(said.argmax(dim=1), expected.argmax(dim=1))


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_a_self_decoding_file_equals_the_dense_one_bit_for_bit(name: str, optimized: bool) -> None:
    x = inputs(name)
    dense = logits(file_of(name, "onnx-int8"), x, optimized=optimized)
    sparse = logits(file_of(name, "onnx-sparse-int8"), x, optimized=optimized)
    assert torch.equal(dense, sparse)
    # Unless it is folded, an fp32 weight meets a product that adds in another order.
    if optimized:
        assert torch.equal(
            logits(file_of(name, "onnx"), x), logits(file_of(name, "onnx-sparse"), x)
        )


@pytest.mark.parametrize("name", MODELS)
def test_int4_files_equal_the_dense_graph_of_the_same_numbers(name: str) -> None:
    x, held = inputs(name), context(name)
    dense = signed(held.once(OnnxGraphs).int4, {})
    assert torch.equal(logits(dense, x), logits(file_of(name, "onnx-sparse-int4"), x))


@pytest.mark.parametrize(("form", "most"), [("onnx-sparse-fp16", 2e-3), ("onnx-int8", 0.1)])
@pytest.mark.parametrize("name", MODELS)
def test_rounding_changes_little(name: str, form: str, most: float) -> None:
    x = inputs(name)
    with torch.no_grad():
        expected = context(name).module(x)
    error = (logits(file_of(name, form), x) - expected).abs().max() / expected.abs().max()
    assert 0 < error < most


@pytest.mark.parametrize("name", MODELS)
def test_int8_logits_are_not_rounded_to_256_levels(name: str) -> None:
    said = logits(file_of(name, "onnx-int8"), inputs(name))
    assert len(said.unique()) > 0.95 * said.numel()


def test_masks_survive_rounding() -> None:
    held = context("alexnet")
    arrays = {
        i.name: onnx.numpy_helper.to_array(i) for i in held.once(OnnxGraphs).int8.graph.initializer
    }
    found = [name for name in held.topology.masks if f"{name}_quantized" in arrays]
    assert len(found) == len(held.topology.masks)
    for name in found:
        weight = arrays[f"{name}_quantized"]
        assert weight.dtype == np.int8
        assert not weight[~held.topology.masks[name].numpy()].any()


@pytest.mark.parametrize("form", ["onnx-int8", "onnx-sparse-int4"])
def test_a_channel_without_weights_keeps_its_bias(form: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3)).eval()
    topology = Topology.dense(module)
    topology.masks["2.weight"][1] = False
    with torch.no_grad():
        module[2].bias.copy_(torch.tensor([0.5, 0.0123, -0.4]))
    # Of inputs this large a step is larger than the bias.
    x = 50 * torch.randn(100, 20)
    said = logits(written(ExportContext.of(module, topology, x), form), x)
    torch.testing.assert_close(said[:, 1], torch.full((100,), 0.0123), rtol=1e-5, atol=0)


class Bags(nn.Module):
    """Its graph has a loop, whose operators read constants of the graph around it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.EmbeddingBag(50, 16, mode="mean"), nn.Linear(16, 3)

    def forward(self, ids: Any) -> Any:
        return self.out(self.table(ids))


@pytest.fixture(scope="module")
def bags() -> ExportContext:
    """A module with embedding bags; all its files are made of one graph."""
    torch.manual_seed(0)
    module, ids = Bags().eval(), torch.randint(0, 50, (40, 6))
    return ExportContext.of(module, Topology.dense(module), ids)


@pytest.mark.parametrize("form", ON_ONNX)
def test_embedding_bags_are_written(bags: ExportContext, form: str) -> None:
    ids = bags.members
    assert isinstance(ids, torch.Tensor)
    said = logits(written(bags, form), ids)
    with torch.no_grad():
        expected = bags.module(ids)
    # Whole numbers: as much as a processor may differ that cuts off sums.
    worst = {"fp32": 1e-4, "fp16": 1e-2}.get(FORMATS.parts[form].factory().values, 0.6)
    assert float((said - expected).abs().max() / expected.abs().max()) < worst


@pytest.mark.parametrize("name", ["mlp", "alexnet"])
def test_sizes_are_in_order(name: str) -> None:
    order = ["onnx", "onnx-sparse", "onnx-sparse-fp16", "onnx-sparse-int8", "onnx-sparse-int4"]
    sizes = {form: len(file_of(name, form)) for form in ON_ONNX}
    assert sizes["onnx-int8"] < sizes["onnx"]
    assert [sizes[f] for f in order[:3]] == sorted((sizes[f] for f in order[:3]), reverse=True)
    assert sizes["onnx-sparse-int4"] < sizes["onnx-sparse-int8"] < sizes["onnx-int8"]


def test_a_dense_model_falls_back_to_the_dense_graph() -> None:
    for sparse, dense in (("onnx-sparse", "onnx"), ("onnx-sparse-int8", "onnx-int8")):
        a, b = (onnx_graph(context("mlp", 1.0), f) for f in (sparse, dense))
        assert a.SerializeToString() == b.SerializeToString()


def test_only_what_gets_smaller_is_packed() -> None:
    module = nn.Sequential(nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 3))
    topology = Topology.dense(module)
    topology.masks["0.weight"][:, 5:] = False
    held = ExportContext.of(module, topology, torch.randn(40, 200))
    names = {i.name for i in onnx_graph(held, "onnx-sparse").graph.initializer}
    assert "0.weight.gaps" in names
    assert "2.weight" in names


def test_weights_that_a_mask_leaves_out_are_left_out() -> None:
    module, topology = sparse_model("mlp")
    nn.init.ones_(module.layers[1].weight)
    ExportContext.of(module, topology, inputs("mlp"))
    assert bool((module.layers[1].weight == 1).all()), "the caller's module stays as it is"
    held = ExportContext.of(module, topology, inputs("mlp"))
    topology.apply_(module)
    expected = module(inputs("mlp"))
    said = logits(written(held, "onnx-sparse"), inputs("mlp"))
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5)


class Two(nn.Module):
    """Takes two tensors by name and answers as Hugging Face models do."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(30, 64), nn.Linear(64, 3)

    def forward(self, ids: Any, mask: Any) -> dict[str, Any]:
        summed = (self.table(ids) * mask.unsqueeze(-1)).sum(dim=1)
        return {"logits": self.out(summed)}


def test_named_inputs_and_embeddings(tmp_path: Path) -> None:
    import onnxruntime

    module = Two().eval()
    draw = torch.Generator().manual_seed(0)
    rows = {
        "ids": torch.randint(0, 30, (20, 6), generator=draw),
        "mask": (torch.rand(20, 6, generator=draw) > 0.3).float(),
    }
    topology = Topology.dense(module)
    topology.masks["table.weight"][:, 4:] = False
    path = export_module(module, topology, tmp_path / "m.onnx", members=rows, format="onnx-sparse")
    topology.apply_(module)
    session = onnxruntime.InferenceSession(str(path))
    (said,) = session.run(None, {name: t[:5].numpy() for name, t in rows.items()})
    expected = module(**{name: t[:5] for name, t in rows.items()})["logits"]
    torch.testing.assert_close(torch.from_numpy(said), expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_written_says_what_can(tmp_path: Path) -> None:
    module = Branching()
    topology, rows = Topology.dense(module), torch.randn(8, 4)
    with pytest.raises(ModelError, match="safetensors formats take any model"):
        export_module(module, topology, tmp_path / "m.onnx", members=rows, format="onnx")
    assert not (tmp_path / "m.onnx").exists()
    export_module(module, topology, tmp_path / "m.st", members=rows, format="safetensors")
    assert verify(tmp_path / "m.st")["format"] == "safetensors"
    with pytest.raises(ConfigError, match="did you mean 'onnx-int8'"):
        export_module(module, topology, tmp_path / "m", members=rows, format="onnx-in8")
    with pytest.raises(ConfigError, match="nothing that reads onnx reads"):
        export_module(module, topology, tmp_path / "m.zst", members=rows, format="onnx")


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    module, topology = sparse_model("mlp")
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        export_module(module, topology, path, members=inputs("mlp"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert verify(paths[0]) == {"schema_version": 1, "format": "onnx-sparse-int8"}


def edited(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        model = onnx.load_from_string(data)
        change(model)
        return bytes(model.SerializeToString())

    return edit


def initializer(model: Any, end: str) -> Any:
    return next(i for i in model.graph.initializer if i.name.endswith(end))


def scaled(model: Any) -> None:
    found = initializer(model, "weight_scale")
    array = onnx.numpy_helper.to_array(found) * 2
    found.CopyFrom(onnx.numpy_helper.from_array(array, found.name))


def shuffled(model: Any) -> None:
    found = initializer(model, ".gaps")
    array = np.random.default_rng(0).permutation(onnx.numpy_helper.to_array(found))
    found.CopyFrom(onnx.numpy_helper.from_array(array, found.name))


def flipped(data: bytes) -> bytes:
    harmed = bytearray(data)
    harmed[len(data) // 2] ^= 1
    return bytes(harmed)


def elsewhere(model: Any) -> None:
    found = initializer(model, ".gaps")
    found.ClearField("raw_data")
    found.data_location = onnx.TensorProto.EXTERNAL
    entry = found.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def custom(model: Any) -> None:
    model.graph.node[0].domain = "evil"


def huge(model: Any) -> None:
    found = initializer(model, ".size")
    found.CopyFrom(onnx.numpy_helper.from_array(np.array([1 << 50]), found.name))


HARM: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "wrong scale": (edited(scaled), "SHA-256"),
    "shuffled gaps": (edited(shuffled), "SHA-256"),
    "flipped bit": (flipped, "SHA-256|damaged|not an ONNX file"),
    "truncation": (lambda data: data[: len(data) // 2], "not an ONNX file|damaged|signature"),
    "something appended": (lambda data: data + b"\x08\x0a", "SHA-256"),
    "no signature": (edited(lambda m: m.metadata_props.pop()), "signature"),
    "weights elsewhere": (edited(elsewhere), "outside its own folder"),
    "a custom operator": (edited(custom), "evil"),
    "a huge tensor": (edited(huge), "out of nothing"),
    "nothing": (lambda _: b"", "no graph"),
}


@pytest.mark.parametrize("case", list(HARM))
def test_planted_harm_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    change, reason = HARM[case]
    path = tmp_path / "m.onnx"
    path.write_bytes(change(file_of("mlp", "onnx-sparse-int8")))
    with pytest.raises(ModelError, match=reason):
        verify(path)
