"""Real data sets: known sizes and known duplicates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from safecompress.config import DataConfig
from safecompress.data import load_splits

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        "SAFECOMPRESS_DATA" not in os.environ,
        reason="set SAFECOMPRESS_DATA to the folder with location30, banking77 and cifar100",
    ),
]


def load(source: dict, **split):
    root = Path(os.environ.get("SAFECOMPRESS_DATA", ""))
    placed = {k: root / v if "path" in k else v for k, v in source.items()}
    config = DataConfig.model_validate({"source": placed, "split": split})
    return load_splits(config, seed=0, weights_given=False)


def test_location30_has_no_duplicates_and_stays_binary():
    splits = load({"source": "npz", "path": "location30/location30.npz"})
    assert splits.input_shape == (446,)
    assert splits.report.duplicates == {"repeated_rows_dropped": 0}
    assert len(splits.members) == 2505
    assert set(splits.members.inputs.unique().tolist()) == {0.0, 1.0}


def test_banking77_is_text_with_77_intents():
    splits = load(
        {"source": "csv", "path": "banking77/train.csv", "test_path": "banking77/test.csv"},
        membership="pair",
    )
    assert splits.classes == 77
    assert len(splits.members) == 10003
    assert splits.report.classes_without_members == ()
    assert splits.members.inputs.norm(dim=1).max() == pytest.approx(1, abs=1e-5)


def test_cifar100_test_images_that_are_in_train_are_dropped():
    splits = load(
        {
            "source": "npz",
            "path": "cifar100/cifar100.npz",
            **{"x": "x_train", "y": "y_train", "test_x": "x_test", "test_y": "y_test"},
        },
        membership="pair",
    )
    assert splits.input_shape == (3, 32, 32)
    assert splits.report.duplicates == {
        "among_members_kept": 14,
        "nonmembers_like_members_dropped": 10,
        "nonmembers_repeated_dropped": 2,
    }
    assert len(splits.report.dropped) == 12
    assert len(splits.members) == 50_000
