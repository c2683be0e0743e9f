"""`safecompress export RUN`: a file of a run, tested again where its runtime is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from safecompress import audit, compress, export, load, load_preprocessor
from safecompress.cli.app import app
from safecompress.compress import Run
from safecompress.config import load_config
from safecompress.data.sources import load_source
from safecompress.errors import ConfigError, RunFolderError
from safecompress.export import FORMATS, onnx_graphs, verify
from safecompress.export.graph import graph_of
from safecompress.export.packing import QuantizedWeight, quantize
from safecompress.protocols import Inputs, tensors_of
from safecompress.run.model_file import read_model
from safecompress_reader import read_compact
from tests import small_runs
from tests.export_models import require_extras

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TRAIN: dict[str, Any] = {"lr": 0.05, "batch_size": 32, "precision": "32-true"}
SETTINGS: dict[str, Any] = {
    "data": {"source": {"source": "sklearn", "name": "digits"}},
    "model": {"name": "mlp", "options": {"hidden": [96, 48]}},
    "dense": {"epochs": 6, **TRAIN},
    "sparse": {"density": 0.15, "rounds": 1, "train": {"epochs": 5, **TRAIN}},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    # So few rows decide only wide limits, and a file of a run that did not pass is no PASS.
    "verdict": {
        "checks": [
            {"measure": "accuracy", "condition": {"at_least": 0.2}},
            *(
                {"measure": {"attack": {"attack": name}}, "condition": {"at_most": 0.9}}
                for name in ("loss", "neural")
            ),
        ]
    },
    "engine": {"threads": 1},
}
LOOKS = "sealed-ledger.jsonl"


@pytest.fixture(scope="module", autouse=True)
def one_graph_of_a_model() -> Iterator[None]:
    """Let torch trace each model once: most tests here export the same one."""
    made: dict[bytes, Any] = {}

    def traced(module: nn.Module, members: Inputs) -> Any:
        held = [repr(module).encode(), *(t.numpy().tobytes() for t in tensors_of(members))]
        for name, tensor in module.state_dict().items():
            held += [name.encode(), tensor.numpy().tobytes()]
        key = hashlib.sha256(b"\0".join(held)).digest()
        if key not in made:
            made[key] = graph_of(module, members)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graphs, "graph_of", traced)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    compress(config=SETTINGS, out=folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy with its own ledger."""
    shutil.copy(finished.parent / LOOKS, tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "run"))


def looks(run: Path) -> int:
    return (run.parent / LOOKS).read_text().count("\n")


@pytest.mark.parametrize("form", list(FORMATS.parts))
def test_every_format_answers_and_leaks_as_the_model_does(form: str, run: Path) -> None:
    made = FORMATS.build(form, where="test")
    require_extras(made)
    path = run.parent / f"m{''.join(made.suffixes)}"
    done = export(run, path, format=form)
    assert str(done.status) == "PASS", done.checks
    assert done.path == path
    names = [c.name for c in done.checks]
    assert {"accuracy as before", "loss.auc as before", "neural.auc as before"} <= set(names)
    assert ("answers as before" in names) == made.exact
    assert looks(run) == 2
    retest = done.document.to_json()["retest"]
    assert retest["looks"] == 2
    assert not retest["not_repeated"]
    if made.exact:
        assert retest["same_class"] == 1.0
    assert verify(path)["format"] == form
    stored = json.loads(Path(f"{path}.json").read_text())
    assert stored["sha256"].keys() >= {path.name, "model.safetensors", "verdict.json"}
    card = Path(f"{path}.md").read_text()
    for part in (
        "## Verdict",
        "## Intended use",
        "## Data",
        "## What was attacked",
        "## Provenance",
    ):
        assert part in card


def test_the_same_export_is_one_look(run: Path) -> None:
    for _ in range(2):
        done = export(run, run.parent / "m.onnx")
        assert done.document.retest.looks == 2


def test_the_file_takes_raw_rows(run: Path) -> None:
    path = run.parent / "m.onnx"
    assert export(run, path, format="onnx").path == path
    config = load_config(run / "config.yaml")
    assert config.data is not None
    raw = load_source(config.data.source, seed=0).columns
    prepared = load_preprocessor(run).apply(raw[:50])
    session = onnxruntime.InferenceSession(str(path))
    (said,) = session.run(None, {"inputs": raw[:50]})
    with torch.no_grad():
        expected = load(run)(prepared)
    torch.testing.assert_close(torch.from_numpy(said), expected, rtol=1e-4, atol=1e-4)


def test_a_run_runs_where_there_is_no_torch(run: Path) -> None:
    export(run, run.parent / "m.onnx")
    program = (
        "import sys\n"
        "for name in ('torch', 'safecompress', 'onnx'): sys.modules[name] = None\n"
        "import numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession('m.onnx')\n"
        "rows = np.zeros((3, 64), session.get_inputs()[0].type[7:-1])\n"
        "print(session.run(None, {'inputs': rows})[0].shape)\n"
    )
    program = program.replace("session.get_inputs()[0].type[7:-1]", "np.float64")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=run.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "(3, 10)", done.stderr


def wrong_scale(weight: Any, kind: str, *, scale: Any = None) -> QuantizedWeight:
    found = quantize(weight, kind, scale=scale)
    return QuantizedWeight(
        found.values, found.scale * np.linspace(0.2, 3, len(found.scale), dtype="f4")
    )


def shuffled(mask: Any) -> Any:
    from safecompress.export.packing import gap_stream

    return np.random.default_rng(0).permutation(gap_stream(mask))


def test_layers_that_are_rounded_wrong_go_back_until_the_file_is_right(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safecompress.export import compact

    monkeypatch.setattr(compact, "quantize", wrong_scale)
    path = run.parent / "m.safetensors"
    done = export(run, path, format="safetensors-int8")
    document = done.document.to_json()
    assert document["faithful"] is True
    assert document["model"]["in_fp32"]
    assert document["agreement"]["same_class"] >= 0.99


def test_a_file_that_is_written_wrong_is_not_shipped(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safecompress.export import compact

    monkeypatch.setattr(compact, "gap_stream", shuffled)
    path = run.parent / "m.safetensors"
    done = export(run, path, format="safetensors")
    assert (str(done.status), done.exit_code, done.path) == ("FAIL", 1, None)
    assert "accuracy as before" in done.document.sentence
    assert done.document.faithful is False
    assert not path.exists(), "what failed must not lie where the file is fetched"
    assert "Not shipped" in Path(f"{path}.md").read_text()


def test_limits_are_checks(run: Path) -> None:
    path = run.parent / "m.onnx"
    done = export(run, path, max_bytes=2000)
    assert (str(done.status), path.exists()) == ("FAIL", False)
    assert done.document.sentence.startswith("Not shipped: it misses its limits (bytes).")
    assert done.document.faithful is True
    assert any("sparse.density" in step for step in done.document.next_steps)
    done = export(run, path, max_bytes=2_000_000, max_latency_ratio=50.0)
    assert (str(done.status), path.exists()) == ("PASS", True)
    done = export(run, path, max_latency_ratio=1e-6)
    assert str(done.status) == "FAIL"


def test_the_command_line_measures(run: Path) -> None:
    path = run.parent / "out" / "m.onnx"
    arguments = ["export", str(run), "--out", str(path), "--measure"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    measured = json.loads(Path(f"{path}.json").read_text())["measured"]
    assert set(measured["bytes"]) == {"onnx-sparse-int8", "onnx", "onnx-int8"}
    assert measured["bytes"]["onnx-sparse-int8"]["disk"] == path.stat().st_size
    latency = measured["latency"]
    assert latency["threads"] == 1
    assert "onnxruntime" in latency["runtime"]
    for batch in ("1", "32"):
        for ratio in latency["batches"][batch]["ratios"].values():
            assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"]
    assert measured["loading"]["seconds"] > 0
    # Of the process that loads it alone: torch, in this one, takes more.
    assert 0 < measured["loading"]["bytes"] < 100 << 20
    assert "this file's time over that" in result.output
    assert "PASS" in result.output


def test_the_command_line_says_what_is_wrong(run: Path) -> None:
    for arguments, code in (
        (["--format", "onx"], 2),
        (["--format", "onnx", "--max-bytes", "10"], 1),
        (["--format", "safetensors", "--max-latency-ratio", "1"], 2),
    ):
        out = ["--out", str(run.parent / "m.onnx")]
        result = CliRunner().invoke(app, ["export", str(run), *out, *arguments])
        found = getattr(result.exception, "exit_code", result.exit_code)
        assert found == code, (arguments, result.output, result.exception)


def test_an_unfinished_run_is_refused(run: Path) -> None:
    (run / "verdict.json").unlink()
    with pytest.raises(RunFolderError, match="not finished"):
        export(run, run.parent / "m.onnx")
    with pytest.raises(ConfigError, match="positive number"):
        export(run, run.parent / "m.onnx", max_latency_ratio=-1.0)


@pytest.fixture
def failed(run: Path) -> Path:
    """A run whose verdict is a FAIL, as a stricter limit makes it."""
    verdict = json.loads((run / "verdict.json").read_text())
    verdict |= {"verdict": "FAIL", "sentence": "Not safe to ship: loss.auc.", "next_steps": ["Go."]}
    (run / "verdict.json").write_text(json.dumps(verdict))
    return run


def test_a_faithful_file_of_a_failed_run_is_a_fail(failed: Path) -> None:
    path = failed.parent / "m.onnx"
    done = export(failed, path)
    assert (str(done.status), done.exit_code, done.path) == ("FAIL", 1, None)
    assert done.document.faithful is True
    assert not path.exists()
    card = Path(f"{path}.md").read_text()
    text = card.partition("\n---\n")[2].strip().splitlines()
    assert text[2].startswith("**FAIL**: Not shipped, because the model failed. Not ")
    assert "PASS" not in card.partition("## Verdict")[0]
    assert "Go." in done.document.next_steps


@pytest.mark.parametrize("allowed", [False, True])
def test_the_command_line_of_a_failed_run(allowed: bool, failed: Path) -> None:
    path = failed.parent / "m.onnx"
    more = ["--allow-failed"] if allowed else []
    result = CliRunner().invoke(app, ["export", str(failed), "--out", str(path), *more])
    assert result.exit_code == 1, (result.output, result.exception)
    assert path.exists() == allowed
    assert "the run's verdict is FAIL: Not safe to ship: loss.auc." in result.output
    last = [line for line in result.output.splitlines() if line.startswith(("FAIL", "PASS"))]
    start = "Shipped although it failed" if allowed else "Not shipped, because the model failed"
    assert len(last) == 1
    assert last[0].startswith(f"FAIL: {start}")
    assert "next: Go." in result.output
    document = json.loads(Path(f"{path}.json").read_text())
    assert document["despite_failure"] is allowed
    assert ("Shipped although it failed" in Path(f"{path}.md").read_text()) == allowed
    if allowed:
        assert verify(path)["verdict"] == "FAIL", "the file itself says it"


def test_an_undecided_run_gives_an_undecided_file(run: Path) -> None:
    verdict = json.loads((run / "verdict.json").read_text())
    (run / "verdict.json").write_text(json.dumps(verdict | {"verdict": "INCONCLUSIVE"}))
    done = export(run, run.parent / "m.onnx")
    assert (str(done.status), done.exit_code) == ("INCONCLUSIVE", 3)
    assert done.path is not None
    assert done.document.next_steps


def test_a_run_of_objects_says_how_to_export_it(tmp_path: Path) -> None:
    with small_runs.brisk():
        run: Run = small_runs.begin(tmp_path / "run")
    with pytest.raises(RunFolderError, match="a model object and a data object") as caught:
        export(run.folder, tmp_path / "m.onnx")
    for way in ("model=make_model", "--model package.module:make_model", "data=splits"):
        assert way in str(caught.value)
    with pytest.raises(RunFolderError) as asked:
        audit(run.folder)
    assert str(asked.value) == str(caught.value)
    with pytest.raises(RunFolderError, match="its data changed"):
        export(run.folder, tmp_path / "m.onnx", model=run.model, data=small_runs.splits(seed=1))


def test_a_run_of_objects_exports_itself(tmp_path: Path) -> None:
    with small_runs.brisk():
        run: Run = small_runs.begin(tmp_path / "run")
    path = tmp_path / "m.safetensors"
    done = run.export(path, format="safetensors", allow_failed=True)
    assert done.document.faithful, done.checks
    assert done.path == path
    weights = read_compact(path).weights
    for name, weight in run.model.state_dict().items():
        np.testing.assert_array_equal(weights[name], weight.numpy())
    done = run.export(tmp_path / "m.onnx", format="onnx", allow_failed=True)
    assert done.document.faithful
    assert verify(tmp_path / "m.onnx")["preprocessing"] == "outside"


def test_removed_channels_leave_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    proposals = [{"channels": {"share": 0.5}}]
    steer = {"search": "every-round", "proposals": proposals, "attacks": ["loss"]}
    compress(config=SETTINGS | {"steer": steer}, out=folder)
    done = export(folder, tmp_path / "m.safetensors", format="safetensors")
    assert str(done.status) == "PASS", done.checks
    kept = read_compact(tmp_path / "m.safetensors").weights
    whole = load(folder).state_dict()
    assert sum(w.size for w in kept.values()) < sum(w.numel() for w in whole.values())
    assert str(export(folder, tmp_path / "m.onnx", format="onnx-sparse").status) == "PASS"


def test_numbers_of_a_fake_quantized_run_are_those_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    proposals = [{"quantize": {"bits": 4, "mask": "rigl"}}]
    steer = {"search": "every-round", "proposals": proposals, "attacks": ["loss"]}
    compress(config=SETTINGS | {"steer": steer}, out=folder)
    stored = read_model(folder / "model.safetensors")
    numbers = stored.quantized()
    assert numbers is not None
    for form in ("onnx-sparse-int4", "safetensors-int4", "safetensors", "onnx"):
        path = tmp_path / ("m.onnx" if form.startswith("onnx") else "m.safetensors")
        done = export(folder, path, format=form)
        assert str(done.status) == "PASS", done.checks
        # A graph of fp32 does not round what its layers are given, so it is another model.
        assert ("answers as before" in [c.name for c in done.checks]) == (form == "safetensors")
        if form != "onnx":
            assert done.document.retest.same_class > 0.995
        if form == "safetensors-int4":
            for name, weight in read_compact(path).weights.items():
                np.testing.assert_array_equal(weight, stored.weights[name].numpy())


@pytest.mark.parametrize("form", ["onnx-sparse-int8-dynamic", "executorch"])
def test_every_runtime_is_measured_from_the_command_line(form: str, run: Path) -> None:
    made = FORMATS.build(form, where="test")
    require_extras(made)
    path = run.parent / f"m{''.join(made.suffixes)}"
    arguments = ["export", str(run), "--out", str(path), "--format", form, "--measure"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(Path(f"{path}.json").read_text())
    measured = document["measured"]
    assert set(measured["bytes"]) == {form, "onnx", "onnx-int8"}
    assert measured["bytes"][form]["disk"] == path.stat().st_size
    for batch in ("1", "32"):
        assert set(measured["latency"]["batches"][batch]["ratios"]) == {"onnx", "onnx-int8"}
    assert measured["loading"]["seconds"] > 0
    assert ("ExecuTorch" in measured["latency"]["runtime"]) == ("executorch" in made.requires)
    shared = [limit for limit in document["limits"] if "one row at a time" in limit]
    assert len(shared) == ("dynamic" in form)
