"""What a search proposes, what a proposal may look at, and the model that all begin from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from safecompress.candidate import UNCHANGED, Candidate, SoftTarget
from safecompress.compression.schedule import Schedule
from safecompress.compression.session import Job, Session
from safecompress.config import CompressConfig
from safecompress.defenses import PRUNING_METHODS, Admm, support
from safecompress.errors import ConfigError
from safecompress.events import Event
from safecompress.proposals import PROPOSALS
from safecompress.protocols import Proposal, ProposalContext
from safecompress.randomness import derive
from safecompress.run.model_file import StoredModel
from safecompress.sparse import initialize, scale_to_mask_
from safecompress.topology import Topology, maskable_parameters

STUDENTS = {"student-global": "magnitude-global", "student-layer": "magnitude-layer"}
"""First masks cut from a dense student, and how each compares magnitudes."""
UNTRAINED = ("scratch", "snip", "lottery")
"""First masks that begin with the untrained weights."""
SCALED = ("scratch", "snip")
"""Those whose weights are scaled to the mask; a lottery ticket's are what they were, by name."""
_BY_MAGNITUDE = (
    {"snip": "magnitude-global", "lottery": "magnitude-global"} | PRUNING_METHODS | STUDENTS
)
"""How a first mask is cut whose name says where what it compares comes from."""


def build_proposals(config: CompressConfig) -> tuple[Proposal, ...]:
    """Build the configured proposals with the sparse section's defaults filled in.

    Returns:
        All of them, or those that a replay names.

    Raises:
        ConfigError: on a part that cannot be built, two that are the same, or a replay of others.
    """
    built: dict[str, Proposal] = {}
    for index, request in enumerate(config.steer.proposals):
        where = f"steer.proposals[{index}]"
        proposal = PROPOSALS.build(request, where=where).with_defaults(config.sparse)
        if proposal.name == UNCHANGED:
            raise ConfigError(f"{where}: '{UNCHANGED}' stands for no proposal; name it otherwise.")
        if proposal.name in built:
            raise ConfigError(
                f"{where}: '{proposal.name}' is there already; remove it, or give it another "
                "fraction."
            )
        built[proposal.name] = proposal
    replay = config.steer.replay
    for name in replay or ():
        if name != UNCHANGED and name not in built:
            raise ConfigError(
                f"steer.replay: '{name}' is no proposal; steer.proposals has {', '.join(built)}."
            )
    return tuple(p for name, p in built.items() if replay is None or name in replay)


def needs_teachers(config: CompressConfig) -> bool:
    """Return whether anybody learns from soft labels."""
    return needs_student(config) or _asked(config, "soft_labels")


def needs_student(config: CompressConfig) -> bool:
    """Return whether the search begins with a dense student, or a proposal may."""
    return config.sparse.initialize in STUDENTS or _asked(config, "student")


def _asked(config: CompressConfig, what: str) -> bool:
    """Return whether a proposal requires something, and there are rounds in which it may."""
    return config.sparse.rounds > 0 and any(what in p.requires for p in build_proposals(config))


def needs_channels(config: CompressConfig) -> bool:
    """Return whether a proposal removes channels, and there are rounds in which it may."""
    return _asked(config, "channels")


class ContextBuilder:
    """Proposal contexts of one parent; its gradient is computed once for all siblings."""

    def __init__(
        self,
        work: Session,
        timetable: Schedule,
        number: int,
    ) -> None:
        self._work, self._config, self.number = work, work.config, number
        self._progress = timetable.progress(number)
        self._parent_gradient: dict[str, Tensor] | None = None

    def of(
        self, candidate: Candidate, proposal: Proposal, parent: int, update: int
    ) -> ProposalContext:
        """Return what `proposal` may look at for its `update`-th change of `candidate`."""
        gradient = None
        if "gradient" in proposal.requires:
            gradient = self._parent_gradient if update == 0 else None
            if gradient is None:
                batches = self._config.sparse.gradient_batches
                gradient = self._work.trainer("search").gradient(candidate, batches)
            if update == 0:
                self._parent_gradient = gradient
        groups = self._work.channels() if "channels" in proposal.requires else None
        student = student_candidate(self._work) if "student" in proposal.requires else None
        seed = derive(self._config.seed, "propose", self.number, parent, proposal.name, update)
        return ProposalContext(gradient, self._progress, seed, groups, student)


def start_candidate(work: Session, dense: StoredModel, *, method: str, job: Job) -> Candidate:
    """Return the sparse model a search or a baseline starts from.

    From the trained dense weights, pruned; or from weights that were first trained towards their
    mask, by ADMM or little by little, which may be interrupted; or, for `scratch`, `snip` and
    `lottery`, from the untrained weights, scaled to the mask where that is not to keep them; or
    from a dense student, whose target it keeps.
    """
    if method in PRUNING_METHODS:
        trained, topology = _towards_mask(work, dense)
        work.module.load_state_dict(dict(trained.weights))
        return work.trainer(job).start(topology)
    if method in STUDENTS:
        return student_candidate(work)
    scored: Mapping[str, Tensor] = dense.weights
    if method == "snip":
        scored = _sensitivity(work, job)
    begun = work.initial if method in UNTRAINED else dense.weights
    work.module.load_state_dict(dict(begun))
    topology = first_topology(work.config, work.module, scored, method=method)
    if method in SCALED:
        scale_to_mask_(work.module, topology, drawn=method != "snip")
    return work.trainer(job).start(topology)


def train_student(work: Session) -> Candidate:
    """Train untrained weights towards the teachers' labels of rows that they never saw.

    Weights that were given trained are what it begins with.
    """
    trainer = work.trainer("student")
    work.module.load_state_dict(dict(work.initial))
    start = trainer.start(Topology.dense(work.module)).evolve(soft_target=_students_target(work))
    work.enter("student", "dense student, towards what the teachers say of rows they never saw")
    return work.train_to("student", start, trainer.total_steps, trainer=trainer)


def student_candidate(work: Session) -> Candidate:
    """Return the trained student as a search takes it up: cut to the density, its target kept."""
    if work.student is None:
        raise TypeError("no student was trained")
    method = work.config.sparse.initialize
    work.module.load_state_dict(dict(work.student.weights))
    topology = first_topology(
        work.config,
        work.module,
        work.student.weights,
        method=method if method in STUDENTS else "student-global",
    )
    start = work.trainer("search").start(topology)
    return start.evolve(soft_target=_students_target(work))


def _students_target(work: Session) -> SoftTarget:
    return SoftTarget(1.0, work.config.sparse.student.temperature)


def _sensitivity(work: Session, job: Job) -> dict[str, Tensor]:
    """Return by how much the loss would change without each untrained weight, to first order.

    Reference: SNIP, Lee, Ajanthan & Torr, ICLR 2019, equation 4.
    """
    trainer = work.trainer(job)
    work.module.load_state_dict(dict(work.initial))
    start = trainer.start(Topology.dense(work.module))
    gradient = trainer.gradient(start, work.config.sparse.gradient_batches)
    return {name: start.weights[name] * g for name, g in gradient.items()}


def _towards_mask(work: Session, dense: StoredModel) -> tuple[Candidate, Topology]:
    """Train the dense weights on towards their mask; return them, and which of them are kept."""
    trainer = work.trainer("pruning")
    work.module.load_state_dict(dict(dense.weights))
    start = trainer.start(Topology.dense(work.module))
    trained = work.train_to("pruning", start, trainer.total_steps, trainer=trainer)
    state = trained.defenses[work.config.sparse.initialize.split("-")[0]]
    if Admm.name in trained.defenses:
        residuals = state["residuals"].tolist()
        text = f"ADMM: distance from the mask {residuals[-1]:.3g}, {residuals[0]:.3g} at first"
        work.listen(Event("note", text, {"residuals": residuals}))
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
