"""What is claimed of rows is doubted where reference models contradict it, and only there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from safecompress.audit import audit
from safecompress.checks.reference_doubts import reference_doubts, seen_position
from safecompress.checks.reference_rows import ReferenceRows
from safecompress.protocols import Evidence, Pool, References
from tests.claimed_rows import Claim
from tests.recorded_outputs import saved, with_references
from tests.support import count

UNSEEN = "control: non-members that the model did not see"
LEARNING = "control: reference models that learn their rows"
HONEST = (
    Claim(),
    Claim(models=5),
    Claim(models=48, rows=120),
    Claim(leak=0.0),
    Claim(leak=0.2),
    Claim(memorizes=0.0),
    Claim(memorizes=0.3),
    Claim(sharpness=1.6),
    Claim(sharpness=0.5),
    Claim(leak=3.0, noise=0.2),
    Claim(sharpness=1.6, memorizes=0.0),
)
MISTAKEN = (
    Claim(members=0.5, nonmembers=0.5),
    Claim(members=0.5, nonmembers=0.5, sharpness=1.6),
    Claim(members=0.5, nonmembers=0.5, leak=3.0, models=8),
    Claim(nonmembers=1.0),
    Claim(nonmembers=1.0, models=8),
    Claim(nonmembers=1.0, sharpness=1.6),
    Claim(nonmembers=1.0, leak=3.0, rows=120, models=32),
)


def names(evidence: Pool[Evidence], **options: bool) -> list[str]:
    return [doubt.name for doubt in reference_doubts(evidence, **options)]


def rounds(few: int) -> range:
    return range(count(few, 400))


@pytest.mark.parametrize("claim", HONEST, ids=repr)
def test_what_is_true_is_seldom_doubted(claim: Claim) -> None:
    doubted = sum(bool(names(claim.drawn(seed))) for seed in rounds(12))
    assert doubted <= 0.01 * len(rounds(12))


@pytest.mark.parametrize("claim", MISTAKEN, ids=repr)
def test_non_members_that_the_model_saw_are_told(claim: Claim) -> None:
    found = [names(claim.drawn(seed)) for seed in rounds(6)]
    assert sum(UNSEEN in each for each in found) >= 0.8 * len(found)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 1.0])
def test_the_position_is_the_share_of_rows_that_the_model_saw(share: float) -> None:
    found = []
    for seed in rounds(6):
        drawn = Claim(rows=2000, nonmembers=share, noise=0.3).drawn(seed)
        position = seen_position(drawn.map(ReferenceRows.of))
        assert position is not None
        found.append(position)
    assert np.mean(found) == pytest.approx(share, abs=0.06)


def test_a_known_accuracy_settles_what_the_model_saw() -> None:
    drawn = MISTAKEN[3].drawn(0)
    assert names(drawn) == [UNSEEN]
    assert names(drawn, accuracy_known=True) == []


def test_nothing_is_said_without_references() -> None:
    drawn = MISTAKEN[3].drawn(0)
    assert names(drawn.map(lambda e: replace(e, references=None))) == []


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
def test_references_that_were_made_from_the_model_are_told(noise: float) -> None:
    def told(seed: int) -> bool:
        draw = torch.Generator().manual_seed(seed)

        def around(one: Evidence) -> Evidence:
            assert one.references is not None
            odds = one.outputs.logits[:, 0]
            near = odds + noise * torch.randn(16, len(odds), dtype=odds.dtype, generator=draw)
            return replace(one, references=References(near, one.references.seen))

        # Only references that did not see a row would show the leak.
        return LEARNING in names(Claim(memorizes=0.1).drawn(seed).map(around))

    # By chance one in twenty seems to know which rows it saw.
    assert sum(map(told, rounds(10))) >= 0.8 * len(rounds(10))


def test_rows_seen_in_another_order_are_told_where_the_model_is_surer_of_its_members() -> None:
    def told(seed: int) -> bool:
        def mixed(one: Evidence) -> Evidence:
            assert one.references is not None
            order = torch.randperm(len(one.outputs), generator=torch.Generator().manual_seed(seed))
            seen = one.references.seen[:, order]
            return replace(one, references=References(one.references.log_odds, seen))

        return LEARNING in names(Claim().drawn(seed).map(mixed))

    assert sum(map(told, rounds(10))) >= 0.8 * len(rounds(10))


def test_an_audit_of_another_split_is_not_decided(tmp_path: Path) -> None:
    found = with_references(300, leak=3.0)
    half = np.arange(300) % 2 == 0
    for part in ("logits", "labels", "reference_logits", "reference_seen"):
        one, other = found[f"member_{part}"], found[f"nonmember_{part}"]
        # The rows are the last axis but that of the classes.
        axis = 1 if part.startswith("reference") else 0
        both = [np.take(v, np.flatnonzero(w), axis) for w in (half, ~half) for v in (one, other)]
        found[f"member_{part}"] = np.concatenate(both[:2], axis)
        found[f"nonmember_{part}"] = np.concatenate(both[2:], axis)
    verdict = audit(saved(tmp_path, found), progress=False).verdict
    assert verdict.status == "INCONCLUSIVE"
    assert "the same split and seed" in next(c.advice for c in verdict.checks if c.name == UNSEEN)
