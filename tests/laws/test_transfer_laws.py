"""Laws of attacks that craft inputs: balls, batches, budgets, and nothing touched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from safecompress.attacks.oracle import Oracle
from safecompress.attacks.transfer import (
    QUERY_ATTACKS,
    TRANSFER_ATTACKS,
    InputRange,
    Pgd,
    PriorRgf,
    QueryTransfer,
    Rgf,
    Square,
    UnitInputModel,
    craft,
    gives_gradients,
    hunt_down,
    transferred,
)
from safecompress.errors import ConfigError
from safecompress.protocols import Ball
from tests.crafting import BALLS, CLASSES, RowByRow, labeled, rows

GRADIENT = [
    *TRANSFER_ATTACKS.parts,
    {"pgd": {"restarts": 3, "random_start": True, "loss": "margin"}},
    {"pgd": {"restarts": 2, "early_stop": True, "steps": 5}},
]
QUERY = list(QUERY_ATTACKS.parts)
SOURCE, TARGET = RowByRow(seed=0), RowByRow(seed=1)
BUDGET = 60

balls = pytest.mark.parametrize("ball", BALLS, ids=lambda b: b.norm)
targeted = pytest.mark.parametrize("towards", [False, True], ids=["untargeted", "targeted"])


def aims(labels, towards):
    return (labels + 1) % CLASSES if towards else None


class Counting(nn.Module):
    """A model that remembers every input it was asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.heard = model, []

    def forward(self, x):
        self.heard.append(x.detach().clone())
        return self.model(x)


@balls
@pytest.mark.parametrize("name", TRANSFER_ATTACKS.parts)
def test_what_is_crafted_raises_the_loss_it_climbs(name, ball):
    x, labels = labeled(SOURCE, 40)
    loss = nn.functional.cross_entropy
    found = craft(TRANSFER_ATTACKS.build(name, where="test"), SOURCE, x, labels, ball=ball, seed=0)
    before = loss(SOURCE(x), labels, reduction="none")
    after = loss(SOURCE(found), labels, reduction="none")
    assert (after > before).all()


@balls
def test_targeted_points_go_where_they_are_sent(ball):
    x, labels = labeled(SOURCE, 60)
    targets = (labels + 1) % CLASSES
    wide = Ball(ball.norm, 8 * ball.radius)
    found = craft(Pgd(steps=40), SOURCE, x, labels, ball=wide, seed=0, targets=targets)
    assert (SOURCE(found).argmax(1) == targets).double().mean() > 0.8


@balls
def test_more_restarts_and_stopping_early_never_fool_the_source_less_often(ball):
    x, labels = labeled(SOURCE, 60)

    def fooled(**options):
        found = craft(Pgd(early_stop=True, **options), SOURCE, x, labels, ball=ball, seed=0)
        return SOURCE(found).argmax(1) != labels

    once, often = fooled(), fooled(restarts=4)
    assert (often | ~once).all()


def test_a_solved_row_leaves_the_batch():
    counting = Counting(SOURCE)
    x, labels = labeled(SOURCE, 30)
    ball = Ball("linf", 0.5)
    craft(Pgd(steps=20, early_stop=True), counting, x, labels, ball=ball, seed=0)
    shown = [len(points) for points in counting.heard]
    # The last look is at all rows again.
    assert shown[0] == 30
    assert min(shown) < 10
    assert len(shown) < 2 * 20


@pytest.mark.parametrize("name", QUERY)
def test_query_attacks_fool_a_model_that_can_be_fooled(name):
    x, labels = labeled(TARGET, 40)
    ball = Ball("l2", 2.0)
    found = hunt_down(
        QUERY_ATTACKS.build(name, where="test"),
        TARGET,
        x,
        labels,
        ball=ball,
        seed=0,
        source=TARGET,
        budget=400,
    )
    assert found.solved.double().mean() > 0.8


@balls
@pytest.mark.parametrize("name", ["p-rgf", "gfcs"])
def test_the_model_itself_is_the_best_guide(name, ball):
    x, labels = labeled(TARGET, 30)
    attack = QUERY_ATTACKS.build(name, where="test")
    wide = Ball(ball.norm, 3 * ball.radius)

    def median(source):
        found = hunt_down(attack, TARGET, x, labels, ball=wide, seed=0, source=source, budget=300)
        return found.queries_to_success.double().mean()

    assert median(TARGET) < median(RowByRow(seed=9))


class Shut(nn.Module):
    """What another model says, with no gradient behind it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.detach())


@balls
@targeted
@pytest.mark.parametrize("attack", [Rgf(), Square()], ids=lambda a: a.name)
def test_points_found_by_questions_lie_in_their_ball_row_by_row(attack, ball, towards):
    counting = Counting(Shut(SOURCE))
    x, labels = labeled(SOURCE, 9)
    targets = aims(labels, towards)
    asking = QueryTransfer(attack, budget=BUDGET)
    found = craft(asking, counting, x, labels, ball=ball, seed=3, targets=targets, batch_size=4)
    assert sum(map(len, counting.heard)) <= 9 * BUDGET
    assert ball.holds(found, x, rounding=1e-6).all()
    for i in range(9):
        wanted = None if targets is None else targets[i : i + 1]
        one = x[i : i + 1], labels[i : i + 1]
        alone = craft(asking, Shut(SOURCE), *one, ball=ball, seed=3, targets=wanted)
        assert torch.equal(alone[0], found[i])


def test_a_model_without_gradients_is_searched_and_the_rate_is_a_lower_bound():
    x, labels = labeled(TARGET, 60)
    wide = Ball("l2", 1.0)
    assert gives_gradients(TARGET, x)
    assert not gives_gradients(Shut(TARGET), x)
    searched = transferred(TARGET, Shut(TARGET), x, labels, ball=wide, seed=0)
    assert searched.partial
    assert not searched.masked
    assert set(searched.fooled) == {"rgf on itself", "square on itself"}
    climbed = transferred(TARGET, TARGET, x, labels, ball=wide, seed=0)
    assert not climbed.partial
    assert 0.5 < searched.rate(level=0.95).value <= climbed.rate(level=0.95).value


def test_a_query_attack_that_needs_a_guide_finds_no_points_by_itself():
    with pytest.raises(ConfigError, match="needs a model with gradients"):
        QueryTransfer(PriorRgf())
    with pytest.raises(ConfigError, match="at least one question"):
        QueryTransfer(Rgf(), budget=0)


def test_an_oracle_refuses_before_it_answers_beyond_the_budget():
    counting = Counting(TARGET)
    oracle = Oracle(counting, rows=2, budget=3)
    x = rows(4)
    oracle.scores(x[:3], torch.tensor([0, 0, 1]))
    assert oracle.left(torch.tensor([0, 1])).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="budget of 3"):
        oracle.scores(x[:2], torch.tensor([0, 0]))
    assert oracle.asked.tolist() == [2, 1]
    assert sum(map(len, counting.heard)) == 3


@given(
    st.sampled_from(["linf", "l2"]),
    st.floats(0, 2, width=32),
    st.integers(0, 1000),
    st.floats(0.01, 100),
)
def test_projection_keeps_the_ball_and_what_is_in_it(norm, radius, seed, far):
    ball = Ball(norm, radius)
    x = rows(5, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    points = x + far * torch.randn(x.shape, generator=draw)
    put = ball.project(points, x)
    assert ball.holds(put, x, rounding=1e-5).all()
    assert torch.allclose(ball.project(put, x), put, atol=1e-5)
    assert ball.holds(ball.draw(x, draw), x, rounding=1e-5).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_radius_of_zero_leaves_rows_alone(norm):
    x, labels = labeled(SOURCE, 4)
    assert torch.equal(craft(Pgd(), SOURCE, x, labels, ball=Ball(norm, 0.0), seed=0), x)


def test_units_do_not_depend_on_the_preprocessing():
    x, labels = labeled(SOURCE, 10)
    span = InputRange.of_images([0.4, 0.5], [0.2, 0.3])
    inputs = span.inputs(x)

    class Standardized(nn.Module):
        def forward(self, given):
            return SOURCE(span.units(given))

    wrapped = UnitInputModel(Standardized(), span)
    assert torch.allclose(span.units(inputs), x, atol=1e-6)
    assert torch.allclose(wrapped(x), SOURCE(x), atol=1e-5)
    direct = craft(Pgd(), SOURCE, x.double(), labels, ball=BALLS[1], seed=0)
    through = craft(Pgd(), wrapped, x.double(), labels, ball=BALLS[1], seed=0)
    assert torch.allclose(direct, through, atol=1e-4)
