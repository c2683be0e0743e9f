"""Packages as pip leaves them: a module and its metadata in a folder on the path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ATTACK = '''
from dataclasses import dataclass
from typing import Any, ClassVar
from torch import Tensor
from safecompress.protocols import Attack, Evidence

@dataclass(frozen=True)
class MarginAttack(Attack):
    """Members have a larger gap between the largest logits.

    Args:
        rank: the last of the logits that are compared, at least 2.
    """

    name: ClassVar[str] = "margin"
    signals: ClassVar[str] = "vector"
    rank: int = 2

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        largest = evidence.outputs.logits.double().topk(self.rank).values
        return largest[:, 0] - largest[:, -1]
'''


def install(
    site: Path,
    package: str,
    *,
    points: Mapping[str, str] | str,
    code: str = ATTACK,
    group: str = "safecompress.attacks",
    metadata: str | None = None,
) -> None:
    """Lay out one package.

    Args:
        site: the folder, to be put on the path.
        package: its name; its one module is called so, with underscores.
        points: names to `module:attribute`, or the text of `entry_points.txt`.
        code: the module's.
        group: the group of the entry points.
        metadata: text of `METADATA`; None is a good one.
    """
    module = package.replace("-", "_")
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(code)
    if metadata is None:
        metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata)
    if not isinstance(points, str):
        lines = [f"{name} = {value}" for name, value in points.items()]
        points = "\n".join([f"[{group}]", *lines, ""])
    (info / "entry_points.txt").write_text(points)
