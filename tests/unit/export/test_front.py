"""Preprocessing inside the graph: bit for bit what training did to a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress.config import PreprocessingConfig
from safecompress.data import Preprocessor
from safecompress.data.raw import Column, RawData
from safecompress.export import ExportContext
from safecompress.export.front import expressible, raw_rows
from safecompress.topology import Topology
from tests.export_models import session, written

pytest.importorskip("onnx")
N = 60
DRAW = np.random.default_rng(0)


def raw_of(columns: Any) -> RawData:
    labels = np.arange(N) % 2
    return RawData(columns, labels, ("0", "1"), None, "test")


def images(shape: tuple[int, ...], dtype: str) -> Any:
    pixels = DRAW.integers(0, 256, size=(N, *shape))
    return pixels.astype(dtype) if dtype == "uint8" else (pixels / 3).astype(dtype)


def table() -> tuple[Column, ...]:
    values = DRAW.normal(3, 7, size=(N, 3))
    values[DRAW.random(values.shape) < 0.2] = np.nan
    return tuple(Column(f"c{i}", "numeric", values[:, i]) for i in range(3))


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "images, channels last": (images((6, 5, 3), "uint8"), {"layout": "image"}),
    "images, channels first": (images((3, 6, 5), "uint8"), {"layout": "image"}),
    "gray images": (images((6, 5), "uint8"), {"layout": "image"}),
    "images as numbers": (images((6, 5, 3), "float32"), {"layout": "image"}),
    "images as they are": (images((6, 5, 3), "uint8"), {"layout": "image", "features": "none"}),
    "rows": (DRAW.normal(2, 5, size=(N, 7)), {"features": "standardize"}),
    "rows of fp32": (DRAW.normal(2, 5, size=(N, 7)).astype("f4"), {"features": "standardize"}),
    "whole numbers": (DRAW.integers(-9, 9, size=(N, 7)), {"features": "auto"}),
    "flattened": (DRAW.normal(size=(N, 4, 2)), {"layout": "table"}),
    "columns with gaps": (table(), {"features": "standardize"}),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_graph_prepares_rows_as_training_did(case: str) -> None:
    columns, settings = CASES[case]
    raw, at = raw_of(columns), np.arange(0, N, 3)
    fitted = Preprocessor.fit(raw, np.arange(40), PreprocessingConfig(**settings))
    assert expressible(fitted)
    prepared = fitted.transform(raw, at)
    # The identity, so that what comes out is what went into the model.
    flat = int(np.prod(fitted.input_shape))
    module = nn.Sequential(nn.Flatten(), nn.Linear(flat, flat, bias=False))
    with torch.no_grad():
        module[1].weight.copy_(torch.eye(flat))
    raw_type = np.dtype("f8") if isinstance(columns, tuple) else columns.dtype
    held = ExportContext.of(
        module,
        Topology.dense(module),
        prepared,
        preprocessor=fitted,
        raw_type=raw_type,
    )
    rows = raw_rows(fitted, raw.columns, at)
    data = written(held, "onnx")
    (said,) = session(data).run(None, {"inputs": rows})
    np.testing.assert_array_equal(said, prepared.flatten(1).numpy())
    (one,) = session(data).run(None, {"inputs": rows[:1]})
    np.testing.assert_array_equal(one, said[:1])


def test_whole_numbers_reach_a_model_that_looks_them_up() -> None:
    ids = DRAW.integers(0, 9, size=(N, 4)).astype("i4")
    raw, at = raw_of(ids), np.arange(0, N, 3)
    fitted = Preprocessor.fit(raw, np.arange(40), PreprocessingConfig(features="none"))
    prepared = fitted.transform(raw, at)
    module = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2))
    held = ExportContext.of(
        module, Topology.dense(module), prepared, preprocessor=fitted, raw_type=ids.dtype
    )
    (said,) = session(written(held, "onnx")).run(None, {"inputs": ids[at]})
    with torch.no_grad():
        expected = module(torch.from_numpy(ids[at]).long()).numpy()
    np.testing.assert_allclose(said, expected, atol=1e-6)


def test_what_operators_on_numbers_cannot_do_stays_outside() -> None:
    words = Column("w", "categorical", np.array(["a", "b"] * (N // 2), dtype=object))
    fitted = Preprocessor.fit(raw_of((*table(), words)), np.arange(40), PreprocessingConfig())
    assert not expressible(fitted)
    assert not expressible(None)
