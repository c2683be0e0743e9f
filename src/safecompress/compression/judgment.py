"""`open_sealed`, `judge`: the verdict on a run's models, on rows that no choice was based on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from safecompress.attacks import ATTACKS
from safecompress.candidate import Candidate
from safecompress.checks import (
    AttackMeasure,
    Subject,
    Suite,
    corrected_level,
    metric_named,
)
from safecompress.checks.controls import control_checks
from safecompress.compression.canaries import canary_figures, canary_scores
from safecompress.compression.dp_guarantee import guarantee
from safecompress.compression.limits import signals_that_steered
from safecompress.compression.session import Session
from safecompress.data import Ledger
from safecompress.files import sha256, tensors_digest
from safecompress.protocols import Evidence, Pool, References, Rows
from safecompress.randomness import derive
from safecompress.run.folder import MODEL, ledger_of
from safecompress.run.model_file import StoredModel
from safecompress.run.own_loop import own_loop_of
from safecompress.sparse.starved import starved_layers
from safecompress.topology import Topology, embedding_tables
from safecompress.verdict_names import COMPRESSED, DENSE, UNTOUCHED
from safecompress.verdicts.assemble import RunFacts, assemble
from safecompress.verdicts.document import (
    CanaryFigures,
    CompressedModel,
    DenseFacts,
    DifferentialPrivacy,
    TransformFacts,
)
from safecompress.verdicts.pair_plot_data import pair_figures
from safecompress.verdicts.plot_data import figures_document, layers_of
from safecompress.verdicts.verdict import (
    LIMITS,
    Finding,
    Verdict,
    attacks_of,
    check_event,
    find,
    on_request,
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
class SealedRows:
    """The sealed rows after they have been opened.

    Args:
        rows: members and non-members that had no part in steering the search.
        looks: number of distinct models that were judged on them, this one included.
    """

    rows: Pool[Rows]
    looks: int


def open_sealed(session: Session, compressed: StoredModel) -> SealedRows:
    """Record in the ledger that a model is judged, and open the sealed rows.

    Args:
        session: the run.
        compressed: the model that is judged.

    Raises:
        StorageError: when the ledger cannot be written; the rows then stay sealed.
    """
    ledger = Ledger(ledger_of(session.folder.path))
    digest = tensors_digest(compressed.weights)
    return SealedRows(
        *session.splits.open_sealed(ledger, model_digest=digest, run=session.folder.path.name)
    )


def judge(
    session: Session,
    suite: Suite,
    sealed: SealedRows,
    *,
    dense: StoredModel | None,
    models: Mapping[str, StoredModel],
    shadows: Mapping[str, Pool[References]],
) -> Verdict:
    """Judge the compressed one of `models` on the sealed rows.

    Args:
        session: the run.
        suite: the final suite.
        sealed: the opened sealed rows.
        dense: the dense model, for paired differences; None without one.
        models: the compressed model and the baselines, by name.
        shadows: by the name of a model, what its shadow models say of the sealed rows.
    """
    compressed, rows, looks = models[COMPRESSED], sealed.rows, sealed.looks
    named = ({DENSE: dense} if dense is not None else {}) | dict(models)
    compared = _compared(suite)
    measures = [*compared, *(check.measure for check in suite.checks)]
    needed = frozenset().union(*(measure.requires for measure in measures))
    promised = guarantee(session)
    subjects = {
        name: replace(
            subject, canaries=canary_scores(session, named[name].candidate(), promised=promised)
        )
        for name, subject in _subjects(session, rows, named, shadows, needed=needed).items()
    }
    finding = find(
        subjects,
        COMPRESSED,
        suite,
        compared=compared,
        controls=lambda attacks: control_checks(
            subjects[COMPRESSED],
            rows,
            attacks=attacks,
            untouched=_untouched(session, rows, needed=needed),
        ),
        level=corrected_level(session.config.verdict.level, looks),
        on_result=lambda result: session.listen(check_event(result)),
        config=session.config,
        steered=signals_that_steered(session),
    )
    canaries = _canaries(session, subjects[COMPRESSED], promised, level=finding.level)
    said = [each.text for each in (promised, canaries) if each is not None]
    own = own_loop_of(session.folder.path)
    said += [] if own is None else own.sentences
    facts = RunFacts(
        model=_model_facts(session, compressed, finding),
        looks=looks,
        scope=_scope(suite, session.config.shadows.count),
        limits=(*said, *LIMITS, LOOKS),
        class_names=tuple(session.splits.class_names),
        promised=promised,
        canaries=canaries,
        remarks=starved_layers(compressed.topology, embedding_tables(session.module)),
        standard=session.config.verdict.standard,
    )
    figures = figures_document(
        subjects,
        finding.checks,
        attacks=[measure.attack for measure in compared],
        layers=layers_of(compressed),
        pair=pair_figures(subjects[COMPRESSED], suite.checks, level=finding.level),
    )
    document = assemble(finding, facts)
    return Verdict(finding.status, finding.sentence, finding.checks, document, figures)


def _canaries(
    session: Session, compressed: Subject, promised: DifferentialPrivacy | None, *, level: float
) -> CanaryFigures | None:
    """Return what the canaries show of the compressed model; None if the run has none."""
    placed, scores = session.splits.canaries, compressed.canaries
    if placed is None or scores is None:
        return None
    return canary_figures(scores, placed.kind, promised=promised, level=level)


def _subjects(
    session: Session,
    sealed: Pool[Rows],
    models: Mapping[str, StoredModel],
    shadows: Mapping[str, Pool[References]],
    *,
    needed: frozenset[str],
) -> dict[str, Subject]:
    """Return the models by name; all but the dense one have its outputs as `parent`."""
    evidence: dict[str, Pool[Evidence]] = {}
    for name, model in models.items():
        pool = _evidence(session, model.candidate(), sealed, needed=needed)
        if name in shadows:
            pool = pool.zip(shadows[name], lambda e, r: replace(e, references=r))
        if DENSE in evidence:
            pool = pool.zip(evidence[DENSE], lambda e, d: replace(e, parent=d.outputs))
        evidence[name] = pool
    if "parent_target" in needed and DENSE in evidence:
        evidence = {
            name: pool.zip(evidence[DENSE], lambda e, d: replace(e, parent_target=d.target))
            for name, pool in evidence.items()
            if name != DENSE
        } | {DENSE: evidence[DENSE]}
    seed = derive(session.config.seed, "verdict")
    return {
        name: Subject.of(
            evidence[name],
            name=name,
            density=model.topology.density,
            seed=seed,
            class_names=tuple(session.splits.class_names),
        )
        for name, model in models.items()
    }


def _evidence(
    session: Session, candidate: Candidate, sealed: Pool[Rows], *, needed: frozenset[str]
) -> Pool[Evidence]:
    """Return what attackers know about one model without comparing it with others.

    Args:
        session: the run.
        candidate: the model.
        sealed: the sealed rows.
        needed: fields of the evidence that some attack requires; `internals` are computed, and the
            model is copied for `target`, only if they are among them.
    """
    trainer, fitted = session.trainers.plain(), session.splits.preprocessor
    target = trainer.module_of(candidate) if "target" in needed else None
    span = None if fitted is None else fitted.input_range

    def of(rows: Rows) -> Evidence:
        internals = trainer.internals(candidate, rows) if "internals" in needed else None
        outputs = trainer.outputs(candidate, rows)
        return Evidence(outputs, rows=rows, internals=internals, target=target, span=span)

    groups = session.splits.groups_of(sealed)
    return sealed.map(of).zip(groups, lambda e, g: replace(e, groups=g or None))


def _untouched(session: Session, sealed: Pool[Rows], *, needed: frozenset[str]) -> Subject | None:
    """Return the model before any training; None if the weights were given trained."""
    if session.trained:
        return None
    fresh = Candidate(session.initial, {}, Topology({}), {})
    evidence = _evidence(session, fresh, sealed, needed=needed)
    seed = derive(session.config.seed, "verdict")
    return Subject.of(evidence, name=UNTOUCHED, density=1.0, seed=seed)


def _compared(suite: Suite) -> list[AttackMeasure]:
    """Return the measures that the verdict shows of every model: a fixed list and the suite's own.

    If the suite has an attack with a name of the fixed list, with other options or from another
    package, the suite's attack is shown, so that a name means the same attack everywhere in a
    verdict.
    """
    suite_attacks = {attack.name: attack for attack in attacks_of(suite)}
    shown = [
        (suite_attacks.get(name) or ATTACKS.build(name, where="comparison"), metric)
        for name, metric in COMPARED
    ]
    for attack in attacks_of(suite):
        if attack.white_box:
            shown += [(attack, "auc"), (attack, "balanced-accuracy")]
        elif "references" in attack.requires:
            shown += [(attack, "auc"), (attack, "tpr@0.01")]
    return [AttackMeasure(attack, metric_named(metric)) for attack, metric in shown]


def _scope(suite: Suite, shadows: int) -> str:
    """Return a sentence on which kinds of attack the suite has, and which it lacks."""
    ran, missing = ["metric and neural black-box attacks"], []
    attacks = attacks_of(suite)
    if any(attack.white_box for attack in attacks):
        ran.append("a white-box attack")
    if any("references" in attack.requires for attack in attacks):
        ran.append(
            f"attacks with {shadows} shadow models, which repeat the dense training and the chosen "
            "path on other draws of the rows"
        )
    else:
        missing.append("shadow-model")
    if not any(attack.label_only for attack in attacks):
        missing.append("label-only")
    only = " only" if len(ran) == 1 else ""
    left_out = f"; no {' or '.join(missing)} attack was run" if missing else ""
    more = [a.name for a in attacks if a.label_only or a.requires - {"references", "internals"}]
    return ", ".join(ran) + only + left_out + on_request(more)


def _model_facts(session: Session, compressed: StoredModel, finding: Finding) -> CompressedModel:
    parameters = sum(p.numel() for p in session.module.parameters())
    dense = None
    if DENSE in finding.subjects:
        dense = DenseFacts(parameters=parameters, accuracy=finding.accuracy_of(DENSE))
    return CompressedModel(
        name=session.name,
        sha256=sha256(session.folder.path / MODEL),
        density=compressed.topology.density,
        parameters=parameters,
        maskable=compressed.topology.total,
        nonzeros=compressed.topology.nonzeros,
        accuracy=finding.accuracy_of(COMPRESSED),
        lineage=tuple(compressed.metadata["lineage"]),
        transforms=TransformFacts.from_json(compressed.transforms.facts()),
        worth=session.config.steer.worth,
        dense=dense,
    )
