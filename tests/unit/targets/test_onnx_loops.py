"""ONNX files with loops: as right as others, and stopped where they do not end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from safecompress.errors import ModelError
from safecompress.targets import file_process
from safecompress.targets.onnx_file import open_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper  # noqa: E402


def looped(path: Path, *, rounds: int, grows: bool = False) -> Path:
    """Save a graph that adds its input to itself in a loop; `grows` keeps what each round made."""
    value = helper.make_tensor_value_info
    kept = [helper.make_node("Concat", ["kept", "kept"], ["more"], axis=0)] if grows else []
    kept = kept or [helper.make_node("Identity", ["kept"], ["more"])]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["sum", "x"], ["next"]),
            *kept,
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("sum", TensorProto.FLOAT, None),
            value("kept", TensorProto.FLOAT, None),
        ],
        [
            value("on", TensorProto.BOOL, []),
            value("next", TensorProto.FLOAT, None),
            value("more", TensorProto.FLOAT, None),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["rounds", "", "x", "x"], ["logits", "rest"], body=body)],
        "loop",
        [value("x", TensorProto.FLOAT, ["n", 3])],
        [value("logits", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("rounds", TensorProto.INT64, [], [rounds])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def asked(path: Path, rows: int = 100) -> Any:
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
    return x.numpy(), open_onnx(path).model(x)  # type: ignore[operator]


def test_a_loop_that_ends_gives_its_outputs(tmp_path: Path) -> None:
    x, logits = asked(looped(tmp_path / "m.onnx", rounds=4))
    np.testing.assert_allclose(logits, 5 * x, rtol=1e-6)


def test_a_loop_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_process, "SECONDS", 2.0)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"m\.onnx.*took more than 2 s"):
        asked(looped(tmp_path / "m.onnx", rounds=2**62))
    assert time.monotonic() - started < 30


def test_a_loop_that_grows_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_process, "BYTES", 1 << 28)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        asked(looped(tmp_path / "m.onnx", rounds=60, grows=True))


def test_a_process_ends_with_its_model(tmp_path: Path) -> None:
    target = open_onnx(looped(tmp_path / "m.onnx", rounds=1))
    process = target.model._session._process  # type: ignore[attr-defined]
    assert process.poll() is None
    del target
    assert process.poll() is not None
