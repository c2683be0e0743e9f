"""The formulas of PAST and WeMem, against what is computed independently here."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from safecompress import compress
from safecompress.defenses.imagined import soft_labels
from safecompress.defenses.past import Past, sensitivities
from safecompress.defenses.wemem import WeMem, memorization, window
from safecompress.errors import ConfigError
from safecompress.protocols import Batch, Rows, TrainingContext
from safecompress.randomness import generator
from tests.defended import dense, toy
from tests.small_runs import SETTINGS, TRAIN, brisk, make_model, splits
from tests.support import count


def group(n: int, first: int, seed: int) -> Rows:
    draw = generator(seed, "rows", first)
    inputs = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    labels = torch.randint(4, (n,), generator=draw)
    return Rows(inputs, labels, torch.arange(first, first + n))


def past_penalty(module: nn.Module, members: Rows, others: Rows, weight: float) -> torch.Tensor:
    defense = Past(weight=weight)
    defense.prepare_(
        TrainingContext(classes=4, steps=10, seed=0, reference=others, module=module, rows=12)
    )
    logits = module(members.inputs)
    loss = cross_entropy(logits, members.labels)
    batch = Batch(members.inputs, members.labels, members.ids, logits, module, 0, 0.0, loss=loss)
    penalty = defense.penalty(batch)
    assert penalty is not None
    return penalty


@pytest.mark.parametrize("seed", range(count(3, 50)))
def test_past_weights_each_parameter_by_what_the_gap_depends_on(seed: int) -> None:
    """Its penalty from finite differences of the gap, its gradient from the penalty's formula."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    members, others = group(12, 0, seed), group(12, 100, seed)

    def gap() -> float:
        losses = [cross_entropy(module(rows.inputs), rows.labels) for rows in (others, members)]
        return float((losses[0] - losses[1]).detach())

    expected, gradients = 0.0, []
    for parameter in module.parameters():
        slopes, flat = torch.zeros(parameter.numel()).double(), parameter.detach().view(-1)
        for place in range(parameter.numel()):
            value, around = flat[place].item(), []
            for step in (1e-5, -1e-5):
                flat[place] = value + step
                around.append(gap())
            flat[place] = value
            slopes[place] = (around[0] - around[1]) / 2e-5
        share = (slopes.abs() / slopes.abs().mean()).view_as(parameter)
        expected += 0.3 * float((share * parameter.detach().abs()).sum())
        gradients.append(0.3 * share * parameter.detach().sign())
    penalty = past_penalty(module, members, others, 0.3)
    assert float(penalty.detach()) == pytest.approx(expected, rel=1e-4)
    found = torch.autograd.grad(penalty, list(module.parameters()))
    for one, other in zip(found, gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.sampled_from([1.0, 1e-30, 1e30]),
)
@settings(max_examples=count(100, 5000), deadline=None)
def test_weights_have_mean_one_and_grow_with_the_sensitivity(values, scale) -> None:
    gradient = torch.tensor(values, dtype=torch.float64) * scale
    weights = sensitivities({"w": gradient})["w"]
    order = gradient.abs().argsort()
    assert bool((weights[order].diff() >= 0).all())
    assert bool(weights.isfinite().all())
    if float(gradient.abs().max()) > 1e-290:
        assert float(weights.mean()) == pytest.approx(1.0)


@given(
    n=st.integers(1, 60),
    moves=st.integers(1, 8),
    share=st.floats(0.05, 1.0),
    progress=st.floats(0, 1),
)
@settings(max_examples=count(200, 5000), deadline=None)
def test_a_window_holds_its_share_and_moves_from_the_first_rows_to_the_last(
    n, moves, share, progress
) -> None:
    rank = torch.arange(n, dtype=torch.float64) / n
    held = window(rank, progress=progress, share=share, moves=moves)
    assert abs(int(held.sum()) - share * n) < 1 + 1e-6
    first = window(rank, progress=0.0, share=share, moves=moves)
    last = window(rank, progress=1.0, share=share, moves=moves)
    assert bool(first[0])
    assert moves == 1 or share * n < 1.001 or bool(last[-1])


def test_a_score_is_how_much_surer_whoever_saw_the_row_is() -> None:
    seen, unseen = torch.tensor([0.9, 0.4, 1.0]), torch.tensor([0.2, 0.7, 0.0])
    scores = memorization(seen, unseen)
    assert torch.allclose(scores, torch.tensor([0.7, 0.0, 1.0], dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("order", ["high-to-low", "low-to-high"])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_wemem_is_the_loss_of_its_window_and_a_decay_for_risky_rows(order, progress) -> None:
    """By hand, of scores that are computed here; rows that are no members stay in the loss."""
    rows, labels, module = toy(0)["members"], soft_labels(0), dense(0).train()
    model = dense(0).eval()
    defense = WeMem(window=0.4, windows=3, order=order, threshold=0.7, weight=0.2)
    defense.prepare_(
        TrainingContext(
            classes=4,
            steps=10,
            seed=0,
            reference=None,
            module=module,
            dense=model,
            members=rows,
            soft_labels=labels,
        )
    )
    fresh = toy(0)["fresh"]
    inputs = torch.cat([rows.inputs[30:70], fresh.inputs[:5]])
    targets = torch.cat([rows.labels[30:70], fresh.labels[:5]])
    ids = torch.cat([rows.ids[30:70], -1 - torch.arange(5)])
    logits = module(inputs)
    whole = cross_entropy(logits, targets)
    batch = Batch(inputs, targets, ids, logits, module, 5, progress, loss=whole)
    with torch.no_grad():
        sure = model(rows.inputs).softmax(1)
    places = torch.arange(len(rows))
    scores = sure[places, rows.labels].double() - labels[places, rows.labels].double()
    sign = -1 if order == "high-to-low" else 1
    by_score = sorted(places.tolist(), key=lambda k: (sign * max(float(scores[k]), 0.0), k))
    begin = {0.0: 0, 0.5: 30, 1.0: 60}[progress]
    shown = set(by_score[begin : begin + 40])
    inside = torch.tensor([k in shown for k in range(30, 70)] + [True] * 5)
    risky = float((scores[30:70] >= 0.7).sum()) / 45
    squares = sum(float(p.detach().square().sum()) for p in module.parameters())
    losses = cross_entropy(logits, targets, reduction="none")
    wanted = float(losses[inside].mean().detach()) + 0.1 * risky * squares
    assert 0 < risky < 40 / 45
    penalty = defense.penalty(batch)
    assert penalty is not None
    assert float((whole + penalty).detach()) == pytest.approx(wanted, rel=1e-5)


def test_a_run_with_wemem_trains_teachers_and_refuses_it_for_the_dense_model(tmp_path) -> None:
    sparse = SETTINGS["sparse"] | {"rounds": 0}
    asked = SETTINGS | {"sparse": sparse, "dense": TRAIN}
    steer = SETTINGS["steer"] | {"defenses": ["wemem"]}
    with brisk():
        compress(make_model, splits(), config=asked | {"steer": steer}, out=tmp_path / "run")
    assert (tmp_path / "run" / "teachers" / "1.safetensors").exists()
    refused = asked | {"dense": TRAIN | {"defenses": ["wemem"]}}
    with pytest.raises(ConfigError, match=r"dense\.defenses: 'wemem' needs the labels of teachers"):
        compress(make_model, splits(), config=refused, out=tmp_path / "refused")
