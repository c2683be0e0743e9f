"""Small models with masks, and files made of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safecompress.export import FORMATS, ExportContext, Format
from safecompress.export.onnx_format import OnnxFormat
from safecompress.models import MODELS
from safecompress.sparse import initialize
from safecompress.topology import Topology

CLASSES = 10
SHAPES: dict[str, tuple[int, ...]] = {
    "mlp": (300,),
    "mlp-norm": (300,),
    "alexnet": (3, 32, 32),
    "resnet8": (3, 32, 32),
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [128, 64]},
    "mlp-norm": {"hidden": [128, 64], "batch_norm": True},
    "alexnet": {"width": 0.25},
    "resnet8": {},
}


class Masked(nn.Module):
    """Takes two inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(30, 64), nn.Linear(64, 3)

    def forward(self, ids: Any, mask: Any) -> dict[str, Any]:
        return {"logits": self.out((self.table(ids) * mask.unsqueeze(-1)).sum(dim=1))}


class Branching(nn.Module):
    """Branches on values, so that nothing can trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.out(x) if float(x.sum()) > 0 else self.out(-x)


_FIRST_MODULE = {
    "executorch": "executorch",
    "export": "onnx",
    "litert": "litert_torch",
    "openvino": "openvino",
}
"""By the name of an extra a module that only it brings."""


def require_extras(form: Format) -> None:
    """Skip the test where a package that a format needs is not installed."""
    for extra in sorted(form.requires):
        reason = f"{form.name} needs pip install 'safecompress[{extra}]'"
        pytest.importorskip(_FIRST_MODULE[extra], reason=reason)


def sparse_model(name: str, density: float = 0.05) -> tuple[nn.Module, Topology]:
    """Return an untrained model with a mask, its batch normalization far from the identity."""
    torch.manual_seed(1)
    options = {"input_shape": SHAPES[name], "classes": CLASSES, **_OPTIONS[name]}
    module = MODELS.build({name.partition("-")[0]: options}, where="test").eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    for name_, parameter in module.named_parameters():
        if name_.endswith("bias") and parameter.ndim == 1:
            nn.init.normal_(parameter, 0, 0.1)
    topology = initialize(module, density=density, distribution="erk", method="scratch", seed=0)
    topology.apply_(module)
    with torch.no_grad():
        for parameter, mask in topology.bind(module):
            # As strong as a dense layer's, so that the inputs reach the outputs.
            parameter.div_(mask.float().mean().sqrt())
    return module, topology


def inputs(name: str, n: int = 64) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    return torch.randn(n, *SHAPES[name], generator=draw)


@cache
def context(name: str, density: float = 0.05) -> ExportContext:
    module, topology = sparse_model(name, density)
    return ExportContext.of(module, topology, inputs(name))


def written(
    made: ExportContext, form: str | Mapping[str, Any], facts: Mapping[str, Any] | None = None
) -> bytes:
    return FORMATS.build(form, where="test").write(made, facts or {})


def onnx_graph(made: ExportContext, form: str) -> Any:
    found = FORMATS.build(form, where="test")
    assert isinstance(found, OnnxFormat)
    return found.graph(made)


def _whole_sums() -> bool:
    """Return whether the processor has instructions that sum products of int8 without a cut."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities.get("architecture") != "x86_64":
        return True
    return bool(capabilities["avx512_vnni"] or capabilities["avx_vnni"])


WHOLE_SUMS = _whole_sums()


def session(data: bytes, *, optimized: bool = True, precise: bool = False) -> Any:
    """Return stock onnxruntime's session of a file's bytes.

    With `precise`, sums of products are whole on processors without int8 instructions, too; there
    it is always set, because sums that are cut off say nothing about the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if precise or not WHOLE_SUMS:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = off
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def logits(data: bytes, x: Tensor, *, optimized: bool = True) -> Tensor:
    (said,) = session(data, optimized=optimized).run(None, {"inputs": x.numpy()})
    return torch.from_numpy(said)
