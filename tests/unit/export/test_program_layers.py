"""Layers of programs of LiteRT and ExecuTorch that stay in finer number formats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from safecompress.export import FORMATS, ExportContext
from safecompress.export.format import FP32
from safecompress.export.written import write_files
from safecompress.topology import Topology
from tests.export_models import require_extras

IMAGES = (
    nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, groups=8),
        nn.Flatten(),
        nn.Linear(32 * 36, 5),
    ),
    torch.randn(40, 3, 8, 8),
)
WORDS = (
    nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 5)),
    torch.randint(0, 50, (40, 4)),
)
POOLED = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 5))
CASES = [
    ("litert-int8", *IMAGES, ["0", "3", "5"]),
    ("litert-int4", *IMAGES, ["0", "3", "5"]),
    ("litert-int8", *WORDS, ["0", "2", "3"]),
    ("litert-int4", *WORDS, ["0", "2", "3"]),
    # ExecuTorch leaves tables and the layer of the logits in fp32.
    ("executorch-int8", *IMAGES, ["0", "3"]),
    ("executorch-int8", *WORDS, ["2"]),
]


@pytest.mark.parametrize(("name", "model", "rows", "names"), CASES)
def test_layers_are_the_models_and_stay_as_fine_as_asked(
    name: str, model: nn.Sequential, rows: Tensor, names: list[str], tmp_path: Path
) -> None:
    """Where every layer is finer, the file is larger and nearer to the model."""
    form = FORMATS.build(name, where="test")
    require_extras(form)
    model.eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -1.5, 1.5)
    context = ExportContext.of(model, Topology.dense(model), rows)
    layers, expected = form.layers(context), model(rows).detach()
    assert list(layers.values()) == names

    for to in form.finer:
        sizes, off = [], []
        for number, kept in enumerate(({}, dict.fromkeys(layers, to))):
            path = tmp_path / f"{to}-{number}{form.suffixes[0]}"
            path.write_bytes(form.write(context.keeping(kept, sharing=form.shares()), {}))
            said = torch.as_tensor(form.open(path, context)(rows))
            sizes.append(path.stat().st_size)
            off.append(float((said - expected).abs().max()))
        assert sizes[0] < sizes[1]
        assert off[1] < off[0]
        assert to != FP32 or off[1] < 1e-5


@pytest.mark.parametrize("name", ["litert", "executorch", "onnx", "openvino"])
def test_windows_of_adaptive_pooling_are_those_of_ordinary_pooling(
    name: str, tmp_path: Path
) -> None:
    form, rows = FORMATS.build(name, where="test"), torch.randn(9, 3, 8, 8)
    require_extras(form)
    context = ExportContext.of(POOLED, Topology.dense(POOLED), rows)
    path = tmp_path / f"m{form.suffixes[0]}"
    write_files(form, path, form.write(context, {}))
    said = torch.as_tensor(form.open(path, context)(rows))
    torch.testing.assert_close(said, POOLED(rows).detach(), rtol=1e-4, atol=1e-5)
