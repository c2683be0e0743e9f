"""No output takes the place of something that this program did not write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from safecompress import export
from safecompress.cli.app import app
from safecompress.compress import Run
from safecompress.errors import ConfigError
from safecompress.files import read_json, sha256
from safecompress.report.ours import is_ours
from tests import small_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with small_runs.brisk():
        return small_runs.begin(tmp_path_factory.mktemp("kept") / "run")


def written(run: Run, path: Path, **options: object) -> object:
    options = {"format": "safetensors", "allow_failed": True} | options
    return export(run.folder, path, model=run.model, data=run.splits, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("limit", [None, 10])
def test_every_file_of_a_run_folder_is_safe_from_an_export(
    run: Run, force: bool, limit: int | None
) -> None:
    before = contents(run.folder)
    for name in [path.name for path in run.folder.iterdir() if path.is_file()]:
        with pytest.raises(ConfigError, match="belongs to the run in"):
            written(run, run.folder / name, force=force, max_bytes=limit)
    assert contents(run.folder) == before


@pytest.mark.parametrize("limit", [None, 10])
@pytest.mark.parametrize("taken", ["m.safetensors", "m.safetensors.json", "m.safetensors.md"])
def test_a_file_of_another_program_needs_force(
    run: Run, taken: str, limit: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    (tmp_path / taken).write_text("precious")
    with pytest.raises(ConfigError, match=f"{taken} exists and was not written by an export"):
        written(run, path, max_bytes=limit)
    assert (tmp_path / taken).read_text() == "precious"
    written(run, path, force=True)
    assert read_json(path.with_name(f"{path.name}.json"))["sha256"][path.name] == sha256(path)


def test_an_export_replaces_an_export_and_keeps_it_where_the_new_one_is_refused(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    written(run, path)
    written(run, path)
    before = contents(tmp_path)
    done = written(run, path, max_bytes=10)
    after = contents(tmp_path)
    assert getattr(done, "path") is None  # noqa: B009 - the helper's result is untyped
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "m.safetensors.refused.json",
        "m.safetensors.refused.md",
    }
    path.write_bytes(b"changed by hand")
    with pytest.raises(ConfigError, match="or was changed since"):
        written(run, path)


def test_a_first_export_that_is_refused_leaves_its_documents(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    written(run, path, max_bytes=10)
    assert set(contents(tmp_path)) == {"m.safetensors.json", "m.safetensors.md"}
    written(run, path)
    assert path.is_file()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, draw = tmp_path_factory.mktemp("outputs") / "outputs.npz", np.random.default_rng(0)
    labels = draw.integers(0, 3, 400)
    logits = draw.normal(size=(400, 3)) + 3 * np.eye(3)[labels]
    np.savez(
        path,
        member_logits=logits[:200],
        member_labels=labels[:200],
        nonmember_logits=logits[200:],
        nonmember_labels=labels[200:],
    )
    return path


FORMS = ("--junit", "--html", "--markdown", "--sarif")


@pytest.mark.parametrize("option", FORMS)
def test_an_audit_replaces_its_own_files_only(outputs: Path, option: str, tmp_path: Path) -> None:
    words = ["audit", str(outputs), "--quiet", "--out", str(tmp_path / "audit")]
    before = sha256(outputs)
    refused = CliRunner().invoke(app, [*words, option, str(outputs)])
    assert isinstance(refused.exception, ConfigError)
    assert "is read as the target" in str(refused.exception)
    assert sha256(outputs) == before
    other = tmp_path / "notes"
    other.write_text("precious")
    refused = CliRunner().invoke(app, [*words, option, str(other)])
    assert isinstance(refused.exception, ConfigError)
    assert other.read_text() == "precious"
    for options in (["--force"], []):
        CliRunner().invoke(app, [*words, option, str(other), *options])
        assert is_ours(other, option)
    (tmp_path / "empty").touch()
    CliRunner().invoke(app, [*words, option, str(tmp_path / "empty")])
    assert (tmp_path / "empty").stat().st_size > 100
    assert not any(is_ours(other, o) for o in FORMS if o != option)
