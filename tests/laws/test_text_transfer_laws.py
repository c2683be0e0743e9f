"""Laws of points in embeddings: balls, padding, batches, and nothing touched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from safecompress.attacks.transfer import (
    TRANSFER_ATTACKS,
    EmbeddingInputModel,
    Pgd,
    Retraining,
    craft,
    retrained,
    space_of,
    transferred,
)
from safecompress.errors import ModelError, UndecidableError
from safecompress.protocols import Ball
from tests.wording import CLASSES, LENGTH, WIDTH, WORDS, Sentences, texts

OF_IMAGES = {"di-fgsm", "ti-fgsm"}
NAMES = [name for name in TRANSFER_ATTACKS.parts if name not in OF_IMAGES]
SMOOTHED = {"ti-fgsm": {"blur": 0.0, "noise": 0.1, "samples": 2}}
REQUESTS = [*NAMES, SMOOTHED, {"pgd": {"restarts": 3, "random_start": True, "early_stop": True}}]
FULL = Sentences(seed=0)
SMALL = copy.deepcopy(FULL)
with torch.no_grad():
    for weight in SMALL.parameters():
        weight.mul_(4).round_().div_(4)

norms = pytest.mark.parametrize("norm", ["linf", "l2"])
targeted = pytest.mark.parametrize("towards", [False, True], ids=["untargeted", "targeted"])


@pytest.fixture
def space():
    return space_of(FULL, SMALL, texts(2))


def labeled(space, n):
    x = space.points(texts(n, seed=1))
    return x, space.full(x).argmax(dim=1)


def aims(labels, towards):
    return (labels + 1) % CLASSES if towards else None


@norms
@targeted
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_points_stay_in_their_ball_and_padding_is_untouched(request_, norm, towards, space):
    x, labels = labeled(space, 12)
    ball = space.ball(norm)
    attack = TRANSFER_ATTACKS.build(request_, where="test")
    found = craft(attack, space.small, x, labels, ball=ball, seed=3, targets=aims(labels, towards))
    assert ball.holds(found, x, rounding=1e-6).all()
    mask = texts(12, seed=1)["attention_mask"].bool()
    assert torch.equal(found[~mask], x[~mask])
    assert torch.equal(found[..., WIDTH:], x[..., WIDTH:])
    moved = (found[..., :WIDTH] != x[..., :WIDTH]).any(dim=2)
    assert (moved == mask).all()


@norms
@targeted
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_rows_crafted_together_are_those_crafted_one_by_one(request_, norm, towards, space):
    x, labels = labeled(space, 40)
    attack, ball = TRANSFER_ATTACKS.build(request_, where="test"), space.ball(norm)
    targets = aims(labels, towards)
    found = craft(attack, space.small, x, labels, ball=ball, seed=3, targets=targets)
    for i in (0, 17, 39):
        one = slice(i, i + 1)
        towards_one = None if targets is None else targets[one]
        alone = craft(
            attack, space.small, x[one], labels[one], ball=ball, seed=3, targets=towards_one
        )
        assert torch.equal(alone, found[one])


@norms
@pytest.mark.parametrize("name", [*NAMES, SMOOTHED], ids=str)
def test_what_is_crafted_raises_the_loss_it_climbs(name, norm, space):
    x, labels = labeled(space, 30)
    loss = nn.functional.cross_entropy
    attack = TRANSFER_ATTACKS.build(name, where="test")
    found = craft(attack, space.small, x, labels, ball=space.ball(norm), seed=0)
    before = loss(space.small(x), labels, reduction="none")
    assert (loss(space.small(found), labels, reduction="none") > before).all()


@norms
def test_both_models_are_left_as_they_were(norm):
    models = [copy.deepcopy(m).train() for m in (FULL, SMALL)]
    before = [copy.deepcopy(m.state_dict()) for m in models]
    for m in models:
        for p in m.parameters():
            p.grad = torch.full_like(p, 7.0)
    space = space_of(*models, texts(2))
    x, labels = labeled(space, 20)
    transferred(space.full, space.small, x, labels, ball=space.ball(norm), seed=0)
    how = Retraining(epochs=1, noise=0.1, adversarial_steps=2)
    made = retrained(space.small, x, labels, how=how, near=space.ball("l2"), seed=0)
    assert isinstance(made, EmbeddingInputModel)
    assert not torch.equal(made.model.last, models[1].last)
    # Rows are embedded already: the copy's table has nothing to learn.
    assert torch.equal(made.model.table.weight, models[1].table.weight)
    for m, state in zip(models, before, strict=True):
        assert m.training
        assert all(torch.equal(state[k], v) for k, v in m.state_dict().items())
        assert all((p.grad == 7).all() and p.requires_grad for p in m.parameters())
        assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in m.modules())


@pytest.mark.parametrize("masked", [True, False], ids=["mask", "padding read off the tokens"])
def test_a_rows_own_point_says_what_its_tokens_say_to_the_full_model(masked):
    given = texts(50) if masked else texts(50)["input_ids"]
    said = FULL(**given) if masked else FULL(given)
    space = space_of(FULL, SMALL, given)
    assert torch.equal(space.full(space.points(given)), said)
    x, labels = space.points(given), said.argmax(1)
    found = craft(Pgd(), space.small, x, labels, ball=space.ball("l2"), seed=0)
    used = texts(50)["attention_mask"].bool()
    assert torch.equal(found[~used], x[~used])
    assert not torch.equal(found, x)
    still = craft(Pgd(), space.small, x, labels, ball=space.ball("l2", 0.0), seed=0)
    assert torch.equal(still, x)


def test_both_models_are_given_the_full_models_embeddings(space):
    given = texts(5)
    x = space.points(given)
    assert torch.equal(x[..., :WIDTH], FULL.table(given["input_ids"]).detach())
    graft = copy.deepcopy(SMALL)
    graft.table.load_state_dict(FULL.table.state_dict())
    assert torch.equal(space.small(x), graft(**given))
    assert not torch.equal(space.small(x), SMALL(**given))


def test_a_radius_is_a_share_of_a_tokens_length(space):
    lengths = FULL.table.weight.detach().norm(dim=1)
    mean = float(lengths.double().mean())
    assert space.ball("l2", 0.5).radius == pytest.approx(0.5 * mean)
    assert space.ball("linf", 0.1).radius == pytest.approx(0.1 * mean / WIDTH**0.5)
    louder = copy.deepcopy(FULL)
    with torch.no_grad():
        louder.table.weight.mul_(3)
    assert space_of(louder, SMALL, texts(2)).ball("l2").radius == pytest.approx(1.5 * mean)


def test_a_child_helps_more_than_a_stranger_with_the_same_table(space):
    stranger = Sentences(seed=9)
    stranger.table.load_state_dict(FULL.table.state_dict())
    x, labels = labeled(space, 200)
    ball = space.ball("l2")

    def rate(small):
        put = space_of(FULL, small, texts(2)).small
        return transferred(space.full, put, x, labels, ball=ball, seed=0).rate(level=0.95)

    assert rate(SMALL).low > rate(stranger).high


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = Sentences(seed=0), Sentences(seed=1)

    def forward(self, **inputs):
        return self.one(**inputs) + self.other(**inputs)


class Bag(nn.Module):
    """Counts words: nothing is embedded."""

    def forward(self, input_ids, attention_mask):
        return nn.functional.one_hot(input_ids, WORDS).float().sum(dim=1)[:, :CLASSES]


@pytest.mark.parametrize(
    ("small", "told"),
    [
        (
            Sentences(seed=1, words=WORDS + 5),
            "embeds 20 tokens in 4 numbers, the small one 25 in 4",
        ),
        (Sentences(seed=1, width=WIDTH + 1), "in 4 numbers, the small one 20 in 5"),
        (Twice(), "the small model puts its tokens into 2 embedding layers"),
        (Bag(), "the small model puts its tokens into no embedding layers"),
    ],
    ids=["vocabulary", "width", "two tables", "no table"],
)
def test_tables_that_do_not_fit_are_refused(small, told):
    with pytest.raises(ModelError, match=told):
        space_of(FULL, small, texts(3))


def test_a_model_that_cuts_its_batches_is_refused_and_not_misread():
    class Cutting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = FULL

        def forward(self, **inputs):
            parts = [{k: t[i : i + 2] for k, t in inputs.items()} for i in range(0, 4, 2)]
            return torch.cat([self.inner(**part) for part in parts if len(part["input_ids"])])

    space = space_of(Cutting(), SMALL, texts(2))
    with pytest.raises(ModelError, match="no longer asks its embedding layer"):
        space.full(space.points(texts(4)))


def test_other_inputs_are_neither_text_nor_numbers():
    with pytest.raises(UndecidableError, match="one tensor of real numbers, or tokens"):
        space_of(FULL, SMALL, {"ids": torch.ones(3, LENGTH, dtype=torch.int64)})


def test_a_ball_holds_no_point_that_moved_what_may_not():
    ball = Ball("l2", 1.0, moving=lambda rows: torch.tensor([True, False]).expand(rows.shape))
    rows = torch.zeros(1, 2)
    assert ball.holds(torch.tensor([[0.5, 0.0]]), rows)
    assert not ball.holds(torch.tensor([[0.5, 0.1]]), rows)
    assert ball.project(torch.tensor([[0.5, 0.1]]), rows).tolist() == [[0.5, 0.0]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta"])
def test_points_say_what_inputs_embeds_say(family):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if family == "DistilBert":
        sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=WORDS, max_position_embeddings=16, pad_token_id=0, num_labels=3, **sizes
    )
    model = getattr(transformers, f"{family}ForSequenceClassification")(config).eval()
    given = texts(5)
    # Padding stands behind the words: a model told of vectors alone cannot know it to be in front.
    given = {
        k: torch.where(torch.arange(5)[:, None] % 3 == 0, t.flip(1), t) for k, t in given.items()
    }
    space = space_of(model, copy.deepcopy(model), given)
    x = space.points(given)
    changed = x.clone()
    changed[..., :16] += 0.1 * torch.randn(
        5, LENGTH, 16, generator=torch.Generator().manual_seed(0)
    )
    changed = space.ball("l2", 1e6).project(changed, x)
    with torch.no_grad():
        said = space.full(changed)
        wanted = model(inputs_embeds=changed[..., :16], attention_mask=given["attention_mask"])
    assert torch.allclose(said, wanted.logits, atol=1e-6)
    assert not torch.allclose(said, space.full(x), atol=1e-4)
