"""The benchmark of MiniLM: every method is a configuration of the shipped recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.minilm_table import DENSITY, METHODS, NAME, minilm_table

from safecompress.compression.requirements import build_proposals
from safecompress.config import load_compare_config, load_config


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MINILM", "SAFECOMPRESS_DATA"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_configuration(method: str) -> None:
    data = minilm_table()["data"][NAME]
    assignments = [*data["set"], f"sparse.density={DENSITY}", *METHODS[method]["set"]]
    config = load_config(data["config"], assignments=assignments)
    assert build_proposals(config) or not config.sparse.rounds


def test_presets_propose_what_compress_proposes() -> None:
    data = minilm_table()["data"][NAME]
    ours = load_config(data["config"], assignments=[*data["set"], *METHODS["private"]["set"]])
    plain = load_config(Path(data["config"]).with_name("banking77.yaml"))
    assert ours.steer.proposals == plain.steer.proposals


def test_the_comparison_is_one() -> None:
    assert load_compare_config(minilm_table()).methods.keys() == METHODS.keys()
