"""`SixNumbersAttack`: how sure a model is of a row, beside models that had no part in its labels.

A model that learned from soft labels never fits a row's own label. What it has memorized shows in
how sure it is of anything, more than in what it thinks of that label. Attacks that read the label's
log-odds alone miss that, and a search which they steer moves the leak to where they do not look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from safecompress.attacks.metric import Terms, minus_log
from safecompress.attacks.network import NetworkAttack
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Evidence, Judges, Outputs


def _own_numbers(outputs: Outputs) -> Tensor:
    """Return label's log-odds, entropy, largest log-probability and its log-odds, (n, 4)."""
    known = Terms.of(outputs)
    columns = (known.odds, known.entropy, -minus_log(known.top_odds), known.top_odds)
    # With a single class the log-odds are infinite and carry no information.
    return torch.stack(columns, dim=1).nan_to_num(posinf=0.0)


@dataclass(frozen=True)
class SixNumbersAttack(NetworkAttack):
    """A small network on four numbers of the target's answer and two of the judges'.

    They are the target's log-odds of the label, its entropy, its largest log-probability and the
    log-odds of that class; and the judges' mean log-odds of the label and mean entropy, which say
    how hard the row is. It never reads how far the target's answer lies from the judges': a model
    is close to whatever it learned from.

    Reference: difficulty calibration, Watson et al., ICLR 2022; here learned, and of the whole
    answer's certainty beside the label's log-odds.
    """

    name: ClassVar[str] = "six-numbers"
    signals: ClassVar[str] = "comparison"
    requires: ClassVar[frozenset[str]] = frozenset({"judges"})

    def features(self, evidence: Evidence) -> Tensor:
        """Return the six numbers of each row, float64 (n, 6), in nats.

        Args:
            evidence: outputs of the target, and figures of judges, on n rows.
        """
        judges = cast(Judges, evidence.judges)
        hardness = torch.stack([judges.log_odds.mean(dim=0), judges.entropy.mean(dim=0)], dim=1)
        return torch.cat([evidence.outputs.per_row(_own_numbers), hardness], dim=1)


ATTACKS.add(
    "six-numbers",
    SixNumbersAttack,
    summary="a small network on how sure the model is, beside models that labeled none of its rows",
    reference="after Watson et al., ICLR 2022",
    cost="about 0.05 s for 1,000 + 1,000 fit rows on one core, once judges are trained",
)
