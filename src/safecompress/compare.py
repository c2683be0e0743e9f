"""`compare`, `compare_runs`: tables of methods, or of finished runs, side by side.

`compare` trains a cohort of models for every method, on the same draws of the same rows. A cell is
one method on one data set at one density; it ends with one file and is never computed again. Each
model of its cohort is once the target of every attack, on rows that had no part in steering its
search, with the others as shadow models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.cohorts.cells import (
    Cell,
    cell_file,
    cells,
    chosen,
    read_cell,
    require_same_rows,
    settings_of,
)
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.matching import matched
from safecompress.cohorts.outside import outside_judges
from safecompress.cohorts.plan import CohortPlan, deal, every_row
from safecompress.cohorts.processes import train_cohort
from safecompress.cohorts.rotation import FILES_KEPT, HELD, TargetRotation
from safecompress.cohorts.statistics import contest, runs_side_by_side
from safecompress.config import (
    CompareConfig,
    CompressConfig,
    GivenTrackers,
    ShadowsConfig,
    load_compare_config,
)
from safecompress.data import load_splits
from safecompress.data.rows import rows_digest
from safecompress.data.tokens import TokenEncoder
from safecompress.display import shown
from safecompress.errors import ConfigError, RunFolderError, UndecidableError
from safecompress.events import Event, Listener, silent
from safecompress.files import make_folder, read_json, require_folder, write_json, write_text
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References, Rows
from safecompress.randomness import generator
from safecompress.registry.identity import require_distinct_names
from safecompress.report import table_csv, table_html, table_markdown
from safecompress.run.folder import PROVENANCE, VERDICT
from safecompress.run.provenance import surroundings
from safecompress.tracking import Job, checked_trackers, code_of, table_results, tracking
from safecompress.verdicts.comparison_document import CohortTable, RunTable
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.read import read_verdict

COHORTS, SHARED = "cohorts", "shared"
TABLE = "table.json"


def compare(
    config: CompareConfig | Mapping[str, Any] | str | Path,
    *,
    out: str | Path,
    data: Sequence[str] = (),
    densities: Sequence[float] = (),
    methods: Sequence[str] = (),
    trackers: GivenTrackers | None = None,
    progress: bool = True,
    on_event: Listener = silent,
) -> CohortTable:
    """Compute the cells of a comparison that have no file yet, and write its table.

    Args:
        config: settings, see `CompareConfig`.
        out: folder of the results: `cells/*.json`, one for each cell; `table.json`, `table.md`,
            `table.csv` and `table.html`, of all finished cells.
        data: only these data sets; empty takes all.
        densities: only these densities, in (0, 1]; empty takes all.
        methods: only these methods; empty takes all.
        trackers: experiment trackers to write the table to as well, as in `compress`; by default
            those of the configuration.
        progress: whether to show on standard error, or in one line of a notebook, how far it is.
        on_event: called with an event for every model and every cell.

    Returns:
        The contents of `table.json`, typed; `to_json()` is the JSON.

    Raises:
        UsageError: on anything the caller can fix, before any training.
        RunFolderError: when the folder holds a cell that was made with other settings or rows.
        StorageError: when the disk is full; finished models and cells are kept.

    Example:
        Four dense models and four pruned by magnitude, on the same draws of a synthetic set:

        >>> import json
        >>> from tempfile import TemporaryDirectory
        >>> from safecompress import compare
        >>> source = {"source": "sklearn", "name": "make_classification"}
        >>> brief = {"epochs": 2, "precision": "32-true"}
        >>> recipe = {
        ...     "data": {"source": source, "split": {"membership": "fresh", "members": 40}},
        ...     "model": {"name": "mlp", "options": {"hidden": [8]}},
        ...     "dense": brief,
        ...     "sparse": {"density": 0.5, "train": brief},
        ... }
        >>> methods = {
        ...     "dense": {"set": ["sparse.rounds=0", "sparse.train.epochs=0"], "densities": [1]},
        ...     "magnitude": {"set": ["sparse.rounds=0"]},
        ... }
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "recipe.yaml")
        ...     _ = file.write_text(json.dumps(recipe))  # YAML reads JSON
        ...     settings = {"data": {"toy": {"config": file}}, "methods": methods, "workers": 1}
        ...     settings |= {"densities": [0.5], "models": 4, "attacks": ["loss"]}
        ...     table = compare(settings, out=f"{folder}/out")
        >>> sorted((row.method, row.density) for row in table.rows)
        [('dense', 1.0), ('magnitude', 0.5)]
    """
    config = load_compare_config(config)
    folder = Path(out)
    require_folder(folder, option="out")
    given = config.trackers if trackers is None else trackers
    requests = checked_trackers(given, folder=folder)
    attacks = [ATTACKS.build(a, where=f"attacks[{i}]") for i, a in enumerate(config.attacks)]
    everything = list(cells(config))
    wanted = chosen(everything, config, data=data, densities=densities, methods=methods)
    _require_known_evidence(attacks)
    unfinished = {cell.data: cell for cell in wanted if not cell_file(folder, cell).exists()}
    rows = {name: _Rows.load(cell.recipe) for name, cell in unfinished.items()}
    for name, cell in unfinished.items():
        _rehearse(attacks, rows[name], cell)
        require_same_rows(folder, everything, cell, rows[name].digest)
    settings = config.model_dump(mode="json")
    job = Job("compare", folder.resolve().name, settings, folder, code_of(surroundings()))
    with shown(progress, on_event) as heard, tracking(requests, job, heard) as tracked:
        for cell in wanted:
            if cell_file(folder, cell).exists():
                read_cell(folder, cell, config)
            else:
                _make(cell, config, rows[cell.data], attacks, folder, tracked)
        finished = [cell for cell in everything if cell_file(folder, cell).exists()]
        documents = [read_cell(folder, cell, config) for cell in finished]
        document = contest(documents, reference=config.reference)
        _write(folder, document)
        tracked.results(lambda: table_results(document.to_json(), folder))
    return document


def compare_runs(runs: Sequence[str | Path], *, out: str | Path | None = None) -> RunTable:
    """Put finished runs and audits side by side, each with the results of its own verdict.

    Args:
        runs: the folders of the runs and audits.
        out: folder for `table.json`, `table.md`, `table.csv` and `table.html`; None writes nothing.

    Returns:
        The contents of `table.json`, typed; `to_json()` is the JSON.

    Raises:
        RunFolderError: when a folder has no verdict, or two folders have the same name.
        StorageError: when the files cannot be written.
    """
    if out is not None:
        require_folder(Path(out), option="out")
    verdicts: dict[str, CompressVerdict | AuditVerdict] = {}
    judged_on: dict[str, str] = {}
    for folder in map(Path, runs):
        name = folder.resolve().name
        if name in verdicts:
            raise RunFolderError(f"{folder}: a second run named '{name}'; rename one of them.")
        if not (folder / VERDICT).is_file():
            raise RunFolderError(
                f"{folder}: has no {VERDICT}; name the folders of finished runs or audits."
            )
        verdicts[name] = read_verdict(folder / VERDICT)
        made_with = read_json(folder / PROVENANCE)
        digests = made_with.get("splits")
        judged_on[name] = str(digests.get("sealed", "")) if isinstance(digests, dict) else ""
    document = runs_side_by_side(verdicts, judged_on)
    if out is not None:
        _write(Path(out), document)
    return document


def _write(folder: Path, table: CohortTable | RunTable) -> None:
    document = table.to_json()
    make_folder(folder)
    write_json(folder / TABLE, document)
    write_text(folder / "table.md", table_markdown(document))
    write_text(folder / "table.csv", table_csv(document))
    write_text(folder / "table.html", table_html(document, name=folder.resolve().name))


@dataclass(frozen=True)
class _Rows:
    """All rows of a data set, from which the members of every model are drawn."""

    rows: Rows
    class_names: tuple[str, ...]
    members: int
    reference: Rows | None
    tokens: TokenEncoder | None

    @classmethod
    def load(cls, recipe: CompressConfig) -> _Rows:
        if recipe.data is None:
            raise ConfigError("compare: the configuration has no data section.")
        splits = load_splits(recipe.data, seed=recipe.seed, weights_given=False)
        members = len(splits.members)
        rows = every_row(splits)
        return cls(rows, splits.class_names, members, splits.reference, splits.tokens)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows."""
        return rows_digest(self.rows, *([] if self.reference is None else [self.reference]))


def _require_known_evidence(attacks: Sequence[Attack]) -> None:
    """Raise ConfigError for an attack that a cohort lacks evidence for, or that is listed twice."""
    for attack in attacks:
        if unknown := attack.requires - HELD:
            raise ConfigError(
                f"compare: attack '{attack.name}' needs {', '.join(sorted(unknown))}, of which a "
                "cohort holds nothing; leave it out, or audit single models by it."
            )
    require_distinct_names(attacks, where="compare: attacks", kind="attacks")
    names = [attack.name for attack in attacks]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"compare: attack '{twice[0]}' is listed twice; keep one.")


def _rehearse(attacks: Sequence[Attack], rows: _Rows, cell: Cell) -> None:
    """Raise ConfigError if a cohort has too few models for an attack with shadow models.

    Whether there are enough depends only on which models train on which rows, which is known before
    training. So the attacks are run on random outputs.
    """
    config, count = cell.recipe, cell.models
    trained = config.dense is not None and config.dense.epochs
    if not trained and any("parent" in attack.requires for attack in attacks):
        raise ConfigError(
            f"compare: an attack reads the dense model beside the compressed one; '{cell.method}' "
            "trains none. Give it dense.epochs, or leave the attack out."
        )
    seen = deal(rows.rows.inputs, members=rows.members, count=count, seed=config.seed)
    source = generator(config.seed, "rehearsal")
    # Two classes, whatever the data have: only the numbers of models decide.
    labels = torch.zeros(len(rows.rows), dtype=torch.int64)
    said = torch.randn(*seen.shape, 2, generator=source)
    outputs = Outputs(said[0], labels, rows.rows.ids)
    shadow_attacks = [a for a in attacks if a.requires and a.requires <= {"references", "judges"}]
    if not shadow_attacks:
        return
    try:
        others = matched(References.of(said[1:], labels, seen[1:]), seen[0], seed=config.seed)
        asked = any("judges" in attack.requires for attack in shadow_attacks)
        judges = outside_judges(others, labels, seed=config.seed) if asked else None
        evidence = Evidence(outputs, references=others, judges=judges)
        pool = Pool(evidence.take(seen[0]), evidence.take(~seen[0]))
        subject = Subject.of(pool, name=cell.name, density=None, seed=config.seed)
        for attack in shadow_attacks:
            subject.attacked_by(attack)
    except UndecidableError as error:
        raise ConfigError(
            f"compare: {count} models of '{cell.data}', which train on {rows.members} of "
            f"{len(rows.rows)} rows each, are too few for an attack: {error}"
        ) from error


def _make(
    cell: Cell,
    config: CompareConfig,
    rows: _Rows,
    attacks: Sequence[Attack],
    folder: Path,
    listen: Listener,
) -> None:
    """Train a cell's cohort, attack its models and write its file."""
    path = cell_file(folder, cell)
    listen(Event("stage", f"{cell.name}: {cell.models} models", {"stage": cell.name}))
    started = time.perf_counter()
    if cell.recipe.data is None:
        raise TypeError("a cell without data")
    split = cell.recipe.data.split
    plan = CohortPlan(
        cell.recipe.model_copy(update={"data": None, "out": None, "trackers": ()}),
        rows.rows,
        rows.class_names,
        members=rows.members,
        steer=split.steer,
        reference=rows.reference,
        tokens=rows.tokens,
        keep_models=any(attack.requires & FILES_KEPT for attack in attacks),
        shared=folder / SHARED / _dense_key(cell.recipe),
    )
    cohort = Cohort.begin(folder / COHORTS / cell.name, plan)
    where = ShadowsConfig(count=cell.models, workers=config.workers, backend=config.backend)
    train_cohort(cohort, cell.models, where, listen=listen)
    trained = time.perf_counter() - started
    rotation = TargetRotation(cohort, cell.models)
    figures = [rotation.attacked(k, attacks) for k in range(cell.models)]
    make_folder(path.parent)
    write_json(
        path,
        {
            "data": cell.data,
            "density": cell.density,
            "method": cell.method,
            "says": config.methods[cell.method].says,
            "settings": [*config.data[cell.data].set, *config.methods[cell.method].set],
            "members": rows.members,
            "rows": len(rows.rows),
            "rows_sha256": rows.digest,
            "targets": figures,
            "seconds": {"train": trained, "attack": time.perf_counter() - started - trained},
            "made_with": surroundings(),
            **settings_of(cell, config),
        },
    )
    if not config.keep:
        shutil.rmtree(cohort.folder, ignore_errors=True)
    listen(Event("saved", f"saved {path}", {"path": str(path)}))


def _dense_key(recipe: CompressConfig) -> str:
    """Return a digest of the settings that a dense model and its teachers depend on."""
    settings = recipe.model_dump(mode="json")
    # The list names the sections that they do not depend on, so that a section added by a later
    # version counts until it is listed here.
    for later in ("steer", "verdict", "shadows", "baselines", "out", "trackers"):
        settings.pop(later, None)
    if recipe.dense is None or not recipe.dense.epochs:
        # Without a dense stage, teachers train like the sparse stage (`whole_training`).
        settings["sparse"] = settings["sparse"]["train"]
    else:
        settings.pop("sparse")
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
