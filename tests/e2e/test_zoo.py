"""Every kind of module goes through a run, is loaded and answers alike, or is refused before it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from safecompress import Splits, compress, load, splits_from_arrays
from safecompress.compress import Run
from safecompress.errors import NonFiniteError, UsageError
from safecompress.events import Event
from safecompress.run.folder import MODEL
from safecompress.run.model_file import read_model
from tests.zoo import ZOO, Kind
from tests.zoo_modules import CLASSES, FEATURES, LENGTH, SIZE, WORDS

TRAIN = {"epochs": 1, "lr": 0.01, "batch_size": 40, "precision": "32-true"}
CONFIG = {
    "dense": {**TRAIN, "epochs": 0.5},
    "sparse": {"density": 0.4, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl", "set"], "attacks": ["loss"]},
    "baselines": [],
    "verdict": {
        "checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]
    },
}


@cache
def splits_of(kind: str, *, given: bool = False, n: int = 240) -> Splits:
    draw = torch.Generator().manual_seed(0)
    x = {
        "vectors": torch.randn(n, FEATURES, generator=draw),
        "images": torch.randn(n, 1, SIZE, SIZE, generator=draw),
        "tokens": torch.randint(0, WORDS, (n, LENGTH), generator=draw),
    }[kind]
    y = x.flatten(1)[:, :CLASSES].argmax(dim=1)
    return splits_from_arrays(
        x,
        y,
        preprocessing={"features": "none"},
        split={"membership": "unseen"} if given else {},
        weights_given=given,
        seed=0,
    )


@pytest.mark.parametrize("kind", ZOO, ids=lambda kind: kind.name)
def test_it_is_compressed_loaded_and_asked_or_refused_with_one_message(
    kind: Kind, tmp_path: Path
) -> None:
    told: list[Event] = []

    def run() -> Run:
        config = CONFIG | ({"dense": None} if kind.given else {})
        return compress(
            kind.make() if kind.given else kind.make,
            splits_of(kind.rows, given=kind.given),
            config=config,
            out=tmp_path / "r",
            on_event=told.append,
        )

    torch.manual_seed(0)
    if kind.refusal:
        with pytest.raises(UsageError) as caught:
            run()
        assert re.search(kind.refusal, str(caught.value)), str(caught.value)
        assert not (tmp_path / "r").exists()
        return
    done = run()
    notes = [event.text for event in told if event.kind == "note"]
    if kind.remark:
        assert any(re.search(kind.remark, text) for text in notes), notes
    stored = read_model(tmp_path / "r" / MODEL)
    for name, mask in stored.topology.masks.items():
        assert not stored.weights[name].masked_fill(mask, 0.0).any(), name
        assert mask.any(), name
    share = stored.topology.nonzeros / stored.topology.total
    assert share == pytest.approx(0.4, abs=0.5 / stored.topology.total)
    rows = done.splits.steer.members.inputs
    loaded = load(tmp_path / "r", model=kind.make)
    with torch.inference_mode():
        # Images may be in another memory format, in which sums are taken in another order.
        assert torch.allclose(loaded(rows), done.model(rows), rtol=0, atol=1e-6)


def test_the_table_of_kinds_is_that_of_the_zoo() -> None:
    lines = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8").splitlines()
    begin = lines.index("| kind | what becomes of it |") + 2
    table = [line.strip("| ").split(" | ") for line in lines[begin:] if line.startswith("|")]
    assert [name for name, _ in table] == [kind.name for kind in ZOO]
    for (name, outcome), kind in zip(table, ZOO, strict=True):
        assert outcome.startswith("refused: " if kind.refusal else "works"), name


def test_where_every_candidate_diverges_the_run_ends_with_the_reason(tmp_path: Path) -> None:
    train = TRAIN | {"lr": 1e9, "epochs": 2, "batch_size": 8}
    config = CONFIG | {"sparse": {"density": 0.4, "rounds": 2, "train": train}}
    with pytest.raises(NonFiniteError, match=r"NaN or infinite at step \d+; lower"):
        compress(ZOO[0].make, splits_of("vectors"), config=config, out=tmp_path / "r")
