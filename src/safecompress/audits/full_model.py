"""`full_model` and `full_of_run`: the model that an attacker with the audited one attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from safecompress.config import DataConfig
from safecompress.data import RecordedOutputs
from safecompress.errors import ConfigError, ModelError
from safecompress.protocols import Pool, Rows
from safecompress.targets import RunTarget, Target, kind_of, open_run, open_target, rows_for
from safecompress.targets.given import Group, target_of

Model: TypeAlias = nn.Module | Callable[..., Any]
Given: TypeAlias = str | Path | RecordedOutputs | Model
Data: TypeAlias = tuple[Group, Group] | DataConfig | None


def full_model(
    against: Given, *, data: Data, seed: int, trust_code: bool, small: RecordedOutputs
) -> Model:
    """Return the full model of a pair.

    Args:
        against: the model, or its file or folder.
        data: the rows, from which the tokens of both models are compared.
        seed: seed of random draws that `data` describes.
        trust_code: whether code that a run folder names may be imported and called.
        small: the recorded outputs of the model that it is paired with.

    Raises:
        UsageError: when it is no model, or turns the same texts into other tokens.
    """
    if isinstance(against, RecordedOutputs):
        raise ConfigError(f"against: {against.path} holds outputs; a model is attacked, name one.")
    if not isinstance(against, str | Path):
        return target_of(against).model
    path = Path(against).expanduser()
    kind = kind_of(path)
    if kind == "outputs":
        raise ConfigError(f"against: {path} holds outputs; a model is attacked, name one.")
    if kind == "run":
        return open_run(path, trust_code=trust_code).module()
    full = open_target(path)
    if full.texts and data is not None:
        _require_same_tokens(full, rows_for(full, data, seed=seed), small)
    return full.model


def _require_same_tokens(full: Target, full_rows: Pool[Rows], small: RecordedOutputs) -> None:
    """Refuse a full model of text whose tokenizer gives other tokens than the small one's.

    Raises:
        ModelError: when any row's tokens differ.
    """
    small_rows = small.evidence.nonmembers.rows
    small_inputs = () if small_rows is None else small_rows.inputs
    full_inputs = full_rows.nonmembers.inputs
    same = (
        isinstance(small_inputs, Mapping)
        and isinstance(full_inputs, Mapping)
        and small_inputs.keys() == full_inputs.keys()
        and all(torch.equal(tensor, full_inputs[name]) for name, tensor in small_inputs.items())
    )
    if not same:
        raise ModelError(
            f"against: {full.path} and {small.path} turn the same texts into other tokens, so one "
            "point cannot be given to both. What both say of the same texts can still be compared: "
            "name the full model as the baseline (--baseline)."
        )


def full_of_run(
    run: RunTarget, against: Given, *, trust_code: bool, small: RecordedOutputs
) -> Model:
    """Return the full model of a run's model: another of the run by name, or any other.

    Args:
        run: the run of the audited model.
        against: the model, its file or folder, or the name of another model of the run.
        trust_code: whether code that a run folder names may be imported and called.
        small: the recorded outputs of the audited model.

    Raises:
        UsageError: as `full_model`.
    """
    if isinstance(against, str) and (run.folder / f"{against}.safetensors").is_file():
        return run.baseline(against)
    return full_model(against, data=None, seed=0, trust_code=trust_code, small=small)
