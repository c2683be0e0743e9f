"""DP-SGD: one row at a time, clipped, noise of the stated size, batches drawn row by row."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from safecompress.defenses import DpSgd, epsilon
from safecompress.errors import ConfigError
from safecompress.protocols import Batch, Rows, TrainingContext
from safecompress.train.batches import Batches
from tests.defended import CLASSES, CONFIG, MEMBERS, STEPS, built, network, toy, trainer

ROWS = 40


def prepared(module: nn.Module, *, stage: str = "train", **options) -> DpSgd:
    defense = DpSgd(**options)
    defense.prepare_(
        TrainingContext(
            CLASSES, STEPS, 0, None, module=module, rows=MEMBERS, batch_size=ROWS, stage=stage
        )
    )
    return defense


def gradients(module: nn.Module, rows: Rows, masks=None, step: int = 0, **options):
    seen = Batch(
        rows.inputs, rows.labels, rows.ids, rows.inputs, module, step, 0.0, masks=masks or {}
    )
    prepared(module, **options).before_step_(seen)
    return {n: p.grad.clone() for n, p in module.named_parameters()}


def one_by_one(module: nn.Module, rows: Rows, clip: float, masks=None):
    """The slow, literal transcription: a backward pass a row."""
    total = {n: torch.zeros_like(p) for n, p in module.named_parameters()}
    for i in range(len(rows)):
        module.zero_grad()
        cross_entropy(module(rows.inputs[i : i + 1]), rows.labels[i : i + 1]).backward()
        own = {n: p.grad.clone() for n, p in module.named_parameters()}
        for name, mask in (masks or {}).items():
            own[name] *= mask
        length = math.sqrt(sum(float(g.square().sum()) for g in own.values()))
        for name, g in own.items():
            total[name] += g * min(1.0, clip / length)
    return {n: g / ROWS for n, g in total.items()}


@pytest.mark.parametrize("clip", [0.1, 1.0, 1e6])
def test_without_noise_it_is_the_mean_of_clipped_gradients_of_rows(clip) -> None:
    rows = toy(0)["members"].take(torch.arange(ROWS))
    expected = one_by_one(network(0), rows, clip)
    found = gradients(network(0), rows, noise=0.0, clip=clip)
    assert all(torch.allclose(found[n], g, atol=1e-6) for n, g in expected.items())


def test_with_a_wide_clip_and_no_noise_it_is_the_ordinary_gradient() -> None:
    rows, module = toy(0)["members"].take(torch.arange(ROWS)), network(0)
    cross_entropy(module(rows.inputs), rows.labels).backward()
    ordinary = {n: p.grad.clone() for n, p in module.named_parameters()}
    found = gradients(module, rows, noise=0.0, clip=1e9)
    assert all(torch.allclose(found[n], g, atol=1e-6) for n, g in ordinary.items())


def test_code_that_decides_by_the_values_of_a_row_is_refused() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network(0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x if x.sum() > 0 else -x)

    rows = toy(0)["members"].take(torch.arange(ROWS))
    with pytest.raises(ConfigError, match="decides something by the values in a row"):
        gradients(Branches(), rows)


def test_only_weights_that_exist_count_for_the_length() -> None:
    rows = toy(0)["members"].take(torch.arange(ROWS))
    masks = {"0.weight": torch.rand(network(0)[0].weight.shape) < 0.1}
    expected = one_by_one(network(0), rows, 0.1, masks)
    found = gradients(network(0), rows, masks, noise=0.0, clip=0.1)
    assert all(torch.allclose(found[n], g, atol=1e-6) for n, g in expected.items())


def test_one_row_moves_the_sum_by_the_clip_at_most() -> None:
    """The sensitivity that the accountant supposes."""
    rows = toy(0)["members"]
    for left_out in range(5):
        some = rows.take(torch.arange(ROWS))
        fewer = some.take(torch.tensor([i for i in range(ROWS) if i != left_out]))
        one, other = (gradients(network(0), r, noise=0.0, clip=0.3) for r in (some, fewer))
        apart = math.sqrt(sum(float((one[n] - other[n]).square().sum()) for n in one)) * ROWS
        assert apart <= 0.3 + 1e-5


def test_the_noise_has_the_stated_size_and_differs_by_step_and_stage() -> None:
    rows, options = toy(0)["members"].take(torch.arange(ROWS)), {"clip": 0.5}
    bare = gradients(network(0), rows, noise=0.0, **options)

    def noise(**more):
        shaken = gradients(network(0), rows, noise=2.0, **options, **more)
        return torch.cat([(shaken[n] - bare[n]).flatten() for n in bare]) * ROWS

    first = noise()
    assert float(first.std()) == pytest.approx(2.0 * 0.5, rel=0.05)
    assert abs(float(first.mean())) < 0.1
    for other in (noise(step=1), noise(stage="dense")):
        assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 0.1
    assert torch.equal(first, noise())


def test_every_row_is_drawn_into_every_batch_on_its_own() -> None:
    batches = Batches(toy(0)["members"], CONFIG, seed=0, stage="train", device=torch.device("cpu"))
    batches.draw_alone_()
    drawn = [batches.at(s, memory_format=torch.contiguous_format) for s in range(2000)]
    sizes = torch.tensor([float(len(b.index)) for b in drawn])
    share = batches.size / MEMBERS
    assert float(sizes.mean()) == pytest.approx(batches.size, rel=0.02)
    assert float(sizes.std()) == pytest.approx(math.sqrt(MEMBERS * share * (1 - share)), rel=0.1)
    counts = torch.bincount(torch.cat([b.index for b in drawn]), minlength=MEMBERS) / len(drawn)
    assert float((counts - share).abs().max()) < 5 * math.sqrt(share * (1 - share) / len(drawn))
    again = batches.at(3, memory_format=torch.contiguous_format)
    assert torch.equal(again.index, drawn[3].index)
    assert all(len(b.index.unique()) == len(b.index) for b in drawn[:50])


def test_the_accountant_is_that_of_opacus() -> None:
    accountants = pytest.importorskip("opacus.accountants")
    by_steps = accountants.RDPAccountant()
    for _ in range(300):
        by_steps.step(noise_multiplier=1.1, sample_rate=0.05)
    assert epsilon([(1.1, 0.05, 300)], delta=1e-5) == pytest.approx(by_steps.get_epsilon(1e-5))
    both = epsilon([(1.1, 0.05, 100), (1.1, 0.05, 200)], delta=1e-5)
    assert both == pytest.approx(by_steps.get_epsilon(1e-5))


def test_more_steps_and_less_noise_promise_less() -> None:
    pytest.importorskip("opacus")
    base = epsilon([(1.0, 0.05, 100)], delta=1e-5)
    assert epsilon([(1.0, 0.05, 200)], delta=1e-5) > base
    assert epsilon([(2.0, 0.05, 100)], delta=1e-5) < base
    assert epsilon([(1.0, 0.1, 100)], delta=1e-5) > base
    assert epsilon([(1.0, 0.05, 100), (0.0, 0.05, 1)], delta=1e-5) == math.inf
    assert epsilon([], delta=1e-5) == 0.0


def test_what_has_no_gradient_of_a_single_row_is_refused() -> None:
    normalized = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    with pytest.raises(ConfigError, match="BatchNorm1d, which mixes the rows"):
        prepared(normalized)
    with pytest.raises(ConfigError, match="batch_size is 8"):
        trainer(0, [DpSgd()], batch_size=8)


def test_it_stands_alone() -> None:
    with pytest.raises(ConfigError, match="leave out ppb"):
        trainer(0, [DpSgd(), built("ppb")])
