"""Models in other precisions are converted, and what cannot be converted says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safecompress import export_module
from safecompress.errors import ModelError
from safecompress.export import FORMATS, ExportContext
from safecompress.export.executorch_program import before_logits
from safecompress.export.onnx_format import OnnxFormat
from safecompress.targets.onnx_file import open_onnx
from safecompress.topology import Topology
from tests.export_models import WHOLE_SUMS, Branching, onnx_graph, written

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = {name: part.factory() for name, part in FORMATS.parts.items()}


def test_a_model_in_fp64_is_written_in_fp32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 3)).double().eval()
    x = torch.randn(60, 20, dtype=torch.float64)
    held, path = ExportContext.of(module, Topology.dense(module), x), tmp_path / "m.onnx"
    with torch.no_grad():
        expected = module(x)
    # A stock session of a processor without int8 instructions cuts off large sums.
    most = {"fp32": 1e-6, "fp16": 2e-3, "int8": 0.05 if WHOLE_SUMS else 0.4, "int4": 0.4}
    for name, form in FORMS.items():
        if not isinstance(form, OnnxFormat):
            continue
        types = {i.data_type for i in onnx_graph(held, name).graph.initializer}
        assert onnx.TensorProto.DOUBLE not in types
        assert (onnx.TensorProto.INT8 in types) == (form.values in {"int8", "int4"})
        path.write_bytes(written(held, name))
        error = (torch.from_numpy(open_onnx(path).model(x)) - expected).abs().max()
        assert float(error / expected.abs().max()) < most[form.values], name
    assert module[0].weight.dtype == torch.float64


class Foreign(nn.Module):
    """Computes what ONNX has no operator for."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.linalg.qr(x.view(-1, 2, 2))[0].flatten(1))


class Raising(Foreign):
    """Raises something of its own where torch traces it."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            raise ValueError("this net wants rows of even sums.\nAnd more of it.")
        return self.out(x)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Branching(), "data-dependent"),
        (Foreign(), r"linalg_qr"),
        (Raising(), "ValueError: this net wants rows of even sums\\)"),
    ],
)
def test_the_reason_is_said_and_nothing_is_printed(
    module: nn.Module, reason: str, tmp_path: Path, capfd: Any
) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        export_module(
            module,
            Topology.dense(module),
            tmp_path / "m.onnx",
            members=torch.randn(8, 4),
            format="onnx",
        )
    said = str(caught.value)
    assert "\x1b" not in said
    assert "\n" not in said
    assert "This is step" not in said
    assert capfd.readouterr() == ("", "")


class Ending(nn.Module):
    """Two layers of logits, and what is made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        return (self.a(h) * 2.5 + self.b(h).tanh()).log_softmax(dim=1)


def test_programs_keep_the_layers_of_the_logits_and_what_follows() -> None:
    module = Ending().eval()
    graph = torch.export.export(module, (torch.randn(2, 4),)).module().graph
    rounded = before_logits(graph)
    kept = [n.target.__name__ for n in graph.nodes if n.op == "call_function" and rounded(n)]
    assert kept == ["linear.default", "relu.default"]
