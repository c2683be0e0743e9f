"""`outside_judges`: of every row the same number of a cohort's models that did not see it."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.attacks.metric import Terms
from safecompress.errors import UndecidableError
from safecompress.protocols import Judges, Outputs, References
from safecompress.randomness import generator


def outside_judges(others: References, labels: Tensor, *, seed: int) -> Judges:
    """Return what models that did not see a row say of it, as many for each row.

    Every other model of a cohort learned from labels or teachers of its own, so none had a part in
    the target's. As many judge each row as did not see the row that most of them saw: another
    number would tell rows apart. Which of more are asked is drawn at random.

    Args:
        others: logits of the other models (`matched`), k for each of n rows.
        labels: int64 (n,), the rows' labels.
        seed: seed of the draws.

    Raises:
        UndecidableError: when every other model saw some row, or only log-odds are known.
    """
    outside = ~others.seen
    count = int(outside.sum(dim=0).min()) if len(others) else 0
    if not count or others.logits is None:
        raise UndecidableError(
            "cohort: judges: some row has no other model that did not see it; train more models."
        )
    drawn = torch.rand(outside.shape, generator=generator(seed, "outside"))
    # Draws are below 1, so models that saw the row come after all that did not.
    asked = (drawn + others.seen).argsort(dim=0)[:count]
    logits = others.logits.of_models(asked).block(slice(0, len(others)))
    numbers = torch.arange(len(labels))
    answers = [Terms.of(Outputs(said, labels, numbers)) for said in logits]
    odds = torch.stack([answer.odds for answer in answers])
    return Judges(odds, torch.stack([answer.entropy for answer in answers]))
