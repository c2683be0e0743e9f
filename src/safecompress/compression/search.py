"""`Search`: the test-driven loop of proposing, settling, attacking, selecting and training on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

from safecompress.candidate import UNCHANGED, Candidate
from safecompress.checks import OBJECTIVES, Objective
from safecompress.checks.subject import Stopwatch
from safecompress.compression.attempt import Attempt, DiscardedError
from safecompress.compression.contexts import ContextBuilder
from safecompress.compression.evaluation import CandidateEvaluator, EvaluatedCandidate
from safecompress.compression.limits import limits_of
from safecompress.compression.requirements import build_first_mask, build_proposals
from safecompress.compression.schedule import Schedule, round_sizes, rounds_in_words
from safecompress.compression.session import Session
from safecompress.compression.start import start_candidate, student_candidate
from safecompress.errors import (
    MemoryShortageError,
    NonFiniteError,
    blaming,
    telling_memory_shortage,
)
from safecompress.events import Event
from safecompress.models import channel_groups, few_inputs
from safecompress.protocols import Judges, Pool, Proposal, References
from safecompress.randomness import permutation
from safecompress.run.model_file import StoredModel
from safecompress.topology import rounded_density
from safecompress.train import Trainer
from safecompress.transforms import ChannelGroup


class Search:
    """The loop over rounds of one run.

    Args:
        session: the run.
        trainer: trains candidates.
        dense: the dense model; None without one.
        student: the dense student of the teachers; None if the configuration does not use it.
        references: log-odds of the steering rows by the judges, or else the teachers; None without
            either.
        judges: what the judges say of the steering rows; None without judges.
    """

    def __init__(
        self,
        session: Session,
        *,
        trainer: Trainer,
        dense: StoredModel | None,
        student: StoredModel | None,
        references: Pool[References] | None,
        judges: Pool[Judges] | None,
    ) -> None:
        self._session, self._progress = session, session.progress
        self._config, self._trainer = session.config, trainer
        self._dense, self._student = dense, student
        self._proposals = {p.name: p for p in build_proposals(session.config)}
        self._sizes = round_sizes(session.config)
        self._objective: Objective = OBJECTIVES.build(
            session.config.steer.objective, where="steer.objective"
        )
        self._limits = limits_of(
            self._objective,
            session.config,
            session.splits,
            density=rounded_density(session.module, session.config.sparse.density),
            has_dense=dense is not None,
        )
        self._evaluate = CandidateEvaluator(
            session,
            trainer=trainer,
            dense=dense,
            references=references,
            judges=judges,
            limits=self._limits,
        )
        self.timetable = Schedule.of(
            session.config.sparse,
            steps_per_epoch=trainer.steps_per_epoch,
            total=trainer.total_steps,
        )

    def run(self) -> Candidate:
        """Search from the first mask and return the chosen candidate, fully trained."""
        progress, clock = self._progress, self.timetable
        text = f"search: {rounds_in_words(self._config)}"
        progress.enter("search", text, rounds=clock.rounds)
        for note in self._limits.notes:
            self._session.listen(Event("note", f"  {note}", {}))
        population = self._population() or self._first_population()
        for number in range(progress.round, clock.rounds):
            if number == len(self._sizes) or self._stale():
                population = [c.evolve(step=clock.end) for c in population]
                break
            parents = self._train(population, until=clock.proposed(number), number=number)
            tested = [self._evaluate(c) for c in self._settle(parents, number)]
            population, records = self._select(parents, tested, number)
            self._commit(population, records, number)
        return progress.train_to("final", population[0], clock.total, trainer=self._trainer)

    def _population(self) -> list[Candidate]:
        pieces = self._progress.pieces
        size = sum(key.startswith("population/") for key in pieces)
        return [pieces[f"population/{i}"] for i in range(size)]

    def _first_population(self) -> list[Candidate]:
        """Return the first round's parents: one, or equal ones that draw different proposals."""
        start = start_candidate(
            self._session,
            build_first_mask(self._config),
            trainer=self._trainer,
            dense=self._dense,
            student=self._student,
        )
        return [start.packed()] * (self._sizes[0].parents if self._sizes else 1)

    def _stale(self) -> bool:
        patience = self._config.sparse.patience
        return patience is not None and self._progress.notes.rounds_without_gain >= patience

    def _train(
        self, population: Sequence[Candidate], *, until: int, number: int
    ) -> list[Candidate]:
        pieces = {f"round {number + 1} parent {i + 1}": c for i, c in enumerate(population)}
        self._progress.train_stack(pieces, until, trainer=self._trainer)
        return [
            self._progress.train_to(key, c, until, trainer=self._trainer)
            for key, c in pieces.items()
        ]

    @cached_property
    def _channels(self) -> tuple[ChannelGroup, ...] | None:
        """The channels of the model that belong together; None if no proposal needs them."""
        if not any("channels" in proposal.requires for proposal in self._proposals.values()):
            return None
        module = self._session.module
        return channel_groups(module, few_inputs(module, self._session.splits.members))

    def _contexts(self, parent: Candidate, index: int, number: int) -> ContextBuilder:
        student = self._student
        return ContextBuilder(
            self._config,
            self._trainer,
            parent,
            index,
            number,
            progress=self.timetable.progress(number),
            channels=self._channels,
            student=None
            if student is None
            else partial(student_candidate, self._session, student, trainer=self._trainer),
        )

    def _settle(self, parents: Sequence[Candidate], number: int) -> list[EvaluatedCandidate]:
        """Apply every offered proposal to every parent, and train all candidates alike."""
        attempts = [
            Attempt(f"r{number + 1}p{i + 1}c{k + 1}", proposal, contexts)
            for i, parent in enumerate(parents)
            for contexts in [self._contexts(parent, i, number)]
            for k, proposal in enumerate(self._offered(parent, number, i))
        ]
        share = self._stacked(attempts, number)
        settled = []
        known: dict[int, dict[str, str]] = {}
        for attempt in attempts:
            name, parent, index = attempt.name, attempt.parent, attempt.contexts.index
            twins = known.setdefault(index, {})
            watch = Stopwatch()
            record: dict[str, Any] = {
                "round": number + 1,
                "candidate": name,
                "parent": f"r{number + 1}p{index + 1}",
                "proposal": attempt.proposal.name,
            }
            try:
                with telling_memory_shortage():
                    candidate = self._settle_one(attempt, twins)
                seconds = watch.seconds + share.get(name, 0.0)
                record |= {"step": candidate.step, "seconds": {"settle": seconds}}
                settled.append(EvaluatedCandidate(name, record["parent"], candidate, None, record))
            except (NonFiniteError, MemoryShortageError, DiscardedError) as error:
                # A candidate that failed must not discard later ones as its duplicates: a cause
                # such as a lack of memory may be gone by then.
                known[index] = {d: first for d, first in twins.items() if first != name}
                record |= {"step": parent.step, "seconds": {"settle": watch.seconds}}
                record |= {"status": "discarded", "reason": str(error)}
                settled.append(EvaluatedCandidate(name, record["parent"], parent, None, record))
        return settled

    def _stacked(self, attempts: Sequence[Attempt], number: int) -> dict[str, float]:
        """Train candidates as one stack where possible; return the seconds spent on each."""
        if not (self._progress.notes.stacks and self._trainer.stacks):
            # Each candidate is then made just before it is trained, so that not all wait in memory.
            return {}
        watch = Stopwatch()
        pieces: dict[str, Candidate] = {}
        known: dict[int, dict[str, str]] = {}
        for attempt in attempts:
            if attempt.proposal.updates > 1:
                continue
            try:
                with telling_memory_shortage():
                    changed = attempt.changed
            except (NonFiniteError, MemoryShortageError, DiscardedError):
                # `_settle_one` applies the proposal again and discards the candidate with a reason.
                continue
            if not _twin(attempt, known.setdefault(attempt.contexts.index, {})):
                pieces[f"{attempt.name}/1"] = changed
        self._progress.train_stack(pieces, self.timetable.judged(number), trainer=self._trainer)
        return {key.removesuffix("/1"): watch.seconds / len(pieces) for key in pieces}

    def _offered(self, parent: Candidate, number: int, index: int) -> tuple[Proposal, ...]:
        """Return the proposals that are applied to one parent in a round."""
        steer, every = self._config.steer, tuple(self._proposals.values())
        if steer.replay is not None:
            name = steer.replay[number]
            return () if name == UNCHANGED else (self._proposals[name],)
        path = [name for name in parent.lineage if name != UNCHANGED]
        if steer.search == "tournament" and path:
            # In a tournament a parent keeps the proposal it began with: proposals compete.
            return (self._proposals[path[-1]],)
        if steer.draw is None:
            return every
        order = permutation(len(every), self._config.seed, "draw", number, index)
        return tuple(every[k] for k in sorted(order[: steer.draw].tolist()))

    def _settle_one(self, attempt: Attempt, twins: dict[str, str]) -> Candidate:
        """Train a changed candidate, and apply the proposal as often as its `updates` says.

        Raises:
            DiscardedError: when an earlier candidate of the same parent is equal, so that training
                and testing it again would give the same result; or when the proposal fails.
        """
        candidate, updates = attempt.changed, attempt.proposal.updates
        if twin := _twin(attempt, twins):
            raise DiscardedError(f"the same as {twin}")
        begin, judged = candidate.step, self.timetable.judged(attempt.contexts.number)
        pieces = self._progress.pieces
        names = [f"{attempt.name}/{update + 1}" for update in range(updates)]
        reached = max((k for k, name in enumerate(names) if name in pieces), default=0)
        for update, piece in enumerate(names[reached:], start=reached):
            if update and piece not in pieces:
                candidate = attempt.again(candidate, update).packed()
                # The next commit has this piece instead, so nothing needs the one before.
                pieces.pop(names[update - 1], None)
            attempt.forget()
            target = begin + (judged - begin) * (update + 1) // updates
            candidate = self._progress.train_to(piece, candidate, target, trainer=self._trainer)
        return candidate

    def _select(
        self, parents: Sequence[Candidate], tested: Sequence[EvaluatedCandidate], number: int
    ) -> tuple[list[Candidate], list[dict[str, Any]]]:
        """Return the next population and the round's history lines.

        If every candidate was discarded, the parents go on unchanged.
        """
        records = {t.name: dict(t.record) for t in tested}
        alive = [(t, t.outcome) for t in tested if t.outcome is not None]
        if not alive:
            text = f"{self._round(number)}: every candidate was discarded; the parent goes on"
            self._session.listen(Event("selected", text, {"round": number + 1, "candidate": None}))
            self._note_score(-math.inf)
            unchanged = [p.evolve(lineage=(*p.lineage, UNCHANGED)) for p in parents]
            return unchanged, list(records.values())
        with blaming(self._objective, "steer.objective: the objective"):
            ranking = self._objective.rank([outcome for _, outcome in alive])
        kept = ranking[: self._sizes[number].kept]
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
        self._session.listen(Event("selected", text, data))
        return [alive[r.index][0].candidate for r in kept], list(records.values())

    def _round(self, number: int) -> str:
        return f"round {number + 1} of {self.timetable.rounds}"

    def _note_score(self, score: float) -> None:
        self._progress.notes = self._progress.notes.with_score(score)

    def _commit(
        self, population: Sequence[Candidate], records: Sequence[dict[str, Any]], number: int
    ) -> None:
        progress = self._progress
        progress.round = number + 1
        progress.pieces = {f"population/{i}": c for i, c in enumerate(population)}
        progress.commit(lines=[_EMPTY_RECORD | record for record in records])


_EMPTY_RECORD: dict[str, Any] = {
    "accuracy": None,
    "measures": {},
    "density": None,
    "rank": None,
    "selected": False,
    "reason": "",
}


def _twin(attempt: Attempt, first_by_digest: dict[str, str]) -> str | None:
    """Return the name of an earlier equal candidate of the same parent, else record this one."""
    if attempt.proposal.updates > 1:
        return None
    first = first_by_digest.setdefault(attempt.digest, attempt.name)
    return None if first == attempt.name else first
