"""OpenVINO IR and LiteRT programs as targets: answers, and files that nobody should trust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from safecompress.errors import ConfigError, ModelError
from safecompress.export import FORMATS
from safecompress.export.written import paths_of, write_files
from safecompress.targets import kind_of, open_target
from safecompress.targets.device_file import open_device_file
from tests.export_models import context, inputs


@pytest.fixture(scope="module")
def ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    form = FORMATS.build("openvino-int8", where="test")
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    write_files(form, path, form.write(context("mlp"), {}))
    return path


def test_an_ir_answers_as_the_model_does(ir: Path) -> None:
    rows = inputs("mlp", 150)
    target = open_target(ir)
    assert target.kind == kind_of(ir) == "openvino"
    assert {file.name for file in target.files} == {"model.xml", "model.bin"}
    with torch.no_grad():
        exact = context("mlp").module(rows)
    said = torch.as_tensor(target.model(rows))
    assert float(torch.cosine_similarity(said, exact).min()) > 0.99
    # By now many rows share a question to the file's process.
    alone = np.concatenate([target.model(row[None]) for row in rows[:20]])
    np.testing.assert_array_equal(target.model(rows)[:20], alone)
    np.testing.assert_array_equal(target.model(rows), said)


def test_no_damaged_ir_ends_this_process(ir: Path, tmp_path: Path) -> None:
    xml, weights = ir.read_bytes(), ir.with_suffix(".bin").read_bytes()
    damaged = {
        "weights cut": (xml, weights[: len(weights) // 2]),
        "graph cut": (xml[: len(xml) // 2], weights),
        "offsets beyond the end": (xml.replace(b'offset="0"', b'offset="99999999999"'), weights),
        "another operator": (xml.replace(b'type="MatMul"', b'type="Evil"'), weights),
    }
    path = tmp_path / "model.xml"
    accepted = []
    for what, (graph, numbers) in damaged.items():
        path.write_bytes(graph)
        path.with_suffix(".bin").write_bytes(numbers)
        try:
            open_target(path).model(inputs("mlp", 1))
        except ModelError:
            continue
        accepted.append(what)
    assert not accepted


def test_weights_are_taken_from_no_other_folder(ir: Path, tmp_path: Path) -> None:
    here = tmp_path / "model.xml"
    here.write_bytes(ir.read_bytes())
    here.with_suffix(".bin").symlink_to(ir.with_suffix(".bin"))
    with pytest.raises(ModelError, match="link out of its folder"):
        open_target(here)


@pytest.mark.parametrize("kind", ["openvino", "litert"])
def test_what_is_no_such_file_is_refused_unopened(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safecompress.targets.device_file.find_spec", lambda name: object())
    monkeypatch.setattr("safecompress.targets.device_file.limited", pytest.fail)
    path = tmp_path / "model"
    with pytest.raises(ModelError, match="no such file"):
        open_device_file(path, kind)
    draw = np.random.default_rng(0)
    for length in (0, 3, 8, 400):
        path.write_bytes(draw.bytes(length))
        with pytest.raises(ModelError, match="damaged"):
            open_device_file(path, kind)


@pytest.mark.parametrize("kind", ["openvino", "litert"])
def test_a_missing_runtime_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safecompress.targets.device_file.find_spec", lambda name: None)
    path = tmp_path / "model"
    path.write_bytes(b"\0")
    with pytest.raises(ConfigError, match=rf"safecompress\[{kind}\]"):
        open_device_file(path, kind)


def test_files_of_two_parts_are_put_together_and_taken_apart(ir: Path, tmp_path: Path) -> None:
    form = FORMATS.build("openvino-int8", where="test")
    assert [path.suffix for path in paths_of(form, ir)] == [".xml", ".bin"]
    assert form.verify(ir)["schema_version"] == 1
    path = tmp_path / "other.xml"
    path.write_bytes(ir.read_bytes())
    path.with_suffix(".bin").write_bytes(ir.with_suffix(".bin").read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="changed since"):
        form.verify(path)
