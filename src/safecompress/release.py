"""`release` and `Release`: a run's model in several formats, judged as the set that it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safecompress.audits.arguments import listener
from safecompress.audits.release_folder import (
    REFUSED,
    finish_release,
    kept_back,
    require_release_folder,
)
from safecompress.audits.release_set import (
    ReleaseSet,
    companion_names,
    judge_release,
    place_names,
)
from safecompress.audits.results import require_results_folder
from safecompress.audits.suite import Limits
from safecompress.checks import EXIT_CODES, Status
from safecompress.data import Splits
from safecompress.errors import ConfigError
from safecompress.events import Event, Listener, silent
from safecompress.export.agreement import MIN_AGREEMENT, require_share
from safecompress.export.job import ExportResult, export
from safecompress.export.registry import FormatRequest
from safecompress.export.shipping import worst
from safecompress.export.source import open_source
from safecompress.files import folder_beside, make_folder
from safecompress.models.given import ModelSource
from safecompress.report import verdict_card
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.verdict import Verdict

Dense = Literal["secret", "published"]


@dataclass(frozen=True)
class Release:
    """A finished release.

    Args:
        folder: folder of the files; where the release was refused, of the documents that say why.
        shipped: whether the files are in the folder.
        status: the worst of all exports and of the joint verdict.
        exports: how each export ended, in the order of the formats.
        verdict: the verdict on the set; None where a file was refused by itself.
        document: its document; None likewise.
    """

    folder: Path
    shipped: bool
    status: Status
    exports: tuple[ExportResult, ...]
    verdict: Verdict | None
    document: JointVerdict | None

    @property
    def exit_code(self) -> int:
        """The exit code of `safecompress release` for this result."""
        return EXIT_CODES[self.status]

    def __repr__(self) -> str:
        said = "refused file by file" if self.verdict is None else self.verdict.sentence
        return f"<Release {self.status} in {self.folder}: {said}>"

    def _repr_html_(self) -> str:
        joint = [] if self.document is None else [self.document.to_json()]
        cards = [verdict_card(d, kind="Release", folder=self.folder) for d in joint]
        exports = [verdict_card(e.document.to_json(), kind="Export") for e in self.exports]
        return "\n".join([*cards, *exports])


def release(
    run: str | Path,
    out: str | Path,
    *,
    formats: Sequence[FormatRequest],
    dense: Dense = "secret",
    limits: Limits | None = None,
    min_agreement: float = MIN_AGREEMENT,
    model: ModelSource | None = None,
    data: Splits | None = None,
    trust_code: bool = False,
    allow_failed: bool = False,
    force: bool = False,
    on_event: Listener = silent,
) -> Release:
    """Export a run's model in several formats, test each file, and judge all of them together.

    Every format is exported and tested again as `export` does. Then one attacker holds all files,
    as whoever downloads a release does: `audit_jointly` on the run's sealed rows. The folder gets
    the files with their documents and cards, the joint verdict with its report, and `SHA256SUMS`.
    Where a file or the set fails nothing is released; the documents that say why are in a folder
    `refused` inside, and an earlier release stays as it is.

    Args:
        run: the run folder.
        out: folder of the release.
        formats: two or more formats as `export` takes them; one is enough where the dense model is
            published.
        dense: whether the run's dense model is out in the world, so that the attacker holds it,
            too, or `secret`. It is no file of the release in either case.
        limits: the bounds that each file, each pair and the whole set must keep. None takes the
            largest AUC that a critical check of the run allows, and 0.60 where it has none.
        min_agreement: as in `export`, of each file.
        model: as in `export`.
        data: as in `export`.
        trust_code: whether code that the run folder names may be imported and called.
        allow_failed: whether faithful files are released although the run or the set failed; the
            status stays, and every card says so.
        force: whether files in the folder that no release wrote, or that were changed since, may
            be replaced.
        on_event: is called with every stage and every check.

    Raises:
        UsageError: on a run, a format or a folder that a release cannot work with.
        StorageError: when a file cannot be written, or the ledger cannot count the look.

    Example:
        Two formats for programs that read compact files:

        >>> from tempfile import TemporaryDirectory
        >>> from safecompress import compress, release
        >>> brief = {"epochs": 2, "precision": "32-true"}
        >>> config = {
        ...     "data": {"source": {"source": "sklearn", "name": "iris"}},
        ...     "model": {"name": "mlp", "options": {"hidden": [8]}},
        ...     "dense": brief,
        ...     "sparse": {"density": 0.5, "rounds": 1, "train": brief},
        ...     "steer": {"proposals": ["rigl"]},
        ... }
        >>> with TemporaryDirectory() as folder:
        ...     run = compress(config=config, out=f"{folder}/run").folder
        ...     formats = ["safetensors", "safetensors-int8"]
        ...     done = release(run, f"{folder}/out", formats=formats)
        >>> print(done.shipped, done.document.files[0].name, len(done.document.pairs))
        True run-safetensors.safetensors 1
    """
    out, on_event = Path(out), listener(on_event)
    require_share(min_agreement)
    if dense not in ("secret", "published"):
        raise ConfigError(f"dense is {dense!r}; expected secret or published.")
    places = place_names(Path(run), formats, dense=dense)
    require_results_folder(out)
    require_release_folder(out, list(places), companion_names(places), force=force)
    source = open_source(Path(run), model=model, data=data, trust_code=trust_code)
    if dense == "published" and source.dense() is None:
        raise ConfigError(f"dense: {run} holds no dense model; leave it out, or name another run.")
    make_folder(out.parent)
    with folder_beside(out) as folder:
        work = folder
        exports = _exports(
            run,
            {work / name: request for name, request in places.items()},
            on_event,
            model=model,
            data=data,
            trust_code=trust_code,
            allow_failed=allow_failed,
            min_agreement=min_agreement,
        )
        verdict = document = None
        if all(done.path is not None for done in exports):
            on_event(Event("stage", "judging the files together", {"stage": "jointly"}))
            asked = ReleaseSet(source, work, places, dense == "published", limits)
            verdict, document = judge_release(asked, on_event=on_event)
        statuses = [done.status for done in exports]
        status = worst(*statuses, *([] if verdict is None else [verdict.status]))
        shipped = verdict is not None and (allow_failed or not kept_back(verdict))
        place = out if shipped else out / REFUSED
        made_with = {"run": source.run.folder.name}
        finish_release(work, place, exports, verdict, shipped=shipped, made_with=made_with)
    return Release(place, shipped, status, tuple(exports), verdict, document)


def _exports(
    run: str | Path,
    requests: Mapping[Path, FormatRequest],
    on_event: Listener,
    **options: Any,
) -> list[ExportResult]:
    """Write the file of each place in its format, with the same options of `export`."""
    made = []
    for place, request in requests.items():
        on_event(Event("stage", f"export of {place.name}", {"stage": "release"}))
        made.append(export(run, place, format=request, on_event=on_event, **options))
    return made
