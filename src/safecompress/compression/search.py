"""The test-driven loop: propose, settle, attack, select, train on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from safecompress.candidate import Candidate
from safecompress.checks import OBJECTIVES, Objective
from safecompress.checks.subject import Stopwatch
from safecompress.compression.evaluation import CandidateEvaluator, EvaluatedCandidate
from safecompress.compression.schedule import Schedule, round_sizes, rounds_in_words
from safecompress.compression.session import Session
from safecompress.compression.start import ContextBuilder, build_proposals, start_candidate
from safecompress.errors import MemoryShortageError, NonFiniteError, telling_memory_shortage
from safecompress.events import Event
from safecompress.files import tensors_digest
from safecompress.protocols import Proposal
from safecompress.randomness import permutation
from safecompress.run.model_file import StoredModel


class Search:
    """The loop over rounds on one run's work."""

    def __init__(self, work: Session) -> None:
        self._work = work
        self._config = work.config
        self._proposals = build_proposals(work.config)
        self._fields = round_sizes(work.config)
        self._trial = CandidateEvaluator(work)
        self._objective: Objective = OBJECTIVES.build(
            work.config.steer.objective, where="steer.objective"
        )
        self._trainer = trainer = work.trainer("search")
        self.timetable = Schedule.of(
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
            tested = [self._trial(c) for c in self._settle(parents, number)]
            population, records = self._select(parents, tested, number)
            self._commit(population, records, number)
        return work.train_to("final", population[0], clock.total, trainer=self._trainer)

    def _population(self) -> list[Candidate]:
        pieces = self._work.pieces
        size = sum(key.startswith("population/") for key in pieces)
        return [pieces[f"population/{i}"] for i in range(size)]

    def _first_population(self, dense: StoredModel) -> list[Candidate]:
        """Return the parents of the first round: one, or equal ones that draw different moves."""
        method = self._config.sparse.initialize
        start = start_candidate(self._work, dense, method=method, job="search")
        return [start] * (self._fields[0].parents if self._fields else 1)

    def _stale(self) -> bool:
        patience = self._config.sparse.patience
        return patience is not None and self._work.notes.get("rounds_without_gain", 0) >= patience

    def _train(
        self, population: Sequence[Candidate], *, until: int, number: int
    ) -> list[Candidate]:
        pieces = {f"round {number + 1} parent {i + 1}": c for i, c in enumerate(population)}
        self._work.train_stack(pieces, until, trainer=self._trainer)
        return [
            self._work.train_to(key, c, until, trainer=self._trainer) for key, c in pieces.items()
        ]

    def _settle(self, parents: Sequence[Candidate], number: int) -> list[EvaluatedCandidate]:
        """Let every proposal change every parent, and every candidate train on the same batches."""
        chances = [
            _Attempt(f"r{number + 1}p{i + 1}c{k + 1}", i, parent, proposal, contexts)
            for i, parent in enumerate(parents)
            for contexts in [ContextBuilder(self._work, self.timetable, number)]
            for k, proposal in enumerate(self._chances(parent, number, i))
        ]
        share = self._stacked(chances, number)
        settled = []
        known: dict[int, dict[str, str]] = {}
        for chance in chances:
            name, parent, proposal = chance.name, chance.parent, chance.proposal
            twins = known.setdefault(chance.index, {})
            watch = Stopwatch()
            record: dict[str, Any] = {
                "round": number + 1,
                "candidate": name,
                "parent": f"r{number + 1}p{chance.index + 1}",
                "proposal": proposal.name,
            }
            try:
                with telling_memory_shortage():
                    changed = chance.changed()
                    if twin := _twin(chance, twins):
                        raise _SameCandidateError(f"the same as {twin}")
                    candidate = self._settle_one(changed, chance)
                seconds = watch.seconds + share.get(name, 0.0)
                record |= {"step": candidate.step, "seconds": {"settle": seconds}}
                settled.append(EvaluatedCandidate(name, record["parent"], candidate, None, record))
            except (NonFiniteError, MemoryShortageError, _SameCandidateError) as error:
                # Who never settled stands in for no sibling: what it lacked may be there again.
                known[chance.index] = {d: first for d, first in twins.items() if first != name}
                record |= {"step": parent.step, "seconds": {"settle": watch.seconds}}
                record |= {"status": "discarded", "reason": str(error)}
                settled.append(EvaluatedCandidate(name, record["parent"], parent, None, record))
        return settled

    def _stacked(self, chances: Sequence[_Attempt], number: int) -> dict[str, float]:
        """Train at once what can be; return by candidate the seconds that went into it."""
        watch = Stopwatch()
        pieces: dict[str, Candidate] = {}
        seen: dict[int, dict[str, str]] = {}
        for chance in chances:
            if chance.proposal.updates > 1:
                continue
            try:
                with telling_memory_shortage():
                    changed = chance.changed()
            except (NonFiniteError, MemoryShortageError):
                # It fails again where it is settled alone, and is discarded with the reason.
                continue
            if not _twin(chance, seen.setdefault(chance.index, {})):
                pieces[f"{chance.name}/1"] = changed
        self._work.train_stack(pieces, self.timetable.judged(number), trainer=self._trainer)
        return {key.removesuffix("/1"): watch.seconds / len(pieces) for key in pieces}

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

    def _settle_one(self, changed: Candidate, chance: _Attempt) -> Candidate:
        """Train a changed candidate, changing it again where the proposal says so."""
        candidate, begin, proposal = changed, changed.step, chance.proposal
        judged = self.timetable.judged(chance.contexts.number)
        for update in range(proposal.updates):
            piece = f"{chance.name}/{update + 1}"
            if update and piece not in self._work.pieces:
                context = chance.contexts.of(candidate, proposal, chance.index, update)
                candidate = proposal(candidate, context)
            target = begin + (judged - begin) * (update + 1) // proposal.updates
            candidate = self._work.train_to(piece, candidate, target, trainer=self._trainer)
        return candidate

    def _select(
        self, parents: Sequence[Candidate], tested: Sequence[EvaluatedCandidate], number: int
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


@dataclass
class _Attempt:
    """A parent and a proposal that may change it."""

    name: str
    index: int
    parent: Candidate
    proposal: Proposal
    contexts: ContextBuilder
    _changed: Candidate | None = None

    def changed(self) -> Candidate:
        """Return the parent as the proposal changes it."""
        if self._changed is None:
            context = self.contexts.of(self.parent, self.proposal, self.index, 0)
            self._changed = self.proposal(self.parent, context)
        return self._changed

    @cached_property
    def digest(self) -> str:
        """What tells the changed parent from others; all its tensors are read for it."""
        changed = self.changed()
        settings = f"{changed.soft_target} {changed.transforms.settings()}"
        return f"{settings} {tensors_digest(changed.tensors())}"


def _twin(chance: _Attempt, seen: dict[str, str]) -> str | None:
    """Return the name of an earlier sibling that is the same candidate, and note this one."""
    if chance.proposal.updates > 1:
        return None
    first = seen.setdefault(chance.digest, chance.name)
    return None if first == chance.name else first
