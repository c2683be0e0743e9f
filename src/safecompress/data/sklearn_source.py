"""`SklearnRows`: data sets and generators of scikit-learn; nothing is downloaded."""

from __future__ import annotations

import inspect
from typing import Literal

import numpy as np

from safecompress.config import SklearnSource
from safecompress.data.raw import RawData, raw_from_arrays
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import ConfigError, did_you_mean
from safecompress.randomness import derive

LOADERS = ("breast_cancer", "digits", "iris", "wine")
GENERATORS = (
    "make_blobs",
    "make_circles",
    "make_classification",
    "make_gaussian_quantiles",
    "make_moons",
)


class SklearnRows(SklearnSource, DataSource):
    """Rows of a data set or generator of scikit-learn."""

    source: Literal["sklearn"] = "sklearn"

    def load(self, *, seed: int | None) -> RawData:
        """Load a data set or run a generator.

        Args:
            seed: seed of a generator whose options give no `random_state`.

        Raises:
            ConfigError: on an unknown name, one that would download, or options that are refused.
        """
        from sklearn import datasets

        where = f"sklearn {self.name}"
        name = self.name.removeprefix("load_")
        if name.startswith("fetch_"):
            raise ConfigError(
                f"{where}: fetch_ functions download from the internet at run time; save the data "
                f"once as .npz or .csv and use that source. Offline: "
                f"{', '.join(LOADERS + GENERATORS)}."
            )
        if name not in LOADERS + GENERATORS:
            raise ConfigError(
                f"{where}: not an offline classification data set or generator"
                f"{did_you_mean(name, LOADERS + GENERATORS)}"
            )
        function = getattr(datasets, name if name in GENERATORS else f"load_{name}")
        fixed = {"return_X_y", "as_frame", "return_centers", "return_distributions"}
        accepted = set(inspect.signature(function).parameters) - fixed
        for option in self.options:
            if option not in accepted:
                raise ConfigError(
                    f"{where}: unknown option '{option}'{did_you_mean(option, accepted)}"
                )
        options = dict(self.options)
        if name in GENERATORS:
            if "random_state" not in options:
                if seed is None:
                    raise ConfigError(
                        f"{where}: a generator needs a seed or the option random_state."
                    )
                options["random_state"] = derive(seed, "source") % 2**32
        else:
            options["return_X_y"] = True
        try:
            x, y = function(**options)
        except (TypeError, ValueError, AttributeError, OverflowError, MemoryError) as error:
            raise ConfigError(f"{where}: options {self.options} were refused: {error}") from error
        return raw_from_arrays(np.asarray(x), np.asarray(y), where=where)


SOURCES.add(
    "sklearn",
    SklearnRows,
    summary="data sets and generators of scikit-learn; nothing is downloaded",
)
