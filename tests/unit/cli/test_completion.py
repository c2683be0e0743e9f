"""What a shell completes: names of parts, settings and run folders, without importing torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from safecompress.attacks import ATTACKS
from safecompress.cli.completion import VALUES, completions, light
from safecompress.cli.kinds import KINDS
from safecompress.cli.verbs import VERBS, imported
from safecompress.config import PRESETS
from safecompress.export import FORMATS
from tests.plugins import install

PROGRAM = """
import os, sys
for line in sys.stdin.read().splitlines():
    os.environ["COMP_WORDS"] = line
    os.environ["COMP_CWORD"] = str(len(line.split(" ")) - 1)
    sys.argv = ["safecompress"]
    from safecompress_command import main
    try:
        main()
    except SystemExit:
        pass
    print("--")
heavy = {"torch", "numpy", "scipy", "lightning_fabric"} & set(sys.modules)
print(sorted(heavy))
"""


def completed(*lines: str, cwd: Path, path: str = "") -> list[list[str]]:
    """Return what bash would be offered for each line, by the protocol of its completion."""
    joined = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"_SAFECOMPRESS_COMPLETE": "complete_bash", "PYTHONPATH": joined},
    )
    assert done.returncode == 0, done.stderr
    *offers, modules = done.stdout.split("--\n")
    assert modules.strip() == "[]", "a shell must not wait for these"
    return [offer.split() for offer in offers]


def test_names_settings_and_folders_are_completed_without_heavy_modules(tmp_path: Path) -> None:
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "config.yaml").touch()
    (tmp_path / "model.onnx").touch()
    install(
        tmp_path,
        "others-attacks",
        points={"other-attack": "others_attacks:Other"},
        code="raise AssertionError('imported')",
        group="safecompress.attacks",
    )
    lines = {
        "safecompress comp": ["compare", "compress"],
        "safecompress audit --attack ": [*ATTACKS.parts, "other-attack"],
        "safecompress audit --attack rm": [n for n in ATTACKS.parts if n.startswith("rm")],
        "safecompress compress --preset ": list(PRESETS),
        "safecompress compress --track ten": ["tensorboard"],
        "safecompress export runs/demo --format onnx": [
            n for n in FORMATS.parts if n.startswith("onnx")
        ],
        "safecompress list ": list(KINDS),
        "safecompress list proposals ": list(KINDS["proposals"].parts),
        "safecompress compress --set sparse.dens": ["sparse.density="],
        "safecompress compress --set model.name=m": [
            f"model.name={n}" for n in KINDS["models"].parts if n.startswith("m")
        ],
        "safecompress compress --resume ru": ["runs/demo", "runs/"],
        "safecompress audit m": ["model.onnx"],
    }
    offers = completed(*lines, cwd=tmp_path, path=str(tmp_path))
    for (line, expected), offered in zip(lines.items(), offers, strict=True):
        assert sorted(offered) == sorted(expected), line


@pytest.mark.parametrize("verb", VERBS)
def test_the_light_command_takes_what_the_verb_takes(verb: str) -> None:
    real = {p.name: (p.opts, p.nargs) for p in imported(verb).params}
    assert {p.name: (p.opts, p.nargs) for p in light(verb).params} == real


def test_every_completed_parameter_exists_and_has_names() -> None:
    document = completions()
    for (verb, parameter), values in VALUES.items():
        assert parameter in {given["name"] for given in document["verbs"][verb]}
        assert values in {"runs", "parts"} or document["values"][values]
