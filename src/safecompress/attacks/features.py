"""`features` of a prediction that reveal membership, and a small differentiable network on them.

The neural attacks use the features on cached outputs and fit their own network. The network here is
for adversarial training, which differentiates through the features and trains the network together
with the model.
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


def features(logits: Tensor, labels: Tensor, *, top: int, known: Terms | None = None) -> Tensor:
    """Return the features of each row, differentiable in `logits` and always finite.

    They are the `top` largest log-probabilities in falling order (sorting removes the identity of
    the classes and bounds the number of features), the log-odds of the true and of the top class,
    the true class's probability, the loss, the entropy, the modified entropy and correctness.

    Args:
        logits: float (n, classes).
        labels: int64 (n,).
        top: number of sorted log-probabilities to keep; fewer where there are fewer classes.
        known: the rows' terms where they have been computed before; None computes them.

    Returns:
        (n, min(top, classes) + 7), dtype of the terms.
    """
    values = terms(logits, labels) if known is None else known
    ranked, classes = torch.topk(logits, min(top, logits.shape[1]), dim=1)
    ranked = ranked.to(values.odds.dtype)
    log_probabilities = ranked - ranked[:, :1] - minus_log(values.top_odds)[:, None]
    single = (
        values.odds,
        values.top_odds,
        torch.sigmoid(values.odds),
        values.loss,
        values.entropy,
        values.modified_entropy,
        (classes[:, 0] == labels).to(values.odds.dtype),
    )
    # With a single class the log-odds are infinite and carry no information.
    return torch.cat([log_probabilities, torch.stack(single, dim=1).nan_to_num(posinf=0.0)], dim=1)


@dataclass(frozen=True)
class OutputFeatures:
    """`features` of outputs and the logits' level, in float64, as a function for `Outputs.per_row`.

    Whoever is given logits also sees the number that they have in common, in which a model can tell
    a member as well as in any other. The network for adversarial training does not read it.

    Args:
        top: number of sorted log-probabilities to keep.
    """

    top: int

    def __call__(self, outputs: Outputs) -> Tensor:
        """Return the numbers of each row, float64 (n, min(top, classes) + 8)."""
        known = Terms.of(outputs)
        seen = features(outputs.logits, outputs.labels, top=self.top, known=known)
        return torch.cat([seen, known.level[:, None]], dim=1)


def feature_count(classes: int, *, top: int) -> int:
    """Return the number of columns that `features` returns.

    Args:
        classes: number of classes.
        top: number of sorted log-probabilities to keep.
    """
    return min(top, classes) + 7


def initial_parameters(inputs: int, *, hidden: int, heads: int, seed: int, name: str) -> Parameters:
    """Return random float32 parameters that do not require gradients yet.

    Args:
        inputs: number of features.
        hidden: number of hidden units.
        heads: number of independent networks.
        seed: seed of the weights, together with `name`.
        name: name of the network, so that two networks of one run differ.
    """
    source = generator(seed, "attacker", name)
    first = torch.randn(heads, inputs, hidden, generator=source) * inputs**-0.5
    last = torch.randn(heads, hidden, 1, generator=source) * hidden**-0.5
    return first, torch.zeros(heads, 1, hidden), last, torch.zeros(heads, 1, 1)


def membership_logits(parameters: Parameters, x: Tensor) -> Tensor:
    """Return every head's logit of "member", (heads, n).

    Args:
        parameters: of networks as `initial_parameters` returns them.
        x: features (n, features).
    """
    first, first_bias, last, last_bias = parameters
    hidden = torch.relu(torch.matmul(x, first) + first_bias)
    return (torch.matmul(hidden, last) + last_bias).squeeze(-1)
