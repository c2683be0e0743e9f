"""Batches as a function of (seed, stage, step): noise on the inputs."""

from __future__ import annotations

import torch

from safecompress.config import TrainConfig
from safecompress.protocols import Rows
from safecompress.train.batches import Batches


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
