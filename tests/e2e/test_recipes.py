"""Every recipe is complete and fits its data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from safecompress.cli.validate import describe
from safecompress.compression.prepare import prepare
from safecompress.config import load_config

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {p.stem for p in RECIPES} >= {
        "location30",
        "banking77",
        "cifar100-alexnet",
        "vgg-c-cifar100",
    }


@pytest.mark.parametrize("data", ["location30", "cifar100-alexnet"])
@pytest.mark.parametrize(
    ("kind", "attacks"),
    [
        ("wmia", ["white-box"]),
        ("mmia", ["loss", "modified-entropy", "neural", "white-box"]),
    ],
)
def test_the_instances_differ_in_who_steers_and_in_nothing_else(
    data: str, kind: str, attacks: list[str]
) -> None:
    base, instance = (
        yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
        for name in (data, f"{data}-{kind}")
    )
    assert instance == base | {"steer": {"attacks": attacks}}


@pytest.mark.data
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_recipes_are_valid(recipe: Path, data_dir: Path) -> None:
    prepared = prepare(load_config(recipe))
    lines = describe(prepared)
    assert lines[-1] == "valid"
    assert not [line for line in lines if line.startswith("warning")]
