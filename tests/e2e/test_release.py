"""`safecompress release RUN`: files, cards, hashes and one verdict, or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safecompress import Limits, audit_jointly, compress, export, release
from safecompress.audits.release_folder import require_release_folder
from safecompress.audits.release_set import companion_names, place_names
from safecompress.cli.app import app
from safecompress.config import ShadowsConfig
from safecompress.errors import ConfigError, RunFolderError
from safecompress.verdicts.read import read_document

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TRAIN: dict[str, Any] = {"epochs": 3, "lr": 0.05, "batch_size": 64, "precision": "32-true"}
SETTINGS: dict[str, Any] = {
    "data": {"source": {"source": "sklearn", "name": "breast_cancer"}},
    "model": {"name": "mlp", "options": {"hidden": [16]}},
    "dense": TRAIN,
    "sparse": {"density": 0.3, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    "verdict": {
        "checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]
    },
    "engine": {"threads": 1},
}
FORMATS = ["onnx", "onnx-int8", "onnx-sparse-int8"]
FILES = [f"run-{name}.onnx" for name in FORMATS]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert compress(config=SETTINGS, out=folder).folder == folder
    return folder


@pytest.fixture(scope="module")
def released(finished: Path) -> Path:
    """A release for an attacker who holds the dense model, too, by the command line."""
    out = finished.parent / "released"
    arguments = ["release", finished, "--formats", ",".join(FORMATS), "--out", out]
    arguments += ["--dense", "published", "--min-agreement", 0.95, "--json"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, last["status"], last["shipped"]) == (0, "PASS", True), done.output
    return out


def test_a_release_is_files_cards_hashes_and_one_verdict(released: Path) -> None:
    sums = dict(
        reversed(line.split("  ")) for line in (released / "SHA256SUMS").read_text().splitlines()
    )
    assert {path.name for path in released.iterdir()} == {*sums, "SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((released / name).read_bytes()).hexdigest() == digest
    verdict = read_document(json.loads((released / "verdict.json").read_text()))
    assert verdict.kind == "joint"
    assert [file.name for file in verdict.files] == [*FILES, "dense.safetensors"]
    assert (verdict.dense, verdict.looks) == ("published", 5)
    # The run allows an AUC of .9, and so does its release.
    assert all("≤ 0.9" in c.name for c in verdict.checks if c.name.endswith("joint.auc ≤ 0.9"))
    for name in FILES:
        document = json.loads((released / f"{name}.json").read_text())
        assert document["sha256"][name] == sums[name]
        assert document["released_with"]["files"] == [*FILES, "dense.safetensors"]
        # In fp32 no layer can go back, so that nothing is asked.
        asked = document.get("agreement") or {"min_agreement": None}
        assert asked["min_agreement"] == (None if name == FILES[0] else 0.95)
        assert "## The set" in (released / f"{name}.md").read_text()


def test_several_files_of_a_trained_model_tell_no_less_than_one(released: Path) -> None:
    """Who holds more of dense, int8 and sparse int8 finds at least as much, within intervals."""
    verdict = read_document(json.loads((released / "verdict.json").read_text()))
    strongest = max(file.auc.low for file in verdict.files)
    for held in (*verdict.pairs, verdict.family):
        assert held.auc.high >= strongest


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copy(finished.parent / "sealed-ledger.jsonl", tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_set_that_fails_is_not_released_unless_asked(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # No set keeps a true-positive rate of next to nothing.
    limits = Limits(max_auc=0.5, max_tpr=((1e-6, 0.5),))
    done = release(run, out, formats=FORMATS[:2], limits=limits)
    assert (str(done.status), done.exit_code, done.shipped) == ("FAIL", 1, False)
    assert done.folder == out / "refused"
    assert not list(out.glob("*.onnx"))
    card = (done.folder / f"{FILES[0]}.md").read_text()
    assert "Not released: the set failed." in card
    assert "**FAIL**" in card
    again = release(run, out, formats=FORMATS[:2], limits=limits, allow_failed=True)
    assert (str(again.status), again.shipped) == ("FAIL", True)
    # What said why it was refused is of the past.
    assert not done.folder.exists()
    assert sorted(path.name for path in out.glob("*.onnx")) == sorted(FILES[:2])
    document = json.loads((out / f"{FILES[0]}.json").read_text())
    assert (document["status"], document["despite_failure"]) == ("FAIL", True)
    assert "Released although the set failed." in (out / f"{FILES[0]}.md").read_text()


def test_a_release_destroys_nothing(released: Path, finished: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(released, tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def refused(words: str, **options: Any) -> None:
        settings = {"formats": FORMATS, "dense": "published"} | options
        with pytest.raises(ConfigError, match=words):
            release(finished, out, **settings)

    refused("release of other formats", formats=FORMATS[:2])
    refused("min_agreement is 2; expected a share from 0", min_agreement=2)
    (out / FILES[0]).write_bytes(b"mine")
    refused(f"{FILES[0]} exists")
    (out / FILES[0]).write_bytes(before[FILES[0]])
    (out / "SHA256SUMS").unlink()
    refused("exists and was not written by a release")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        name: content for name, content in before.items() if name != "SHA256SUMS"
    }
    refused("a release is of 2 or more", formats=FORMATS[:1], dense="secret")
    refused("named twice", formats=FORMATS[:1] * 2)
    with pytest.raises(RunFolderError, match="holds a run"):
        release(finished, finished, formats=FORMATS)


def test_a_file_that_belongs_to_another_is_replaced_only_where_a_release_wrote_it(
    finished: Path, tmp_path: Path
) -> None:
    """OpenVINO's weights lie beside its file, under a name that somebody's own file may have."""
    (tmp_path / "run-openvino.bin").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"run-openvino\.bin exists and was not written by"):
        release(finished, tmp_path, formats=["openvino", "onnx"])
    with pytest.raises(ConfigError, match=r"run-openvino\.bin exists and was not written by"):
        export(finished, tmp_path / "run-openvino.xml", format="openvino")
    assert [path.name for path in tmp_path.iterdir()] == ["run-openvino.bin"]
    places = place_names(finished, ["openvino", "onnx"], dense="secret")
    (tmp_path / "verdict.json").write_text('{"kind": "joint"}')
    names = [*places, "run-openvino.bin", "verdict.json"]
    for name in places:
        (tmp_path / name).write_bytes(b"released")
    sums = (f"{hashlib.sha256((tmp_path / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    require_release_folder(tmp_path, list(places), companion_names(places), force=False)
    (tmp_path / "run-openvino.bin").write_bytes(b"changed")
    with pytest.raises(ConfigError, match=r"run-openvino\.bin exists"):
        require_release_folder(tmp_path, list(places), companion_names(places), force=False)


def test_shadow_models_of_a_run_are_read_in_all_of_its_files(run: Path) -> None:
    """Two models of one run share their shadow models, so one attack learns on both at once."""
    shadows = ShadowsConfig(count=6, workers=1)
    found = audit_jointly([run, run / "dense.safetensors"], shadows=shadows).document
    assert [file.references for file in found.files] == [6, 6]
    assert "learnt-set" in found.scope
    named = {check.name: check for check in found.checks}
    assert named["control: planted leak, learnt-set"].status == "PASS"
    assert any(
        check.knowledge == "shadow" and check.n_members == found.power.n_members
        for check in found.checks
        if "learnt-set.auc" in check.name
    )


def test_a_run_that_failed_is_not_released(run: Path, tmp_path: Path) -> None:
    path, out = run / "verdict.json", tmp_path / "out"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": "FAIL"}))
    done = release(run, out, formats=["safetensors", "safetensors-int8"])
    assert (str(done.status), done.exit_code, done.shipped) == ("FAIL", 1, False)
    assert done.verdict is None
    names = {path.name for path in done.folder.iterdir()}
    assert {Path(name).suffix for name in names} == {".json", ".md", ""}
    assert "Not shipped" in (done.folder / "run-safetensors.safetensors.md").read_text()
