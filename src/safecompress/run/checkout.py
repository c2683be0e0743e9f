"""`Revision` and `revision`: which commit of SafeCompress the running code is, where that is known.

Only a commit of SafeCompress's own repository counts. An installed package often lies inside
another repository, the user's project, whose commit says nothing about SafeCompress and must not
be recorded.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

TIMEOUT = 2.0
"""Seconds that one call of git may take before its result counts as unknown."""

RESULTS = ":(exclude)benchmarks/results"
"""Benchmark results are not source code: a new result must not make the checkout look changed."""


@dataclass(frozen=True)
class Revision:
    """The state of the source that runs.

    Args:
        commit: hexadecimal name of the commit; None where it is unknown, as for a release that was
            installed from a wheel.
        clean: whether the files, results of benchmarks aside, were exactly the commit's, with
            nothing changed and nothing added that git does not ignore; None where that is unknown.
    """

    commit: str | None
    clean: bool | None


UNKNOWN = Revision(None, None)


def revision(package: Path) -> Revision:
    """Return the commit of a package folder; it never raises.

    In a checkout, git names the commit. Otherwise it is the commit that the installer recorded
    (PEP 610, `pip install git+https://…`), which is clean by construction.

    Args:
        package: the folder that holds `safecompress/__init__.py`.
    """
    root = _checkout(package)
    if root is None:
        commit = _installed_commit(package)
        return UNKNOWN if commit is None else Revision(commit, True)
    commit = _hash(_git(root, "rev-parse", "HEAD"))
    if commit is None:
        return UNKNOWN
    changes = _git(root, "status", "--porcelain", "--untracked-files=normal", "--", ".", RESULTS)
    return Revision(commit, None if changes is None else not changes.strip())


def _checkout(package: Path) -> Path | None:
    """Return the root of SafeCompress's own repository, where the package is its source folder."""
    try:
        package = package.resolve()
        root = package.parents[1]
        if package.parent.name != "src" or not (root / ".git").exists():
            return None
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return root if project["name"] == "safecompress" else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git prints; None where it is missing, fails or takes too long."""
    # Git sets GIT_DIR and similar variables for its hooks; they would name another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    # Reading the state must not write: `git status` would refresh the index and could start the
    # file-system monitor that the user's settings name.
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false", *arguments]
    try:
        completed = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return completed.stdout if completed.returncode == 0 else None


def _installed_commit(package: Path) -> str | None:
    """Return the commit that an installer recorded beside the package, None where it did not."""
    try:
        for installed in distributions(name="safecompress", path=[str(package.parent)]):
            recorded = json.loads(installed.read_text("direct_url.json") or "{}")
            return _hash(recorded["vcs_info"]["commit_id"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def _hash(text: object) -> str | None:
    """Return the name of a commit, SHA-1 or SHA-256; None for any other text."""
    name = text.strip() if isinstance(text, str) else ""
    return name if re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", name) else None
