"""Computing with existing weights only is the same training, faster."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.protocols import Rows
from safecompress.randomness import seeded
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer, sparse_linear
from safecompress.train.active import Existing, active_weights
from safecompress.train.sparse_linear import computing_sparsely, sparse_linears

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
    monkeypatch.setattr(sparse_linear, "SMALLEST", 1000)


def plain() -> nn.Module:
    # A bias before normalisation has no gradient but rounding, which AdamW would blow up.
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


def trainer(make: type[nn.Module] | object, optimizer: str = "sgd") -> tuple[Trainer, nn.Module]:
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(160, 120, generator=draw)
    rows = Rows(x, x[:, :3].argmax(dim=1), torch.arange(160))
    with seeded(7):
        module = make()  # type: ignore[operator]
    config = TrainConfig(epochs=4, batch_size=32, lr=0.01, optimizer=optimizer, precision="32-true")
    return Trainer(module, rows, config, seed=1, engine=ENGINE), module


def trained(make: object, steps: tuple[int, ...], optimizer: str = "sgd") -> Candidate:
    made, module = trainer(make, optimizer)
    candidate = made.start(sparse(module))
    for count in steps:
        candidate = made.train(candidate, count)
    return candidate


def test_layers_are_chosen_by_density_and_size(monkeypatch):
    module = plain()
    active = active_weights(dict(module.named_parameters()), sparse(module), module)
    assert set(sparse_linears(active, module)) == {module[0], module[3]}
    dense = active_weights(dict(module.named_parameters()), sparse(module, 0.2), module)
    assert not sparse_linears(dense, module)
    monkeypatch.setattr(sparse_linear, "SMALLEST", 11_000)
    assert set(sparse_linears(active, module)) == {module[0]}
    monkeypatch.setattr(sparse_linear, "SMALLEST", 1000)
    shared = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100))
    shared[2].weight = shared[0].weight
    active = active_weights(dict(shared.named_parameters()), sparse(shared), shared)
    assert not sparse_linears(active, shared), "two layers share the weight"


@pytest.mark.parametrize("shape", [(32,), (4, 8), (1,)])
def test_outputs_and_gradients_equal_the_dense_layer_s(shape):
    layer = nn.Linear(120, 96).double().float()
    topology = sparse(layer)
    topology.apply_(layer)
    active = active_weights(dict(layer.named_parameters()), topology, layer)
    part = active["weight"]
    assert isinstance(part, Existing)
    x = torch.randn(*shape, 120, requires_grad=True)
    weights = torch.randn(*shape, 96)
    expected = layer(x)
    (expected * weights).sum().backward()
    dense = [x.grad, part.compact(layer.weight.grad), layer.bias.grad]
    x.grad = layer.bias.grad = layer.weight.grad = None
    with computing_sparsely(sparse_linears(active, layer)):
        found = layer(x)
        (found * weights).sum().backward()
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip([x.grad, part.values.grad, layer.bias.grad], dense, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert layer.weight.grad is None
    assert "forward" not in layer.__dict__


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("make", [plain, Reader])
def test_training_is_the_same_as_with_the_dense_product(monkeypatch, make, optimizer):
    ours = trained(make, (20,), optimizer)
    monkeypatch.setattr(sparse_linear, "DENSEST", 0.0)
    theirs = trained(make, (20,), optimizer)
    for name, weight in theirs.weights.items():
        torch.testing.assert_close(ours.weights[name], weight, atol=2e-5, rtol=1e-4)
    for name, mask in ours.topology.masks.items():
        assert not ours.weights[name][~mask].any()
        assert bool((ours.weights[name] != 0).any())


@pytest.mark.parametrize("make", [plain, Reader])
def test_cutting_training_into_pieces_changes_no_bit(make):
    whole, pieces = trained(make, (20,)), trained(make, (3, 7, 10))
    assert all(torch.equal(v, pieces.weights[k]) for k, v in whole.weights.items())
    for name, state in whole.optimizer.items():
        assert all(torch.equal(v, pieces.optimizer[name][k]) for k, v in state.items())


def test_a_layer_whose_weight_is_read_directly_computes_densely():
    made, module = trainer(Reader)
    candidate = made.start(sparse(module))
    assert isinstance(module, Reader)
    assert set(made._sparse_linears(candidate)) == {module.second}


def test_a_dense_gradient_is_there_for_whoever_asks():
    made, module = trainer(plain)
    candidate = made.train(made.start(sparse(module)), 5)
    gradient = made.gradient(candidate, 2)
    missing = gradient["0.weight"][~candidate.topology.masks["0.weight"]]
    assert bool((missing != 0).any())
