"""Batches as a function of (seed, stage, step): noise on the inputs, rows of a transfer set."""

from __future__ import annotations

import pytest
import torch

from safecompress.candidate import SoftTarget
from safecompress.config import TrainConfig
from safecompress.protocols import Rows, TrainingContext
from safecompress.train import TransferSet
from safecompress.train.batches import Batches
from safecompress.train.loss import TrainingLoss


def rows(n=400, d=5):
    x = torch.arange(n * d, dtype=torch.float32).view(n, d)
    return Rows(x, torch.arange(n) % 3, torch.arange(n))


def batches(data=None, *, seed=0, **changes):
    config = TrainConfig(batch_size=100, **changes)
    return Batches(data or rows(), config, seed=seed, stage="s", device=torch.device("cpu"))


def at(made, step):
    return made.at(step, memory_format=torch.contiguous_format)


def test_noise_has_its_spread_and_leaves_rows_and_their_order_alone():
    plain, noisy = at(batches(), 3), at(batches(noise=0.5), 3)
    assert torch.equal(plain.index, noisy.index)
    added = (noisy.inputs - plain.inputs).flatten()
    # 500 draws of spread .5: their mean lies within .1 and their spread within .08, five errors.
    assert abs(float(added.mean())) < 0.12
    assert abs(float(added.std()) - 0.5) < 0.08


def test_noise_is_drawn_anew_in_every_step_and_alike_in_a_repetition():
    data = rows(100)
    first, again, later = (at(batches(data, noise=0.5), step) for step in (0, 0, 1))
    assert torch.equal(first.inputs, again.inputs)
    order = later.index.argsort()[first.index.argsort().argsort()]
    assert torch.equal(first.index, later.index[order])
    assert not torch.equal(first.inputs, later.inputs[order])


def test_whole_numbers_bear_no_noise():
    data = rows(100)
    whole = Rows(data.inputs.long(), data.labels, data.ids)
    assert torch.equal(at(batches(whole, noise=1.0), 0).inputs, at(batches(whole), 0).inputs)


def extra(n=50, d=5, *, share):
    labels = torch.eye(3)[torch.arange(n) % 3] * 0.7 + 0.1
    return TransferSet(-torch.ones(n, d), labels, share)


def test_a_transfer_set_takes_its_share_of_places_and_changes_nothing_else():
    config, device = TrainConfig(batch_size=100, epochs=5), torch.device("cpu")
    made = Batches(rows(), config, seed=0, stage="s", device=device, transfer=extra(share=0.3))
    plain = batches(epochs=5)
    assert (made.steps_per_epoch, made.total_steps) == (plain.steps_per_epoch, plain.total_steps)
    taken = 0
    for step in range(made.total_steps):
        own, mixed = at(plain, step), at(made, step)
        extras = mixed.index >= len(rows())
        assert torch.equal(mixed.index[~extras], own.index[~extras])
        assert torch.equal(mixed.inputs[~extras], own.inputs[~extras])
        assert bool((mixed.inputs[extras] == -1).all())
        assert bool((mixed.ids[extras] < 0).all())
        taken += int(extras.sum())
    # 2,000 places: five standard errors of the share .3 are .051.
    assert abs(taken / (100 * made.total_steps) - 0.3) < 0.051


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_only_members_have_a_hard_label(share):
    """The target of a row of the set is its soft label, whatever the candidate's share of those."""
    given = extra(share=0.5)
    members = torch.full((400, 3), 1 / 3)
    context = TrainingContext(classes=3, steps=4, seed=0, reference=None, rows=400)
    loss = TrainingLoss((), context, soft_labels=members, transfer=given)
    made = Batches(
        rows(),
        TrainConfig(batch_size=100),
        seed=0,
        stage="s",
        device=context.device,
        transfer=given,
    )
    batch = at(made, 0)
    targets = loss.targets(batch, SoftTarget(share, 1.0))
    extras = batch.index >= 400
    assert 0 < int(extras.sum()) < 100
    assert torch.allclose(targets[extras], given.soft_labels[batch.index[extras] - 400])
    hard = torch.nn.functional.one_hot(batch.labels[~extras], 3)
    assert torch.allclose(targets[~extras], share / 3 + (1 - share) * hard)
    assert torch.allclose(targets.sum(1), torch.ones(100))
