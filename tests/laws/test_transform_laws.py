"""What must hold for few bits, whatever the model, the mask or the optimizer."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.nn import functional

from safecompress import randomness
from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.protocols import Defense, Rows
from safecompress.train import Trainer, predict, sparse_layers
from safecompress.transforms import (
    PLAIN,
    Transforms,
    affine,
    clipped,
    codes,
    input_quantizers,
    quantized,
    quantized_inputs,
    weight_scale,
)
from tests.laws.test_training_laws import images, random_topology, same, start, trainer
from tests.support import count

INT8 = Transforms(bits=8, activations=True)
INT4 = Transforms(bits=4, activations=True)
each_bits = pytest.mark.parametrize("bits", [8, 4])
matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-1e4, 1e4, width=32),
)


@settings(max_examples=count(60, 2000), deadline=None)
@given(values=matrices, bits=st.sampled_from([8, 4]))
def test_weights_are_rounded_to_a_grid_that_is_exact_and_holds_zero(values, bits):
    weight = torch.from_numpy(values)
    step, grid = weight_scale(weight, bits), quantized(weight, bits)
    by_channel = step.view(-1, *[1] * (weight.ndim - 1))
    integers = codes(weight, bits)
    assert bool((step > 0).all())
    assert torch.equal(integers.float() * by_channel, grid)
    assert torch.equal(quantized(grid, bits), grid)
    assert torch.equal(codes(grid, bits), integers)
    largest = weight.flatten(1).abs().amax(1)
    normal = largest > 1e-36
    assert torch.equal(weight_scale(grid, bits)[normal], step[normal])
    assert not bool(grid[weight == 0].any())
    assert int(integers.abs().max()) <= 2 ** (bits - 1) - 1
    assert bool(((grid - weight).abs() <= by_channel * 0.5001 + 1e-36).all())
    assert torch.equal(quantized(-weight, bits), -grid)


@settings(max_examples=count(30, 500), deadline=None)
@given(values=matrices)
def test_a_cut_never_rounds_worse_and_stays_on_its_grid(values):
    weight = torch.from_numpy(values)
    cut = quantized(clipped(weight, 4), 4)
    before = (quantized(weight, 4) - weight).flatten(1).square().sum(1)
    after = (cut - weight).flatten(1).square().sum(1)
    assert bool((after <= before * (1 + 1e-5) + 1e-30).all())
    assert torch.equal(quantized(cut, 4), cut)


@settings(max_examples=count(60, 1000), deadline=None)
@given(
    values=hnp.arrays(np.float32, 20, elements=st.floats(-50, 50, width=32)),
    low=st.floats(-40, 5, width=32),
    width=st.floats(0, 60, width=32),
)
def test_inputs_are_rounded_as_onnx_rounds_them(values, low, width):
    bounds = torch.tensor([low, low + width])
    step, zero = affine(bounds)
    inputs = torch.from_numpy(values).requires_grad_()
    rounded = quantized_inputs(inputs, bounds)
    scale, offset = step.numpy(), np.float32(zero)
    by_hand = np.clip(np.round(values / scale) + offset, 0, 255)
    assert np.array_equal(rounded.detach().numpy(), (by_hand - offset) * scale)
    assert float(quantized_inputs(torch.zeros(1), bounds)) == 0
    rounded.sum().backward()
    inside = np.round(values / scale) + offset
    assert np.array_equal(inputs.grad.numpy(), ((inside >= 0) & (inside <= 255)).astype("f4"))
    reach = torch.stack([bounds[0].clamp(max=0), bounds[1].clamp(min=0)])
    within = (inputs >= reach[0]) & (inputs <= reach[1])
    error = (rounded - inputs).detach().abs()[within]
    assert bool((error <= step * 1.001).all())


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_cutting_a_stage_changes_no_bit(optimizer, precision, memory_format):
    def make():
        return trainer(optimizer=optimizer, precision=precision, memory_format=memory_format)

    made = make()
    begin = made.train(start(made), 1).evolve(transforms=INT8)
    whole = made.train(begin, 8)
    for cut, trained_by in ((1, made), (3, make()), (7, made)):
        first = made.train(begin, cut)
        stored = Candidate.from_tensors(first.tensors(), first.settings())
        assert stored.transforms.bits == 8
        made.train(begin.evolve(transforms=PLAIN), 2)
        assert same(whole, trained_by.train(stored, 8 - cut)), f"cut after step {cut}"
    assert set(whole.transforms.ranges) == {"body.0", "head.1"}
    assert not same(whole, made.train(begin.evolve(transforms=PLAIN), 8))


@each_bits
@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_mask_and_grid_are_kept_through_training(optimizer, bits):
    made = trainer(optimizer=optimizer)
    child = start(made).evolve(transforms=Transforms(bits=bits))
    for _ in range(4):
        child = made.train(child, 2)
        made.load_(child)
        live = dict(made._module.named_parameters())
        for name, mask in child.topology.masks.items():
            assert not bool(child.weights[name][~mask].any())
            assert not bool(live[name][~mask].any())
            assert torch.equal(quantized(live[name], bits), live[name])
            assert torch.equal(live[name], child.shown()[name])
            assert int(codes(live[name], bits).unique().numel()) <= 2**bits - 1
            # What the optimizer moves is finer than the grid.
            assert not torch.equal(child.weights[name], child.shown()[name])
            for state in child.optimizer[name].values():
                if state.shape == mask.shape:
                    assert not bool(state[~mask].any())


@each_bits
def test_gradients_pass_straight_through_the_rounding(bits):
    """A step moves the fine weights by the gradient that the rounded ones have."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    data = Rows(torch.randn(8, 6), torch.randint(3, (8,)), torch.arange(8))
    config = TrainConfig(
        epochs=1, batch_size=8, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0,
        schedule="constant", precision="32-true", memory_format="contiguous",
    )  # fmt: skip
    made = Trainer(module, data, config, seed=0, engine=EngineConfig(accelerator="cpu"))
    begin = made.start().evolve(transforms=Transforms(bits=bits))
    after = made.train(begin, 1)
    plain = copy.deepcopy(module)
    plain.load_state_dict(begin.shown())
    order = randomness.permutation(8, 0, "train", "epoch", 0)
    functional.cross_entropy(plain(data.inputs[order]), data.labels[order]).backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(
            after.weights[name], begin.weights[name] - 0.1 * parameter.grad, atol=1e-7, rtol=1e-5
        )
    gradient = made.gradient(begin, 1)
    torch.testing.assert_close(
        gradient["0.weight"], dict(plain.named_parameters())["0.weight"].grad
    )


@each_bits
def test_outputs_are_those_of_rounding_by_hand(bits):
    made = trainer()
    child = made.train(start(made).evolve(transforms=Transforms(bits=bits, activations=True)), 5)
    rows = images(20, seed=5)
    shown, ranges = child.shown(), child.transforms.ranges
    with torch.no_grad():
        x = quantized_inputs(rows.inputs, ranges["body.0"])
        x = functional.conv2d(x, shown["body.0.weight"], shown["body.0.bias"], padding=1)
        x = functional.batch_norm(
            x,
            shown["body.1.running_mean"],
            shown["body.1.running_var"],
            shown["body.1.weight"],
            shown["body.1.bias"],
        ).relu()
        x = quantized_inputs(x.flatten(1), ranges["head.1"])
        logits = functional.linear(x, shown["head.1.weight"], shown["head.1.bias"])
    assert torch.equal(made.outputs(child, rows).logits, logits)
    # Who looks inside sees what the layer computes with.
    features = made.internals(child, rows).features
    step, zero = affine(ranges["head.1"])
    assert torch.equal(features, quantized_inputs(features, ranges["head.1"]))
    assert int((features / step + zero).round().unique().numel()) <= 256


def test_the_next_candidate_is_not_rounded():
    made = trainer()
    plain = made.train(start(made), 2)
    said = made.outputs(plain, images())
    fine = made.train(plain.evolve(transforms=INT4), 2)
    other = made.outputs(fine, images())
    assert not torch.equal(said.logits, other.logits)
    assert len(input_quantizers(made._module)) == 2
    assert torch.equal(made.outputs(plain, images()).logits, said.logits)
    assert not input_quantizers(made._module)
    assert torch.equal(made.outputs(fine, images()).logits, other.logits)
    made.start()
    assert not input_quantizers(made._module)
    assert made._module.state_dict().keys() == plain.weights.keys()


def test_a_copy_of_the_module_computes_the_same_on_its_own():
    made = trainer()
    child = made.train(start(made).evolve(transforms=INT8), 3)
    said = made.outputs(child, images()).logits
    target = copy.deepcopy(made._module)
    made.load_(child.evolve(transforms=PLAIN))
    assert torch.equal(predict(target, images()).logits, said)
    hooks, own = input_quantizers(target), input_quantizers(made._module)
    assert len(hooks) == 2
    assert not own


class Asking(Defense):
    """A defense that asks the model about rows far from any member."""

    name = "asking"

    def penalty(self, batch):
        return 0.0 * batch.model(batch.inputs * 1e3).mean()


def test_bounds_come_from_members_alone():
    plain, asking = trainer(), trainer(defenses=[Asking()])
    bounds = [
        made.train(start(made).evolve(transforms=INT8), 3).transforms.ranges["body.0"]
        for made in (plain, asking)
    ]
    assert torch.equal(*bounds)
    made = plain.train(start(plain).evolve(transforms=INT8), 3)
    before = {n: t.clone() for n, t in made.transforms.ranges.items()}
    plain.outputs(made, replace(images(), inputs=images().inputs * 1e3))
    plain.gradient(made, 2)
    assert all(torch.equal(plain.train(made, 0).transforms.ranges[n], t) for n, t in before.items())


def test_unwatched_layers_pass_their_inputs_as_they_are():
    made = trainer()
    begin = start(made)
    fine = begin.evolve(transforms=Transforms(activations=True))
    assert torch.equal(made.outputs(begin, images()).logits, made.outputs(fine, images()).logits)


def test_tied_weights_stay_tied_and_are_rounded_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x).relu())

    torch.manual_seed(0)
    data = Rows(torch.randn(16, 6), torch.randint(6, (16,)), torch.arange(16))
    config = TrainConfig(epochs=4, batch_size=8, precision="32-true", memory_format="contiguous")
    made = Trainer(Tied(), data, config, seed=0, engine=EngineConfig(accelerator="cpu"))
    child = made.train(made.start().evolve(transforms=INT4), 3)
    assert torch.equal(child.weights["a.weight"], child.weights["b.weight"])
    shown = child.shown()
    assert shown["a.weight"] is shown["b.weight"]
    assert torch.equal(shown["a.weight"], quantized(child.weights["a.weight"], 4))


def test_rounding_may_be_differentiated_for_each_row_and_twice():
    """Attackers and defenses may look at the gradient of one row, or at a gradient's gradient."""
    bounds = torch.tensor([-1.0, 1.0])
    weight = torch.randn(5, requires_grad=True)
    rows = torch.randn(7, 5)

    def loss(w, row):
        return (quantized_inputs(row * w, bounds) ** 2).sum()

    together = torch.func.vmap(torch.func.grad(loss), (None, 0))(weight, rows)
    for row, gradient in zip(rows, together, strict=True):
        alone = torch.autograd.grad(loss(weight, row), weight, create_graph=True)[0]
        assert torch.equal(alone, gradient)
        assert torch.autograd.grad(alone.sum(), weight)[0].shape == weight.shape


@each_bits
def test_sparse_layers_train_on_rounded_weights_as_dense_ones_do(bits, monkeypatch):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 3))
    data = Rows(torch.randn(64, 300), torch.randint(3, (64,)), torch.arange(64))
    config = TrainConfig(epochs=4, batch_size=16, precision="32-true", memory_format="contiguous")
    ends = []
    for densest in (0.1, 0.0):
        monkeypatch.setattr(sparse_layers, "DENSEST", densest)
        made = Trainer(module, data, config, seed=0, engine=EngineConfig(accelerator="cpu"))
        if not ends:
            begin = made.start(random_topology(module, 0.05)).evolve(
                transforms=Transforms(bits=bits, activations=True)
            )
        assert len(made._sparse_layers(begin)) == (densest > 0)
        ends.append(made.train(begin, 2))
    for name, weight in ends[0].weights.items():
        torch.testing.assert_close(ends[1].weights[name], weight, rtol=1e-3, atol=1e-4)
    assert set(ends[0].transforms.ranges) == {"0", "2"}
