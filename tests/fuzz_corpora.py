"""Small sound files of every format that the program reads, each written into an empty folder."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def configuration(folder: Path) -> None:
    """Write a configuration with what YAML has to offer."""
    (folder / "config.yaml").write_text(
        "data:\n  source: {source: csv, path: a.csv, drop: [id]}\n  split: {members: 0.4}\n"
        "  preprocessing: {layout: table}\nmodel:\n  name: mlp\n  options: {hidden: [64, 32]}\n"
        "dense: &train {epochs: 2, lr: 0.1, precision: 32-true}\n"
        "sparse:\n  density: 0.1\n  rounds: 2\n  train:\n    <<: *train\n    epochs: 3\n"
        "steer:\n  proposals: [rigl, {set: {updates: 2}}]\n"
        "  attacks: [loss, {neural: {epochs: 2}}]\n"
        "  defenses: [{dropout: {p: 0.2}}]\n"
        "verdict: {checks: [{measure: {attack: {attack: loss}}, condition: {at_most: 0.6}}]}\n"
        "shadows: {count: 4}\nseed: 3\nengine: {threads: 1}\nout: runs/${HOME}\n"
    )


def _columns() -> dict[str, list[Any]]:
    draw = random.Random(0)
    return {
        "a": [draw.random() for _ in range(30)],
        "b": [draw.choice(["x", "y, z", 'q"']) for _ in range(30)],
        "n": [draw.choice([None, 1, 2]) for _ in range(30)],
        "label": [k % 3 for k in range(30)],
    }


def table(kind: str) -> Callable[[Path], None]:
    """Return a function that writes a table as a kind of file."""

    def make(folder: Path) -> None:
        columns = _columns()
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if kind == "csv":
            import csv

            with (folder / "a.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(columns))
                writer.writeheader()
                writer.writerows(rows)
        elif kind == "jsonl":
            (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif kind == "parquet":
            from tests.arrow_files import parquet_file

            parquet_file(folder / "a.parquet", columns)
        else:
            from tests.arrow_files import datasets_folder

            datasets_folder(folder / "a.datasets", columns, names=["u", "v", "w"])

    return make


def arrays(folder: Path) -> None:
    """Write arrays of rows, and a model's recorded outputs."""
    import numpy as np

    from tests.recorded_outputs import saved, with_references

    draw = np.random.default_rng(0)
    np.save(folder / "x.npy", draw.normal(size=(40, 3)).astype(np.float32))
    np.save(folder / "y.npy", np.arange(40) % 3)
    np.savez(folder / "rows.npz", x=draw.normal(size=(40, 3)), y=np.array(["a", "b"] * 20))
    saved(folder, with_references(40, models=4) | {"class_names": np.array(list("abcdefghij"))})


def model(folder: Path) -> None:
    """Write what `load` and `load_preprocessor` read of a run folder."""
    import numpy as np

    from safecompress.config import PreprocessingConfig, load_config
    from safecompress.data import Preprocessor
    from safecompress.data.raw import raw_from_arrays
    from safecompress.models import build_model
    from safecompress.run.model_file import StoredModel, write_model
    from safecompress.sparse import initialize
    from tests.laws.test_no_code_unasked import CONFIG

    config = load_config(CONFIG)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    module = build_model(config.model, input_shape=(4,), classes=3, seed=0)
    topology = initialize(module, density=0.5, distribution="uniform", method="scratch", seed=0)
    topology.apply_(module)
    facts = {"name": "mlp", "input_shape": [4], "classes": 3, "lineage": ["rigl"]}
    write_model(folder / "model.safetensors", StoredModel(module.state_dict(), topology, facts))
    raw = raw_from_arrays(np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3)
    fitted = Preprocessor.fit(raw, range(20), PreprocessingConfig())
    (folder / "preprocessing.json").write_text(json.dumps(fitted.to_json()))


def finished_run(folder: Path) -> None:
    """Write what the report reads of a run folder."""
    from tests.report_fixture import write_run

    write_run(folder)


_MADE: dict[str, Path] = {}


def compact(folder: Path) -> None:
    """Write a compact file of a small module."""
    import torch

    from safecompress.export.compact import compact_bytes
    from safecompress.sparse import initialize

    module = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Linear(30, 4))
    topology = initialize(module, density=0.2, distribution="uniform", method="scratch", seed=0)
    topology.apply_(module)
    held = compact_bytes(module.state_dict(), topology, values="int8")
    (folder / "small.safetensors").write_bytes(held)


def onnx(folder: Path) -> None:
    """Write an ONNX classifier."""
    from tests.target_files import linear_onnx

    linear_onnx(folder / "m.onnx", softmax=True)


def hugging_face(folder: Path) -> None:
    """Write a text classifier and its tokenizer, made once a process."""
    if "text" not in _MADE:
        from tests.text_folders import encoder_folder

        _MADE["text"] = encoder_folder(Path(tempfile.mkdtemp(prefix="fuzz-text-")), classes=3)
    shutil.copytree(_MADE["text"], folder, dirs_exist_ok=True)
