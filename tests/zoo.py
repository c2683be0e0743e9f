"""Modules of every kind that people hand over, and what a run does with each."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import linear
from torch.nn.utils import parametrizations, prune

FEATURES, CLASSES, WORDS, LENGTH, SIZE = 12, 3, 30, 6, 8


@dataclass(frozen=True)
class Kind:
    """A module and what becomes of it.

    Args:
        name: the kind, unique.
        make: makes a module.
        rows: what its rows are: `vectors`, `images` or `tokens`.
        refusal: a pattern of the message with which it is refused; empty where it works.
        remark: a pattern of what is said of it; empty where nothing has to be.
        given: whether it is handed over as a trained object instead of the callable.
    """

    name: str
    make: Callable[[], nn.Module]
    rows: str = "vectors"
    refusal: str = ""
    remark: str = ""
    given: bool = False


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


def _images(*layers: nn.Module, channels: int = 4) -> nn.Module:
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def _tokens(cell: nn.Module, table: nn.Module | None = None, *, width: int = 16) -> nn.Module:
    def read(self: Do, x: Tensor) -> Tensor:
        out = self.cell(self.table(x))
        return self.last((out[0] if isinstance(out, tuple) else out).mean(dim=1))

    table = nn.Embedding(WORDS, 8) if table is None else table
    return Do(read, table=table, cell=cell, last=nn.Linear(width, CLASSES))


def _sliced(start: int | None, stop: int | None, step: int | None) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        wide = nn.Linear(2 * FEATURES, 16)
        wide.weight.data = wide.weight.data[:, start:stop:step]
        return nn.Sequential(wide, nn.ReLU(), nn.Linear(16, CLASSES))

    return make


def _shared(*, whole: bool) -> nn.Module:
    net = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES))
    if whole:
        net[2].weight.data = net[0].weight.data
    else:
        both = torch.randn(2 * FEATURES, FEATURES) / 4
        net[0].weight.data, net[2].weight.data = both[:FEATURES], both[6 : 6 + FEATURES]
    return nn.Sequential(net, nn.Linear(FEATURES, CLASSES))


def _pruned() -> nn.Module:
    net = through(lambda s, x: s.a(x), a=nn.Linear(16, 16))
    prune.l1_unstructured(net.last, "weight", amount=0.3)
    net(torch.zeros(1, FEATURES))
    return net


def _stashing(self: Do, x: Tensor) -> Tensor:
    self.features = self.a(x)
    return self.features


def _after_a_step(net: nn.Module) -> nn.Module:
    net(torch.zeros(2, FEATURES)).sum().backward()
    return net


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(nn.Linear(FEATURES, CLASSES)))


def _weight_norm_by_a_hook() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _after_a_step(Through(torch.nn.utils.weight_norm(nn.Linear(16, 16))))


def _no_inputs() -> nn.Module:
    layer = nn.Linear(1, 16, bias=False)
    layer.weight = nn.Parameter(torch.zeros(16, 0))
    return layer


def _locked() -> nn.Module:
    net = Through(nn.ReLU())
    net.lock = threading.Lock()
    return net


def _mha(dropout: float) -> nn.Module:
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


ZOO = (
    Kind("linear", lambda: through(lambda s, x: x)),
    Kind("functional dropout", lambda: through(lambda s, x: drop(x, 0.2, s.training))),
    Kind(
        "dropout that never stops",
        lambda: through(lambda s, x: drop(x, 0.2)),
        refusal=r"random in evaluation mode from between \(Do\).*training=self\.training",
    ),
    Kind("noise on inputs", lambda: through(lambda s, x: x + torch.randn_like(x) * s.training)),
    Kind(
        "stochastic depth",
        lambda: through(
            lambda s, x: x + s.a(x) * (torch.rand(len(x), 1) > 0.2) if s.training else x + s.a(x),
            a=nn.Linear(16, 16),
        ),
    ),
    Kind("attention with dropout", lambda: _mha(0.1), "tokens"),
    Kind("attention", lambda: _mha(0.0), "tokens"),
    Kind("random leaky", lambda: Through(nn.RReLU())),
    Kind("old-style function", lambda: through(lambda s, x: Sign.apply(x))),
    Kind("branch on a value", lambda: through(lambda s, x: x if x.sum() > 0 else 2 * x)),
    Kind("item", lambda: through(lambda s, x: x * float(x.abs().mean().item() + 1))),
    Kind(
        "writes into new zeros",
        lambda: through(lambda s, x: x.new_zeros(x.shape).index_add(1, torch.arange(16), x)),
    ),
    Kind("LSTM cell", lambda: through(lambda s, x: s.c(x)[0], c=nn.LSTMCell(16, 16))),
    Kind("GRU cell", lambda: through(lambda s, x: s.c(x), c=nn.GRUCell(16, 16))),
    Kind("data parallel", lambda: nn.DataParallel(Through(nn.ReLU())), remark="DataParallel"),
    Kind(
        "compiled",
        lambda: torch.compile(Through(nn.ReLU()), backend="eager"),
        remark="OptimizedModule",
    ),
    Kind(
        "scripted",
        _scripted,
        refusal=r"TorchScript.*pass the Python module",
        given=True,
    ),
    Kind("extra state", lambda: Through(Beside())),
    Kind("gaps, right half", _sliced(12, None, None), remark="views of other memory.*'0.weight'"),
    Kind("gaps, every second", _sliced(None, None, 2), remark="views of other memory"),
    Kind("gaps, left half", _sliced(None, 12, None), remark="views of other memory"),
    Kind("one memory for two", lambda: _shared(whole=True), remark="are one: '0.2.weight' with"),
    Kind("overlapping memory", lambda: _shared(whole=False), remark="views of other memory"),
    Kind(
        "tied",
        lambda: through(lambda s, x: linear(s.a(x), s.a.weight.t()), a=nn.Linear(16, 16)),
    ),
    Kind("called twice", lambda: through(lambda s, x: s.a(s.a(x).relu()), a=nn.Linear(16, 16))),
    Kind(
        "weight norm",
        lambda: Through(parametrizations.weight_norm(nn.Linear(16, 16))),
        remark="WeightNorm computes in 'between'",
    ),
    Kind(
        "spectral norm",
        lambda: Through(parametrizations.spectral_norm(nn.Linear(16, 16))),
        remark="SpectralNorm computes",
    ),
    Kind(
        "orthogonal",
        lambda: Through(parametrizations.orthogonal(nn.Linear(16, 16))),
        remark="Orthogonal computes",
    ),
    Kind(
        "spectral norm by a hook",
        lambda: _after_a_step(Through(torch.nn.utils.spectral_norm(nn.Linear(16, 16)))),
        remark="SpectralNorm computes",
        given=True,
    ),
    Kind(
        "weight norm by a hook",
        _weight_norm_by_a_hook,
        remark="WeightNorm computes in 'between'",
        given=True,
    ),
    Kind("pruned by torch", _pruned, remark=r"torch\.nn\.utils\.prune", given=True),
    Kind("keeps its features", lambda: _after_a_step(through(_stashing, a=nn.Linear(16, 16)))),
    Kind(
        "sparse embedding",
        lambda: _tokens(nn.Linear(8, 16), nn.Embedding(WORDS, 8, sparse=True)),
        "tokens",
        remark="dense gradients",
    ),
    Kind(
        "embedding bag",
        lambda: nn.Sequential(nn.EmbeddingBag(WORDS, 8, sparse=True), nn.Linear(8, CLASSES)),
        "tokens",
        remark="dense gradients",
    ),
    Kind(
        "max-norm embedding",
        lambda: _tokens(nn.Linear(8, 16), nn.Embedding(WORDS, 8, 0, 1.0)),
        "tokens",
    ),
    Kind("GRU", lambda: _tokens(nn.GRU(8, 16, batch_first=True)), "tokens"),
    Kind(
        "LSTM both ways",
        lambda: _tokens(
            nn.LSTM(8, 8, num_layers=2, bidirectional=True, dropout=0.1, batch_first=True)
        ),
        "tokens",
    ),
    Kind(
        "complex parameter",
        lambda: through(
            lambda s, x: torch.fft.irfft(torch.fft.rfft(x) * s.w, n=16),
            w=nn.Parameter(torch.ones(9, dtype=torch.complex64)),
        ),
    ),
    Kind(
        "empty parameter",
        lambda: through(lambda s, x: x + s.w.sum(), w=nn.Parameter(torch.zeros(0, 4))),
    ),
    Kind(
        "empty layer",
        lambda: through(lambda s, x: x + linear(x[:, :0], s.a.weight), a=_no_inputs()),
    ),
    Kind("batch norm", lambda: Through(nn.BatchNorm1d(16))),
    Kind(
        "batch norm without averages",
        lambda: Through(nn.BatchNorm1d(16, track_running_stats=False)),
    ),
    Kind("not stored", lambda: Through(Forgetful()), refusal=r"'between\.seen', which is not"),
    Kind(
        "nothing trained",
        lambda: Through(nn.ReLU()).requires_grad_(False),
        refusal="nothing to compress",
    ),
    Kind(
        "detached",
        lambda: through(lambda s, x: x.detach()),
        remark="no prediction uses",
    ),
    Kind(
        "inside no_grad",
        lambda: Do(lambda s, x: s.a(x).detach(), a=nn.Linear(FEATURES, CLASSES)),
        refusal="outside of torch.no_grad",
    ),
    Kind("auxiliary head", Auxiliary, remark="no prediction uses"),
    Kind(
        "half precision",
        lambda: Through(nn.ReLU()).half(),
        refusal=r"float16.*\.float\(\)",
    ),
    Kind("lazy", lambda: nn.Sequential(nn.LazyLinear(CLASSES)), refusal="lazy"),
    Kind("on meta", lambda: nn.Linear(FEATURES, CLASSES, device="meta"), refusal="meta device"),
    Kind("holds a lock", _locked, refusal="cannot be copied.*locks"),
    Kind(
        "convolution", lambda: _images(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), "images"
    ),
    Kind(
        "depthwise and transposed",
        lambda: _images(
            nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.ConvTranspose2d(4, 4, 2)
        ),
        "images",
    ),
    Kind(
        "convolution over depth",
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 1)),
            nn.Conv3d(1, 4, (1, 3, 3)),
            nn.Flatten(),
            nn.Linear(144, CLASSES),
        ),
        "images",
    ),
    Kind("norm of images", lambda: _images(nn.Conv2d(1, 4, 1), nn.LayerNorm([4, 8, 8])), "images"),
    Kind("transformer", Transformer, "images", remark="pos_embed"),
)
