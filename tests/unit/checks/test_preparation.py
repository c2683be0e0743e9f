"""A model that knows its members only when they are prepared otherwise is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from safecompress.checks.plausibility import objection_to
from safecompress.checks.preparation import better_preparation
from safecompress.protocols import Outputs, Rows
from tests.wirings import MODELS, Wiring, logits, wired


def asking(found: Wiring) -> Callable[[Rows], Outputs]:
    def ask(rows: Rows) -> Outputs:
        assert isinstance(rows.inputs, torch.Tensor)
        z = logits(found.model, rows.inputs.double().numpy(), found.classes)
        return Outputs(torch.from_numpy(z.astype(np.float32)), rows.labels, rows.ids)

    return ask


def better(found: Wiring) -> str:
    members, outputs = found.rows().members, found.outputs().members
    return better_preparation(asking(found), members, outputs.correct)


FAULTS: dict[str, Callable[[Wiring], np.ndarray]] = {
    "raw values": lambda f: f.raw,
    "other statistics": lambda f: (f.raw - f.raw.mean(0) * 0.5) / (f.raw.std(0) * 3),
    "0 to 1": lambda f: (f.raw - f.raw.min(0)) / (f.raw.max(0) - f.raw.min(0)),
    "bytes": lambda f: f.x / 255,
    "divided twice": lambda f: f.x * 255,
    "reversed columns": lambda f: f.x[:, ::-1].copy(),
}


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["network", "tree", "forest"])
def test_each_other_preparation_is_found(kind: str, fault: str, noise: float) -> None:
    found = wired(kind, noise=noise)
    faulty = found.fed(FAULTS[fault](found))
    n = found.n
    right, wrong = ((f.z[:n].argmax(1) == f.y[:n]).mean() for f in (found, faulty))
    text = better(faulty)
    assert right - wrong < 0.15 or text
    objection = objection_to(faulty.outputs(), faulty.rows(), ask=asking(faulty))
    if text:
        assert objection is not None
        assert objection.proven
        assert "a forgotten scaler" in objection.text


def test_the_better_preparation_is_named_with_its_accuracies() -> None:
    found = wired("tree", noise=0.4)
    text = better(found.fed(found.x[:, ::-1].copy()))
    assert re.fullmatch(
        r"right on \d+\.\d% of 400 members as they are, and on 100\.0% of the same members with "
        "columns or channels in reversed order",
        text,
    )


@pytest.mark.parametrize("classes", [2, 5, 20])
@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("kind", list(MODELS))
def test_no_other_preparation_suits_a_sound_model(kind: str, noise: float, classes: int) -> None:
    assert better(wired(kind, noise=noise, classes=classes)) == ""


def test_a_model_that_weighs_a_rare_class_gains_accuracy_alone_and_is_sound() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2000, 6))
    y = (draw.random(2000) < 1 / (1 + np.exp(3 - x[:, 0]))).astype(np.int64)

    class Weighed:
        classes_ = np.arange(2)

        def predict_proba(self, given: np.ndarray) -> np.ndarray:
            p = 1 / (1 + np.exp(-given[:, 0]))
            return np.c_[1 - p, p]

    model = Weighed()
    found = Wiring(x, logits(model, x, 2), y, x, model)
    # Always saying no is right far more often, and worth nothing.
    assert (y[:1000] == 0).mean() > (found.z[:1000].argmax(1) == y[:1000]).mean() + 0.2
    assert better(found) == ""


def test_images_are_standardized_by_channel_and_a_model_may_refuse_them() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, 4, 4, generator=draw)
    y = x.mean(dim=(2, 3)).argmax(dim=1)
    raw = x * torch.tensor([10.0, 1.0, 50.0]).reshape(3, 1, 1) + 100

    def ask(rows: Rows) -> Outputs:
        assert isinstance(rows.inputs, torch.Tensor)
        return Outputs(rows.inputs.mean(dim=(2, 3)), rows.labels, rows.ids)

    rows = Rows(raw, y, torch.arange(200))
    assert "with standardized columns" in better_preparation(ask, rows, ask(rows).correct)

    def refusing(rows: Rows) -> Outputs:
        raise RuntimeError("not my inputs")

    assert better_preparation(refusing, rows, ask(rows).correct) == ""


def test_integers_and_models_that_are_mostly_right_are_not_asked() -> None:
    def never(rows: Rows) -> Outputs:
        raise AssertionError

    y, ids = torch.arange(100) % 3, torch.arange(100)
    wrong = torch.zeros(100, dtype=torch.bool)
    assert better_preparation(never, Rows(torch.ones(100, 4).long(), y, ids), wrong) == ""
    assert better_preparation(never, Rows(torch.ones(100, 4), y, ids), ~wrong) == ""
