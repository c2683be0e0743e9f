"""What would end in an ERROR after hours of training is refused before it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from safecompress import compress, splits_from_arrays
from safecompress.config import CsvSource
from safecompress.data import load_source
from safecompress.errors import DataError, MembershipError, ModelError

SPARSE = {"density": 0.5, "rounds": 0, "train": {"epochs": 1, "batch_size": 32}}


def test_an_identifier_is_no_text(tmp_path: Path) -> None:
    lines = ["customer,amount,label", *(f"C{i:05d},{i % 7},{i % 3}" for i in range(200))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    source = CsvSource(source="csv", path=tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"'customer' looks like an identifier.*source\.drop"):
        load_source(source)
    dropped = load_source(source.model_copy(update={"drop": ("customer",)}))
    assert [c.name for c in dropped.columns if not isinstance(c, float)] == ["amount"]
    listed = load_source(source.model_copy(update={"text": ("customer",)}))
    assert len(listed.columns) == 2


def test_short_texts_are_text(tmp_path: Path) -> None:
    lines = ["question,label", *(f"where is order {i},{i % 3}" for i in range(200))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    raw = load_source(CsvSource(source="csv", path=tmp_path / "t.csv"))
    assert [c.kind for c in raw.columns if not isinstance(c, float)] == ["text"]


def test_groups_that_differ_by_themselves_are_refused(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(1200, 5)), draw.integers(0, 3, 1200)
    x[600:, 0] += 1.5  # collected later, on another scale
    splits = splits_from_arrays(
        x[:600], y[:600], test=(x[600:], y[600:]), split={"membership": "pair"}, seed=0
    )
    with pytest.raises(DataError, match="blind baseline"):
        compress(lambda: nn.Linear(5, 3), splits, config={"sparse": SPARSE}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_given_weights_get_their_inputs_as_they_are() -> None:
    x = np.random.default_rng(0).normal(loc=20.0, scale=3.0, size=(300, 4)).astype(np.float32)
    y = np.arange(300) % 3

    def members(**options: object) -> torch.Tensor:
        splits = splits_from_arrays(
            x[:150],
            y[:150],
            test=(x[150:], y[150:]),
            split={"membership": "pair"},
            seed=0,
            **options,  # type: ignore[arg-type]
        )
        assert isinstance(splits.members.inputs, torch.Tensor)
        return splits.members.inputs

    assert members(weights_given=True).mean() > 15
    assert abs(float(members(weights_given=False).mean())) < 0.1
    asked = members(weights_given=True, preprocessing={"features": "standardize"})
    assert abs(float(asked.mean())) < 0.1


def test_splits_for_an_untrained_model_do_not_judge_a_trained_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 4))
    splits = splits_from_arrays(
        x[:150],
        np.arange(150) % 3,
        test=(x[150:], np.arange(150) % 3),
        split={"membership": "pair"},
        seed=0,
    )
    with pytest.raises(MembershipError, match="weights_given=True"):
        compress(nn.Linear(4, 3), splits, config={"sparse": SPARSE}, out=tmp_path / "run")


def test_a_class_that_needs_arguments_is_explained(tmp_path: Path) -> None:
    splits = splits_from_arrays(torch.randn(200, 4), torch.arange(200) % 3, seed=0)
    with pytest.raises(ModelError, match="lambda"):
        compress(nn.Linear, splits, config={"sparse": SPARSE}, out=tmp_path / "run")


def test_a_closed_pipe_is_no_verdict(tmp_path: Path) -> None:
    """`| head` must not end a run, and must not end in 1, which says FAIL."""
    (tmp_path / "c.yaml").write_text(
        """
data: {source: {source: sklearn, name: digits}}
model: {name: mlp, options: {hidden: [16]}}
sparse: {density: 0.5, rounds: 1, settle_epochs: 0.5, train: {epochs: 1, precision: 32-true}}
verdict: {checks: [{measure: {attack: {attack: loss}}, condition: {at_most: 0.99}}]}
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "safecompress", "compress", "c.yaml", "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint.decode()
    assert (tmp_path / "run" / "report.html").exists()
