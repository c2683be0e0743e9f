"""Text classifiers go through a whole run: attacked, loaded, exported, audited, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress import audit, compress, load, load_preprocessor, splits_from_arrays
from safecompress.checks.check import Status
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.plan import CohortPlan, every_row
from safecompress.compress import Run
from safecompress.compression.model_source import source_module
from safecompress.compression.prepare import prepare
from safecompress.config import load_config
from safecompress.errors import MembershipError, ModelError
from safecompress.events import Event
from safecompress.models.words import Words, words_of
from safecompress.run.folder import HISTORY, MODEL, VERDICT
from safecompress.run.model_file import read_model
from tests.commands import command
from tests.programs import answers
from tests.text_folders import (
    MASK,
    PAD,
    SEPARATOR,
    START,
    encoder_folder,
    labeled_texts,
    written_csv,
)

transformers = pytest.importorskip("transformers", reason="needs safecompress[transformers]")
TRAIN = {
    "epochs": 4,
    "batch_size": 20,
    "optimizer": "adamw",
    "lr": 0.01,
    "precision": "32-true",
}
CHECKS = {"checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]}


def settings(folder: Path, table: Path, **changes: Any) -> dict[str, Any]:
    return {
        "data": {
            "source": {"source": "csv", "path": str(table)},
            "preprocessing": {"tokenizer": str(folder), "max_length": 12},
        },
        "model": {"name": "hugging_face", "options": {"folder": str(folder)}},
        "dense": TRAIN,
        "sparse": {"density": 0.4, "rounds": 1, "train": TRAIN},
        "steer": {"proposals": ["rigl", "student"], "attacks": ["loss", "white-box"]},
        "teachers": {"folds": 2, "held_out": 1},
        "baselines": [],
        "verdict": CHECKS,
        "engine": {"threads": 1, "checkpoint_seconds": 0},
    } | changes


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts, labels = labeled_texts(120)
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    return written_csv(path, {"text": texts, "label": labels})


@pytest.fixture(scope="module")
def run(text_folder: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = settings(text_folder, table, shadows={"count": 4, "workers": 1})
    # What shadow models train with has to know the tokens, too.
    config["dense"] = TRAIN | {"augment": "mask-words", "decay": "weights", "layer_decay": 0.9}
    config["sparse"]["train"] = TRAIN | {"augment": "drop-words", "decay": "weights"}
    config["verdict"] = {"checks": [*CHECKS["checks"]]}
    attack = {"measure": {"attack": {"attack": "rmia"}}, "condition": {"at_most": 0.95}}
    config["verdict"]["checks"].append(attack)
    return compress(config=config, out=tmp_path_factory.mktemp("run") / "run")


def test_it_ends_in_a_verdict_with_shadow_models_and_a_report(run: Run) -> None:
    said = json.loads((run.folder / VERDICT).read_text())
    assert "4 shadow models" in said["scope"]
    assert {"loss.auc ≤ 0.9", "rmia.auc ≤ 0.95"} <= {c["name"] for c in said["checks"]}
    assert not [c for c in said["checks"] if c["status"] == "ERROR"]
    assert said["model"]["density"] == pytest.approx(0.4, abs=0.001)
    assert (run.folder / "report.html").is_file()
    lines = [json.loads(line) for line in (run.folder / HISTORY).read_text().splitlines()]
    assert any("white-box" in json.dumps(line) for line in lines)


def test_masks_hold_and_tables_of_places_are_dense(run: Run) -> None:
    stored = read_model(run.folder / MODEL)
    for name, mask in stored.topology.masks.items():
        assert not stored.weights[name].masked_fill(mask, 0.0).any(), name
    assert not [n for n in stored.topology.masks if "position" in n]


def test_a_new_process_loads_it_and_reads_new_texts_alike(run: Run, tmp_path: Path) -> None:
    texts, _ = labeled_texts(30, seed=9)
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    done = command(run.folder, tmp_path / "texts.json", program=answers)
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        right = run.model(load_preprocessor(run.folder).apply(texts))
    assert torch.allclose(torch.tensor(json.loads(done.stdout)), right, atol=1e-6)


@pytest.mark.parametrize("name", ["onnx", "onnx-sparse-int8-dynamic", "safetensors-int8"])
def test_it_is_exported_and_judged_again(run: Run, tmp_path: Path, name: str) -> None:
    if name.startswith("onnx"):
        pytest.importorskip("onnxscript", reason="needs the extra safecompress[export]")
    written = run.export(tmp_path / "model.bin", format=name)
    assert written.path is not None
    by_name = {check.name: check.status for check in written.checks}
    assert by_name
    assert Status.ERROR not in by_name.values(), by_name


def test_an_audit_judges_the_run_again(run: Run) -> None:
    said = audit(run.folder, time_budget=5)
    assert said.verdict.status is not Status.ERROR
    assert {"loss", "white-box"} & {check.attack for check in said.verdict.checks}


def test_a_cohort_opened_in_another_process_knows_the_tokens(
    text_folder: Path, tmp_path: Path
) -> None:
    texts, labels = labeled_texts(60)
    splits = splits_from_arrays(
        (texts, ["word1"] * 60),
        labels,
        preprocessing={"tokenizer": str(text_folder), "max_length": 16},
        seed=0,
    )
    recipe = load_config({"sparse": {"density": 0.5, "train": TRAIN}})
    rows = every_row(splits)
    plan = CohortPlan(recipe, rows, splits.class_names, members=20, tokens=splits.tokens)
    Cohort.begin(tmp_path / "cohort", plan)
    again = Cohort.open(tmp_path / "cohort").plan
    assert again.key == plan.key
    assert again.splits(0).tokens == splits.tokens is not None
    module, _ = source_module(
        recipe, lambda: transformers.BertForSequenceClassification(_tiny()), again.splits(0)
    )
    assert int(module.separator) == SEPARATOR
    assert words_of(module) == Words(PAD, (PAD, START, SEPARATOR, MASK), MASK)


def _tiny() -> Any:
    return transformers.BertConfig(
        vocab_size=45,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )


def test_teachers_start_from_the_encoder_with_heads_of_their_own(
    text_folder: Path, table: Path
) -> None:
    prepared = prepare(load_config(settings(text_folder, table)))
    encoder = transformers.AutoModel.from_pretrained(text_folder).state_dict()
    first, second = prepared.fresh(0), prepared.fresh(1)
    for name, tensor in encoder.items():
        for weights in (first, second, prepared.initial):
            assert torch.equal(weights[f"model.bert.{name}"], tensor), name
    head = "model.classifier.weight"
    assert not torch.equal(first[head], second[head])


def test_given_weights_are_trained_and_their_teachers_start_from_the_encoder(
    text_folder: Path, table: Path, tmp_path: Path
) -> None:
    trained = encoder_folder(tmp_path / "trained", classes=2, seed=5)
    config = settings(text_folder, table, dense=None)
    config["data"]["split"] = {"membership": "unseen"}
    config["model"]["weights"] = str(trained / "model.safetensors")
    prepared = prepare(load_config(config))
    assert prepared.trained
    stored = transformers.AutoModelForSequenceClassification.from_pretrained(trained).state_dict()
    encoder = transformers.AutoModel.from_pretrained(text_folder).state_dict()
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(prepared.initial[f"model.bert.{name}"], stored[f"bert.{name}"])
    assert torch.equal(prepared.fresh(0)[f"model.bert.{name}"], encoder[name])
    config["data"]["split"] = {}
    with pytest.raises(MembershipError):
        prepare(load_config(config))


def test_stopped_and_resumed_it_ends_in_the_same_bits(
    text_folder: Path, table: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    config = settings(text_folder, table, steer={"proposals": ["rigl", "set"], "attacks": ["loss"]})
    alone = compress(config=config, out=tmp_path / "alone")

    def stop(event: Event) -> None:
        if event.kind == "candidate":
            raise Stopped

    with pytest.raises(Stopped):
        compress(config=config, out=tmp_path / "r", on_event=stop)
    again = compress(resume=tmp_path / "r")
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_a_trained_object_is_compressed_and_loaded_in_its_architecture(
    table: Path, tmp_path: Path
) -> None:
    folder = encoder_folder(tmp_path / "trained", classes=2)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    texts, labels = labeled_texts(120)
    splits = splits_from_arrays(
        texts,
        labels,
        split={"membership": "unseen"},
        preprocessing={"tokenizer": str(folder)},
        weights_given=True,
        seed=0,
    )
    config = settings(folder, table, steer={"proposals": ["rigl"], "attacks": ["loss"]})
    rest = {k: v for k, v in config.items() if k not in {"data", "model", "dense"}}
    run = compress(model, splits, config=rest, out=tmp_path / "r")
    rows = run.splits.steer.members.inputs
    again = load(tmp_path / "r", model=lambda: type(model)(model.config))
    with torch.inference_mode():
        assert torch.equal(again(rows), run.model(rows))
    assert json.loads((tmp_path / "r" / VERDICT).read_text())["model"]["name"] == (
        "BertForSequenceClassification"
    )


def test_rows_that_are_too_long_for_the_model_are_refused_before_training(
    text_folder: Path, table: Path, tmp_path: Path
) -> None:
    short = encoder_folder(tmp_path / "short")
    config = json.loads((short / "config.json").read_text()) | {"max_position_embeddings": 8}
    (short / "config.json").write_text(json.dumps(config))
    changed = settings(text_folder, table)
    changed["model"] = {
        "name": "hugging_face",
        "options": {"folder": str(short), "start": "nothing"},
    }
    with pytest.raises(ModelError, match="rows have 12 tokens and the model takes 8"):
        compress(config=changed, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
