"""Every command, option and argument of the command line says what it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from safecompress.cli import app
from safecompress.cli.verbs import VERBS, imported

COMMANDS = {
    "safecompress": typer.main.get_command(app),
    **{f"safecompress {verb}": imported(verb) for verb in VERBS},
}
PARAMETERS = {
    f"{path} {parameter.name}": parameter
    for path, command in COMMANDS.items()
    for parameter in command.params
}


def test_the_tree_holds_the_commands_and_their_options() -> None:
    assert {"safecompress audit", "safecompress compress"} <= COMMANDS.keys()
    assert {"safecompress audit targets", "safecompress audit max_auc"} <= PARAMETERS.keys()


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_shows_the_first_line_of_a_commands_help(verb: str) -> None:
    first = COMMANDS[f"safecompress {verb}"].help.split("\n\n")[0]
    assert " ".join(first.split()) == VERBS[verb][1]


@pytest.mark.parametrize(
    "words",
    ["--help", "--version", "init new.yaml", "list", "list attacks --json", "list models mlp"],
)
def test_a_command_without_a_model_imports_no_torch(words: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from safecompress_command import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_has_help(path: str) -> None:
    assert len(re.findall(r"\w+", COMMANDS[path].help or "")) >= 3


@pytest.mark.parametrize("path", PARAMETERS)
def test_a_parameter_has_help(path: str) -> None:
    words = re.findall(r"\w+", getattr(PARAMETERS[path], "help", None) or "")
    assert len(words) >= 3, f"{path}: '{' '.join(words)}' is no help"
    assert [word.lower() for word in words] != (PARAMETERS[path].name or "").split("_")
