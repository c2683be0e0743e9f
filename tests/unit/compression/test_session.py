"""A run: its notes, trainers made from what they are given, modules of candidates."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safecompress import load_config
from safecompress.candidate import Candidate
from safecompress.compression.notes import Notes
from safecompress.compression.pipeline import take_up
from safecompress.compression.prepare import prepare
from safecompress.compression.session import Session
from safecompress.compression.teacher_outputs import TeacherOutputs
from safecompress.config import dump_yaml
from safecompress.errors import ConfigError
from safecompress.events import silent
from safecompress.protocols import Pool, References
from safecompress.run.folder import RunFolder
from safecompress.train import Arithmetic
from safecompress.transforms import Transforms
from tests.small_runs import SETTINGS, make_model, splits
from tests.support import count

scores = st.one_of(st.floats(allow_nan=True), st.just(-math.inf))
noted = st.builds(
    Notes,
    seconds=st.dictionaries(st.text(max_size=5), st.floats(0, 1e6)),
    saved=st.lists(st.text(max_size=5)).map(tuple),
    settings=st.dictionaries(
        st.sampled_from(["dense", "sparse", "teachers"]),
        st.builds(Arithmetic, precision=st.sampled_from(["32-true", "bf16-mixed"])),
    ),
    best_score=st.one_of(st.none(), st.floats(-10, 10)),
    rounds_without_gain=st.integers(0, 9),
)


@given(notes=noted)
@settings(max_examples=count(50, 1000))
def test_notes_come_back_from_a_checkpoint_as_they_were(notes: Notes) -> None:
    stored = json.loads(json.dumps(notes.to_json(), allow_nan=False))
    assert Notes.from_json(stored) == notes


@given(given_scores=st.lists(scores, min_size=1, max_size=8))
@settings(max_examples=count(100, 2000))
def test_rounds_without_gain_are_those_since_the_best_score(given_scores: list[float]) -> None:
    notes = Notes()
    best: float | None = None
    waiting = 0
    for score in given_scores:
        notes = notes.with_score(score)
        if best is None or score > best:
            best, waiting = score if math.isfinite(score) else None, 0
        else:
            waiting += 1
        assert (notes.best_score, notes.rounds_without_gain) == (best, waiting)
        json.dumps(notes.to_json(), allow_nan=False)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    config = load_config(SETTINGS)
    prepared = prepare(config, make_model, splits())
    return take_up(prepared, RunFolder.create(tmp_path / "run", dump_yaml(config)), silent)


def test_a_session_cannot_be_changed(session: Session) -> None:
    with pytest.raises(FrozenInstanceError):
        session.module = nn.Identity()  # type: ignore[misc]


def candidates(session: Session) -> list[Candidate]:
    """Return candidates of other weights, masks and transforms."""
    trainer = session.trainers.plain()
    start = trainer.start(weights=session.initial)
    other = trainer.train(start, 3)
    rounded = other.evolve(transforms=Transforms(bits=4, activations=True))
    return [start, other, trainer.train(rounded, 2)]


def outputs(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(inputs)
    return found


def test_a_module_holds_its_candidate_whatever_was_asked_before_and_after(
    session: Session,
) -> None:
    trainer, rows = session.trainers.plain(), session.splits.steer.nonmembers
    each = candidates(session)
    assert isinstance(rows.inputs, torch.Tensor)
    for candidate in each:
        for before in each:
            for after in each:
                trainer.outputs(before, rows)
                module = trainer.module_of(candidate)
                trainer.outputs(after, rows)
                logits = outputs(module, rows.inputs)
                assert torch.equal(logits, trainer.outputs(candidate, rows).logits)
                assert not module.training
    modules = [trainer.module_of(c) for c in each]
    with torch.no_grad():
        for parameter in modules[0].parameters():
            parameter.fill_(torch.nan)
    assert all(bool(p.isfinite().all()) for p in session.module.parameters())


def test_a_start_holds_the_weights_it_is_given_whatever_is_in_the_module(session: Session) -> None:
    trainer = session.trainers.plain()
    wanted = trainer.start(weights=session.initial).tensors()
    for candidate in candidates(session):
        trainer.load_(candidate)
        found = trainer.start(weights=session.initial).tensors()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_trainer_knows_what_it_is_given_and_no_more(session: Session) -> None:
    """Soft labels that one trainer was given do not reach another of the same job."""
    steps: dict[str, Any] = {"weights": session.initial}
    labels = torch.full((len(session.splits.members), session.splits.classes), 1 / 3)
    nothing = References(torch.zeros(1, 1).double(), torch.zeros(1, 1, dtype=torch.bool))
    without = session.trainers.search(None, taught=None)
    soft = session.trainers.search(None, taught=TeacherOutputs(labels, Pool(nothing, nothing)))
    start = soft.start(**steps)
    target = start.evolve(soft_target=type(start.soft_target)(1.0, 1.0))
    assert soft.train(target, 1).step == 1
    with pytest.raises(ConfigError, match="given none"):
        without.train(target, 1)
    assert session.trainers.plain() is session.trainers.plain()
