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
from safecompress.protocols import Outputs, Pool, Rows
from safecompress.randomness import derive
from safecompress.runs import MODEL
from safecompress.stages import Work
from safecompress.topology import Topology
from safecompress.verdict import LIMITS, THREAT_MODEL, Verdict, check_line, find

COMPARED: tuple[tuple[str, str], ...] = (
    ("loss", "auc"),
    ("modified-entropy", "auc"),
    ("modified-entropy", "class-balanced-accuracy"),
    ("neural", "auc"),
    ("neural", "balanced-accuracy"),
    ("modified-entropy", "tpr@0.01"),
)
SCOPE = "metric and neural black-box attacks only; no shadow-model or label-only attack was run"
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
    subjects = _subjects(work, sealed, named)

    def told(result: CheckResult) -> None:
        work.listen(Event("check", check_line(result), result.to_json()))

    finding = find(
        subjects,
        "compressed",
        suite,
        compared=[
            AttackMeasure(ATTACKS.build(attack, where="comparison"), metric_named(metric))
            for attack, metric in COMPARED
        ],
        controls=lambda attacks: control_checks(
            subjects["compressed"], sealed, attacks=attacks, untouched=_untouched(work, sealed)
        ),
        level=corrected_level(work.config.verdict.level, looks),
        told=told,
    )
    document = dict(finding.document) | {
        "kind": "compress",
        "model": _model_facts(work, compressed, finding.document["comparison"]),
        "threat_model": {"kind": "compressed", "text": THREAT_MODEL},
        "looks": looks,
        "scope": SCOPE,
        "limits": [*LIMITS, LOOKS],
    }
    figures = figures_document(
        subjects,
        finding.checks,
        attacks=[ATTACKS.build(name, where="figures") for name, _ in COMPARED],
        layers=layers_of(compressed),
    )
    return Verdict(finding.status, finding.sentence, finding.checks, document, figures)


def _subjects(
    work: Work, sealed: Pool[Rows], models: Mapping[str, StoredModel]
) -> dict[str, Subject]:
    trainer = work.trainer("search")

    def outputs_of(model: StoredModel) -> Pool[Outputs]:
        candidate = model.candidate()
        return sealed.map(lambda rows: trainer.outputs(candidate, rows))

    outputs = {name: outputs_of(model) for name, model in models.items()}
    seed = derive(work.config.seed, "verdict")
    return {
        name: Subject.of(
            found,
            name=name,
            density=models[name].topology.density,
            seed=seed,
        )
        for name, found in outputs.items()
    }


def _untouched(work: Work, sealed: Pool[Rows]) -> Subject | None:
    """Return the model before any training, or None where the weights were given trained."""
    if work.notes["trained"]:
        return None
    trainer = work.trainer("search")
    fresh = Candidate(work.initial, {}, Topology({}), {})
    outputs = sealed.map(lambda rows: trainer.outputs(fresh, rows))
    seed = derive(work.config.seed, "verdict")
    return Subject.of(outputs, name="untouched", density=1.0, seed=seed)


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
