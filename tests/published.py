"""Packages with entry points, laid out as pip leaves them."""

from __future__ import annotations

from pathlib import Path


def publish(folder: Path, *, group: str, module: str, source: str, points: dict[str, str]) -> Path:
    """Lay out a package of one module; returns the folder to be put on the import path.

    Args:
        folder: an empty one.
        group: entry-point group, e.g. `safecompress.formats`.
        module: the module's name.
        source: its text.
        points: what stands in the module, by the names it is published under.
    """
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {module}:{attribute}\n" for name, attribute in points.items()]
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(lines))
    return folder
