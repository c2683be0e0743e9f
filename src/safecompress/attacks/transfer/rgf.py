"""RGF and P-RGF: gradients estimated from answers along random directions, with a prior or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safecompress.attacks.transfer.aim import Aim, Loss, input_gradient, require_loss
from safecompress.attacks.transfer.directions import (
    SIGMA,
    biased,
    cosine,
    estimate,
    gradient_norm,
    optimal_weight,
    rms_one,
    slopes,
)
from safecompress.attacks.transfer.query_attack import QueryAttack, QueryTask
from safecompress.attacks.transfer.registry import QUERY_ATTACKS
from safecompress.errors import ConfigError, MissingEvidenceError
from safecompress.protocols import Source
from safecompress.randomness import generator

STEP = {"linf": 0.1, "l2": 2 / (0.001 * 299 * 299 * 3) ** 0.5}
"""Steps of the published code as shares of its radii: 0.005 of 0.05, and 2 of √(0.001 D)."""

_NORM_DIRECTIONS = 10
_NORM_EVERY = 10
_NORM_ALSO = 3


@dataclass(frozen=True)
class _GradientFree(QueryAttack):
    """Climb along estimated gradients.

    Args:
        samples: directions in an estimate, at least 1; the published code takes 50, and 10 need far
            fewer questions in all.
        step: size of a step as a share of the radius, > 0; None is the published code's.
        loss: `margin` or `cross-entropy`, as read off the target's answers.

    Raises:
        ConfigError: when an option is out of range.
    """

    samples: int = 10
    step: float | None = None
    loss: Loss = "margin"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples is {self.samples}; expected at least 1.")
        if self.step is not None and not 0 < self.step < float("inf"):
            raise ConfigError(f"step is {self.step}; expected a positive share of the radius.")
        require_loss(self.loss)

    def _climb_(self, hunt: QueryTask, source: Source | None, *, seed: int) -> None:
        share = STEP[hunt.ball.norm] if self.step is None else self.step
        here = hunt.attempt(hunt.open, hunt.x)
        state = _State.fresh(hunt)
        iteration = 0
        while len(rows := hunt.open):
            gradient = self._gradient(hunt, rows, here[rows], state, source, iteration, seed)
            # Who ran out of questions in an estimate is no longer open.
            kept = torch.isin(rows, hunt.open)
            rows, gradient = rows[kept], gradient[kept]
            move = hunt.ball.step(gradient, share * hunt.ball.radius)
            value = hunt.attempt(rows, hunt.points[rows] + move)
            state.stuck[rows] |= state.trusting[rows] & (value <= here[rows])
            here[rows] = value
            iteration += 1

    def _gradient(
        self,
        hunt: QueryTask,
        rows: Tensor,
        here: Tensor,
        state: _State,
        source: Source | None,
        iteration: int,
        seed: int,
    ) -> Tensor:
        """Return an estimate of the target's gradient at each row's point, (k, …)."""
        del source
        return self._sampled(hunt, rows, here, state, None, iteration, seed)

    def _sampled(
        self,
        hunt: QueryTask,
        rows: Tensor,
        here: Tensor,
        state: _State,
        prior: tuple[Tensor, Tensor] | None,
        iteration: int,
        seed: int,
    ) -> Tensor:
        draw = generator(seed, self.name, "directions", iteration)
        around = _drawn(hunt, self.samples, draw)
        u = around[None] if prior is None else biased(prior[0], around, prior[1])
        at = hunt.points[rows]
        return estimate(slopes(hunt, rows, at, u, here=here, sigma=state.sigma), u)


@dataclass(frozen=True)
class _State:
    """What is known of every row besides its point.

    Args:
        sigma: σ.
        norm: length of its gradient, 0 where nothing is known.
        trusting: whether the last step followed the prior without a question about it.
        stuck: whether such a step once raised nothing.
    """

    sigma: Tensor
    norm: Tensor
    trusting: Tensor
    stuck: Tensor

    @classmethod
    def fresh(cls, hunt: QueryTask) -> _State:
        start = torch.zeros(len(hunt.x)).to(hunt.x)
        return cls(start + SIGMA, start, start.bool(), start.bool())


@final
@dataclass(frozen=True)
class Rgf(_GradientFree):
    """Random gradient-free: the mean of slope × direction over random directions.

    Reference: Nesterov & Spokoiny, 2017; as an attack, Cheng et al., NeurIPS 2019, section 2.3.
    """

    name: ClassVar[str] = "rgf"

    def hunt_(self, hunt: QueryTask, *, source: Source | None, seed: int) -> None:
        self._climb_(hunt, source, seed=seed)


QUERY_ATTACKS.add(
    "rgf",
    Rgf,
    summary="a gradient estimated along random directions; no source",
    reference="Nesterov & Spokoiny, 2017; Cheng et al., NeurIPS 2019",
    cost="11 questions a step",
)


@final
@dataclass(frozen=True)
class PriorRgf(_GradientFree):
    """Prior-guided RGF: directions lean towards the source's gradient, as far as it is right.

    How right it is, the cosine α of source's and target's gradient, is asked of the target anew in
    every iteration; λ* follows from it. Where λ* is 1 the prior is followed without more questions.

    One departure from the publication: λ* weighs the prior for a function without bounds. Inside a
    ball a prior can be right and of no use, because it points out of the ball, and the published
    attack then repeats the same step until its budget is spent. Here a row that such a step once
    did not raise looks beside the prior (λ = 0) wherever λ* is 1. On a convolutional net of
    3 × 8 × 8 inputs, L2 0.9, 600 questions a row, guided by a strange net, the published attack
    fools it on 72 % of 40 rows, this one on 97 % and RGF, without a guide, on 100 %; an MLP,
    guided by a convolutional net whose gradients have a cosine of 0.2 to 0.6 with its own, on 7 %,
    42 % and 50 %. Guided by the net itself the figures are the same.

    Reference: Cheng et al., NeurIPS 2019 (arXiv 1906.06919), algorithm 1.
    """

    name: ClassVar[str] = "p-rgf"
    needs_source: ClassVar[bool] = True

    def hunt_(self, hunt: QueryTask, *, source: Source | None, seed: int) -> None:
        self._climb_(hunt, source, seed=seed)

    def _gradient(
        self,
        hunt: QueryTask,
        rows: Tensor,
        here: Tensor,
        state: _State,
        source: Source | None,
        iteration: int,
        seed: int,
    ) -> Tensor:
        if source is None:
            raise MissingEvidenceError(f"{self.name}: needs a model that the attacker holds.")
        at = hunt.points[rows]
        dimension = at[0].numel()
        if iteration % _NORM_EVERY == 0 or iteration == _NORM_ALSO:
            u = _drawn(hunt, _NORM_DIRECTIONS, generator(seed, self.name, "norm", iteration))[None]
            found = slopes(hunt, rows, at, u, here=here, sigma=state.sigma)
            state.norm[rows] = gradient_norm(found)
        aim = hunt.aim.take(rows)
        prior = rms_one(input_gradient(source, at, Aim(aim.labels, aim.targets, self.loss)))
        # Along no direction there is no slope to ask for: λ* is 0.
        open_ = torch.isin(rows, hunt.open) & (prior != 0).flatten(1).any(dim=1)
        slope = torch.zeros(len(rows)).to(at)
        slope[open_] = slopes(
            hunt,
            rows[open_],
            at[open_],
            prior[open_, None],
            here=here[open_],
            sigma=state.sigma,
        ).squeeze(1)
        alpha = cosine(slope, state.norm[rows], dimension)
        prior = torch.where(_shaped(alpha < 0, prior), -prior, prior)
        weight = optimal_weight(alpha, dimension=dimension, samples=self.samples)
        weight = torch.where(state.stuck[rows] & (weight == 1), torch.zeros_like(weight), weight)
        state.trusting[rows] = weight == 1
        found = prior.clone()
        unsure = (weight < 1) & torch.isin(rows, hunt.open)
        if bool(unsure.any()):
            found[unsure] = self._sampled(
                hunt,
                rows[unsure],
                here[unsure],
                state,
                (prior[unsure], weight[unsure]),
                iteration,
                seed,
            )
        return found


QUERY_ATTACKS.add(
    "p-rgf",
    PriorRgf,
    summary="the same, leaning towards the source's gradient as far as that is right",
    reference="Cheng et al., NeurIPS 2019",
    cost="2 to 12 questions a step, and 10 more every tenth",
)


def _drawn(hunt: QueryTask, many: int, source: torch.Generator) -> Tensor:
    """Return random directions of RMS 1, (many, …), the same for every row."""
    return rms_one(torch.randn(many, *hunt.x.shape[1:], generator=source)).to(hunt.x)


def _shaped(mask: Tensor, like: Tensor) -> Tensor:
    return mask.reshape(-1, *[1] * (like.ndim - 1))
