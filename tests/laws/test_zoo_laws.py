"""Whatever module is composed of a zoo's layers, a run ends well or refuses it before training."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from safecompress import compress, load, splits_from_arrays
from safecompress.errors import NonFiniteError, UsageError
from safecompress.run.model_file import read_model
from tests.support import count
from tests.zoo_modules import CLASSES, FEATURES, Auxiliary, Beside, Do, Forgetful, Sign

WIDTH = 16
SPLITS = splits_from_arrays(
    x := torch.randn(160, FEATURES, generator=torch.Generator().manual_seed(0)),
    x[:, :CLASSES].argmax(dim=1),
    seed=0,
)


def _do(function: Callable[[Do, Tensor], Tensor], **parts: nn.Module | nn.Parameter) -> nn.Module:
    return Do(function, **parts)


def _linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


def _gapped() -> nn.Module:
    layer = nn.Linear(2 * WIDTH, WIDTH)
    layer.weight.data = layer.weight.data[:, ::2]
    return layer


def _attention() -> nn.Module:
    return _do(
        lambda s, x: s.a(y := x.reshape(-1, 4, 4), y, y)[0].reshape(-1, WIDTH),
        a=nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True),
    )


LAYERS: tuple[Callable[[], nn.Module], ...] = (
    _linear,
    _gapped,
    _attention,
    nn.ReLU,
    nn.RReLU,
    nn.GELU,
    Beside,
    Forgetful,
    lambda: nn.Dropout(0.2),
    lambda: nn.BatchNorm1d(WIDTH),
    lambda: nn.BatchNorm1d(WIDTH, track_running_stats=False),
    lambda: nn.LayerNorm(WIDTH),
    lambda: nn.GroupNorm(4, WIDTH),
    lambda: parametrizations.weight_norm(_linear()),
    lambda: parametrizations.spectral_norm(_linear()),
    lambda: parametrizations.orthogonal(_linear()),
    lambda: _linear().requires_grad_(False),
    lambda: _do(lambda s, x: functional.dropout(x, 0.1, s.training)),
    lambda: _do(lambda s, x: functional.dropout(x, 0.1)),
    lambda: _do(lambda s, x: x + torch.randn_like(x) * s.training),
    lambda: _do(lambda s, x: Sign.apply(x)),
    lambda: _do(lambda s, x: x if x.sum() > 0 else 2 * x),
    lambda: _do(lambda s, x: x.new_zeros(x.shape).index_add(1, torch.arange(WIDTH), x)),
    lambda: _do(lambda s, x: x.detach()),
    lambda: _do(lambda s, x: s.c(x)[0], c=nn.LSTMCell(WIDTH, WIDTH)),
    lambda: _do(lambda s, x: s.c(x), c=nn.GRUCell(WIDTH, WIDTH)),
    lambda: _do(lambda s, x: s.b(x, x), b=nn.Bilinear(WIDTH, WIDTH, WIDTH)),
    lambda: _do(lambda s, x: s.c(x[:, None])[:, 0], c=nn.Conv1d(1, 1, 3, padding=1)),
    lambda: _do(lambda s, x: x * s.w, w=nn.Parameter(torch.ones(1, WIDTH))),
    lambda: _do(lambda s, x: x @ s.w, w=nn.Parameter(torch.eye(WIDTH))),
    lambda: _do(lambda s, x: s.e(x.argmax(dim=1)), e=nn.Embedding(WIDTH, WIDTH, sparse=True)),
    lambda: _do(
        lambda s, x: torch.fft.irfft(torch.fft.rfft(x) * s.w, n=WIDTH),
        w=nn.Parameter(torch.ones(9, dtype=torch.complex64)),
    ),
)


class Residual(nn.Module):
    """Layers with a way around them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def composed(seed: int) -> nn.Module:
    """Return a random module: chains, branches, layers that occur twice, wrappers around it."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    if draw.random() < 0.05:
        return Auxiliary()
    layers = [draw.choice(LAYERS)() for _ in range(draw.randint(1, 5))]
    if draw.random() < 0.3:
        layers.append(draw.choice(layers))
    if draw.random() < 0.4:
        layers = [Residual(*layers[:2]), *layers[2:]]
    net = nn.Sequential(nn.Linear(FEATURES, WIDTH), *layers, nn.Linear(WIDTH, CLASSES))
    return nn.DataParallel(net) if draw.random() < 0.1 else net


@pytest.mark.parametrize("seed", range(count(4, 500)))
def test_a_run_ends_well_or_its_model_is_refused_before_training(seed: int, tmp_path: Path) -> None:
    draw = random.Random(-seed - 1)
    train = {
        "epochs": 1,
        "lr": 0.01,
        "batch_size": draw.choice([1, 8, 40, 40, 1000]),
        "optimizer": draw.choice(["sgd", "adamw"]),
        "precision": "32-true",
    }
    config = {
        "seed": seed,
        "dense": train,
        "sparse": {"density": draw.choice([0.1, 0.5, 1.0]), "rounds": 1, "train": train},
        "steer": {"proposals": draw.choice([["rigl"], ["rigl", "set"]]), "attacks": ["loss"]},
        "baselines": [],
        "verdict": {
            "checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]
        },
    }
    folder = tmp_path / "run"
    refused: Exception | None = None
    try:
        run = compress(lambda: composed(seed), SPLITS, config=config, out=folder)
    except (UsageError, NonFiniteError) as error:
        refused = error
    if refused is not None:
        # Only training tells that a rate does not suit a model; everything else ends before it.
        diverged = isinstance(refused, NonFiniteError)
        assert "lower the learning rate" in str(refused) if diverged else not folder.exists()
        assert str(refused).endswith("."), refused
        return
    stored = read_model(folder / "model.safetensors")
    for name, mask in stored.topology.masks.items():
        assert not stored.weights[name].masked_fill(mask, 0.0).any(), name
    rows = run.splits.steer.nonmembers.inputs
    loaded = load(folder, model=lambda: composed(seed))
    with torch.inference_mode():
        assert torch.equal(loaded(rows), run.model(rows))
