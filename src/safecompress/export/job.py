"""`export`, `verify`, `ExportResult`: a run's model as a file, tested before it is shipped."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from safecompress.checks import (
    EXIT_CODES,
    CheckResult,
    Condition,
    Status,
    at_most,
)
from safecompress.data import Splits
from safecompress.errors import ConfigError, blaming
from safecompress.events import Event, Listener, silent
from safecompress.export.agreement import MIN_AGREEMENT, require_share
from safecompress.export.context import ExportContext
from safecompress.export.facts import export_facts
from safecompress.export.fallback import falling_back
from safecompress.export.format import Format
from safecompress.export.graph import input_names
from safecompress.export.measure import BATCHES, latencies, loading, sizes
from safecompress.export.place import put, require_place
from safecompress.export.registry import FORMATS, FormatRequest, format_for, format_of_file
from safecompress.export.retest import retest
from safecompress.export.shipping import Shipping
from safecompress.export.source import Source, open_source
from safecompress.export.written import facts_in, files_of, paths_of, write_files, written
from safecompress.files import folder_beside, make_folder, sha256
from safecompress.models.given import ModelSource
from safecompress.protocols import Estimate, tensors_of
from safecompress.report import verdict_card
from safecompress.run.folder import MODEL, VERDICT
from safecompress.verdicts.assemble import assemble
from safecompress.verdicts.export_document import ExportVerdict, Measured
from safecompress.verdicts.verdict import Outcome, check_event

RIVALS = ("onnx", "onnx-int8")
"""Formats that a file is measured against, each holding the same model with all its zeros."""


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Args:
        path: the file; None where it was not put in place.
        status: the worst of the run's verdict and of the file's own checks.
        checks: comparisons with the model (answers, accuracy, attacks) and the limits on size and
            latency.
        document: the document beside the file; `document.to_json()` is its JSON.
    """

    path: Path | None
    status: Status
    checks: tuple[CheckResult, ...]
    document: ExportVerdict

    @property
    def exit_code(self) -> int:
        """The exit code of `safecompress export` for this result."""
        return EXIT_CODES[self.status]

    def __repr__(self) -> str:
        return f"<ExportResult {self.status}, {self.path}: {self.document.sentence}>"

    def _repr_html_(self) -> str:
        return verdict_card(self.document.to_json(), kind="Export")


def export(
    run: str | Path,
    path: str | Path,
    *,
    format: FormatRequest = "onnx-sparse-int8",  # noqa: A002 - what the command line calls it
    measure: bool = False,
    max_bytes: int | None = None,
    max_latency_ratio: float | None = None,
    min_agreement: float = MIN_AGREEMENT,
    threads: int = 1,
    model: ModelSource | None = None,
    data: Splits | None = None,
    trust_code: bool = False,
    allow_failed: bool = False,
    force: bool = False,
    on_event: Listener = silent,
) -> ExportResult:
    """Write a run's model as a file to ship, load it in its own runtime, and test it again.

    `FILE.json`, with every figure, and `FILE.md`, a model card, are written beside the file. A file
    that is not faithful to the model or misses a limit is not put in place, nor is the file of a
    model that failed; its JSON and card are written and give the reason. An older file then stays
    as it is, and the new documents are `FILE.refused.json` and `FILE.refused.md`.

    Args:
        run: the run folder.
        path: the file; a compact file whose name ends in `.zst` is packed with zstd.
        format: a format, its name, or `{name: {option: value}}`; see `FORMATS`.
        measure: whether bytes, load time, memory and latency are measured against the same model
            in dense fp32 and dense int8.
        max_bytes: largest allowed size of the file, in bytes.
        max_latency_ratio: largest allowed latency for one row, as a ratio to that of dense fp32;
            setting it measures, whatever `measure` is.
        min_agreement: share of unseen rows, in [0, 1], for which the file is to name the model's
            class. Layers are rounded less until steering rows show it, and sealed rows must not
            contradict it; 0 asks for nothing.
        threads: of the runtime inside one operator, while loading and latency are measured.
        model: the run's architecture, a module or a callable that makes one, for a run that was
            started with a model as an object; the weights come from the folder.
        data: the run's splits, for a run that was started with splits as an object.
        trust_code: whether code that the run folder names may be imported and called.
        allow_failed: whether the file of a run whose verdict is FAIL or ERROR is put in place if
            the file is faithful; its status stays that of the run, and its card says so.
        force: whether a file at the path that no export wrote may be replaced; files of a run
            never are.
        on_event: is called with every stage and every check.

    Returns:
        The path, the checks and the document. `status` is that of the run's verdict or of the
        file's own checks, whichever is worse.

    Raises:
        UsageError: on a run, a format or a limit that an export cannot work with.
        ConfigError: when something else than an export stands at the path.
        StorageError: when a file cannot be written, or the ledger cannot count the look.

    Example:
        The existing weights as integers, in a file that a program without torch reads:

        >>> from tempfile import TemporaryDirectory
        >>> from safecompress import compress, export
        >>> from safecompress_reader import read_compact
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
        ...     path = f"{folder}/small.safetensors"
        ...     done = export(run, path, format="safetensors-int8", max_bytes=10_000)
        ...     weights = read_compact(path).weights
        >>> print(done.document.faithful, sorted(weights))
        True ['layers.1.bias', 'layers.1.weight', 'layers.3.bias', 'layers.3.weight']
    """
    path = Path(path)
    form = format_for(format, path)
    _require_limits(form, max_bytes, max_latency_ratio, min_agreement)
    require_place(paths_of(form, path), force=force)
    source = open_source(Path(run), model=model, data=data, trust_code=trust_code)
    said = source.verdict
    on_event(Event("note", f"the run's verdict is {said.verdict}: {said.sentence}"))
    on_event(Event("stage", f"writing {form.name}", {"stage": "export"}))
    settled = falling_back(
        source, form, source.context(form), min_agreement=min_agreement, on_event=on_event
    )
    context = settled.context
    given = _facts(source, form, context)
    content = written(form, context, given)
    make_folder(path.parent)
    with folder_beside(path) as folder:
        file = folder / path.name
        write_files(form, file, content)
        facts = facts_in(file, form, given)

        def announce(result: CheckResult) -> None:
            on_event(check_event(result))

        on_event(Event("stage", "is the file faithful to the model?", {"stage": "retest"}))
        retested = retest(source, file, form, context, min_agreement=min_agreement, listen=announce)
        measured = None
        if measure or max_latency_ratio is not None:
            on_event(Event("stage", "measuring", {"stage": "measure"}))
            measured = _measured(source, context, form, file, threads=threads)
        limits = _limits(content, measured, max_bytes, max_latency_ratio)
        for check in limits:
            announce(check)
    shipping = Shipping(
        run=said.verdict,
        run_sentence=said.sentence,
        run_steps=said.next_steps,
        retest=retested.facts.verdict,
        comparisons=retested.checks,
        limits=limits,
        size=len(content),
        allow_failed=allow_failed,
    )
    checks = (*retested.checks, *limits)
    outcome = Outcome(shipping.status, shipping.sentence, checks, next_steps=shipping.next_steps)
    document = assemble(
        outcome,
        export_facts(
            source,
            form,
            path,
            content,
            facts,
            retested,
            measured,
            shipping,
            settled=settled,
            min_agreement=min_agreement,
        ),
    )
    put(path, files_of(form, path, content) if shipping.shipped else None, document)
    return ExportResult(path if shipping.shipped else None, shipping.status, checks, document)


def verify(path: str | Path, form: Format | None = None) -> dict[str, Any]:
    """Check an exported file and return the facts in it, such as its format and its verdict.

    Args:
        path: the file.
        form: its format; None chooses it by the ending of the name, such as `.onnx` or `.pte`, and
            reads a file with another ending as a compact file.

    Raises:
        ModelError: when the file was changed, cut short, or not exported by SafeCompress.
    """
    path = Path(path)
    return (form or format_of_file(path)).verify(path)


def _require_limits(
    form: Format, max_bytes: int | None, max_ratio: float | None, min_agreement: float
) -> None:
    require_share(min_agreement)
    if max_bytes is not None and max_bytes < 1:
        raise ConfigError(f"max_bytes is {max_bytes}; expected at least 1.")
    if max_ratio is None:
        return
    if not max_ratio > 0:
        raise ConfigError(f"max_latency_ratio is {max_ratio:g}; expected a positive number.")
    if not form.computes:
        raise ConfigError(
            f"max_latency_ratio: no runtime computes with {form.name} as it is; limit the latency "
            "of a format for onnxruntime or ExecuTorch."
        )


def _facts(source: Source, form: Format, context: ExportContext) -> dict[str, Any]:
    """Return the facts inside the file; they are few, because every copy of the file has them."""
    splits = source.run.splits
    return {
        "format": form.name,
        "model": source.verdict.model.name,
        "classes": list(splits.class_names),
        "input_shape": list(splits.input_shape),
        "preprocessing": "outside" if context.preprocessor is None else "inside",
        "verdict": str(source.verdict.verdict),
        "model_sha256": sha256(source.run.folder / MODEL),
        "verdict_sha256": sha256(source.run.folder / VERDICT),
    }


def _measured(
    source: Source, context: ExportContext, form: Format, file: Path, *, threads: int
) -> Measured:
    """Return bytes, loading and latency, with the rivals' where a runtime computes."""
    feed = _feed(source, context)
    files = {form.name: (form, file)}
    with tempfile.TemporaryDirectory() as folder:
        for name in RIVALS if form.computes else ():
            if name not in files:
                rival = FORMATS.build(name, where="measure")
                written_file = Path(folder) / f"{name}{rival.suffixes[0]}"
                written_file.write_bytes(rival.write(context, {}))
                files[name] = (rival, written_file)
        latency = None
        if form.computes:
            with blaming(form, f"export: the format '{form.name}'"):
                sessions = {n: f.session(path, threads=threads) for n, (f, path) in files.items()}
                latency = latencies(sessions, feed, threads=threads)
        return Measured(
            bytes={
                name: sizes(b"".join(p.read_bytes() for p in paths_of(f, path)))
                for name, (f, path) in files.items()
            },
            loading=None
            if form.loader is None
            else loading(file, feed, loader=form.loader, threads=threads),
            latency=latency,
        )


def _feed(source: Source, context: ExportContext) -> dict[str, NDArray[Any]]:
    """Return steering rows for measurements, by the names of the file's inputs."""
    rows = source.run.splits.steer.nonmembers
    rows = rows.take(torch.arange(min(BATCHES[-1], len(rows))))
    if context.preprocessor is not None:
        return {"inputs": source.raw(rows.ids)}
    names, given = input_names(rows.inputs), tensors_of(rows.inputs)
    return {name: t.numpy() for name, t in zip(names, given, strict=True)}


def _limits(
    content: bytes,
    measured: Measured | None,
    max_bytes: int | None,
    max_ratio: float | None,
) -> tuple[CheckResult, ...]:
    checks = []
    if max_bytes is not None:
        size = float(len(content))
        checks.append(_limited("bytes", Estimate(size, size, size, 0, 0), at_most(max_bytes)))
    if max_ratio is not None and measured is not None and measured.latency is not None:
        # The baseline itself has no ratio to itself in the document: it is 1.
        ratio = measured.latency.batches["1"].ratios.get(RIVALS[0])
        figures = (1.0, 1.0, 1.0) if ratio is None else (ratio.value, ratio.low, ratio.high)
        value, low, high = (float("nan") if x is None else x for x in figures)
        estimate = Estimate(value, low, high, 0, 0)
        checks.append(_limited("latency ratio to dense fp32", estimate, at_most(max_ratio)))
    return tuple(checks)


def _limited(name: str, estimate: Estimate, condition: Condition) -> CheckResult:
    status = condition.judge(estimate)
    return CheckResult(name, status, True, str(condition), estimate, 0.0)
