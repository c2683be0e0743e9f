"""`audit` and `Audit`: a verdict on any model, or on its recorded outputs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from safecompress.audits.arguments import (
    AuditArguments,
    attacks_named,
    folder_of,
    listener,
    model_or_path,
    name_of,
    require_output_kind,
)
from safecompress.audits.case import AuditInput, QueryPlan, open_case
from safecompress.audits.full_model import Given
from safecompress.audits.judged import judged
from safecompress.audits.other_tasks import is_other_task, refuse_for_task
from safecompress.audits.results import require_results_folder, write_results
from safecompress.audits.suite import Limits, audit_suite
from safecompress.audits.time_budget import Budget
from safecompress.config import (
    DataConfig,
    GivenTrackers,
    ShadowsConfig,
    load_section,
    seconds_of,
)
from safecompress.data import GroupsGiven, Splits
from safecompress.data.output_kind import OutputKind
from safecompress.display import shown
from safecompress.errors import ConfigError
from safecompress.events import Listener, silent
from safecompress.models.given import ModelSource
from safecompress.registry.identity import qualified
from safecompress.report import verdict_card
from safecompress.run.folder import REPORT
from safecompress.run.provenance import surroundings
from safecompress.targets.given import Group
from safecompress.tracking import Job, checked_trackers, code_of, tracking, verdict_results
from safecompress.verdicts.parts import ExposedMember
from safecompress.verdicts.verdict import Verdict


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Args:
        folder: folder of its files; None where nothing was written.
        verdict: the verdict, with its document and figures.
        strongest: name of the attack with the largest AUC; empty where none could be measured.
        exposed: the members that this attack is surest of, surest first.
    """

    folder: Path | None
    verdict: Verdict
    strongest: str
    exposed: tuple[ExposedMember, ...]

    def __repr__(self) -> str:
        return f"<Audit {self.verdict.status} in {self.folder}: {self.verdict.sentence}>"

    def _repr_html_(self) -> str:
        return verdict_card(self.verdict.document.to_json(), kind="Audit", folder=self.folder)


def audit(
    target: Given,
    data: tuple[Group, Group] | Splits | DataConfig | Mapping[str, Any] | None = None,
    *,
    model: ModelSource | None = None,
    baseline: Given | None = None,
    against: Given | None = None,
    limits: Limits | None = None,
    groups: GroupsGiven | None = None,
    group_by: Sequence[str] = (),
    attacks: Sequence[str | Mapping[str, Any]] = (),
    white_box: bool = False,
    classes: Sequence[str] | None = None,
    accuracy: float | None = None,
    shadows: ShadowsConfig | int = 0,
    level: float = 0.95,
    seed: int = 0,
    time_budget: str | float | None = None,
    trust_code: bool = False,
    outputs: OutputKind = "auto",
    out: str | Path | None = None,
    trackers: GivenTrackers = (),
    progress: bool = True,
    on_event: Listener = silent,
) -> Audit:
    """Attack a model through its outputs and judge whether it keeps the limits.

    Args:
        target: a module, a classifier with `predict_proba`, or any callable that returns logits or
            probabilities; the path of an `.onnx`, of a Hugging Face classifier's folder, or of a
            run folder; or the recorded outputs of a model: an `.npz` as `read_outputs` takes it, or
            what that or `record` returned.
        data: the rows that the model was trained on and rows that it was not, each a pair of inputs
            and labels; for a path of a model also a configuration's `data` section. None for a run
            folder and recorded outputs, which contain their rows; for a run that was started with
            splits as an object, these.
        model: the architecture of a run that was started with a model as an object: a module, or a
            callable that makes one. Its weights come from the run folder.
        baseline: the dense model, or its outputs on the same rows in the same order; for a run
            `dense` or `magnitude`. With a baseline the target must not leak more, nor lose more
            than five points of accuracy, and the verdict covers an attacker who has both models.
        against: the full model that the target was made from, which an attacker with the target
            attacks: a module or callable, the path of one, or for a run `dense`. With it the
            verdict says how often points crafted on the target fool the full model, how many
            queries to it the target saves, and how alike the two are. Points are crafted with the
            target's gradients; the full model need only return outputs, so an `.onnx` will do. The
            scope says what a target without gradients leaves open. For text, points are embeddings
            (`space_of`).
        limits: the bounds to keep; by default an AUC of at most 0.60 for every attack, over all
            rows and within every class.
        groups: by name, one value for each member and for each non-member, such as
            `{"region": (of the members, of the non-members)}`: the leak is judged within the groups
            of each, too. Numbers with more than 20 distinct values are cut at their quartiles.
        group_by: columns of the data, or of a run's data, whose values are such groups.
        attacks: further attacks by name or as `{name: {option: value}}`, such as `augmentation`;
            they run whatever time they take and must keep the same limits.
        white_box: whether the attacker has the model itself and computes inside it; for modules
            and runs only. A white-box attack among `attacks` implies it.
        classes: names of the classes in the order of the model's columns. Labels that are texts
            need them, unless the model has names of its own, as `classes_` or `id2label`.
        accuracy: the target's accuracy on rows it was not trained on, in [0, 1], as you know it.
            The non-members must bear it out, which shows that the model got the inputs it knows; a
            very weak model needs it.
        shadows: for a run, the number of shadow models that repeat its recipe on other draws of
            its rows, or how they are trained; those in its folder are not trained again.
        level: confidence level of the intervals, in (0, 1), before correction for repeated looks
            at the sealed rows of a run.
        seed: seed of the halves of rows that learning attacks learn on, and of their randomness.
        time_budget: seconds, or a text such as `2m`: the attacks are those that fit, including
            dear ones, which otherwise run only if named. None runs the usual attacks.
        trust_code: whether code that a run folder names may be imported and called.
        outputs: `logits` or `probabilities`, what the target's outputs are. `auto` reads it off the
            numbers and refuses those that leave it open, because probabilities that are taken for
            logits hide what a model leaks. It also settles what references, a baseline and a full
            model return, where their numbers leave it open.
        out: folder for `verdict.json`, `report.html`, `junit.xml`, the figures and the provenance;
            those of an earlier audit are replaced. None writes nothing.
        trackers: experiment trackers to write to as well, by name or as `{name: {option: value}}`:
            `csv`, `tensorboard`, `mlflow`, `wandb`. One that fails is named in a note.
        progress: whether to show on standard error, or in one line of a notebook, how far it is.
        on_event: called with an event for every check and before a model is queried.

    Raises:
        UsageError: when the target cannot be audited; names the reason.
        StorageError: when the folder cannot be written.

    Example:
        A decision tree that grows until it has memorized its rows leaks their membership:

        >>> from sklearn.datasets import make_classification
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> from safecompress import audit
        >>> x, y = make_classification(2000, flip_y=0.6, random_state=0)
        >>> seen, unseen = (x[:1000], y[:1000]), (x[1000:], y[1000:])
        >>> tree = DecisionTreeClassifier(random_state=0).fit(*seen)
        >>> found = audit(tree, (seen, unseen))
        >>> print(found.verdict.status, found.verdict.exit_code)
        FAIL 1
    """
    budget = Budget(_seconds(time_budget), time.perf_counter())
    require_output_kind(outputs)
    target, baseline, against = (
        model_or_path(given, name)
        for given, name in ((target, "target"), (baseline, "baseline"), (against, "against"))
    )
    folder, on_event = folder_of(out), listener(on_event)
    arguments = AuditArguments.checked(
        level=level,
        seed=seed,
        limits=limits,
        shadows=shadows,
        classes=classes,
        accuracy=accuracy,
    )
    limits, level, seed = arguments.limits, arguments.level, arguments.seed
    named = attacks_named(attacks)
    white_box = white_box or any(attack.white_box for attack in named)
    require_results_folder(folder)
    trackers = checked_trackers(trackers, folder=folder)
    asking = QueryPlan(
        load_section(DataConfig, data, where="data") if isinstance(data, Mapping) else data,
        seed=seed,
        budget=budget,
        trust_code=trust_code,
        white_box=white_box,
        shadows=arguments.shadows,
        classes=arguments.classes,
        outputs=outputs,
        listen=on_event,
        groups=groups,
        group_by=tuple(group_by),
        accuracy=arguments.accuracy,
        model=model,
    )
    settings = {"limits": asdict(limits), "level": level, "seed": seed, "time": budget.seconds}
    settings |= {"shadows": asking.shadows.count}
    if against is not None:
        settings |= {"against": str(against) if isinstance(against, str | Path) else True}
    if group_by:
        settings |= {"group_by": sorted(group_by)}
    verdict_on = settings | {"white_box": white_box, "attacks": sorted(map(qualified, named))}
    job = Job("audit", name_of(target, folder), verdict_on, folder, code_of(surroundings()))
    with shown(progress, on_event) as heard, tracking(trackers, job, heard) as tracked:
        asking = replace(asking, listen=tracked)
        case = open_case(target, asking, baseline=baseline, verdict_on=verdict_on, against=against)
        if is_other_task(case.recorded):
            asked = {
                "baseline": baseline is not None,
                "against": against is not None,
                "white_box": white_box,
                "groups": bool(groups or group_by),
                "classes": classes is not None,
                "accuracy": accuracy is not None,
                "outputs": outputs != "auto",
            }
            refuse_for_task(case.recorded, asked, limits, named)
        verdict, exposed = judged(
            case, limits, named=named, level=level, seed=seed, budget=budget, on_event=tracked
        )
        if folder is not None:
            _write(folder, verdict, case, seed, budget)
        tracked.results(lambda: verdict_results(verdict.document.to_json(), folder))
    return Audit(folder, verdict, exposed.attack, exposed.members)


def _write(folder: Path, verdict: Verdict, case: AuditInput, seed: int, budget: Budget) -> None:
    made_with = surroundings() | {
        "seed": seed,
        "audited": case.identity,
        "baseline": case.baseline_identity,
        "time_budget": budget.seconds if isfinite(budget.seconds) else None,
        "seconds": {"verdict": time.perf_counter() - budget.started},
    }
    write_results(folder, verdict, made_with)


def _seconds(time_budget: str | float | None) -> float:
    try:
        return float("inf") if time_budget is None else seconds_of(time_budget)
    except ValueError as error:
        raise ConfigError(f"time_budget: {error}.") from error


__all__ = ["REPORT", "Audit", "Limits", "audit", "audit_suite"]
