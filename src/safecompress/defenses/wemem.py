"""`WeMem`: members that would be memorized are shown in fewer steps and held by a weight decay."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.defenses.options import require_factor, require_share
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.train.predict import predict

Order = Literal["high-to-low", "low-to-high"]


def memorization(seen: Tensor, unseen: Tensor) -> Tensor:
    """Return how much a model's answer about each row rests on having seen it, in [0, 1].

    Args:
        seen: probability of the label by a model that was trained on the row, (n,).
        unseen: the same by models that were not, (n,).

    Returns:
        The difference where it is positive, else 0; float64 (n,).

    Reference: Feldman & Zhang, NeurIPS 2020, equation 1, with probabilities in place of rates.
    """
    return (seen.double() - unseen.double()).clamp(0.0, 1.0)


def window(rank: Tensor, *, progress: float, share: float, moves: int) -> Tensor:
    """Return which rows are shown at a point of the stage, bool (n,).

    Args:
        rank: place of each row in the order in which the window passes them, in [0, 1).
        progress: share of the stage that has passed, in [0, 1].
        share: share of the rows that a window holds, in (0, 1].
        moves: number of windows in the stage, at equal distances from the first rows to the last.
    """
    number = min(int(progress * moves), moves - 1)
    begin = 0.0 if moves == 1 else (1.0 - share) * number / (moves - 1)
    return (rank >= begin) & (rank < begin + share)


class WeMem(Defense):
    """Weaken memorization while a pruned model trains on: less reuse, and a decay for risky rows.

    A member's memorization score is how much surer of its label the dense model is, which saw it,
    than the teachers that did not. Members are sorted by it, and a window moves over them in
    `windows` steps; rows outside it have no part in the loss, so none is reused throughout (the
    publication's reduced reuse by a sliding window). Each batch's share of members with a score of
    at least `threshold` sets the strength of an L2 penalty on all weights (its regularization of
    risky memory). With `window: 1` only the latter is left, with `weight: 0` only the former.

    Deviations from the publication: its windows move with the iterations of pruning, here with the
    stage; it draws batches of risky and of other rows in turn, here both share a batch and the
    decay is in proportion. The loss of the rows in the window is that of their hard labels.

    Args:
        window: share of the members that a window holds, in (0, 1].
        windows: number of windows in a stage, at least 1.
        order: whether the window begins with the most or the least memorized members.
        threshold: score from which a member counts as risky, in [0, 1].
        weight: weight decay of a batch of risky members alone, at least 0.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Shang et al., "Defending Against Membership Inference Attacks on Iteratively Pruned
    Deep Neural Networks", NDSS 2025 (RSW, RMR and, together, SWMR).
    """

    name: ClassVar[str] = "wemem"
    needs_dense: ClassVar[bool] = True
    needs_soft_labels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        window: float = 0.6,
        windows: int = 5,
        order: Order = "high-to-low",
        threshold: float = 0.5,
        weight: float = 0.01,
    ) -> None:
        require_share("window", window)
        require_factor("window", window, zero=False)
        require_share("threshold", threshold)
        require_factor("weight", weight)
        if windows < 1:
            raise ConfigError(f"windows is {windows}; expected at least 1.")
        if order not in {"high-to-low", "low-to-high"}:
            raise ConfigError(f"order is '{order}'; expected high-to-low or low-to-high.")
        self.window, self.windows, self.order = window, windows, order
        self.threshold, self.weight = threshold, weight
        self._context: TrainingContext | None = None
        self._ids = self._rank = self._risky = torch.empty(0)

    def prepare_(self, context: TrainingContext) -> None:
        """Score the members and sort them.

        Args:
            context: its module, dense model, members and their soft labels are read.

        Raises:
            ConfigError: without one of these.
        """
        members, said = context.members, context.soft_labels
        if context.dense is None or context.module is None or members is None or said is None:
            raise ConfigError(
                "wemem: compares the dense model with teachers, and one of them is missing; give "
                "it to steer.defenses, with dense training or weights."
            )
        self._context = context
        labels = members.labels.cpu().unsqueeze(1)
        seen = predict(context.dense, members).logits.cpu().softmax(1).gather(1, labels)
        scores = memorization(seen.squeeze(1), said.cpu().gather(1, labels).squeeze(1))
        ids, place = members.ids.cpu().sort()
        ordered = scores.argsort(stable=True, descending=self.order == "high-to-low")
        rank = torch.empty_like(scores)
        rank[ordered] = torch.arange(len(scores), dtype=rank.dtype) / len(scores)
        self._ids = ids.to(context.device)
        self._rank = rank[place].to(context.device)
        self._risky = (scores >= self.threshold)[place].to(context.device)

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return the difference to the loss of the rows in the window, plus the risky rows' decay.

        Args:
            batch: its loss, logits, labels, ids and progress are read.

        Returns:
            A scalar; None where neither changes anything. Rows that are no members are always
            shown and never risky.

        Raises:
            ConfigError: when `prepare_` was not called.
        """
        context = self._context
        if batch.loss is None:
            return None
        if context is None or context.module is None:
            raise ConfigError("wemem: prepare_ must be called before it is used.")
        place = torch.searchsorted(self._ids, batch.ids).clamp(max=len(self._ids) - 1)
        known = self._ids[place] == batch.ids
        parts: list[Tensor] = []
        if self.window < 1:
            shown = window(
                self._rank[place], progress=batch.progress, share=self.window, moves=self.windows
            )
            losses = cross_entropy(batch.logits.float(), batch.labels, reduction="none")
            kept = (shown | ~known).to(losses.dtype)
            parts.append((kept * losses).sum() / kept.sum().clamp_min(1.0) - batch.loss)
        risky = (self._risky[place] & known).float().mean()
        if self.weight:
            squares = [p.square().sum() for p in context.module.parameters() if p.requires_grad]
            parts.append(0.5 * self.weight * risky * torch.stack(squares).sum())
        return torch.stack(parts).sum() if parts else None


DEFENSES.add(
    "wemem",
    WeMem,
    summary="a window over members sorted by how memorized they are, a decay for the risky ones",
    reference="Shang et al., NDSS 2025",
    cost="inherits dense weights; the teachers, once a run; give it to steer.defenses",
)
