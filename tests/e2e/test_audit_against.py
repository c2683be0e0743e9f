"""Auditing a pair: what a small model gives away about the full one, and pairs that cannot be."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from safecompress.attacks.transfer import Square, hunt_down, transferred
from safecompress.audit import Limits, audit
from safecompress.checks import QuerySavingMeasure, Subject, TransferRate
from safecompress.errors import UndecidableError, UsageError
from safecompress.protocols import Ball, Evidence, Pool, Rows
from safecompress.train.predict import predict
from tests.pairs import brisk_pairs

CLASSES = 3


def rows(n, *, seed):
    patterns = torch.rand(CLASSES, 30, generator=torch.Generator().manual_seed(8))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (n,), generator=draw)
    noise = 0.12 * torch.randn(n, 30, generator=draw)
    return (0.5 + 0.3 * (patterns[labels] - 0.5) + noise).clamp(0, 1), labels


def trained(seed):
    x, labels = rows(300, seed=0)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def full():
    return trained(0)


@pytest.fixture(scope="module")
def child(full):
    """A copy in 8 steps a weight."""
    made = copy.deepcopy(full)
    with torch.no_grad():
        for p in made.parameters():
            step = p.abs().max() / 8
            p.copy_((p / step).round() * step)
    return made


@pytest.fixture(scope="module")
def data():
    return rows(300, seed=0), rows(300, seed=1)


@pytest.fixture
def brisk():
    with brisk_pairs():
        yield


@pytest.fixture(scope="module")
def whole(full, child, data):
    """An audit of a pair of which both give gradients."""
    torch.manual_seed(0)
    with brisk_pairs():
        return audit(child, data, against=full, limits=Limits(max_auc=0.99, max_transfer=0.01))


class Half(nn.Module):
    """A model of every third column alone: it rises where the full model hardly does."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.register_buffer("seen", (torch.arange(30) % 3 == 0).float())

    def forward(self, x):
        return self.inner(0.5 + (x - 0.5) * self.seen)


def subject(model, parent, data):
    held = Pool(*data).map(lambda g: Rows(g[0], g[1], torch.arange(len(g[1]))))
    evidence = held.map(
        lambda r: Evidence(predict(model, r), rows=r, target=model, parent_target=parent)
    )
    return Subject.of(evidence, name="small", density=None, seed=0)


def test_a_child_helps_to_attack_its_parent_and_a_stranger_less(full, child, data):
    measure = TransferRate(norm="l2", radius=0.25, epochs=0)
    near = measure.estimate(subject(child, full, data), level=0.95)
    far = measure.estimate(subject(Half(trained(7)), full, data), level=0.95)
    assert near.value > far.value + 0.05
    assert "strongest attacker" in near.note
    assert near.n_nonmembers <= 150
    saving = QuerySavingMeasure(norm="l2", radius=0.6, rows=40, budget=500, epochs=0)
    found = saving.estimate(subject(child, full, data), level=0.95)
    assert found.low > 1


def test_hidden_gradients_are_told_and_cannot_pass(full, data):
    class Hidden(nn.Module):
        """Says what the full model says, through steps that no gradient survives."""

        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(full)

        def forward(self, x):
            said = self.inner(x)
            return (10 * said).round() + 0 * said

    measure = TransferRate(norm="l2", radius=0.4, epochs=0)
    found = measure.estimate(subject(Hidden(), full, data), level=0.95)
    assert found.note.startswith("masked gradients")
    assert found.high == 1


def test_no_difference_to_the_model_that_is_attacked(full, child, data):
    s = subject(child, full, data)
    with pytest.raises(UndecidableError, match="absolute bound"):
        TransferRate().difference(s, s, level=0.95)


def test_targeted_transfer_is_rarer(full, child, data):
    x, labels = data[1]
    ball = Ball("l2", 0.4)
    rates = [
        transferred(full, child, x, labels, ball=ball, seed=0, targeted=t).rate(level=0.95).value
        for t in (False, True)
    ]
    assert rates[1] < rates[0]


def test_the_bounds_enclose_every_attacker(full, child, data):
    x, labels = data[1]
    found = transferred(full, child, x, labels, ball=Ball("l2", 0.4), seed=0)
    rate = found.rate(level=0.95)
    shares = [float(f.double().mean()) for f in found.fooled.values()]
    assert rate.low <= max(shares) == rate.value <= rate.high
    assert len(found.points) == len(found.rows)


def test_an_audit_says_what_the_pair_gives_away(whole):
    document = whole.verdict.document.to_json()
    named = {c["name"]: c for c in document["checks"]}
    assert named["transfer-l2.rate ≤ 0.01"]["status"] == "FAIL"
    alike = document["against"]["similarity"]
    assert alike["gradients"]["low"] > 0.8
    assert alike["rows"] == 300


class Shut(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.detach())


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (nn.Linear(30, 4), r"the full model has \(4,\) classes, the other 3"),
        (nn.Linear(29, 3), r"fails on inputs of shape \(30,\)"),
        (lambda x: x[:, :4], r"the full model has \(4,\) classes, the other 3"),
        (lambda x: 0 * x[:, :3], "no better than guessing"),
    ],
    ids=["classes", "shapes", "classes of a function", "a function that guesses"],
)
def test_a_bad_pair_gives_one_error_that_says_what_is_left(bad, told, child, data):
    with pytest.raises(UsageError, match=told) as caught:
        audit(child, data, against=bad)
    assert "can still be compared" in str(caught.value)


def pair_of(found):
    document = found.verdict.document.to_json()
    named = {c["name"].split()[0]: c for c in document["checks"]}
    return document["against"], named


def test_a_full_model_need_only_answer(brisk, whole, full, child, data):
    limits = Limits(max_auc=0.99, max_transfer=0.01)
    shut = audit(child, data, against=Shut(full), limits=limits)
    alike, checks = pair_of(shut)
    both, theirs = pair_of(whole)
    for name in ("transfer-linf.rate", "transfer-l2.rate", "query-saving-l2.ratio"):
        # Its gradients are only asked for the question whether those of the small one are hidden.
        assert [checks[name][k] for k in ("value", "low", "high")] == [
            theirs[name][k] for k in ("value", "low", "high")
        ]
    assert alike["similarity"]["gradients"] is None
    assert alike["similarity"]["agreement"] == both["similarity"]["agreement"]
    assert "the full model gives none" in alike["not_measured"]
    assert both["not_measured"] == ""
    assert "not measured of the pair" in shut.verdict.document.to_json()["scope"]


def test_a_full_model_that_answers_with_probabilities_is_measured_alike(
    brisk, whole, full, child, data
):
    def says(x):
        with torch.no_grad():
            return full(x).softmax(dim=1).numpy()

    said, checks = pair_of(audit(child, data, against=says, limits=Limits(max_auc=0.99)))
    alike, theirs = pair_of(whole)
    got, wanted = (a["similarity"]["divergence"]["value"] for a in (said, alike))
    assert got == pytest.approx(wanted, abs=1e-5)
    assert checks["transfer-l2.rate"]["value"] == theirs["transfer-l2.rate"]["value"]


def test_a_small_model_without_gradients_has_a_lower_bound_that_cannot_pass(
    brisk, whole, full, child, data
):
    found = audit(Shut(child), data, against=full, limits=Limits(max_auc=0.99, max_transfer=0.9))
    alike, checks = pair_of(found)
    assert checks["transfer-l2.rate"]["status"] == "INCONCLUSIVE"
    assert checks["transfer-l2.rate"]["high"] == 1
    assert "lower bound" in checks["transfer-l2.rate"]["message"]
    assert "query-saving-l2.ratio" not in checks
    assert alike["similarity"]["gradients"] is None
    assert alike["similarity"]["features"]["low"] > 0.9
    assert "the small model gives none" in alike["not_measured"]
    climbing = pair_of(whole)[1]
    assert checks["transfer-l2.rate"]["value"] <= climbing["transfer-l2.rate"]["value"]


def test_hidden_gradients_are_told_of_a_full_model_that_only_answers(full, data):
    class Hidden(nn.Module):
        """Climbing it leads nowhere; answers give it away."""

        def forward(self, x):
            return full(x).detach() + 0 * x[:, :3]

    measure = TransferRate(norm="l2", radius=0.4, epochs=0)
    found = measure.estimate(subject(Hidden(), Shut(full), data), level=0.95)
    assert found.note.startswith("masked gradients")
    assert "questions on" in found.note
    assert found.high == 1


def test_another_preprocessing_is_noticed(full, child, data):
    class Upside(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(full)

        def forward(self, x):
            return self.inner(-5 * x)

    with pytest.raises(UsageError, match="another preprocessing"):
        audit(child, data, against=Upside())


def test_images_only_where_images_are_needed(full, data):
    x, labels = data[1]
    with pytest.raises(UndecidableError, match="needs images"):
        hunt_down(Square(), full, x, labels, ball=Ball("l2", 0.4), seed=0)
