"""Scripts that load a file in a process of its own, by the runtime that they import.

`_probe.py` runs one by its path. A script defines `loader(threads)`: it imports the runtime and
returns `load(path)`, which is timed and returns what answers a batch, or None where nothing does.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
ONNX = _FOLDER / "onnx_loader.py"
EXECUTORCH = _FOLDER / "executorch_loader.py"
COMPACT = _FOLDER / "compact_loader.py"
