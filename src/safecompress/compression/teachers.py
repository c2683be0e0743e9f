"""`train_teachers`: models that are each trained without some members, and their soft labels.

A model's output on a row that it was trained on depends on that row's label; its output on another
row does not. So the members are divided into folds, every teacher is trained without some folds,
and a member's soft label is the mean output of the teachers that were trained without it.

Reference: split-ensemble, Tang et al., "Mitigating Membership Inference Attacks by
Self-Distillation Through a Novel Ensemble Architecture", USENIX Security 2022, section 4.1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from safecompress.attacks.metric import true_class_log_odds
from safecompress.candidate import Candidate
from safecompress.compression.jobs import training_steps
from safecompress.compression.progress import Piece
from safecompress.compression.session import Session
from safecompress.compression.teacher_choice import (
    RECORD,
    best_accuracy,
    chosen_setting,
    members_of,
    teacher_model,
)
from safecompress.compression.teacher_folds import held_out, left_out
from safecompress.compression.teacher_outputs import TeacherOutputs
from safecompress.compression.teacher_settings import TeacherSetting, Trial
from safecompress.compression.transfer_rows import TransferRows
from safecompress.config import TeachersConfig, TrainConfig
from safecompress.data import Splits
from safecompress.errors import DataError, NonFiniteError, RunFolderError
from safecompress.events import Event
from safecompress.files import read_tensors, tensors_digest, write_tensors
from safecompress.protocols import Pool, References
from safecompress.train import Trainer

FOLDER = "teachers"


def teachers_steps(members: int, config: TeachersConfig, train: TrainConfig) -> int:
    """Return how many optimizer steps all teachers take together, at most and approximately.

    Args:
        members: number of members.
        config: number of folds, and how many of them each teacher leaves out.
        train: how each teacher trains.
    """
    rows = members * (config.folds - config.held_out) // config.folds
    first = TeacherSetting.of(config)
    own = training_steps(first.train(train, members=members, rows=rows), rows=rows)
    if config.choose is None:
        return config.folds * own
    longest = round(own * max(config.choose.steps) / first.steps) if first.steps else own
    return (config.folds - 1 + config.choose.most_trainings) * longest


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
    whole = all(path.exists() for path in paths)
    if not whole:
        # Entering a stage drops the pieces of another one, so a run that was interrupted in a later
        # stage must not enter this one again.
        text = f"teachers: {config.folds}, each without its own share of the members"
        session.progress.enter("teachers", text)
    labels = torch.zeros(len(members), splits.classes)
    odds = torch.zeros(unseen.shape, dtype=torch.float64)
    nonmember_odds = torch.zeros(config.folds, len(steer.nonmembers), dtype=torch.float64)
    # The choice leaves the first teacher's file before it ends, so that file tells no setting.
    setting = None if whole else _setting(session, unseen[0], paths[0])
    if setting is not None:
        missing = {k: path for k, path in enumerate(paths) if not path.exists()}
        _train_missing(session, missing, unseen, setting)
    transfer = TransferRows.of(session.config, splits)
    answers: list[Mapping[str, Tensor]] = []
    for number, (rows, path) in enumerate(zip(unseen, paths, strict=True)):
        outputs = _read(path, splits, rows, transfer)
        labels[rows] += outputs["probabilities"]
        odds[number, rows] = outputs["log_odds"]
        nonmember_odds[number] = outputs["nonmembers"]
        answers.append(outputs)
    place = {row: k for k, row in enumerate(members.ids.tolist())}
    steering = torch.tensor([place[row] for row in steer.members.ids.tolist()], dtype=torch.int64)
    # No teacher was trained on non-members. Only as many teachers are used as for a member, because
    # a different number would distinguish non-members from members.
    dealt = left_out(torch.arange(len(steer.nonmembers)), config)
    references = Pool(
        _chosen(odds[:, steering], unseen[:, steering], config.held_out),
        _chosen(nonmember_odds, dealt, config.held_out),
    )
    asked = config.transfer_set
    made = None
    if transfer is not None and asked is not None:
        made = transfer.labeled(answers, unseen, share=asked.share)
    return TeacherOutputs(labels / config.held_out, references, made)


def _chosen(odds: Tensor, chosen: Tensor, count: int) -> References:
    """Return the log-odds of each row by the `count` teachers chosen for it, (count, n)."""
    log_odds = odds.T[chosen.T].view(-1, count).T.contiguous()
    return References(log_odds, torch.zeros(log_odds.shape, dtype=torch.bool))


@dataclass(frozen=True)
class _Taught:
    """What a trained teacher says.

    Args:
        tensors: its outputs on rows that it never saw, as its file holds them.
        accuracy: share of the members it never saw that it classifies correctly.
        steps: optimizer steps that its training took.
    """

    tensors: Mapping[str, Tensor]
    accuracy: float
    steps: int


def _train_missing(
    session: Session, missing: Mapping[int, Path], unseen: Tensor, setting: TeacherSetting
) -> None:
    """Train teachers, side by side where they are small, and write what each says.

    Args:
        session: the run.
        missing: the files of the teachers, by number.
        unseen: bool (folds, members), the members that each teacher never sees.
        setting: how they train.
    """
    own = teacher_model(session.config, session.splits, setting)
    module = session.module if own is None else own[0]
    for group in session.trainers.teachers_at_once(list(missing), module):
        pieces = {
            k: _piece(session, k, unseen[k], setting=setting, beside=len(group) > 1) for k in group
        }
        done = session.progress.train_all({_key(k): piece for k, piece in pieces.items()})
        for k, piece in pieces.items():
            taught = _asked(session, piece.trainer, done[_key(k)], unseen[k])
            session.progress.pieces.pop(_key(k), None)
            _write(session, missing[k], taught)
            _tell(session, _key(k), taught)


def _key(number: int) -> str:
    return f"teacher {number + 1}"


def _piece(
    session: Session, number: int, unseen: Tensor, *, setting: TeacherSetting, beside: bool
) -> Piece:
    """Return the training of one teacher on the rows of its folds.

    Args:
        session: the run.
        number: the teacher, from 0.
        unseen: bool (members,), the members that it never sees.
        setting: how it trains.
        beside: whether others are trained beside it, so that it needs a module of its own.
    """
    seen, _ = members_of(unseen, session.splits.members)
    own = teacher_model(session.config, session.splits, setting)
    module, fresh = (session.module, session.fresh) if own is None else own
    if beside and own is None:
        module = copy.deepcopy(module)
    trainer = session.trainers.teacher(number, seen, module=module, setting=setting)
    # Each teacher starts from other weights: their errors then differ, so that the mean of their
    # outputs is a better label.
    return Piece(trainer, trainer.start(weights=fresh(number)), trainer.total_steps)


def _asked(session: Session, trainer: Trainer, done: Candidate, unseen: Tensor) -> _Taught:
    """Ask a trained teacher about the rows that it was not trained on."""
    _, rows = members_of(unseen, session.splits.members)
    outputs, others = (trainer.outputs(done, r) for r in (rows, session.splits.steer.nonmembers))
    probabilities = outputs.logits.softmax(1)
    accuracy = float((probabilities.argmax(1) == rows.labels).double().mean())
    tensors = {
        "ids": rows.ids,
        "probabilities": probabilities,
        "log_odds": outputs.per_row(true_class_log_odds),
        "nonmember_ids": others.ids,
        "nonmembers": others.per_row(true_class_log_odds),
    }
    transfer = TransferRows.of(session.config, session.splits)
    if transfer is not None:
        asked = {"crossovers": transfer.crossovers.take(transfer.unseen(unseen))}
        asked["reference"] = transfer.reference
        for name, group in asked.items():
            logits = trainer.outputs(done, group).logits if len(group) else outputs.logits[:0]
            tensors[name] = logits.softmax(1)
    return _Taught(tensors, accuracy, trainer.total_steps)


def _write(session: Session, path: Path, taught: _Taught) -> None:
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, taught.tensors)
    session.progress.commit()


def _tell(session: Session, key: str, taught: _Taught) -> None:
    text = f"  {key}: accuracy {taught.accuracy:.3f} on rows it never saw"
    session.listen(Event("note", text, {}))


def _setting(session: Session, unseen: Tensor, path: Path) -> TeacherSetting:
    """Return how all teachers train; a choice leaves the best trial's outputs as teacher 1's.

    Args:
        session: the run.
        unseen: bool (members,), the members that teacher 1 never sees.
        path: the file of teacher 1.
    """
    record = path.with_name(RECORD)

    def attempt(setting: TeacherSetting) -> Trial:
        key = f"teacher 1 ({setting.words()})"
        try:
            piece = _piece(session, 0, unseen, setting=setting, beside=False)
            done = session.progress.train_all({key: piece})[key]
            taught = _asked(session, piece.trainer, done, unseen)
            session.progress.pieces.pop(key, None)
        except NonFiniteError as error:
            session.progress.pieces.pop(key, None)
            session.listen(Event("note", f"  {key}: diverged, so it is not taken ({error})", {}))
            path.parent.mkdir(exist_ok=True)
            return Trial(setting, None, 0)
        if taught.accuracy > best_accuracy(record):
            _write(session, path, taught)
        _tell(session, key, taught)
        return Trial(setting, taught.accuracy, taught.steps)

    setting = chosen_setting(record, attempt, session.config, session.splits)
    if session.config.teachers.choose is not None:
        session.listen(Event("note", f"  teachers train with {setting.words()}", {}))
    return setting


def _read(
    path: Path, splits: Splits, unseen: Tensor, transfer: TransferRows | None
) -> Mapping[str, Tensor]:
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
    if transfer is not None:
        shapes["crossovers"] = (int(transfer.unseen(unseen).sum()), splits.classes)
        shapes["reference"] = (len(transfer.reference), splits.classes)
    fits = all(name in stored and stored[name].shape == shape for name, shape in shapes.items())
    if not (
        fits and torch.equal(stored["ids"], rows) and torch.equal(stored["nonmember_ids"], others)
    ):
        raise RunFolderError(
            f"{path}: not this run's (digest {tensors_digest(stored)[:12]}); delete it, and the "
            "teacher is trained again."
        )
    return stored
