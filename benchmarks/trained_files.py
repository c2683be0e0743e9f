"""Do files of trained models name the same class as the model, in every format?

One cell for each model, skipped when it is finished (`cells.py`):

    SAFECOMPRESS_DATA=/path/to/data OMP_NUM_THREADS=1 python -m benchmarks.trained_files

A model is trained for a moment, loses the smaller nine tenths of each layer and is trained on.
Half of the rows that it was not trained on, at most 4,000, are steering rows: as in an export, a
format's layers go back to finer number formats until these rows show that 0.99 of others have the
model's class. The file then answers in its own runtime, as it is shipped, for the other half.
`same_class` is the share of these rows for which file and model name the same class; the goal is
0.99. `unaided` is the same of the file whose layers are all rounded. `bytes` are those of both, and
`seconds_to_write` what each took, the choice of layers included. ONNX files of integers also answer
with `session.x64quantprecision`, as `FORMAT, whole sums`, which cuts off no sum on any processor. A
format whose packages are not installed has no figure, and the cell says so.

What the stored cells say: with layers that went back, every format that was installed keeps at
least 99.2 % of the classes, on a processor that cuts off sums and where none is cut off; ExecuTorch
was installed for two of the four models. With every layer rounded, fp32 and half precision keep
99.9 %, int8 98.2 to 100 %, int4 91.4 to 98.2 %. The lowest are Location30's 30 classes, of which
the model itself names 62 % rightly, so that many rows lie between two classes, and a transformer
for 77 classes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.artifact_nets import Transformer
from benchmarks.cells import Cells
from safecompress.errors import ConfigError, ModelError
from safecompress.export import FORMATS, ExportContext, Format
from safecompress.export.agreement import Agreement
from safecompress.export.finer import finer
from safecompress.export.onnx_format import OnnxFormat
from safecompress.models import MODELS
from safecompress.sparse import initialize
from safecompress.topology import Topology

CELLS = Cells.of("trained_files")
GOAL, DENSITY, ROWS, WORDS, LENGTH = 0.99, 0.1, 2000, 3000, 16


@dataclass(frozen=True)
class Task:
    """Rows of a task: the first are for training.

    Args:
        model: untrained.
        inputs: (n, ...).
        labels: (n,).
        trained_on: number of rows for training.
        epochs: before and after pruning.
        lr: of AdamW.
    """

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    trained_on: int
    epochs: int
    lr: float = 2e-3


class WordVectors(nn.Module):
    """The mean of word vectors, a hidden layer, and logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, 64)
        self.hidden, self.out = nn.Linear(64, 64), nn.Linear(64, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (n, classes) of words (n, length)."""
        return self.out(self.hidden(self.table(ids).mean(dim=1)).relu())


def texts(name: str, folder: Path) -> tuple[Tensor, Tensor, int]:
    """Return the words of texts by their rank, labels, and the number of rows to train on."""
    parts = [pd.read_csv(folder / name / f"{part}.csv").head(8000) for part in ("train", "test")]
    rows = pd.concat(parts)
    split = rows["text"].str.lower().str.findall(r"\w+")
    known = split.head(len(parts[0])).explode().value_counts().index[: WORDS - 2]
    rank = {word: number + 2 for number, word in enumerate(known)}
    ids = np.zeros((len(rows), LENGTH), np.int64)
    for row, words in enumerate(split):
        held = [rank.get(word, 1) for word in words[:LENGTH]]
        ids[row, : len(held)] = held
    labels = pd.factorize(rows["label"], sort=True)[0]
    return torch.tensor(ids), torch.tensor(labels), len(parts[0])


def digits_images(folder: Path) -> Task:
    """Return images of handwritten digits, for a residual network."""
    del folder
    held = load_digits()
    order = np.random.default_rng(0).permutation(len(held.target))
    images = torch.tensor(held.images[order] / 8 - 1, dtype=torch.float32)[:, None]
    options = {"input_shape": (1, 8, 8), "classes": 10}
    model = MODELS.build({"resnet8": options}, where="trained_files")
    return Task(model, images, torch.tensor(held.target[order]), 1000, 8)


def visits(folder: Path) -> Task:
    """Return places that users visited, for a multi-layer perceptron."""
    with np.load(folder / "location30" / "location30.npz") as held:
        x, y = held["x"].astype(np.float32), held["y"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    options = {"input_shape": x.shape[1:], "classes": int(y.max()) + 1, "hidden": [256, 128]}
    model = MODELS.build({"mlp": options}, where="trained_files")
    return Task(model, torch.tensor(x[order]), torch.tensor(y[order]), 3000, 20)


def questions(folder: Path) -> Task:
    """Return questions to a bank, for a transformer."""
    return Task(Transformer(WORDS, width=64), *texts("banking77", folder), 8)


def reviews(folder: Path) -> Task:
    """Return phrases of film reviews, for word vectors."""
    return Task(WordVectors(2), *texts("sst2", folder), 6)


TASKS: Mapping[str, Callable[[Path], Task]] = {
    "digits-resnet8": digits_images,
    "location30-mlp": visits,
    "banking77-transformer": questions,
    "sst2-word-vectors": reviews,
}


def train_(task: Task, topology: Topology) -> None:
    """Train a model in place with its masks."""
    x, y = task.inputs[: task.trained_on], task.labels[: task.trained_on]
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=task.lr)
    task.model.train()
    for _ in range(task.epochs):
        for at in torch.randperm(len(y)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(task.model(x[at]), y[at]).backward()
            optimizer.step()
            topology.apply_(task.model)
    task.model.eval()


def answers(
    form: Format, context: ExportContext, rows: Tensor, path: Path
) -> dict[str, np.ndarray[Any, Any]]:
    """Return what a format's file computes, by the way it is opened."""
    content = form.write(context, {})
    parts = (path, *(path.with_suffix(suffix) for suffix in form.companions))
    for place, part in zip(parts, form.split(content), strict=True):
        place.write_bytes(part)
    with torch.no_grad():
        said = {"": np.asarray(form.open(path, context)(rows))}
    if isinstance(form, OnnxFormat) and form.values in {"int8", "int4"}:
        # Rows of one call would share the ranges of dynamic rounding.
        said[", whole sums"] = whole_sums(path, rows, at_once=1 if form.dynamic else len(rows))
    return said


def whole_sums(path: Path, rows: Tensor, *, at_once: int) -> np.ndarray[Any, Any]:
    """Return what an ONNX file computes where no sum is cut off, so many rows in a call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name
    return np.concatenate([opened.run(None, {name: r.numpy()})[0] for r in rows.split(at_once)])


@dataclass(frozen=True)
class Asked:
    """A trained model and the rows of both halves, with what the model says of them.

    Args:
        task: the model.
        context: what files are written from.
        steering: rows that choose layers.
        rows: rows that test files.
        labels: of `rows`.
        work: folder for files.
    """

    task: Task
    context: ExportContext
    steering: Tensor
    rows: Tensor
    labels: np.ndarray[Any, Any]
    work: Path

    @torch.no_grad()
    def expected(self, rows: Tensor) -> Tensor:
        """Return the model's logits."""
        logits: Tensor = self.task.model(rows)
        return logits

    def agreeing(self, form: Format, path: Path) -> ExportContext:
        """Return the context whose file names the model's class as often as an export wants."""
        expected = self.expected(self.steering)

        def good(tried: ExportContext) -> bool:
            said = torch.as_tensor(answers(form, tried, self.steering, path)[""])
            return Agreement.of(said, expected).shows(GOAL)

        return finer(form, self.context, good)

    def of(self, form: Format) -> dict[str, Any]:
        """Return the figures of a format, each by the way its file is opened."""
        path = self.work / f"{form.name}{form.suffixes[0]}"
        classes = self.expected(self.rows).argmax(1).numpy()
        began = time.perf_counter()
        before = form.write(self.context, {})
        plain = time.perf_counter() - began
        rounded = answers(form, self.context, self.rows, path)
        began = time.perf_counter()
        settled = self.agreeing(form, path)
        after = form.write(settled, {})
        chosen = time.perf_counter() - began
        said = answers(form, settled, self.rows, path)
        names = form.layers(self.context)
        return {
            "same_class": {way: float((a.argmax(1) == classes).mean()) for way, a in said.items()},
            "accuracy": {
                way: float((a.argmax(1) == self.labels).mean()) for way, a in said.items()
            },
            "unaided": {way: float((a.argmax(1) == classes).mean()) for way, a in rounded.items()},
            "bytes": {"": [len(before), len(after)]},
            "seconds_to_write": {"": [round(plain, 2), round(chosen, 2)]},
            "kept": {"": {names[name]: to for name, to in settled.kept.items()}},
        }


def measured(name: str, folder: Path, work: Path) -> dict[str, Any]:
    """Return a cell."""
    torch.manual_seed(0)
    started = time.perf_counter()
    task = TASKS[name](folder)
    train_(task, Topology.dense(task.model))
    how = {"distribution": "uniform", "method": "magnitude-layer"}
    topology = initialize(task.model, density=DENSITY, seed=0, **how)
    train_(task, topology)
    unseen = slice(task.trained_on, task.trained_on + 2 * ROWS)
    (steering, rows), (_, labels) = (t[unseen].tensor_split(2) for t in (task.inputs, task.labels))
    context = ExportContext.of(task.model, topology, task.inputs[: min(512, task.trained_on)])
    asked = Asked(task, context, steering, rows, labels.numpy(), work)
    figures: dict[str, dict[str, Any]] = defaultdict(dict)
    missing: dict[str, str] = {}
    for form_name in FORMATS.parts:
        try:
            found = asked.of(FORMATS.build(form_name, where="trained_files"))
        except (ConfigError, ModelError) as error:
            missing[form_name] = str(error)
            continue
        for what, by_way in found.items():
            figures[what] |= {form_name + way: figure for way, figure in by_way.items()}
    right = asked.expected(rows).argmax(1).numpy() == asked.labels
    figures["accuracy"]["model"] = float(right.mean())
    same = figures["same_class"]
    return {
        "cell": {"model": name, "density": DENSITY, "epochs": task.epochs},
        "rows": {"trained_on": task.trained_on, "steering": len(steering), "asked": len(rows)},
        **figures,
        "below_goal": sorted(form for form, share in same.items() if share < GOAL),
        "missing": missing,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=TASKS, action="append")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if "SAFECOMPRESS_DATA" not in os.environ:
        parser.error("say where the data is: SAFECOMPRESS_DATA=FOLDER")
    folder = Path(os.environ["SAFECOMPRESS_DATA"])
    with tempfile.TemporaryDirectory() as work:
        for name in chosen.model or TASKS:
            if name in CELLS:
                continue
            cell = measured(name, folder, Path(work))
            CELLS.write(name, cell)
            least = min(cell["same_class"].items(), key=lambda pair: pair[1])
            print(name, cell["accuracy"]["model"], *least, cell["below_goal"], flush=True)


if __name__ == "__main__":
    main()
