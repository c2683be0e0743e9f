"""What the white-box attackers see, against one backward pass a row and plain loops."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from safecompress.attacks.features import features
from safecompress.attacks.white_box import WhiteBoxAttack
from safecompress.attacks.white_box_published import PublishedWhiteBoxNetwork
from safecompress.protocols import Evidence, Pool, Rows
from safecompress.randomness import generator, seeded
from safecompress.train.internals import internals
from safecompress.train.predict import predict

CLASSES, ROWS = 4, 40


def target() -> nn.Sequential:
    with seeded(0, "target"):
        return nn.Sequential(
            nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4)
        )


def rows(seed: int) -> Rows:
    draw = generator(seed, "rows")
    x = 3 * torch.randn(ROWS, 5, generator=draw)
    # Not one row of the last class: its typical features are the mean's.
    return Rows(x, torch.arange(ROWS) % (CLASSES - 1), torch.arange(ROWS) + seed * ROWS)


def evidence(model: nn.Module, of: Rows) -> Evidence:
    return Evidence(predict(model, of), internals=internals(model, of))


def norms_one_by_one(model: nn.Sequential, of: Rows) -> list[list[float]]:
    found = []
    # In float32 the gradient of a row that is known by heart is 0.
    model = copy.deepcopy(model).double()
    for x, y in zip(of.inputs.double(), of.labels, strict=True):
        model.zero_grad()
        cross_entropy(model(x[None]), y[None]).backward()
        found.append([float(layer.weight.grad.norm()) for layer in model[::2]])
    return found


def cosine(a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / (math.hypot(*a) * math.hypot(*b) or 1.0)


def means(h: list[list[float]], labels: list[int]) -> list[list[float]]:
    """Return each class's mean features, the overall mean counting as one more row of it."""
    overall = [sum(column) / len(h) for column in zip(*h, strict=True)]
    found = []
    for c in range(CLASSES):
        mine = [row for row, y in zip(h, labels, strict=True) if y == c] + [overall]
        found.append([sum(column) / len(mine) for column in zip(*mine, strict=True)])
    return found


def test_the_white_box_attack_sees_what_it_says() -> None:
    model, groups = target(), Pool(rows(0), rows(1))
    held = groups.map(lambda r: evidence(model, r))
    attack = WhiteBoxAttack()
    fitted = attack.fit(held, seed=0)
    with torch.no_grad():
        h: Pool[list[list[float]]] = groups.map(lambda r: model[:4](r.inputs).tolist())
    typical = means(h.members + h.nonmembers, 2 * groups.members.labels.tolist())
    for side in ("members", "nonmembers"):
        of, mine = getattr(groups, side), getattr(h, side)
        seen: Tensor = attack._features(fitted.typical, getattr(held, side))
        outputs = getattr(held, side).outputs
        black = features(outputs.logits.double(), outputs.labels, top=5)
        torch.testing.assert_close(seen[:, : black.shape[1]], black)
        norms = torch.tensor(norms_one_by_one(model, of), dtype=torch.float64)
        # Rows without an active unit have gradients of 0; the last layer's has the length of p − y.
        p = torch.softmax(outputs.logits.double(), dim=1)
        away = (p - one_hot(of.labels, CLASSES)).norm(dim=1, keepdim=True)
        assert bool((norms == 0).any())
        norms = torch.maximum(norms, 1e-6 * away).log()
        torch.testing.assert_close(seen[:, -5:-2], norms, rtol=1e-4, atol=1e-4)
        for row, y, last in zip(mine, of.labels.tolist(), seen[:, -2:].tolist(), strict=True):
            cosines = [cosine(row, mean) for mean in typical]
            own = cosines.pop(y)
            assert math.isclose(last[0], own, abs_tol=1e-5)
            assert math.isclose(last[1], max(cosines), abs_tol=1e-5)


def test_the_published_network_is_the_published_one() -> None:
    network = PublishedWhiteBoxNetwork(30)
    widths = [
        tuple(layer.weight.T.shape) for layer in network.modules() if isinstance(layer, nn.Linear)
    ]
    ends = {name: widths_of(getattr(network, name)) for name in ("prediction", "loss", "label")}
    assert {name: (w[0], w[-1]) for name, w in ends.items()} == {
        "prediction": (30, 64),
        "loss": (1, 64),
        "label": (30, 64),
    }
    assert widths_of(network.gradient)[1:] == [256, 128, 64]
    assert widths_of(network.fused) == [256, 256, 128, 64, 1]
    assert len(widths) == 2 + 2 + 2 + 3 + 4
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(5, 5)]
    assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.2}
    said = network(torch.randn(3, 30), torch.tensor([0, 29, 4]), torch.randn(3, 17))
    assert said.shape == (3,)


def widths_of(part: nn.Module) -> list[int]:
    layers = [m for m in part.modules() if isinstance(m, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]
