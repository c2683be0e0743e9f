"""Where int8 changes answers, the layers that do it stay fp32, and the card says which."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from safecompress import compress, export
from safecompress.errors import ConfigError
from safecompress.export import FORMATS, ExportContext
from safecompress.export.finer import moves
from safecompress.topology import Topology
from tests import small_runs
from tests.export_models import onnx_graph

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


class Outlier(nn.Module):
    """Beside six features stands a seventh that is five thousand times as large and unused."""

    def __init__(self) -> None:
        super().__init__()
        self.spread, self.pick = nn.Linear(6, 7, bias=False), nn.Linear(7, 6, bias=False)
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)
        with torch.no_grad():
            self.spread.weight.copy_(torch.eye(7, 6))
            self.spread.weight[6, 5] = 5000.0
            self.pick.weight.copy_(torch.eye(6, 7))
        self.spread.requires_grad_(False)
        self.pick.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.pick(self.spread(x))).relu())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train = {**small_runs.TRAIN, "epochs": 6}
    settings = {
        **small_runs.SETTINGS,
        "sparse": {"density": 0.9, "rounds": 1, "train": train},
        "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
        "dense": train,
    }
    compress(Outlier, small_runs.splits(), config=settings, out=folder)
    return folder


@pytest.mark.parametrize("form", ["onnx-sparse-int8", "onnx-sparse-int8-dynamic"])
def test_the_costliest_layer_goes_back_and_no_other(
    form: str, finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    done = export(folder, tmp_path / "m.onnx", format=form, model=Outlier, data=small_runs.splits())
    assert done.document.faithful
    # Its input is what cannot be rounded; its weights can.
    assert (done.document.model.int8_weights, done.document.model.in_fp32) == ("pick", None)
    agreed = done.document.agreement
    assert agreed is not None
    assert (agreed.min_agreement, agreed.same_class) == (0.99, 1.0)
    assert agreed.rows == len(small_runs.splits().steer.nonmembers)
    card = (tmp_path / "m.onnx.md").read_text()
    assert "| int8_weights | pick |" in card
    assert f"Of {agreed.rows} steering non-members" in card
    assert "same class as before" in card
    # The copy has no ledger yet. One file was tested on the sealed rows, whatever was tried before.
    assert done.document.retest.looks == 1


def test_nothing_is_kept_where_rounding_changes_nothing(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    done = export(
        folder, tmp_path / "m.onnx", format="onnx-sparse", model=Outlier, data=small_runs.splits()
    )
    assert done.document.model.in_fp32 is None
    assert done.document.agreement is None
    assert "in_fp32" not in (tmp_path / "m.onnx.md").read_text()


def test_kept_layers_are_exact_and_costs_are_those_of_their_rounding() -> None:
    torch.manual_seed(0)
    module, x = Outlier().eval(), torch.randn(100, 6)
    form = FORMATS.build("onnx-int8", where="test")
    held = ExportContext.of(module, Topology.dense(module), x)
    order = moves(form, held)
    assert (order[0].layer, order[0].to) == ("pick.weight", "int8 weights")
    assert (
        {move.layer for move in order}
        == set(form.layers(held))
        == {f"{name}.weight" for name in ("spread", "pick", "a", "b")}
    )
    for kind, dtype in (("fp32", onnx.TensorProto.FLOAT), ("int8 weights", onnx.TensorProto.INT8)):
        finer = held.keeping({"pick.weight": kind}, sharing=form.shares())
        kept = onnx_graph(finer, "onnx-int8").graph
        types = {i.name.partition("_")[0]: i.data_type for i in kept.initializer}
        assert types["pick.weight"] == dtype
        assert types["a.weight"] == onnx.TensorProto.INT8
        # What reads the large number is not rounded, whatever its weights are.
        assert all(n.op_type != "QuantizeLinear" or n.input[0] != "linear" for n in kept.node)


def test_nobody_asks_for_agreement_where_it_is_0(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    how = {"format": "safetensors-int4", "model": Outlier, "data": small_runs.splits()}
    done = export(folder, tmp_path / "m.safetensors", min_agreement=0, **how)
    assert "same class as before" not in [check.name for check in done.checks]
    assert done.document.agreement is not None
    assert "none was asked" in done.path.with_name("m.safetensors.md").read_text()
    with pytest.raises(ConfigError, match="min_agreement is 2"):
        export(folder, tmp_path / "n.safetensors", min_agreement=2, **how)
