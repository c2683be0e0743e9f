"""Cells of recipes say what the runs' verdicts say, and the documents say what the cells say."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks import recipes
from benchmarks.cells import Cells, rounded

from safecompress import compress, load_config
from safecompress.compress import Run
from safecompress.files import read_json, write_json
from safecompress.run.folder import PROVENANCE, VERDICT
from tests.documents import ROOT

RECIPE = """
data: {source: {source: sklearn, name: iris}}
model: {name: mlp, options: {hidden: [8]}}
dense: &brief {epochs: 2, precision: 32-true}
sparse: {density: 0.5, rounds: 1, train: *brief}
steer: {proposals: [rigl], attacks: [loss]}
baselines: []
verdict: {checks: [{measure: {attack: {attack: loss}}, condition: {at_most: 0.9}}]}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "iris.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def run(recipe: Path) -> Run:
    return compress(config=load_config(recipe), out=recipe.parent / "iris")


@pytest.fixture(scope="module")
def cell(recipe: Path, run: Run) -> dict[str, Any]:
    return recipes.cell_of(recipe, run.folder, [])


def test_a_cell_has_the_figures_of_the_verdict(run: Run, cell: dict[str, Any]) -> None:
    verdict = read_json(run.folder / VERDICT)
    assert cell["verdict"] == verdict["verdict"]
    assert cell["sentence"] == verdict["sentence"]
    assert cell["rows"]["members"] == len(run.splits.members)
    assert cell["bytes"]["dense fp32"] == 4 * sum(p.numel() for p in run.model.parameters())
    assert cell["bytes"][recipes.FORMAT] > 0
    by_name = {row["name"]: row for row in verdict["comparison"]}
    assert set(cell["models"]) == set(by_name) >= {"dense", "compressed"}
    for name, model in cell["models"].items():
        assert model["accuracy"] == by_name[name]["accuracy"]
        for attack, span in model["aucs"].items():
            assert span == by_name[name]["attacks"][f"{attack}.auc"]
        assert model["aucs"][model["strongest"]]["value"] == max(
            span["value"] for span in model["aucs"].values()
        )
    assert cell["processor_seconds"] is None


def test_a_row_shows_accuracy_and_the_strongest_attack_with_its_interval() -> None:
    def model(accuracy: float, **aucs: tuple[float, float, float]) -> dict[str, Any]:
        spans = {n: dict(zip(("value", "low", "high"), s, strict=True)) for n, s in aucs.items()}
        strongest = max(spans, key=lambda n: spans[n]["value"])
        return {"accuracy": {"value": accuracy}, "strongest": strongest, "aucs": spans}

    cell = {
        "recipe": "some.yaml",
        "set": [],
        "rows": {"members": 2000},
        "models": {
            "dense": model(0.8512, loss=(0.7, 0.65, 0.75), lira=(0.8004, 0.75, 0.85)),
            "compressed": model(0.8, loss=(0.612, 0.58, 0.64)),
        },
        "density": 0.2,
        "bytes": {"dense fp32": 12_340_000, recipes.FORMAT: 1_260_000},
        "verdict": "FAIL",
        "processor_seconds": 1234.0,
        "stage_seconds": {"dense": 600.0, "shadows": 900.0},
    }
    row = (
        "| [`some`](../recipes/some.yaml) | 2,000 | 85.1 % / .800 [.750, .850] (lira) "
        "| 80.0 % / .612 [.580, .640] (loss) | 0.2 | 12.3 → 1.3 | FAIL | 21 |"
    )
    assert recipes.table_row("some", cell) == row
    assert len(row.split(" | ")) == len(recipes.HEADER.split(" | "))
    unknown = cell | {"processor_seconds": None, "set": ["dense.epochs=1"]}
    assert recipes.table_row("some", unknown) == row.replace("21 |", "25 (clock) |").replace(
        "yaml) |", "yaml) (shortened) |"
    )


def test_an_interrupted_run_goes_on_and_its_seconds_add_up(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "iris"
    asked: list[list[str]] = []

    def ended_early(command: list[str], **_: Any) -> None:
        asked.append(command)
        folder.mkdir(exist_ok=True)
        write_json(folder / (VERDICT if len(asked) > 1 else PROVENANCE), {})

    used = SimpleNamespace(ru_utime=3.0, ru_stime=1.0, ru_maxrss=7)
    monkeypatch.setattr(recipes.subprocess, "run", ended_early)
    monkeypatch.setattr(recipes.resource, "getrusage", lambda _: used)
    with pytest.raises(RuntimeError, match=r"iris\.yaml: the run ended without a verdict"):
        recipes.run(recipe, folder, ["seed=1"])
    spent = recipes.run(recipe, folder, ["seed=1"])
    assert spent == {"processor_seconds": 8.0, "peak_bytes": 7 * 1024}
    assert asked[0][-5:] == [str(recipe), "--out", str(folder), "--set", "seed=1"]
    assert asked[1][-3:] == ["--resume", str(folder), "--trust-code"]
    assert recipes.run(recipe, folder, []) == spent
    assert len(asked) == 2


def rows_under(header: str, *documents: str) -> list[str]:
    """Return the rows of recipes in the tables with a header."""
    found = []
    for name in documents:
        for table in (ROOT / name).read_text("utf-8").split(header)[1:]:
            found += re.findall(r"^\| \[`.*\|$", table.split("\n\n")[0], re.MULTILINE)
    return sorted(found)


def test_the_documents_have_the_rows_of_the_cells() -> None:
    cells = {key: rounded(cell) for key, cell in Cells.of("recipes").finished().items()}
    rows = sorted(recipes.table_row(key, cell) for key, cell in cells.items())
    assert rows_under(recipes.HEADER, "docs/text.md", "docs/models.md") == rows
    short = sorted(recipes.short_row(key, cell) for key, cell in cells.items())
    assert rows_under(recipes.SHORT, "README.md") == short
