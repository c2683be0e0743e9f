"""Fixtures and settings of the tests."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import calibration
from tests.support import calibrating
from tests.text_folders import encoder_folder

settings.register_profile(
    "safecompress",
    derandomize=True,
    database=None,
    deadline=None,
    # A loaded machine must not fail a law.
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("safecompress")


def pytest_configure(config: pytest.Config) -> None:
    """Record the laws' results when calibrating."""
    if calibrating():
        recorder = calibration.Recorder(worker=hasattr(config, "workerinput"))
        recorder.listen_()
        config.pluginmanager.register(recorder, "calibration")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that only make sense at full counts to `make calibrate`."""
    if calibrating():
        return
    left_out = [item for item in items if item.get_closest_marker("calibrate")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed every test, before its fixtures, so that what it draws depends on no other test."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def one_registry_of_operators() -> Iterator[None]:
    """Let torch collect its ONNX operators once a process instead of at each export.

    That is two thirds of an export of a small network, and tests make hundreds. Where a later torch
    keeps the registry elsewhere, exports are slower and nothing else changes.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib))
        )
        yield


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tiny text encoder and its tokenizer; skips without transformers."""
    pytest.importorskip("transformers", reason="needs the extra safecompress[transformers]")
    return encoder_folder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data sets; skips where there is none."""
    value = os.environ.get("SAFECOMPRESS_DATA")
    if not value:
        pytest.skip("needs real data: SAFECOMPRESS_DATA is not set")
    folder = Path(value)
    if not folder.is_dir():
        pytest.skip(f"needs real data: SAFECOMPRESS_DATA={value} is not a folder")
    return folder


@pytest.fixture(scope="session")
def data_file(data_dir: Path) -> Callable[[str], Path]:
    """A function from a name inside the data folder to its path; skips where it is missing."""

    def find(name: str) -> Path:
        path = data_dir / name
        if not path.exists():
            pytest.skip(f"needs real data: there is no {name} in SAFECOMPRESS_DATA={data_dir}")
        return path

    return find
