"""The test-driven loop: propose, settle, attack, select, train on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.attacks import ATTACKS
from safecompress.candidate import Candidate
from safecompress.checks import OBJECTIVES, Auc, BalancedAccuracy, Objective, Outcome, Subject
from safecompress.checks.subject import Stopwatch
from safecompress.config import CompressConfig
from safecompress.errors import (
    ConfigError,
    MemoryShortageError,
    NonFiniteError,
    telling_memory_shortage,
)
from safecompress.events import Event
from safecompress.files import tensors_digest
from safecompress.modelfile import StoredModel
from safecompress.protocols import Attack, Proposal, ProposalContext
from safecompress.randomness import derive, permutation
from safecompress.sparse import PROPOSALS, initialise, with_defaults
from safecompress.stages import Job, Work
from safecompress.timetable import Timetable, fields, rounds_in_words
from safecompress.topology import Topology, maskable_parameters


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
        proposal = with_defaults(PROPOSALS.build(request, where=where), config.sparse)
        if proposal.name in built:
            raise ConfigError(
                f"{where}: '{proposal.name}' is there already; remove it, or give it another "
                "fraction."
            )
        built[proposal.name] = proposal
    replay = config.steer.replay
    for name in replay or ():
        if name not in built:
            raise ConfigError(
                f"steer.replay: '{name}' is no proposal; steer.proposals has {', '.join(built)}."
            )
    return tuple(p for name, p in built.items() if replay is None or name in replay)


def needs_teachers(config: CompressConfig) -> bool:
    """Return whether a proposal uses soft labels, and there are rounds in which it may."""
    return config.sparse.rounds > 0 and any(
        "soft_labels" in proposal.requires for proposal in build_proposals(config)
    )


def build_attacks(config: CompressConfig) -> list[Attack]:
    """Build the attacks of the loop."""
    return [
        ATTACKS.build(request, where=f"steer.attacks[{i}]")
        for i, request in enumerate(config.steer.attacks)
    ]


def build_objective(config: CompressConfig) -> Objective:
    """Build the objective of the loop."""
    return OBJECTIVES.build(config.steer.objective, where="steer.objective")


@dataclass(frozen=True)
class Tested:
    """A settled candidate and what the tests said of it; no `outcome` when it was discarded."""

    name: str
    parent: str
    candidate: Candidate
    outcome: Outcome | None
    record: Mapping[str, Any] = field(default_factory=dict)


class Search:
    """The loop over rounds on one run's work."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._config = work.config
        self._proposals = build_proposals(work.config)
        self._fields = fields(work.config)
        self._attacks = build_attacks(work.config)
        self._objective = build_objective(work.config)
        self._trainer = trainer = work.trainer("search")
        self.timetable = Timetable.of(
            work.config.sparse, steps_per_epoch=trainer.steps_per_epoch, total=trainer.total_steps
        )

    def run(self, dense: StoredModel) -> Candidate:
        """Search from the dense model and return the chosen candidate, fully trained."""
        work, clock = self._work, self.timetable
        work.enter("search", f"search: {rounds_in_words(work.config)}", rounds=clock.rounds)
        population = self._population() or self._first_population(dense)
        for number in range(work.round, clock.rounds):
            if number == len(self._fields) or self._stale():
                population = [c.evolve(step=clock.end) for c in population]
                break
            parents = self._train(population, until=clock.proposed(number), number=number)
            tested = [self._test(c) for c in self._settle(parents, number)]
            population, records = self._select(parents, tested, number)
            self._commit(population, records, number)
        return work.train_to("final", population[0], clock.total, trainer=self._trainer)

    def _population(self) -> list[Candidate]:
        pieces = self._work.pieces
        size = sum(key.startswith("population/") for key in pieces)
        return [pieces[f"population/{i}"] for i in range(size)]

    def _first_population(self, dense: StoredModel) -> list[Candidate]:
        """Return the parents of the first round: one, or equal ones that draw different moves."""
        method = self._config.sparse.initialise
        start = start_candidate(self._work, dense, method=method, job="search")
        return [start] * (self._fields[0].parents if self._fields else 1)

    def _stale(self) -> bool:
        patience = self._config.sparse.patience
        return patience is not None and self._work.notes.get("rounds_without_gain", 0) >= patience

    def _train(
        self, population: Sequence[Candidate], *, until: int, number: int
    ) -> list[Candidate]:
        return [
            self._work.train_to(
                f"round {number + 1} parent {i + 1}", c, until, trainer=self._trainer
            )
            for i, c in enumerate(population)
        ]

    def _settle(self, parents: Sequence[Candidate], number: int) -> list[Tested]:
        """Let every proposal change every parent, and every candidate train on the same batches."""
        settled = []
        for i, parent in enumerate(parents):
            contexts = _Contexts(self._work, self.timetable, number)
            twins: dict[str, str] = {}
            for k, proposal in enumerate(self._chances(parent, number, i)):
                name = f"r{number + 1}p{i + 1}c{k + 1}"
                watch = Stopwatch()
                record: dict[str, Any] = {
                    "round": number + 1,
                    "candidate": name,
                    "parent": f"r{number + 1}p{i + 1}",
                    "proposal": proposal.name,
                }
                try:
                    with telling_memory_shortage():
                        changed = proposal(parent, contexts.of(parent, proposal, i, 0))
                        if twin := _twin(changed, proposal, name, twins):
                            raise _SameCandidateError(f"the same as {twin}")
                        candidate = self._settle_one(changed, proposal, contexts, name, i)
                    record |= {"step": candidate.step, "seconds": {"settle": watch.seconds}}
                    settled.append(Tested(name, record["parent"], candidate, None, record))
                except (NonFiniteError, MemoryShortageError, _SameCandidateError) as error:
                    # Who never settled stands in for no sibling: what it lacked may be there again.
                    twins = {key: first for key, first in twins.items() if first != name}
                    record |= {"step": parent.step, "seconds": {"settle": watch.seconds}}
                    record |= {"status": "discarded", "reason": str(error)}
                    settled.append(Tested(name, record["parent"], parent, None, record))
        return settled

    def _chances(self, parent: Candidate, number: int, index: int) -> tuple[Proposal, ...]:
        """Return the proposals that one parent gets in a round."""
        steer = self._config.steer
        if steer.replay is not None:
            return tuple(p for p in self._proposals if p.name == steer.replay[number])
        if steer.search == "tournament" and parent.lineage:
            # A lineage stands for its proposal; it is what the tests compare.
            return tuple(p for p in self._proposals if p.name == parent.lineage[-1])
        if steer.draw is None:
            return self._proposals
        order = permutation(len(self._proposals), self._config.seed, "draw", number, index)
        return tuple(self._proposals[k] for k in sorted(order[: steer.draw].tolist()))

    def _settle_one(
        self, changed: Candidate, proposal: Proposal, contexts: _Contexts, key: str, index: int
    ) -> Candidate:
        """Train a changed candidate, changing it again where the proposal says so."""
        candidate, begin = changed, changed.step
        judged = self.timetable.judged(contexts.number)
        for update in range(proposal.updates):
            piece = f"{key}/{update + 1}"
            if update and piece not in self._work.pieces:
                candidate = proposal(candidate, contexts.of(candidate, proposal, index, update))
            target = begin + (judged - begin) * (update + 1) // proposal.updates
            candidate = self._work.train_to(piece, candidate, target, trainer=self._trainer)
        return candidate

    def _test(self, tested: Tested) -> Tested:
        """Attack a settled candidate and measure its accuracy, on the steering rows."""
        record = dict(tested.record)
        if record.get("status") == "discarded":
            self._work.listen(Event("candidate", _line(record), record))
            return tested
        try:
            with telling_memory_shortage():
                outcome, figures = self._measure(tested)
        except (NonFiniteError, MemoryShortageError) as error:
            record |= {"status": "discarded", "reason": str(error)}
            outcome = None
        else:
            record["seconds"] = record["seconds"] | figures.pop("seconds")
            record |= {"status": "ok"} | figures
        self._work.listen(Event("candidate", _line(record), record))
        return Tested(tested.name, tested.parent, tested.candidate, outcome, record)

    def _measure(self, tested: Tested) -> tuple[Outcome, dict[str, Any]]:
        watch = Stopwatch()
        outputs = self._work.splits.steer.map(
            lambda rows: self._trainer.outputs(tested.candidate, rows)
        )
        seconds_outputs = watch.seconds
        subject = Subject.of(
            outputs,
            name=tested.name,
            density=tested.candidate.topology.density,
            seed=derive(self._config.seed, "steer"),
        )
        auc, attack_accuracy, measures, costs = {}, {}, {}, {}
        for attack in self._attacks:
            one = Stopwatch()
            result = subject.attacked_by(attack)
            auc[attack.name] = Auc().value(result)
            attack_accuracy[attack.name] = BalancedAccuracy().value(result)
            measures[f"{attack.name}.auc"] = auc[attack.name]
            measures[f"{attack.name}.balanced-accuracy"] = attack_accuracy[attack.name]
            costs[attack.name] = one.seconds
        outcome = Outcome(
            tested.name, subject.accuracy, auc, attack_accuracy, tested.record["round"] - 1
        )
        return outcome, {
            "accuracy": subject.accuracy,
            "measures": measures,
            "density": subject.density,
            "seconds": {"outputs": seconds_outputs, "tests": costs},
        }

    def _select(
        self, parents: Sequence[Candidate], tested: Sequence[Tested], number: int
    ) -> tuple[list[Candidate], list[dict[str, Any]]]:
        """Return the next population and the round's history lines.

        Where every candidate was discarded the parents go on unchanged.
        """
        records = {t.name: dict(t.record) for t in tested}
        alive = [(t, t.outcome) for t in tested if t.outcome is not None]
        if not alive:
            text = f"{self._round(number)}: every candidate was discarded; the parent goes on"
            self._work.listen(Event("selected", text, {"round": number + 1, "candidate": None}))
            self._note_score(-math.inf)
            return list(parents), list(records.values())
        ranking = self._objective.rank([outcome for _, outcome in alive])
        kept = ranking[: self._fields[number].kept]
        for place, ranked in enumerate(ranking):
            records[alive[ranked.index][0].name] |= {
                "rank": place + 1,
                "selected": place < len(kept),
                "reason": ranked.reason,
            }
        best = alive[kept[0].index][0]
        self._note_score(kept[0].score)
        text = f"{self._round(number)}: {best.record['proposal']} chosen, {kept[0].reason}"
        data = {"round": number + 1, "candidate": best.name}
        self._work.listen(Event("selected", text, data))
        return [alive[r.index][0].candidate for r in kept], list(records.values())

    def _round(self, number: int) -> str:
        return f"round {number + 1} of {self.timetable.rounds}"

    def _note_score(self, score: float) -> None:
        notes = self._work.notes
        if notes.get("best_score") is None or score > notes["best_score"]:
            notes["best_score"] = score if math.isfinite(score) else None
            notes["rounds_without_gain"] = 0
        else:
            notes["rounds_without_gain"] += 1

    def _commit(
        self, population: Sequence[Candidate], records: Sequence[dict[str, Any]], number: int
    ) -> None:
        work = self._work
        work.round = number + 1
        work.pieces = {f"population/{i}": c for i, c in enumerate(population)}
        work.commit(lines=[_EMPTY_RECORD | record for record in records])


_EMPTY_RECORD: dict[str, Any] = {
    "accuracy": None,
    "measures": {},
    "density": None,
    "rank": None,
    "selected": False,
    "reason": "",
}


class _SameCandidateError(Exception):
    """A sibling is this very candidate: training and testing it again would tell nothing."""


def _twin(changed: Candidate, proposal: Proposal, name: str, seen: dict[str, str]) -> str | None:
    """Return the name of an earlier sibling that is the same candidate, and note this one."""
    if proposal.updates > 1:
        return None
    digest = f"{changed.soft_target} {tensors_digest(changed.tensors())}"
    return None if (first := seen.setdefault(digest, name)) == name else first


class _Contexts:
    """Proposal contexts of one parent; its gradient is computed once for all siblings."""

    def __init__(
        self,
        work: Work,
        timetable: Timetable,
        number: int,
    ) -> None:
        self._work, self._config, self.number = work, work.config, number
        self._progress = timetable.progress(number)
        self._parent_gradient: dict[str, torch.Tensor] | None = None

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
        seed = derive(self._config.seed, "propose", self.number, parent, proposal.name, update)
        return ProposalContext(gradient, self._progress, seed)


def start_candidate(work: Work, dense: StoredModel, *, method: str, job: Job) -> Candidate:
    """Return the sparse model a search or a baseline starts from.

    From the trained dense weights, pruned; or, for `scratch`, from the untrained weights under a
    random mask.
    """
    weights = work.initial if method == "scratch" else dense.weights
    work.module.load_state_dict(dict(weights))
    topology = first_topology(work.config, work.module, weights, method=method)
    return work.trainer(job).start(topology)


def first_topology(
    config: CompressConfig, module: nn.Module, weights: Mapping[str, Tensor], *, method: str
) -> Topology:
    """Return the topology a search or a baseline starts with.

    Args:
        config: gives density, distribution and seed.
        module: says which parameters are maskable.
        weights: a state_dict; its magnitudes count unless the method is `scratch`.
        method: `magnitude-global`, `magnitude-layer` or `scratch`.

    Raises:
        ConfigError: when the density cannot be met exactly.
    """
    sparse = config.sparse
    return initialise(
        {name: weights[name] for name in maskable_parameters(module)},
        density=sparse.density,
        distribution=sparse.distribution,
        method=method,
        seed=derive(config.seed, "initialise"),
    )


def _line(record: Mapping[str, Any]) -> str:
    if record["status"] == "discarded":
        return f"  {record['candidate']} {record['proposal']}: discarded ({record['reason']})"
    figures = ", ".join(
        f"{name.removesuffix('.auc')} {value:.3f}"
        for name, value in record["measures"].items()
        if name.endswith(".auc")
    )
    return (
        f"  {record['candidate']} {record['proposal']}: accuracy {record['accuracy']:.3f}, "
        f"AUC {figures}"
    )
