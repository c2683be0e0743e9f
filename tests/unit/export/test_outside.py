"""Models beyond 2 GB, at a small size: the same file, and the dense graph is never put together."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.export import FORMATS, ExportContext, outside
from safecompress.export.onnx_format import OnnxFormat
from safecompress.export.onnx_graphs import Fp32
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import quantize_after_training
from tests.export_models import logits, written

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = [n for n, p in FORMATS.parts.items() if isinstance(p.factory(), OnnxFormat)]


class Words(nn.Module):
    """A table, linear layers of two and of three dimensions, one of them called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(400, 32), nn.Linear(32, 32)
        self.hidden, self.out = nn.Linear(32, 64), nn.Linear(64, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.inner(self.inner(self.table(ids)).relu())
        return self.out(self.hidden(x.mean(dim=1)).relu())


def sparse(module: nn.Module, share: int = 20) -> Topology:
    topology = Topology.dense(module)
    for name, mask in topology.masks.items():
        mask.view(-1)[torch.arange(mask.numel()) % share > 0] = False
        assert mask.any(), name
    return topology


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "MOST_INSIDE", 10_000)
    monkeypatch.setattr(outside, "LARGE", 1_000)


@pytest.mark.parametrize("trained", [False, True])
def test_files_are_the_same_whatever_is_outside(
    trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module, ids = Words().eval(), torch.randint(0, 400, (40, 5))
    topology, numbers = sparse(module), None
    if trained:
        rows = Rows(ids, torch.zeros(40, dtype=torch.int64), torch.arange(40))
        made = quantize_after_training(module, rows, topology=topology)
        module, numbers = made.module, made.numbers

    def files() -> dict[str, bytes]:
        held = ExportContext.of(module, topology, ids, numbers=numbers)
        assert bool(held.once(Fp32).outside) == (outside.MOST_INSIDE < 1 << 20)
        return {form: written(held, form) for form in FORMS}

    before = files()
    monkeypatch.setattr(outside, "MOST_INSIDE", 10_000)
    monkeypatch.setattr(outside, "LARGE", 1_000)
    assert files() == before


def test_what_no_file_can_hold_is_refused_and_what_is_packed_is_written(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module, ids = Words().eval(), torch.randint(0, 400, (40, 5))
    held = ExportContext.of(module, sparse(module, 40), ids)
    monkeypatch.setattr(outside, "_LIMIT", 20_000)
    with pytest.raises(ModelError, match=r"at most 2.*onnx-sparse.*safetensors"):
        written(held, "onnx")
    with torch.no_grad():
        expected = held.module(ids)
    found = logits(written(held, "onnx-sparse"), ids)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_dense_graph_is_never_put_together(small: None) -> None:
    wide = 1500
    module: Any = nn.Sequential(nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 3)).eval()
    topology = sparse(module, 100)
    held = ExportContext.of(module, topology, torch.randn(8, wide))
    proto = held.once(Fp32).graph
    assert proto.ByteSize() < 50_000
    largest = held.once(Fp32).outside["0.weight"]
    assert np.shares_memory(largest, held.module[0].weight.detach().numpy())
    dense = 4 * wide * wide
    tracemalloc.start()
    data = written(held, "onnx-sparse")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The caller's module and the context's copy take 2 times the dense weights; half is left.
    assert peak < 0.5 * dense
    assert len(data) < 0.1 * dense
