"""The trainer against a plain PyTorch loop, and at its edges."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn
from torch.nn import functional

from safecompress import randomness
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ConfigError, NonFiniteError
from safecompress.protocols import Defense, Rows
from safecompress.topology import Topology
from safecompress.train import Trainer
from safecompress.train import fit as fit_module

CPU = EngineConfig(accelerator="cpu")
PLAIN = {"precision": "32-true", "memory_format": "contiguous"}
CONFIGS = {
    "nesterov": TrainConfig(epochs=5, batch_size=8, lr=0.1, **PLAIN),
    "plain": TrainConfig(epochs=5, batch_size=8, momentum=0, nesterov=False, **PLAIN),
    "adamw": TrainConfig(epochs=5, batch_size=8, optimizer="adamw", lr=0.01, **PLAIN),
}


def rows(n=40, shape=(6,), classes=3):
    g = torch.Generator().manual_seed(1)
    return Rows(
        torch.randn(n, *shape, generator=g),
        torch.randint(classes, (n,), generator=g),
        torch.arange(n),
    )


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def make(module=None, config=CONFIGS["nesterov"], **options):
    return Trainer(
        module or net(),
        options.pop("rows", None) or rows(),
        config,
        seed=options.pop("seed", 0),
        engine=options.pop("engine", CPU),
        **options,
    )


def by_hand(name, steps, masks):
    """Train with torch's own default optimizer, masking weights after every step."""
    module, config, data = net(), CONFIGS[name], rows()
    if name == "adamw":
        optimizer = torch.optim.AdamW(module.parameters(), lr=config.lr, weight_decay=5e-4)
    else:
        optimizer = torch.optim.SGD(
            module.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=5e-4,
        )
    parameters = dict(module.named_parameters())
    for step in range(steps):
        epoch, place = divmod(step, 5)
        order = randomness.permutation(40, 0, "train", "epoch", epoch)
        index = order[place * 8 : place * 8 + 8]
        with torch.no_grad():
            for key, mask in masks.items():
                parameters[key].mul_(mask)
        optimizer.param_groups[0]["lr"] = config.lr * (0.1 if step >= 12 else 1)
        optimizer.zero_grad()
        functional.cross_entropy(module(data.inputs[index]), data.labels[index]).backward()
        for key, mask in masks.items():
            parameters[key].grad.mul_(mask)
        optimizer.step()
    return {k: v.detach() for k, v in module.state_dict().items()}


@pytest.mark.parametrize("density", [1.0, 0.5])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_training_agrees_with_a_plain_loop(name, density):
    made = make(config=CONFIGS[name])
    g = torch.Generator().manual_seed(2)
    dense = Topology.dense(made._module).masks
    masks = {k: torch.rand(m.shape, generator=g) <= density for k, m in dense.items()}
    trained = made.train(made.start(Topology(masks)), 15)
    expected = by_hand(name, 15, masks)
    for key, value in trained.weights.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-6)


def test_a_fresh_candidate_has_all_its_state_at_zero():
    sgd, adamw = (make(config=CONFIGS[n]).start() for n in ("nesterov", "adamw"))
    plain = make(config=CONFIGS["plain"]).start()
    assert {k for s in sgd.optimizer.values() for k in s} == {"momentum_buffer"}
    assert {k for s in adamw.optimizer.values() for k in s} == {"exp_avg", "exp_avg_sq", "step"}
    assert not any(plain.optimizer.values())
    for candidate in (sgd, adamw):
        assert not any(t.any() for s in candidate.optimizer.values() for t in s.values())
        assert candidate.step == 0


def test_candidates_own_contiguous_cpu_tensors():
    made = make(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3)),
        CONFIGS["nesterov"].model_copy(update={"memory_format": "channels_last"}),
        rows=rows(shape=(1, 6, 6)),
    )
    candidate = made.train(made.start(), 1)
    assert made._module[0].weight.is_contiguous(memory_format=torch.channels_last)
    pointers = {p.data_ptr() for p in made._module.parameters()}
    for tensor in candidate.tensors().values():
        assert tensor.is_contiguous()
        assert tensor.data_ptr() not in pointers


def test_gradient_is_the_mean_over_the_next_batches_and_dense():
    made = make()
    g = torch.Generator().manual_seed(2)
    masks = {
        k: torch.rand(m.shape, generator=g) < 0.3 for k, m in Topology.dense(net()).masks.items()
    }
    candidate = made.train(made.start(Topology(masks)), 4)
    found = made.gradient(candidate, 3)
    module, data, sums = net(), rows(), {}
    module.load_state_dict(candidate.weights)
    for step in (4, 5, 6):
        epoch, place = divmod(step, 5)
        index = randomness.permutation(40, 0, "train", "epoch", epoch)[place * 8 : place * 8 + 8]
        module.zero_grad()
        functional.cross_entropy(module(data.inputs[index]), data.labels[index]).backward()
        for key, p in module.named_parameters():
            sums[key] = sums.get(key, 0) + p.grad / 3
    assert set(found) == {"0.weight", "2.weight"}
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, sums[key])
        assert gradient[~masks[key]].abs().sum() > 0


def test_zero_steps_change_nothing():
    made = make()
    candidate = made.start()
    assert made.train(candidate, 0) is candidate
    assert make(config=TrainConfig(epochs=0, **PLAIN)).total_steps == 0


def test_frozen_parameters_and_unused_ones_stay():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.frozen, self.unused = (nn.Linear(6, 3) for _ in range(3))
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.used(x) + self.frozen(x)

    made = make(Partly(), track_moving_average=True)
    begin = made.start()
    end = made.train(made.train(begin, 2), 2)
    for part, changed in (("used", True), ("frozen", False), ("unused", False)):
        assert (
            torch.equal(begin.weights[f"{part}.weight"], end.weights[f"{part}.weight"]) != changed
        )
    assert not made.gradient(end, 1)["unused.weight"].any()


def test_tied_weights_train_as_one():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.c(self.b(self.a(x)))

    made = make(Tied(), track_moving_average=True)
    candidate = made.train(made.start(), 2)
    assert set(candidate.topology.masks) == {"a.weight", "c.weight"}
    assert torch.equal(candidate.weights["a.weight"], candidate.weights["b.weight"])
    changed = dict(candidate.weights) | {"a.weight": torch.zeros(6, 6)}
    made.load_(candidate.evolve(weights=changed))
    assert not made._module.b.weight.any()


@pytest.mark.parametrize("lr", [1e30, 1e38])
def test_divergence_names_the_step(lr):
    made = make(config=CONFIGS["nesterov"].model_copy(update={"lr": lr}), stage="dense")
    with pytest.raises(NonFiniteError, match=r"dense.*step \d+"):
        made.train(made.start(), 10)
    assert made.train(make().start(), 0).step == 0


def test_the_first_bad_step_is_named():
    data = rows()
    third = randomness.permutation(40, 0, "train", "epoch", 0)[16:24]
    data.inputs[third] = float("nan")
    made = make(rows=data)
    made.train(made.start(), 2)
    with pytest.raises(NonFiniteError, match="at step 2"):
        made.train(made.train(made.start(), 1), 3)


def test_progress_is_told_now_and_then_and_at_the_end():
    told = []
    made = make(on_progress=told.append, stage="dense")
    made._reporter._interval = 0.0
    candidate = made.train(made.start(), 20)
    made._reporter._interval = 1e9
    made.train(candidate, 5)
    assert [p.step for p in told] == [*range(1, 21), 25]
    assert {(p.stage, p.total) for p in told} == {("dense", 25)}
    assert all(p.rate > 0 and p.loss > 0 for p in told)


def test_an_interrupt_leaves_the_candidate_usable():
    stop = KeyboardInterrupt()

    def interrupt(progress):
        raise stop

    made = make(on_progress=interrupt)
    begin = made.start()
    expected = make().train(begin, 5).weights
    state = torch.get_rng_state()
    made._reporter._interval = 0.0
    with pytest.raises(KeyboardInterrupt):
        made.train(begin, 5)
    assert torch.equal(state, torch.get_rng_state())
    made._reporter._interval = 1e9
    again = made.train(begin, 5).weights
    assert all(torch.equal(v, expected[k]) for k, v in again.items())


def test_mean_losses_and_rates_are_those_of_the_last_training():
    made = make()
    begin = made.start()
    told = []
    made._reporter._callback, made._reporter._interval = told.append, 1e9
    made.train(begin, made.total_steps)
    assert made.mean_losses == [pytest.approx(told[-1].loss)]
    first = made.train(begin, 2)
    earlier = made.mean_losses
    made.train(first, 3)
    assert made.mean_losses != earlier
    assert made.learning_rate(0) == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": TrainConfig(precision="16-mixed")}, "needs a GPU"),
        ({"config": TrainConfig(memory_format="channels_last")}, "needs images"),
        ({"config": TrainConfig(augment="crop-flip")}, "needs images"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_missing_gpu_is_named():
    with pytest.raises(ConfigError, match="accelerator gpu"):
        make(engine=EngineConfig(accelerator="gpu"))


class Needy(Defense):
    name = "needy"
    needs_reference = True

    def prepare_(self, context):
        self.context = context


def test_defenses_are_prepared_and_their_needs_checked():
    with pytest.raises(ConfigError, match="reference"):
        make(defenses=[Needy()])
    with pytest.raises(ConfigError, match="twice"):
        make(defenses=[Needy(), Needy()], reference=rows(4))
    needy = Needy()
    make(defenses=[needy], reference=rows(4), seed=9)
    assert (needy.context.classes, needy.context.steps, needy.context.seed) == (3, 25, 9)


def test_penalties_join_the_loss_and_its_gradient():
    class Push(Defense):
        name = "push"

        def penalty(self, batch):
            return 100.0 * batch.model(batch.inputs)[:, 0].mean()

    made, pushed = make(), make(defenses=[Push()])
    candidate = made.start()
    a, b = made.train(candidate, 1), pushed.train(candidate, 1)
    assert (b.weights["2.bias"] - a.weights["2.bias"])[0] < -5
    difference = pushed.gradient(candidate, 1)["2.weight"] - made.gradient(candidate, 1)["2.weight"]
    assert difference[0].abs().sum() > 1
    assert difference[1:].abs().sum() < 1e-3


@pytest.fixture
def half_precision(monkeypatch):
    """Fp16 with a gradient scaler on the CPU, which Fabric would not give."""

    def fabric(*args, **kwargs):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=3)
        return Fabric(
            accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler)
        )

    monkeypatch.setattr(fit_module, "launched", fabric)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_scale_of_fp16_belongs_to_the_candidate(half_precision, name):
    made = make(config=CONFIGS[name], track_moving_average=True)
    masks = {k: torch.rand(m.shape) < 0.5 for k, m in Topology.dense(net()).masks.items()}
    begin = made.start(Topology(masks))
    whole = made.train(begin, 18)
    halves = made.train(made.train(begin, 7), 11)
    left, right = whole.tensors(), halves.tensors()
    assert left.keys() == right.keys()
    assert all(torch.equal(v, right[k]) for k, v in left.items())
    scale = left["optimizer/gradient scaler/scale"]
    assert scale != begin.tensors()["optimizer/gradient scaler/scale"]
    assert made.train(begin, 1).weights["0.weight"].isfinite().all()
    for key, mask in masks.items():
        assert not whole.weights[key][~mask].any()
        assert whole.moving_average[key].isfinite().all()
