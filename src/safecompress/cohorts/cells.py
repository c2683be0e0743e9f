"""Cells of a comparison: which there are, and which finished file is of which.

A finished cell is read and never made again, by whatever later version and wherever its data lie.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safecompress.config import CompareConfig, CompressConfig, SteerConfig, load_config
from safecompress.errors import ConfigError, RunFolderError
from safecompress.files import read_json

CELLS = "cells"


@dataclass(frozen=True)
class Cell:
    """One method on one data set at one density.

    Args:
        data: name of the data set.
        density: share of the maskable weights kept.
        method: name of the method.
        recipe: what each of its models is trained by.
        models: how many there are.
    """

    data: str
    density: float
    method: str
    recipe: CompressConfig
    models: int

    @property
    def name(self) -> str:
        """Names its file."""
        return f"{self.data}-{self.density:g}-{self.method}"


def cells(config: CompareConfig) -> Iterator[Cell]:
    """Yield every cell, its recipe checked."""
    for name, data in config.data.items():
        same = load_config(data.config, assignments=[*data.set, f"seed={config.seed}"]).data
        for method, chosen in config.methods.items():
            for density in chosen.densities or data.densities or config.densities:
                recipe = load_config(
                    data.config,
                    assignments=[
                        *data.set,
                        f"sparse.density={density!r}",
                        "baselines=[]",
                        *chosen.set,
                        f"seed={config.seed}",
                    ],
                )
                if recipe.model is None or recipe.model.weights is not None:
                    raise ConfigError(
                        f"{data.config}: a cohort trains its models from nothing; name a model "
                        "without weights."
                    )
                if recipe.data != same:
                    raise ConfigError(
                        f"compare: method '{method}' changes the data section; all methods are "
                        f"compared on the same draws of the same rows: set it for '{name}', such "
                        "as data.split.reference where any of them needs rows set aside."
                    )
                yield Cell(name, density, method, recipe, data.models or config.models)


def chosen(
    everything: Sequence[Cell],
    config: CompareConfig,
    *,
    data: Sequence[str],
    densities: Sequence[float],
    methods: Sequence[str],
) -> list[Cell]:
    """Return the cells asked for; whatever is left empty takes all.

    Raises:
        ConfigError: naming what the comparison does not have.
    """
    for what, asked, known in (
        ("data", data, list(config.data)),
        ("method", methods, list(config.methods)),
        ("density", densities, sorted({cell.density for cell in everything})),
    ):
        if strangers := [x for x in asked if x not in known]:
            raise ConfigError(
                f"compare: {what} {strangers[0]!r} is not in the comparison; it has "
                f"{', '.join(map(str, known))}."
            )
    return [
        cell
        for cell in everything
        if (not data or cell.data in data)
        and (not densities or cell.density in densities)
        and (not methods or cell.method in methods)
    ]


def cell_file(folder: Path, cell: Cell) -> Path:
    """Return where a cell ends."""
    return folder / CELLS / f"{cell.name}.json"


def settings_of(cell: Cell, config: CompareConfig) -> dict[str, Any]:
    """Return, as JSON, what a cell's figures depend on, but for its rows and where they lie."""
    recipe = cell.recipe.model_dump(mode="json", exclude={"out": True, "data": {"source"}})
    return {"recipe": recipe, "models": cell.models, "attacks": config.attacks}


def read_cell(folder: Path, cell: Cell, config: CompareConfig) -> Mapping[str, Any]:
    """Return the document of a finished cell.

    Raises:
        RunFolderError: when it is of other settings.
    """
    path = cell_file(folder, cell)
    document = read_json(path)
    if not isinstance(document, dict) or not _same(document, cell, config):
        raise RunFolderError(
            f"{path}: of other settings than the comparison's; delete it to make it anew, or "
            "choose another folder."
        )
    return document


def require_same_rows(folder: Path, everything: Sequence[Cell], new: Cell, digest: str) -> None:
    """Raise RunFolderError where a finished cell of a new one's data set had other rows."""
    for cell in everything:
        path = cell_file(folder, cell)
        if cell.data != new.data or not path.exists():
            continue
        document = read_json(path)
        if isinstance(document, dict) and document.get("rows_sha256") != digest:
            raise RunFolderError(
                f"{path}: of other rows than '{new.data}' has now; put the data back, or choose "
                "another folder."
            )


def _same(document: Mapping[str, Any], cell: Cell, config: CompareConfig) -> bool:
    """Return whether a document is of a cell.

    Its recipe is recorded whole and read as any configuration, so that a later version may add
    settings without making a cell anew, and none changes what a cell is by another default.
    """
    wanted = cell.recipe.model_dump(mode="json")
    try:
        recorded = json.loads(json.dumps(document["recipe"]))
        recorded["data"]["source"] = wanted["data"]["source"]
        recipe = load_config(recorded | {"out": wanted["out"]})
    except (ConfigError, KeyError, TypeError):
        return False
    now = json.loads(json.dumps(settings_of(cell, config)))
    return _what_counts(recipe) == _what_counts(cell.recipe) and all(
        document.get(k) == now[k] for k in ("models", "attacks")
    )


def _what_counts(recipe: CompressConfig) -> CompressConfig:
    """Return the recipe without what has no part in its models: without rounds, the loop."""
    if recipe.sparse.rounds:
        return recipe
    steer = SteerConfig(defenses=recipe.steer.defenses)
    return recipe.model_copy(update={"steer": steer})
