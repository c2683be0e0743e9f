"""What may be audited: recorded outputs, files of models, Hugging Face folders and runs.

Nothing here unpickles, downloads, or runs code that is part of a file or folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from safecompress.errors import ModelError
from safecompress.pretrained import CONFIG as HUGGING_FACE_CONFIG
from safecompress.run.folder import CONFIG, VERDICT
from safecompress.targets.ask import ask, rows_for
from safecompress.targets.device_file import open_device_file
from safecompress.targets.given import target_of
from safecompress.targets.hugging_face import open_hugging_face
from safecompress.targets.onnx_file import open_onnx
from safecompress.targets.run_folder import RunTarget, open_run
from safecompress.targets.target import Target

__all__ = [
    "Kind",
    "RunTarget",
    "Target",
    "ask",
    "kind_of",
    "open_run",
    "open_target",
    "rows_for",
    "target_of",
]

Kind: TypeAlias = Literal["outputs", "onnx", "openvino", "litert", "hugging-face", "run"]
_FILES: dict[str, Kind] = {".onnx": "onnx", ".xml": "openvino", ".tflite": "litert"}
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib"}


def kind_of(path: Path) -> Kind:
    """Return what kind of target a path leads to.

    Files are recognized by their suffix, folders by the files in them. A file with an unknown
    suffix counts as recorded outputs.

    Args:
        path: a file or folder.

    Raises:
        ModelError: when it cannot be audited: another folder, weights without their model, or a
            pickle.
    """
    if path.is_dir():
        if (path / CONFIG).is_file():
            return "run"
        if (path / HUGGING_FACE_CONFIG).is_file():
            return "hugging-face"
        what = "an audit's results" if (path / VERDICT).is_file() else "no model we know"
        raise ModelError(
            f"{path}: a folder with {what}; expected a run folder ({CONFIG}) or a Hugging Face "
            f"classifier ({HUGGING_FACE_CONFIG}, model.safetensors, tokenizer.json)."
        )
    suffix = path.suffix.lower()
    if suffix in _FILES:
        return _FILES[suffix]
    if suffix == ".safetensors" and (path.parent / CONFIG).is_file():
        return "run"
    if suffix in _PICKLES | {".safetensors"}:
        why = (
            "weights without their model"
            if suffix == ".safetensors"
            else "a pickle, which may run code when it is read"
        )
        raise ModelError(
            f"{path}: {why}; audit an .onnx, .xml or .tflite, a folder of save_pretrained, a "
            "run folder, an .npz of recorded outputs, or the loaded model in Python: "
            "audit(model, data)."
        )
    return "outputs"


def open_target(path: Path) -> Target:
    """Open a model's file or a Hugging Face folder.

    Args:
        path: the file, or the folder that `save_pretrained` wrote.

    Raises:
        ConfigError: when the package that reads it is not installed.
        ModelError: when it is damaged, is no classifier, or would have to run code of its own.
    """
    kind = kind_of(path)
    if kind in {"openvino", "litert"}:
        return open_device_file(path, kind)
    return open_onnx(path) if kind == "onnx" else open_hugging_face(path)
