"""A pair of Hugging Face classifiers from their folders, attacked in embeddings."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from safecompress.audit import Limits, audit
from safecompress.checks import QuerySavingMeasure, Subject, TransferRate
from safecompress.errors import UndecidableError, UsageError
from safecompress.protocols import Evidence, Pool
from safecompress.targets import open_target, rows_for
from safecompress.train.predict import predict
from tests.pairs import brisk_pairs
from tests.recorded_outputs import code, run
from tests.support import count
from tests.target_files import sentences, text_classifier

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

DATA = (sentences(200, seed=0), sentences(200, seed=1))
FEW = (sentences(60, seed=0), sentences(60, seed=1))
LIMITS = Limits(max_auc=0.99, max_transfer=0.01)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    return text_classifier(tmp_path_factory.mktemp("full") / "classifier")


@pytest.fixture(scope="module")
def small(full, tmp_path_factory) -> Path:
    """A copy in 16 steps a weight."""
    folder = Path(shutil.copytree(full, tmp_path_factory.mktemp("small") / "classifier"))
    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and bool(tensor.any()):
            step = tensor.abs().max() / 16
            weights[name] = (tensor / step).round() * step
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def changed(folder: Path, target: Path, change) -> Path:
    """Return a copy of a folder whose weights were changed."""
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rows")
    paths = [folder / "members.csv", folder / "nonmembers.csv"]
    for path, (text, labels) in zip(paths, FEW, strict=True):
        with path.open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["text", "label"])
            writer.writerows(zip(text, labels, strict=True))
    return paths


def test_a_pair_of_folders_is_measured_from_the_command_line(full, small, tables, tmp_path):
    before = (full / "model.safetensors").read_bytes()
    out = tmp_path / "out"
    options = ("--max-auc", "0.99", "--set", "limits.max_transfer=0.01", "--out", out)
    with brisk_pairs():
        told = run(small, "--data", *tables, "--text", "text", "--against", full, *options)
    assert code(told) == 1, told.output
    document = json.loads((out / "verdict.json").read_text())
    named = {c["name"].split()[0]: c for c in document["checks"]}
    assert named["transfer-l2.rate"]["status"] == "FAIL"
    assert named["transfer-l2.rate"]["value"] > 0.2
    assert "query-saving-l2.ratio" not in named
    alike = document["against"]["similarity"]
    assert alike["gradients"]["low"] > 0.9
    assert alike["features"]["low"] > 0.9
    assert "the full model's table" in document["scope"]
    page = (out / "report.html").read_text()
    assert "of the mean length of a token" in page
    assert (full / "model.safetensors").read_bytes() == before


def subject(full: Path, small: Path) -> Subject:
    ours, theirs = open_target(small), open_target(full)
    rows = rows_for(ours, DATA, seed=0)
    held = rows.map(
        lambda r: Evidence(
            predict(ours.model, r), rows=r, target=ours.model, parent_target=theirs.model
        )
    )
    return Subject.of(Pool(held.members, held.nonmembers), name="small", density=None, seed=0)


def test_the_measures_take_text(full, small):
    s = subject(full, small)
    # So few rows go through a model at once.
    measure = TransferRate(norm="l2", radius=0.5, rows=count(24, 40), epochs=1)
    pair, found = measure.attacked(s)
    assert pair.text
    assert found.rate(level=0.95).value > 0.2
    assert not found.masked
    assert any("copy" in name for name in found.fooled)
    with pytest.raises(UndecidableError, match="questions are asked in tokens"):
        QuerySavingMeasure(norm="l2").estimate(s, level=0.95)


def test_a_stranger_with_other_embeddings_is_refused(full, small, tmp_path):
    def shuffled(weights):
        table = weights["bert.embeddings.word_embeddings.weight"]
        order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0))
        weights["bert.embeddings.word_embeddings.weight"] = table[order]

    other = changed(full, tmp_path / "other", shuffled)
    with pytest.raises(UsageError, match="no better than guessing") as caught:
        audit(small, DATA, against=other, limits=LIMITS)
    assert "embed them in other numbers" in str(caught.value)
    assert "can still be compared" in str(caught.value)


def test_another_tokenizer_is_refused(full, small, tmp_path):
    other = Path(shutil.copytree(full, tmp_path / "other"))
    file = other / "tokenizer.json"
    found = json.loads(file.read_text())
    words = found["model"]["vocab"]
    words["word3"], words["word4"] = words["word4"], words["word3"]
    file.write_text(json.dumps(found))
    with pytest.raises(UsageError, match="the same texts into other tokens"):
        audit(small, DATA, against=other, limits=LIMITS)


def test_another_width_is_refused_with_what_can_still_be_measured(full, small):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=44, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=2
    )
    with pytest.raises(
        UsageError, match="embeds 44 tokens in 16 numbers, the small one 44 in 32"
    ) as e:
        audit(small, DATA, against=BertForSequenceClassification(config), limits=LIMITS)
    for left in ("label agreement", "Jensen–Shannon", "linear CKA"):
        assert left in str(e.value)


def test_a_full_model_without_embeddings_is_refused(small):
    def says(input_ids, attention_mask):
        return torch.nn.functional.one_hot(input_ids[:, 1] % 2, 2).float()

    with pytest.raises(UsageError, match="the full model puts its tokens into no embedding layers"):
        audit(small, DATA, against=says, limits=LIMITS)
