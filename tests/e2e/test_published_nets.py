"""Published architectures go through a run, are loaded, and are exported and tested again."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from safecompress import compress, export, load
from safecompress.checks import Status
from safecompress.errors import UsageError
from safecompress.export import FORMATS
from tests.published_nets import NETS, Net, rows_of
from tests.support import calibrating

TRAIN = {"epochs": 1, "optimizer": "adamw", "lr": 1e-3, "batch_size": 20, "precision": "32-true"}
CONFIG = {
    "dense": TRAIN,
    "sparse": {"density": 0.4, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    "baselines": [],
    "verdict": {
        "checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]
    },
}
FEW = ("onnx", "safetensors-int8")
"""Formats of `make test`; `make calibrate` writes all of them."""


def formats() -> list[str]:
    """Return the formats whose packages are here."""
    names = list(FORMATS.parts) if calibrating() else list(FEW)
    executorch = find_spec("executorch") is not None
    return [n for n in names if executorch or not n.startswith("executorch")]


@pytest.mark.parametrize(
    "net", [net for net in NETS if net.quick or calibrating()], ids=lambda net: net.name
)
def test_it_is_compressed_loaded_and_exported(net: Net, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net.make()
    run = compress(net.make, rows_of(texts=net.texts), config=CONFIG, out=tmp_path / "run")
    rows = run.splits.steer.nonmembers.inputs
    loaded = load(run.folder, model=net.make)
    with torch.inference_mode():
        assert torch.allclose(loaded(rows), run.model(rows), rtol=0, atol=1e-5)
    for form in formats():
        path = tmp_path / f"{form}.bin"
        if form in net.unfit:
            with pytest.raises(UsageError) as refused:
                export(run.folder, path, format=form, model=net.make, data=run.splits)
            assert re.search(net.unfit[form], str(refused.value)), form
            assert not path.exists()
            continue
        done = export(
            run.folder, path, format=form, model=net.make, data=run.splits, allow_failed=True
        )
        found = {check.name: check.status for check in done.checks}
        assert found, form
        assert Status.ERROR not in found.values(), (form, done.checks)
        assert path.exists(), (form, done.checks)
