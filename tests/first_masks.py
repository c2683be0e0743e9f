"""Small sessions that begin with a first mask, and a first mask of somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from safecompress import load_config
from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.compression.pipeline import take_up
from safecompress.compression.prepare import prepare
from safecompress.compression.session import Session
from safecompress.compression.start import start_candidate
from safecompress.compression.teacher_outputs import TeacherOutputs
from safecompress.config import dump_yaml
from safecompress.events import silent
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart, Pool, References
from safecompress.run.folder import RunFolder
from safecompress.run.model_file import StoredModel
from safecompress.topology import Topology, maskable_parameters
from tests.small_runs import SETTINGS, make_model, splits

NAMES = sorted(FIRST_MASKS.parts)
SPARSE = SETTINGS["sparse"] | {"admm": {"rounds": 2}, "gradual": {"cuts": 2}}


def begun(folder: Path, **changes: Any) -> Session:
    config = load_config(SETTINGS | {"sparse": SPARSE, "baselines": []} | changes)
    prepared = prepare(config, make_model, splits())
    return take_up(prepared, RunFolder.create(folder, dump_yaml(config)), silent)


def stored(session: Session, seed: int) -> StoredModel:
    """Return a model of other weights."""
    draw = torch.Generator().manual_seed(seed)
    weights = {n: torch.randn(t.shape, generator=draw) for n, t in session.initial.items()}
    return StoredModel(weights, Topology.dense(session.module), {})


def begins(session: Session, mask: FirstMask) -> Any:
    trainer = session.trainers.plain()
    if mask.needs_soft_labels:
        said = torch.rand(len(session.splits.members), session.splits.classes).softmax(1)
        nothing = References(
            torch.empty(1, 0, dtype=torch.float64), torch.empty(1, 0, dtype=torch.bool)
        )
        taught = TeacherOutputs(said, Pool(nothing, nothing))
        trainer = session.trainers.search(None, taught=taught)
    return start_candidate(
        session,
        mask,
        trainer=trainer,
        dense=stored(session, 1),
        student=stored(session, 2),
    )


@dataclass(frozen=True)
class Striped(FirstMask):
    """Every second weight of each layer, as they were.

    Args:
        first: place of the first weight that exists, 0 or 1.
    """

    first: int = 0

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        masks = {}
        for name, parameter in maskable_parameters(context.module).items():
            flat = torch.zeros(parameter.numel(), dtype=torch.bool)
            flat[self.first :: 2] = True
            masks[name] = flat.view(parameter.shape)
        return FirstMaskStart(context.untrained, Topology(masks))
