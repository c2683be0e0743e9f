"""`Strategy`: a mask update that drops some weights of every layer and grows as many others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.config import Request, SparseConfig
from safecompress.errors import ConfigError, NonFiniteError
from safecompress.proposals.registry import PROPOSALS
from safecompress.protocols import Proposal, ProposalContext
from safecompress.randomness import generator
from safecompress.sparse.drop import DROP_RULES, DropRule
from safecompress.sparse.grow import GROW_RULES, GrowRule
from safecompress.sparse.layer import Layer, Requirement
from safecompress.sparse.rewire import masked_weight, rewire
from safecompress.sparse.schedules import FractionPlan, Schedule
from safecompress.sparse.selection import largest, places, smallest

_PUBLISHED = {("set", "random"): "set", ("magnitude", "gradient"): "rigl"}


@final
@dataclass(frozen=True)
class Strategy(Proposal):
    """A drop rule, a grow rule, and how many weights they exchange.

    Every layer drops n weights and grows n others, so its count is kept exactly. n is the fraction
    of the layer's weights, rounded, and at most the number of missing weights (without those of
    removed channels). With a pooled rule the sum of n over all layers is the same, but one
    threshold for all layers decides how many each of them drops. Growth chooses among the weights
    that were missing before the update, so a weight that was just dropped cannot return in the
    same update. (RigL as published lets it return at once, with value zero.)

    Args:
        drop: chooses the weights to drop.
        grow: chooses the weights to grow.
        fraction: share of a layer's weights exchanged at the first update, in (0, 1); None takes
            the default.
        fraction_end: the share at the last update, in [0, 1); None takes the default, or
            `fraction` where that is smaller.
        schedule: `cosine`, `linear` or `constant`; None takes the default.
        updates: how often the update is applied while a candidate settles, at least 1; training
            between two updates gives the grown weights a value before they are ranked.
        defaults: what None stands for; `with_defaults` takes it from the configuration.

    Raises:
        ConfigError: on an unknown schedule, or a number outside its range.
    """

    drop: DropRule
    grow: GrowRule
    fraction: float | None = None
    fraction_end: float | None = None
    schedule: Schedule | None = None
    updates: int = 1
    defaults: FractionPlan = field(default_factory=FractionPlan)
    requires: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "requires", self.drop.requires | self.grow.requires)
        if not isinstance(self.updates, int) or isinstance(self.updates, bool) or self.updates < 1:
            raise ConfigError(f"updates is {self.updates!r}; expected a whole number, at least 1.")
        self.plan.at(0.0)

    @property
    def name(self) -> str:
        """`set`, `rigl` or `drop+grow`, then the options set explicitly, e.g. `rigl f=0.1`."""
        pair = (self.drop.name, self.grow.name)
        parts = [_PUBLISHED.get(pair, "+".join(pair))]
        if self.fraction is not None:
            parts.append(f"f={self.fraction:g}")
        if self.fraction_end is not None:
            parts.append(f"end={self.fraction_end:g}")
        if self.schedule is not None:
            parts.append(self.schedule)
        if self.updates != 1:
            parts.append(f"x{self.updates}")
        return " ".join(parts)

    @property
    def plan(self) -> FractionPlan:
        """The share exchanged at each update, with the defaults filled in."""
        start = self.defaults.start if self.fraction is None else self.fraction
        end = self.fraction_end
        if end is None:
            end = self.defaults.end if self.fraction is None else min(self.defaults.end, start)
        return FractionPlan(start, end, self.schedule or self.defaults.schedule)

    def with_defaults(self, sparse: SparseConfig) -> Strategy:
        plan = FractionPlan(sparse.fraction, sparse.fraction_end, sparse.fraction_schedule)
        return replace(self, defaults=plan)

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate with dropped and grown weights.

        Args:
            parent: any candidate; its tensors are left untouched.
            context: gradients where a rule needs them, progress and seed.

        Raises:
            ConfigError: when a rule needs gradients or a moving average and there are none.
            ModelError: when masks and weights belong to different models.
            NonFiniteError: when a score is NaN or infinite.
        """
        fraction = self.plan.at(context.progress)
        names = sorted(parent.topology.masks)
        dropped = self._dropped(
            {name: self._layer(parent, context, name, role="drop") for name in names}, fraction
        )
        masks = {}
        for name in names:
            layer = self._layer(parent, context, name, role="grow")
            masks[name] = self._exchanged(layer, dropped[name]).to(
                parent.topology.masks[name].device
            )
        return rewire(parent, masks, proposal=self.name)

    def _layer(self, parent: Candidate, context: ProposalContext, name: str, *, role: str) -> Layer:
        mask = parent.topology.masks[name]
        layer = Layer(
            name=name,
            weight=masked_weight(parent, name).detach().cpu(),
            mask=mask.cpu(),
            ever_active=parent.ever_active.get(name, mask).cpu(),
            gradient=_dense(context.gradient, name),
            moving_average=_dense(parent.moving_average, name),
            generator=generator(context.seed, role, name),
            allowed=parent.transforms.channels.open(name, mask.shape),
        )
        fields: tuple[Requirement, ...] = ("gradient", "moving_average")
        for field_name in fields:
            if field_name in self.requires:
                try:
                    layer.need(field_name)
                except ConfigError as error:
                    raise ConfigError(f"{self.name}: {error}") from error
        return layer

    def _dropped(self, layers: Mapping[str, Layer], fraction: float) -> dict[str, Tensor]:
        """Return per layer the flat positions of the weights to drop."""
        existing = {name: places(layer.mask.flatten()) for name, layer in layers.items()}
        wanted = {
            name: min(round(fraction * len(at)), layers[name].places - len(at))
            for name, at in existing.items()
        }
        scores = {
            name: self._scores(self.drop, layers[name], at)
            for name, at in existing.items()
            if wanted[name] or self.drop.pooled
        }
        if self.drop.pooled:
            wanted = _below_common_threshold(scores, layers, sum(wanted.values()))
        return {
            name: at[smallest(scores[name], wanted[name])] if wanted[name] else at[:0]
            for name, at in existing.items()
        }

    def _exchanged(self, layer: Layer, dropped: Tensor) -> Tensor:
        """Return the layer's mask with `dropped` gone and as many missing weights grown."""
        mask = layer.mask.clone(memory_format=torch.contiguous_format)
        if len(dropped):
            flat = mask.view(-1)
            grown = largest(self._missing_scores(layer, places(flat)), len(dropped))
            flat[dropped] = False
            flat[grown] = True
        return mask

    def _scores(self, rule: DropRule | GrowRule, layer: Layer, positions: Tensor) -> Tensor:
        """Return the rule's checked scores at the flat `positions`."""
        chosen = self._all_scores(rule, layer)[positions]
        self._check(chosen, rule, layer)
        return chosen

    def _missing_scores(self, layer: Layer, existing: Tensor) -> Tensor:
        """Return the grow rule's checked scores, flat; -inf for weights that cannot grow.

        Most weights are missing, so overwriting the scores of existing weights is cheaper than
        listing the missing ones.
        """
        scores = self._all_scores(self.grow, layer).clone()
        if not scores.is_floating_point():
            scores = scores.double()
        scores[existing] = 0.0
        self._check(scores, self.grow, layer)
        scores[existing] = -math.inf
        if layer.allowed is not None:
            scores[~layer.allowed.flatten()] = -math.inf
        return scores

    def _all_scores(self, rule: DropRule | GrowRule, layer: Layer) -> Tensor:
        scores = rule.score(layer)
        if scores.shape != layer.weight.shape:
            raise ConfigError(
                f"{self.name}: rule '{rule.name}' returned scores of shape {tuple(scores.shape)} "
                f"for '{layer.name}'; expected the weight's, {tuple(layer.weight.shape)}."
            )
        return scores.flatten()

    def _check(self, chosen: Tensor, rule: DropRule | GrowRule, layer: Layer) -> None:
        if len(chosen) and not bool(torch.isfinite(torch.stack(chosen.aminmax())).all()):
            bad = int((~torch.isfinite(chosen)).sum())
            raise NonFiniteError(
                f"{self.name}: {bad} of {len(chosen)} scores of rule '{rule.name}' are NaN or "
                f"infinite in '{layer.name}'; its weights or gradients have diverged."
            )


def _dense(tensors: Mapping[str, Tensor] | None, name: str) -> Tensor | None:
    tensor = None if tensors is None else tensors.get(name)
    return None if tensor is None else tensor.detach().cpu()


def _below_common_threshold(
    scores: Mapping[str, Tensor], layers: Mapping[str, Layer], total: int
) -> dict[str, int]:
    """Return how many weights of each layer are among the `total` lowest of all layers.

    A layer drops at most as many weights as it can grow again, and keeps at least one of its
    weights.
    """
    lowest, owner = [], []
    for index, (name, layer) in enumerate(layers.items()):
        free = layer.places - len(scores[name])
        most = max(min(len(scores[name]) - 1, free), 0)
        lowest.append(scores[name][smallest(scores[name], most)])
        owner.append(torch.full((most,), index))
    chosen = torch.cat(owner)[smallest(torch.cat(lowest), total)] if owner else torch.empty(0)
    counts = torch.bincount(chosen.long(), minlength=len(layers)).tolist()
    return dict(zip(layers, counts, strict=True))


def set_(
    *,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return SET: drop the weights of each sign nearest to zero, grow at random.

    Args:
        fraction: share of a layer's weights exchanged at the first update, in (0, 1).
        fraction_end: the share at the last update, in [0, 1).
        schedule: `cosine`, `linear` or `constant`.
        updates: how often it is applied while a candidate settles.

    Reference: Mocanu et al., Nature Communications 2018.
    """
    return update(
        drop="set",
        grow="random",
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


PROPOSALS.add(
    "set",
    set_,
    summary="SET: drops the weights of each sign nearest to zero, grows at random",
    reference="Mocanu et al., Nature Communications 2018",
    cost="no data",
)


def rigl(
    *,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return RigL: drop the smallest weights, grow where the dense gradient is largest.

    Args:
        fraction: share of a layer's weights exchanged at the first update, in (0, 1).
        fraction_end: the share at the last update, in [0, 1).
        schedule: `cosine`, `linear` or `constant`.
        updates: how often it is applied while a candidate settles.

    Reference: Evci et al., "Rigging the Lottery", ICML 2020.
    """
    return update(
        drop="magnitude",
        grow="gradient",
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


PROPOSALS.add(
    "rigl",
    rigl,
    summary="RigL: drops the smallest weights, grows where the dense gradient is largest",
    reference="Evci et al., ICML 2020",
    cost="a dense gradient per round",
)


def update(
    *,
    drop: Request,
    grow: Request,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return the strategy of any drop rule and any grow rule.

    Args:
        drop: name of a drop rule, or one name with its options.
        grow: name of a grow rule, or one name with its options.
        fraction: share of a layer's weights exchanged at the first update, in (0, 1).
        fraction_end: the share at the last update, in [0, 1).
        schedule: `cosine`, `linear` or `constant`.
        updates: how often it is applied while a candidate settles.

    Raises:
        ConfigError: on an unknown rule or schedule, or a share outside its range.

    >>> update(drop="magnitude", grow="random-unfired", fraction=0.1).name
    'magnitude+random-unfired f=0.1'
    """
    return Strategy(
        drop=DROP_RULES.build(drop, where="drop"),
        grow=GROW_RULES.build(grow, where="grow"),
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


PROPOSALS.add(
    "update",
    update,
    summary="any drop rule with any grow rule, e.g. {drop: taylor, grow: momentum}",
    reference="the rules' own",
    cost="the rules' own",
)
