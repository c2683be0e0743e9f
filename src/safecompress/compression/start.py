"""`start_candidate`, `train_student`: the candidate that a search or a baseline begins with."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from safecompress.candidate import Candidate, SoftTarget
from safecompress.compression.first_masks import StudentMask
from safecompress.compression.first_masks.acceptance import fault_of, shown_to
from safecompress.compression.requirements import build_first_mask
from safecompress.compression.session import Session
from safecompress.errors import ConfigError, blaming
from safecompress.events import Event
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.randomness import derive
from safecompress.run.model_file import StoredModel
from safecompress.sparse.starved import starved_layers
from safecompress.topology import embedding_tables
from safecompress.train import Trainer


def start_candidate(
    session: Session,
    mask: FirstMask,
    *,
    trainer: Trainer,
    dense: StoredModel | None,
    student: StoredModel | None,
) -> Candidate:
    """Return the sparse candidate that a search or a baseline starts from.

    Args:
        session: the run.
        mask: the first mask, which decides which weights exist at first.
        trainer: makes the candidate and trains it afterwards.
        dense: the trained dense model; None without one.
        student: the dense student of the teachers; None without one.

    Raises:
        ConfigError: when the first mask raises an unexpected error or breaks its contract.
    """
    trained = _trained(session, mask, dense)

    def gradient(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return trainer.gradient(
            trainer.start(weights=weights), session.config.sparse.gradient_batches
        )

    def soft_gradient(weights: Mapping[str, Tensor], target: SoftTarget) -> Mapping[str, Tensor]:
        start = trainer.start(weights=weights).evolve(soft_target=target)
        return trainer.gradient(start, session.config.sparse.gradient_batches)

    context = FirstMaskContext(
        sparse=session.config.sparse,
        seed=derive(session.config.seed, "initialise"),
        module=copy.deepcopy(session.module),
        untrained=_copies(session.initial),
        dense=None if dense is None else _copies(dense.weights),
        student=None if student is None else _copies(student.weights),
        trained=trained,
        gradient=gradient,
        soft_gradient=soft_gradient,
    )
    start = _checked(session, mask, shown_to(mask, context))
    if start.event is not None:
        session.listen(start.event)
    for sentence in starved_layers(start.topology, embedding_tables(session.module)):
        session.listen(Event("note", f"{sentence}; try sparse.initialize: magnitude-layer"))
    candidate = trainer.start(start.topology, weights=start.weights)
    return candidate.evolve(soft_target=start.soft_target)


def train_student(session: Session, *, trainer: Trainer) -> Candidate:
    """Train a dense student on the labels of teachers that never trained on the row.

    Training starts from the run's initial weights, so from trained weights if they were given.

    Args:
        session: the run.
        trainer: trains with the teachers' labels.
    """
    target = SoftTarget(1.0, session.config.sparse.student.temperature)
    start = trainer.start(weights=session.initial).evolve(soft_target=target)
    text = "dense student, towards what the teachers say of rows they never saw"
    session.progress.enter("student", text)
    return session.progress.train_to("student", start, trainer.total_steps, trainer=trainer)


def student_candidate(session: Session, student: StoredModel, *, trainer: Trainer) -> Candidate:
    """Return the trained student as a candidate: cut to the density, with its soft target.

    Args:
        session: the run; if its first mask is cut from the student, the same cut is used.
        student: the dense student.
        trainer: makes the candidate and trains it afterwards.
    """
    first = build_first_mask(session.config)
    cut_alike = first.needs_teachers and not first.needs_dense
    mask = first if cut_alike else StudentMask("global")
    return start_candidate(session, mask, trainer=trainer, dense=None, student=student)


def _trained(session: Session, mask: FirstMask, dense: StoredModel | None) -> Candidate | None:
    """Train the dense weights towards the mask; None if the mask has no training."""
    with blaming(mask, f"sparse.initialize: the first mask {mask!r}"):
        training = mask.training(session.config.sparse)
    if training is None or dense is None:
        return None
    trainer = session.trainers.pruning(dense, training)
    start = trainer.start(weights=dense.weights)
    return session.progress.train_to("pruning", start, trainer.total_steps, trainer=trainer)


def _checked(session: Session, mask: FirstMask, context: FirstMaskContext) -> FirstMaskStart:
    """Return the first mask's start after checking it against the contract of first masks."""
    who = f"sparse.initialize: the first mask {mask!r}"
    with blaming(mask, who):
        start = mask.start(context)
        fault = fault_of(
            mask,
            start,
            module=session.module,
            weights=session.initial,
            density=session.config.sparse.density,
        )
    if fault:
        raise ConfigError(
            f"{who} ({type(mask).__module__}) {fault}; take another, or ask its author."
        )
    return start


def _copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies, so that a first mask that changes them in place harms nothing else."""
    return copy.deepcopy(dict(weights))
