"""Does every format's file answer where neither torch nor this library is, by its card's lines?

    python scripts/run_formats.py write FOLDER [--format NAME ...]
    PYTHON scripts/run_formats.py run FOLDER [--docs docs/export.md]

`write` trains a small network on handwritten digits and writes it in every format whose packages
are installed. `run` needs numpy and the runtimes, and may be another environment's Python: it runs
the lines that a file's model card says how to use it with, where any import of torch, of this
library or of onnx fails, and compares the answers with the network's own. What has no runtime there
is named and left out. `--docs` also runs the program for LiteRT that the document shows.

`safetensors` files hold weights alone; `run` computes the network of them with numpy, and looks for
`safecompress_reader.py` in FOLDER, where `write` copies it. ExecuTorch's Python package imports
torch itself, so `run` leaves its files out; its runtime for devices does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 50
FORBIDDEN = ("torch", "safecompress", "onnx")
SAME_CLASS = 0.95
"""Least share of rows that a rounded file may give the class of the network."""


def main() -> None:
    """Write the files, or run them and exit with 1 where one answers otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("write", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--format", action="append", dest="formats")
    parser.add_argument("--docs", type=Path)
    chosen = parser.parse_args()
    if chosen.what == "write":
        for name, said in write(chosen.folder, chosen.formats).items():
            sys.stdout.write(f"{name}: {said}\n")
        return
    found = run(chosen.folder, chosen.docs)
    for name, said in found.items():
        sys.stdout.write(f"{name}: {said}\n")
    ran = [said for said in found.values() if not said.startswith("left out")]
    sys.exit(0 if ran and all(said.startswith("answers") for said in ran) else 1)


def write(folder: Path, formats: list[str] | None = None) -> dict[str, str]:
    """Write files of a small network, and what `run` needs to know of them.

    Args:
        folder: for the files.
        formats: their names; None takes all.

    Returns:
        By format, `written` or the reason why not.
    """
    import torch
    from sklearn.datasets import load_digits

    import safecompress_reader
    from safecompress import export_module
    from safecompress.errors import SafeCompressError
    from safecompress.export import FORMATS

    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    rows = torch.tensor(digits.data / 16 - 0.3, dtype=torch.float32)
    module, topology = trained(rows, torch.tensor(digits.target))
    found, usages = {}, {}
    for name in formats or FORMATS.parts:
        form = FORMATS.build(name, where="run_formats")
        file = f"{name}{form.suffixes[0]}"
        try:
            export_module(module, topology, folder / file, members=rows[:200], format=name)
            found[name] = "written"
            usages[name] = {"file": file, "usage": form.usage, "exact": form.exact}
        except SafeCompressError as error:
            found[name] = f"not written: {error}"
    with torch.no_grad():
        np.savez(folder / "rows.npz", rows=rows[-ROWS:], logits=module(rows[-ROWS:]))
    (folder / "usages.json").write_text(json.dumps(usages))
    reader = Path(str(safecompress_reader.__file__))
    (folder / "safecompress_reader.py").write_bytes(reader.read_bytes())
    return found


def trained(rows: Any, labels: Any) -> tuple[Any, Any]:
    """Return a network of one hidden layer with half of its weights, and its topology."""
    import torch
    from torch import nn

    from safecompress.topology import Topology

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    topology = Topology.dense(module)
    topology.masks["0.weight"][torch.rand(32, 64) < 0.5] = False
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(100):
        topology.apply_(module)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(rows), labels).backward()
        optimizer.step()
    topology.apply_(module)
    return module.eval(), topology


def run(folder: Path, docs: Path | None = None) -> dict[str, str]:
    """Run the files of a folder by the lines on their cards.

    Args:
        folder: that `write` made.
        docs: a Markdown document whose program for LiteRT is run, too.

    Returns:
        By format, `answers` with how well, `left out` with the missing package, or the fault.
    """
    for name in FORBIDDEN:
        sys.modules[name] = None  # type: ignore[assignment] # any import of it fails
    sys.path.insert(0, str(folder.resolve()))
    held = np.load(folder / "rows.npz")
    programs = json.loads((folder / "usages.json").read_text())
    found = {}
    for name, told in programs.items():
        code = told["usage"].replace("{file}", json.dumps(str(folder / told["file"])))
        found[name] = outcome(code, held, exact=told["exact"])
    if docs is not None and "litert" in programs:
        code = (
            docs.read_text().partition("## LiteRT")[2].partition("```py\n")[2].partition("```")[0]
        )
        code = code.replace("print(", "answers.append(")
        file = json.dumps(str(folder / programs["litert"]["file"]))
        found[f"{docs}, LiteRT"] = outcome(
            code.replace('"demo.tflite"', file), held, exact=True, whole=True
        )
    return found


def outcome(code: str, held: Any, *, exact: bool, whole: bool = False) -> str:
    """Run the lines of a card and say how their answers compare with the network's."""
    try:
        said = answers(code, held["rows"], whole=whole)
    except ImportError as error:
        return f"left out, {error}"
    except Exception as error:
        return f"fails, {type(error).__name__}: {error}"
    off = float(np.abs(said - held["logits"]).max() / np.abs(held["logits"]).max())
    same = float((said.argmax(1) == held["logits"].argmax(1)).mean())
    well = off <= 1e-4 if exact else same >= SAME_CLASS
    figures = f"{len(said)} rows, {same:.0%} of the same class, {off:.1e} off"
    return f"{'answers' if well else 'differs'}, {figures}"


def answers(code: str, rows: Any, *, whole: bool) -> Any:
    """Return the logits that some lines compute of all rows, or of one row at a time."""
    if whole:
        names: dict[str, Any] = {"rows": rows, "answers": []}
        exec(code, names)  # noqa: S102 - lines of our own cards and documents
        return np.concatenate(names["answers"])
    if "set_tensor" in code:
        return np.concatenate([named(code, row=row[None])["logits"] for row in rows])
    names = named(code, rows=rows)
    if "found" not in names:
        return np.asarray(names["logits"])
    weights = names["found"].weights
    hidden = np.maximum(rows @ weights["0.weight"].T + weights["0.bias"], 0)
    return hidden @ weights["2.weight"].T + weights["2.bias"]


def named(code: str, **given: Any) -> dict[str, Any]:
    """Return the names that some lines leave behind."""
    exec(code, given)  # noqa: S102 - likewise
    return given


if __name__ == "__main__":
    main()
