"""Computing with existing weights only is the same training, faster."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.defenses.dropout import Dropout
from safecompress.defenses.entropy import EntropyBonus
from safecompress.defenses.hamp import Hamp
from safecompress.defenses.label_smoothing import LabelSmoothing
from safecompress.defenses.ppb import PairBalance
from safecompress.defenses.relax_loss import RelaxLoss
from safecompress.protocols import Defense, Rows
from safecompress.randomness import seeded
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer
from safecompress.train import sparse_layers as products
from safecompress.train.active import ActiveWeights, active_weights
from safecompress.train.sparse_layers import computing_sparsely, sparse_layers

ENGINE = EngineConfig(accelerator="cpu")


class Reader(nn.Module):
    """Uses the first layer's weight without calling the layer, as attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(120, 96), nn.Linear(96, 100)
        self.head = nn.Linear(100, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.linear(x, self.first.weight, self.first.bias).relu()
        return self.head(self.second(hidden).relu())


@pytest.fixture(autouse=True)
def _small_layers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SMALLEST", 1000)
    monkeypatch.setattr(products, "PER_ACTIVATION", 0)


def plain() -> nn.Module:
    # A bias before normalization has no gradient but rounding, which AdamW would blow up.
    return nn.Sequential(
        nn.Linear(120, 96, bias=False),
        nn.BatchNorm1d(96),
        nn.ReLU(),
        nn.Linear(96, 100),
        nn.ReLU(),
        nn.Linear(100, 3),
    )


def sparse(module: nn.Module, density: float = 0.06) -> Topology:
    draw = torch.Generator().manual_seed(3)
    masks = {}
    for name, parameter in maskable_parameters(module).items():
        share = density if parameter.numel() > 1000 else 0.5
        masks[name] = torch.rand(parameter.shape, generator=draw) < share
    return Topology(masks)


def trainer(
    make: type[nn.Module] | object, optimizer: str = "sgd", defenses: Sequence[Defense] = ()
) -> tuple[Trainer, nn.Module]:
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(160, 120, generator=draw)
    rows = Rows(x, x[:, :3].argmax(dim=1), torch.arange(160))
    with seeded(7):
        module = make()  # type: ignore[operator]
    config = TrainConfig(epochs=4, batch_size=32, lr=0.01, optimizer=optimizer, precision="32-true")
    return Trainer(module, rows, config, seed=1, engine=ENGINE, defenses=defenses), module


def trained(
    make: object,
    steps: tuple[int, ...],
    optimizer: str = "sgd",
    defenses: Sequence[Defense] = (),
) -> Candidate:
    made, module = trainer(make, optimizer, defenses)
    candidate = made.start(sparse(module))
    for count in steps:
        candidate = made.train(candidate, count)
    return candidate


def images() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (3, 5, 8)),
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 3),
    )


def chosen(module: nn.Module, topology: Topology, x: torch.Tensor) -> set[nn.Module]:
    active = active_weights(dict(module.named_parameters()), topology, module)
    layers = sparse_layers(active, module)
    with computing_sparsely(layers, trial=True):
        module(x).sum().backward()
    return {layer for layer, how in layers.items() if how.part.values.grad is not None}


def test_layers_are_chosen_by_density_and_size(monkeypatch):
    module, x = plain(), torch.randn(8, 120)
    assert chosen(module, sparse(module), x) == {module[0], module[3]}
    assert not chosen(module, sparse(module, 0.2), x)
    monkeypatch.setattr(products, "SMALLEST", 11_000)
    assert chosen(module, sparse(module), x) == {module[0]}
    monkeypatch.setattr(products, "SMALLEST", 1000)
    shared = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100))
    shared[2].weight = shared[0].weight
    assert not chosen(shared, sparse(shared), x[:, :100]), "two layers share the weight"


def test_convolutions_are_chosen_by_the_products_they_save(monkeypatch):
    layer = nn.Conv2d(16, 16, 3, padding=1)
    few, many = sparse(layer, 0.09), sparse(layer, 0.2)
    wide, narrow = torch.randn(2, 16, 8, 8), torch.randn(2, 16, 2, 2)
    assert chosen(layer, few, wide) == {layer}
    assert not chosen(layer, many, wide)
    # Of nine weights that look at a 2 × 2 image four see a pixel; the dense layer multiplies all.
    assert chosen(layer, many, narrow) == {layer}
    monkeypatch.setattr(products, "PER_ACTIVATION", 3)
    assert not chosen(layer, few, wide), "turning the activations round costs more than it saves"
    monkeypatch.setattr(products, "PER_ACTIVATION", 0)
    monkeypatch.setattr(products, "MOST_ENTRIES", 100)
    assert not chosen(layer, few, wide)
    grouped = nn.Conv2d(16, 16, 3, groups=2)
    assert not chosen(grouped, sparse(grouped), wide)
    reflecting = nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")
    assert not chosen(reflecting, sparse(reflecting), wide)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kernel", "options", "size"),
    [
        (3, {"padding": 1}, (6, 6)),
        (3, {"padding": 1}, (1, 1)),
        (11, {"stride": 4, "padding": 5}, (16, 12)),
        ((3, 5), {"stride": (2, 1), "padding": (0, 2), "dilation": (2, 1)}, (9, 7)),
        (1, {"stride": 2, "bias": False}, (5, 8)),
    ],
)
def test_convolutions_equal_the_dense_layer_s(kernel, options, size, layout):
    layer = nn.Conv2d(12, 20, kernel, **options).to(memory_format=layout)
    topology = sparse(layer, 0.1)
    topology.apply_(layer)
    active = active_weights(dict(layer.named_parameters()), topology, layer)
    part = active["weight"]
    x = torch.randn(5, 12, *size).to(memory_format=layout).requires_grad_()
    expected = layer(x)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    bias = layer.bias
    dense = [x.grad, part.compact(layer.weight.grad), *([] if bias is None else [bias.grad])]
    x.grad = layer.weight.grad = None
    if bias is not None:
        bias.grad = None
    with computing_sparsely(sparse_layers(active, layer)):
        found = layer(x)
        (found * weights).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    ours = [x.grad, part.values.grad, *([] if bias is None else [bias.grad])]
    for one, other in zip(ours, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert layer.weight.grad is None


def test_a_layer_that_sees_images_of_two_sizes_adds_up_their_gradients():
    layer = nn.Conv2d(12, 20, 3, padding=1)
    topology = sparse(layer, 0.1)
    topology.apply_(layer)
    active = active_weights(dict(layer.named_parameters()), topology, layer)
    large, small = torch.randn(3, 12, 6, 6), torch.randn(3, 12, 4, 5)
    (layer(large).square().sum() + layer(small).square().sum()).backward()
    expected = active["weight"].compact(layer.weight.grad)
    with computing_sparsely(sparse_layers(active, layer)):
        (layer(large).square().sum() + layer(small).square().sum()).backward()
    torch.testing.assert_close(active["weight"].values.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(32,), (4, 8), (1,)])
def test_outputs_and_gradients_equal_the_dense_layer_s(shape):
    layer = nn.Linear(120, 96).double().float()
    topology = sparse(layer)
    topology.apply_(layer)
    active = active_weights(dict(layer.named_parameters()), topology, layer)
    part = active["weight"]
    assert isinstance(part, ActiveWeights)
    x = torch.randn(*shape, 120, requires_grad=True)
    weights = torch.randn(*shape, 96)
    expected = layer(x)
    (expected * weights).sum().backward()
    dense = [x.grad, part.compact(layer.weight.grad), layer.bias.grad]
    x.grad = layer.bias.grad = layer.weight.grad = None
    with computing_sparsely(sparse_layers(active, layer)):
        found = layer(x)
        (found * weights).sum().backward()
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip([x.grad, part.values.grad, layer.bias.grad], dense, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert layer.weight.grad is None
    assert "forward" not in layer.__dict__


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("make", [plain, images, Reader])
def test_training_is_the_same_as_with_the_dense_product(monkeypatch, make, optimizer):
    ours = trained(make, (20,), optimizer)
    monkeypatch.setattr(products, "DENSEST", 0.0)
    theirs = trained(make, (20,), optimizer)
    for name, weight in theirs.weights.items():
        torch.testing.assert_close(ours.weights[name], weight, atol=2e-5, rtol=1e-4)
    for name, mask in ours.topology.masks.items():
        assert not ours.weights[name][~mask].any()
        assert bool((ours.weights[name] != 0).any())


@pytest.mark.parametrize("make", [plain, images, Reader])
def test_cutting_training_into_pieces_changes_no_bit(make):
    whole, pieces = trained(make, (20,)), trained(make, (3, 7, 10))
    assert all(torch.equal(v, pieces.weights[k]) for k, v in whole.weights.items())
    for name, state in whole.optimizer.items():
        assert all(torch.equal(v, pieces.optimizer[name][k]) for k, v in state.items())


def test_a_layer_whose_weight_is_read_directly_computes_densely():
    made, module = trainer(Reader)
    candidate = made.start(sparse(module))
    assert isinstance(module, Reader)
    assert set(made._sparse_layers(candidate)) == {module.second}


PENALTIES = (EntropyBonus, Hamp, LabelSmoothing, PairBalance, RelaxLoss)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_penalty_on_the_outputs_leaves_the_layers_sparse(monkeypatch, penalty):
    made, module = trainer(plain, defenses=[penalty()])
    assert len(made._sparse_layers(made.start(sparse(module)))) == 2
    ours = trained(plain, (7, 13), defenses=[penalty()])
    monkeypatch.setattr(products, "DENSEST", 0.0)
    theirs = trained(plain, (20,), defenses=[penalty()])
    for name, weight in theirs.weights.items():
        torch.testing.assert_close(ours.weights[name], weight, atol=2e-5, rtol=1e-4)


def test_another_defense_gets_dense_layers():
    made, module = trainer(plain, defenses=[LabelSmoothing(), Dropout()])
    assert not made._sparse_layers(made.start(sparse(module)))


def test_a_dense_gradient_is_there_for_whoever_asks():
    made, module = trainer(plain)
    candidate = made.train(made.start(sparse(module)), 5)
    gradient = made.gradient(candidate, 2)
    missing = gradient["0.weight"][~candidate.topology.masks["0.weight"]]
    assert bool((missing != 0).any())
