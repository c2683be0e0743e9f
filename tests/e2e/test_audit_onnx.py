"""`safecompress audit model.onnx`: what the graph says, in any clothes, and no harm from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from safecompress import audit
from safecompress.cli.app import app
from safecompress.config import DataConfig
from safecompress.errors import UsageError
from safecompress.targets import ask, open_target, rows_for
from tests.target_files import CLASSES, WEIGHTS, audited, groups, linear_onnx, saved_groups

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def logits_of(path: Path, data: Any) -> torch.Tensor:
    target = open_target(path)
    return ask(target, rows_for(target, data, seed=0)).outputs.members.logits


@pytest.mark.parametrize(
    "clothes",
    [{}, {"batch": 1}, {"batch": 7}, {"batch": 64}, {"dtype": "DOUBLE"}, {"output": "anything"}],
    ids=str,
)
def test_a_graph_says_what_its_model_says(clothes: dict[str, Any], tmp_path: Path) -> None:
    data = groups(100)
    said = logits_of(linear_onnx(tmp_path / "m.onnx", **clothes), data)
    np.testing.assert_allclose(said, data[0][0] @ WEIGHTS, rtol=1e-5, atol=1e-5)


def test_probabilities_are_recognized(tmp_path: Path) -> None:
    target = open_target(linear_onnx(tmp_path / "m.onnx", softmax=True))
    recorded = ask(target, rows_for(target, groups(100), seed=0))
    assert recorded.kind == "probabilities"


def test_several_inputs_are_found_by_name_or_by_place(tmp_path: Path) -> None:
    path = linear_onnx(tmp_path / "m.onnx", inputs=2)
    (x, y), (u, v) = groups(100)
    half = x.shape[1] // 2
    by_place = ((x[:, :half], x[:, half:]), y), ((u[:, :half], u[:, half:]), v)
    # The other way round, so that only their names can tell them apart.
    by_name = (
        ({"part.1": x[:, half:], "part.0": x[:, :half]}, y),
        ({"part.1": u[:, half:], "part.0": u[:, :half]}, v),
    )
    expected = torch.from_numpy(x @ WEIGHTS)
    for data in (by_place, by_name):
        torch.testing.assert_close(logits_of(path, data), expected)


def test_whole_numbers_go_into_an_integer_input_and_fractions_do_not(tmp_path: Path) -> None:
    path = linear_onnx(tmp_path / "m.onnx", dtype="UINT8")
    (_, y), (_, v) = groups(100)
    draw = np.random.default_rng(0)
    x, u = (draw.integers(0, 255, size=(100, len(WEIGHTS))) for _ in range(2))
    y = (x @ WEIGHTS).argmax(axis=1)
    np.testing.assert_allclose(logits_of(path, ((x, y), (u, v))), x @ WEIGHTS, rtol=1e-4, atol=1e-3)
    for wrong in (x + 0.5, x - 300):
        with pytest.raises(UsageError, match="do not fit"):
            logits_of(path, ((wrong, y), (u, v)))


def test_a_table_goes_in_column_by_column(tmp_path: Path) -> None:
    data = groups(150)
    for name, (x, y) in zip(("members", "nonmembers"), data, strict=True):
        lines = ["label,a,b,c,d,e,f"]
        lines += [
            f"{label},{','.join(map(repr, row))}" for row, label in zip(x.tolist(), y, strict=True)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    source = {
        "source": "csv",
        "path": tmp_path / "members.csv",
        "test_path": tmp_path / "nonmembers.csv",
    }
    config = DataConfig(source=source, split={"membership": "pair"})
    said = logits_of(linear_onnx(tmp_path / "m.onnx"), config)
    np.testing.assert_allclose(said, data[0][0] @ WEIGHTS, rtol=1e-5, atol=1e-5)


def test_preprocessing_that_is_written_down_is_applied(tmp_path: Path) -> None:
    data = groups(300)
    shifted = tuple((5 * x + 100, y) for x, y in data)
    paths = saved_groups(tmp_path, shifted)
    source = {"source": "npz", "path": paths[0], "test_path": paths[1]}
    path, split = linear_onnx(tmp_path / "m.onnx"), {"membership": "pair"}
    how = {"features": "standardize"}
    said = logits_of(path, DataConfig(source=source, split=split, preprocessing=how))
    x = shifted[0][0].astype(np.float64)
    expected = ((x - x.mean(axis=0)) / x.std(axis=0)) @ WEIGHTS
    np.testing.assert_allclose(said, expected, rtol=1e-3, atol=1e-3)
    rows = rows_for(open_target(path), DataConfig(source=source, split=split), seed=0)
    torch.testing.assert_close(rows.members.inputs[0], torch.from_numpy(shifted[0][0]))


def test_the_command_line_and_a_configuration_say_the_same(tmp_path: Path) -> None:
    model, (a, b) = linear_onnx(tmp_path / "m.onnx"), saved_groups(tmp_path, groups())
    outs = [tmp_path / "one", tmp_path / "two"]
    config = tmp_path / "audit.yaml"
    config.write_text(
        f"target: {model}\nlimits: {{max_auc: 0.7, max_tpr: ['0.5@0.1']}}\nout: {outs[1]}\n"
        f"data:\n  source: {{source: npz, path: {a}, test_path: {b}}}\n"
        "  split: {membership: pair}\n"
    )
    bounds = ["--max-auc", "0.7", "--max-tpr", "0.5@0.1"]
    calls = [
        [str(model), "--data", str(a), str(b), "--out", str(outs[0]), *bounds],
        [str(config)],
    ]
    found = []
    for call, out in zip(calls, outs, strict=True):
        result = CliRunner().invoke(app, ["audit", *call])
        assert result.exit_code == 0, (result.output, result.exception)
        document = json.loads((out / "verdict.json").read_text())
        found.append([(c["name"], c["status"], c["value"]) for c in document["checks"]])
        identity = json.loads((out / "provenance.json").read_text())["audited"]
        assert identity["kind"] == "onnx"
        assert set(identity["sha256"]) == {"m.onnx"}
    assert found[0] == found[1]


def test_rows_that_are_in_both_groups_judge_on_one_side_only(tmp_path: Path) -> None:
    (x, y), (u, v) = groups(200)
    u[:50], v[:50] = x[:50], y[:50]
    a, b = saved_groups(tmp_path, ((x, y), (u, v)))
    settings = {
        "source": {"source": "npz", "path": a, "test_path": b},
        "split": {"membership": "pair"},
    }
    target = open_target(linear_onnx(tmp_path / "m.onnx"))
    with pytest.raises(UsageError, match="50 of 200 non-members have the inputs of 50"):
        rows_for(target, DataConfig(**settings), seed=0)
    settings["split"]["deduplicate"] = True
    rows = rows_for(target, DataConfig(**settings), seed=0)
    assert (len(rows.members), len(rows.nonmembers)) == (200, 150)
    assert rows.nonmembers.ids.min() == 250
    settings["split"]["deduplicate"] = False
    with pytest.raises(UsageError, match="share 50 rows"):
        rows_for(target, DataConfig(**settings), seed=0)


def test_a_baseline_is_asked_about_the_same_rows(tmp_path: Path) -> None:
    model = linear_onnx(tmp_path / "m.onnx")
    same = audit(model, groups(), baseline=model).verdict
    differences = [c for c in same.checks if c.name == "loss.auc ≤ dense + 0.02"]
    assert differences[0].estimate.value == 0
    module = torch.nn.Linear(*WEIGHTS.shape)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(0.5 * WEIGHTS.T))
    document = audit(model, groups(), baseline=module).verdict.document.to_json()
    assert [row["name"] for row in document["comparison"]] == ["dense", "model"]


def test_a_baseline_of_other_rows_is_refused(tmp_path: Path) -> None:
    model, data = linear_onnx(tmp_path / "m.onnx"), groups(60)
    target = open_target(model)
    for other in (groups(61), groups(60, seed=1)):
        outputs = ask(target, rows_for(target, other, seed=0))
        with pytest.raises(UsageError, match="labels that differ"):
            audit(model, data, baseline=outputs)
    (tmp_path / "config.yaml").write_text("seed: 0")
    with pytest.raises(UsageError, match="is a run"):
        audit(model, data, baseline=tmp_path)


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    path = linear_onnx(tmp_path / "m.onnx", location="weights.bin")
    data = groups(100)
    np.testing.assert_allclose(logits_of(path, data), data[0][0] @ WEIGHTS, rtol=1e-5, atol=1e-5)
    assert [file.name for file in open_target(path).files] == ["m.onnx", "weights.bin"]


# -- files that are broken, or mean harm ----------------------------------------------------------


def raw(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "raw.onnx").write_bytes(data)
        return folder / "raw.onnx"

    return make


def made(**how: Any) -> Callable[[Path], Path]:
    return lambda folder: linear_onnx(folder / "made.onnx", **how)


def cut(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        data = linear_onnx(folder / "cut.onnx").read_bytes()
        (folder / "cut.onnx").write_bytes(data[: int(len(data) * share)])
        return folder / "cut.onnx"

    return make


def graph(*nodes: Any, inputs: Any = None, outputs: Any = None, opset: int = 17) -> Any:
    def make(folder: Path) -> Path:
        from onnx import TensorProto, helper

        one = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])]
        two = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])]
        built = helper.make_graph(
            [helper.make_node(*n[:3], **(n[3] if len(n) > 3 else {})) for n in nodes],
            "g",
            one if inputs is None else [helper.make_tensor_value_info(*i) for i in inputs],
            two if outputs is None else [helper.make_tensor_value_info(*o) for o in outputs],
        )
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(built, opset_imports=opsets, ir_version=9)
        onnx.save(model, str(folder / "graph.onnx"))
        return folder / "graph.onnx"

    return make


def linked(folder: Path) -> Path:
    (folder.parent / "outside.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    return linear_onnx(folder / "linked.onnx", location="link.bin")


def filling(operator: str) -> Callable[[Path], Path]:
    """Return a graph that would fill the memory when it is loaded."""

    def make(folder: Path) -> Path:
        from onnx import numpy_helper

        shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20]))
        one = numpy_helper.from_array(np.ones((1, 1), np.float32))
        given = ["shape"] if operator == "ConstantOfShape" else ["one", "shape"]
        return graph(
            ("Constant", [], ["shape"], {"value": shape}),
            ("Constant", [], ["one"], {"value": one}),
            (operator, given, ["all"]),
            ("MatMul", ["x", "all"], ["y"]),
        )(folder)

    return make


def zipmap(folder: Path) -> Path:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml",
                         classlabels_int64s=list(range(6))),
        helper.make_node("ArgMax", ["x"], ["label"], axis=1),
    ]  # fmt: skip
    item = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    sequence = helper.make_value_info("probabilities", helper.make_sequence_type_proto(item))
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["n", 1])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])
    built = helper.make_graph(nodes, "g", [given], [label, sequence])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(
        helper.make_model(built, opset_imports=opsets, ir_version=9), str(folder / "zip.onnx")
    )
    return folder / "zip.onnx"


F, S, L = 1, 8, 7
HOSTILE: dict[str, Callable[[Path], Path]] = {
    "no such file": lambda folder: folder / "nothing.onnx",
    "empty": raw(b""),
    "text": raw(b"this is no graph\n"),
    "a pickle": raw(b"\x80\x04\x95\x10\x00\x00\x00"),
    "zeros": raw(bytes(1000)),
    "ones": raw(b"\xff" * 1000),
    **{f"cut at {share:.0%}": cut(share) for share in (0.05, 0.3, 0.6, 0.95)},
    "weights above its folder": made(location="../weights.bin"),
    "weights at an absolute path": made(location="/etc/passwd"),
    "weights hidden above": made(location="a/../../weights.bin"),
    "weights behind a link": linked,
    "weights that are missing": made(location="nothing.bin"),
    "weights that are its folder": made(location="."),
    "an operator nobody has": graph(("NoSuchOperator", ["x"], ["y"])),
    "an operator of somebody's own": graph(("Mine", ["x"], ["y"], {"domain": "evil"})),
    "a tensor that fills the memory": filling("ConstantOfShape"),
    "a number spread over the memory": filling("Expand"),
    "an opset of the future": graph(("Relu", ["x"], ["y"]), opset=9999),
    "a node without its input": graph(("Relu", ["nothing"], ["y"])),
    "a loop of nodes": graph(("Relu", ["b"], ["a"]), ("Relu", ["a"], ["b"])),
    "no inputs": graph(
        ("Constant", [], ["y"], {"value_floats": [1.0, 2.0]}), inputs=[], outputs=[("y", F, [2])]
    ),
    "no outputs": graph(("Relu", ["x"], ["y"]), outputs=[]),
    "text as its input": graph(
        ("Identity", ["x"], ["y"]), inputs=[("x", S, ["n", 6])], outputs=[("y", S, ["n", 6])]
    ),
    "a predicted class alone": graph(
        ("ArgMax", ["x"], ["y"], {"axis": 1}), outputs=[("y", L, ["n", 1])]
    ),
    "a map of every class": zipmap,
    "one output column": made(classes=1),
    "three dimensions": graph(
        ("Relu", ["x"], ["y"]), inputs=[("x", F, ["n", 6, 2])], outputs=[("y", F, ["n", 6, 2])]
    ),
    "two outputs it may mean": graph(
        ("Relu", ["x"], ["a"]),
        ("Neg", ["x"], ["b"]),
        outputs=[("a", F, ["n", 6]), ("b", F, ["n", 6])],
    ),
    "wider rows": graph(
        ("Relu", ["x"], ["y"]), inputs=[("x", F, ["n", 9])], outputs=[("y", F, ["n", 9])]
    ),
    "rows of images": graph(
        ("Flatten", ["x"], ["y"]), inputs=[("x", F, ["n", 3, 4, 4])], outputs=[("y", F, ["n", 48])]
    ),
    "two inputs": made(inputs=2),
    "inputs of two batch sizes": graph(
        ("Concat", ["x", "w"], ["y"], {"axis": 0}),
        inputs=[("x", F, [2, 6]), ("w", F, [3, 6])],
        outputs=[("y", F, [5, 6])],
    ),
    "fewer classes than labels": made(classes=CLASSES - 1),
    "NaN": graph(("Sub", ["x", "x"], ["o"]), ("Div", ["o", "o"], ["y"])),
    "infinity": graph(("Sub", ["x", "x"], ["o"]), ("Reciprocal", ["o"], ["y"])),
    "another number of rows": graph(
        ("ReduceMean", ["x"], ["y"], {"axes": [0], "keepdims": 1}), outputs=[("y", F, ["n", 6])]
    ),
    "a shape it does not keep": graph(("Flatten", ["x"], ["y"], {"axis": 0})),
}


def test_a_graph_that_returns_the_same_of_every_row_is_audited_and_told(tmp_path: Path) -> None:
    path = graph(("Sub", ["x", "x"], ["y"]))(tmp_path)
    document = audit(path, groups()).verdict.document.to_json()
    assert "says the same of every row" in document["remarks"][0]


@pytest.mark.parametrize("case", list(HOSTILE))
def test_a_file_that_cannot_be_audited_ends_in_one_message(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    path = HOSTILE[case](folder)
    with pytest.raises(UsageError) as caught:
        audit(path, groups(60))
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 700


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "data: missing"),
        (3, "expected"),
        ((groups(60)[0],), "expected"),
        (((["a"] * 60, [0] * 60), (["b"] * 60, [1] * 60)), "takes numbers"),
        (((np.zeros((60, 6)), np.zeros(59, int)), groups(60)[1]), "labels"),
        (((np.full((60, 6), np.nan), np.zeros(60, int)), groups(60)[1]), "do not fit"),
        ({"source": {"source": "sklearn", "name": "digits"}}, "data.split.membership"),
        ({"sauce": {}}, "did you mean 'source'"),
    ],
)
def test_rows_that_do_not_fit_end_in_one_message(data: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        audit(linear_onnx(tmp_path / "m.onnx"), data)


@pytest.mark.parametrize(
    "case", ["cut at 30%", "weights above its folder", "an operator nobody has", "NaN"]
)
def test_a_hostile_file_ends_the_command_in_one_line(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    files = saved_groups(tmp_path, groups(60))
    out = tmp_path / "out"
    status, said, complaint = audited(HOSTILE[case](folder), "--data", *files, "--out", out)
    assert status == 2, complaint
    assert complaint.count("\n") == 1
    assert complaint.startswith("safecompress: ")
    assert "Traceback" not in said
    assert not out.exists()
