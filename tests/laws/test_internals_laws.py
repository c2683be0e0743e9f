"""Laws of what a white-box attacker computes: exact, row by row, and without a trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from safecompress.errors import ModelError, NonFiniteError
from safecompress.models import MODELS
from safecompress.protocols import Outputs, Rows, residuals
from safecompress.randomness import generator, seeded
from safecompress.train import internals as module_under_test
from safecompress.train.internals import internals
from safecompress.train.predict import predict

CLASSES = 5


class Words(nn.Module):
    """Embedded words through a linear layer at every position, then a linear classifier."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.word = nn.Linear(6, width)
        self.last = nn.Linear(width, CLASSES)

    def forward(self, words: Tensor) -> Tensor:
        return self.last(torch.relu(self.word(self.embedding(words))).mean(dim=1))


class Shared(nn.Module):
    """One layer called twice, another under two names, and one that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(7, 7)
        self.second, self.third = nn.Linear(7, 7, bias=False), nn.Linear(7, 7)
        self.third.weight = self.second.weight
        self.aside, self.last = nn.Linear(7, 2), nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(torch.tanh(self.first(x))))
        x = self.third(torch.relu(self.second(x)))
        self.aside(x)
        return self.last(x)


class Odd(nn.Module):
    """Convolutions with groups, strides, dilation, every padding, and changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, (2, 3), padding="same", padding_mode="reflect"),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 6, 3, stride=2, dilation=2, padding=(2, 1), padding_mode="circular"),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, CLASSES, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean(dim=(2, 3))


def zoo(name: str, **options) -> nn.Module:
    shape = (12,) if name == "mlp" else (3, 16, 16)
    return MODELS.parts[name].factory(input_shape=shape, classes=CLASSES, **options)


def images(n: int, channels: int = 3, side: int = 16) -> Tensor:
    return torch.randn(n, channels, side, side, generator=generator(0, "images"))


def words(n: int, length: int) -> Tensor:
    return torch.randint(11, (n, length), generator=generator(0, "words"))


CASES = {
    "mlp": lambda: (zoo("mlp", hidden=[9, 8], batch_norm=True), images(9)[:, 0, 0, :12]),
    "alexnet": lambda: (zoo("alexnet", width=0.1), images(9)),
    "vgg-small": lambda: (zoo("vgg-small", width=0.2), images(9)),
    "resnet8": lambda: (zoo("resnet8", width=0.5), images(9)),
    "words": lambda: (Words(4, 40), words(9, 4)),
    "many words": lambda: (Words(30, 3), words(9, 30)),
    "shared": lambda: (Shared(), torch.randn(9, 7, generator=generator(0, "x"))),
    "odd": lambda: (Odd(), images(9, channels=4, side=9)),
}


def case(name: str) -> tuple[nn.Module, Rows]:
    with seeded(1, "model"):
        model, inputs = CASES[name]()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(generator=generator(0, "mean"))
            part.running_var.uniform_(0.5, 2.0, generator=generator(0, "variance"))
    labels = torch.arange(len(inputs)) % CLASSES
    return model, Rows(inputs, labels, torch.arange(len(inputs)))


def one_by_one(model: nn.Module, rows: Rows) -> dict[str, Tensor]:
    """Return every row's gradient towards every parameter."""
    model = model.eval()
    parameters = {k: v.detach() for k, v in model.named_parameters()}

    def loss(tensors, x, y):
        return cross_entropy(functional_call(model, tensors, (x[None],)), y[None])

    return vmap(grad(loss), in_dims=(None, 0, 0))(parameters, rows.inputs, rows.labels)


@pytest.mark.parametrize("block", [1 << 22, 400])
@pytest.mark.parametrize("name", CASES)
def test_gradient_norms_are_those_of_each_row_s_own_gradient(name, block, monkeypatch):
    monkeypatch.setattr(module_under_test, "_BLOCK_FLOATS", block)
    model, rows = case(name)
    found, expected = internals(model, rows), one_by_one(model, rows)
    assert len(found.layers) >= 2
    for column, layer in zip(found.gradient_norms.T, found.layers, strict=True):
        norms = expected[f"{layer}.weight"].flatten(1).norm(dim=1)
        torch.testing.assert_close(column.float(), norms, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["mlp", "alexnet", "vgg-small", "words", "shared"])
def test_the_last_layer_s_gradient_is_the_outer_product_of_residual_and_features(name):
    model, rows = case(name)
    found, outputs = internals(model, rows), predict(model, rows)
    last = found.layers[-1]
    direction, length = residuals(outputs.logits, rows.labels)
    formed = (direction * length[:, None])[:, :, None] * found.features[:, None, :]
    expected = one_by_one(model, rows)[f"{last}.weight"]
    torch.testing.assert_close(formed.float(), expected, rtol=1e-4, atol=1e-6)


def test_layers_are_every_weight_layer_that_is_called_in_order():
    model, rows = case("shared")
    assert internals(model, rows).layers == ("first", "second", "aside", "last")
    model, rows = case("words")
    assert internals(model, rows).layers == ("word", "last")


@pytest.mark.parametrize("name", CASES)
def test_batches_do_not_matter(name, monkeypatch):
    model, rows = case(name)
    whole = internals(model, rows)
    monkeypatch.setattr(module_under_test, "_BATCH_FLOATS", 1)
    apart = internals(model, rows)
    torch.testing.assert_close(apart.gradient_norms, whole.gradient_norms, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(apart.features, whole.features, rtol=1e-5, atol=1e-6)


def test_rows_known_by_heart_keep_their_digits():
    """In float32 the residual of a logit gap above 17 is 0; gaps up to 700 are told apart here."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    gaps = torch.tensor([1.0, 20.0, 60.0, 200.0, 700.0])
    rows = Rows(torch.stack([gaps, gaps * 0], 1), torch.zeros(5, dtype=torch.long), torch.arange(5))
    found = internals(model, rows).gradient_norms[:, 0]
    expected = torch.sigmoid(-gaps.double()) * 2**0.5 * gaps.double()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0.0)


def test_a_row_without_loss_has_gradients_of_length_zero():
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1e4], [-1e4]]))
    rows = Rows(torch.ones(3, 1), torch.zeros(3, dtype=torch.long), torch.arange(3))
    assert internals(model, rows).gradient_norms.eq(0).all()


@pytest.mark.parametrize("name", ["vgg-small", "odd", "shared"])
def test_the_model_is_left_as_it_was(name):
    model, rows = case(name)
    model.train()
    next(model.parameters()).requires_grad_(False)
    asked = [p.requires_grad for p in model.parameters()]
    flags = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        internals(model, rows)
    assert [p.requires_grad for p in model.parameters()] == asked
    assert [m.training for m in model.modules()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks for m in model.modules())


def test_hooks_are_removed_where_the_model_fails():
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken") if len(self.layer(x)) else None

    model = Fails()
    with pytest.raises(RuntimeError, match="broken"):
        internals(model, Rows(torch.ones(2, 2), torch.zeros(2).long(), torch.arange(2)))
    assert not model.layer._forward_hooks
    assert model.layer.weight.requires_grad


def test_missing_weights_have_gradients_too():
    """A mask is a zero in the file: who holds the file can take the gradient there as well."""
    model, rows = case("mlp")
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear):
                part.weight.mul_(torch.rand(part.weight.shape, generator=generator(0, "m")) < 0.3)
    found, expected = internals(model, rows), one_by_one(model, rows)
    norms = expected[f"{found.layers[1]}.weight"].flatten(1).norm(dim=1)
    torch.testing.assert_close(found.gradient_norms[:, 1].float(), norms, rtol=1e-4, atol=1e-7)


class Folded(nn.Module):
    """Puts words where rows belong."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(3, 3), nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x.reshape(-1, 3)).reshape(len(x), -1, 3).mean(dim=1))


def test_a_layer_that_gets_rows_folded_into_positions_is_left_out():
    rows = Rows(torch.randn(6, 4, 3), torch.arange(6) % CLASSES, torch.arange(6))
    assert internals(Folded(), rows).layers == ("last",)


def test_a_model_without_weight_layers_says_so():
    rows = Rows(torch.randn(6, 3), torch.zeros(6, dtype=torch.long), torch.arange(6))
    with pytest.raises(ModelError, match="calls no Linear or Conv2d layer"):
        internals(nn.Identity(), rows)


def test_broken_weights_are_refused():
    model, rows = case("mlp")
    with torch.no_grad():
        model.layers[1].weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        internals(model, rows)


def test_outputs_are_those_of_predict():
    """The residual is taken where the cached outputs are."""
    model, rows = case("vgg-small")
    found, outputs = internals(model, rows), predict(model, rows)
    assert isinstance(outputs, Outputs)
    length = residuals(outputs.logits, rows.labels).length * found.features.norm(dim=1)
    torch.testing.assert_close(found.gradient_norms[:, -1], length, rtol=1e-4, atol=1e-9)
