"""What a black-box attacker reads off one prediction, and a small network that reads it.

The features are those of the neural attack, which solves for its own network on cached outputs.
Adversarial training needs them differentiable, and a network that learns inside the model's own
training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.attacks.metric import Terms, minus_log, terms
from safecompress.protocols import Outputs
from safecompress.randomness import generator

Parameters = tuple[Tensor, Tensor, Tensor, Tensor]
"""Weights and biases of `heads` networks of one hidden layer: (heads, features, hidden),
(heads, 1, hidden), (heads, hidden, 1) and (heads, 1, 1)."""


def features(logits: Tensor, labels: Tensor, *, top: int, seen: Terms | None = None) -> Tensor:
    """Return what the attacker sees of each row, differentiable in `logits` and always finite.

    The `top` largest log-probabilities in falling order (so the class's identity is gone and the
    size does not grow with the classes), the log-odds of the true and of the top class, the true
    class's probability, the loss, the entropy, the modified entropy and correctness.

    Args:
        logits: float (n, classes).
        labels: int64 (n,).
        top: how many sorted log-probabilities to keep; fewer where there are fewer classes.
        seen: the rows' terms, where they are known already.

    Returns:
        (n, min(top, classes) + 7), dtype of the terms.
    """
    seen = terms(logits, labels) if seen is None else seen
    ranked, classes = torch.topk(logits, min(top, logits.shape[1]), dim=1)
    ranked = ranked.to(seen.odds.dtype)
    log_probabilities = ranked - ranked[:, :1] - minus_log(seen.top_odds)[:, None]
    single = (
        seen.odds,
        seen.top_odds,
        torch.sigmoid(seen.odds),
        seen.loss,
        seen.entropy,
        seen.modified_entropy,
        (classes[:, 0] == labels).to(seen.odds.dtype),
    )
    # With a single class the log-odds are infinite and say nothing.
    return torch.cat([log_probabilities, torch.stack(single, dim=1).nan_to_num(posinf=0.0)], dim=1)


@dataclass(frozen=True)
class OutputFeatures:
    """All that a model says of rows, `features` in float64; for `Outputs.per_row`.

    Args:
        top: how many sorted log-probabilities to keep.
    """

    top: int

    def __call__(self, outputs: Outputs) -> Tensor:
        """Return (n, min(top, classes) + 7)."""
        return features(outputs.logits, outputs.labels, top=self.top, seen=Terms.of(outputs))


def feature_count(classes: int, *, top: int) -> int:
    """Return the number of columns `features` gives."""
    return min(top, classes) + 7


def initial_parameters(inputs: int, *, hidden: int, heads: int, seed: int, name: str) -> Parameters:
    """Return freshly drawn float32 parameters, fixed by `seed` and `name`; no gradient yet."""
    source = generator(seed, "attacker", name)
    first = torch.randn(heads, inputs, hidden, generator=source) * inputs**-0.5
    last = torch.randn(heads, hidden, 1, generator=source) * hidden**-0.5
    return first, torch.zeros(heads, 1, hidden), last, torch.zeros(heads, 1, 1)


def membership_logits(parameters: Parameters, x: Tensor) -> Tensor:
    """Return every head's logit of "member": (n, features) → (heads, n)."""
    first, first_bias, last, last_bias = parameters
    hidden = torch.relu(torch.matmul(x, first) + first_bias)
    return (torch.matmul(hidden, last) + last_bias).squeeze(-1)
