"""Every recipe is complete and fits its data."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from safecompress.cli.validate import describe
from safecompress.compression.prepare import prepare
from safecompress.config import load_config
from tests.text_folders import labeled_texts, written_csv

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def variables(recipe: Path) -> list[str]:
    """Return the environment variables that a recipe names."""
    return sorted(set(re.findall(r"\$\{(\w+)\}", recipe.read_text(encoding="utf-8"))))


def files_of(recipe: Path) -> list[str]:
    """Return the files of the data folder that a recipe reads."""
    return re.findall(r"\$\{SAFECOMPRESS_DATA\}/(\S+)", recipe.read_text(encoding="utf-8"))


def test_there_are_recipes() -> None:
    assert {p.stem for p in RECIPES} >= {
        "location30",
        "banking77",
        "cifar100-alexnet",
        "vgg-c-cifar100",
        "banking77-minilm",
        "sst2-minilm",
        "ag-news-bert-tiny",
        *(f"{model}-{data}" for model in ("bert", "roberta") for data in ("ag-news", "yelp5")),
    }


TEXT = [p for p in RECIPES if "tokenizer:" in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("recipe", TEXT, ids=lambda p: p.stem)
def test_a_recipe_of_a_text_model_fits_a_stand_in_for_its_data_and_its_encoder(
    recipe: Path, text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in variables(recipe):
        monkeypatch.setenv(name, str(tmp_path if name == "SAFECOMPRESS_DATA" else text_folder))
    for seed, name in enumerate(files_of(recipe)):
        texts, labels = labeled_texts(150, seed=seed)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written_csv(tmp_path / name, {"text": texts, "label": labels})
    shorter = ["data.preprocessing.max_length=12", "sparse.gradual.cuts=4"]
    if "rows:" in recipe.read_text(encoding="utf-8"):
        shorter += ["data.split.rows=200", "data.split.members=80"]
    lines = describe(prepare(load_config(recipe, assignments=shorter)))
    assert lines[-1] == "valid"
    assert any("text: text, 12 of 45 tokens a row" in line for line in lines)


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
    if unset := [name for name in variables(recipe) if name not in os.environ]:
        pytest.skip(f"needs a pretrained model's folder: {', '.join(unset)} is not set")
    if lacking := [name for name in files_of(recipe) if not (data_dir / name).is_file()]:
        pytest.skip(f"needs real data: there is no {lacking[0]}")
    prepared = prepare(load_config(recipe))
    lines = describe(prepared)
    assert lines[-1] == "valid"
    assert not [line for line in lines if line.startswith("warning")]
