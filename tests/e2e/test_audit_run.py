"""`safecompress audit RUN`: a run's own model on its own sealed rows, one more look at them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from safecompress import audit, compress
from safecompress.checks import corrected_level
from safecompress.cli.app import app
from safecompress.errors import UsageError
from tests.pairs import brisk_pairs

SETTINGS: dict[str, Any] = {
    "data": {
        "source": {
            "source": "sklearn",
            "name": "make_classification",
            "options": {"n_samples": 900, "n_features": 8, "n_informative": 6, "n_classes": 3},
        },
    },
    "model": {"name": "mlp", "options": {"hidden": [16]}},
    "dense": {"epochs": 3, "batch_size": 32, "precision": "32-true"},
    "sparse": {"density": 0.5, "rounds": 1, "train": {"epochs": 2, "precision": "32-true"}},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    "engine": {"threads": 1},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    compress(config=SETTINGS, out=folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy with its own ledger."""
    shutil.copy(finished.parent / "sealed-ledger.jsonl", tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "run"))


def figures(document: dict[str, Any], name: str) -> dict[str, float]:
    row = next(r for r in document["comparison"] if r["name"] == name)
    return {k: v["value"] for k, v in row["attacks"].items()} | {"acc": row["accuracy"]["value"]}


def test_it_finds_what_the_run_found_and_counts_the_look(run: Path) -> None:
    before = json.loads((run / "verdict.json").read_text())
    document = audit(run, baseline="dense").verdict.document.to_json()
    for theirs, ours in (("compressed", "model"), ("dense", "dense")):
        old, new = figures(before, theirs), figures(document, ours)
        # The neural attacker learns on other halves; whatever learns nothing finds the same.
        for name in ("loss.auc", "modified-entropy.auc", "acc"):
            assert new[name] == pytest.approx(old[name], abs=1e-6)
    assert (before["looks"], document["looks"]) == (1, 2)
    assert document["level"] == pytest.approx(corrected_level(0.95, 2))
    names = [c["name"] for c in document["checks"]]
    assert "accuracy ≥ dense − 0.05" in names


def test_the_same_audit_is_free_and_another_is_not(run: Path) -> None:
    looks = [
        audit(run, **options).verdict.document.to_json()["looks"]
        for options in (
            {},
            {},
            {"seed": 1},
            {},
            {"baseline": "magnitude"},
            {"attacks": ["entropy"]},
        )
    ]
    assert looks == [2, 2, 3, 3, 4, 5]


def test_any_model_of_the_run_can_be_judged(run: Path) -> None:
    before = json.loads((run / "verdict.json").read_text())
    document = audit(run / "dense.safetensors").verdict.document.to_json()
    found = figures(document, "model")["loss.auc"]
    assert found == pytest.approx(figures(before, "dense")["loss.auc"], abs=1e-6)


def test_the_command_line(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["audit", str(run), "--baseline", "dense", "--out", str(out), "--max-auc", "0.99"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code in {0, 1, 3}, (result.output, result.exception)
    document = json.loads((out / "verdict.json").read_text())
    assert document["model"]["name"] == "run"
    assert (run.parent / "sealed-ledger.jsonl").read_text().count("\n") == 2
    assert "asking run/model.safetensors about" in result.output
    page = (out / "report.html").read_text()
    assert "Looks at the sealed rows" in page
    assert "look 2 at them" in page


def test_the_command_line_names_attacks_that_ask_the_model_and_look_inside(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["audit", str(run), "--out", str(out), "--attack", "quantile"]
    result = CliRunner().invoke(app, [*arguments, "--attack", "white-box"])
    assert result.exit_code in {0, 1, 3}, (result.output, result.exception)
    document = json.loads((out / "verdict.json").read_text())
    ended = {c["name"]: c["status"] for c in document["checks"]}
    assert not {ended[f"{name}.auc ≤ 0.6"] for name in ("quantile", "white-box")} & {
        "NOT_RUN",
        "ERROR",
    }
    assert document["scope"].endswith("on request also quantile, white-box")


def test_a_run_keeps_its_own_verdict(run: Path) -> None:
    before = (run / "verdict.json").read_bytes()
    with pytest.raises(UsageError, match="holds a run"):
        audit(run, out=run)
    assert (run / "verdict.json").read_bytes() == before


def test_code_that_a_folder_names_runs_only_where_it_is_trusted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "from safecompress.models import MODELS\n"
        "def make(input_shape, classes, hidden):\n"
        "    Path('executed').touch()\n"
        "    options = {'input_shape': input_shape, 'classes': classes, 'hidden': hidden}\n"
        "    return MODELS.build({'mlp': options}, where='mine')\n"
    )
    monkeypatch.chdir(tmp_path)
    edit(run, lambda c: c["model"].update(name="mine:make"))
    with pytest.raises(UsageError, match="--trust-code"):
        audit(run)
    assert not Path("executed").exists()
    assert audit(run, trust_code=True).verdict.document.to_json()["looks"] == 2
    assert Path("executed").exists()


def edit(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def without(name: str) -> Callable[[Path], Any]:
    return lambda run: (run / name).unlink()


def written(name: str, text: str) -> Callable[[Path], Any]:
    return lambda run: (run / name).write_text(text)


def settings(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    return lambda run: edit(run, change)


def flipped(run: Path) -> None:
    data = bytearray((run / "model.safetensors").read_bytes())
    data[-100] ^= 0xFF
    (run / "model.safetensors").write_bytes(bytes(data))


def cut(run: Path) -> None:
    data = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(data[:100])


BROKEN: dict[str, Callable[[Path], Any]] = {
    "no verdict yet": without("verdict.json"),
    "no model yet": without("model.safetensors"),
    "a model cut short": cut,
    "a flipped bit": flipped,
    "a model of nothing": written("model.safetensors", ""),
    "no provenance": without("provenance.json"),
    "a damaged provenance": written("provenance.json", "{"),
    "a provenance of something else": written("provenance.json", "[]"),
    "a damaged configuration": written("config.yaml", "sparse: ["),
    "an unknown key": settings(lambda c: c.update(sparce={})),
    "no model named": settings(lambda c: c.update(model=None)),
    "no data named": settings(lambda c: c.update(data=None)),
    "another model": settings(lambda c: c["model"].update(options={"hidden": [5]})),
    "an unknown family": settings(lambda c: c["model"].update(name="mlpp")),
    "code as its model": settings(lambda c: c["model"].update(name="os:system")),
    "code as its data": settings(
        lambda c: c["data"].update(source={"source": "torch", "factory": "os:getcwd"})
    ),
    "other data": settings(lambda c: c["data"]["source"]["options"].update(n_samples=800)),
    "other rows sealed": settings(lambda c: c.update(seed=9)),
    "data that are gone": settings(
        lambda c: c["data"].update(source={"source": "npz", "path": "/nowhere/x.npz"})
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_folder_that_cannot_be_audited_ends_in_one_message(case: str, run: Path) -> None:
    BROKEN[case](run)
    with pytest.raises(UsageError) as caught:
        audit(run)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    looks = (run.parent / "sealed-ledger.jsonl").read_text().count("\n")
    assert looks == 1, "what could not be judged has not looked"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"baseline": "dens"}, "did you mean 'dense'"),
        ({"baseline": "model"}, "no model 'model'"),
        ({"baseline": "../other/dense"}, "no model"),
        ({"data": {"source": {"source": "sklearn", "name": "digits"}}}, "brings its own rows"),
        ({"attacks": ["neurl"]}, "attacks: no attack is called 'neurl'"),
        ({"time_budget": "soon"}, "no length of time"),
        ({"time_budget": "0.001s"}, "asking the model"),
    ],
)
def test_what_cannot_be_asked_of_a_run(options: dict[str, Any], says: str, run: Path) -> None:
    with pytest.raises(UsageError, match=says):
        audit(run, **options)
    assert (run.parent / "sealed-ledger.jsonl").read_text().count("\n") == 1


def test_shadow_models_of_a_run_are_trained_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ours = compress(config=SETTINGS | {"shadows": {"count": 4, "workers": 1}}, out=folder)
    trained = {p: p.stat().st_mtime_ns for p in (folder / "shadows").glob("0*.safetensors")}
    found = audit(folder, baseline="dense", shadows=4)
    assert {p: p.stat().st_mtime_ns for p in trained} == trained
    assert (
        " with 4 reference models of the model's own recipe"
        in found.verdict.document.to_json()["scope"]
    )
    old = figures(ours.verdict.document.to_json(), "compressed")
    new = figures(found.verdict.document.to_json(), "model")
    # LiRA learns nothing but from the shadow models.
    names = [name for name in old if name.startswith("lira") and name.endswith(".auc")]
    assert names
    assert all(new[name] == pytest.approx(old[name], abs=1e-6) for name in names)
    dense = audit(folder / "dense.safetensors", shadows=4).verdict.document.to_json()
    theirs = figures(ours.verdict.document.to_json(), "dense")
    assert figures(dict(dense), "model")[names[0]] == pytest.approx(theirs[names[0]], abs=1e-6)


def test_shadow_models_are_trained_for_a_run_that_had_none(run: Path) -> None:
    result = CliRunner().invoke(
        app, ["audit", str(run), "--shadows", "4", "--out", str(run.parent / "out"), "--quiet"]
    )
    assert result.exit_code in {0, 1, 3}, result.output
    assert len(list((run / "shadows").glob("0*.safetensors"))) == 4
    document = json.loads((run.parent / "out" / "verdict.json").read_text())
    assert any(check["name"].startswith("rmia.auc") for check in document["checks"])


def test_only_a_run_has_shadow_models(tmp_path: Path) -> None:
    rows = [[0.0, 1.0], [1.0, 0.0]]
    with pytest.raises(UsageError, match="only a run folder knows the recipe"):
        audit(lambda x: x, ((rows, [0, 1]), (rows, [0, 1])), shadows=8)


def test_another_model_attacked_is_another_question(run: Path) -> None:
    with brisk_pairs():
        looks = [
            audit(run, against=name).verdict.document.to_json()["looks"]
            for name in ("dense", "magnitude", "dense")
        ]
    assert looks[1] == looks[0] + 1
    # The same question again is free.
    assert looks[2] <= looks[1]
