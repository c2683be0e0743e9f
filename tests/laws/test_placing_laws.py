"""A law of exports and releases: killed while files are put into place, they can be made again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from safecompress import export
from safecompress.audits.release_folder import _put, require_release_folder
from safecompress.errors import ConfigError
from safecompress.export.place import documents_of, put, require_place
from safecompress.files import make_folder, read_json, write_bytes
from safecompress.verdicts.export_document import ExportVerdict
from tests.kill_driver import child
from tests.small_runs import begin, brisk, make_model, splits


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ExportVerdict]:
    """Return the bytes of an exported file, and its document."""
    folder = tmp_path_factory.mktemp("exported")
    with brisk():
        begin(folder / "run")
    path = folder / "m.safetensors"
    done = export(folder / "run", path, format="safetensors", model=make_model, data=splits())
    return path.read_bytes(), done.document


def _document(exported: tuple[bytes, ExportVerdict], content: bytes) -> ExportVerdict:
    digest = {"m.safetensors": hashlib.sha256(content).hexdigest()}
    return exported[1].model_copy(update={"sha256": {**exported[1].sha256, **digest}})


@pytest.mark.parametrize("older", [False, True], ids=["first", "again"])
def test_an_export_killed_before_any_change_is_made_again(
    tmp_path: Path, exported: tuple[bytes, ExportVerdict], older: bool
) -> None:
    new = b"another" + exported[0]
    document = _document(exported, new)
    change = killed = 0
    while change == killed:
        change += 1
        folder = tmp_path / str(change)
        folder.mkdir()
        path = folder / "m.safetensors"
        if older:
            put(path, {path: exported[0]}, exported[1])
        status, _ = child(lambda path=path: put(path, {path: new}, document), at_change=change)
        killed += os.WIFSIGNALED(status)
        require_place([path], force=False)
        put(path, {path: new}, document)
        assert path.read_bytes() == new
        assert read_json(documents_of(path, shipped=True)[0]) == document.to_json()
        assert sorted(p.name for p in folder.iterdir()) == [
            "m.safetensors",
            "m.safetensors.json",
            "m.safetensors.md",
        ]
        # Nobody else's file is taken for one of an export that was killed.
        write_bytes(path, b"of somebody else")
        with pytest.raises(ConfigError, match="was not written by an export"):
            require_place([path], force=False)
    assert killed > 5


@pytest.mark.parametrize("older", [False, True], ids=["first", "again"])
def test_a_release_killed_before_any_change_is_made_again(tmp_path: Path, older: bool) -> None:
    names = ["a.onnx", "a.onnx.json", "a.onnx.md", "verdict.json"]
    change = killed = 0
    while change == killed:
        change += 1
        place = tmp_path / f"place-{change}"
        make_folder(place)
        if older:
            _put(_staged(tmp_path, "old", names), place)
        files = _staged(tmp_path, "new", names)
        status, _ = child(lambda files=files, place=place: _put(files, place), at_change=change)
        killed += os.WIFSIGNALED(status)
        require_release_folder(place, ["a.onnx"], force=False)
        write_bytes(place / "a.onnx", b"of somebody else")
        with pytest.raises(ConfigError, match="was not written by a release"):
            require_release_folder(place, ["a.onnx"], force=False)
        (place / "a.onnx").unlink()
        _put(_staged(tmp_path, "new", names), place)
        assert sorted(p.name for p in place.iterdir()) == ["SHA256SUMS", *names]
    assert killed > len(names)


def _staged(root: Path, what: str, names: list[str]) -> dict[str, Path]:
    folder = root / what
    make_folder(folder)
    for name in names:
        value = {"kind": "joint", "of": what, "name": name}
        (folder / name).write_text(json.dumps(value))
    return {name: folder / name for name in names}
