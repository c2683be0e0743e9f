"""`learning_rate`: the learning rate as a pure function of the step."""

from __future__ import annotations

import math

from safecompress.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, *, total: int) -> float:
    """Return the learning rate of one step.

    Args:
        config: peak rate, schedule, milestones and warm-up.
        step: steps of the stage before this one, from 0; beyond the end the last rate stays.
        total: steps of the stage.

    Returns:
        The rate, at least 0.

    >>> config = TrainConfig(lr=0.1, milestones=(0.5,), gamma=0.1)
    >>> [round(learning_rate(config, step, total=4), 6) for step in range(4)]
    [0.1, 0.1, 0.01, 0.01]
    """
    warm = round(config.warmup * total)
    if step < warm:
        return config.lr * (step + 1) / (warm + 1)
    if config.schedule == "multi-step":
        passed = sum(step >= round(share * total) for share in config.milestones)
        return float(config.lr * config.gamma**passed)
    progress = min(1.0, (step - warm) / max(1, total - warm))
    if config.schedule == "cosine":
        return config.lr * (1.0 + math.cos(math.pi * progress)) / 2.0
    if config.schedule == "linear":
        return config.lr * (1.0 - progress)
    return config.lr
