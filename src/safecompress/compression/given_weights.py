"""`given_accuracy`: whether given weights know the members that they are said to have learned."""

from __future__ import annotations

from functools import partial

from torch import nn

from safecompress.checks.plausibility import require_plausible
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import ModelError
from safecompress.protocols import Pool
from safecompress.randomness import permutation
from safecompress.train.predict import predict

_PREDICTED = 4000
"""Most rows of each group that given weights are asked about before a run."""


def given_accuracy(module: nn.Module, splits: Splits, name: str, config: CompressConfig) -> float:
    """Return the accuracy of given weights on a sample of the members.

    Args:
        module: the model with its weights.
        splits: the rows, of which the members are said to have trained them.
        name: the model's name, for messages.
        config: states the accuracy on other rows, where that is known.

    Raises:
        ModelError: when the weights cannot have been trained on these members as they are.
    """
    nonmembers = splits.steer.nonmembers
    rows = Pool(splits.members, nonmembers).map(
        lambda r: r.take(permutation(len(r), 0, "given weights")[:_PREDICTED])
    )
    outputs = rows.map(lambda r: predict(module, r))
    where = f"{name}, with the weights given"
    stated = config.verdict.dense_accuracy
    ask = partial(predict, module)
    if doubt := require_plausible(outputs, rows, where=where, accuracy=stated, ask=ask):
        raise ModelError(
            f"{where}: {doubt} If they are, state the accuracy that they have on rows they were "
            "not trained on (verdict.dense_accuracy); otherwise a verdict would be a false PASS."
        )
    return float(outputs.members.correct.double().mean())
