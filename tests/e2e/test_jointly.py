"""`safecompress audit A B --jointly`: any mix of files, one verdict, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from safecompress import audit, audit_jointly
from safecompress.cli.app import app
from safecompress.errors import ConfigError, DataError, UsageError
from safecompress.verdicts.read import read_document
from tests.joint_sets import said_of, saved
from tests.target_files import WEIGHTS, groups, linear_onnx


def rounded(x: Any) -> Any:
    """Return what the linear model says with its weights as 5-bit integers."""
    step = np.abs(WEIGHTS).max() / 15
    return x @ torch.from_numpy(np.round(WEIGHTS / step) * step)


def pruned(x: Any) -> Any:
    return x @ (WEIGHTS * (np.abs(WEIGHTS) > 0.4))


@pytest.fixture
def outputs(tmp_path: Path) -> list[Path]:
    draw = np.random.default_rng(3)
    return saved(said_of(draw, 400, signs=(1.0, -1.0, 0.0)), tmp_path)


def test_a_file_a_model_and_recorded_outputs_are_one_set(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data = groups(400)
    arrays = {
        f"{side}_{what}": value
        for side, (x, y) in zip(("member", "nonmember"), data, strict=True)
        for what, value in (("logits", pruned(x)), ("labels", y))
    }
    np.savez(tmp_path / "pruned.npz", **arrays)
    dense = linear_onnx(tmp_path / "dense.onnx")
    found = audit_jointly([dense, rounded, tmp_path / "pruned.npz"], data, baseline=dense)
    assert [file.name for file in found.document.files] == ["dense.onnx", "rounded", "pruned.npz"]
    assert found.document.dense == "published"
    assert len(found.document.pairs) == 3
    assert found.document.family.attack == "joint"
    alone = audit(rounded, data).verdict.document
    figures = {row.name: row.attacks for row in found.document.comparison}
    # Alone in the set a file is attacked as it is by itself.
    assert figures["rounded"]["loss.auc"] == alone.comparison[0].attacks["loss.auc"]


def test_the_command_shows_the_set_everywhere(outputs: list[Path], tmp_path: Path) -> None:
    places = {name: tmp_path / f"made.{name}" for name in ("junit", "html", "markdown")}
    options = [x for name, path in places.items() for x in (f"--{name}", path)]
    out = tmp_path / "out"
    done = audited(*outputs, "--jointly", "--out", out, *options)
    stored = json.loads((out / "verdict.json").read_text())
    document = read_document(stored)
    assert document.to_json() == stored
    assert stored["kind"] == "joint"
    assert done.exit_code == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}[stored["verdict"]]
    pages = [path.read_text() for path in places.values()]
    for text in (done.stdout, *pages):
        for path in outputs:
            assert path.name in text
    assert all("exposed by several files together" in text for text in pages)
    assert "all 3 files" in done.stdout
    assert f'name="held.{outputs[0].name}"' in pages[0]
    assert 'id="set"' in pages[1]
    assert (out / "report.html").read_text() == pages[1]


def test_a_configuration_names_the_files(outputs: list[Path], tmp_path: Path) -> None:
    config = tmp_path / "set.yaml"
    config.write_text(
        f"target: {outputs[0]}\njointly: [{outputs[1]}]\nbaseline: {outputs[2]}\n"
        f"out: {tmp_path / 'out'}\n"
    )
    audited(config)
    stored = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert [file["name"] for file in stored["files"]] == [p.name for p in outputs[:2]]
    assert stored["dense"] == "secret"


def audited(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def changed(path: Path, to: Path, **arrays: Any) -> Path:
    with np.load(path) as known:
        np.savez(to, **(dict(known) | arrays))
    return to


def test_files_that_contradict_each_other_are_refused(outputs: list[Path], tmp_path: Path) -> None:
    first, second = outputs[:2]
    with np.load(second) as known:
        said = dict(known)
    names = np.array(["ant", "bee", "cat"])
    wider = {
        name: np.pad(said[name], ((0, 0), (0, 1)), constant_values=-9.0)
        for name in ("member_logits", "nonmember_logits")
    }
    fewer = {name: array[:-50] for name, array in said.items() if name.startswith("member")}
    turned = {name: array[::-1] for name, array in said.items()}
    named = changed(first, tmp_path / "named.npz", class_names=names)
    cases = {
        "4 classes": (first, changed(second, tmp_path / "wide.npz", **wider)),
        "350 members": (first, changed(second, tmp_path / "few.npz", **fewer)),
        "labels that differ": (first, changed(second, tmp_path / "turned.npz", **turned)),
        "'bee' is its class 0": (
            named,
            changed(second, tmp_path / "order.npz", class_names=names[[1, 0, 2]]),
        ),
    }
    for words, pair in cases.items():
        with pytest.raises(DataError, match=words):
            audit_jointly(pair)
    # Swapped columns are refused in the file itself, whatever else is in the set.
    swapped = {n: said[n][:, [1, 0, 2]] for n in ("member_logits", "nonmember_logits")}
    with pytest.raises(UsageError, match=r"swapped\.npz"):
        audit_jointly([first, changed(second, tmp_path / "swapped.npz", **swapped)])


def test_what_is_no_set_is_refused(outputs: list[Path]) -> None:
    for targets, words in (
        (outputs[:1], "1 given"),
        ([], "0 given"),
        ([outputs[0]] * 2, "given twice"),
        (str(outputs[0]), "expected a list"),
    ):
        with pytest.raises(ConfigError, match=words):
            audit_jointly(targets)
    with pytest.raises(ConfigError, match="shadows"):
        audit_jointly(outputs, shadows=4)


def test_the_command_refuses_what_is_no_set(outputs: list[Path]) -> None:
    for arguments, words in (
        (outputs, "--jointly"),
        ((outputs[0], "--jointly"), "two or more"),
        ((*outputs, "--jointly", "--against", outputs[0]), "against"),
        ((*outputs, "--jointly", "--time-budget", "9s"), "time_budget"),
    ):
        refused = audited(*arguments).exception
        assert isinstance(refused, ConfigError)
        assert words in str(refused)


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        paths += saved(
            said_of(np.random.default_rng(4), 200, signs=(1.0 if folder == "a" else -1.0,)),
            tmp_path / folder,
        )
    found = audit_jointly(paths).document
    assert [file.name for file in found.files] == ["a/file-0.npz", "b/file-0.npz"]


def test_twelve_files_are_a_set_and_thirteen_are_not(tmp_path: Path) -> None:
    said = said_of(np.random.default_rng(5), 120, signs=np.linspace(-1, 1, 13))
    paths = saved(said, tmp_path)
    with pytest.raises(ConfigError, match="2 to 12"):
        audit_jointly(paths)
