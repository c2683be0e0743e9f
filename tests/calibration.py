"""Record what the laws showed at full counts, one cell per test file.

With parallel workers a count is noted where its test runs and travels with the test's report; the
cells are written once, by the process that hears of every test.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.cells import RESULTS, Cells

from tests import support

CALIBRATE = RESULTS / "calibrate"


class Recorder:
    """A pytest plugin that collects each law's outcomes, counts and seconds.

    A law is a test function; its cases are its parameters. Counts are those a case asked for while
    it ran; counts asked for while its file was imported, as in a decorator, are the file's.
    """

    def __init__(self, *, worker: bool, folder: Path = CALIBRATE) -> None:
        self.worker = worker
        self.folder = folder
        self.reports: dict[str, list[pytest.TestReport]] = defaultdict(list)
        self.file_counts: dict[str, list[int]] = defaultdict(list)
        self.case_counts: list[int] | None = None

    def listen_(self) -> None:
        """Note every count asked for; test files are imported after this, so none is missed."""
        plain = support.count

        def noting(small: int, full: int) -> int:
            result = plain(small, full)
            if self.case_counts is None:
                self.file_counts[sys._getframe(1).f_globals["__name__"]].append(result)
            else:
                self.case_counts.append(result)
            return result

        support.count = noting

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Attach the counts to the case's report."""
        self.case_counts = []
        try:
            return (yield)
        finally:
            module = getattr(item, "module", None)
            name = module.__name__ if module else ""
            item.user_properties.append(("case_counts", self.case_counts))
            item.user_properties.append(("file_counts", self.file_counts.get(name, [])))
            self.case_counts = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the reports of all phases of all cases."""
        self.reports[report.nodeid.split("::", 1)[0]].append(report)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write one cell per test file."""
        if self.worker:
            return
        cells = Cells(self.folder)
        for file, reports in self.reports.items():
            path = Path(file)
            record = {
                "schema_version": 1,
                "file": file,
                "session": pytest.ExitCode(exitstatus).name,
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "machine": {"cores": os.cpu_count()},
                **summarize(reports),
            }
            cells.write(f"{path.parent.name}.{path.stem}", record)


def summarize(reports: list[pytest.TestReport]) -> dict[str, Any]:
    """Return the counts of one test file and the laws in it, from its reports."""
    laws: dict[str, list[pytest.TestReport]] = defaultdict(list)
    for report in reports:
        laws[report.nodeid.split("::", 1)[1].split("[", 1)[0]].append(report)
    return {
        "file_counts": _noted(reports, "file_counts"),
        "laws": [_law(name, phases) for name, phases in laws.items()],
    }


def _law(name: str, phases: list[pytest.TestReport]) -> dict[str, Any]:
    cases: dict[str, list[str]] = defaultdict(list)
    for report in phases:
        cases[report.nodeid].append(report.outcome)
    # A case fails when any of its phases does, its teardown included.
    given = [max(case, key=("passed", "skipped", "failed").index) for case in cases.values()]
    return {
        "law": name,
        "outcome": max(given, key=("skipped", "passed", "failed").index),
        "cases": {outcome: given.count(outcome) for outcome in ("passed", "failed", "skipped")},
        "counts": _noted(phases, "case_counts"),
        "seconds": round(sum(report.duration for report in phases), 2),
    }


def _noted(reports: list[pytest.TestReport], name: str) -> list[int]:
    """Return the distinct counts among the reports' properties, in rising order."""
    return sorted({n for report in reports for n in dict(report.user_properties).get(name, [])})
