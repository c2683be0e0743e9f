"""Before training it is said what a verdict could never decide, and what is too short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safecompress.cli.validate import describe
from safecompress.compression.prepare import prepare
from safecompress.config import load_config
from safecompress.errors import ConfigError

RUN: dict[str, Any] = {
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


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(
    ("pruner", "option", "steps"),
    [
        ("gradual", "cuts", 16),
        ("admm", "rounds", 16),
        ("gradual", "cuts", 3),
        ("admm", "rounds", 3),
    ],
)
def test_a_first_mask_whose_training_is_too_short_is_refused_before_any(
    pruner: str, option: str, steps: int, scope: str, tmp_path: Path
) -> None:
    def prepared(taken: int) -> None:
        # One batch of all members an epoch.
        train = {"batch_size": 2000, "epochs": taken}
        sparse = {"density": 0.5, "initialize": f"{pruner}-{scope}", pruner: {option: steps},
                  "train": train}  # fmt: skip
        (tmp_path / "run.yaml").write_text(
            json.dumps(RUN | {"dense": {"epochs": 1}, "sparse": sparse})
        )
        prepare(load_config(tmp_path / "run.yaml"))

    prepared(steps)
    for taken in (0, steps - 1):
        with pytest.raises(ConfigError, match=f"needs {steps} steps of training"):
            prepared(taken)
