"""Print the lowest versions that `pyproject.toml` allows of what the package needs, for pip's `-c`.

torch stays as `constraints.txt` pins it, because its oldest builds come for one kind of GPU only.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lowest(dependencies: list[str]) -> list[str]:
    """Return `name==version` for every `name>=version`.

    Args:
        dependencies: as in `pyproject.toml`.
    """
    bounds = [re.fullmatch(r"([\w.-]+)>=([\w.]+)", text) for text in dependencies]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound and bound[1] != "torch"]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    # The newest pyarrow needs a newer numpy than the lowest one.
    bounded = [*project["dependencies"], *project["optional-dependencies"]["arrow"]]
    lines = lowest(bounded) + [line for line in pinned if line[:7] == "torch=="]
    sys.stdout.write("\n".join(lines) + "\n")
