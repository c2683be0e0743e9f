"""Where int8 changes answers, the layers that do it stay fp32, and the card says which."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from safecompress import compress, export
from safecompress.export import FORMATS, ExportContext
from safecompress.export.fallback import costliest
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
    assert done.document.model.in_fp32 == "pick"
    assert "| in_fp32 | pick |" in (tmp_path / "m.onnx.md").read_text()
    # The copy has no ledger yet. One file was tested on the sealed rows, whatever was tried before.
    assert done.document.retest.looks == 1


def test_nothing_is_kept_where_rounding_changes_nothing(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    done = export(
        folder, tmp_path / "m.onnx", format="onnx-sparse", model=Outlier, data=small_runs.splits()
    )
    assert done.document.model.in_fp32 is None
    assert "in_fp32" not in (tmp_path / "m.onnx.md").read_text()


def test_kept_layers_are_exact_and_costs_are_those_of_their_rounding() -> None:
    torch.manual_seed(0)
    module, x = Outlier().eval(), torch.randn(100, 6)
    form = FORMATS.build("onnx-int8", where="test")
    held = ExportContext.of(module, Topology.dense(module), x)
    order = costliest(form, held)
    assert order[0] == "pick.weight"
    assert (
        set(order)
        == set(form.layers(held))
        == {f"{name}.weight" for name in ("spread", "pick", "a", "b")}
    )
    kept = onnx_graph(held.keeping(["pick.weight"], sharing=form.shares()), "onnx-int8").graph
    types = {i.name.partition("_")[0]: i.data_type for i in kept.initializer}
    assert types["pick.weight"] == onnx.TensorProto.FLOAT
    assert types["a.weight"] == onnx.TensorProto.INT8
