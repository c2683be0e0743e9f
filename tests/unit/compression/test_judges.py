"""Judges: models that label nothing, of which each row is judged by those that never saw it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress import compress
from safecompress.attacks.metric import Terms
from safecompress.candidate import Candidate
from safecompress.compression import judges as judging
from safecompress.compression.judges import references_of, train_judges
from safecompress.compression.pipeline import take_up
from safecompress.compression.prepare import prepare
from safecompress.compression.session import Session
from safecompress.compression.trainers import Trainers
from safecompress.config import dump_yaml, load_config
from safecompress.errors import ConfigError, RunFolderError
from safecompress.events import silent
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import Rows
from safecompress.run.folder import RunFolder, read_history
from safecompress.train import Trainer
from tests.small_runs import SETTINGS, TRAIN, brisk, make_model, result, splits

SOFT = {"proposals": ["set", {"soft-labels": {"mask": "rigl"}}]}
TEACHERS = {"folds": 2, "held_out": 1, "judges": 3}


def session_of(folder: Path, **teachers: Any) -> Session:
    config = load_config(SETTINGS | {"teachers": TEACHERS | teachers})
    prepared = prepare(config, make_model, splits())
    return take_up(prepared, RunFolder.create(folder, dump_yaml(prepared.config)), silent)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_row_is_judged_by_equally_many_models_that_never_saw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The figures are found again by asking the trained judges themselves."""
    session = session_of(tmp_path / "run", judges=count)
    trained: list[tuple[set[int], Trainer, Candidate]] = []
    train_to, steer = session.progress.train_to, session.splits.steer

    def kept(key: str, start: Candidate, steps: int, *, trainer: Trainer) -> Candidate:
        done = train_to(key, start, steps, trainer=trainer)
        trained.append((seen.pop(), trainer, done))
        return done

    def begun(self: Trainers, number: int, rows: Rows, *rest: Any, **more: Any) -> Trainer:
        seen.append(set(rows.ids.tolist()))
        return made(self, number, rows, *rest, **more)

    seen: list[set[int]] = []
    made = Trainers.teacher
    monkeypatch.setattr(Trainers, "teacher", begun)
    monkeypatch.setattr(session.progress, "train_to", kept)
    judges = train_judges(session)
    assert len(trained) == count
    for group in ("members", "nonmembers"):
        rows, said = getattr(steer, group), getattr(judges, group)
        assert said.log_odds.shape == (count // 2, len(rows))
        answers = [Terms.of(t.outputs(done, rows)) for _, t, done in trained]
        for place, row in enumerate(rows.ids.tolist()):
            strangers = {
                (float(a.odds[place]), float(a.entropy[place]))
                for a, (own, _, _) in zip(answers, trained, strict=True)
                if row not in own
            }
            figures = zip(said.log_odds[:, place], said.entropy[:, place], strict=True)
            heard = {(float(odds), float(entropy)) for odds, entropy in figures}
            assert len(heard) == count // 2
            assert heard <= strangers
    references = references_of(judges)
    assert not bool(references.members.seen.any())
    assert torch.equal(references.members.log_odds, judges.members.log_odds)


def test_judges_are_read_again_and_damaged_files_are_refused(tmp_path: Path) -> None:
    session = session_of(tmp_path / "run")
    first = train_judges(session)
    file = session.folder.path / judging.FOLDER / "judge-2-of-3.safetensors"
    before = file.read_bytes()
    again = train_judges(session)
    assert file.read_bytes() == before
    assert torch.equal(first.members.entropy, again.members.entropy)
    stored = dict(read_tensors(file))
    write_tensors(file, stored | {"members_ids": stored["members_ids"].flip(0)})
    with pytest.raises(RunFolderError, match="not this run's"):
        train_judges(session)


def test_judges_change_what_is_chosen_by_and_not_how_candidates_train(tmp_path: Path) -> None:
    """With judges the first round's candidates are the same, and `calibrated` asks the judges."""
    settings = SETTINGS | {"steer": SOFT | {"attacks": ["loss"]}, "baselines": []}
    settings["sparse"] = SETTINGS["sparse"] | {"rounds": 1}
    folds = {"folds": 2, "held_out": 1, "train": TRAIN}
    with brisk():
        for name, count in (("without", 0), ("with", 2)):
            teachers = folds | {"judges": count}
            config = settings | {"teachers": teachers}
            if count:
                more = {"attacks": ["loss"], "measures": [{"attack": {"attack": "six-numbers"}}]}
                config["steer"] = SOFT | more
            compress(make_model, splits(), config=config, out=tmp_path / name)
    plain, judged = (read_history(tmp_path / name) for name in ("without", "with"))
    assert [h["accuracy"] for h in plain] == [h["accuracy"] for h in judged]
    figures = [[h["measures"] for h in history] for history in (plain, judged)]
    assert [m["loss.auc"] for m in figures[0]] == [m["loss.auc"] for m in figures[1]]
    assert [m["calibrated.auc"] for m in figures[0]] != [m["calibrated.auc"] for m in figures[1]]
    assert all(0.5 < m["six-numbers.auc"] <= 1 for m in figures[1])  # the upper end
    assert "six-numbers.auc" not in figures[0][0]
    assert "judges" in json.loads((tmp_path / "with" / "provenance.json").read_text())["seconds"]
    teachers = [
        result(tmp_path / name)["models"]["dense.safetensors"] for name in ("without", "with")
    ]
    assert teachers[0] == teachers[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teachers": {"judges": 1}}, "expected at least 2, or 0 for none"),
        ({"steer": {"attacks": ["six-numbers"]}}, r"teachers\.judges: 2"),
        (
            {"steer": {"measures": [{"attack": {"attack": "six-numbers"}}]}},
            "six-numbers.auc needs judges",
        ),
    ],
)
def test_what_judges_need_is_refused_before_training(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare(load_config({"sparse": SETTINGS["sparse"]} | changes), make_model, splits())
