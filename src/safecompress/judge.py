"""The judgement of a run: its sealed rows opened once, for models that never met them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
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
from safecompress.exposure import newly_exposed, newly_exposed_document
from safecompress.figures import figures_document, layers_of
from safecompress.files import sha256, tensors_digest
from safecompress.modelfile import StoredModel
from safecompress.protocols import Evidence, Pool, References, Rows
from safecompress.randomness import derive
from safecompress.runs import MODEL
from safecompress.stages import Work
from safecompress.topology import Topology
from safecompress.verdict import (
    LIMITS,
    Verdict,
    attacks_of,
    check_line,
    find,
    on_request,
    threat_model,
)

COMPARED: tuple[tuple[str, str], ...] = (
    ("loss", "auc"),
    ("modified-entropy", "auc"),
    ("modified-entropy", "class-balanced-accuracy"),
    ("neural", "auc"),
    ("neural", "balanced-accuracy"),
    ("modified-entropy", "tpr@0.01"),
)
LOOKS = (
    "Looks are counted for one set of sealed rows in one folder of runs: another seed seals other "
    "rows, and whoever tries many seeds and ships the best has to say so."
)


@dataclass(frozen=True)
class Sealed:
    """The rows that judge, once they are open.

    Args:
        rows: members and non-members that steered nothing.
        looks: distinct models that were judged on them, this one included.
    """

    rows: Pool[Rows]
    looks: int


def open_sealed(work: Work, compressed: StoredModel) -> Sealed:
    """Write down that `compressed` is judged, and open the sealed rows.

    Raises:
        StorageError: when the look cannot be written down; the rows then stay sealed.
    """
    ledger = Ledger(work.folder.path.parent / "sealed-ledger.jsonl")
    digest = tensors_digest(compressed.weights)
    return Sealed(*work.splits.open_sealed(ledger, model_digest=digest, run=work.folder.path.name))


def judge(
    work: Work,
    suite: Suite,
    sealed: Sealed,
    *,
    dense: StoredModel | None,
    models: Mapping[str, StoredModel],
    shadows: Mapping[str, Pool[References]],
) -> Verdict:
    """Judge `models['compressed']` on the sealed rows.

    Args:
        work: the run.
        suite: the final suite.
        sealed: the sealed rows.
        dense: the dense parent, for paired differences; None without one.
        models: the compressed model and the baselines, by name.
        shadows: by a model's name, what shadow models of its kind say of the sealed rows.
    """
    compressed, rows, looks = models["compressed"], sealed.rows, sealed.looks
    named = ({"dense": dense} if dense is not None else {}) | dict(models)
    attacks = attacks_of(suite)
    asked = any("target" in check.measure.requires for check in suite.checks)
    subjects = _subjects(work, rows, named, shadows, asked=asked)
    compared = _compared(suite)

    def told(result: CheckResult) -> None:
        work.listen(Event("check", check_line(result), result.to_json()))

    finding = find(
        subjects,
        "compressed",
        suite,
        compared=[
            AttackMeasure(ATTACKS.build(attack, where="comparison"), metric_named(metric))
            for attack, metric in compared
        ],
        controls=lambda attacks: control_checks(
            subjects["compressed"],
            rows,
            attacks=attacks,
            untouched=_untouched(work, rows, asked=asked),
        ),
        level=corrected_level(work.config.verdict.level, looks),
        told=told,
    )
    document = dict(finding.document) | {
        "kind": "compress",
        "model": _model_facts(work, compressed, finding.document["comparison"]),
        "threat_model": {"kind": "compressed", "text": threat_model(attacks)},
        "looks": looks,
        "scope": _scope(suite, work.config.shadows.count),
        "limits": [*LIMITS, LOOKS],
    }
    if dense is not None:
        found = newly_exposed(subjects["compressed"], subjects["dense"], attacks)
        document["newly_exposed"] = newly_exposed_document(found)
    figures = figures_document(
        subjects,
        finding.checks,
        attacks=[ATTACKS.build(name, where="figures") for name, _ in compared],
        layers=layers_of(compressed),
    )
    return Verdict(finding.status, finding.sentence, finding.checks, document, figures)


def _subjects(
    work: Work,
    sealed: Pool[Rows],
    models: Mapping[str, StoredModel],
    shadows: Mapping[str, Pool[References]],
    *,
    asked: bool,
) -> dict[str, Subject]:
    """Return the models by name; all but the dense one hold its outputs as their parent's."""
    evidence: dict[str, Pool[Evidence]] = {}
    for name, model in models.items():
        held = _held(work, model.candidate(), sealed, asked=asked)
        if name in shadows:
            held = held.zip(shadows[name], lambda e, said: replace(e, references=said))
        if "dense" in evidence:
            held = held.zip(evidence["dense"], lambda e, d: replace(e, parent=d.outputs))
        evidence[name] = held
    seed = derive(work.config.seed, "verdict")
    return {
        name: Subject.of(
            found,
            name=name,
            density=models[name].topology.density,
            seed=seed,
        )
        for name, found in evidence.items()
    }


def _held(work: Work, candidate: Candidate, sealed: Pool[Rows], *, asked: bool) -> Pool[Evidence]:
    """Return what attackers hold about one model.

    Args:
        work: the run.
        candidate: the model.
        sealed: the rows.
        asked: whether an attack asks the model itself; then it is copied, once.
    """
    trainer = work.trainer("search")
    outputs = sealed.map(lambda rows: trainer.outputs(candidate, rows))
    target = deepcopy(work.module) if asked else None
    return outputs.zip(sealed, lambda o, rows: Evidence(o, rows=rows, target=target))


def _untouched(work: Work, sealed: Pool[Rows], *, asked: bool) -> Subject | None:
    """Return the model before any training, or None where the weights were given trained."""
    if work.notes["trained"]:
        return None
    fresh = Candidate(work.initial, {}, Topology({}), {})
    held = _held(work, fresh, sealed, asked=asked)
    seed = derive(work.config.seed, "verdict")
    return Subject.of(held, name="untouched", density=1.0, seed=seed)


def _compared(suite: Suite) -> list[tuple[str, str]]:
    """Return what is shown of every model: attack and metric."""
    asked = [a.name for a in attacks_of(suite) if "references" in a.requires]
    return [*COMPARED, *((name, m) for name in asked for m in ("auc", "tpr@0.01"))]


def _scope(suite: Suite, shadows: int) -> str:
    """Return in words which kinds of attack the suite has."""
    attacks = attacks_of(suite)
    more = on_request([a.name for a in attacks if a.label_only or a.requires - {"references"}])
    if any("references" in attack.requires for attack in attacks):
        return (
            f"metric and neural black-box attacks, and attacks with {shadows} shadow models, which "
            "repeat the dense training and the chosen path on other draws of the rows" + more
        )
    kinds = "shadow-model" if any(a.label_only for a in attacks) else "shadow-model or label-only"
    return f"metric and neural black-box attacks only; no {kinds} attack was run{more}"


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
