"""Stored weights and the configuration beside them: a module that fits, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress.config import CompressConfig
from safecompress.errors import ModelError
from safecompress.models import build_model
from safecompress.run.load import load_stored
from safecompress.run.model_file import StoredModel
from safecompress.topology import Topology

SHAPE = (3, 16, 16)
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp": ({"hidden": [8, 4]}, {"hidden": [300_000, 300_000]}),
    "alexnet": ({"width": 0.05}, {"width": 900.0}),
    "vgg16": ({"width": 0.05}, {"width": 900.0}),
    "resnet18": ({"width": 0.05}, {"width": 900.0}),
}
"""Options that are stored, and options whose weights no machine holds."""


def config_of(family: str, options: dict[str, Any]) -> CompressConfig:
    model = {"name": family, "options": options}
    source = {"source": "sklearn", "name": "digits"}
    settings = {"data": {"source": source}, "model": model, "sparse": {"density": 0.5}}
    return CompressConfig.model_validate(settings)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_configuration_of_other_sizes_is_refused_before_it_takes_memory(family: str) -> None:
    right, wrong = (config_of(family, options) for options in FAMILIES[family])
    assert right.model is not None
    module = build_model(right.model, input_shape=SHAPE, classes=3, seed=1).eval()
    data = {"input_shape": list(SHAPE), "classes": 3}
    stored = StoredModel(module.state_dict(), Topology.dense(module), data)

    found = load_stored(stored, right, where=Path("run"))
    rows = torch.randn(4, *SHAPE)
    with torch.no_grad():
        assert torch.equal(found(rows), module(rows))

    with pytest.raises(ModelError, match=r"has the shape \(.*by the configuration and \(") as said:
        load_stored(stored, wrong, where=Path("run"))
    assert "run: the module does not fit the stored weights" in str(said.value)
