"""Unpairing: its terms, what it leaves alone, and that it pulls gradients apart."""

from __future__ import annotations

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from safecompress.checks.similarity import similarity
from safecompress.config import EngineConfig, TrainConfig
from safecompress.defenses.unpair_finished import unpaired as unpaired_within
from safecompress.defenses.unpairing import Unpairing
from safecompress.errors import ConfigError
from safecompress.proposals import PROPOSALS
from safecompress.protocols import Batch, ProposalContext, Rows, TrainingContext
from safecompress.randomness import generator
from safecompress.topology import Topology
from safecompress.train import Trainer, quantize_after_training
from safecompress.train.batches import Step
from safecompress.train.loss import TrainingLoss
from safecompress.transforms import Transforms, codes, input_quantizers, quantized, weight_scale

CPU = EngineConfig(accelerator="cpu")
PLAIN = {"precision": "32-true", "memory_format": "contiguous"}


def rows(n=200, *, seed=1):
    """Return rows of three patterns that every column shows a little of: many models are right."""
    patterns = torch.randn(3, 30, generator=torch.Generator().manual_seed(8))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=draw)
    x = 0.7 * patterns[labels] + torch.randn(n, 30, generator=draw)
    return Rows(x, labels, torch.arange(n))


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(30, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 3))


def trainer(module, *, defenses=(), dense=None, epochs=20, **options):
    config = TrainConfig(epochs=epochs, batch_size=20, lr=0.1, **PLAIN)
    return Trainer(
        module, rows(), config, seed=0, engine=CPU, defenses=defenses, dense=dense, **options
    )


def trained(seed=0):
    module = net(seed)
    made = trainer(module)
    made.load_(made.train(made.start(), made.total_steps))
    return module.eval()


def unpaired(small, dense, weight, *, topology=None, alpha=1.0):
    module = copy.deepcopy(small)
    made = trainer(module, defenses=[Unpairing(weight=weight, alpha=alpha)], dense=dense)
    start = made.start(topology)
    end = made.train(start, made.total_steps)
    made.load_(end)
    return module.eval(), end


def masks(module, share=0.5):
    draw = torch.Generator().manual_seed(4)
    return Topology(
        {n: torch.rand(m.shape, generator=draw) < share for n, m in masks_of(module).items()}
    )


def masks_of(module):
    return Topology.dense(module).masks


def test_gradients_are_pulled_apart_and_accuracy_stays():
    dense = trained()
    test = rows(300, seed=2)
    before = similarity(dense, copy.deepcopy(dense), test.inputs, test.labels, level=0.95, seed=0)
    small, _ = unpaired(dense, dense, 5.0)
    after = similarity(dense, small, test.inputs, test.labels, level=0.95, seed=0)
    assert before.gradients.value == pytest.approx(1, abs=1e-6)
    assert after.gradients.high < 0.5
    assert after.agreement.value > 0.75


def test_a_larger_weight_pulls_farther():
    dense, test = trained(), rows(300, seed=2)
    cosines = []
    for weight in (0.0, 0.5, 5.0):
        small, _ = unpaired(dense, dense, weight)
        found = similarity(dense, small, test.inputs, test.labels, level=0.95, seed=0)
        cosines.append(abs(found.gradients.value))
    assert cosines[0] > cosines[1] > cosines[2]


def test_a_quantized_stage_that_is_cut_goes_on_from_the_same_teacher():
    """Whose inputs are rounded in the ranges of the step at which unpairing began, not of now."""
    dense = trained()

    def made():
        module = copy.deepcopy(dense)
        return trainer(module, defenses=[Unpairing(weight=1.0)], dense=dense)

    whole, first = made(), made()
    begun = whole.start().evolve(transforms=Transforms(4, activations=True))
    straight = whole.train(begun, 40)
    half = first.train(first.start().evolve(transforms=Transforms(4, activations=True)), 13)
    resumed = made().train(half, 27)
    assert straight.tensors().keys() == resumed.tensors().keys()
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


def test_the_mask_is_kept_and_the_dense_model_untouched():
    dense = trained()
    state = copy.deepcopy(dense.state_dict())
    topology = masks(dense)
    small, end = unpaired(dense, dense, 1.0, topology=topology)
    assert end.topology is topology
    for name, mask in topology.masks.items():
        weight = dict(small.named_parameters())[name]
        assert (weight[~mask] == 0).all()
        assert (weight[mask] != 0).any()
    assert all(torch.equal(state[k], v) for k, v in dense.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in dense.parameters())


def test_a_weight_of_zero_changes_no_bit():
    dense = trained()
    small = net(3)
    plain = trainer(copy.deepcopy(small))
    wanted = plain.train(plain.start(), 10).weights
    held = trainer(copy.deepcopy(small), defenses=[Unpairing(weight=0)], dense=dense)
    found = held.train(held.start(), 10).weights
    assert all(torch.equal(wanted[k], found[k]) for k in wanted)


def test_training_in_two_pieces_changes_no_bit():
    dense = trained()
    made = trainer(copy.deepcopy(dense), defenses=[Unpairing(weight=0.5)], dense=dense)
    start = made.start()
    whole = made.train(start, 12)
    pieces = made.train(made.train(start, 5), 7)
    assert all(torch.equal(whole.weights[k], pieces.weights[k]) for k in whole.weights)
    again = trainer(copy.deepcopy(dense), defenses=[Unpairing(weight=0.5)], dense=dense)
    resumed = again.train(made.train(start, 5), 7)
    assert all(torch.equal(whole.weights[k], resumed.weights[k]) for k in whole.weights)


def test_the_loss_is_its_three_terms():
    dense, module, data = trained(), net(5).eval(), rows(8, seed=9)
    before = copy.deepcopy(module)
    defense = Unpairing(weight=0.7, alpha=0.3, noise=0)
    context = TrainingContext(3, 10, 0, None, dense=dense)
    loss = TrainingLoss([defense], context)
    step = Step(data.inputs, data.labels, data.ids, data.ids)
    loss(module, step, 0)  # the model as it is now is what it stays near
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(1.3)
    found, _ = loss(module, step, 1)

    def gradient(m):
        x = data.inputs.clone().requires_grad_()
        nn.functional.cross_entropy(m(x), data.labels, reduction="sum").backward()
        return x.grad

    cosine = nn.functional.cosine_similarity(gradient(dense), gradient(module), dim=1)
    p, q = (m(data.inputs).softmax(1) for m in (before, module))
    wanted = (
        nn.functional.cross_entropy(module(data.inputs), data.labels)
        + 0.3 * (p * (p / q).log()).sum(1).mean()
        + 0.7 * cosine.abs().mean()
    )
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


class Images(nn.Module):
    """A small network of images with a part that answers otherwise in training."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)
        )

    def forward(self, x):
        return self.body(x)


def by_scipy(gradient, sigma):
    """Blur every channel, cut off after the same width, with zeros beyond the edges."""
    reach = math.ceil(3 * sigma)
    blur = partial(gaussian_filter, sigma=sigma, radius=reach, mode="constant")
    channels = gradient.flatten(0, 1).numpy()
    return torch.from_numpy(np.stack([blur(c) for c in channels])).reshape(gradient.shape)


def test_images_are_compared_raw_and_blurred_at_the_rows_and_beside_them():
    dense, module = Images(1).eval(), Images(2)
    x = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(6) % 3
    context = TrainingContext(3, 10, seed=7, reference=None, dense=dense)
    defense = Unpairing(weight=1.0, alpha=0.0, blurs=(0.8, 1.5), noise=0.2)
    defense.prepare_(context)
    inputs = x.clone().requires_grad_()
    batch = Batch(inputs, labels, labels, module(inputs), module, step=4, progress=0.4)
    found = defense.cosines(batch).detach()
    draw = generator(7, "unpairing", "noise", 4)
    beside = x + 0.2 * x.std() * torch.randn(x.shape, generator=draw)

    def gradient(model, at, training):
        points = at.clone().requires_grad_()
        model.train(training)
        loss = nn.functional.cross_entropy(model(points), labels, reduction="sum")
        return torch.autograd.grad(loss, points)[0]

    wanted = []
    # In training mode a call moves the statistics that evaluation reads, so that one comes last.
    for at, training in ((beside, False), (x, True)):
        ours, theirs = gradient(module, at, training), gradient(dense, at, False)
        for sigma in (0.0, 0.8, 1.5):
            pair = (ours, theirs) if not sigma else (by_scipy(t, sigma) for t in (ours, theirs))
            a, b = (t.flatten(1) for t in pair)
            wanted.append(nn.functional.cosine_similarity(a, b, dim=1))
    assert torch.allclose(found, torch.stack(wanted[3:] + wanted[:3]), atol=1e-4)


def test_the_noisy_points_leave_the_model_in_training_and_its_statistics_alone():
    dense, module = Images(1).eval(), Images(2)
    defense = Unpairing(weight=1.0, noise=0.2)
    defense.prepare_(TrainingContext(3, 10, seed=7, reference=None, dense=dense))
    inputs = torch.randn(6, 2, 6, 6).requires_grad_()
    batch = Batch(inputs, torch.arange(6) % 3, torch.arange(6), module(inputs), module, 0, 0.0)
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    defense.cosines(batch)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(m.training for m in module.modules())


def test_the_second_backward_reaches_the_weights():
    dense, module, data = trained(), net(5), rows(8, seed=9)
    context = TrainingContext(3, 10, 0, None, dense=dense)
    loss = TrainingLoss([Unpairing(weight=1.0, alpha=0.0)], context)
    step = Step(data.inputs, data.labels, data.ids, data.ids)
    module.eval().double()
    context.dense.double()
    step = Step(data.inputs.double(), data.labels, data.ids, data.ids)
    loss = TrainingLoss([Unpairing(weight=1.0, alpha=0.0)], context)
    found, _ = loss(module, step, 0)
    weight = module[0].weight
    (gradient,) = torch.autograd.grad(found, weight)
    with torch.no_grad():
        weight[0, 0] += 1e-3
        up, _ = run(loss, module, step)
        weight[0, 0] -= 2e-3
        down, _ = run(loss, module, step)
    assert float(gradient[0, 0]) == pytest.approx(float((up - down).detach()) / 2e-3, rel=2e-2)


def run(loss, module, step):
    with torch.enable_grad():
        return loss(module, step, 0)


def test_a_proposal_sets_its_candidates_weight():
    dense = trained()
    made = trainer(copy.deepcopy(dense), defenses=[Unpairing(weight=0)], dense=dense)
    parent = made.train(made.start(), 4)
    context = ProposalContext(None, 0.0, 0)
    keep = PROPOSALS.build({"unpair": {"weight": 2.0}}, where="test")(parent, context)
    none = PROPOSALS.build("keep", where="test")(parent, context)
    pulled, plain = (made.train(c, 40) for c in (keep, none))
    assert float(pulled.defenses["unpairing"]["weight"]) == 2
    assert float(plain.defenses["unpairing"]["weight"]) == 0
    test = rows(200, seed=2)
    cosines = []
    for candidate in (pulled, plain):
        made.load_(candidate)
        module = copy.deepcopy(made._module).eval()
        found = similarity(dense, module, test.inputs, test.labels, level=0.95, seed=0)
        cosines.append(found.gradients.value)
    assert cosines[0] < cosines[1] - 0.1
    # The model to stay near is the one that was when the weight was set.
    stored = pulled.defenses["unpairing"]["start.0.weight"]
    assert torch.equal(stored, parent.weights["0.weight"])


@pytest.mark.parametrize(
    "options",
    [{"weight": -1.0}, {"alpha": float("inf")}, {"noise": -0.1}, {"blurs": (1.0, 0.0)}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match=r"expected .*finite number"):
        Unpairing(**options)


def test_without_a_dense_model_it_says_what_to_do():
    with pytest.raises(ConfigError, match="needs the dense model"):
        trainer(net(), defenses=[Unpairing()])


@pytest.mark.parametrize("bits", [8, 4])
def test_the_mask_and_the_grid_are_kept_exactly(bits):
    dense = trained()
    topology = masks(dense)
    sparse = copy.deepcopy(dense)
    topology.apply_(sparse)
    small = quantize_after_training(sparse, rows(), bits=bits, topology=topology)
    transforms = Transforms(bits, activations=True, ranges=small.numbers.ranges)
    before = copy.deepcopy(small.module.state_dict())
    found = unpaired_within(
        small.module,
        dense,
        rows(),
        choosing=rows(300, seed=2),
        train=TrainConfig(epochs=20, batch_size=20, lr=0.1, **PLAIN),
        seed=0,
        weights=(1.0,),
        tolerance=1.0,
        topology=topology,
        transforms=transforms,
        engine=CPU,
    )
    assert found.weight == 1
    parameters = dict(found.module.named_parameters())
    assert any(not torch.equal(before[name], parameters[name]) for name in topology.masks)
    for name, mask in topology.masks.items():
        weight = parameters[name]
        step = weight_scale(weight, bits)[:, None]
        assert not bool(weight[~mask].any())
        assert torch.equal(quantized(weight, bits), weight)
        assert torch.equal(codes(weight, bits) * step, weight)
        assert codes(weight, bits).abs().max() <= 2 ** (bits - 1) - 1
    assert input_quantizers(found.module).keys() == small.numbers.ranges.keys()
    test = rows(300, seed=2)
    alike = [
        similarity(dense, m, test.inputs, test.labels, level=0.95, seed=0).gradients.value
        for m in (small.module, found.module)
    ]
    assert alike[1] < alike[0]
    assert all(torch.equal(before[k], v) for k, v in small.module.state_dict().items())


def test_without_transforms_a_quantized_model_would_leave_its_grid():
    """Why a caller has to say them: the same weights trained on as they are."""
    dense = trained()
    small = quantize_after_training(dense, rows(), bits=4).module
    found = unpaired_within(
        small,
        dense,
        rows(),
        choosing=rows(50, seed=2),
        train=TrainConfig(epochs=2, batch_size=20, lr=0.1, **PLAIN),
        seed=0,
        weights=(1.0,),
        tolerance=1.0,
        engine=CPU,
    )
    weight = dict(found.module.named_parameters())["0.weight"]
    assert not torch.equal(quantized(weight, 4), weight)
    assert not input_quantizers(found.module)
