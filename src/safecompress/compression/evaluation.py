"""`CandidateEvaluator`: attacks and measures settled candidates on the steering rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import UnitInputModel
from safecompress.candidate import Candidate
from safecompress.checks import (
    WORTH,
    Accuracy,
    Auc,
    BalancedAccuracy,
    LimitMargin,
    Outcome,
    SteeringLimits,
    Subject,
    steering_attacks,
    steering_measures,
)
from safecompress.checks.similarity import Probe, gradient_cosines
from safecompress.checks.subject import Stopwatch
from safecompress.compression.session import Session
from safecompress.errors import (
    MemoryShortageError,
    NonFiniteError,
    PartError,
    UndecidableError,
    blaming,
    telling_memory_shortage,
)
from safecompress.events import Event
from safecompress.protocols import Evidence, InputRange, Judges, Pool, References
from safecompress.randomness import derive
from safecompress.run.model_file import StoredModel
from safecompress.train import Trainer
from safecompress.verdict_names import DENSE

_LEVEL = 0.95
"""Confidence level of the intervals whose upper bounds count as a candidate's risks."""
_COMPARED = 200
"""Most rows on which input gradients are compared with the dense model's."""


@dataclass(frozen=True)
class EvaluatedCandidate:
    """A settled candidate with its test results; `outcome` is None if it was discarded."""

    name: str
    parent: str
    candidate: Candidate
    outcome: Outcome | None
    record: Mapping[str, Any] = field(default_factory=dict)


class CandidateEvaluator:
    """Runs the attacks and measures of the loop on one candidate after the other.

    Args:
        session: the run.
        trainer: computes outputs of candidates.
        dense: the dense model, for measures that attack it; None without a dense model.
        references: log-odds of the steering rows by the judges, or else the teachers; None without
            either.
        judges: what the judges say of the steering rows; None without judges.
        limits: the limits whose margins are measured of every candidate.
    """

    def __init__(
        self,
        session: Session,
        *,
        trainer: Trainer,
        dense: StoredModel | None,
        references: Pool[References] | None,
        judges: Pool[Judges] | None,
        limits: SteeringLimits,
    ) -> None:
        self._session, self._trainer, self._references = session, trainer, references
        self._attacks = steering_attacks(session.config, references=references is not None)
        self._measures = steering_measures(session.config)
        self._limits, self._dense, self._judges = limits, dense, judges
        attacks_need = (attack.requires for attack in self._attacks)
        measures_need = (measure.requires for measure in self._measures)
        self._needed = limits.requires.union(*attacks_need, *measures_need)
        self._parent: nn.Module | None = None
        if dense is not None and "parent_target" in self._needed:
            self._parent = trainer.module_of(dense.candidate()).requires_grad_(False)
        fitted = session.splits.preprocessor
        self._span = None if fitted is None else fitted.input_range

    def __call__(self, tested: EvaluatedCandidate) -> EvaluatedCandidate:
        """Attack a settled candidate and measure its accuracy, on the steering rows.

        Args:
            tested: the candidate with the record of its settling and without an outcome. One that
                is already discarded is returned as it is.

        Returns:
            The candidate with its outcome; discarded if its outputs are not finite or memory runs
            out.
        """
        record = dict(tested.record)
        if record.get("status") == "discarded":
            self._session.listen(Event("candidate", _line(record), record))
            return tested
        try:
            with telling_memory_shortage():
                outcome, figures = self._measure(tested)
        except (NonFiniteError, MemoryShortageError, PartError) as error:
            record |= {"status": "discarded", "reason": str(error)}
            outcome = None
        else:
            record["seconds"] = record["seconds"] | figures.pop("seconds")
            record |= {"status": "ok"} | figures
        self._session.listen(Event("candidate", _line(record), record))
        return EvaluatedCandidate(tested.name, tested.parent, tested.candidate, outcome, record)

    def _measure(self, tested: EvaluatedCandidate) -> tuple[Outcome, dict[str, Any]]:
        subject, seconds = self._subject(tested.candidate, name=tested.name)
        auc, attack_accuracy, measures, costs = {}, {}, {}, {}
        for attack in self._attacks:
            stopwatch = Stopwatch()
            with blaming(attack, f"steer.attacks: the attack '{attack.name}'"):
                result = subject.attacked_by(attack)
            auc[attack.name] = Auc().value(result)
            attack_accuracy[attack.name] = BalancedAccuracy().value(result)
            measures[f"{attack.name}.auc"] = auc[attack.name]
            measures[f"{attack.name}.balanced-accuracy"] = attack_accuracy[attack.name]
            costs[attack.name] = stopwatch.seconds
        risks = {}
        for measure in self._measures:
            stopwatch = Stopwatch()
            try:
                # The upper bound counts, so that masking gradients gives a candidate no advantage.
                with blaming(measure, f"steer.measures: the measure '{measure.name}'"):
                    risks[measure.name] = measure.estimate(subject, level=_LEVEL).high
            except UndecidableError:
                # No row is classified correctly by both models, so the measure is undefined. The
                # highest risk keeps such a candidate from being chosen.
                risks[measure.name] = 1.0
            costs[measure.name] = stopwatch.seconds
        measures |= risks
        worth, value = self._session.config.steer.worth, subject.accuracy
        if worth != Accuracy.name:
            value = measures[worth] = WORTH[worth](subject.outputs.nonmembers)
        outcome = Outcome(
            tested.name,
            value,
            auc,
            attack_accuracy,
            tested.record["round"] - 1,
            risks,
            worth,
            self._margins(subject, costs),
        )
        return outcome, {
            "accuracy": subject.accuracy,
            "measures": measures,
            "density": subject.density,
            "seconds": seconds | {"tests": costs},
        } | self._cosine(subject) | _recorded(outcome.margins)

    def _subject(self, candidate: Candidate, *, name: str) -> tuple[Subject, dict[str, float]]:
        """Return a model on the steering rows, and the seconds that each part of it took."""
        evidence, seconds = self._evidence(candidate)
        seed = derive(self._session.config.seed, "steer")
        density = candidate.topology.density
        return Subject.of(evidence, name=name, density=density, seed=seed), seconds

    @cached_property
    def _dense_subject(self) -> Subject | None:
        """The dense model on the steering rows; None without one, or if no limit refers to it."""
        if self._dense is None or not self._limits.relative | ("parent" in self._needed):
            return None
        return self._subject(self._dense.candidate(), name=DENSE)[0]

    def _margins(self, subject: Subject, costs: dict[str, float]) -> tuple[LimitMargin, ...]:
        """Return by how much a candidate keeps every limit, and note what that took in `costs`."""
        if not self._limits.checks:
            return ()
        stopwatch, dense = Stopwatch(), self._dense_subject
        if dense is not None and "parent" in self._needed:
            evidence = subject.evidence.zip(
                dense.outputs, lambda e, outputs: replace(e, parent=outputs)
            )
            subject = replace(subject, evidence=evidence)
        level = self._session.config.verdict.level
        margins = self._limits.margins(subject, dense, level=level)
        costs["limits"] = stopwatch.seconds
        return margins

    def _cosine(self, subject: Subject) -> dict[str, float]:
        """Return the mean cosine of a candidate's input gradients and the dense model's.

        The result is empty if no measure attacks the dense model.
        """
        evidence = subject.evidence.nonmembers
        if self._parent is None or evidence.rows is None or evidence.target is None:
            return {}
        rows = evidence.rows.take(torch.arange(min(_COMPARED, len(evidence.rows))))
        inputs = rows.inputs
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            return {}
        span = evidence.span or InputRange.of_rows(inputs)
        dense_gradients, candidate_gradients = (
            Probe.by(UnitInputModel(model, span), span.units(inputs), rows.labels).gradients
            for model in (self._parent, evidence.target)
        )
        if dense_gradients is None or candidate_gradients is None:
            return {}
        return {"cosine": float(gradient_cosines(dense_gradients, candidate_gradients).mean())}

    def _evidence(self, candidate: Candidate) -> tuple[Pool[Evidence], dict[str, float]]:
        """Return what attackers know about a candidate, and the seconds that each part took."""
        trainer, steer = self._trainer, self._session.splits.steer
        watch = Stopwatch()
        outputs = steer.map(lambda rows: trainer.outputs(candidate, rows))
        seconds = {"outputs": watch.seconds}
        evidence = outputs.map(Evidence)
        if self._references is not None:
            evidence = evidence.zip(self._references, lambda e, r: replace(e, references=r))
        if self._judges is not None:
            evidence = evidence.zip(self._judges, lambda e, j: replace(e, judges=j))
        if "internals" in self._needed:
            watch = Stopwatch()
            internals = steer.map(lambda rows: trainer.internals(candidate, rows))
            seconds["internals"] = watch.seconds
            evidence = evidence.zip(internals, lambda e, i: replace(e, internals=i))
        if "groups" in self._needed:
            groups = self._session.splits.groups_of(steer)
            evidence = evidence.zip(groups, lambda e, g: replace(e, groups=g or None))
        if self._measures or {"rows", "target", "parent_target"} & self._needed:
            target = trainer.module_of(candidate)
            evidence = evidence.zip(
                steer,
                lambda e, rows: replace(
                    e, rows=rows, target=target, parent_target=self._parent, span=self._span
                ),
            )
        return evidence, seconds


def _recorded(margins: Sequence[LimitMargin]) -> dict[str, dict[str, float | None]]:
    """Return finite margins by limit, in half widths, for the history; empty without limits."""
    if not margins:
        return {}
    finite = {m.limit: m.margin if math.isfinite(m.margin) else None for m in margins}
    return {"margins": finite}


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
