"""Fixtures of the tests that let a small run meet a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.small_runs import begin, brisk, result


@pytest.fixture(scope="module")
def brisk_runs() -> Iterator[None]:
    """Runs leave out what takes long and no fault touches."""
    with brisk():
        yield


@pytest.fixture(scope="module")
def whole(brisk_runs: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    begin(folder)
    return result(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a run goes."""
    return tmp_path / "run"
