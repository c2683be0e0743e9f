"""Whole runs whose search is steered by the limits of their verdict."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

from safecompress import Splits, compress, splits_from_arrays
from safecompress.cli.app import app
from safecompress.cohorts.shadow_models import shadow_config
from safecompress.config import PRESETS, dump_yaml, load_config
from safecompress.errors import ConfigError
from safecompress.events import Event
from safecompress.run.folder import CONFIG, read_history
from safecompress.run.model_file import StoredModel
from safecompress.topology import Topology
from safecompress.transforms import Transforms
from tests.small_runs import SETTINGS, TRAIN, brisk

# A quarter of the labels are wrong: who fits them knows the members, and who learns the almost flat
# labels of teachers neither leaks nor knows much.
PROPOSALS = ["keep", {"soft-labels": {"temperature": 100.0}}]
CHECKS = [
    {"measure": "accuracy", "condition": {"at_least": 0.6}},
    {"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.7}},
    {"measure": {"attack": {"attack": "lira-offline"}}, "condition": {"at_most": 0.7}},
    {"measure": {"group": {"attacks": ["loss"]}}, "condition": {"at_most": 0.9}},
]
LONG = TRAIN | {"epochs": 30, "lr": 0.3}


def wide_model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3))


@cache
def noisy_splits() -> Splits:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(600, 6, generator=draw)
    wrong = torch.rand(600, generator=draw) < 0.25
    labels = (x[:, :3].argmax(dim=1) + wrong) % 3
    return splits_from_arrays(x, labels, seed=0)


def settings(**changes: Any) -> dict[str, Any]:
    return (
        SETTINGS
        | {
            "dense": LONG,
            "teachers": {"folds": 2, "held_out": 1, "train": TRAIN},
            "sparse": {"density": 0.5, "rounds": 1, "train": LONG},
            "steer": {"proposals": PROPOSALS, "attacks": ["loss"]},
            "verdict": {"checks": CHECKS},
            "baselines": [],
        }
        | changes
    )


def chosen(folder: Path) -> dict[str, Any]:
    return next(line for line in read_history(folder) if line["selected"] and line["rank"] == 1)


def run(folder: Path, preset: str | None, **steer: Any) -> list[Event]:
    events: list[Event] = []
    config = settings()
    config["steer"] |= steer
    with brisk():
        compress(
            wide_model,
            noisy_splits(),
            config=config,
            preset=preset,
            out=folder,
            on_event=events.append,
        )
    return events


def test_a_published_objective_and_the_suite_choose_differently(tmp_path: Path) -> None:
    run(tmp_path / "published", None, objective="worst-attacker")
    events = run(tmp_path / "suite", "balanced")
    published, suite = chosen(tmp_path / "published"), chosen(tmp_path / "suite")
    assert published["proposal"] != suite["proposal"]
    history = read_history(tmp_path / "suite")
    assert "margins" not in published
    by_name = {line["candidate"]: line["margins"] for line in history}
    least = {name: min(m.values()) for name, m in by_name.items()}
    assert least[suite["candidate"]] == max(least.values())
    assert set(suite["margins"]) == {
        "accuracy ≥ 0.6",
        "loss.auc ≤ 0.7",
        "lira-offline.auc ≤ 0.7",
        "class.auc ≤ 0.9",
    }
    said = [e.text for e in events if "represented" in e.text]
    assert said == ["  'lira-offline.auc ≤ 0.7' is represented in the search by calibrated."]
    figures = {line["candidate"]: line["measures"]["loss.auc"] for line in history}
    others = [v for name, v in figures.items() if name != suite["candidate"]]
    assert figures[suite["candidate"]] > min(others)  # it leaks more, and keeps the accuracy
    config = yaml.safe_load((tmp_path / "suite" / CONFIG).read_text())
    assert (config["preset"], config["steer"]["objective"]) == ("balanced", "margin")
    assert load_config(tmp_path / "suite" / CONFIG).preset == "balanced"


def test_accurate_needs_a_dense_model(tmp_path: Path) -> None:
    config = settings(dense=TRAIN | {"epochs": 0}, preset="accurate")
    config["sparse"] |= {"initialize": "scratch"}
    with pytest.raises(ConfigError, match="compares with the dense model"):
        compress(wide_model, noisy_splits(), config=config, out=tmp_path / "run")


def test_the_recipe_of_shadow_models_is_a_configuration_without_preset_and_judges() -> None:
    """It is written to a file, which refuses a preset beside another objective."""
    config = load_config(settings(preset="private", teachers={"judges": 2}))
    weights = {"w": torch.zeros(1)}
    model = StoredModel(weights, Topology({}), {"lineage": ["keep"]}, Transforms())
    recipe = shadow_config(config, model, dense=None, sparse=None)
    assert load_config(yaml.safe_load(dump_yaml(recipe))) == recipe
    assert (recipe.preset, recipe.teachers.judges) == (None, 0)


def test_the_command_line_takes_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"sparse": {"density": 0.5}}))
    result = CliRunner().invoke(app, ["compress", str(file), "--preset", "safest"])
    assert isinstance(result.exception, ConfigError)
    assert all(f"'{name}'" in str(result.exception) for name in ("safest", *PRESETS))
