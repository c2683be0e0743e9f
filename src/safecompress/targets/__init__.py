"""What may be audited, from a path: recorded outputs, an ONNX file, a Hugging Face folder, a run.

Nothing here unpickles, downloads, or runs code that a file or folder brings along.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from safecompress.errors import ModelError
from safecompress.run.folder import CONFIG, VERDICT
from safecompress.targets.ask import ask, rows_for, target_of
from safecompress.targets.hugging_face import CONFIG as HUGGING_FACE_CONFIG
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

Kind: TypeAlias = Literal["outputs", "onnx", "hugging-face", "run"]
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib"}


def kind_of(path: Path) -> Kind:
    """Recognize what a path leads to, folders by what is in them.

    Raises:
        ModelError: when it is nothing that can be audited.
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
    if suffix == ".onnx":
        return "onnx"
    if suffix == ".safetensors" and (path.parent / CONFIG).is_file():
        return "run"
    if suffix in _PICKLES | {".safetensors"}:
        why = (
            "weights without their model"
            if suffix == ".safetensors"
            else "a pickle, which may run code when it is read"
        )
        raise ModelError(
            f"{path}: {why}; audit an .onnx, a folder of save_pretrained, a run folder, an .npz of "
            "recorded outputs, or the loaded model in Python: audit(model, data)."
        )
    return "outputs"


def open_target(path: Path) -> Target:
    """Open an ONNX file or a folder of Hugging Face.

    Raises:
        ConfigError: when the package that reads it is not installed.
        ModelError: when it is damaged, no classifier, or would have to be trusted.
    """
    return open_onnx(path) if kind_of(path) == "onnx" else open_hugging_face(path)
