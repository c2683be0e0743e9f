"""What every export format keeps beyond its contract: any facts, file names, real networks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.errors import ConfigError
from safecompress.export import FORMATS, Format, verify
from safecompress.export.registry import format_for
from safecompress.export.written import write_files
from tests.export_models import context, inputs, require_extras
from tests.support import count

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
NAMES = sorted(FORMATS.all())
CLOSE = 1e-4
"""Relative to the largest logit: what the order of fp32 additions may change."""


@cache
def built(name: str) -> Format:
    made = FORMATS.build(name, where="test")
    require_extras(made)
    return made


def file_of(name: str, model: str, folder: Path) -> Path:
    made = built(name)
    path = folder / f"m{made.suffixes[0]}"
    write_files(made, path, made.write(context(model), {"format": made.name}))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_called_as_it_is_registered(name: str) -> None:
    assert built(name).name == name
    assert built(name) == FORMATS.build(name, where="test")


@pytest.mark.parametrize("name", NAMES)
@given(facts=st.dictionaries(st.text(min_size=1, max_size=9), st.integers() | st.text(max_size=9)))
@settings(max_examples=count(8, 200), deadline=None)
def test_a_file_holds_the_facts_it_was_written_with(
    name: str, facts: dict[str, int | str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, facts = built(name), {f"fact.{key}": value for key, value in facts.items()}
    path = tmp_path_factory.mktemp("facts") / f"m{made.suffixes[0]}"
    write_files(made, path, made.write(context("mlp"), facts))
    assert facts.items() <= made.verify(path).items()
    # Its name alone says who reads it.
    assert verify(path) == made.verify(path)


@pytest.mark.parametrize("model", ["mlp", "alexnet"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_exact_where_its_format_says_so(name: str, model: str, tmp_path: Path) -> None:
    made, rows = built(name), inputs(model)
    with torch.no_grad():
        said = torch.as_tensor(made.open(file_of(name, model, tmp_path), context(model))(rows))
        expected = context(model).module(rows)
    error = float(((said - expected).abs().amax(1) / expected.abs().amax(1)).max())
    assert (error <= CLOSE) == made.exact
    # In four bits an untrained network keeps little more than its direction.
    assert float(torch.cosine_similarity(said, expected).min()) > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_a_name_asks_for_packing_where_a_reader_unpacks(name: str, tmp_path: Path) -> None:
    made, path = built(name), tmp_path / "m.zst"
    if ".zst" not in made.suffixes:
        with pytest.raises(ConfigError, match=f"nothing that reads {name} reads"):
            format_for(name, path)
        return
    plain, packed = (
        format_for(name, p).write(context("mlp"), {"format": name}) for p in (tmp_path / "m", path)
    )
    assert len(packed) < len(plain)
    path.write_bytes(packed)
    assert verify(path)["format"] == name
