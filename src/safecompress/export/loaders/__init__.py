"""`ONNX`, `EXECUTORCH`, `OPENVINO`, `LITERT`, `COMPACT`: paths of scripts.

Each loads a file in a process of its own.

`_probe.py` runs a script by its path. The script defines `loader(threads)`, which imports the
runtime and returns `load(path)`. `load` is timed; it returns a function that computes a batch, or
None where no runtime computes with the file.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
ONNX = _FOLDER / "onnx_loader.py"
EXECUTORCH = _FOLDER / "executorch_loader.py"
OPENVINO = _FOLDER / "openvino_loader.py"
LITERT = _FOLDER / "litert_loader.py"
COMPACT = _FOLDER / "compact_loader.py"
