"""`ReleaseSet`, `place_names`, `companion_names`, `judge_release`: a run's files as one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safecompress.audits.case import AuditInput
from safecompress.audits.joint_case import joined
from safecompress.audits.joint_verdict import judge_jointly
from safecompress.audits.suite import Limits
from safecompress.checks import AttackMeasure, Auc
from safecompress.checks.presets import suite_from
from safecompress.data import RecordedOutputs
from safecompress.data.classes import names_beyond_numbers
from safecompress.errors import ConfigError
from safecompress.events import Listener
from safecompress.export.registry import FORMATS, FormatRequest, format_for
from safecompress.export.retest import answers_of
from safecompress.export.source import Source
from safecompress.export.written import paths_of
from safecompress.files import sha256
from safecompress.protocols import Pool, Rows
from safecompress.randomness import derive
from safecompress.run.folder import DENSE as DENSE_FILE
from safecompress.targets.query import record_rows
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.verdict import Verdict


@dataclass(frozen=True)
class ReleaseSet:
    """Exported files that are released together.

    Args:
        source: the run.
        folder: where the files are.
        places: by file name, the format.
        published: whether the attacker holds the run's dense model, too.
        limits: the bounds; None takes the run's.
    """

    source: Source
    folder: Path
    places: Mapping[str, FormatRequest]
    published: bool
    limits: Limits | None


def place_names(
    run: Path, formats: Sequence[FormatRequest], *, dense: str
) -> dict[str, FormatRequest]:
    """Return by file name the format of each file of a release.

    Args:
        run: the run folder, whose name the files begin with.
        formats: the formats.
        dense: `secret` or `published`.

    Raises:
        ConfigError: when there are too few formats to make a set, or one stands there twice.
    """
    least = 1 if dense == "published" else 2
    if len(formats) < least:
        raise ConfigError(
            f"formats: {len(formats)} given; a release is of {least} or more files. A single file "
            "is written by `safecompress export`."
        )
    places: dict[str, FormatRequest] = {}
    for request in formats:
        if isinstance(request, str | Mapping):
            form = FORMATS.build(request, where="formats")
        else:
            form = request
        name = f"{run.resolve().name}-{form.name}{form.suffixes[0]}"
        if name in places:
            raise ConfigError(f"formats: {form.name} is named twice; name every format once.")
        places[name] = request
    return places


def companion_names(places: Mapping[str, FormatRequest]) -> tuple[str, ...]:
    """Return the names of the files that belong to the model files of a release, beside them.

    Args:
        places: by file name, the format.
    """
    return tuple(
        path.name
        for name, request in places.items()
        for path in paths_of(format_for(request, Path(name)), Path(name))[1:]
    )


def judge_release(asked: ReleaseSet, *, on_event: Listener) -> tuple[Verdict, JointVerdict]:
    """Return the joint verdict on exported files, on the run's sealed rows.

    The set is another model to the ledger, which counts a look.

    Args:
        asked: the files.
        on_event: called with an event for every check.

    Raises:
        StorageError: when the ledger cannot be written.
    """
    source, run = asked.source, asked.source.run
    limits = asked.limits or limits_of_run(source)
    digests = {name: sha256(asked.folder / name) for name in asked.places}
    sealed, looks = run.open_sealed(
        {"release": digests, "published": asked.published, "limits": asdict(limits)}
    )
    recorded = [_recorded(asked, name, request, sealed) for name, request in asked.places.items()]
    if asked.published:
        dense = source.dense()
        if dense is not None:
            recorded.append(record_rows(dense, sealed, path=run.folder / DENSE_FILE))
    names = names_beyond_numbers(run.splits.class_names)
    # Every file was shown to be faithful to the run's model, so its outputs need no other proof.
    cases = [
        AuditInput(
            name=r.path.name,
            recorded=replace(r, class_names=names),
            parent=None,
            identity={"file": r.path.name, "sha256": digests.get(r.path.name)},
            baseline_identity=None,
            looks=looks,
            sealed=True,
        )
        for r in recorded
    ]
    case = joined(cases, published=len(cases) - 1 if asked.published else None)
    # The run compared its model with the dense one, and every file was tested as the model was.
    case = replace(case, dense=None, secret=not asked.published and source.dense() is not None)
    return judge_jointly(
        case,
        limits,
        level=run.config.verdict.level,
        seed=derive(run.config.seed, "release"),
        on_event=on_event,
    )


def limits_of_run(source: Source) -> Limits:
    """Return the bounds of a release where none are given: those that the run had to keep.

    Args:
        source: the run.

    Returns:
        The largest AUC that a critical check of the run allows; the usual bounds without one.
    """
    suite = suite_from(source.run.config, density=1.0, relative=True)
    bounds = [
        check.condition.bound
        for check in suite.checks
        if check.critical
        and isinstance(check.measure, AttackMeasure)
        and isinstance(check.measure.metric, Auc)
        and check.condition.relation == "at_most"
        and not check.condition.relative
        and 0.5 <= check.condition.bound <= 1
    ]
    return Limits(max_auc=max(bounds)) if bounds else Limits()


def _recorded(
    asked: ReleaseSet, name: str, request: FormatRequest, sealed: Pool[Rows]
) -> RecordedOutputs:
    path = asked.folder / name
    form = format_for(request, path)
    return answers_of(asked.source, path, form, asked.source.context(form), sealed)
