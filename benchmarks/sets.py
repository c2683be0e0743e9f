"""The data sets of the long benchmarks: which recipe, and what is set otherwise than in it."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"

FP32 = ("dense.precision=32-true", "sparse.train.precision=32-true")
"""So that the same cell does the same arithmetic wherever it is made. It comes after the settings,
some of which set whole sections."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "location30": ("sparse.train.batch_size=128",),
    "banking77": ("dense.batch_size=128", "sparse.train.batch_size=128"),
    "cifar100-alexnet": (
        "data.split.rows=10000",
        "data.split.members=5000",
        'dense={"epochs":10,"batch_size":64,"lr":0.02,"schedule":"cosine","warmup":0.1}',
        "teachers.folds=2",
        "teachers.held_out=1",
        'sparse.train={"epochs":12,"batch_size":64,"lr":0.02}',
        "sparse.rounds=3",
    ),
}
"""By recipe, the same for every method. CIFAR-100 goes without augmentation, so that ten epochs
learn the rows by heart as the literature's hundreds do, and with two teachers, each of half the
members."""
