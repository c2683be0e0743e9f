"""`Cell`: one method on one data set at one density, and the file of a comparison that holds it.

A finished cell is never computed again, also not by a later version of SafeCompress or when its
data were moved to another place.
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
        recipe: the configuration that each of its models is trained by.
        models: number of models in its cohort.
    """

    data: str
    density: float
    method: str
    recipe: CompressConfig
    models: int

    @property
    def name(self) -> str:
        """The stem of its file, `DATA-DENSITY-METHOD`."""
        return f"{self.data}-{self.density:g}-{self.method}"


def cells(config: CompareConfig) -> Iterator[Cell]:
    """Yield every cell, its recipe checked.

    Args:
        config: the comparison.

    Raises:
        ConfigError: when a recipe is not valid, begins with given weights, or changes the data.
    """
    for name, data in config.data.items():
        shared_data = load_config(data.config, assignments=[*data.set, f"seed={config.seed}"]).data
        for method, method_config in config.methods.items():
            for density in method_config.densities or data.densities or config.densities:
                recipe = load_config(
                    data.config,
                    assignments=[
                        *data.set,
                        f"sparse.density={density!r}",
                        "baselines=[]",
                        *method_config.set,
                        f"seed={config.seed}",
                    ],
                )
                if recipe.model is None or recipe.model.weights is not None:
                    raise ConfigError(
                        f"{data.config}: a cohort trains its models from nothing; name a model "
                        "without weights."
                    )
                if recipe.data != shared_data:
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
    """Return the cells with the given data sets, densities and methods.

    Args:
        everything: all cells of the comparison.
        config: the comparison.
        data: names of data sets; empty takes all.
        densities: densities, in (0, 1]; empty takes all.
        methods: names of methods; empty takes all.

    Raises:
        ConfigError: when the comparison does not have one of them.
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
    """Return the path of a cell's file, which exists once the cell is finished.

    Args:
        folder: the comparison's folder.
        cell: the cell.
    """
    return folder / CELLS / f"{cell.name}.json"


def settings_of(cell: Cell, config: CompareConfig) -> dict[str, Any]:
    """Return as JSON the settings that a cell's figures depend on, without rows and data source.

    Args:
        cell: the cell.
        config: the comparison; its attacks count.
    """
    recipe = cell.recipe.model_dump(
        mode="json", exclude={"out": True, "trackers": True, "data": {"source"}}
    )
    return {"recipe": recipe, "models": cell.models, "attacks": config.attacks}


def read_cell(folder: Path, cell: Cell, config: CompareConfig) -> Mapping[str, Any]:
    """Return the document of a finished cell.

    Args:
        folder: the comparison's folder.
        cell: the cell.
        config: the comparison.

    Raises:
        RunFolderError: when the file was made with other settings.
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
    """Refuse to add a cell beside finished cells of the same data set that had other rows.

    Args:
        folder: the comparison's folder.
        everything: all cells of the comparison.
        new: the cell that will be computed.
        digest: digest of the rows that it would be computed on.

    Raises:
        RunFolderError: when a finished cell of the data set had other rows.
    """
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
    """Return whether a document was made with a cell's settings.

    The document records the whole recipe, which is read like any configuration. So a later version
    can add settings without invalidating finished cells, and a changed default does not go
    unnoticed.
    """
    wanted = cell.recipe.model_dump(mode="json")
    try:
        recorded = json.loads(json.dumps(document["recipe"]))
        recorded["data"]["source"] = wanted["data"]["source"]
        recipe = load_config(recorded | {"out": wanted["out"]})
    except (ConfigError, KeyError, TypeError):
        return False
    now = json.loads(json.dumps(settings_of(cell, config)))
    return _relevant_settings(recipe) == _relevant_settings(cell.recipe) and all(
        document.get(k) == now[k] for k in ("models", "attacks")
    )


def _relevant_settings(recipe: CompressConfig) -> CompressConfig:
    """Return the recipe without trackers, and without the search's settings if it has no rounds."""
    recipe = recipe.model_copy(update={"trackers": ()})
    if recipe.sparse.rounds:
        return recipe
    steer = SteerConfig(defenses=recipe.steer.defenses)
    return recipe.model_copy(update={"steer": steer})
