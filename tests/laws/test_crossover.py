"""Crossovers: every value is a parent's, parents share a fold, and labels are of strangers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.compression.teacher_folds import folds_of, held_out
from safecompress.compression.transfer_rows import TransferRows
from safecompress.config import load_config
from safecompress.data.crossover import crossed, partners
from safecompress.errors import ConfigError
from safecompress.randomness import generator
from safecompress.train import TransferSet
from tests.small_runs import SETTINGS, splits
from tests.support import count

SHAPES = [(7,), (1,), (5, 4), (3, 6, 5), (1, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
@settings(max_examples=count(20, 1000), deadline=None)
def test_every_value_is_that_of_one_of_the_parents(shape, seed, n):
    draw = generator(seed, "values")
    first, second = (torch.randn(n, *shape, generator=draw) for _ in range(2))
    mixed = crossed(first, second, generator(seed, "mix"))
    assert bool(((mixed == first) | (mixed == second)).all())
    assert torch.equal(mixed, crossed(first, second, generator(seed, "mix")))


def test_tables_take_half_of_either_parent_and_images_one_box():
    zeros, ones = torch.zeros(400, 50), torch.ones(400, 50)
    share = crossed(zeros, ones, generator(0, "mix")).mean()
    # 20,000 fair coins: five standard errors are .018.
    assert abs(float(share) - 0.5) < 0.018
    zeros, ones = torch.zeros(300, 3, 12, 9), torch.ones(300, 3, 12, 9)
    boxes = crossed(zeros, ones, generator(0, "mix"))
    assert bool((boxes == boxes[:, :1]).all())
    inside = boxes[:, 0]
    rows, columns = inside.amax(2), inside.amax(1)
    assert torch.equal(inside, rows.unsqueeze(2) * columns.unsqueeze(1))
    for line in (rows, columns):
        # One run of ones: between neighbors there is at most one rise, edges included.
        padded = torch.nn.functional.pad(line, (1, 0))
        assert bool(((padded.diff(dim=1) > 0).sum(1) <= 1).all())
    assert 0.1 < float(inside.mean()) < 0.5


@given(
    folds=st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=count(100, 5000), deadline=None)
def test_a_partner_is_another_row_of_the_fold_where_there_is_one(folds, seed):
    found = partners(folds, generator(seed, "partners"))
    assert torch.equal(folds[found], folds)
    alone = torch.bincount(folds, minlength=5)[folds] == 1
    assert torch.equal(found == torch.arange(len(folds)), alone)


def asked(seed=0, *, folds=5, left_out=2, **transfer):
    teachers = {"folds": folds, "held_out": left_out, "transfer_set": transfer}
    return load_config(SETTINGS | {"teachers": teachers, "seed": seed})


@pytest.mark.parametrize(("folds", "left_out"), [(2, 1), (5, 2), (7, 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_parents_share_a_fold_and_only_teachers_that_saw_neither_label(folds, left_out, seed):
    config = asked(seed, folds=folds, left_out=left_out, crossovers=3)
    members = splits().members
    made = TransferRows.of(config, splits())
    fold = folds_of(members, config.teachers, seed=seed)
    assert len(made.crossovers) == len(made.first) == 3 * len(members)
    assert torch.equal(fold[made.first], fold[made.second])
    mixed, first, second = (
        made.crossovers.inputs,
        members.inputs[made.first],
        members.inputs[made.second],
    )
    assert bool(((mixed == first) | (mixed == second)).all())
    again = TransferRows.of(config, splits())
    assert torch.equal(mixed, again.crossovers.inputs)
    unseen = held_out(members, config.teachers, seed=seed)
    # Each teacher answers with its own number, so that a label tells exactly who gave it.
    answers, votes = [], torch.eye(folds)
    for number, rows in enumerate(unseen):
        asked_about = int(made.unseen(rows).sum())
        said = {"crossovers": votes[number].expand(asked_about, -1)}
        answers.append(said | {"reference": votes[number].expand(0, -1)})
    labels = made.labeled(answers, unseen, share=0.5).soft_labels
    gave = labels > 0
    assert torch.equal(gave, (unseen[:, made.first] & unseen[:, made.second]).T)
    assert bool((gave.sum(1) == left_out).all())


def test_reference_rows_are_labeled_by_the_mean_of_all_teachers():
    data = splits()
    config = asked(crossovers=0, reference=True)
    with pytest.raises(ConfigError, match=r"no reference rows; set data\.split\.reference"):
        TransferRows.of(config, data)
    steer = data.steer
    aside = replace(steer, nonmembers=steer.nonmembers.take(torch.arange(5)))
    reference = steer.nonmembers.take(torch.arange(5, len(steer.nonmembers)))
    given_rows = replace(data, steer=aside, reference=reference)
    made = TransferRows.of(config, given_rows)
    n, unseen = len(given_rows.reference), held_out(data.members, config.teachers, seed=0)
    answers = [
        {"crossovers": torch.zeros(0, 5), "reference": row.expand(n, -1)} for row in torch.eye(5)
    ]
    labeled = made.labeled(answers, unseen, share=1.0)
    assert torch.equal(labeled.inputs, given_rows.reference.inputs)
    assert torch.allclose(labeled.soft_labels, torch.full((n, 5), 0.2))


def test_a_set_without_rows_is_refused():
    with pytest.raises(ConfigError, match="leave the set empty"):
        asked(crossovers=0)


@given(
    share=st.floats(0.01, 1.0),
    own=st.integers(1, 50),
    extra=st.integers(1, 50),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=count(100, 2000), deadline=None)
def test_a_place_keeps_its_row_or_goes_to_the_set(share, own, extra, seed):
    made = TransferSet(torch.zeros(extra, 2), torch.full((extra, 3), 1 / 3), share)
    index = torch.randint(own, (64,), generator=generator(seed, "index"))
    placed = made.placed(index, own=own, source=generator(seed, "places"))
    assert bool(((placed == index) | ((placed >= own) & (placed < own + extra))).all())
    assert share < 1 or bool((placed >= own).all())
