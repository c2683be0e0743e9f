"""The audit: a verdict on a model that only its outputs speak for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from safecompress.attacks import ATTACKS
from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    Check,
    CheckResult,
    Condition,
    Measure,
    Subject,
    Suite,
    at_least_dense,
    at_most,
    at_most_dense,
    metric_named,
    shadow_attacks,
)
from safecompress.checks.controls import control_checks
from safecompress.data import Recorded, read_outputs
from safecompress.errors import ConfigError, DataError
from safecompress.events import Event, Listener, silent
from safecompress.exposure import Exposed, most_exposed, newly_exposed, newly_exposed_document
from safecompress.figures import figures_document
from safecompress.files import make_folder, sha256, tensors_digest, write_json, write_text
from safecompress.protocols import Attack
from safecompress.provenance import surroundings
from safecompress.randomness import derive
from safecompress.record import Group, record
from safecompress.report import junit_xml, write_report
from safecompress.runs import FIGURES, JUNIT, PROVENANCE, REPORT, VERDICT
from safecompress.verdict import (
    LIMITS,
    Verdict,
    attacks_of,
    check_line,
    find,
    on_request,
    threat_model,
)

MODEL, DENSE = "model", "dense"
_ATTACKS = ("loss", "confidence", "modified-entropy", "neural", "gap")
_ACCURACY_LOSS = 0.05
_SHOWN_FPR = 0.01
Model: TypeAlias = nn.Module | Callable[..., Any]
AUDIT_LIMITS = (
    "That members were trained on, non-members were not, and both were drawn alike is taken on "
    "trust, but for what the blind baseline compared.",
    "Rows that were looked at while the model was being chosen make it look safer than it is.",
)


@dataclass(frozen=True)
class Limits:
    """What an audited model must keep.

    Args:
        max_auc: most that any attack's AUC may be, in [0.5, 1].
        max_advantage: most that any attack's membership advantage (TPR - FPR) may be, in [0, 1];
            None does not ask.
        max_tpr: pairs of the most a true-positive rate may be and the false-positive rate it is
            taken at, both in (0, 1).

    Raises:
        ConfigError: on a number outside its range.
    """

    max_auc: float = 0.60
    max_advantage: float | None = None
    max_tpr: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not 0.5 <= self.max_auc <= 1:
            raise ConfigError(f"max_auc is {self.max_auc:g}; expected a number in [0.5, 1].")
        if self.max_advantage is not None and not 0 <= self.max_advantage <= 1:
            raise ConfigError(
                f"max_advantage is {self.max_advantage:g}; expected a number in [0, 1]."
            )
        for tpr, fpr in self.max_tpr:
            if not 0 < tpr < 1 or not 0 < fpr < 1:
                raise ConfigError(
                    f"max_tpr is {tpr:g}@{fpr:g}; expected two numbers in (0, 1), for example "
                    "0.01@0.001: at most 1 % of the members found where 0.1 % of the non-members "
                    "are taken for members."
                )


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Args:
        folder: where its files are; None where nothing was written.
        verdict: what the checks add up to.
        strongest: the attack with the largest AUC; empty where none could be measured.
        exposed: the members it is surest of, surest first.
    """

    folder: Path | None
    verdict: Verdict
    strongest: str
    exposed: tuple[Exposed, ...]


def audit(
    target: str | Path | Recorded | Model,
    data: tuple[Group, Group] | None = None,
    *,
    baseline: str | Path | Recorded | Model | None = None,
    limits: Limits | None = None,
    attacks: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
    out: str | Path | None = None,
    on_event: Listener = silent,
) -> Audit:
    """Attack a model through its outputs and say whether it keeps the limits.

    Args:
        target: a module, or any callable that returns logits or probabilities; or what is recorded
            of one: an `.npz` as `read_outputs` takes it, or what that or `record` returned.
        data: for a model, the rows it was trained on and rows it was not, each a pair of inputs and
            labels.
        baseline: the dense model, or its outputs on the same rows in the same order; then the
            target must not leak more, nor lose more than five points of accuracy, and the verdict
            says what an attacker sees who holds both.
        limits: what is asked; by default no attack's AUC above 0.60.
        attacks: further attacks by name, such as `augmentation`; they keep the same limits.
        level: confidence level of the intervals, in (0, 1).
        seed: fixes which half of the rows learning attacks learn on, and their randomness.
        out: folder for `verdict.json`, `report.html`, `junit.xml`, the figures and the provenance,
            those of an earlier audit replaced; None writes nothing.
        on_event: hears of every check.

    Raises:
        UsageError: on a file that cannot be audited, naming what is wrong with it.
        StorageError: when the folder cannot be written.
    """
    started = time.perf_counter()
    if not 0 < level < 1:
        raise ConfigError(f"level is {level:g}; expected a number in (0, 1), for example 0.95.")
    recorded = _recorded(target, data)
    parent = None if baseline is None else _recorded(baseline, data)
    if parent is not None:
        _require_same_rows(recorded, parent)
    subjects = _subjects(recorded, parent, seed=derive(seed, "audit"))
    judged = subjects[MODEL]
    suite = audit_suite(recorded, limits or Limits(), baseline=parent, more=attacks)
    ran = attacks_of(suite)
    # The headline is that of the judged model alone.
    alone = [attack for attack in ran if "parent" not in attack.requires]

    def told(result: CheckResult) -> None:
        on_event(Event("check", check_line(result), result.to_json()))

    finding = find(
        subjects,
        MODEL,
        suite,
        compared=_compared(alone),
        controls=lambda found: control_checks(judged, recorded.rows, attacks=found),
        level=level,
        told=told,
    )
    accuracy = finding.document["comparison"][-1]["accuracy"]
    document = dict(finding.document) | {
        "kind": "audit",
        "model": {
            "name": recorded.path.stem,
            "accuracy": accuracy and accuracy["value"],
            "outputs": recorded.kind,
            "classes": recorded.outputs.members.classes,
            "references": recorded.references,
        },
        "threat_model": {"kind": "outputs", "text": threat_model(ran)},
        "looks": 1,
        "scope": _scope(recorded) + on_request(attacks),
        "limits": [*LIMITS, *AUDIT_LIMITS],
    }
    strongest, exposed = most_exposed(judged, alone)
    document["exposed"] = {"attack": strongest, "members": [asdict(e) for e in exposed]}
    if parent is not None:
        found = newly_exposed(judged, subjects[DENSE], ran)
        document["newly_exposed"] = newly_exposed_document(found)
    figures = figures_document(subjects, finding.checks, attacks=ran)
    verdict = Verdict(finding.status, finding.sentence, finding.checks, document, figures)
    if out is None:
        return Audit(None, verdict, strongest, exposed)
    made_with = surroundings() | {
        "seed": seed,
        "audited": _identity(recorded),
        "baseline": parent and _identity(parent),
        "seconds": {"verdict": time.perf_counter() - started},
    }
    return Audit(_write(Path(out), verdict, made_with), verdict, strongest, exposed)


def audit_suite(
    recorded: Recorded, limits: Limits, *, baseline: Recorded | None, more: Sequence[str] = ()
) -> Suite:
    """Return the checks of an audit.

    Args:
        recorded: what is judged; reference attacks join where it has references.
        limits: what is asked.
        baseline: the dense model to compare with, by the attacks it has the evidence for. The
            attacker who holds both models only informs: with the dense model unpublished there is
            no such attacker.
        more: further attacks by name.
    """
    names = dict.fromkeys([*_ATTACKS, *_reference_attacks(recorded), *more])
    attacks = [ATTACKS.build(name, where="audit") for name in names]
    asked = [(metric_named("auc"), limits.max_auc)]
    if limits.max_advantage is not None:
        asked.append((metric_named("advantage"), limits.max_advantage))
    asked += [(metric_named(f"tpr@{fpr:g}"), tpr) for tpr, fpr in limits.max_tpr]
    checks = [
        _check(AttackMeasure(attack, metric), at_most(bound))
        for metric, bound in asked
        for attack in attacks
    ]
    by_class = AttackMeasure(attacks[2], metric_named("class-balanced-accuracy"))
    checks.append(_check(by_class, at_most(limits.max_auc)))
    if baseline is not None:
        checks.append(_check(Accuracy(), at_least_dense(-_ACCURACY_LOSS)))
        both = [attack for attack in attacks if _has(baseline, attack.requires)]
        checks += [_check(AttackMeasure(attack), at_most_dense(0.0)) for attack in both]
        pair = AttackMeasure(ATTACKS.build("pair", where="audit"))
        checks.append(replace(_check(pair, at_most(limits.max_auc)), critical=False))
    return Suite(tuple(checks))


def _check(measure: Measure, condition: Condition) -> Check:
    return Check(f"{measure.name} {condition}", measure, condition)


def _has(recorded: Recorded, needed: Collection[str]) -> bool:
    groups = (recorded.evidence.members, recorded.evidence.nonmembers)
    return all(getattr(e, name, None) is not None for e in groups for name in needed)


def _reference_attacks(recorded: Recorded) -> list[str]:
    """Return the strongest reference attacks that the file's references allow."""
    references = recorded.evidence.map(lambda e: e.references)
    members, nonmembers = references.members, references.nonmembers
    if members is None or nonmembers is None:
        return []
    seen = torch.cat([members.seen, nonmembers.seen], dim=1)
    both = int(torch.minimum(seen.sum(dim=0), (~seen).sum(dim=0)).min())
    return list(shadow_attacks(both))


def _compared(attacks: list[Attack]) -> list[AttackMeasure]:
    """Return what is shown of every model: all AUCs, and the rates of the strongest kinds."""
    shown = [AttackMeasure(attack) for attack in attacks]
    low = [a for a in attacks if a.name in {"modified-entropy", "lira-online", "rmia"}]
    return shown + [AttackMeasure(a, metric_named(f"tpr@{_SHOWN_FPR:g}")) for a in low]


def _recorded(given: str | Path | Recorded | Model, data: tuple[Group, Group] | None) -> Recorded:
    if isinstance(given, Recorded):
        return given
    if isinstance(given, str | Path):
        return read_outputs(Path(given).expanduser())
    if data is None:
        raise ConfigError(
            "data: missing; a model is audited on ((member inputs, labels), (non-member inputs, "
            "labels))."
        )
    return record(given, *data, name=getattr(given, "__name__", type(given).__name__))


def _require_same_rows(ours: Recorded, theirs: Recorded) -> None:
    """Refuse a baseline whose rows are not the target's: no difference could be paired."""
    for group in ("members", "nonmembers"):
        a, b = (getattr(r.outputs, group).labels for r in (ours, theirs))
        if len(a) != len(b) or not torch.equal(a, b):
            raise DataError(
                f"{theirs.path}: {len(b)} {group} with labels that differ from the {len(a)} of "
                f"{ours.path}; the baseline's rows must be the target's, in the same order."
            )


def _subjects(recorded: Recorded, parent: Recorded | None, *, seed: int) -> dict[str, Subject]:
    held = {MODEL: recorded.evidence}
    if parent is not None:
        theirs = recorded.evidence.zip(parent.outputs, lambda e, o: replace(e, parent=o))
        held = {DENSE: parent.evidence, MODEL: theirs}
    return {
        name: Subject.of(evidence, name=name, density=None, seed=seed)
        for name, evidence in held.items()
    }


def _identity(recorded: Recorded) -> dict[str, str]:
    """Return the file's name and digest, or the digest of what was said where there is no file."""
    if recorded.path.is_file():
        return {"file": str(recorded.path), "sha256": sha256(recorded.path)}
    outputs = recorded.outputs
    tensors = {"members": outputs.members.logits, "nonmembers": outputs.nonmembers.logits}
    return {"model": str(recorded.path), "outputs_sha256": tensors_digest(tensors)}


def _scope(recorded: Recorded) -> str:
    if recorded.references:
        return (
            f"metric, neural and label-only black-box attacks, and attacks with "
            f"{recorded.references} reference models; nothing saw the model's weights"
        )
    return (
        "metric attacks, a neural one and the label-only gap; without reference models no "
        "shadow-model attack could be run, and nothing saw the model's weights"
    )


def _write(folder: Path, verdict: Verdict, made_with: Mapping[str, Any]) -> Path:
    make_folder(folder)
    write_json(folder / PROVENANCE, made_with)
    write_json(folder / FIGURES, verdict.figures)
    write_json(folder / VERDICT, verdict.document)
    write_text(folder / JUNIT, junit_xml(verdict.document, name=folder.resolve().name))
    write_report(folder)
    return folder


__all__ = ["REPORT", "Audit", "Limits", "audit", "audit_suite"]
