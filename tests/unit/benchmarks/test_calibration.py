"""The record that `make calibrate` leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.cells import Cells

from tests.documents import ROOT

_CONFTEST = """
from pathlib import Path
from tests import calibration

def pytest_configure(config):
    recorder = calibration.Recorder(
        worker=hasattr(config, "workerinput"), folder=Path(__file__).parent / "results"
    )
    recorder.listen_()
    config.pluginmanager.register(recorder, "calibration")
"""

_LAWS = """
import pytest
from tests.support import count

IMPORTED = count(2, 20)

@pytest.mark.parametrize("n", [1, 2, 3])
def test_holds(n):
    assert count(5, 500) == 500

@pytest.mark.parametrize("n", [1, 2])
def test_breaks_once(n):
    assert n == 1

def test_cannot_run():
    pytest.skip("no data")

@pytest.fixture
def broken():
    yield
    raise RuntimeError("teardown")

def test_breaks_afterwards(broken):
    pass
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The cell written through a worker process for a test file with a law of each outcome."""
    folder: Path = tmp_path_factory.mktemp("calibrate")
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "laws").mkdir()
    (folder / "laws" / "test_some.py").write_text(_LAWS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", "laws"],
        cwd=folder,
        env=os.environ | {"SAFECOMPRESS_CALIBRATE": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    (cell,) = Cells(folder / "results").finished().items()
    assert cell[0] == "laws.test_some"
    return cell[1]


def test_each_law_has_its_outcome_cases_and_counts(record: Any) -> None:
    laws = {law.pop("law"): law for law in record["laws"]}
    assert {name: law["outcome"] for name, law in laws.items()} == {
        "test_holds": "passed",
        "test_breaks_once": "failed",
        "test_cannot_run": "skipped",
        "test_breaks_afterwards": "failed",
    }
    assert laws["test_holds"]["cases"] == {"passed": 3, "failed": 0, "skipped": 0}
    assert laws["test_breaks_once"]["cases"] == {"passed": 1, "failed": 1, "skipped": 0}
    assert laws["test_breaks_afterwards"]["cases"] == {"passed": 0, "failed": 1, "skipped": 0}
    assert laws["test_holds"]["counts"] == [500]
    assert laws["test_breaks_once"]["counts"] == []
    assert record["file_counts"] == [20]
    assert all(law["seconds"] >= 0 for law in laws.values())


def test_the_record_names_session_and_machine(record: Any) -> None:
    assert record["session"] == "TESTS_FAILED"
    assert record["machine"]["cores"] == os.cpu_count()
    assert set(record["provenance"]) >= {"commit", "torch", "python", "threads", "safecompress"}
