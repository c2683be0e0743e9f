"""What a sparse file holds: every tensor without its zeros, or smaller with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress.export import FORMATS, ExportContext
from safecompress.export.onnx_format import OnnxFormat
from safecompress.sparse import initialize
from tests.export_models import logits, onnx_graph, written

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = {name: part.factory() for name, part in FORMATS.parts.items()}
SPARSE = [name for name, form in FORMS.items() if isinstance(form, OnnxFormat) and form.sparse]
MOST = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.1, "int4": 0.4}
"""Errors of rounded files, as a share of the largest logit."""
WIDE, WORDS = 96, 600


class EveryKind(nn.Module):
    """A layer of every kind that holds weights, and a buffer of every kind of number."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.bag = nn.Embedding(WORDS, WIDE), nn.EmbeddingBag(WORDS, WIDE, mode="sum")
        self.conv, self.back = nn.Conv1d(WIDE, WIDE, 3), nn.ConvTranspose1d(WIDE, WIDE, 3)
        self.memory = nn.GRU(WIDE, WIDE, batch_first=True)
        self.attend = nn.MultiheadAttention(WIDE, 2, batch_first=True)
        self.norm, self.out = nn.LayerNorm(WIDE), nn.Linear(WIDE, 3)
        mask = torch.zeros(1, 8, WIDE)
        mask[:, ::4, ::3] = 1.5
        self.register_buffer("reals", mask)
        self.register_buffer("wholes", (mask * 2).long())
        self.register_buffer("doubles", mask.double())
        self.register_buffer("shorts", (mask > 0).to(torch.uint8))
        with torch.no_grad():
            # Biases of which few are not zero are small files, too.
            self.norm.bias.zero_()

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.bag(ids).unsqueeze(1)
        x = self.back(self.conv(x.transpose(1, 2)).relu()).transpose(1, 2)
        x = x * self.reals + self.wholes + self.doubles.float() + self.shorts
        x = self.memory(x)[0]
        x = self.norm(x + self.attend(x, x, x, need_weights=False)[0])
        return self.out(x.mean(dim=1))


@pytest.fixture(scope="module")
def held() -> tuple[ExportContext, Tensor]:
    torch.manual_seed(0)
    module = EveryKind().eval()
    topology = initialize(
        module, density=0.1, distribution="uniform", method="magnitude-layer", seed=0
    )
    rows = torch.randint(0, WORDS, (48, 8))
    return ExportContext.of(module, topology, rows), rows


def smallest(array: np.ndarray[Any, Any]) -> float:
    """Return the bytes that a tensor takes without its zeros, operators included."""
    kept = np.count_nonzero(array)
    return kept * (array.itemsize + 1) + (array.size - kept) / 255 + 800


@pytest.mark.parametrize("form", SPARSE)
def test_every_tensor_is_packed_or_smaller_dense(
    held: tuple[ExportContext, Tensor], form: str
) -> None:
    graph = onnx_graph(held[0], form).graph
    packed = {i.name.removesuffix(".gaps") for i in graph.initializer if i.name.endswith(".gaps")}
    assert len(packed) > 6
    for initializer in graph.initializer:
        array = onnx.numpy_helper.to_array(initializer)
        if initializer.name.rpartition(".")[0] not in packed:
            assert array.nbytes <= smallest(array), initializer.name


@pytest.mark.parametrize("form", SPARSE)
def test_a_file_of_every_kind_of_layer_is_much_smaller_and_answers(
    held: tuple[ExportContext, Tensor], form: str
) -> None:
    context, rows = held
    dense, data = len(written(context, "onnx")), written(context, form)
    with torch.no_grad():
        expected = context.module(rows)
    error = (logits(data, rows) - expected).abs().max() / expected.abs().max()
    assert float(error) < MOST[FORMS[form].values]
    assert len(data) < dense / 4


def test_a_table_takes_a_byte_for_a_weight_and_one_for_its_place(
    held: tuple[ExportContext, Tensor],
) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(3000, 64), nn.Flatten(), nn.Linear(4 * 64, 3)).eval()
    topology = initialize(
        module, density=0.05, distribution="uniform", method="magnitude-layer", seed=0
    )
    rows = torch.randint(0, 3000, (40, 4))
    context = ExportContext.of(module, topology, rows)
    # A value and a step for each weight, a scale for each row, and the graph.
    most = 2 * topology.nonzeros + 4 * 3000 + 3 * 1000
    static, dynamic = (
        len(written(context, form)) for form in ("onnx-sparse-int8", "onnx-sparse-int8-dynamic")
    )
    assert static < most
    assert abs(static - dynamic) < 0.05 * most
