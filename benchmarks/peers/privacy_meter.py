"""ML Privacy Meter (privacytrustlab/ml_privacy_meter): offline RMIA, shadow models included.

Its own loop trains, with its own learning-rate schedule and without its test pass after every
epoch; its loader is asked for no further processes. Signals and attack are its functions.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dataset.utils import get_dataloader
from get_signals import get_softmax
from models.utils import split_dataset_for_training
from torch.utils.data import Subset, TensorDataset
from trainers.default_trainer import train

from attacks import run_rmia
from benchmarks.peers.exercise import TRAINING, Clock, Exercise, Floats, Scoring, run
from benchmarks.peers.model import Perceptron

SETTINGS = {
    "epochs": TRAINING["epochs"],
    "optimizer": "SGD",
    # Its schedule multiplies by 0.1.
    "learning_rate": 10.0 * TRAINING["lr"],
    "momentum": TRAINING["momentum"],
    "weight_decay": TRAINING["weight_decay"],
    "device": "cpu",
}
OFFLINE_A = 0.3


def score(exercise: Exercise) -> Floats:
    """Score every row, given logits in memory."""
    return rmia(
        exercise,
        exercise.probabilities(exercise.target),
        exercise.probabilities(exercise.shadows),
        exercise.seen,
    )


def rmia(exercise: Exercise, target: Floats, shadows: Floats, seen: Floats) -> Floats:
    """Score every row; the population is the one that our side has.

    The tool attacks model 0 of pairs that share all rows out, and leaves its partner out, so the
    target stands for both.
    """
    signals = np.concatenate([np.stack([target, target]), shadows]).T
    members = np.concatenate([np.stack([exercise.target_seen, ~exercise.target_seen]), seen]).T
    scores: Floats = run_rmia(
        0, signals, signals[exercise.population], members, len(shadows) // 2, OFFLINE_A
    )
    return scores


def scorings(exercise: Exercise, folder: Path) -> Mapping[str, Scoring]:
    """Return its attack on the given shadow models."""
    del exercise, folder
    return {"rmia-offline": score}


def whole(
    exercise: Exercise, count: int, seed: int, folder: Path
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Train the shadow models and score every row."""
    del folder
    np.random.seed(seed)
    torch.manual_seed(seed)
    x, y = torch.from_numpy(exercise.x), torch.from_numpy(exercise.y)
    quiet = contextlib.redirect_stdout(open(os.devnull, "w"))  # noqa: SIM115, PTH123
    silent = contextlib.redirect_stderr(open(os.devnull, "w"))  # noqa: SIM115, PTH123
    said = []
    with quiet, silent, Clock() as training:
        data = TensorDataset(x, y)
        splits, seen = split_dataset_for_training(len(y), count // 2)
        for split in splits:
            rows = Subset(data, split["train"])
            size = TRAINING["batch_size"]
            loader = get_dataloader(rows, batch_size=size, shuffle=True, num_workers=0)
            model = train(Perceptron(), loader, SETTINGS)
            said.append(get_softmax(model, x, y.reshape(-1, 1), 512, "cpu").ravel())
    with Clock() as scoring:
        target = exercise.probabilities(exercise.target)
        scores = {"rmia-offline": rmia(exercise, target, np.stack(said), seen)}
    return {"training": training.read(), "scoring": scoring.read()}, scores


if __name__ == "__main__":
    run(scorings, whole)
