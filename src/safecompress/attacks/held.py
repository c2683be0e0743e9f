"""`copied_tensors`: what an attacker holds, copied, to find out later whether it was changed."""

from __future__ import annotations

from torch import Tensor

from safecompress.protocols import Evidence, tensors_of


def copied_tensors(evidence: Evidence) -> tuple[Tensor, ...]:
    """Return copies of everything in the evidence that a part could change in place.

    Args:
        evidence: fields that are None are left out; models count by their state_dict.
    """
    models = (evidence.outputs, evidence.parent, *(evidence.family or ()))
    held = [tensor for o in models if o is not None for tensor in (o.logits, o.labels)]
    if evidence.references is not None:
        for references in (evidence.references, *evidence.references.beside):
            held += [references.log_odds, references.seen]
            held += () if references.logits is None else references.logits.stores
    if evidence.judges is not None:
        held += [evidence.judges.log_odds, evidence.judges.entropy]
    if evidence.each_output is not None:
        held.append(evidence.each_output)
    if evidence.internals is not None:
        held += [evidence.internals.features, evidence.internals.gradient_norms]
    if evidence.rows is not None:
        held += [*tensors_of(evidence.rows.inputs), evidence.rows.labels]
    for model in (evidence.target, evidence.parent_target):
        if model is not None:
            held += model.state_dict().values()
    return tuple(t.clone() for t in held)
