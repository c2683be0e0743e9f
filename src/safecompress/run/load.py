"""`load`, `load_preprocessor`, `load_stored`: a finished run's model and preprocessing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from safecompress.config import CompressConfig, ModelConfig
from safecompress.data import Preprocessor
from safecompress.errors import DataError, ModelError, RunFolderError
from safecompress.files import read_json
from safecompress.models import build_model
from safecompress.models.given import ModelSource, module_of
from safecompress.models.plain import plain_
from safecompress.run.folder import MODEL, PREPROCESSING
from safecompress.run.model_file import StoredModel, read_model
from safecompress.run.trusted import run_config
from safecompress.transforms import attach_


def load_preprocessor(run: str | Path) -> Preprocessor:
    """Return what turns new raw rows into a run's model inputs; see `Preprocessor.apply`.

    Args:
        run: the run folder.

    Raises:
        RunFolderError: when the run's rows were given as ready tensors, or there is no such run.
        DataError: when the file is damaged.
    """
    path = Path(run) / PREPROCESSING
    if not path.is_file():
        raise RunFolderError(f"{run}: no {PREPROCESSING} in it; not a run folder.")
    state = read_json(path, encodable=True)
    if state is None:
        raise RunFolderError(f"{run}: its rows were given as ready tensors; nothing was fitted.")
    return Preprocessor.from_json(state)


def load(
    run: str | Path, *, model: ModelSource | None = None, trust_code: bool = False
) -> nn.Module:
    """Return a run's compressed model, or another of its models, in evaluation mode.

    The module computes exactly what the verdict judged: if the model is quantized, its weights are
    rounded and hooks round the inputs of its layers. Removed channels are still there as zeros;
    `remove_channels` makes the layers smaller.

    Args:
        run: the run folder, for its compressed model; or one of the model files in it, such as
            `RUN/dense.safetensors`.
        model: a module of the run's architecture, which stays as it is, or a callable that makes
            one; needed when the run was started with a model object instead of a configured model.
        trust_code: whether code that the run folder names as its model may be imported and called.

    Raises:
        RunFolderError: when the folder holds no compressed model, there is no such file, or its
            model is made by code that is not trusted.
        ModelError: when the module does not fit the stored weights.

    Example:
        A run leaves a file of weights; loaded, they are a module like any other:

        >>> from tempfile import TemporaryDirectory
        >>> from safecompress import compress, load
        >>> brief = {"epochs": 2, "precision": "32-true"}
        >>> config = {
        ...     "data": {"source": {"source": "sklearn", "name": "iris"}},
        ...     "model": {"name": "mlp", "options": {"hidden": [8]}},
        ...     "dense": brief,
        ...     "sparse": {"density": 0.5, "rounds": 1, "train": brief},
        ...     "steer": {"proposals": ["rigl"]},
        ... }
        >>> with TemporaryDirectory() as folder:
        ...     run = compress(config=config, out=f"{folder}/run")
        ...     small = load(f"{folder}/run")
        >>> rows = run.splits.steer.members.inputs
        >>> bool((small(rows) == run.model(rows)).all())
        True
    """
    path = Path(run)
    file = path if path.suffix == Path(MODEL).suffix else path / MODEL
    if not file.is_file():
        raise RunFolderError(
            f"{file.parent}: no {file.name} in it; the run is unfinished or this is not a run "
            "folder."
        )
    stored = read_model(file)
    config = None
    if model is None:
        # Rows are not read and nothing is trained, so code for that does not matter.
        config = run_config(
            file.parent, trust_code=trust_code, given=["data", "training"], unset_in=["data", "out"]
        )
    return load_stored(stored, config, where=path, model=model)


def load_stored(
    stored: StoredModel,
    config: CompressConfig | None,
    *,
    where: Path,
    model: ModelSource | None = None,
) -> nn.Module:
    """Return a stored model as a module in evaluation mode.

    Args:
        stored: the contents of the model file.
        config: the run's configuration, which names the module; None where `model` is given.
        where: path for messages, e.g. the run folder.
        model: a module of the run's architecture, or a callable that makes one, for a run that was
            started with an object.

    Raises:
        ModelError: when the configuration names no model, or one that does not fit the weights.
        DataError: when the file does not state the input shape and the number of classes.
    """
    if model is not None:
        return _filled(module_of(model), stored, where)
    if config is None or config.model is None:
        raise ModelError(
            f"{where}: the run was started with a model object; pass a callable that makes "
            "it: load(run, model=make_model)."
        )
    try:
        input_shape = tuple(int(size) for size in stored.metadata["input_shape"])
        classes = int(stored.metadata["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: the model file does not say its input_shape and classes."
        ) from error
    _require_sizes(config.model, input_shape, classes, stored, where)
    module = build_model(config.model, input_shape=input_shape, classes=classes, seed=0)
    return _filled(plain_(module), stored, where)


def _require_sizes(
    model: ModelConfig, input_shape: tuple[int, ...], classes: int, stored: StoredModel, where: Path
) -> None:
    """Refuse a model whose weights have other shapes than the stored ones before it takes memory.

    A damaged configuration can name layers of any size.
    """
    if ":" in model.name:
        # Code of the user's may compute with numbers, which weights without memory do not have.
        return
    try:
        with torch.device("meta"):
            module = build_model(model, input_shape=input_shape, classes=classes, seed=0)
    except (RuntimeError, ModelError):
        # So may a pretrained family. What else is wrong, the real model says.
        return
    held = {name: tuple(t.shape) for name, t in stored.weights.items()}
    for name, parameter in module.named_parameters():
        shape = tuple(parameter.shape)
        if held.get(name, shape) != shape:
            raise ModelError(
                f"{where}: the module does not fit the stored weights: '{name}' has the shape "
                f"{shape} by the configuration and {held[name]} in the file; put the "
                "configuration back from a copy."
            )


def _filled(module: nn.Module, stored: StoredModel, where: Path) -> nn.Module:
    # What a module keeps beside its tensors is not stored; it has it from being made.
    beside = {n: v for n, v in module.state_dict().items() if not isinstance(v, Tensor)}
    try:
        module.load_state_dict(beside | dict(stored.weights))
    except RuntimeError as error:
        text = " ".join(str(error).split())[:300]
        raise ModelError(f"{where}: the module does not fit the stored weights: {text}") from error
    attach_(module, stored.transforms)
    return module.eval()
