"""`open_run` and `RunTarget`: a run folder of SafeCompress as the target of an audit.

The audit uses the run's own model and its own sealed rows, and counts as a further look at them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.config import CompressConfig, load_config
from safecompress.data import Ledger, Splits, load_splits
from safecompress.errors import ConfigError, DataError, RunFolderError, did_you_mean
from safecompress.files import read_json, tensors_digest
from safecompress.protocols import Pool, Rows
from safecompress.run.folder import CONFIG, LEDGER, MODEL, PROVENANCE, VERDICT
from safecompress.run.load import load_stored
from safecompress.run.model_file import StoredModel, read_model

AUDIT_OBJECTS = (
    "Audit it in Python on rows of your choice: audit(load({run!r}, model=make_model), data)."
)
"""How to audit a run of objects; `run` is its folder."""


@dataclass(frozen=True)
class RunTarget:
    """A finished run whose sealed rows have not been opened.

    Args:
        folder: the run folder.
        file: name of the audited model's file in it.
        config: the run's resolved configuration.
        splits: the run's rows, checked to be those it was judged on.
        stored: content of the audited model's file.
    """

    folder: Path
    file: str
    config: CompressConfig
    splits: Splits
    stored: StoredModel

    def module(self) -> nn.Module:
        """Return the audited model."""
        return load_stored(self.stored, self.config, where=self.folder / self.file)

    def baseline(self, name: str) -> nn.Module:
        """Return another model of the run, for comparison.

        Args:
            name: `dense` or `magnitude`, or the path of that model's file in the folder.

        Raises:
            ConfigError: when the run has no such model besides the audited one.
        """
        path = self.folder / f"{Path(name).name.removesuffix('.safetensors')}.safetensors"
        named = {p.stem for p in self.folder.glob("*.safetensors")} - {Path(self.file).stem}
        if path.stem not in named or Path(name).parent not in {Path(), self.folder}:
            raise ConfigError(
                f"baseline: {self.folder} has no model '{name}' beside the judged one"
                f"{did_you_mean(name, named)}"
            )
        return load_stored(read_model(path), self.config, where=path)

    def open_sealed(self, settings: Mapping[str, Any]) -> tuple[Pool[Rows], int]:
        """Return the sealed rows after recording the look in the ledger.

        An audit with other settings counts as another look, because trying limits, seeds and
        attacks until one of them passes would choose by the sealed rows. Repeating an audit with
        the same settings does not add to the count.

        Args:
            settings: everything that the verdict depends on besides the model, as JSON values.

        Returns:
            The sealed rows, and the number of distinct looks so far, this one included.

        Raises:
            StorageError: when the ledger cannot be written; the rows then stay sealed.
        """
        text = tensors_digest(self.stored.weights) + json.dumps(settings, sort_keys=True)
        return self.splits.open_sealed(
            Ledger(self.folder.parent / LEDGER),
            model_digest=hashlib.sha256(text.encode()).hexdigest(),
            run=f"audit of {self.folder.name}/{self.file}",
        )


def open_run(
    path: Path,
    *,
    trust_code: bool,
    instead: str = AUDIT_OBJECTS,
    group_by: Sequence[str] = (),
) -> RunTarget:
    """Read a run folder, or one of the model files in it.

    Args:
        path: the folder, for its compressed model; or one of its model files, for example
            `dense.safetensors`.
        trust_code: whether a model or data set that the folder's configuration names as
            `package.module:callable` may be imported and called.
        instead: what to do with a run of objects, as a sentence with a place for `run`.
        group_by: columns of the run's data within whose groups its models are judged, beside those
            that the run names.

    Raises:
        RunFolderError: when the run is unfinished, was started with objects that the folder does
            not hold, needs code that is not trusted, or has other rows than it was judged on.
        UsageError: when a file is damaged.
    """
    folder, file = (path, MODEL) if path.is_dir() else (path.parent, path.name)
    if not (folder / VERDICT).is_file() or not (folder / file).is_file():
        raise RunFolderError(
            f"{folder}: the run is not finished (no {VERDICT} or no {file}); go on with: "
            f"safecompress compress --resume {folder}"
        )
    config = load_config(folder / CONFIG)
    if config.model is None or config.data is None:
        sections = {"model": config.model, "data": config.data}
        given = " and a ".join(f"{what} object" for what, it in sections.items() if it is None)
        raise RunFolderError(
            f"{folder}: the run was started with a {given}, which the folder does not hold. "
            + instead.format(run=str(folder))
        )
    if not trust_code:
        _refuse_code(config, folder)
    stored = read_model(folder / file)
    trained = config.model.weights is not None
    columns = tuple(dict.fromkeys([*config.verdict.group_by, *group_by]))
    splits = load_splits(config.data, seed=config.seed, weights_given=trained, group_by=columns)
    require_same_rows(splits, folder)
    return RunTarget(folder, file, config, splits, stored)


def _refuse_code(config: CompressConfig, folder: Path) -> None:
    """Refuse to import code that a folder names, because the folder may come from a stranger."""
    named = {"model": config.model.name if config.model else ""}
    if config.data is not None:
        named["data"] = config.data.source.code
    for what, name in named.items():
        if ":" in name:
            raise RunFolderError(
                f"{folder}: its {what} is made by code, '{name[:100]}', which an audit does not "
                "run unasked; where the folder is yours, pass --trust-code (trust_code=True)."
            )


def require_same_rows(splits: Splits, folder: Path) -> None:
    """Check that splits seal the rows that a run was judged on.

    Args:
        splits: the splits.
        folder: the run folder.

    Raises:
        DataError: when the run's provenance is damaged.
        RunFolderError: when they seal other rows.
    """
    try:
        recorded = read_json(folder / PROVENANCE)["splits"]["sealed"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / PROVENANCE}: damaged; put it back from a copy.") from error
    if recorded != splits.sealed_digest:
        raise RunFolderError(
            f"{folder}: its data changed since the run; its sealed rows cannot be found again. "
            "Put the data back."
        )
