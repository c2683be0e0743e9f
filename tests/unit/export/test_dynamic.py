"""Dynamic int8: whole numbers that keep the mask, ranges of a call, and no rows to find them."""

from __future__ import annotations

import collections
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
from safecompress.protocols import Rows
from safecompress.sparse import initialize
from safecompress.targets.onnx_file import open_onnx
from safecompress.topology import Topology
from safecompress.train import quantize_after_training
from tests.export_models import (
    Masked,
    context,
    inputs,
    logits,
    onnx_graph,
    session,
    sparse_model,
    written,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
DENSE, SPARSE = "onnx-int8-dynamic", "onnx-sparse-int8-dynamic"


class Words(nn.Module):
    """Means of word vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden, self.out = (
            nn.Embedding(50, 64),
            nn.Linear(64, 96),
            nn.Linear(96, 3),
        )

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.hidden(self.table(ids)).relu().mean(dim=1))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(50, 32), nn.Linear(32, 3)
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.layer(self.table(ids)).mean(dim=1))


def ids(n: int = 64) -> Tensor:
    return torch.randint(0, 50, (n, 6), generator=torch.Generator().manual_seed(2))


@cache
def made(name: str) -> tuple[ExportContext, Tensor]:
    """Return a model to export, and rows; one member shows the shapes, which is all it takes."""
    if name in {"words", "transformer"}:
        torch.manual_seed(0)
        module = {"words": Words, "transformer": Transformer}[name]().eval()
        topology = initialize(
            module, density=0.2, distribution="uniform", method="magnitude-layer", seed=0
        )
        return ExportContext.of(module, topology, ids(1)), ids()
    module, topology = sparse_model(name)
    return ExportContext.of(module, topology, inputs(name, 1)), inputs(name)


NAMES = ["mlp", "mlp-norm", "alexnet", "words", "transformer"]


def arrays(graph: Any) -> dict[str, Any]:
    return {i.name: onnx.numpy_helper.to_array(i) for i in graph.graph.initializer}


@pytest.mark.parametrize("name", NAMES)
def test_answers_change_by_the_rounding_alone(name: str) -> None:
    held, x = made(name)
    with torch.no_grad():
        expected = held.module(x)
    for form in (DENSE, SPARSE):
        data = written(held, form)
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
        (said,) = session(data, precise=True).run(None, {"inputs": x.numpy()})
        error = (torch.from_numpy(said) - expected).abs().max() / expected.abs().max()
        assert 0 < float(error) < 0.05
        same = said.argmax(axis=1) == expected.argmax(dim=1).numpy()
        assert same.mean() > 0.9


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("name", ["mlp", "alexnet", "words"])
def test_a_self_decoding_file_equals_the_dense_one_bit_for_bit(name: str, optimized: bool) -> None:
    held, x = made(name)
    dense, sparse = (written(held, form) for form in (DENSE, SPARSE))
    assert len(sparse) < len(dense)
    # Unless it is folded, an fp32 convolution meets a product that adds in another order.
    if optimized or name != "alexnet":
        a, b = (logits(data, x, optimized=optimized) for data in (dense, sparse))
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_stay_zeros(name: str) -> None:
    held, _ = made(name)
    before, after = (arrays(onnx_graph(held, form)) for form in ("onnx", DENSE))
    whole = {key: a for key, a in after.items() if a.dtype == np.int8}
    assert whole
    for key, stored in whole.items():
        source = key.removesuffix("_integers").removesuffix("_rows")
        weight = before[source]
        # One that kept its name lies in the fp32 graph as in the module, outputs first.
        if key.endswith("_integers") and source in held.module.state_dict():
            weight = weight.T
        scale = after[f"{key}_scale"]
        assert not stored[weight == 0].any()
        assert (weight == 0).any() or name == "alexnet"
        assert float(np.abs(stored * scale - weight).max()) <= 0.5001 * float(scale.max())


def test_convolutions_stay_fp32() -> None:
    held, _ = made("alexnet")
    graph = onnx_graph(held, DENSE)
    stored = arrays(graph)
    kinds = collections.Counter(node.op_type for node in graph.graph.node)
    assert (kinds["Conv"], kinds["MatMulInteger"], kinds["ConvInteger"]) == (5, 1, 0)
    for node in graph.graph.node:
        if node.op_type == "Conv":
            assert stored[node.input[1]].dtype == np.float32


@pytest.mark.parametrize("form", [DENSE, SPARSE])
def test_onnxruntime_makes_one_kernel_of_a_layer(form: str, tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    held, _ = made("mlp")
    onnxruntime.InferenceSession(written(held, form), options)
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    assert kinds == {"DynamicQuantizeMatMul": 3, "Relu": 2}


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_as_onnxruntimes_own_quantize_dynamic(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from safecompress.export import dynamic_int8
    from safecompress.export.graph import quiet
    from safecompress.export.packing import quantize

    # Its scales let sums of neighbors be cut off, which ours do not.
    monkeypatch.setattr(dynamic_int8, "quantize", lambda weight, kind, **_: quantize(weight, kind))
    held, x = made.__wrapped__(name)
    ours = onnx_graph(held, DENSE)
    source, path = tmp_path / "fp32.onnx", tmp_path / "theirs.onnx"
    onnx.save(onnx_graph(held, "onnx"), source)
    with quiet():
        quantize_dynamic(
            source, path, op_types_to_quantize=["MatMul"], per_channel=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
    theirs = onnx.load(path)
    found = {key: a for key, a in arrays(theirs).items() if key.endswith("_quantized")}
    assert found
    for key, a in found.items():
        # Either program has names of its own, so weights are matched by what they hold.
        same, ours_key, b = max(
            (
                (float((a == b).mean()), k, b)
                for k, of_ours in arrays(ours).items()
                if k.endswith("_integers")
                for b in (of_ours, of_ours.T)
                if b.shape == a.shape
            ),
            key=lambda match: match[0],
        )
        assert same > 0.999
        assert int(np.abs(a.astype(int) - b.astype(int)).max()) <= 1
        # A weight with a dead channel has the scale 1 there in both.
        scales = [arrays(g)[k] for g, k in (
            (theirs, key.replace("_quantized", "_scale")), (ours, f"{ours_key}_scale"))
        ]  # fmt: skip
        np.testing.assert_allclose(*scales, rtol=1e-6)
    a, b = (
        session(data, precise=True).run(None, {"inputs": x.numpy()})[0]
        for data in (path.read_bytes(), written(held, DENSE))
    )
    # Tables, which only ours rounds, are all that differs.
    most = 1e-3 if name == "mlp" else 0.03
    assert float(np.abs(a - b).max()) < most * float(np.abs(a).max())


class Convolutions(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_model_without_linear_layers_is_told_what_to_take(tmp_path: Path) -> None:
    module = Convolutions()
    for form in (DENSE, SPARSE):
        with pytest.raises(ModelError, match=r"no linear layer.*use onnx-int8"):
            export_module(
                module,
                Topology.dense(module),
                tmp_path / "m.onnx",
                members=torch.randn(4, 3, 8, 8),
                format=form,
            )
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("bits", [4, 8])
def test_trained_numbers_are_those_of_the_file(bits: int) -> None:
    module, topology = sparse_model("mlp")
    x = inputs("mlp")
    rows = Rows(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x)))
    found = quantize_after_training(module, rows, bits=bits, topology=topology)
    held = ExportContext.of(found.module, found.topology, x, numbers=found.numbers)
    stored = arrays(onnx_graph(held, DENSE))
    for name, scale in found.numbers.scales.items():
        np.testing.assert_array_equal(stored[f"{name}_integers_scale"], scale.numpy())
        whole = stored[f"{name}_integers"]
        assert int(np.abs(whole).max()) <= 2 ** (bits - 1) - 1
        weight = found.module.state_dict()[name].numpy()
        np.testing.assert_allclose(whole.T * scale.numpy()[:, None], weight, rtol=1e-6, atol=1e-9)


def test_rows_are_asked_one_by_one(tmp_path: Path) -> None:
    held, x = made("mlp")
    x = x.clone()
    x[0] *= 30  # widens the range of every call that it is part of
    path = tmp_path / "m.onnx"
    path.write_bytes(written(held, DENSE))
    asked = open_onnx(path).model
    assert np.array_equal(asked(x)[1:], asked(x[1:]))
    assert np.array_equal(asked(x.flip(0)), asked(x)[::-1])
    together = logits(path.read_bytes(), x)
    assert not torch.equal(together[1:], logits(path.read_bytes(), x[1:]))
    # Static ranges are the same for all rows, which may be asked together.
    path.write_bytes(written(context("mlp"), "onnx-int8"))
    assert open_onnx(path).model._rows > 1


def test_inputs_are_given_by_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Masked().eval()
    rows = {"mask": (torch.rand(20, 6) > 0.3).float(), "ids": torch.randint(0, 30, (20, 6))}
    path = export_module(
        module, Topology.dense(module), tmp_path / "m.onnx", members=rows, format="onnx"
    )
    with torch.no_grad():
        expected = module(**rows)["logits"]
    said = open_onnx(path).model(ids=rows["ids"], mask=rows["mask"])
    torch.testing.assert_close(torch.from_numpy(said), expected, rtol=1e-4, atol=1e-5)
