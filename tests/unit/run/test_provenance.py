"""What every run and every cell records of its surroundings."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
import torch

from safecompress.run import provenance
from safecompress.run.checkout import UNKNOWN, revision
from safecompress.run.provenance import PACKAGE, surroundings

KEYS = {
    *("safecompress", "commit", "clean_tree", "created", "python", "torch", "numpy", "scipy"),
    *("platform", "cpu", "instructions", "threads", "backend"),
}


def test_surroundings_are_of_this_process() -> None:
    found = surroundings()
    assert found.keys() == KEYS
    assert (found["torch"], found["threads"]) == (torch.__version__, torch.get_num_threads())
    assert found["commit"] == revision(PACKAGE).commit
    assert datetime.fromisoformat(found["created"]).utcoffset() is not None
    for package in ("python", "numpy", "scipy"):
        assert re.match(r"\d+\.\d+", found[package])


def test_surroundings_name_no_path() -> None:
    text = json.dumps(surroundings())
    for secret in (str(Path.home()), str(Path.cwd()), str(PACKAGE), str(PACKAGE.parents[1])):
        assert secret == "/" or secret not in text


def test_what_cannot_be_found_out_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "_running_code", lambda: UNKNOWN)
    found = surroundings()
    assert (found["commit"], found["clean_tree"]) == (None, None)
    assert json.loads(json.dumps(found)) == found
    assert provenance._cpu_of_linux(tmp_path / "absent") is None


def test_the_code_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    provenance._running_code.cache_clear()
    asked = []
    monkeypatch.setattr(provenance, "revision", lambda package: asked.append(package) or UNKNOWN)
    try:
        surroundings()
        surroundings()
    finally:
        provenance._running_code.cache_clear()
    assert asked == [PACKAGE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD EPYC 7763: 64-Core\nmodel name\t: x\n",
            "AMD EPYC 7763: 64-Core",
        ),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", None),
        ("", None),
    ],
)
def test_the_processor_is_named_as_it_names_itself(
    text: str, expected: str | None, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert provenance._cpu_of_linux(tmp_path / "cpuinfo") == expected
