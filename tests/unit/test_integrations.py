"""The GitHub Action, the container and the pre-commit hook: what can be tried without a network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT, complaint
from tests.recorded_outputs import arrays, saved

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
INSTRUCTIONS = [line.split(maxsplit=1) for line in re.findall(r"^[A-Z]+ .*$", DOCKERFILE, re.M)]
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
AUDIT = next(step for step in STEPS if step.get("id") == "audit")
BASH = shutil.which("bash")


def given(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def test_no_input_of_the_action_is_part_of_a_command() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")
        for value in step.get("env", {}).values():
            named = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value)
            assert named is not None
            assert named[1] in ACTION["inputs"]
    assert all(entry["description"] for entry in ACTION["inputs"].values())


@pytest.fixture
def where(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a runner, with this source's command first on the path."""
    script = tmp_path / "bin" / "safecompress"
    script.parent.mkdir()
    start = "from safecompress_command import main; main()"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{start}" "$@"\n')
    script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "OUT": "results",
    }


@pytest.mark.skipif(BASH is None, reason="needs bash, as the action's steps do")
@pytest.mark.parametrize(
    ("leak", "words", "code"),
    [(3.0, "", 1), (3.0, "--no-such-option", 2), (0.0, "--max-auc 0.7  --time-budget 5m", 0)],
)
def test_the_action_audits_and_ends_as_the_audit_does(
    leak: float, words: str, code: int, where: dict[str, str], tmp_path: Path
) -> None:
    target = saved(tmp_path, arrays(3000 if leak == 0 else 300, leak=leak))
    variables = where | {"TARGET": str(target), "ARGUMENTS": words}
    command = [str(BASH), "--noprofile", "--norc", "-eo", "pipefail", "-c", AUDIT["run"]]
    done = subprocess.run(
        command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    outputs = dict(line.split("=", 1) for line in Path(where["GITHUB_OUTPUT"]).read_text().split())
    assert set(outputs) == set(ACTION["outputs"])
    if code == 2:
        return
    assert json.loads((tmp_path / outputs["verdict"]).read_text())["kind"] == "audit"
    assert json.loads((tmp_path / outputs["sarif"]).read_text())["version"] == "2.1.0"
    status = "FAIL" if code else "PASS"
    assert Path(where["GITHUB_STEP_SUMMARY"]).read_text().startswith(f"### {status}: ")


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_is_a_command_that_the_command_line_knows(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    words = [*shlex.split(hook["entry"]), *hook.get("args", [])]
    assert words[0] == "safecompress"
    assert not complaint(words)
    assert complaint([*words, "--no-such-option"])
    # An audit takes one target, and pre-commit would pass every changed file.
    assert hook["pass_filenames"] is False
    assert re.search(hook["files"], hook["args"][0])


def test_the_container_copies_what_is_there_and_runs_no_root() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for copied in given("COPY"):
        for source in copied.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    (image,) = given("FROM")
    assert re.fullmatch(r"python:\d\.\d+-slim", image)
    assert given("USER") == ["auditor"]
    assert given("WORKDIR")[-1] == "/work"
    order = [name for name, _ in INSTRUCTIONS]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name == "RUN")


def test_the_container_starts_the_command_line() -> None:
    (entry,), (words,) = given("ENTRYPOINT"), given("CMD")
    assert not complaint([*json.loads(entry), *json.loads(words)])


def test_the_container_installs_the_package_with_an_extra_that_it_has() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = dict(argument.split("=", 1) for argument in given("ARG"))
    assert named["EXTRAS"] in extras
    assert any('".[$EXTRAS]"' in run for run in given("RUN"))
