"""Audits of regression and multi-label models: leaks are found, and nothing else is claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from safecompress import Limits, audit, audit_jointly, record, record_predictions
from safecompress.data.predictions import read_predictions
from safecompress.errors import ConfigError, DataError, UsageError

N = 1200


def _numbers(seed: int = 0, *, outputs: int = 1) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(2 * N, 6))
    y = x[:, :outputs] + 0.5 * draw.normal(size=(2 * N, outputs))
    return x, y[:, 0] if outputs == 1 else y


def _labels(seed: int = 0) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(2 * N, 6))
    return x, (x[:, :4] + draw.normal(size=(2 * N, 4)) > 0).astype(int)


def _halves(said: Any, y: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    return (said[:N], y[:N]), (said[N:], y[N:])


def _auc(found: Any, attack: str = "loss") -> float:
    checks = {c.name: c for c in found.verdict.checks}
    return float(checks[f"{attack}.auc ≤ 0.6"].estimate.value)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_regression_that_leaks_nothing_passes_at_one_half(outputs: int) -> None:
    x, y = _numbers(outputs=outputs)
    said = x[:, 0] if outputs == 1 else x[:, :outputs]
    found = audit(record_predictions(*_halves(said, y), task="regression"))
    assert found.verdict.status == "PASS", found.verdict.sentence
    assert _auc(found) == pytest.approx(0.5, abs=0.04)
    document = found.verdict.document.to_json()
    assert document["model"]["accuracy"] is None
    assert document["model"]["outputs"] == "regression"
    assert document["by_class"] == []
    assert document["leak"]["classes"] == []
    assert not any("class" in check["name"] for check in document["checks"])
    assert "R² 0.8" in document["remarks"][0]


def test_an_overfitted_regression_fails_though_its_errors_on_members_are_all_zero() -> None:
    x, y = _numbers()
    model = DecisionTreeRegressor(random_state=0).fit(x[:N], y[:N])
    found = audit(record_predictions(*_halves(model.predict(x), y), task="regression"))
    assert found.verdict.status == "FAIL"
    assert _auc(found) > 0.95
    assert found.strongest in {"loss", "neural"}
    assert "Worst in class" not in found.verdict.sentence


def test_the_loss_attack_ranks_rows_by_their_squared_error() -> None:
    x, y = _numbers()
    model = KNeighborsRegressor(3).fit(x[:N], y[:N])
    said = model.predict(x)
    found = audit(record_predictions(*_halves(said, y), task="regression"))
    expected = roc_auc_score(np.arange(2 * N) < N, -((said - y) ** 2))
    assert _auc(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", ["logits", "probabilities"])
def test_the_cross_entropy_of_the_recorded_columns_is_the_summed_loss(form: Any) -> None:
    x, y = _labels()
    logits = 2 * x[:, :4] + np.random.default_rng(1).normal(size=y.shape) * 4
    said = logits if form == "logits" else 1 / (1 + np.exp(-logits))
    recorded = record_predictions(*_halves(said, y), task="multi-label", outputs=form)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits[:N]), torch.tensor(y[:N]).double(), reduction="none"
    ).sum(1)
    assert torch.allclose(recorded.outputs.members.losses, expected, rtol=1e-4, atol=1e-6)


def test_labels_that_leak_nothing_pass_and_an_overfitted_model_of_labels_fails() -> None:
    x, y = _labels()
    null = audit(
        record_predictions(*_halves(2 * x[:, :4], y), task="multi-label", outputs="logits")
    )
    assert null.verdict.status == "PASS", null.verdict.sentence
    assert _auc(null) == pytest.approx(0.5, abs=0.04)
    tree = DecisionTreeClassifier(random_state=0).fit(x[:N], y[:N])
    said = np.stack([p[:, 1] for p in tree.predict_proba(x)], axis=1)
    recorded = record_predictions(*_halves(said, y), task="multi-label", outputs="probabilities")
    assert "macro-F1 1.000 and mAP 1.000 on the members" in recorded.remarks[0]
    assert audit(recorded).verdict.status == "FAIL"


def test_references_find_members_that_no_threshold_on_the_error_finds(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    hard = draw.exponential(size=2 * N) ** 2 + 0.01
    y, models = 10 * draw.normal(size=2 * N), 16
    seen = draw.random((models + 1, 2 * N)) < 0.5
    seen[0] = np.arange(2 * N) < N
    # Errors of members are smaller by a factor that the hardness of rows hides.
    said = y + draw.normal(size=seen.shape) * hard * np.where(seen, 0.3, 1.0)
    halves = {"member": slice(0, N), "nonmember": slice(N, None)}
    arrays: dict[str, Any] = {"task": "regression"}
    for side, at in halves.items():
        arrays[f"{side}_predictions"], arrays[f"{side}_targets"] = said[0, at], y[at]
        arrays[f"{side}_reference_predictions"] = said[1:, at]
        arrays[f"{side}_reference_seen"] = seen[1:, at]
    np.savez(tmp_path / "r.npz", **arrays)
    found = audit(tmp_path / "r.npz")
    names = {c.name.split(".")[0] for c in found.verdict.checks if ".auc" in c.name}
    assert {"loss", "neural", "rmia"} <= names
    assert any(name.startswith("lira") for name in names)
    assert found.verdict.status == "FAIL"
    strongest = max(_auc(found, name) for name in names if name.startswith("lira"))
    assert strongest > _auc(found) + 0.03
    read = read_predictions(tmp_path / "r.npz")
    assert read.references == models


def test_what_has_no_meaning_for_the_task_is_refused_in_one_sentence() -> None:
    x, y = _numbers()
    recorded = record_predictions(*_halves(x[:, 0], y), task="regression")
    cases: dict[str, dict[str, Any]] = {
        "attack gap": {"attacks": ["gap"]},
        "classes": {"classes": ["a", "b"]},
        "accuracy": {"accuracy": 0.5},
        "standard": {"limits": Limits(standard="aisvs")},
    }
    for named, given in cases.items():
        with pytest.raises(ConfigError, match=f"{named} does not go with a regression model"):
            audit(recorded, **given)


def test_such_models_are_not_compared_with_others() -> None:
    x, y = _numbers()
    recorded = record_predictions(*_halves(x[:, 0], y), task="regression")
    with pytest.raises(ConfigError, match="a baseline does not go with a regression model"):
        audit(recorded, baseline=recorded)
    with pytest.raises(ConfigError, match="a joint audit does not go with a regression model"):
        audit_jointly([recorded, replace(recorded, path=Path("other"))])


def test_predictions_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    x, y = _numbers()
    labels = (y > 0).astype(int)
    bad = x[:, 0].copy()
    bad[3] = np.nan
    cases: list[tuple[type[UsageError], str, Any, Any, dict[str, Any]]] = [
        (DataError, "NaN or infinity", bad, y, {"task": "regression"}),
        (DataError, "of shape", x[:, :2], y, {"task": "regression"}),
        (ConfigError, "expected regression or multi-label", y, y, {"task": "ranking"}),
        (ConfigError, "say whether", y, labels, {"task": "multi-label"}),
        (DataError, "not all 0 or 1", y, y, {"task": "multi-label", "outputs": "logits"}),
        (
            DataError,
            r"expected probabilities in \[0, 1\]",
            *(x[:, 0], labels),
            {"task": "multi-label", "outputs": "probabilities"},
        ),
    ]
    for error, message, said, targets, options in cases:
        with pytest.raises(error, match=message):
            record_predictions(*_halves(said, targets), **options)
    both = {f"{side}_{what}": y for side in ("member", "nonmember") for what in ("predictions",)}
    np.savez(tmp_path / "a.npz", task="regression", **both)
    with pytest.raises(DataError, match="member_targets"):
        audit(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", task="regression", member_group_region=y, **both)
    with pytest.raises(DataError, match="Groups of rows are not judged"):
        audit(tmp_path / "a.npz")
    with pytest.raises(UsageError):
        record(torch.nn.Linear(6, 1), *_halves(torch.tensor(x).float(), y))
