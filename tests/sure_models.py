"""Outputs of imaginary models that leak nothing, of any sureness, and attacks that are broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from safecompress.attacks.metric import true_class_log_odds
from safecompress.protocols import Attack, Evidence, Outputs

FORMS = ("logits", "float16 probabilities", "two decimals")
"""How outputs are recorded; all but the first hide how sure a sure model is."""


def sure_outputs(n: int, *, classes: int, sure: float, seed: int, form: str = "logits") -> Outputs:
    """Return outputs on n rows whose label has log-odds of median `sure`, in nats."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=source)
    logits = 0.5 * torch.randn(n, classes, generator=source)
    odds = sure + 2.5 * torch.randn(n, generator=source)
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    logits[torch.arange(n), labels] = odds + others
    probabilities = logits.double().softmax(1)
    if form == "float16 probabilities":
        logits = probabilities.half().float().clamp_min(1e-38).log()
    elif form == "two decimals":
        logits = probabilities.mul(100).round().div(100).float().clamp_min(1e-38).log()
    return Outputs(logits, labels, torch.arange(n))


def _noise(evidence: Evidence) -> Tensor:
    seed = int(evidence.outputs.ids.sum()) % 10**6
    source = torch.Generator().manual_seed(seed)
    return torch.rand(len(evidence.outputs), generator=source).double()


def _constant(evidence: Evidence) -> Tensor:
    return torch.zeros(len(evidence.outputs), dtype=torch.float64)


def _reversed(evidence: Evidence) -> Tensor:
    odds = -true_class_log_odds(evidence.outputs)
    if evidence.references is None:
        return odds
    return odds + evidence.references.log_odds.mean(dim=0)


def _not_a_number(evidence: Evidence) -> Tensor:
    return torch.full((len(evidence.outputs),), torch.nan, dtype=torch.float64)


def _mostly_noise(evidence: Evidence) -> Tensor:
    ranks = true_class_log_odds(evidence.outputs).argsort().argsort().double()
    return 0.15 * ranks / len(ranks) + _noise(evidence)


FAULTS: dict[str, Callable[[Evidence], Tensor]] = {
    "noise": _noise,
    "constant": _constant,
    "reversed": _reversed,
    "nan": _not_a_number,
    "mostly noise": _mostly_noise,
}


def broken_attack(fault: str, *, needs: str = "", learns: bool = False) -> Attack:
    """Return an attack with a fault.

    Args:
        fault: one of `FAULTS`.
        needs: the evidence that it asks for besides outputs; empty for none.
        learns: whether it scores the judged half only.
    """

    def score(self: Attack, fitted: Any, evidence: Evidence) -> Tensor:
        return FAULTS[fault](evidence)

    requires = frozenset({needs} if needs else ())
    body = {"name": fault, "requires": requires, "learns": learns, "score": score}
    return dataclass(frozen=True)(type("Broken", (Attack,), body))()
