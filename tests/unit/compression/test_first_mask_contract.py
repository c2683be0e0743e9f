"""Every registered first mask keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

import pytest

from safecompress.compression.first_masks import FIRST_MASKS, Pruned
from safecompress.compression.first_masks.contract import violations
from tests.contracts import assert_caught, cases
from tests.hostile_first_masks import (
    AlwaysHalf,
    AsksForLabels,
    AsksForMembers,
    AsksForMore,
    AsksForTeachers,
    Counting,
    Dice,
    Differentiates,
    Divides,
    Forgets,
    Half,
    JustADefense,
    LeavesAMode,
    LosesCount,
    Mine,
    Numbers,
    NumpyDice,
    OneByOne,
    OneDefense,
    OneMore,
    OnlyHalf,
    Pair,
    ReadsTheDense,
    Scribbles,
    SecretTraining,
    Soft,
    TakesTheModule,
    Thawed,
    UndeclaredTraining,
    Unsaid,
)
from tests.support import count


@pytest.mark.parametrize("seed", range(count(2, 20)))
@pytest.mark.parametrize("name", sorted(FIRST_MASKS.all()))
def test_every_registered_first_mask_keeps_the_contract(name, seed):
    assert violations(FIRST_MASKS.build(name, where="test"), seed=seed) == ()


BREACHES = {
    "first-masks": [
        (Thawed(), "it is not a frozen dataclass"),
        (AlwaysHalf(), "at density 0.1, uniform: it kept 1088 weights of 2176"),
        (OneMore(), "it kept 1089 weights of 2176; a density of 0.5 asks for 1088"),
        (Numbers(), "it returned the mask of '0.weight' as float32"),
        (Half(), "as float16"),
        (Divides(), "it returned NaN or infinite values"),
        (Forgets(), "it returned weights without '0.bias'"),
        (Pair(), "it returned tuple; expected a FirstMaskStart"),
        (Dice(), "it draws from a global random generator"),
        (Dice(), "the same context gives another start the second time"),
        (NumpyDice(), "it draws from a global random generator"),
        (Counting(), "the same context gives another start the second time"),
        (OneByOne(), "depends on the order in which state_dicts name the weights"),
        (TakesTheModule(), "depends on the weights that the module holds"),
        (Scribbles(), "it changes untrained/0.bias of its context in place"),
        (LeavesAMode(), "leaves the module of its context in another mode"),
        (AsksForMore(), "it declares needs_dense, and another dense model gives the same"),
        (AsksForTeachers(), "it declares needs_teachers, and other teachers give the same"),
        (AsksForMembers(), "it declares looks_at_members, and other members give the same"),
        (Unsaid(), "needs_dense is 1; expected True or False"),
        (ReadsTheDense(), "raised TypeError: 'NoneType' object is not iterable"),
        (Differentiates(), "raised TypeError: 'NoneType' object is not callable"),
        (Soft(), "it set a soft target without declaring needs_teachers or needs_soft_labels"),
        (AsksForLabels(), "it declares needs_soft_labels, and other soft labels give the same"),
        (SecretTraining(), "it does not declare looks_at_members, and other members give"),
        (UndeclaredTraining(), "it does not declare needs_dense, and another dense model"),
        (LosesCount(), "interrupted and resumed leads to another start"),
        (OneDefense(), "training hands out the same defense twice"),
        (JustADefense(), "training returned Gradual; expected FirstMaskTraining"),
    ],
}


@cases(BREACHES)
def test_a_broken_first_mask_is_caught(part, expected):
    assert_caught(violations(part), expected)


@pytest.mark.parametrize("mask", [Mine(), OnlyHalf(), Pruned("gradual", "layer")], ids=repr)
def test_a_sound_first_mask_passes_with_any_seed(mask):
    assert violations(mask, seed=7) == ()
