"""The candidate that a search or a baseline begins with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from safecompress.candidate import Candidate, SoftTarget
from safecompress.compression.requirements import STUDENTS
from safecompress.compression.session import Session
from safecompress.config import CompressConfig
from safecompress.defenses import PRUNING_METHODS, Admm, support
from safecompress.events import Event
from safecompress.randomness import derive
from safecompress.run.model_file import StoredModel
from safecompress.sparse import initialize, scaled_to_mask
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer

UNTRAINED = ("scratch", "snip", "lottery")
"""First masks that begin with the untrained weights."""
SCALED = ("scratch", "snip")
"""Those whose weights are scaled to the mask; a lottery ticket's are what they were, by name."""
_BY_MAGNITUDE = (
    {"snip": "magnitude-global", "lottery": "magnitude-global"} | PRUNING_METHODS | STUDENTS
)
"""How a first mask is cut whose name says where what it compares comes from."""


def start_candidate(
    session: Session,
    *,
    method: str,
    trainer: Trainer,
    dense: StoredModel | None,
    student: StoredModel | None,
) -> Candidate:
    """Return the sparse model a search or a baseline starts from.

    From the trained dense weights, pruned; or from weights that were first trained towards their
    mask, by ADMM or little by little, which may be interrupted; or, for `scratch`, `snip` and
    `lottery`, from the untrained weights, scaled to the mask where that is not to keep them; or
    from a dense student, whose target it keeps.

    Args:
        session: the run.
        method: as `sparse.initialize`.
        trainer: trains it from here.
        dense: the trained dense model; None where the method looks at none.
        student: the dense student; None where the method looks at none.
    """
    if method in PRUNING_METHODS and dense is not None:
        trained, topology = _towards_mask(session, dense)
        return trainer.start(topology, weights=trained.weights)
    if method in STUDENTS and student is not None:
        return student_candidate(session, student, trainer=trainer)
    pruned = session.initial if dense is None else dense.weights
    scored = _sensitivity(session, trainer) if method == "snip" else pruned
    topology = first_topology(session.config, session.module, scored, method=method)
    weights = session.initial if method in UNTRAINED else pruned
    if method in SCALED:
        weights = scaled_to_mask(session.module, weights, topology, drawn=method != "snip")
    return trainer.start(topology, weights=weights)


def train_student(session: Session, *, trainer: Trainer) -> Candidate:
    """Train untrained weights towards the teachers' labels of rows that they never saw.

    Weights that were given trained are what it begins with.
    """
    start = trainer.start(weights=session.initial).evolve(soft_target=_students_target(session))
    text = "dense student, towards what the teachers say of rows they never saw"
    session.progress.enter("student", text)
    return session.progress.train_to("student", start, trainer.total_steps, trainer=trainer)


def student_candidate(session: Session, student: StoredModel, *, trainer: Trainer) -> Candidate:
    """Return the trained student as a search takes it up: cut to the density, its target kept."""
    method = session.config.sparse.initialize
    topology = first_topology(
        session.config,
        session.module,
        student.weights,
        method=method if method in STUDENTS else "student-global",
    )
    start = trainer.start(topology, weights=student.weights)
    return start.evolve(soft_target=_students_target(session))


def _students_target(session: Session) -> SoftTarget:
    return SoftTarget(1.0, session.config.sparse.student.temperature)


def _sensitivity(session: Session, trainer: Trainer) -> dict[str, Tensor]:
    """Return by how much the loss would change without each untrained weight, to first order.

    Reference: SNIP, Lee, Ajanthan & Torr, ICLR 2019, equation 4.
    """
    start = trainer.start(weights=session.initial)
    gradient = trainer.gradient(start, session.config.sparse.gradient_batches)
    return {name: start.weights[name] * g for name, g in gradient.items()}


def _towards_mask(session: Session, dense: StoredModel) -> tuple[Candidate, Topology]:
    """Train the dense weights on towards their mask; return them, and which of them are kept."""
    trainer = session.trainers.pruning(dense)
    start = trainer.start(weights=dense.weights)
    trained = session.progress.train_to("pruning", start, trainer.total_steps, trainer=trainer)
    state = trained.defenses[session.config.sparse.initialize.split("-")[0]]
    if Admm.name in trained.defenses:
        residuals = state["residuals"].tolist()
        text = f"ADMM: distance from the mask {residuals[-1]:.3g}, {residuals[0]:.3g} at first"
        session.listen(Event("note", text, {"residuals": residuals}))
    return trained, support(state)


def first_topology(
    config: CompressConfig, module: nn.Module, weights: Mapping[str, Tensor], *, method: str
) -> Topology:
    """Return the topology a search or a baseline starts with.

    Args:
        config: gives density, distribution and seed.
        module: says which parameters are maskable.
        weights: a state_dict, or scores by name; magnitudes count unless the method is `scratch`.
        method: as `sparse.initialize`.

    Raises:
        ConfigError: when the density cannot be met exactly.
    """
    sparse = config.sparse
    return initialize(
        {name: weights[name] for name in maskable_parameters(module)},
        density=sparse.density,
        distribution=sparse.distribution,
        method=_BY_MAGNITUDE.get(method, method),
        seed=derive(config.seed, "initialise"),
    )
