"""The verdict: the chosen model judged once, on rows that never steered anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safecompress.attacks import ATTACKS
from safecompress.candidate import Candidate
from safecompress.checks import (
    EXIT_CODES,
    Accuracy,
    AttackMeasure,
    CheckResult,
    Measure,
    Status,
    Subject,
    Suite,
    corrected_level,
    metric_named,
    overall,
)
from safecompress.checks.controls import control_checks
from safecompress.data import Ledger
from safecompress.errors import SafeCompressError, UndecidableError
from safecompress.events import Event
from safecompress.figures import figures_document
from safecompress.files import sha256, tensors_digest
from safecompress.modelfile import StoredModel
from safecompress.protocols import Estimate, Outputs, Pool, Rows
from safecompress.randomness import derive
from safecompress.runs import MODEL
from safecompress.stages import Work
from safecompress.stats import power
from safecompress.topology import Topology

SCHEMA_VERSION = 1
COMPARED: tuple[tuple[str, str], ...] = (
    ("loss", "auc"),
    ("modified-entropy", "auc"),
    ("modified-entropy", "class-balanced-accuracy"),
    ("neural", "auc"),
    ("neural", "balanced-accuracy"),
    ("modified-entropy", "tpr@0.01"),
)
SCOPE = "metric and neural black-box attacks only; no shadow-model or label-only attack was run"
LIMITS = (
    "It holds for the attacks listed, not for every attack: a stronger one may find more.",
    "It holds for this training set, drawn as stated; it says nothing of any one person's record "
    "beyond the averages and rates shown.",
    "Thresholds learnt by the auditor on half of the sealed rows are an upper bound for an "
    "attacker who must learn them elsewhere.",
    "Looks are counted for one set of sealed rows in one folder of runs: another seed seals other "
    "rows, and whoever tries many seeds and ships the best has to say so.",
    "Passing is not a formal guarantee such as differential privacy.",
)
THREAT_MODEL = (
    "The attacker reaches only the compressed model, sees its full outputs, and knows each "
    "record's true label. Where the dense model is out in the world too, more may be possible."
)


@dataclass(frozen=True)
class Verdict:
    """What the final suite adds up to.

    Args:
        status: PASS, FAIL, INCONCLUSIVE or ERROR.
        sentence: the verdict in plain words.
        checks: every check, controls included.
        document: the JSON of `verdict.json`.
        figures: the JSON of `figures.json`.
    """

    status: Status
    sentence: str
    checks: tuple[CheckResult, ...]
    document: Mapping[str, Any]
    figures: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """Exit code of a command that ends in this verdict."""
        return EXIT_CODES[self.status]


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
    level = corrected_level(work.config.verdict.level, looks)
    named = ({"dense": dense} if dense is not None else {}) | dict(models)
    subjects = _subjects(work, sealed, named)
    parent = subjects.get("dense")

    def told(result: CheckResult) -> None:
        work.listen(Event("check", _line(result), result.to_json()))

    results = suite.run(subjects["compressed"], parent, level=level, on_result=told)
    controls = control_checks(
        subjects["compressed"],
        sealed,
        attacks=_attacks_of(suite),
        untouched=_untouched(work, sealed),
    )
    for control in controls:
        told(control)
    checks = (*results, *controls)
    status = (
        overall(results) if not any(c.status is Status.ERROR for c in controls) else Status.ERROR
    )
    comparison = [_compared(s, parent, level=level) for s in subjects.values()]
    sentence = _sentence(status, checks, comparison)
    n_members, n_nonmembers = len(sealed.members), len(sealed.nonmembers)
    document = {
        "schema_version": SCHEMA_VERSION,
        "verdict": str(status),
        "sentence": sentence,
        "model": _model_facts(work, compressed, comparison),
        "threat_model": {"kind": "compressed", "text": THREAT_MODEL},
        "power": power_statement(n_members, n_nonmembers, level=level),
        "looks": looks,
        "level": level,
        "scope": SCOPE,
        "checks": [c.to_json() for c in checks],
        "comparison": comparison,
        "limits": list(LIMITS),
    }
    figures = figures_document(subjects, compressed, checks, attacks=[a for a, _ in COMPARED])
    return Verdict(status, sentence, checks, document, figures)


def power_statement(n_members: int, n_nonmembers: int, *, level: float) -> dict[str, Any]:
    """Return the smallest AUC these many rows can tell from chance, in numbers and in words."""
    half = power.auc_half_width(0.5, n_members, n_nonmembers, level=level)
    rows = f"{n_members} members and {n_nonmembers} non-members"
    try:
        smallest = power.smallest_detectable_auc(n_members, n_nonmembers, level=level)
    except UndecidableError:
        smallest = None
        text = f"{rows} are too few to tell any AUC from chance."
    else:
        text = (
            f"{rows} tell an AUC of {smallest:.3f} or more from chance (power 80 %); near chance "
            f"the interval is ±{half:.3f}."
        )
    return {
        "smallest_detectable_auc": smallest,
        "half_width_at_chance": half,
        "n_members": n_members,
        "n_nonmembers": n_nonmembers,
        "text": text,
    }


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


def _attacks_of(suite: Suite) -> list[Any]:
    found = {
        repr(c.measure.attack): c.measure.attack
        for c in suite.checks
        if isinstance(c.measure, AttackMeasure)
    }
    return list(found.values())


def _compared(subject: Subject, dense: Subject | None, *, level: float) -> dict[str, Any]:
    measures: list[Measure] = [
        AttackMeasure(ATTACKS.build(attack, where="comparison"), metric_named(metric))
        for attack, metric in COMPARED
    ]
    attacks = {m.name: _figure(m, subject, None, level=level) for m in measures}
    difference = None
    if dense is not None and subject is not dense:
        difference = {
            m.name: _figure(m, subject, dense, level=level) for m in (Accuracy(), *measures)
        }
    return {
        "name": subject.name,
        "density": subject.density,
        "accuracy": _figure(Accuracy(), subject, None, level=level),
        "attacks": {k: v for k, v in attacks.items() if v is not None},
        "difference_to_dense": difference and {k: v for k, v in difference.items() if v},
    }


def _figure(
    measure: Measure, subject: Subject, dense: Subject | None, *, level: float
) -> dict[str, float] | None:
    """Return a figure with its interval, or None where too few rows allow it."""
    try:
        if dense is None:
            estimate: Estimate = measure.estimate(subject, level=level)
        else:
            estimate = measure.difference(subject, dense, level=level)
    except SafeCompressError:
        return None
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


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


def _sentence(
    status: Status, checks: Sequence[CheckResult], comparison: Sequence[Mapping[str, Any]]
) -> str:
    row = next(r for r in comparison if r["name"] == "compressed")
    strongest = max(
        ((v["value"], k) for k, v in row["attacks"].items() if k.endswith(".auc")), default=None
    )
    told = (
        ""
        if strongest is None
        else f" Its strongest attack tells members from non-members with AUC {strongest[0]:.3f} "
        "(0.5 is guessing, 1 is certainty)."
    )
    critical = [c for c in checks if c.critical and not c.name.startswith("control:")]
    bad = [c.name for c in critical if c.status is status]
    of = f"{len(bad)} of {len(critical)} critical checks"
    if status is Status.PASS:
        passed = f"all {len(critical)} critical checks passed"
        return f"Safe to ship by the tests that were asked for: {passed}." + told
    if status is Status.FAIL:
        return f"Not safe to ship: {of} failed: {_listed(bad)}." + told
    if status is Status.INCONCLUSIVE:
        return f"Not decided: these rows are too few to settle {of}: {_listed(bad)}." + told
    broken = [c.name for c in checks if c.status in {Status.ERROR, Status.NOT_RUN}]
    return f"No verdict: tests could not be trusted or did not run: {_listed(broken)}." + told


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _line(result: CheckResult) -> str:
    e = result.estimate
    figure = "" if e is None else f" {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"
    return f"  {result.status:<12} {result.name}{figure}"
