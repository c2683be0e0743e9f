"""The planted leak's bar: no sound attack misses it on any model, and every broken one does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.attacks.controls import no_leak, planted_leak
from safecompress.errors import NonFiniteError, UndecidableError
from tests.quick_attacks import QUICK
from tests.support import count
from tests.sure_models import FAULTS, FORMS, broken_attack, sure_outputs

SLOW = {"neural-published", "white-box-published", "augmentation", "boundary", "samia"}
SOUND = sorted(set(ATTACKS.parts) - SLOW)
MODELS = {
    "n": st.sampled_from([20, 48, 96, 120, 300, 1200]),
    "classes": st.sampled_from([2, 3, 10, 100]),
    "sure": st.sampled_from([-1.0, 2.0, 5.0, 9.0, 13.0, 20.0]),
    "form": st.sampled_from(FORMS),
    "seed": st.integers(0, 10**6),
}


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=count(6, 100), deadline=None)
@given(**MODELS)
def test_no_sound_attack_is_called_broken_on_any_model(name, n, classes, sure, form, seed):
    outputs = sure_outputs(n, classes=classes, sure=sure, seed=seed, form=form)
    attack = ATTACKS.build({name: QUICK.get(name, {})}, where="test")
    for control, options in ((planted_leak, {}), (no_leak, {"level": 1e-6})):
        try:
            result = control(outputs, attack, seed=seed, **options)
        except UndecidableError:
            continue
        assert result.ok, result.message


@pytest.mark.parametrize("needs", ["", "references", "rows", "parent", "internals"])
@pytest.mark.parametrize("fault", sorted(FAULTS))
@settings(max_examples=count(4, 50), deadline=None)
@given(learns=st.booleans(), **MODELS)
def test_a_broken_attack_is_caught_on_every_model(
    fault, needs, learns, n, classes, sure, form, seed
):
    outputs = sure_outputs(n, classes=classes, sure=sure, seed=seed, form=form)
    attack = broken_attack(fault, needs=needs, learns=learns)
    if fault == "nan":
        with pytest.raises(NonFiniteError):
            planted_leak(outputs, attack, seed=seed)
    else:
        result = planted_leak(outputs, attack, seed=seed)
        assert not result.ok, result.message


def test_where_a_sound_attack_sees_nothing_the_control_says_so_instead_of_blaming_it():
    outputs = sure_outputs(400, classes=10, sure=13.0, seed=0, form="float16 probabilities")
    with pytest.raises(UndecidableError, match=r"rmia finds a leak planted in an ordinary model"):
        planted_leak(outputs, ATTACKS.build("rmia", where="test"), seed=0)


@pytest.mark.parametrize("sure", [5.0, 9.0, 13.0])
def test_a_weak_but_sound_attack_passes_where_it_is_beyond_chance(sure):
    outputs = sure_outputs(1500, classes=10, sure=sure, seed=0)
    result = planted_leak(outputs, ATTACKS.build("rmia", where="test"), seed=0)
    assert result.ok
    assert result.p_value < 0.001
    assert result.ordinary_auc > 0.95
