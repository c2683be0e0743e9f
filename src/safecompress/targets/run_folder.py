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

from safecompress.config import CompressConfig
from safecompress.data import Ledger, Splits, load_splits, with_canaries
from safecompress.errors import ConfigError, DataError, RunFolderError, did_you_mean
from safecompress.files import read_json, tensors_digest
from safecompress.models.given import ModelSource
from safecompress.protocols import Pool, Rows
from safecompress.run.folder import MODEL, PROVENANCE, VERDICT, ledger_of
from safecompress.run.load import load_stored
from safecompress.run.model_file import StoredModel, read_model
from safecompress.run.trusted import resume_command, run_config

_ASKED = {
    "model": "its architecture: model=make_model in Python, --model package.module:make_model on "
    "the command line",
    "data": "its splits, made in the same way: data=splits in Python, --splits "
    "package.module:make_splits on the command line",
}
"""How a later process gives what a run was started with."""


@dataclass(frozen=True)
class RunTarget:
    """A finished run whose sealed rows have not been opened.

    Args:
        folder: the run folder.
        file: name of the audited model's file in it.
        config: the run's resolved configuration.
        splits: the run's rows, checked to be those it was judged on.
        stored: content of the audited model's file.
        model: the run's architecture, where it was started with a model as an object.
    """

    folder: Path
    file: str
    config: CompressConfig
    splits: Splits
    stored: StoredModel
    model: ModelSource | None = None

    def module(self) -> nn.Module:
        """Return the audited model."""
        where = self.folder / self.file
        return load_stored(self.stored, self.config, where=where, model=self.model)

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
        return load_stored(read_model(path), self.config, where=path, model=self.model)

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
            Ledger(ledger_of(self.folder)),
            model_digest=hashlib.sha256(text.encode()).hexdigest(),
            run=f"audit of {self.folder.name}/{self.file}",
        )


def open_run(
    path: Path,
    *,
    trust_code: bool,
    model: ModelSource | None = None,
    data: Splits | None = None,
    group_by: Sequence[str] = (),
) -> RunTarget:
    """Read a run folder, or one of the model files in it.

    Args:
        path: the folder, for its compressed model; or one of its model files, for example
            `dense.safetensors`.
        trust_code: whether a model or data set that the folder's configuration names as
            `package.module:callable` may be imported and called.
        model: the run's architecture, a module or a callable that makes one; needed where the run
            was started with a model as an object. Its weights come from the folder.
        data: the run's splits; needed where the run was started with splits as an object. They must
            seal the same rows.
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
            f"{resume_command(folder)}"
        )
    given = {"model": model, "data": data}
    objects = [what for what, it in given.items() if it is not None]
    unneeded = ["out", *objects]
    config = run_config(folder, trust_code=trust_code, given=objects, unset_in=unneeded)
    _require_objects(config, folder, given)
    stored = read_model(folder / file)
    columns = tuple(dict.fromkeys([*config.verdict.group_by, *group_by]))
    splits = _splits(config, data, columns)
    canaries = config.verdict.canaries
    splits = with_canaries(splits, canaries.count, kind=canaries.kind, seed=config.seed)
    require_same_rows(splits, folder)
    return RunTarget(folder, file, config, splits, stored, model)


def _splits(config: CompressConfig, data: Splits | None, columns: tuple[str, ...]) -> Splits:
    if data is not None:
        if missing := sorted(set(columns) - set(data.groups)):
            raise ConfigError(
                f"group_by: the splits hold no groups by '{missing[0]}'; make them with "
                f"groups={{'{missing[0]}': …}}, one value for each row."
            )
        return data
    if config.data is None:
        raise ConfigError("data: missing; give the run's splits.")
    trained = config.model is None or config.model.weights is not None
    return load_splits(config.data, seed=config.seed, weights_given=trained, group_by=columns)


def _require_objects(config: CompressConfig, folder: Path, given: Mapping[str, Any]) -> None:
    """Require the objects that a run was started with.

    Args:
        config: the run's configuration.
        folder: the run folder, for messages.
        given: `model` and `data`, None where they are not given.

    Raises:
        RunFolderError: when one is missing.
    """
    needed = {"model": config.model is None, "data": config.data is None}
    missing = [what for what, is_object in needed.items() if is_object and given[what] is None]
    if missing:
        objects = " and a ".join(f"{what} object" for what in missing)
        raise RunFolderError(
            f"{folder}: the run was started with a {objects}, which the folder does not hold. Give "
            + ", and ".join(_ASKED[what] for what in missing)
            + "."
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
