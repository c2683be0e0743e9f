"""`train_teachers`: models that are each trained without some members, and their soft labels.

A model's output on a row that it was trained on depends on that row's label; its output on another
row does not. So the members are divided into folds, every teacher is trained without some folds,
and a member's soft label is the mean output of the teachers that were trained without it.

Reference: split-ensemble, Tang et al., "Mitigating Membership Inference Attacks by
Self-Distillation Through a Novel Ensemble Architecture", USENIX Security 2022, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from safecompress.attacks.metric import true_class_log_odds
from safecompress.compression.session import Session
from safecompress.config import TeachersConfig, TrainConfig
from safecompress.data import Splits, content_of_inputs
from safecompress.errors import DataError, RunFolderError
from safecompress.events import Event
from safecompress.files import read_tensors, tensors_digest, write_tensors
from safecompress.protocols import Pool, References, Rows
from safecompress.randomness import permutation
from safecompress.train import steps_per_epoch

FOLDER = "teachers"


def held_out(members: Rows, config: TeachersConfig, *, seed: int) -> Tensor:
    """Return which rows each teacher is trained without.

    Args:
        members: the rows to divide into folds; equal inputs always share a fold.
        config: number of folds, and how many of them each teacher leaves out.
        seed: the run's seed.

    Returns:
        Bool (folds, members); every row is left out by exactly `held_out` teachers.

    Raises:
        DataError: when there are fewer distinct rows than folds.
    """
    content = torch.from_numpy(content_of_inputs([members.inputs])[0])
    distinct, owner = torch.unique(content, return_inverse=True)
    if len(distinct) < config.folds:
        raise DataError(
            f"teachers.folds is {config.folds}, but the members have only {len(distinct)} distinct "
            "rows; make fewer folds."
        )
    return _left_out(permutation(len(distinct), seed, "teachers", "folds")[owner], config)


def _left_out(place: Tensor, config: TeachersConfig) -> Tensor:
    """Return which teachers leave out the rows at these places of the order, bool (folds, n)."""
    teachers = torch.arange(config.folds).unsqueeze(1)
    return (place % config.folds - teachers) % config.folds < config.held_out


def teachers_steps(members: int, config: TeachersConfig, train: TrainConfig) -> int:
    """Return approximately how many optimizer steps all teachers take together.

    Args:
        members: number of members.
        config: number of folds, and how many of them each teacher leaves out.
        train: how each teacher trains.
    """
    rows = members * (config.folds - config.held_out) // config.folds
    return config.folds * round(train.epochs * steps_per_epoch(rows, train))


@dataclass(frozen=True)
class TeacherOutputs:
    """The teachers' outputs on rows that they were not trained on.

    Args:
        labels: mean class probabilities, float32 (members, classes), in the order of the members.
        references: log-odds of each steering row by the same number of teachers, none of which was
            trained on it.
    """

    labels: Tensor
    references: Pool[References]


def train_teachers(session: Session) -> TeacherOutputs:
    """Train the teachers that have no file in the run folder yet, and read the outputs of all.

    Args:
        session: the run.

    Raises:
        NonFiniteError: when a teacher diverges.
        RunFolderError: when a file in the run folder is not what this run wrote.
    """
    config, splits = session.config.teachers, session.splits
    members, steer = splits.members, splits.steer
    unseen = held_out(members, config, seed=session.config.seed)
    paths = [session.folder.path / FOLDER / f"{k + 1}.safetensors" for k in range(config.folds)]
    if not all(path.exists() for path in paths):
        # Entering a stage drops the pieces of another one, so a run that was interrupted in a later
        # stage must not enter this one again.
        text = f"teachers: {config.folds}, each without its own share of the members"
        session.progress.enter("teachers", text)
    labels = torch.zeros(len(members), splits.classes)
    odds = torch.zeros(unseen.shape, dtype=torch.float64)
    nonmember_odds = torch.zeros(config.folds, len(steer.nonmembers), dtype=torch.float64)
    for number, (rows, path) in enumerate(zip(unseen, paths, strict=True)):
        if not path.exists():
            _train_teacher(session, number, rows, path)
        outputs = _read(path, splits, rows)
        labels[rows] += outputs["probabilities"]
        odds[number, rows] = outputs["log_odds"]
        nonmember_odds[number] = outputs["nonmembers"]
    place = {row: k for k, row in enumerate(members.ids.tolist())}
    steering = torch.tensor([place[row] for row in steer.members.ids.tolist()], dtype=torch.int64)
    # No teacher was trained on non-members. Only as many teachers are used as for a member, because
    # a different number would distinguish non-members from members.
    dealt = _left_out(torch.arange(len(steer.nonmembers)), config)
    references = Pool(
        _chosen(odds[:, steering], unseen[:, steering], config.held_out),
        _chosen(nonmember_odds, dealt, config.held_out),
    )
    return TeacherOutputs(labels / config.held_out, references)


def _chosen(odds: Tensor, chosen: Tensor, count: int) -> References:
    """Return the log-odds of each row by the `count` teachers chosen for it, (count, n)."""
    log_odds = odds.T[chosen.T].view(-1, count).T.contiguous()
    return References(log_odds, torch.zeros(log_odds.shape, dtype=torch.bool))


def _train_teacher(session: Session, number: int, unseen: Tensor, path: Path) -> None:
    """Train one teacher on the rows of its folds and write its outputs on the other rows."""
    members, progress = session.splits.members, session.progress
    trainer = session.trainers.teacher(number, members.take(torch.nonzero(~unseen).squeeze(1)))
    # Each teacher starts from other weights: their errors then differ, so that the mean of their
    # outputs is a better label.
    start = trainer.start(weights=session.fresh(number))
    key = f"teacher {number + 1}"
    done = progress.train_to(key, start, trainer.total_steps, trainer=trainer)
    rows = members.take(torch.nonzero(unseen).squeeze(1))
    outputs, others = (trainer.outputs(done, r) for r in (rows, session.splits.steer.nonmembers))
    probabilities = outputs.logits.softmax(1)
    path.parent.mkdir(exist_ok=True)
    write_tensors(
        path,
        {
            "ids": rows.ids,
            "probabilities": probabilities,
            "log_odds": outputs.per_row(true_class_log_odds),
            "nonmember_ids": others.ids,
            "nonmembers": others.per_row(true_class_log_odds),
        },
    )
    progress.pieces.pop(key, None)
    progress.commit()
    accuracy = float((probabilities.argmax(1) == rows.labels).double().mean())
    session.listen(Event("note", f"  {key}: accuracy {accuracy:.3f} on rows it never saw", {}))


def _read(path: Path, splits: Splits, unseen: Tensor) -> Mapping[str, Tensor]:
    try:
        stored = read_tensors(path)
    except DataError as error:
        raise RunFolderError(f"{error} Delete it, and the teacher is trained again.") from error
    rows, others = splits.members.ids[unseen], splits.steer.nonmembers.ids
    shapes = {
        "ids": (len(rows),),
        "probabilities": (len(rows), splits.classes),
        "log_odds": (len(rows),),
        "nonmember_ids": (len(others),),
        "nonmembers": (len(others),),
    }
    fits = all(name in stored and stored[name].shape == shape for name, shape in shapes.items())
    if not (
        fits and torch.equal(stored["ids"], rows) and torch.equal(stored["nonmember_ids"], others)
    ):
        raise RunFolderError(
            f"{path}: not this run's (digest {tensors_digest(stored)[:12]}); delete it, and the "
            "teacher is trained again."
        )
    return stored
