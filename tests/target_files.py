"""Files and folders of models that are sound, broken, or mean harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.commands import command
from tests.text_folders import SPECIAL, WORDS, word_tokenizer

CLASSES, FEATURES = 3, 6
Rows = tuple[NDArray[Any], NDArray[Any]]
WEIGHTS = np.random.default_rng(7).normal(size=(FEATURES, CLASSES)).astype(np.float32)


def groups(n: int = 600, seed: int = 0) -> tuple[Rows, Rows]:
    """Return members and non-members that a linear model gets mostly right."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        x = draw.normal(size=(n, FEATURES)).astype(np.float32)
        noisy = x @ WEIGHTS + draw.normal(size=(n, CLASSES))
        found.append((x, noisy.argmax(axis=1)))
    return found[0], found[1]


def saved_groups(folder: Path, data: tuple[Rows, Rows]) -> list[Path]:
    paths = [folder / "members.npz", folder / "nonmembers.npz"]
    for path, (x, y) in zip(paths, data, strict=True):
        np.savez(path, x=x, y=y)
    return paths


def linear_onnx(
    path: Path,
    *,
    batch: int | str = "n",
    dtype: str = "FLOAT",
    inputs: int = 1,
    softmax: bool = False,
    classes: int = CLASSES,
    output: str = "logits",
    location: str | None = None,
) -> Path:
    """Write `x @ WEIGHTS`, or the same in other clothes.

    Args:
        path: the file.
        batch: the batch dimension, fixed or a name.
        dtype: of the inputs.
        inputs: into how many inputs the features are split.
        softmax: whether it answers with probabilities.
        classes: how many columns it answers with.
        output: the answer's name.
        location: where the weights are said to be; inside the file by default.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    width = FEATURES // inputs
    names = [f"part.{i}" for i in range(inputs)]
    given = [
        helper.make_tensor_value_info(name, getattr(TensorProto, dtype), [batch, width])
        for name in names
    ]
    weights = numpy_helper.from_array(np.ascontiguousarray(WEIGHTS[:, :classes]), "weights")
    if location is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        entry = weights.external_data.add()
        entry.key, entry.value = "location", location
    nodes = [
        helper.make_node("Concat", names, ["all"], axis=1),
        helper.make_node("Cast", ["all"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "weights"], ["z" if softmax else output]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["z"], [output], axis=1))
    said = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])
    graph = helper.make_graph(nodes, "linear", given, [said], initializer=[weights])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path))
    return path


def sentences(n: int, seed: int) -> tuple[list[str], list[int]]:
    """Return sentences whose label is whether their first word is an even one."""
    draw = np.random.default_rng(seed)
    numbers = draw.integers(0, len(WORDS), size=(n, 12))
    lengths = draw.integers(4, 12, size=n)
    texts = [
        " ".join(WORDS[i] for i in row[:length])
        for row, length in zip(numbers, lengths, strict=True)
    ]
    return texts, [int(row[0]) % 2 for row in numbers]


def text_classifier(
    folder: Path,
    *,
    epochs: int = 12,
    labels: int = 2,
    trained_on: tuple[list[str], list[int]] | None = None,
) -> Path:
    """Train a tiny BERT and save it as anybody would.

    Args:
        folder: where it is saved.
        epochs: steps on all texts at once.
        labels: how many classes it has.
        trained_on: texts, whose words then become its vocabulary, and their labels; by default 200
            sentences, and all the words there are.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    special = SPECIAL[:4]
    texts, y = trained_on or sentences(200, seed=0)
    words = WORDS if trained_on is None else sorted({w for text in texts for w in text.split()})
    fast = word_tokenizer(words, special, types=False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(special) + len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=labels,
    )
    model = BertForSequenceClassification(config)
    tokens = fast(texts, padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        loss = model(**tokens, labels=torch.tensor(y)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def edited(path: Path, **changes: Any) -> None:
    """Change a JSON file; None takes a key out."""
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in found.items() if v is not None}))


def audited(*arguments: object) -> tuple[int, str, str]:
    """Run `safecompress audit` as a user does; return its exit code, stdout and stderr."""
    done = command("audit", *arguments)
    return done.returncode, done.stdout, done.stderr
