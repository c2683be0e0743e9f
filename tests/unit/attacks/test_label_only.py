"""Label-only attacks: what they ask, what they measure, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.attacks.augmentation import AugmentationAttack
from safecompress.attacks.boundary import BoundaryAttack
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.gap import GapAttack
from safecompress.attacks.imagined import evidence_for
from safecompress.attacks.perturbations import Kind, Perturbations
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Evidence, Pool, Rows, map_inputs, tensors_of
from safecompress.randomness import generator
from safecompress.stats.roc import auc
from safecompress.train.predict import predict

ATTACKS = [AugmentationAttack(levels=3, copies=4), BoundaryAttack(steps=1)]
INPUTS = {
    # Neighboring pixels are alike, as in a picture.
    "images": torch.randn(30, 3, 8, 8, generator=generator(0, "test")).cumsum(2).cumsum(3),
    "yes and no": (torch.rand(30, 40, generator=generator(1, "test")) < 0.3).float(),
    "mixed": torch.cat([torch.randn(30, 5), (torch.rand(30, 5) < 0.5).float()], dim=1),
    "series": torch.randn(30, 4, 9, generator=generator(2, "test")),
    "words": torch.randint(2, 900, (30, 20), generator=generator(3, "test")),
}


class Linear(nn.Module):
    """Two classes, cut by one plane; it counts what it is asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.plane = nn.Linear(width, 1)
        self.asked = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x)
        z = self.plane(x)
        return torch.cat([torch.zeros_like(z), z], dim=1)


def linear_evidence(n: int = 60, width: int = 12, *, wrong: int = 0) -> tuple[Linear, Evidence]:
    torch.manual_seed(0)
    model = Linear(width)
    x = torch.randn(n, width, generator=generator(0, "rows"))
    ids = torch.arange(n)
    labels = predict(model, Rows(x, ids * 0, ids)).logits.argmax(dim=1)
    labels[:wrong] = 1 - labels[:wrong]
    rows = Rows(x, labels, ids)
    evidence = Evidence(predict(model, rows), rows=rows, target=model)
    model.asked = 0
    return model, evidence


def test_the_distance_to_a_plane_is_found():
    model, evidence = linear_evidence()
    found = BoundaryAttack(steps=10, estimates=64).score(None, evidence)
    weight, bias = model.plane.weight.detach()[0], model.plane.bias.detach()
    exact = ((evidence.rows.inputs @ weight + bias).abs() / weight.norm()).double()
    assert bool((found >= exact * (1 - 1e-3)).all())
    assert float((found / exact).median()) < 1.05
    assert float((found / exact).max()) < 1.5


def test_more_steps_come_nearer():
    _, evidence = linear_evidence()
    far, near = (BoundaryAttack(steps=s).score(None, evidence) for s in (0, 6))
    assert bool((near <= far).all())
    assert float(near.mean()) < 0.8 * float(far.mean())


def test_wrong_rows_have_no_distance_and_are_not_asked_about():
    model, evidence = linear_evidence(60, wrong=20)
    attack = BoundaryAttack()
    scores = attack.score(None, evidence)
    assert not scores[:20].any()
    assert bool((scores[20:] > 0).all())
    assert 40 < model.asked <= 40 * attack.most_queries


def test_a_row_without_a_boundary_is_as_far_as_was_looked():
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(3)[torch.zeros(len(x), dtype=torch.long)]

    rows = Rows(torch.randn(5, 4), torch.zeros(5, dtype=torch.long), torch.arange(5))
    evidence = Evidence(predict(Constant(), rows), rows=rows, target=Constant())
    scores = BoundaryAttack().score(None, evidence)
    assert bool((scores == scores[0]).all())
    assert bool(torch.isfinite(scores).all())
    assert float(scores[0]) > 10


def test_every_changed_copy_is_asked_about_once():
    model, evidence = linear_evidence(40)
    attack = AugmentationAttack(levels=3, copies=2)
    fitted = attack.fit(Pool(evidence, evidence), seed=0)
    model.asked = 0
    attack.score(fitted, evidence)
    assert model.asked == 40 * 6


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_two_rows_that_are_both_right_can_be_told_apart(attack):
    members = torch.arange(400) < 200
    evidence = evidence_for(attack, synthetic_outputs(400, seed=0), seed=0, leaking=members)
    assert bool(evidence.outputs.correct.all())
    pool = Pool(evidence.take(members), evidence.take(~members))
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    for one, least, most in ((attack, 0.9, 1.0), (GapAttack(), 0.5, 0.5)):
        scores = one(pool, halves=halves, seed=0).scores
        assert least <= auc(scores.members, scores.nonmembers) <= most


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("level", [0, 3])
def test_a_row_is_changed_whatever_rows_are_beside_it(name, level):
    x = INPUTS[name]
    changes = Perturbations.like(x, seed=3)
    together = changes(x, level=level, copy=1)
    alone = torch.cat([changes(x[i : i + 1], level=level, copy=1) for i in range(len(x))])
    assert together.shape == x.shape
    assert together.dtype == x.dtype
    assert torch.equal(together, alone)


@pytest.mark.parametrize("name", INPUTS)
def test_a_higher_level_changes_more_and_a_copy_otherwise(name):
    x = INPUTS[name]
    changes = Perturbations.like(x, seed=3)

    def moved(level: int, copy: int) -> torch.Tensor:
        return (changes(x, level=level, copy=copy) - x).abs().float()

    low, high = (sum(float(moved(level, c).mean()) for c in range(4)) for level in (0, 4))
    assert low < high
    assert not torch.equal(moved(4, 0), moved(4, 1))


def test_yes_stays_yes_or_becomes_no():
    changed = Perturbations.like(INPUTS["yes and no"], seed=0)(
        INPUTS["yes and no"], level=5, copy=0
    )
    assert set(changed.unique().tolist()) == {0.0, 1.0}
    mixed = Perturbations.like(INPUTS["mixed"], seed=0)(INPUTS["mixed"], level=5, copy=0)
    assert set(mixed[:, 5:].unique().tolist()) <= {0.0, 1.0}
    assert bool((mixed[:, :5] != INPUTS["mixed"][:, :5]).all())


def test_no_word_is_new_and_masks_are_left_alone():
    words = {"input_ids": INPUTS["words"], "attention_mask": torch.ones(30, 20, dtype=torch.long)}
    changes = Perturbations.like(words, seed=0)
    assert changes.kinds == (Kind.WORDS, Kind.MASK)
    changed = changes(words, level=4, copy=0)
    assert torch.equal(changed["attention_mask"], words["attention_mask"])
    for row, before in zip(changed["input_ids"], words["input_ids"], strict=True):
        assert set(row.tolist()) < set(before.tolist())


def test_the_first_shift_is_one_pixel():
    x = INPUTS["images"]
    changed = Perturbations.like(x, seed=0)(x, level=0, copy=0)
    assert torch.equal(changed[:, :, :, 1:], x[:, :, :, :-1])


def test_inputs_of_any_structure_keep_it():
    pair = (INPUTS["images"], INPUTS["mixed"])
    changed = Perturbations.like(pair, seed=0)(pair, level=1, copy=0)
    assert isinstance(changed, tuple)
    assert [t.shape for t in tensors_of(changed)] == [t.shape for t in pair]


@pytest.mark.parametrize("x", [torch.zeros(4, 0), torch.ones(4, 3, dtype=torch.bool)])
def test_where_nothing_can_be_changed_nothing_is_decided(x):
    with pytest.raises(UndecidableError, match="expected images, numbers or words"):
        Perturbations.like(x, seed=0)


def test_words_have_no_distance():
    model, evidence = linear_evidence()
    rows = evidence.rows
    words = Rows(map_inputs(lambda t: t.long(), rows.inputs), rows.labels, rows.ids)
    with pytest.raises(UndecidableError, match="use 'augmentation'"):
        BoundaryAttack().score(None, Evidence(evidence.outputs, rows=words, target=model))


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        (AugmentationAttack, {"levels": 0}),
        (AugmentationAttack, {"copies": 0}),
        (BoundaryAttack, {"directions": 0}),
        (BoundaryAttack, {"steps": -1}),
        (BoundaryAttack, {"estimates": 1}),
    ],
)
def test_options_out_of_range_are_refused(attack, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
        attack(**options)
