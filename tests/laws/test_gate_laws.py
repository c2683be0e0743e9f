"""Laws of what is judged: a wiring fault of a leaking model never passes; honest data are judged.

Instances are generated, so that a rule that fits the examples of a bug report alone is found out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safecompress import audit
from safecompress.errors import SafeCompressError
from tests import support
from tests.made_audits import FORMS, SOUND, Arrays
from tests.wiring_faults import FAULTS
from tests.wrong_inputs import WRONG_INPUTS, Overfitted, overfitted

BLOCKS = 10
MODELS = 6
MOST_REFUSED = 0.005


def _outcome(arrays: Arrays, folder: Path) -> tuple[str, str]:
    """Return the verdict of an audit and its sentence, or REFUSED and the reason."""
    path = folder / "outputs.npz"
    np.savez(path, **arrays)
    try:
        verdict = audit(path).verdict
    except SafeCompressError as error:
        return "REFUSED", str(error)
    return str(verdict.status), verdict.sentence


@pytest.mark.parametrize("fault", FAULTS)
def test_a_leaking_model_with_a_wiring_fault_never_passes(fault: str, tmp_path: Path) -> None:
    passed = []
    for number in range(support.count(1, 100)):
        draw = np.random.default_rng([number, sorted(FAULTS).index(fault)])
        status, sentence = _outcome(FAULTS[fault](draw), tmp_path)
        assert sentence
        if status == "PASS":
            passed.append((number, sentence))
    assert not passed


@pytest.mark.parametrize("change", WRONG_INPUTS)
def test_a_model_that_gets_wrong_inputs_never_passes(change: str) -> None:
    passed = []
    for number in range(support.count(2, 30)):
        draw = np.random.default_rng([number, 5])
        model = overfitted(number % MODELS)
        rows = WRONG_INPUTS[change](model, draw)

        def ask(given: Any, model: Overfitted = model) -> Any:
            return model.ask(np.asarray(given, dtype=np.float64))

        try:
            verdict = audit(ask, model.groups(rows)).verdict
        except SafeCompressError:
            continue
        if verdict.status == "PASS":
            passed.append((number, verdict.sentence))
    assert not passed


@pytest.mark.parametrize("number", range(MODELS))
def test_the_same_models_fail_on_their_own_inputs(number: int) -> None:
    model = overfitted(number)
    found = audit(lambda x: model.ask(np.asarray(x, np.float64)), model.groups(model.scaled))
    assert found.verdict.status == "FAIL"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_honest_data_are_judged_in_every_form(block: int, tmp_path: Path) -> None:
    """At most one honest audit in two hundred is refused or an ERROR, and each says why."""
    instances = [(kind, form) for kind in SOUND for form in FORMS]
    count = support.count(3, 208)
    not_judged = []
    for number in range(count):
        kind, form = instances[(block * count + number) % len(instances)]
        draw = np.random.default_rng([2000 + number, block])
        status, sentence = _outcome(FORMS[form](SOUND[kind](draw)), tmp_path)
        assert sentence
        if status in {"REFUSED", "ERROR"}:
            not_judged.append((kind, form, status, sentence))
    assert len(not_judged) <= MOST_REFUSED * count, not_judged
