"""Whatever a file holds, reading it ends in what it says or in one of the package's errors."""

from __future__ import annotations

import importlib.util

import pytest

from tests.fuzz_formats import FORMATS
from tests.fuzzing import Corpus, driven, summary
from tests.support import calibrating, count

NEEDS = {
    "parquet": "pyarrow",
    "datasets": "pyarrow",
    "onnx": "onnx",
    "hugging-face": "transformers",
}


@pytest.mark.parametrize("name", FORMATS)
def test_changed_files_are_read_or_refused_soon_in_little_memory_and_run_nothing(
    name, tmp_path, monkeypatch
):
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    number = count(15, 20_000)
    if calibrating():
        found = driven(name, number)
    else:
        monkeypatch.syspath_prepend(str(tmp_path))
        corpus = Corpus(name, tmp_path)
        found = summary([corpus.tried(seed) for seed in range(number)])
    assert found["tried"] >= number
    assert not found["faults"], found["faults"]
