"""Options that several commands have: where a run's model and splits come from, what is asked."""

from __future__ import annotations

from typing import Annotated

import typer

from safecompress.data import Splits
from safecompress.errors import FOREIGN, ConfigError, DataError
from safecompress.imports import import_callable
from safecompress.models.given import ModelSource

Architecture = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:CALLABLE",
        help="Makes the architecture of a run that was started with a model object.",
    ),
]
SplitsGiven = Annotated[
    str | None,
    typer.Option(
        "--splits",
        metavar="MODULE:CALLABLE",
        help="Makes the splits of a run that was started with splits as an object.",
    ),
]
MinAgreement = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share of unseen rows for which the file is to name the model's class; layers are "
        "rounded less until it does. 0 asks for nothing.",
    ),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Import code that the run folder names.")
]


def architecture_of(path: str) -> ModelSource:
    """Return the callable that makes a run's architecture.

    Args:
        path: its import path, `package.module:callable`.

    Raises:
        ConfigError: when it cannot be imported.
    """
    return import_callable(path, where="--model", error=ConfigError)


def splits_of(path: str) -> Splits:
    """Return the splits that a callable makes.

    Args:
        path: its import path, `package.module:callable`.

    Raises:
        ConfigError: when it cannot be imported.
        DataError: when it raises, or returns something else than `Splits`.
    """
    make = import_callable(path, where="--splits", error=ConfigError)
    try:
        made = make()
    except FOREIGN as error:
        raise DataError(f"--splits: {path} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, Splits):
        raise DataError(
            f"--splits: {path} returned {type(made).__name__}; expected Splits, as "
            "splits_from_arrays and splits_from_dataset return them."
        )
    return made
