"""The candidate that a search or a baseline begins with, and the student that it may come from."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from safecompress.candidate import Candidate, SoftTarget
from safecompress.compression.first_masks import StudentMask
from safecompress.compression.first_masks.acceptance import fault_of
from safecompress.compression.requirements import build_first_mask
from safecompress.compression.session import Session
from safecompress.errors import ConfigError, SafeCompressError, telling_memory_shortage
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.randomness import derive
from safecompress.run.model_file import StoredModel
from safecompress.train import Trainer


def start_candidate(
    session: Session,
    mask: FirstMask,
    *,
    trainer: Trainer,
    dense: StoredModel | None,
    student: StoredModel | None,
) -> Candidate:
    """Return the sparse model a search or a baseline starts from.

    Args:
        session: the run.
        mask: says which weights exist at first.
        trainer: trains the candidate from here.
        dense: the trained dense model; None without one.
        student: the dense student of the teachers; None without one.

    Raises:
        ConfigError: when the first mask returns what no search can begin with, or raises what
            nobody expects; names it.
    """
    trained = _trained(session, mask, dense)

    def gradient(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return trainer.gradient(
            trainer.start(weights=weights), session.config.sparse.gradient_batches
        )

    context = FirstMaskContext(
        sparse=session.config.sparse,
        seed=derive(session.config.seed, "initialise"),
        module=copy.deepcopy(session.module),
        untrained=_copies(session.initial),
        dense=_copies(dense.weights) if mask.needs_dense and dense is not None else None,
        student=_copies(student.weights) if mask.needs_teachers and student is not None else None,
        trained=trained,
        gradient=gradient if mask.looks_at_members else None,
    )
    start = _checked(session, mask, context)
    if start.event is not None:
        session.listen(start.event)
    candidate = trainer.start(start.topology, weights=start.weights)
    return candidate.evolve(soft_target=start.soft_target)


def train_student(session: Session, *, trainer: Trainer) -> Candidate:
    """Train untrained weights towards the teachers' labels of rows that they never saw.

    Weights that were given trained are what it begins with.

    Args:
        session: the run.
        trainer: has the teachers' labels.
    """
    target = SoftTarget(1.0, session.config.sparse.student.temperature)
    start = trainer.start(weights=session.initial).evolve(soft_target=target)
    text = "dense student, towards what the teachers say of rows they never saw"
    session.progress.enter("student", text)
    return session.progress.train_to("student", start, trainer.total_steps, trainer=trainer)


def student_candidate(session: Session, student: StoredModel, *, trainer: Trainer) -> Candidate:
    """Return the trained student as a search takes it up: cut to the density, its target kept.

    Args:
        session: the run; where its first mask is cut from the student, the student is cut alike.
        student: the dense student.
        trainer: trains the candidate from here.
    """
    first = build_first_mask(session.config)
    cut_alike = first.needs_teachers and not first.needs_dense
    mask = first if cut_alike else StudentMask("global")
    return start_candidate(session, mask, trainer=trainer, dense=None, student=student)


def _trained(session: Session, mask: FirstMask, dense: StoredModel | None) -> Candidate | None:
    """Train the dense weights towards the mask, where it has a training."""
    training = mask.training(session.config.sparse)
    if training is None or dense is None:
        return None
    trainer = session.trainers.pruning(dense, training)
    start = trainer.start(weights=dense.weights)
    return session.progress.train_to("pruning", start, trainer.total_steps, trainer=trainer)


def _checked(session: Session, mask: FirstMask, context: FirstMaskContext) -> FirstMaskStart:
    """Return what a first mask returns, once it has been found to be what was asked for."""
    who = f"sparse.initialize: the first mask {mask!r} ({type(mask).__module__})"
    try:
        with telling_memory_shortage():
            start = mask.start(context)
            fault = fault_of(
                mask,
                start,
                module=session.module,
                weights=session.initial,
                density=session.config.sparse.density,
            )
    except SafeCompressError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{who} raised {type(error).__name__}: {text}; take another, or ask its author."
        ) from error
    if fault:
        raise ConfigError(f"{who} {fault}; take another, or ask its author.")
    return start


def _copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies, so that nothing a first mask does to them reaches anybody else."""
    return copy.deepcopy(dict(weights))
