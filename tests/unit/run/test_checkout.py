"""Which commit the running code is: SafeCompress's own, or none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.run import checkout
from safecompress.run.checkout import UNKNOWN, Revision, revision

OURS = '[project]\nname = "safecompress"\n'
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *arguments],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def source(root: Path, *, under: str = "src", project: str = OURS) -> Path:
    """Return a package folder in a project."""
    package = root / under / "safecompress"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text(project)
    (root / ".gitignore").write_text("__pycache__/\n")
    return package


def committed(root: Path) -> str:
    """Make a repository of a folder, all its files committed; return the commit."""
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, str]:
    """A package folder in a clean checkout of SafeCompress, and its commit."""
    package = source(tmp_path / "checkout")
    return package, committed(tmp_path / "checkout")


@needs_git
def test_a_clean_checkout_has_its_commit(ours: tuple[Path, str]) -> None:
    package, commit = ours
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_text("ignored")
    assert revision(package) == Revision(commit, True)


@needs_git
def test_a_new_result_is_no_change_of_the_code(ours: tuple[Path, str]) -> None:
    package, commit = ours
    results = package.parents[1] / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "gate.jsonl").write_text("{}")
    assert revision(package) == Revision(commit, True)
    (results.parent / "gate.py").write_text("")
    assert revision(package) == Revision(commit, False)


@needs_git
@pytest.mark.parametrize("change", ["edited", "added", "removed", "staged"])
def test_a_checkout_with_a_change_is_not_clean(change: str, ours: tuple[Path, str]) -> None:
    package, commit = ours
    module = package / "__init__.py"
    if change == "removed":
        module.unlink()
    else:
        (package / "new.py" if change == "added" else module).write_text("x = 1\n")
    if change == "staged":
        git(package, "add", "-A")
    assert revision(package) == Revision(commit, False)


@needs_git
def test_a_worktree_of_the_checkout_has_its_own_commit(ours: tuple[Path, str]) -> None:
    package, first = ours
    root = package.parents[1]
    other = root.parent / "worktree"
    git(root, "worktree", "add", "-q", str(other), "-b", "side")
    (other / "src" / "safecompress" / "__init__.py").write_text("x = 1\n")
    git(other, "commit", "-qam", "side")
    found = revision(other / "src" / "safecompress")
    assert found == Revision(git(other, "rev-parse", "HEAD"), True)
    assert found.commit != first


@needs_git
@pytest.mark.parametrize("commits", [True, False])
def test_the_users_repository_around_site_packages_is_not_ours(
    commits: bool, tmp_path: Path
) -> None:
    package = source(tmp_path, under=".venv/lib/python3.12/site-packages", project=OURS)
    if commits:
        committed(tmp_path)
    else:
        git(tmp_path, "init", "-q")
    assert revision(package) == UNKNOWN


@needs_git
@pytest.mark.parametrize("project", ['[project]\nname = "theirs"\n', "", "[project", "project = 1"])
def test_another_project_that_holds_our_source_is_not_ours(project: str, tmp_path: Path) -> None:
    package = source(tmp_path, project=project)
    committed(tmp_path)
    assert revision(package) == UNKNOWN


@needs_git
def test_a_copy_of_our_source_in_the_users_repository_is_not_ours(tmp_path: Path) -> None:
    package = source(tmp_path / "vendor")
    committed(tmp_path)
    assert revision(package) == UNKNOWN


@needs_git
def test_a_repository_that_the_environment_names_is_not_asked(
    ours: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(tmp_path / "other")
    (tmp_path / "other" / "more").write_text("another commit")
    assert committed(tmp_path / "other") != ours[1]
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert revision(ours[0]) == Revision(ours[1], True)


@needs_git
def test_without_git_the_commit_is_unknown(
    ours: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert revision(ours[0]) == UNKNOWN


@needs_git
@pytest.mark.parametrize("damage", ["no commit", "not a repository", "no HEAD"])
def test_a_damaged_repository_has_no_commit(damage: str, tmp_path: Path) -> None:
    package = source(tmp_path)
    if damage == "not a repository":
        (tmp_path / ".git").write_text("gitdir: nowhere\n")
    else:
        git(tmp_path, "init", "-q")
        if damage == "no HEAD":
            (tmp_path / ".git" / "HEAD").unlink()
    assert revision(package) == UNKNOWN


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for git")
@pytest.mark.parametrize("slow", ["rev-parse", "status"])
def test_a_slow_git_is_not_waited_for(
    slow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = source(tmp_path / "checkout")
    (tmp_path / "checkout" / ".git").mkdir()
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    commit = "1" * 40
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *{slow}*) exec {shutil.which("sleep")} 60;; esac\necho {commit}\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    monkeypatch.setattr(checkout, "TIMEOUT", 0.5)
    started = time.perf_counter()
    found = revision(package)
    assert time.perf_counter() - started < 20
    assert found == (UNKNOWN if slow == "rev-parse" else Revision(commit, None))


def installed(site: Path, recorded: str | None) -> Path:
    """Return a package folder as an installer leaves it, with what it recorded of the origin."""
    metadata = site / "safecompress-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: safecompress\nVersion: 0.1.0\n"
    )
    if recorded is not None:
        (metadata / "direct_url.json").write_text(recorded)
    (site / "safecompress").mkdir()
    return site / "safecompress"


def test_an_installation_from_a_wheel_has_no_commit(tmp_path: Path) -> None:
    assert revision(installed(tmp_path, None)) == UNKNOWN


def test_an_installation_from_a_commit_has_that_commit(tmp_path: Path) -> None:
    recorded = {"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}
    package = installed(tmp_path, json.dumps(recorded))
    assert revision(package) == Revision("a" * 40, True)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["vcs_info", "commit_id", "url"]), inner, max_size=3)
    ),
)


@given(recorded=_JSON.map(json.dumps) | st.text(st.characters(codec="utf-8")))
def test_whatever_an_installer_recorded_nothing_else_is_taken_for_a_commit(
    recorded: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    package = installed(tmp_path_factory.mktemp("site"), recorded)
    assert revision(package) == UNKNOWN


def test_a_folder_that_is_not_there_has_no_commit(tmp_path: Path) -> None:
    assert revision(tmp_path / "src" / "safecompress") == UNKNOWN
    assert revision(Path("/")) == UNKNOWN
