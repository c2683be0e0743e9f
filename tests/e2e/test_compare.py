"""Methods over cohorts, and finished runs, as one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from safecompress import compare, compare_runs
from safecompress.cli.app import app
from safecompress.errors import ConfigError, RunFolderError
from safecompress.events import Event
from safecompress.files import read_json
from tests.small_runs import begin, brisk

RECIPE: dict[str, Any] = {
    "data": {
        "source": {
            "source": "sklearn",
            "name": "make_classification",
            "options": {"n_samples": 240, "n_features": 10, "n_informative": 6, "n_classes": 3},
        },
        "split": {"membership": "fresh", "members": 100},
    },
    "model": {"name": "mlp", "options": {"hidden": [16]}},
    "dense": {"epochs": 12, "lr": 0.1, "batch_size": 20, "precision": "32-true"},
    "sparse": {
        "density": 0.3,
        "rounds": 1,
        "train": {"epochs": 2, "lr": 0.05, "batch_size": 20, "precision": "32-true"},
    },
    "engine": {"threads": 1},
}


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    return {
        "data": {"toy": {"config": str(recipe)}},
        "methods": {
            "dense": {"set": ["sparse.rounds=0", "sparse.train.epochs=0"], "densities": [1.0]},
            "magnitude": {"set": ["sparse.rounds=0"]},
            "rigl": {"set": ["steer.proposals=[rigl]", "steer.population=1"]},
        },
        "densities": [0.3],
        "models": 5,
        "reference": "rigl",
        "workers": 1,
        "attacks": ["loss", "gap", "lira-online", "white-box"],
    }


def test_every_method_is_a_cohort_on_the_same_draws(asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    events: list[Event] = []
    document = compare(asked | {"keep": True}, out=out, on_event=events.append).to_json()
    rows = {(row["method"], row["density"]): row for row in document["rows"]}
    assert set(rows) == {("dense", 1.0), ("magnitude", 0.3), ("rigl", 0.3)}
    assert rows["dense", 1.0]["attacks"]["loss"]["mean"] > 0.5
    assert set(rows["rigl", 0.3]["attacks"]) == {"loss", "gap", "lira-online", "white-box"}
    assert rows["magnitude", 0.3]["against"]["p_corrected"] <= 1
    assert {p.name for p in out.iterdir()} >= {"table.md", "table.csv", "table.html", "table.json"}
    # One dense model for each draw, whichever method began from it.
    cohorts = out / "cohorts"
    for number in range(5):
        files = [
            (cohorts / name / f"{number:04d}" / "dense.safetensors").read_bytes()
            for name in ("toy-1-dense", "toy-0.3-rigl")
        ]
        assert files[0] == files[1]
    made = [event.text for event in events if event.kind == "saved"]
    assert len(made) == 3


def test_nothing_is_made_twice_and_other_settings_are_refused(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked["attacks"] = ["loss"]
    first = compare(asked, out=out, methods=["magnitude"]).to_json()
    assert [row["method"] for row in first["rows"]] == ["magnitude"]
    cell = out / "cells" / "toy-0.3-magnitude.json"
    before = cell.stat().st_mtime_ns
    second = compare(asked, out=out, methods=["magnitude", "dense"]).to_json()
    assert cell.stat().st_mtime_ns == before
    assert {row["method"] for row in second["rows"]} == {"dense", "magnitude"}
    with pytest.raises(RunFolderError, match="other settings"):
        compare(asked | {"models": 6}, out=out, methods=["magnitude"])
    assert not (out / "cohorts" / "toy-0.3-magnitude").exists()


def test_a_data_set_may_have_its_own_number_of_models_and_densities(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    asked["attacks"] = ["loss"]
    asked["data"]["large"] = asked["data"]["toy"] | {"models": 4, "densities": [0.5]}
    document = compare(asked, out=tmp_path / "out", methods=["dense", "magnitude"]).to_json()
    columns = ("data", "method", "density", "models")
    assert {tuple(row[c] for c in columns) for row in document["rows"]} == {
        ("toy", "dense", 1.0, 5),
        ("toy", "magnitude", 0.3, 5),
        ("large", "dense", 1.0, 4),
        ("large", "magnitude", 0.5, 4),
    }


def test_a_comparison_that_cannot_be_made_is_refused_before_training(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"4 models of 'toy', .* are too few"):
        compare(asked | {"models": 4}, out=out)
    with pytest.raises(ConfigError, match="attack 'family' needs family"):
        compare(asked | {"attacks": ["loss", "family"]}, out=out)
    other = {"lira-online": {"variance": "per-example"}}
    methods = asked["methods"] | {"aside": {"set": ["data.split.reference=0.2"]}}
    with pytest.raises(ConfigError, match="method 'aside' changes the data section"):
        compare(asked | {"methods": methods}, out=out)
    with pytest.raises(ConfigError, match="two attacks are called 'rmia'"):
        compare(asked | {"attacks": ["rmia", {"rmia": {"gamma": 2.0}}]}, out=out)
    with pytest.raises(ConfigError, match="too few for an attack: lira-online-own-variance"):
        compare(asked | {"attacks": [other]}, out=out)
    with pytest.raises(ConfigError, match="method 'snip' is not in the comparison"):
        compare(asked, out=out, methods=["snip"])
    with pytest.raises(ConfigError, match="reference is 'snip'"):
        compare(asked | {"reference": "snip"}, out=out)
    with pytest.raises(ConfigError, match="no_such"):
        compare(asked | {"attacks": ["no_such"]}, out=out)
    asked["methods"]["rigl"]["set"] = ["sparse.rounds=many"]
    with pytest.raises(ConfigError, match="rounds"):
        compare(asked, out=out)
    assert not out.exists()


def test_the_command_line_makes_one_cell_and_prints_the_table(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(asked | {"attacks": ["loss"]}))
    out = tmp_path / "out"
    found = CliRunner().invoke(
        app, ["compare", str(path), "--out", str(out), "--method", "magnitude", "--quiet"]
    )
    assert found.exit_code == 0, found.output
    assert "● magnitude" in found.output
    assert (out / "cells" / "toy-0.3-magnitude.json").is_file()


def test_finished_runs_side_by_side(tmp_path: Path) -> None:
    with brisk():
        for name in ("one", "two"):
            begin(tmp_path / name)
    out = tmp_path / "table"
    folders = [str(tmp_path / name) for name in ("one", "two")]
    found = CliRunner().invoke(app, ["compare", *folders, "--out", str(out)])
    assert found.exit_code == 0, found.output
    document = read_json(out / "table.json")
    # The same splits: one group, with the dense model, the baseline and the compressed one of each.
    assert len(document["rows"]) == 6
    assert len({row["data"] for row in document["rows"]}) == 1
    assert json.loads((tmp_path / "one" / "verdict.json").read_text())["verdict"] in {
        row["says"] for row in document["rows"]
    }


def test_a_folder_without_a_verdict_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match=r"verdict\.json"):
        compare_runs([tmp_path / "empty"])


def test_a_cell_is_read_wherever_its_data_lie_and_whatever_defaults_become(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked["attacks"] = ["loss"]
    compare(asked, out=out, methods=["magnitude"])
    path = out / "cells" / "toy-0.3-magnitude.json"
    cell = json.loads(path.read_text())
    assert "source" not in cell["recipe"]["data"]
    # As of a version that did not know this setting yet.
    del cell["recipe"]["sparse"]["student"]
    path.write_text(json.dumps(cell))
    compare(asked, out=out, methods=["magnitude"])
    # Without rounds nothing is proposed, whatever would have been.
    cell["recipe"]["steer"]["proposals"] = ["keep"]
    path.write_text(json.dumps(cell))
    compare(asked, out=out, methods=["magnitude"])
    # As of a version with another default: recorded whole, it is another recipe now.
    cell["recipe"]["sparse"]["rounds"] = 5
    path.write_text(json.dumps(cell))
    with pytest.raises(RunFolderError, match="other settings"):
        compare(asked, out=out, methods=["magnitude"])


def test_cells_of_one_data_set_have_the_same_rows(asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked["attacks"] = ["loss"]
    compare(asked, out=out, methods=["magnitude"])
    path = out / "cells" / "toy-0.3-magnitude.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows_sha256": "0" * 64}))
    with pytest.raises(RunFolderError, match="other rows"):
        compare(asked, out=out, methods=["dense"])
