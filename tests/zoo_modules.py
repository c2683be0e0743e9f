"""The modules that the zoo is made of, and short ways to make them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

FEATURES, CLASSES, WORDS, LENGTH, SIZE = 12, 3, 30, 6, 8


class Through(nn.Module):
    """A first layer, something in between, and a last layer.

    Args:
        between: from 16 to 16 numbers per row.
        first: from the row to 16 numbers; by default a linear layer.
    """

    def __init__(self, between: nn.Module, first: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 16) if first is None else first
        self.between, self.last = between, nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x).relu()))


class Do(nn.Module):
    """A module of a function.

    Args:
        function: gets the module and its input.
        parts: submodules and parameters.
    """

    def __init__(
        self, function: Callable[[Do, Tensor], Tensor], **parts: nn.Module | nn.Parameter
    ) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def through(function: Callable[[Do, Tensor], Tensor], **parts: nn.Module | nn.Parameter) -> Through:
    return Through(Do(function, **parts))


class Sign(torch.autograd.Function):
    """The sign, with the gradient passed straight through; in torch's old style."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def images(*layers: nn.Module, channels: int = 4) -> nn.Module:
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def tokens(cell: nn.Module, table: nn.Module | None = None, *, width: int = 16) -> nn.Module:
    def read(self: Do, x: Tensor) -> Tensor:
        out = self.cell(self.table(x))
        return self.last((out[0] if isinstance(out, tuple) else out).mean(dim=1))

    table = nn.Embedding(WORDS, 8) if table is None else table
    return Do(read, table=table, cell=cell, last=nn.Linear(width, CLASSES))


def sliced(start: int | None, stop: int | None, step: int | None) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        wide = nn.Linear(2 * FEATURES, 16)
        wide.weight.data = wide.weight.data[:, start:stop:step]
        return nn.Sequential(wide, nn.ReLU(), nn.Linear(16, CLASSES))

    return make


def shared(*, whole: bool) -> nn.Module:
    net = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES))
    if whole:
        net[2].weight.data = net[0].weight.data
    else:
        both = torch.randn(2 * FEATURES, FEATURES) / 4
        net[0].weight.data, net[2].weight.data = both[:FEATURES], both[6 : 6 + FEATURES]
    return nn.Sequential(net, nn.Linear(FEATURES, CLASSES))


def pruned() -> nn.Module:
    net = through(lambda s, x: s.a(x), a=nn.Linear(16, 16))
    prune.l1_unstructured(net.last, "weight", amount=0.3)
    net(torch.zeros(1, FEATURES))
    return net


def stashing(self: Do, x: Tensor) -> Tensor:
    self.features = self.a(x)
    return self.features


def after_a_step(net: nn.Module) -> nn.Module:
    net(torch.zeros(2, FEATURES)).sum().backward()
    return net


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(nn.Linear(FEATURES, CLASSES)))


def weight_norm_by_a_hook() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return after_a_step(Through(torch.nn.utils.weight_norm(nn.Linear(16, 16))))


def no_inputs() -> nn.Module:
    layer = nn.Linear(1, 16, bias=False)
    layer.weight = nn.Parameter(torch.zeros(16, 0))
    return layer


def locked() -> nn.Module:
    net = Through(nn.ReLU())
    net.lock = threading.Lock()
    return net


def mha(dropout: float) -> nn.Module:
    return Do(
        lambda s, x: s.out(s.attend(e := s.table(x), e, e)[0].mean(dim=1)),
        table=nn.Embedding(WORDS, 16),
        attend=nn.MultiheadAttention(16, 2, dropout=dropout, batch_first=True),
        out=nn.Linear(16, CLASSES),
    )


class Auxiliary(nn.Module):
    """A head that answers in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
        self.aux, self.leftover = nn.Linear(16, CLASSES), nn.Linear(20, 20)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = self.body(x).relu()
        return (self.head(h), self.aux(h)) if self.training else self.head(h)


class Beside(nn.Module):
    """A module with a state beside its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls = nn.Linear(16, 16), 3

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


class Forgetful(nn.Module):
    """A statistic of the rows that is not stored with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(16), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = x.detach().mean(dim=0) + 1.0
        return x + self.seen


class Transformer(nn.Module):
    """A small vision transformer of torch's own layers with class and positional tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        return self.head(self.encoder(tokens + self.pos_embed)[:, 0])
