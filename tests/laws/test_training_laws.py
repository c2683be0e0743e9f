"""What must hold for training, whatever the model, the optimizer or the mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.protocols import Defense, Rows
from safecompress.topology import Topology
from safecompress.train import Trainer, predict
from tests.support import count

OPTIMIZERS = {
    "nesterov": {"optimizer": "sgd", "lr": 0.05},
    "heavy-ball": {"optimizer": "sgd", "lr": 0.05, "nesterov": False},
    "plain": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.0, "nesterov": False},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
}


class Net(nn.Module):
    """Convolution, batch normalization, dropout, linear: everything that has state or is random."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 3))

    def forward(self, images):
        return self.head(self.body(images))


class Nudge(Defense):
    """A defense with state and randomness: pushes the logits along a vector it learns."""

    name = "nudge"

    def prepare_(self, context):
        self.fresh = torch.zeros(context.classes)
        self.vector = self.fresh.clone()

    def penalty(self, batch):
        return 0.01 * (batch.logits * (self.vector + torch.rand(3))).mean()

    def after_step_(self, batch):
        self.vector = 0.9 * self.vector + batch.logits.detach().mean(0)

    def state(self):
        return {"vector": self.vector.clone()}

    def load_state_(self, state):
        self.vector = state.get("vector", self.fresh).clone()


def images(n=50, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, 6, 6, generator=g)
    return Rows(x, torch.randint(3, (n,), generator=g), torch.arange(n))


def trainer(*, optimizer="nesterov", seed=0, precision="32-true", rows=None, **options):
    torch.manual_seed(3)
    config = TrainConfig(
        epochs=4,
        batch_size=16,
        warmup=0.1,
        augment="crop-flip",
        precision=precision,
        memory_format=options.pop("memory_format", "contiguous"),
        **OPTIMIZERS[optimizer],
    )
    return Trainer(
        options.pop("module", None) or Net(),
        images() if rows is None else rows,
        config,
        seed=seed,
        engine=EngineConfig(accelerator="cpu"),
        **options,
    )


def random_topology(module, density, seed=0):
    g = torch.Generator().manual_seed(seed)
    dense = Topology.dense(module).masks
    return Topology({k: torch.rand(m.shape, generator=g) < density for k, m in dense.items()})


def same(a: Candidate, b: Candidate) -> bool:
    left, right = a.tensors(), b.tensors()
    return (
        a.step == b.step
        and left.keys() == right.keys()
        and all(torch.equal(v, right[k]) for k, v in left.items())
    )


def start(made, density=0.4):
    return made.start(random_topology(made._module, density))


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_cutting_a_stage_changes_no_bit(optimizer, precision, memory_format):
    def make():
        return trainer(
            optimizer=optimizer,
            precision=precision,
            memory_format=memory_format,
            track_moving_average=True,
            defenses=[Nudge()],
        )

    made = make()
    begin = start(made)
    whole = made.train(begin, 9)
    for cut, trained_by in ((1, made), (4, make()), (8, made)):
        first = made.train(begin, cut)
        stored = Candidate.from_tensors(first.tensors(), first.settings())
        made.train(begin, 2)
        assert same(whole, trained_by.train(stored, 9 - cut)), f"cut after step {cut}"
    assert whole.step == 9
    assert not same(whole, made.train(begin, 8))


@settings(max_examples=count(6, 60), deadline=None)
@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_any_cutting_changes_no_bit(cuts):
    made = trainer(track_moving_average=True)
    begin = pieces = start(made)
    for steps in cuts:
        pieces = made.train(pieces, steps)
    assert same(made.train(begin, sum(cuts)), pieces)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_missing_weights_and_their_state_stay_zero(optimizer, density, memory_format):
    made = trainer(optimizer=optimizer, memory_format=memory_format)
    candidate = start(made, density)
    for _ in range(3):
        candidate = made.train(candidate, 1)
        for name, mask in candidate.topology.masks.items():
            tensors = [candidate.weights[name], *candidate.optimizer[name].values()]
            for tensor in tensors:
                if tensor.shape == mask.shape:
                    assert not tensor[~mask].any()
            assert mask.sum() == 0 or candidate.weights[name][mask].all()
    assert candidate.topology.nonzeros == sum(
        int(m.sum()) for m in candidate.topology.masks.values()
    )


def test_stale_weights_and_state_outside_the_mask_never_come_back():
    made = trainer(optimizer="adamw")
    dense = made.train(made.start(), 2)
    topology = random_topology(made._module, 0.3)
    dirty = made.train(dense.evolve(topology=topology), 2)
    clean_weights = {k: v.clone() for k, v in dense.weights.items()}
    topology.apply_to_tensors_(clean_weights)
    clean_state = {n: {k: v.clone() for k, v in s.items()} for n, s in dense.optimizer.items()}
    for key in ("exp_avg", "exp_avg_sq"):
        topology.apply_to_tensors_({n: clean_state[n][key] for n in topology.masks})
    clean = dense.evolve(topology=topology, weights=clean_weights, optimizer=clean_state)
    assert same(dirty, made.train(clean, 2))
    made.load_(dense.evolve(topology=topology))
    for parameter, mask in topology.bind(made._module):
        assert not torch.signbit(parameter[~mask]).any(), "-0 is another byte pattern than 0"


def test_training_leaves_its_input_and_the_world_alone():
    made = trainer(track_moving_average=True, defenses=[Nudge()])
    begin = made.train(start(made), 2)
    before = {k: v.clone() for k, v in begin.tensors().items()}
    made._module.eval()
    torch.manual_seed(11)
    state = torch.get_rng_state()
    made.train(begin, 3)
    made.gradient(begin, 2)
    made.outputs(begin, images(5))
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m.training for m in made._module.modules())
    assert all(torch.equal(v, before[k]) for k, v in begin.tensors().items())


def test_the_global_generator_does_not_matter():
    results = []
    for seed in (0, 1):
        made = trainer()
        begin = start(made)
        torch.manual_seed(seed)
        results.append(made.train(begin, 3))
    assert same(*results)


def test_seed_and_stage_matter():
    results = []
    for seed, stage in ((0, "a"), (1, "a"), (0, "b")):
        made = trainer(seed=seed, stage=stage)
        results.append(made.train(start(made), 2).weights["head.1.weight"])
    assert not any(torch.equal(results[0], other) for other in results[1:])


def test_candidates_at_one_step_see_the_same_batches():
    seen = []

    class Spy(Defense):
        name = "spy"

        def penalty(self, batch):
            seen.append((batch.step, batch.ids.clone(), batch.inputs.clone()))

    made = trainer(defenses=[Spy()])
    a, b = start(made, 0.4), start(made, 0.9)
    made.train(a, 4)
    first, seen[:] = list(seen), []
    made.train(b, 4)
    for (s, ids, x), (t, other_ids, y) in zip(first, seen, strict=True):
        assert s == t
        assert torch.equal(ids, other_ids)
        assert torch.equal(x, y)


def test_every_epoch_visits_rows_once_and_differs():
    epochs = []

    class Spy(Defense):
        name = "spy"

        def penalty(self, batch):
            epochs.append(batch.ids.tolist())

    made = trainer(defenses=[Spy()])
    assert made.steps_per_epoch == 3
    made.train(made.start(), 6)
    first, second = ([row for batch in epochs[i : i + 3] for row in batch] for i in (0, 3))
    assert len(set(first)) == len(first) == 48 == len(set(second))
    assert first != second


def test_the_moving_average_is_of_dense_unmasked_gradients():
    made = trainer(track_moving_average=True)
    begin = start(made, 0.2)
    expected = {k: 0.1 * g for k, g in made.gradient(begin, 1).items()}
    one = made.train(begin, 1)
    for name, average in one.moving_average.items():
        torch.testing.assert_close(average, expected[name], rtol=1e-4, atol=1e-6)
        assert average[~one.topology.masks[name]].abs().sum() > 0
    two = made.train(one, 1)
    for name, gradient in made.gradient(one, 1).items():
        torch.testing.assert_close(
            two.moving_average[name],
            0.9 * one.moving_average[name] + 0.1 * gradient,
            rtol=1e-4,
            atol=1e-6,
        )


def test_outputs_are_the_candidates_not_the_modules():
    made = trainer()
    a, rows = start(made), images(20, seed=5)
    b = made.train(a, 3)
    logits = [made.outputs(c, rows).logits for c in (a, b, a, b)]
    assert torch.equal(logits[0], logits[2])
    assert torch.equal(logits[1], logits[3])
    assert not torch.equal(logits[0], logits[1])
    made.load_(a)
    assert torch.equal(predict(made._module, rows).logits, logits[0])
