"""Every registered proposal keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from safecompress.proposals import PROPOSALS
from safecompress.proposals.contract import violations
from safecompress.protocols import Proposal
from safecompress.sparse import rewire
from safecompress.topology import Topology
from tests.contracts import assert_caught, cases
from tests.sparse_candidates import EXAMPLES
from tests.support import count


@pytest.mark.parametrize("seed", range(count(3, 100)))
@pytest.mark.parametrize("name", sorted(PROPOSALS.all()))
def test_every_registered_proposal_keeps_the_contract(name, seed):
    proposal = PROPOSALS.build({name: EXAMPLES[name]}, where="test")
    assert violations(proposal, seed=seed) == ()
    assert proposal == PROPOSALS.build({name: EXAMPLES[name]}, where="test")


@dataclass(frozen=True)
class Mine(Proposal):
    """Exchange the first weight of every layer for the first missing one."""

    @property
    def name(self):
        return "mine"

    def masks(self, parent):
        return {name: self.moved(mask) for name, mask in parent.topology.masks.items()}

    def moved(self, mask):
        if mask.all():
            return mask
        flat = mask.clone().flatten()
        first, missing = flat.nonzero()[0], (~flat).nonzero()[0]
        flat[first], flat[missing] = False, True
        return flat.view(mask.shape)

    def __call__(self, parent, context):
        return rewire(parent, self.masks(parent), proposal=self.name)


class Grows(Mine):
    def moved(self, mask):
        flat = mask.clone().flatten()
        flat[(~flat).nonzero()[0]] = True
        return flat.view(mask.shape)


class Integers(Mine):
    def __call__(self, parent, context):
        masks = {name: mask.int() for name, mask in self.masks(parent).items()}
        return parent.evolve(topology=Topology(masks))


class Forgets(Mine):
    def __call__(self, parent, context):
        made = super().__call__(parent, context)
        return made.evolve(weights=dict(list(made.weights.items())[1:]))


class SkipsAhead(Mine):
    def __call__(self, parent, context):
        return super().__call__(parent, context).evolve(step=0)


class SignsTwice(Mine):
    def __call__(self, parent, context):
        return super().__call__(parent, context).evolve(lineage=("mine", "mine"))


class Scribbles(Mine):
    def __call__(self, parent, context):
        for name, mask in parent.topology.masks.items():
            parent.weights[name].mul_(mask)
            mask.copy_(self.moved(mask))
        return parent


class Revives(Mine):
    def __call__(self, parent, context):
        return parent.evolve(topology=Topology(self.masks(parent)))


class Awakens(Mine):
    def __call__(self, parent, context):
        made = super().__call__(parent, context)
        return made.evolve(weights={n: w + 0.1 for n, w in made.weights.items()})


class LosesHistory(Mine):
    def __call__(self, parent, context):
        return super().__call__(parent, context).evolve(ever_active=parent.ever_active)


class Dice(Mine):
    def moved(self, mask):
        return mask.flatten()[torch.randperm(mask.numel())].view(mask.shape)


class AsksForMore(Mine):
    requires = frozenset({"gradient"})


class ReadsTheStudent(Mine):
    def __call__(self, parent, context):
        return replace(context.student, step=parent.step)


class ReadsLabels(Mine):
    requires = frozenset({"labels"})


class Diverges(Mine):
    requires = frozenset({"gradient"})

    def __call__(self, parent, context):
        made = super().__call__(parent, context)
        state = {
            name: {**kept, "exp_avg": kept["exp_avg"] + 0 * context.gradient[name]}
            for name, kept in made.optimizer.items()
            if name in context.gradient
        }
        return made.evolve(optimizer={**made.optimizer, **state})


BREACHES = {
    "proposals": [
        (Grows(), "it changed the number of weights from"),
        (Integers(), "as int32 (8, 3, 3, 3); expected bool"),
        (Forgets(), "it returned weights without 'first.weight'"),
        (SkipsAhead(), "it moved the step from 100 to 0"),
        (SignsTwice(), "it writes the lineage ('mine', 'mine')"),
        (Scribbles(), "in place"),
        (Revives(), "has a weight that is not zero"),
        (Revives(), "optimizer state 'exp_avg' that is not zero"),
        (Revives(), "ever_active of 'first.weight' lacks"),
        (Awakens(), "does not keep its weight"),
        (LosesHistory(), "ever_active of 'first.weight' lacks"),
        (Dice(), "global random generator"),
        (Dice(), "the same parent and context give different candidates"),
        (AsksForMore(), "requires 'gradient' and does as well without it"),
        (ReadsTheStudent(), "raised TypeError"),
        (ReadsLabels(), "it requires labels"),
        (Diverges(), "with NaN gradients it returns numbers that are not finite"),
    ],
}


@cases(BREACHES)
def test_a_broken_proposal_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_proposal_of_somebody_else_passes():
    assert violations(Mine()) == ()


class FollowsTheGradient(Mine):
    requires = frozenset({"gradient"})

    def __call__(self, parent, context):
        assert all(g.isnan().any() or g.ndim for g in context.gradient.values())
        return super().__call__(parent, context)


def test_what_reads_a_required_field_may_fail_in_any_way_without_it():
    assert violations(FollowsTheGradient()) == ()
