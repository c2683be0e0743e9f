"""Laws of the loop's trust: whatever a proposal returns, the contract holds of what is trained."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from safecompress.candidate import Candidate
from safecompress.compression.attempt import DiscardedError, changed
from safecompress.errors import MemoryShortageError, NonFiniteError
from safecompress.proposals import PROPOSALS
from safecompress.protocols import Proposal, ProposalContext
from tests.hostile_proposals import BREACHES, CRASHES, Hostile
from tests.laws.test_sparse_laws import EXAMPLES
from tests.sparse_candidates import candidate, context
from tests.support import count

sides = st.integers(2, 6)
layer_shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.just(3), st.just(3)))
nets = st.lists(layer_shapes, min_size=2, max_size=4).map(
    lambda shapes: {f"layer{i}.weight": shape for i, shape in enumerate(shapes)}
)


def same(one: Candidate, other: Candidate) -> bool:
    ours, theirs = one.tensors(), other.tensors()
    return (
        ours.keys() == theirs.keys()
        and one.settings() == other.settings()
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
    )


def between(parent: Candidate) -> bool:
    """Whether every layer has weights, and room for more."""
    return all(0 < int(m.sum()) < m.numel() for m in parent.topology.masks.values())


@pytest.mark.parametrize("does", BREACHES)
@settings(max_examples=count(15, 500))
@given(shapes=nets, density=st.floats(0.3, 0.7), layer=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_breach_discards_the_candidate_and_leaves_the_parent_alone(
    does: str, shapes: dict[str, tuple[int, ...]], density: float, layer: int, seed: int
) -> None:
    parent = candidate(shapes, density=density, seed=seed)
    assume(between(parent))
    before = copy.deepcopy(parent)
    with pytest.raises(DiscardedError) as caught:
        changed(Hostile(does, layer), parent, context(parent, seed=seed))
    reason = str(caught.value)
    assert reason.startswith(f"the proposal 'hostile {does}' (tests.hostile_proposals) ")
    assert "\n" not in reason
    # A breach is found as such, and not by an error that it leads to; what is no tensor at all
    # may end in one.
    assert " raised " not in reason or does in {"weight that is none", "changes mappings in place"}
    assert same(parent, before)


@pytest.mark.parametrize("error", CRASHES)
def test_an_error_that_nobody_expects_discards_the_candidate(error: str) -> None:
    parent = candidate()
    with pytest.raises(DiscardedError, match=rf"hostile_proposals\) raised {error}: ") as caught:
        changed(Hostile(error), parent, context(parent))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, NonFiniteError, MemoryShortageError])
def test_what_others_act_on_passes_through(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object) -> None:
        raise error("planted")

    monkeypatch.setitem(CRASHES, "planted", raises)
    with pytest.raises(error, match="planted"):
        changed(Hostile("planted"), candidate(), context(candidate()))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@pytest.mark.parametrize("seed", range(count(3, 50)))
def test_every_registered_proposal_keeps_the_contract(name: str, seed: int) -> None:
    proposal = PROPOSALS.build({name: EXAMPLES[name]}, where="test")
    parent = candidate(seed=seed)
    student = candidate(seed=seed + 1, density=0.3).evolve(step=0)
    told = replace(context(parent, seed=seed), student=student)
    before, shown = copy.deepcopy(parent), copy.deepcopy(told)
    child = changed(proposal, parent, told)
    assert child.step == parent.step
    assert child.topology.nonzeros == parent.topology.nonzeros
    if proposal.keeps == "layers":
        assert child.topology.layer_counts() == parent.topology.layer_counts()
    assert same(parent, before)
    assert shown.gradient is not None
    assert told.gradient is not None
    assert all(torch.equal(told.gradient[n], shown.gradient[n]) for n in shown.gradient)
    again = changed(proposal, child, told)
    assert again.lineage == child.lineage == parent.lineage


@dataclass(frozen=True)
class Forger(Proposal):
    """Changes nothing, and writes a lineage of its own."""

    lineage: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "forger"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        for tensor in (context.gradient or {}).values():
            tensor.fill_(torch.nan)
        return parent.evolve(lineage=self.lineage)


@given(lineage=st.lists(st.text(max_size=9), max_size=3).map(tuple))
@settings(max_examples=count(30, 300))
def test_a_lineage_that_a_proposal_writes_is_ignored(lineage: tuple[str, ...]) -> None:
    parent = candidate()
    told = context(parent)
    assert changed(Forger(lineage), parent, told).lineage == parent.lineage
    assert told.gradient is not None
    assert not any(bool(g.isnan().any()) for g in told.gradient.values())


class Shared(Forger):
    """Declares that it shares the network's weights among the layers anew."""

    keeps = "network"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        moved: Any = BREACHES["shared anew"](parent, "second.weight", torch.Generator())
        return moved


def test_a_proposal_may_share_the_total_anew_where_it_declares_it() -> None:
    parent = candidate()
    child = changed(Shared(), parent, context(parent))
    assert child.topology.nonzeros == parent.topology.nonzeros
    assert child.topology.layer_counts() != parent.topology.layer_counts()
