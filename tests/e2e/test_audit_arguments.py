"""What people pass to an audit by mistake or as NumPy scalars, and classes on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_safecompress import assert_safe
from safecompress import Limits, audit, record
from safecompress.errors import ConfigError, DataError, UsageError
from safecompress.targets import ask, open_target, rows_for
from tests.recorded_outputs import arrays, code, run, saved
from tests.target_files import WEIGHTS, groups, linear_onnx

NAMES = ("fox", "ant", "cat")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    layer = nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(WEIGHTS.T))
    return layer


def test_numpy_scalars_are_numbers(net: nn.Module, tmp_path: Path) -> None:
    plain = audit(net, groups(200), seed=3, level=0.95, out=tmp_path / "a")
    found = audit(
        net,
        groups(200),
        seed=np.int64(3),
        level=np.float32(0.95),
        shadows=np.int64(0),
        time_budget=None,
        limits=Limits(np.float32(0.6), None, (), np.float64(0.2), np.int64(2)),
        out=tmp_path / "b",
    )
    ours, theirs = (json.loads((tmp_path / p / "verdict.json").read_text()) for p in "ab")
    for document in (ours, theirs):
        document.pop("model", None)
        for check in document["checks"]:
            check.pop("seconds")
    assert ours["checks"] == theirs["checks"]
    assert plain.verdict.sentence == found.verdict.sentence
    assert Limits(max_tpr=((np.float32(0.01), np.float64(0.001)),)).max_tpr == ((0.01, 0.001),)


WRONG: dict[str, dict[str, Any]] = {
    "seed": {"seed": None},
    "seed as text": {"seed": "3"},
    "seed below 0": {"seed": -1},
    "seed as fraction": {"seed": 1.5},
    "seed as truth": {"seed": True},
    "level": {"level": None},
    "level as text": {"level": "0.9"},
    "level of 1": {"level": 1},
    "level that is none": {"level": float("nan")},
    "limits": {"limits": {}},
    "limits as number": {"limits": 0.6},
    "shadows": {"shadows": "16"},
    "shadows none": {"shadows": None},
    "attacks": {"attacks": "loss"},
    "attacks none": {"attacks": None},
    "classes": {"classes": "fox,ant,cat"},
    "classes as set": {"classes": {"fox", "ant", "cat"}},
    "classes too few": {"classes": ["fox", "ant"]},
    "classes twice": {"classes": ["fox", "ant", "ant"]},
    "time_budget": {"time_budget": -1},
    "out": {"out": 3},
    "on_event": {"on_event": 3},
    "baseline": {"baseline": 3},
    "baseline as arrays": {"baseline": {"member_logits": np.zeros((2, 2))}},
    "against": {"against": 3},
}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused_before_anything_runs(
    net: nn.Module, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        audit(net, groups(50), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_tpr": (0.01, 0.001)},
        {"max_tpr": "0.01@0.001"},
        {"max_tpr": None},
        {"max_auc": "0.6"},
        {"max_auc": None},
        {"max_transfer": [0.2]},
        {"max_saving": "2"},
        {"max_advantage": "0.1"},
    ],
)
def test_limits_are_numbers(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Limits(**limits)


DATA: dict[str, Any] = {
    "a text": "rows.npz",
    "one array": np.zeros((2, 6)),
    "three groups": ((1, 2), (1, 2), (1, 2)),
    "numbers": (1, 2),
    "nothing inside": ((None, None), (None, None)),
    "data sets": (torch.utils.data.TensorDataset(torch.zeros(3, 6)),) * 2,
    "a generator": ((x for x in range(3)), [0, 1, 0]),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_rows_in_another_form_are_refused(net: nn.Module, data: Any) -> None:
    for way in (audit, assert_safe):
        with pytest.raises(UsageError):
            way(net, data)


def test_arrays_of_outputs_are_sent_to_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(60))
    with pytest.raises(ConfigError, match=r"numpy.savez\('outputs.npz'"):
        audit(dict(np.load(path)))
    with pytest.raises(ConfigError, match=r"numpy.savez\('outputs.npz'"):
        audit(np.load(path))
    inside = str(path).encode()
    assert audit(inside).verdict.sentence == audit(path).verdict.sentence  # type: ignore[arg-type]


def outputs_with_names(**more: Any) -> dict[str, Any]:
    found, draw = {}, np.random.default_rng(0)
    for group in ("member", "nonmember"):
        y = draw.choice([0, 2], 400)  # no ant among the rows
        z = draw.normal(size=(400, 3)).astype("f4")
        z[np.arange(400), y] += 2 + 4 * (group == "member")
        found |= {f"{group}_logits": z, f"{group}_labels": np.array(NAMES)[y]}
    return found | more


def test_names_in_a_file_of_outputs_mean_the_columns_that_are_stated(tmp_path: Path) -> None:
    named, order = outputs_with_names(), ",".join(NAMES)
    numbered = dict(named)
    for group in ("member_labels", "nonmember_labels"):
        numbered[group] = np.array([NAMES.index(name) for name in named[group]])
    wanted = audit(saved(tmp_path, numbered, "numbered"), classes=NAMES).verdict
    assert wanted.status == "FAIL"
    path = saved(tmp_path, named, "named")
    with pytest.raises(DataError, match="nothing says which column"):
        audit(path)
    inside = saved(tmp_path, named | {"class_names": np.array(NAMES)}, "inside")
    for found in (audit(path, classes=NAMES), audit(inside), audit(inside, classes=NAMES)):
        assert found.verdict.sentence == wanted.sentence
    result = run(path, "--classes", order, "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    with pytest.raises(ConfigError, match="leave one of them out"):
        audit(inside, classes=NAMES[::-1])
    with pytest.raises(ConfigError, match="2 classes are listed"):
        audit(path, classes=NAMES[:2])


@pytest.mark.parametrize("written", ["{}", "{}.0", "0{}", " {} ", "+{}", "{}e0"])
def test_numbers_in_a_table_are_columns_however_they_are_written(
    tmp_path: Path, written: str
) -> None:
    pytest.importorskip("onnxruntime")
    target = open_target(linear_onnx(tmp_path / "m.onnx"))
    data = groups(60)
    found = ask(target, rows_for(target, section(tmp_path, data, written.format), seed=0))
    expected = ask(target, rows_for(target, data, seed=0))
    assert torch.equal(found.outputs.members.labels, expected.outputs.members.labels)


def test_names_in_a_table_need_a_list_that_other_ways_take_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, data = linear_onnx(tmp_path / "m.onnx"), groups(200)
    section(tmp_path, data, NAMES.__getitem__)
    files = [tmp_path / name for name in ("members.csv", "nonmembers.csv")]
    refused = run(path, "--data", *files, "--out", tmp_path / "out")
    assert code(refused) == 2
    assert "--classes" in str(refused.exception)
    listed = run(path, "--data", *files, "--classes", " fox, ant,cat", "--out", tmp_path / "out")
    assert listed.exit_code in {0, 1, 3}, listed.output
    document = json.loads((tmp_path / "out" / "verdict.json").read_text())
    expected = audit(path, data).verdict.document.to_json()
    assert document["model"]["accuracy"] == expected["model"]["accuracy"]
    config = tmp_path / "audit.yaml"
    config.write_text(
        json.dumps(
            {
                "target": str(path),
                "classes": list(NAMES),
                "data": json.loads((tmp_path / "section.json").read_text()),
                "out": str(tmp_path / "out2"),
            }
        )
    )
    assert run(config).exit_code == listed.exit_code
    texts = tuple((x, np.array(NAMES)[y]) for x, y in data)
    in_memory = audit(path, texts, classes=NAMES).verdict.document.to_json()
    assert in_memory["model"]["accuracy"] == expected["model"]["accuracy"]


def section(folder: Path, data: Any, name: Any) -> dict[str, Any]:
    """Write both groups as CSV and return the section of a configuration that reads them."""
    paths = [folder / "members.csv", folder / "nonmembers.csv"]
    for path, (x, y) in zip(paths, data, strict=True):
        with path.open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow([*(f"f{i}" for i in range(x.shape[1])), "label"])
            for row, label in zip(x, y, strict=True):
                writer.writerow([*map(float, row), name(int(label))])
    source = {"source": "csv", "path": str(paths[0]), "test_path": str(paths[1])}
    found = {"source": source, "split": {"membership": "pair"}}
    (folder / "section.json").write_text(json.dumps(found))
    from safecompress.config import DataConfig

    return DataConfig(**found)  # type: ignore[return-value]


def test_record_names_the_classes(net: nn.Module) -> None:
    data = tuple((x, np.array(NAMES)[y]) for x, y in groups(100))
    recorded = record(net, *data, classes=NAMES)
    assert recorded.class_names == NAMES
    numbers = record(net, *groups(100))
    assert torch.equal(recorded.outputs.members.labels, numbers.outputs.members.labels)
    assert audit(numbers, classes=NAMES).verdict.document.to_json()["verdict"]
    with pytest.raises(ConfigError, match="was recorded with the classes"):
        audit(recorded, classes=NAMES[::-1])
    with pytest.raises(ConfigError, match="2 classes are listed"):
        audit(numbers, classes=NAMES[:2])
