"""Where commands write: places are checked before the work, and outputs take every verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safecompress import audit, compare_runs
from safecompress.cli import audit as audit_command
from safecompress.cli.app import app
from safecompress.errors import ConfigError, StorageError
from tests.recorded_outputs import arrays, saved

SIDES = ("--junit", "--html", "--markdown", "--sarif")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("made"), arrays(200, leak=3.0))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    return tmp_path


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the message of a command that must not begin its work."""

    def work(*given: object, **options: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr(audit_command, "audit", work)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError), result.exception
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.mark.parametrize("option", [*SIDES, "--out"])
@pytest.mark.parametrize("place", ["file/in-a-file", "file/deep/in/a/file"])
def test_a_place_inside_of_a_file(
    option: str, place: str, here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(["audit", str(outputs), option, place], monkeypatch)
    assert said.startswith(f"{option} ")
    assert "file is a file" in said


@pytest.mark.parametrize("option", SIDES)
def test_a_folder_for_a_file(
    option: str, here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(["audit", str(outputs), option, "folder"], monkeypatch)
    assert said == f"{option} folder: a folder; name a file in it."


def test_a_file_for_a_folder(here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(["audit", str(outputs), "--out", "file"], monkeypatch)
    assert "expected a folder" in said
    assert "file is a file" in said


def test_two_outputs_in_one_file(
    here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["audit", str(outputs), "--html", "a.x", "--junit", "folder/../a.x"]
    assert "names the same file" in refused(arguments, monkeypatch)


def test_a_folder_that_takes_nothing(
    here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safecompress import files

    def no_writing(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.Path, "touch", no_writing)
    said = refused(["audit", str(outputs), "--junit", "folder/j.xml"], monkeypatch)
    assert "nothing can be written there (Permission denied)" in said


def test_missing_folders_are_made_and_all_outputs_written(here: Path, outputs: Path) -> None:
    arguments = ["audit", str(outputs), "--out", "a/b"]
    for option in SIDES:
        arguments += [option, f"ci{option}/deep/x"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, (result.output, result.exception)
    assert all((here / f"ci{option}/deep/x").stat().st_size for option in SIDES)
    assert (here / "a/b/verdict.json").is_file()


def test_the_verdict_is_printed_though_an_output_fails(
    here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safecompress.cli import outputs as written

    def full(path: Path, text: str) -> None:
        raise StorageError(f"{path}: the disk is full.")

    monkeypatch.setattr(written, "write_text", full)
    result = CliRunner().invoke(app, ["audit", str(outputs), "--html", "r.html"])
    assert "FAIL: Not safe to ship" in result.output
    assert "next: " in result.output
    assert isinstance(result.exception, StorageError)
    assert "--html: r.html: the disk is full." in str(result.exception)


def test_python_checks_its_places_as_well(here: Path, outputs: Path) -> None:
    with pytest.raises(ConfigError, match="file is a file"):
        audit(outputs, out=here / "file")
    audit(outputs, out=here / "audited")
    with pytest.raises(ConfigError, match="file is a file"):
        compare_runs([here / "audited"], out=here / "file" / "x")


def test_a_verdict_that_cannot_be_kept_is_told(
    here: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(event: object) -> None:
        (here / "gone").write_text("in the way")

    with pytest.raises(StorageError, match="The verdict was FAIL: Not safe to ship"):
        audit(outputs, out=here / "gone", on_event=remove)


SEVERAL = """
import os, sys
from safecompress.cli.app import main
words, codes = sys.argv[1:], []
while words:
    end = words.index("then")
    sys.argv, words = ["safecompress", *words[:end]], words[end + 1 :]
    try:
        main()
    except SystemExit as ended:
        codes.append(ended.code or 0)
print("codes", *codes)
"""


@pytest.mark.parametrize(("encoding", "other"), [("cp1252", "validate"), ("ascii", "list")])
def test_every_output_takes_every_text(
    encoding: str, other: str, here: Path, outputs: Path
) -> None:
    config = {
        "data": {"source": {"source": "sklearn", "name": "iris"}},
        "model": {"name": "mlp", "options": {"hidden": [8]}},
        "sparse": {"density": 0.5},
    }
    (here / "run≤.yaml").write_text(json.dumps(config))
    audited = ["audit", str(outputs), "--out", "ö≤\udcff", "then"]
    more = {"list": ["list", "then"], "validate": ["validate", "run≤.yaml", "then"]}[other]
    done = subprocess.run(
        [sys.executable, "-P", "-c", SEVERAL, *audited, *more],
        cwd=here,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    said = done.stdout.decode(encoding) + done.stderr.decode(encoding)
    assert "codes 1 0" in said, said
    assert "Error" not in said
    assert "FAIL: Not safe to ship: " in said
    assert "<= 0.6" in said
