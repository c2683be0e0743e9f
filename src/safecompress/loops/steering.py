"""`SteeringTests`: performance and safety tests of a model between a loop's epochs."""

from __future__ import annotations

from typing import Any

from safecompress.candidate import Candidate
from safecompress.checks import OBJECTIVES, Objective, Outcome
from safecompress.compression.evaluation import CandidateEvaluator, EvaluatedCandidate
from safecompress.compression.limits import limits_of
from safecompress.errors import NonFiniteError, blaming
from safecompress.loops.begin import Begun
from safecompress.topology import rounded_density


class SteeringTests:
    """Tests models on the steering rows, and remembers the best by the run's objective.

    The sealed rows take no part, so a choice by these figures leaves the verdict honest.

    Args:
        begun: the run.
    """

    def __init__(self, begun: Begun) -> None:
        session = begun.session
        self._objective: Objective = OBJECTIVES.build(
            session.config.steer.objective, where="steer.objective"
        )
        density = rounded_density(session.module, session.config.sparse.density)
        limits = limits_of(
            self._objective,
            session.config,
            session.splits,
            density=density,
            has_dense=begun.prepared.has_dense,
        )
        self._evaluate = CandidateEvaluator(
            session,
            trainer=session.trainers.plain(),
            dense=begun.dense,
            references=None,
            judges=None,
            limits=limits,
        )
        self._target = density
        self.records: list[dict[str, Any]] = []
        self.best: Candidate | None = None
        self.without_gain = 0
        self._best_outcome: Outcome | None = None

    def __call__(self, candidate: Candidate) -> dict[str, float]:
        """Test a model and return its figures.

        Args:
            candidate: the model as it is now.

        Returns:
            `accuracy` on the steering non-members, `NAME.auc` and `NAME.balanced-accuracy` of each
            attack, `density`, and where the objective reads limits `margin`, the smallest of them
            in half widths of its interval.

        Raises:
            NonFiniteError: when a logit is NaN or infinite.
        """
        number = len(self.records) + 1
        tested = self._tested(candidate, number)
        record, outcome = dict(tested.record), tested.outcome
        if outcome is None:
            raise NonFiniteError(f"test {number} of your loop: {record['reason']}")
        self._rank_(candidate, outcome, record)
        self.records.append(record)
        figures = {"accuracy": record["accuracy"], "density": record["density"]}
        figures |= record["measures"]
        if known := [m for m in record.get("margins", {}).values() if m is not None]:
            figures["margin"] = min(known)
        return figures

    def _tested(self, candidate: Candidate, number: int) -> EvaluatedCandidate:
        name = f"t{number}"
        record = {
            "round": number,
            "candidate": name,
            "parent": f"t{number - 1}",
            "proposal": candidate.lineage[-1] if candidate.lineage else "own loop",
            "step": candidate.step,
            "seconds": {},
        }
        return self._evaluate(EvaluatedCandidate(name, name, candidate, None, record))

    def _rank_(self, candidate: Candidate, outcome: Outcome, record: dict[str, Any]) -> None:
        """Note whether a model is the best so far; only models of the final density compete."""
        record |= {"rank": None, "selected": False, "reason": "not of the final density yet"}
        if abs(candidate.topology.density - self._target) > 1e-9:
            return
        if self.best is not None and self._best_outcome is None:
            # A resumed loop measures the best model again: the same figures come out.
            self._best_outcome = self._tested(self.best, len(self.records)).outcome
        rivals = [o for o in (self._best_outcome, outcome) if o is not None]
        with blaming(self._objective, "steer.objective: the objective"):
            ranking = self._objective.rank(rivals)
        won = rivals[ranking[0].index] is outcome
        place = next(i for i, ranked in enumerate(ranking) if rivals[ranked.index] is outcome)
        record |= {"rank": place + 1, "selected": won, "reason": ranking[place].reason}
        self.without_gain = 0 if won else self.without_gain + 1
        if won:
            self.best, self._best_outcome = candidate, outcome
