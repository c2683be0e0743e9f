"""Documents as tests: README.md, CONTRIBUTING.md and docs/**/*.md must work as printed.

Python blocks run, all blocks of one document in one namespace and one empty working folder.
Console blocks do not run, but every `safecompress` and `make` command in them must parse: an
unknown verb, option or target fails. `<!-- skip: next -->` before a block leaves it out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parent.parent

_PUNCTUATION = set("|&;()<>")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


def commands(block: str) -> list[list[str]]:
    r"""Return the words of each command in a console block, without prompts and output.

    Lines that start with `$ ` are commands; a trailing backslash continues one, whatever else a
    block shows is output. A block without any prompt is all commands.

    >>> commands("$ A=1 safecompress demo | tee log\nPASS\n$ make \\\n  test")
    [['safecompress', 'demo'], ['tee', 'log'], ['make', 'test']]
    """
    lines = block.replace("\\\n", " ").splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    found: list[list[str]] = []
    for line in prompted or lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        redirected = False
        for word in [*lexer, ";"]:
            if not set(word) <= _PUNCTUATION:
                if not redirected:
                    words.append(word)
                redirected = False
                continue
            redirected = set(word) <= {"<", ">"}
            if redirected:
                continue
            while words and _ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words:
                found.append(words)
            words = []
    return found


def complaint(words: list[str]) -> str | None:
    """Return what is wrong with a documented command, or None.

    Only `safecompress` and `make` are known here; other commands pass.
    """
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        wanted = {word for word in arguments if re.fullmatch(r"[a-z]+", word)}
        unknown = sorted(wanted - targets)
        return f"Makefile has no target {', '.join(unknown)}" if unknown else None
    if program == "safecompress":
        return _refused(arguments)
    return None


def _refused(arguments: list[str]) -> str | None:
    """Ask the command line to parse `arguments` without running them."""
    from typer.testing import CliRunner

    from safecompress.cli import app

    # --help wins over everything except what cannot be parsed: unknown verbs and options.
    result = CliRunner().invoke(app, [*arguments, "--help"])
    return None if result.exit_code == 0 else f"exit code {result.exit_code}: {result.output}"


def _check_console(example: Example) -> str | None:
    problems = [
        f"{shlex.join(words)}\n{problem}"
        for words in commands(example.parsed)
        if (problem := complaint(words))
    ]
    return "\n".join(problems) or None


def _enter_empty_folder(namespace: dict[str, Any]) -> None:
    stack = contextlib.ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    stack.callback(os.chdir, Path.cwd())
    os.chdir(folder)
    namespace["_leave"] = stack.close


def _leave_folder(namespace: dict[str, Any]) -> None:
    namespace["_leave"]()


documents = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="console", evaluator=_check_console),
        SkipParser(),
    ],
    path=str(ROOT),
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/**/*.md"],
    setup=_enter_empty_folder,
    teardown=_leave_folder,
)
