"""The judgement of a run: its sealed rows opened once, for models that never met them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safecompress.attacks import ATTACKS
from safecompress.candidate import Candidate
from safecompress.checks import (
    AttackMeasure,
    CheckResult,
    Subject,
    Suite,
    corrected_level,
    metric_named,
)
from safecompress.checks.controls import control_checks
from safecompress.data import Ledger
from safecompress.events import Event
from safecompress.figures import figures_document, layers_of
from safecompress.files import sha256, tensors_digest
from safecompress.modelfile import StoredModel
from safecompress.protocols import Evidence, Pool, Rows
from safecompress.randomness import derive
from safecompress.runs import MODEL
from safecompress.stages import Work
from safecompress.topology import Topology
from safecompress.verdict import LIMITS, Verdict, attacks_of, check_line, find, threat_model

COMPARED: tuple[tuple[str, str], ...] = (
    ("loss", "auc"),
    ("modified-entropy", "auc"),
    ("modified-entropy", "class-balanced-accuracy"),
    ("neural", "auc"),
    ("neural", "balanced-accuracy"),
    ("modified-entropy", "tpr@0.01"),
)
_COMPARED_INSIDE = ("auc", "balanced-accuracy")
"""What is shown of every white-box attack of the suite."""
SCOPE = "metric and neural black-box attacks only; no shadow-model or label-only attack was run"
SCOPE_INSIDE = (
    "metric, neural black-box and white-box attacks; no shadow-model or label-only attack was run"
)
LOOKS = (
    "Looks are counted for one set of sealed rows in one folder of runs: another seed seals other "
    "rows, and whoever tries many seeds and ships the best has to say so."
)


def judge(
    work: Work, suite: Suite, *, dense: StoredModel | None, models: Mapping[str, StoredModel]
) -> Verdict:
    """Open the sealed rows and judge `models['compressed']`.

    Args:
        work: the run.
        suite: the final suite.
        dense: the dense parent, for paired differences; None without one.
        models: the compressed model and the baselines, by name.
    """
    compressed = models["compressed"]
    ledger = Ledger(work.folder.path.parent / "sealed-ledger.jsonl")
    sealed, looks = work.splits.open_sealed(
        ledger, model_digest=tensors_digest(compressed.weights), run=work.folder.path.name
    )
    named = ({"dense": dense} if dense is not None else {}) | dict(models)
    compared = [
        AttackMeasure(ATTACKS.build(attack, where="comparison"), metric_named(metric))
        for attack, metric in COMPARED
    ]
    compared += [
        AttackMeasure(attack, metric_named(metric))
        for attack in attacks_of(suite)
        if attack.white_box
        for metric in _COMPARED_INSIDE
    ]
    inside = any(measure.attack.white_box for measure in compared)
    subjects = _subjects(work, sealed, named, inside=inside)

    def told(result: CheckResult) -> None:
        work.listen(Event("check", check_line(result), result.to_json()))

    finding = find(
        subjects,
        "compressed",
        suite,
        compared=compared,
        controls=lambda attacks: control_checks(
            subjects["compressed"],
            sealed,
            attacks=attacks,
            untouched=_untouched(work, sealed, inside=inside),
        ),
        level=corrected_level(work.config.verdict.level, looks),
        told=told,
    )
    document = dict(finding.document) | {
        "kind": "compress",
        "model": _model_facts(work, compressed, finding.document["comparison"]),
        "threat_model": {"kind": "compressed", "text": threat_model(white_box=inside)},
        "looks": looks,
        "scope": SCOPE_INSIDE if inside else SCOPE,
        "limits": [*LIMITS, LOOKS],
    }
    figures = figures_document(
        subjects,
        finding.checks,
        attacks=[measure.attack for measure in compared],
        layers=layers_of(compressed),
    )
    return Verdict(finding.status, finding.sentence, finding.checks, document, figures)


def _subjects(
    work: Work, sealed: Pool[Rows], models: Mapping[str, StoredModel], *, inside: bool
) -> dict[str, Subject]:
    seed = derive(work.config.seed, "verdict")
    return {
        name: Subject.of(
            _evidence(work, model.candidate(), sealed, inside=inside),
            name=name,
            density=model.topology.density,
            seed=seed,
        )
        for name, model in models.items()
    }


def _evidence(
    work: Work, candidate: Candidate, sealed: Pool[Rows], *, inside: bool
) -> Pool[Evidence]:
    """Return what attackers hold about the sealed rows; `inside`, for white-box ones, too."""
    trainer = work.trainer("search")

    def held(rows: Rows) -> Evidence:
        outputs = trainer.outputs(candidate, rows)
        return Evidence(outputs, internals=trainer.internals(candidate, rows) if inside else None)

    return sealed.map(held)


def _untouched(work: Work, sealed: Pool[Rows], *, inside: bool) -> Subject | None:
    """Return the model before any training, or None where the weights were given trained."""
    if work.notes["trained"]:
        return None
    fresh = Candidate(work.initial, {}, Topology({}), {})
    evidence = _evidence(work, fresh, sealed, inside=inside)
    seed = derive(work.config.seed, "verdict")
    return Subject.of(evidence, name="untouched", density=1.0, seed=seed)


def _model_facts(
    work: Work, compressed: StoredModel, comparison: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    by_name = {row["name"]: row for row in comparison}
    parameters = sum(p.numel() for p in work.module.parameters())
    dense = by_name.get("dense")
    return {
        "name": work.notes["model"],
        "sha256": sha256(work.folder.path / MODEL),
        "density": compressed.topology.density,
        "parameters": parameters,
        "maskable": compressed.topology.total,
        "nonzeros": compressed.topology.nonzeros,
        "accuracy": by_name["compressed"]["accuracy"]["value"],
        "lineage": compressed.metadata["lineage"],
        "dense": None
        if dense is None
        else {"parameters": parameters, "accuracy": dense["accuracy"]["value"]},
    }
