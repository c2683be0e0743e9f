"""`Mine`, a sound first mask of somebody else, and variants of it that break the contract."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from safecompress.candidate import SoftTarget
from safecompress.defenses import Gradual
from safecompress.errors import ConfigError
from safecompress.protocols import Defense, FirstMask, FirstMaskStart, FirstMaskTraining
from safecompress.topology import Topology, maskable_parameters


def largest(scores, density):
    """Return masks of the largest scores, by value and then by place."""
    flat = torch.cat([s.flatten() for s in scores.values()])
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[flat.argsort(descending=True, stable=True)[: round(density * len(flat))]] = True
    parts = kept.split([s.numel() for s in scores.values()])
    pairs = zip(scores.items(), parts, strict=True)
    return Topology({name: part.view(s.shape) for (name, s), part in pairs})


@dataclass(frozen=True)
class Mine(FirstMask):
    """The untrained weights of largest value."""

    def weights(self, context):
        return context.untrained

    def scores(self, context, weights):
        return {name: weights[name] for name in maskable_parameters(context.module)}

    def start(self, context):
        weights = self.weights(context)
        scores = self.scores(context, weights)
        return FirstMaskStart(dict(weights), largest(scores, context.sparse.density))


class OnlyHalf(Mine):
    """Keeps to everything: it refuses what it cannot do."""

    def start(self, context):
        if context.sparse.density != 0.5:
            raise ConfigError("half of the weights, or none of my business.")
        return super().start(context)


class Thawed(FirstMask):
    start = Mine.start
    weights = Mine.weights
    scores = Mine.scores


class AlwaysHalf(Mine):
    def start(self, context):
        scores = self.scores(context, self.weights(context))
        return FirstMaskStart(dict(context.untrained), largest(scores, 0.5))


class OneMore(Mine):
    def start(self, context):
        made = super().start(context)
        for mask in made.topology.masks.values():
            mask.view(-1)[(~mask.view(-1)).nonzero()[0]] = True
            break
        return made


class Numbers(Mine):
    def start(self, context):
        made = super().start(context)
        masks = {name: mask.float() for name, mask in made.topology.masks.items()}
        return replace(made, topology=Topology(masks))


class Half(Mine):
    def weights(self, context):
        return {name: w.half() for name, w in context.untrained.items()}


class Divides(Mine):
    def weights(self, context):
        return {name: w / (w - w) for name, w in context.untrained.items()}


class Forgets(Mine):
    def weights(self, context):
        return {n: w for n, w in context.untrained.items() if "bias" not in n}

    def scores(self, context, weights):
        return super().scores(context, context.untrained)


class Pair(Mine):
    def start(self, context):
        made = super().start(context)
        return made.weights, made.topology


class Dice(Mine):
    def scores(self, context, weights):
        return {n: torch.rand(p.shape) for n, p in maskable_parameters(context.module).items()}


class NumpyDice(Mine):
    def scores(self, context, weights):
        np.random.seed(context.seed)
        layers = maskable_parameters(context.module)
        return {n: torch.from_numpy(np.random.random(tuple(p.shape))) for n, p in layers.items()}


@dataclass(frozen=True)
class Counting(Mine):
    """Remembers how often it was asked."""

    calls: list[int] = field(default_factory=list, init=False)

    def weights(self, context):
        self.calls.append(1)
        return {name: w * len(self.calls) for name, w in context.untrained.items()}


class OneByOne(Mine):
    def scores(self, context, weights):
        draw = torch.Generator().manual_seed(context.seed)
        masked = maskable_parameters(context.module)
        drawn = {n: torch.rand(w.shape, generator=draw) for n, w in weights.items() if n in masked}
        return {name: drawn[name] for name in masked}


class TakesTheModule(Mine):
    def weights(self, context):
        return context.module.state_dict()


class Scribbles(Mine):
    def weights(self, context):
        for tensor in context.untrained.values():
            tensor.abs_()
        return context.untrained


class LeavesAMode(Mine):
    def weights(self, context):
        context.module.eval()
        return context.untrained


class AsksForMore(Mine):
    needs_dense = True


class AsksForTeachers(Mine):
    needs_teachers = True


class AsksForLabels(Mine):
    needs_soft_labels = True


class AsksForMembers(Mine):
    looks_at_members = True


class Unsaid(Mine):
    needs_dense = 1


class ReadsTheDense(Mine):
    def weights(self, context):
        return dict(context.dense)


class Differentiates(Mine):
    def scores(self, context, weights):
        return context.gradient(weights)


class Soft(Mine):
    def start(self, context):
        return replace(super().start(context), soft_target=SoftTarget(1.0, 1.0))


class SecretTraining(Mine):
    """Trains on members, of which it says nothing."""

    needs_dense = True

    def training(self, sparse):
        return FirstMaskTraining(sparse.train, Gradual(sparse))

    def weights(self, context):
        return context.trained.weights


class UndeclaredTraining(SecretTraining):
    needs_dense, looks_at_members = False, True


class Remembers(Defense):
    """Pushes weights by the steps it has seen, which no checkpoint knows."""

    name = "remembers"

    def __init__(self):
        self.steps = 0

    def prepare_(self, context):
        self.module = context.module

    def after_step_(self, batch):
        self.steps += 1
        with torch.no_grad():
            for weight in self.module.parameters():
                weight.mul_(1 - 0.01 * self.steps)


class LosesCount(SecretTraining):
    looks_at_members = True

    def training(self, sparse):
        return FirstMaskTraining(sparse.train, Remembers())


KEPT = Remembers()


class OneDefense(LosesCount):
    def training(self, sparse):
        return FirstMaskTraining(sparse.train, KEPT)


class JustADefense(LosesCount):
    def training(self, sparse):
        return Gradual(sparse)
