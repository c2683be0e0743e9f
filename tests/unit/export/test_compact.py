"""The compact file: what is read is what was written, or a refusal that says why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import nn

import safecompress_reader
from safecompress.errors import ModelError
from safecompress.export.compact import compact_bytes, zstd
from safecompress.export.packing import quantize
from safecompress.topology import Topology
from safecompress_reader import HEADER, DamagedFileError, digest, read_compact
from tests.export_models import context, sparse_model

VALUES = ("fp32", "fp16", "int8", "int4")


def file_of(values: str, facts: dict[str, Any] | None = None) -> bytes:
    held = context("mlp-norm")
    return compact_bytes(held.module.state_dict(), held.topology, values=values, facts=facts)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("values", VALUES)
def test_what_is_read_is_what_was_written(values: str, packed: bool, tmp_path: Path) -> None:
    held = context("mlp-norm")
    data = file_of(values, {"verdict": "PASS"})
    path = tmp_path / "m.safetensors"
    path.write_bytes(zstd(data) if packed else data)
    found = read_compact(path)
    assert found.metadata["verdict"] == "PASS"
    state = held.module.state_dict()
    assert list(found.weights) == list(state)
    for name, weight in state.items():
        expected = weight.numpy()
        if name in held.topology.masks:
            np.testing.assert_array_equal(found.masks[name], held.topology.masks[name].numpy())
            if values in {"int8", "int4"}:
                rounded = quantize(expected, values)
                expected = rounded.values * rounded.scale[:, None]
            elif values == "fp16":
                expected = expected.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(found.weights[name], expected)
        assert found.weights[name].dtype == expected.dtype


def test_the_smaller_the_values_the_smaller_the_file() -> None:
    sizes = [len(file_of(values)) for values in VALUES]
    assert sizes == sorted(sizes, reverse=True)
    dense = sum(t.numel() * 4 for t in context("mlp-norm").module.state_dict().values())
    assert sizes[2] < dense / 8


def test_a_dense_weight_is_written_without_gaps(tmp_path: Path) -> None:
    module, topology = sparse_model("mlp", density=1.0)
    path = tmp_path / "m.safetensors"
    path.write_bytes(compact_bytes(module.state_dict(), topology, values="int8"))
    places = ("gaps/", "bits/")
    assert not [name for name in load(path.read_bytes()) if name.startswith(places)]
    total = sum(t.numel() for t in module.state_dict().values())
    assert path.stat().st_size < total + 8000
    assert not read_compact(path).masks


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 0.7, 0.999])
def test_any_density_is_read_back(density: float, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(3)
    mask = torch.rand(37, 53, generator=draw) < density
    weight = torch.randn(37, 53, generator=draw) * mask
    path, stored = tmp_path / "m.safetensors", []
    for squeezed in (False, True):
        topology = Topology({"w": mask})
        data = compact_bytes({"w": weight}, topology, values="fp32", squeezed=squeezed)
        path.write_bytes(data)
        found = read_compact(path)
        np.testing.assert_array_equal(found.masks["w"], mask.numpy())
        np.testing.assert_array_equal(found.weights["w"], weight.numpy())
        stored.append({name.partition("/")[0] for name in load(data)} - {"values"})
    assert stored[0] == ({"gaps"} if density < 0.12 else {"bits"})


def test_weights_that_exist_and_are_zero_still_exist(tmp_path: Path) -> None:
    weight = torch.zeros(4, 700)
    mask = torch.zeros(4, 700, dtype=torch.bool)
    mask[0, 255] = mask[1, 3] = mask[3, 699] = True
    weight[1, 3] = 2.0
    path = tmp_path / "m.safetensors"
    path.write_bytes(compact_bytes({"w": weight}, Topology({"w": mask}), values="int8"))
    found = read_compact(path)
    np.testing.assert_array_equal(found.masks["w"], mask.numpy())
    np.testing.assert_array_equal(found.weights["w"], weight.numpy())


def test_tied_weights_are_written_once(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(50, 50, bias=False), nn.Linear(50, 50, bias=False))
    module[1].weight = module[0].weight
    topology = Topology.dense(module)
    path = tmp_path / "m.safetensors"
    path.write_bytes(compact_bytes(module.state_dict(), topology, values="fp32"))
    assert path.stat().st_size < 4 * 2500 + 1000
    found = read_compact(path).weights
    np.testing.assert_array_equal(found["1.weight"], module[0].weight.detach().numpy())


def test_the_reader_needs_numpy_and_safetensors_alone(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(file_of("int4"))
    source = Path(safecompress_reader.__file__).read_text()
    (tmp_path / "copied.py").write_text(source)
    program = (
        "import sys\n"
        "for name in ('torch', 'safecompress', 'onnx', 'zstandard'): sys.modules[name] = None\n"
        "import copied\n"
        "found = copied.read_compact('m.safetensors')\n"
        "print(sum(int(m.sum()) for m in found.masks.values()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == context("mlp-norm").topology.nonzeros


def changed(data: bytes, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> bytes:
    """Return a file with other contents and the digest that belongs to them."""
    tensors = {name: array.copy() for name, array in load(data).items()}
    length = int.from_bytes(data[:8], "little")
    document = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER])
    document.pop("sha256")
    change(tensors, document)
    signed = {"sha256": digest(document, tensors), **document}
    return save(tensors, metadata={HEADER: json.dumps(signed)})


W = "layers.1.weight"
LIES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "gaps beyond the end": (lambda t, _: t[f"gaps/{W}"].__iadd__(1), "reach position"),
    "gaps cut short": (lambda t, _: t.update({f"gaps/{W}": t[f"gaps/{W}"][:-3]}), "values for"),
    "values cut short": (
        lambda t, _: t.update({f"values/{W}": t[f"values/{W}"][:-1]}),
        "values for",
    ),
    "a value outside": (lambda t, _: t[f"values/{W}"].__setitem__(0, -128), "-127 to 127"),
    "a scale of zero": (lambda t, _: t[f"scale/{W}"].__setitem__(0, 0), "positive"),
    "a scale that is NaN": (lambda t, _: t[f"scale/{W}"].__setitem__(3, np.nan), "positive"),
    "scales of another layer": (
        lambda t, _: t.update({f"scale/{W}": t["scale/layers.4.weight"]}),
        "positive float32",
    ),
    "another type": (
        lambda t, _: t.update({f"values/{W}": t[f"values/{W}"].astype(np.float32)}),
        "not 'int8'",
    ),
    "a tensor too many": (lambda t, _: t.update(more=np.zeros(3)), "'more'"),
    "a tensor missing": (lambda t, _: t.pop(f"scale/{W}"), "damaged at"),
    "a huge shape": (
        lambda _, d: d["tensors"][W].update(shape=[1 << 40, 1 << 40]),
        "take more than",
    ),
    "a negative shape": (lambda _, d: d["tensors"][W].update(shape=[-1, 300]), "a size of -1"),
    "another version": (lambda _, d: d.update(schema_version=2), "schema version 2"),
    "no layout": (lambda _, d: d.pop("tensors"), "how tensors are stored"),
    "a layout of nothing": (lambda _, d: d["tensors"].update({W: 3}), "damaged at"),
}


@pytest.mark.parametrize("case", list(LIES))
def test_what_is_written_wrong_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    change, reason = LIES[case]
    path = tmp_path / "m.safetensors"
    path.write_bytes(changed(file_of("int8"), change))
    with pytest.raises(DamagedFileError, match=reason):
        read_compact(path)


def test_what_changed_on_the_way_is_refused(tmp_path: Path) -> None:
    data = file_of("int8")
    path = tmp_path / "m.safetensors"
    tensors = load(data)
    places = [data.index(tensors[f"{part}/{W}"].tobytes()) for part in ("scale", "gaps", "values")]
    for at in (*places, len(data) - 1, 100):
        harmed = bytearray(data)
        harmed[at] ^= 0x10
        path.write_bytes(harmed)
        with pytest.raises(DamagedFileError, match=r"SHA-256|damaged"):
            read_compact(path)
    for length in (0, 7, 200, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError):
            read_compact(path)
    shuffled = load(data)
    gaps = np.random.default_rng(0).permutation(shuffled[f"gaps/{W}"])
    path.write_bytes(data.replace(shuffled[f"gaps/{W}"].tobytes(), gaps.tobytes()))
    with pytest.raises(DamagedFileError, match="SHA-256"):
        read_compact(path)
    with pytest.raises(DamagedFileError, match="cannot be read"):
        read_compact(tmp_path / "nothing")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors.zst"
    path.write_bytes(zstd(bytes(1 << 26)))
    assert path.stat().st_size < 10_000
    with pytest.raises(DamagedFileError, match="unpacks into more than"):
        read_compact(path)


def test_what_cannot_be_packed_is_refused() -> None:
    large = {"w": torch.full((2, 40), 1e6)}
    with pytest.raises(ModelError, match="too large for fp16"):
        compact_bytes(large, Topology({"w": torch.ones(2, 40, dtype=torch.bool)}), values="fp16")
    for wrong in (torch.ones(2, 40).double(), torch.full((2, 40), np.nan)):
        topology = Topology({"w": torch.ones(2, 40, dtype=torch.bool)})
        with pytest.raises(ModelError, match=r"float32|NaN"):
            compact_bytes({"w": wrong}, topology, values="int8")
