"""A pair of which one model is an ONNX file: what is measured, and what is said to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from safecompress.audit import Limits, audit
from safecompress.errors import UsageError
from tests.pairs import brisk_pairs
from tests.target_files import (
    CLASSES,
    FEATURES,
    WEIGHTS,
    audited,
    groups,
    linear_onnx,
    saved_groups,
)

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytestmark = pytest.mark.filterwarnings("ignore")

DATA = groups(200)
LIMITS = Limits(max_auc=0.99, max_transfer=0.9)
PAIR = ("transfer-linf.rate", "transfer-l2.rate", "query-saving-l2.ratio")


def linear(steps: int = 0) -> nn.Module:
    """The file's own weights as a module, in a few steps each where told."""
    weights = torch.from_numpy(WEIGHTS.T.copy())
    if steps:
        size = weights.abs().max() / steps
        weights = (weights / size).round() * size
    model = nn.Linear(FEATURES, CLASSES, bias=False)
    with torch.no_grad():
        model.weight.copy_(weights)
    return model


def checks(found):
    return {c["name"].split()[0]: c for c in found.verdict.document.to_json()["checks"]}


@pytest.fixture(scope="module", autouse=True)
def brisk():
    with brisk_pairs():
        yield


@pytest.fixture(scope="module")
def by_module(brisk):
    torch.manual_seed(0)
    return audit(linear(4), DATA, against=linear(), limits=LIMITS)


@pytest.mark.parametrize(
    "form",
    [{}, {"dtype": "DOUBLE"}, {"softmax": True, "output": "probabilities"}, {"batch": 7}],
    ids=["plain", "double", "probabilities", "fixed batch"],
)
def test_a_file_attacked_is_the_module_attacked(form, by_module, tmp_path):
    small, file = linear(4), linear_onnx(tmp_path / "full.onnx", **form)
    by_file = audit(small, DATA, against=file, limits=LIMITS)
    ours, theirs = checks(by_file), checks(by_module)
    for name in PAIR:
        got, wanted = ([c[k] for k in ("value", "low", "high")] for c in (ours[name], theirs[name]))
        # Rounding may turn a row or two.
        assert got == pytest.approx(wanted, abs=0.02 if name.startswith("transfer") else 0.5)
    alike = by_file.verdict.document.to_json()["against"]
    module = by_module.verdict.document.to_json()["against"]
    assert alike["similarity"]["agreement"] == module["similarity"]["agreement"]
    assert alike["similarity"]["divergence"]["value"] == pytest.approx(
        module["similarity"]["divergence"]["value"], abs=1e-4
    )
    assert alike["similarity"]["gradients"] is None
    assert alike["similarity"]["features"] is None
    assert "the full model gives none" in alike["not_measured"]
    assert by_file.verdict.figures["transfer"]


def test_a_small_file_is_measured_as_far_as_it_can_be(tmp_path):
    file, members, others = linear_onnx(tmp_path / "small.onnx"), *saved_groups(tmp_path, DATA)
    full = linear_onnx(tmp_path / "full.onnx", softmax=True, output="probabilities")
    out = tmp_path / "out"
    code, _, told = audited(
        file, "--data", members, others, "--against", full, "--out", out, "--max-auc", "0.99"
    )
    assert code in {1, 3}, told
    document = json.loads((out / "verdict.json").read_text())
    named = {c["name"].split()[0]: c for c in document["checks"]}
    assert named["transfer-l2.rate"]["high"] == 1
    assert named["transfer-l2.rate"]["value"] > 0
    assert "lower bound" in named["transfer-l2.rate"]["message"]
    assert "query-saving-l2.ratio" not in named
    alike = document["against"]
    assert alike["similarity"]["agreement"]["value"] == 1
    assert alike["similarity"]["divergence"]["value"] == pytest.approx(0, abs=1e-6)
    assert alike["similarity"]["features"] is None
    # One statement, in the scope that the command and the page print.
    assert alike["not_measured"] in document["scope"]
    for what in ("input gradients", "query saving", "linear CKA"):
        assert what in alike["not_measured"]
    page = (out / "report.html").read_text()
    assert "The small model gives no gradients" in page
    assert "same class" in page
    assert "mean cosine of input gradients" not in page


def test_a_file_of_integers_is_no_full_model_of_real_rows(tmp_path):
    file = linear_onnx(tmp_path / "full.onnx", dtype="INT64")
    with pytest.raises(UsageError, match="the full model fails on inputs of shape") as caught:
        audit(linear(4), DATA, against=file, limits=LIMITS)
    assert "can still be compared" in str(caught.value)


def test_a_file_of_other_classes_is_refused(tmp_path):
    file = linear_onnx(tmp_path / "full.onnx", classes=2)
    with pytest.raises(UsageError, match=r"the full model has \(2,\) classes, the other 3"):
        audit(linear(4), DATA, against=Path(file), limits=LIMITS)


def test_rows_of_the_file_are_asked_in_its_own_precision(tmp_path):
    from safecompress.targets import open_target

    model = open_target(linear_onnx(tmp_path / "half.onnx", dtype="FLOAT16")).model
    x = torch.from_numpy(DATA[0][0][:5])
    half = x.half().float().numpy() @ WEIGHTS
    assert np.allclose(model(x), half, atol=1e-5)
