"""`SETTINGS`: the data sets of the long benchmarks, each a recipe with some settings changed."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"

FP32 = ("dense.precision=32-true", "sparse.train.precision=32-true")
"""Fixes the precision, so that a cell has the same arithmetic on every machine. It is applied after
the other settings, because some of those replace whole sections."""

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
"""Settings by recipe, the same for every method. CIFAR-100 is trained without augmentation, so that
ten epochs memorize the rows as much as hundreds of epochs do in the literature, and with two
teachers, each trained on half of the members."""
