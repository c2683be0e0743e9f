"""A model that only weakness explains cannot pass before its stated accuracy is borne out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from typer.testing import CliRunner

from pytest_safecompress import assert_safe
from safecompress import Limits, audit, compress, record, splits_from_arrays
from safecompress.checks.plausibility import objection_to
from safecompress.cli.app import app
from safecompress.errors import ConfigError, ModelError
from tests.wirings import Wiring, logits, wired

OPEN = Limits(max_auc=0.95, max_group_auc=0.99, max_tpr=((0.9, 0.01),))
"""Limits that every model here keeps, so that nothing but the doubt decides."""
N = 1000


def stump() -> Wiring:
    """Return a tree of one split, which is right far less often than a plane can be."""
    found = wired("logistic", n=N)
    model = DecisionTreeClassifier(max_depth=1, random_state=0).fit(found.x[:N], found.y[:N])
    return replace(found, z=logits(model, found.x, found.classes), model=model)


WEAK = stump()
RIGHT = float((WEAK.z[N:].argmax(1) == WEAK.y[N:]).mean())
GROUPS = (WEAK.x[:N], WEAK.y[:N]), (WEAK.x[N:], WEAK.y[N:])


class Stump(nn.Module):
    """The stump as a module; the weight is there to be compressed."""

    def __init__(self) -> None:
        super().__init__()
        tree = WEAK.model.tree_
        values = np.log(np.clip(tree.value[1:, 0], 1e-38, None))
        self.register_buffer("threshold", torch.tensor(float(tree.threshold[0])))
        self.column = int(tree.feature[0])
        self.leaves = nn.Linear(2, WEAK.classes, bias=False)
        with torch.no_grad():
            self.leaves.weight.copy_(torch.from_numpy(values.T))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = (x[:, self.column] <= self.threshold).to(self.leaves.weight.dtype)
        return self.leaves(torch.stack([left, 1 - left], dim=1))


def test_the_weak_model_is_doubted_and_nothing_is_proven_against_it() -> None:
    objection = objection_to(WEAK.outputs(), WEAK.rows())
    assert objection is not None
    assert not objection.proven
    assert "a simple classifier fitted on half of these rows" in objection.text
    assert "or a model that is meant to be so weak." in objection.text
    assert objection_to(WEAK.outputs()) is None


@pytest.mark.parametrize("model", ["estimator", "record"])
def test_a_doubt_leaves_a_pass_undecided_and_a_stated_accuracy_settles_it(model: str) -> None:
    target = WEAK.model if model == "estimator" else record(WEAK.model, *GROUPS)
    data = GROUPS if model == "estimator" else None
    verdict = audit(target, data, limits=OPEN).verdict
    assert verdict.status == "INCONCLUSIVE"
    assert "a control is in doubt: own inputs, model." in verdict.sentence
    steps = " ".join(verdict.document.to_json()["next_steps"])
    assert "--accuracy" in steps
    settled = audit(target, data, limits=OPEN, accuracy=round(RIGHT, 2)).verdict
    assert settled.status == "PASS", settled.sentence
    assert any("of the non-members, as the stated" in r for r in settled.document.remarks)


def test_a_doubt_does_not_hide_a_failure() -> None:
    # 0.5 is a limit that no interval keeps; a decided failure needs a leak, so members get theirs.
    leaky = record(WEAK.model, *GROUPS)
    members = leaky.evidence.members
    sure = members.outputs.logits.exp() + 0.25 * torch.nn.functional.one_hot(
        members.outputs.labels, WEAK.classes
    )
    logits_ = (sure / sure.sum(1, keepdim=True)).log()
    evidence = replace(
        leaky.evidence,
        members=replace(members, outputs=replace(members.outputs, logits=logits_)),
    )
    verdict = audit(replace(leaky, evidence=evidence)).verdict
    assert verdict.status == "FAIL"


@pytest.mark.parametrize(
    ("stated", "cause"), [(0.95, "wrong preprocessing"), (0.05, "the model was trained on")]
)
def test_a_stated_accuracy_that_the_rows_contradict_is_refused(stated: float, cause: str) -> None:
    expected = f"right on {RIGHT:.1%} of {N} non-members, though it is stated to be right on"
    for ask in (audit, assert_safe):
        with pytest.raises(ModelError, match=expected) as caught:
            ask(WEAK.model, GROUPS, accuracy=stated)
        assert cause in str(caught.value)


@pytest.mark.parametrize("stated", [-0.1, 1.2, "much", float("nan")])
def test_an_accuracy_that_is_no_share_is_refused(stated: object) -> None:
    with pytest.raises(ConfigError, match="accuracy"):
        audit(WEAK.model, GROUPS, accuracy=stated)  # type: ignore[arg-type]


def test_a_run_refuses_such_weights_before_training_unless_their_accuracy_is_stated(
    tmp_path: Path,
) -> None:
    (x, y), others = GROUPS
    splits = splits_from_arrays(
        x.astype(np.float32),
        y,
        test=(others[0].astype(np.float32), others[1]),
        split={"membership": "pair"},
        weights_given=True,
        seed=0,
    )
    train = {"epochs": 1, "precision": "32-true"}
    config = {"sparse": {"density": 0.9, "rounds": 0, "train": train}}
    with pytest.raises(ModelError, match="state the accuracy that they have") as caught:
        compress(Stump(), splits, config=config, out=tmp_path / "run")
    assert "a simple classifier fitted on half of these rows" in str(caught.value)
    assert not (tmp_path / "run").exists()
    stated = config | {"verdict": {"dense_accuracy": round(RIGHT, 2)}}
    compress(Stump(), splits, config=stated, out=tmp_path / "run")
    with pytest.raises(ModelError, match="though it is stated"):
        compress(Stump(), splits, config=config | {"verdict": {"dense_accuracy": 0.99}})


def test_the_command_line_takes_an_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    z, y = WEAK.z.astype(np.float32), WEAK.y
    np.savez(
        path,
        member_logits=z[:N],
        member_labels=y[:N],
        nonmember_logits=z[N:],
        nonmember_labels=y[N:],
    )
    out = ["--out", str(tmp_path / "audit")]
    refused = CliRunner().invoke(app, ["audit", str(path), "--accuracy", "0.9", *out])
    assert isinstance(refused.exception, ModelError)
    taken = CliRunner().invoke(app, ["audit", str(path), "--accuracy", f"{RIGHT:.2f}", *out])
    assert "as the stated accuracy" in taken.output
