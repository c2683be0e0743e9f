"""`validate` says before training what its verdict could never decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safecompress.cli.validate import describe
from safecompress.compression.prepare import prepare
from safecompress.config import load_config

RUN = {
    "data": {"source": {"source": "sklearn", "name": "digits"}},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "sparse": {"density": 0.5},
}
LOSS = {"attack": {"attack": "loss", "metric": "auc"}}


@pytest.mark.parametrize(
    ("verdict", "warned"),
    [
        ({}, False),
        ({"checks": [{"measure": LOSS, "condition": {"at_most": 0.6}}]}, False),
        ({"checks": [{"measure": LOSS, "condition": {"at_most": 1.0}}]}, True),
        ({"checks": [{"measure": LOSS, "condition": {"at_least": 0.0}}]}, True),
        ({"checks": [{"measure": "accuracy", "condition": {"at_least": 0.1}}]}, True),
        (
            {
                "checks": [
                    {"measure": LOSS, "condition": {"at_most": 0.6}, "critical": False},
                    {"measure": "accuracy", "condition": {"at_least": 0.1}},
                ]
            },
            True,
        ),
    ],
)
def test_limits_that_no_leak_can_miss_are_named(
    verdict: dict[str, Any], warned: bool, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(json.dumps({**RUN, "verdict": verdict}))
    lines = describe(prepare(load_config(tmp_path / "run.yaml")))
    assert any("no verdict can pass" in line for line in lines) is warned
