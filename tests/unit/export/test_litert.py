"""Layers of a LiteRT program that stay in finer number formats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from safecompress.export import FORMATS, ExportContext, Format
from safecompress.export.format import FP32
from safecompress.topology import Topology
from tests.export_models import require_extras

IMAGES = (
    nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Flatten(),
        nn.Linear(8 * 36, 5),
    ),
    torch.randn(40, 3, 8, 8),
    ["0", "3", "5"],
)
WORDS = (
    nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(64, 5)),
    torch.randint(0, 50, (40, 4)),
    ["0", "2"],
)


@pytest.fixture(params=["litert-int8", "litert-int4"])
def form(request: pytest.FixtureRequest) -> Format:
    form = FORMATS.build(request.param, where="test")
    require_extras(form)
    return form


@pytest.mark.parametrize(("model", "rows", "names"), [IMAGES, WORDS])
def test_layers_are_the_models_and_stay_as_fine_as_asked(
    form: Format, model: nn.Sequential, rows: Tensor, names: list[str], tmp_path: Path
) -> None:
    """Where every layer is finer, the file is larger and nearer to the model."""
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
            path = tmp_path / f"{to}-{number}.tflite"
            path.write_bytes(form.write(context.keeping(kept, sharing=form.shares()), {}))
            said = torch.as_tensor(form.open(path, context)(rows))
            sizes.append(path.stat().st_size)
            off.append(float((said - expected).abs().max()))
        assert sizes[0] < sizes[1]
        assert off[1] < off[0]
        assert to != FP32 or off[1] < 1e-5
