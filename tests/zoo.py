"""Modules of every kind that people hand over, and what a run does with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import linear
from torch.nn.utils import parametrizations

from tests.zoo_modules import (
    CLASSES,
    FEATURES,
    WORDS,
    Auxiliary,
    Beside,
    Do,
    Forgetful,
    Sign,
    Through,
    Transformer,
    after_a_step,
    images,
    locked,
    mha,
    no_inputs,
    pruned,
    scripted,
    shared,
    sliced,
    stashing,
    through,
    tokens,
    weight_norm_by_a_hook,
)


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
    Kind("attention with dropout", lambda: mha(0.1), "tokens"),
    Kind("attention", lambda: mha(0.0), "tokens"),
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
        scripted,
        refusal=r"TorchScript.*pass the Python module",
        given=True,
    ),
    Kind("extra state", lambda: Through(Beside())),
    Kind("gaps, right half", sliced(12, None, None), remark="views of other memory.*'0.weight'"),
    Kind("gaps, every second", sliced(None, None, 2), remark="views of other memory"),
    Kind("gaps, left half", sliced(None, 12, None), remark="views of other memory"),
    Kind("one memory for two", lambda: shared(whole=True), remark="are one: '0.2.weight' with"),
    Kind("overlapping memory", lambda: shared(whole=False), remark="views of other memory"),
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
        lambda: after_a_step(Through(torch.nn.utils.spectral_norm(nn.Linear(16, 16)))),
        remark="SpectralNorm computes",
        given=True,
    ),
    Kind(
        "weight norm by a hook",
        weight_norm_by_a_hook,
        remark="WeightNorm computes in 'between'",
        given=True,
    ),
    Kind("pruned by torch", pruned, remark=r"torch\.nn\.utils\.prune", given=True),
    Kind("keeps its features", lambda: after_a_step(through(stashing, a=nn.Linear(16, 16)))),
    Kind(
        "sparse embedding",
        lambda: tokens(nn.Linear(8, 16), nn.Embedding(WORDS, 8, sparse=True)),
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
        lambda: tokens(nn.Linear(8, 16), nn.Embedding(WORDS, 8, 0, 1.0)),
        "tokens",
    ),
    Kind("GRU", lambda: tokens(nn.GRU(8, 16, batch_first=True)), "tokens"),
    Kind(
        "LSTM both ways",
        lambda: tokens(
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
        lambda: through(lambda s, x: x + linear(x[:, :0], s.a.weight), a=no_inputs()),
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
    Kind("holds a lock", locked, refusal="cannot be copied.*locks"),
    Kind("convolution", lambda: images(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), "images"),
    Kind(
        "depthwise and transposed",
        lambda: images(
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
    Kind("norm of images", lambda: images(nn.Conv2d(1, 4, 1), nn.LayerNorm([4, 8, 8])), "images"),
    Kind("transformer", Transformer, "images", remark="pos_embed"),
)
