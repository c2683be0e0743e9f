"""`breach_of`: the rules that a changed candidate must meet before it is trained."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.protocols import Proposal
from safecompress.sparse.soundness import faults_of

_LABELED = frozenset({"soft_labels", "student"})
"""Requirements that make the run train teachers, so that a candidate may use soft labels."""


def breach_of(proposal: Proposal, parent: Candidate, child: object) -> str:
    """Return the first way in which a proposal broke its contract, or an empty string.

    Candidates are compared with each other, so they must have the same model, step and number of
    weights: a candidate with more weights or more training steps would win only because of them.

    Args:
        proposal: the proposal; it declares by `keeps` and `requires` what it may do.
        parent: the candidate that it was called with.
        child: the object that it returned, of any type.

    Returns:
        The end of a sentence whose subject is the proposal.
    """
    if not isinstance(child, Candidate):
        return f"returned {type(child).__name__}; expected a Candidate"
    return next(_breaches(proposal, parent, child), "")


def _breaches(proposal: Proposal, parent: Candidate, child: Candidate) -> Iterator[str]:
    if child.step != parent.step:
        yield f"moved the step from {parent.step} to {child.step}; only training does"
    yield from faults_of(child, weights=parent.weights, masks=parent.topology.masks)
    yield from _counts(proposal, parent, child)
    soft = child.soft_target
    if soft.share and soft != parent.soft_target and not proposal.requires & _LABELED:
        yield "set a soft target without declaring soft_labels in `requires`"
    if child.from_student and not parent.from_student and "student" not in proposal.requires:
        yield "said that it took the student without declaring student in `requires`"
    yield from _defenses(parent, child)


def _counts(proposal: Proposal, parent: Candidate, child: Candidate) -> Iterator[str]:
    before, after = parent.topology, child.topology
    if before.nonzeros != after.nonzeros:
        yield (
            f"changed the number of weights from {before.nonzeros} to {after.nonzeros} "
            f"(density {before.density:.3g} to {after.density:.3g}); it must stay"
        )
    counts_before, counts_after = before.layer_counts(), after.layer_counts()
    for name in counts_before if proposal.keeps == "layers" else ():
        if counts_before[name] != counts_after[name]:
            yield (
                f"changed the number of weights in '{name}' from {counts_before[name]} "
                f"to {counts_after[name]}; it must stay unless the proposal declares "
                "keeps = 'network'"
            )


def _defenses(parent: Candidate, child: Candidate) -> Iterator[str]:
    for name, state in parent.defenses.items():
        child_state = child.defenses.get(name, {})
        for key, tensor in state.items():
            if key not in child_state:
                yield f"dropped the state '{key}' of the defense '{name}'"
            elif _kind(child_state[key]) != _kind(tensor):
                yield f"changed shape or type of the state '{key}' of the defense '{name}'"


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, tensor.device
