"""`Revision` and `revision`: which commit of SafeCompress the running code is, where that is known.

A commit is only ever SafeCompress's own. A package that was installed into an environment often
lies inside a repository all the same, the user's own project, whose commit says nothing about
SafeCompress and is not ours to write down.
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
"""Seconds that one call of git may take before its answer counts as unknown."""

RESULTS = ":(exclude)benchmarks/results"
"""Results are no source: a collected cell must not make the next one look like changed code."""


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

    A checkout is asked through git. Otherwise the commit is the one that the installer recorded
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
    # GIT_DIR and its kind, which git sets for its hooks, would name another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    # Looking must not write: neither the index nor through a monitor that the settings name.
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
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
    return done.stdout if done.returncode == 0 else None


def _installed_commit(package: Path) -> str | None:
    """Return the commit that an installer recorded beside the package, None where it did not."""
    try:
        for found in distributions(name="safecompress", path=[str(package.parent)]):
            recorded = json.loads(found.read_text("direct_url.json") or "{}")
            return _hash(recorded["vcs_info"]["commit_id"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def _hash(text: object) -> str | None:
    """Return the name of a commit, SHA-1 or SHA-256; None for any other text."""
    name = text.strip() if isinstance(text, str) else ""
    return name if re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", name) else None
