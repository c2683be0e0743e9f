"""`train_judges`: models that label nothing, by which the loop judges candidates.

A candidate learns from its teachers, so it is close to them on its members, and what they say of a
row is no measure of how hard the row is. Judges are trained as the teachers are, on another deal of
the members, and no candidate learns from them. Of every row only judges that never saw it are
asked, for all rows the same number of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from safecompress.attacks.metric import Terms
from safecompress.compression.session import Session
from safecompress.compression.teacher_folds import held_out
from safecompress.compression.teacher_settings import TeacherSetting
from safecompress.compression.teachers import FOLDER, teachers_steps
from safecompress.config import TeachersConfig, TrainConfig
from safecompress.errors import DataError, RunFolderError
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import Judges, Outputs, Pool, References, Rows
from safecompress.randomness import derive


def _dealt(config: TeachersConfig) -> TeachersConfig:
    """Return the judges' own folds: as many as judges, of which each leaves out half."""
    folds = {"folds": config.judges, "held_out": config.judges // 2}
    return config.model_copy(update=folds)


def judges_steps(members: int, config: TeachersConfig, train: TrainConfig) -> int:
    """Return approximately how many optimizer steps all judges take together.

    Args:
        members: number of members.
        config: the section of the teachers, with at least two judges.
        train: how each judge trains.
    """
    return teachers_steps(members, _dealt(config), train)


def train_judges(session: Session) -> Pool[Judges]:
    """Train the judges that have no file yet, and ask all of them about the steering rows.

    Args:
        session: the run, whose configuration has at least two judges.

    Returns:
        For the steering members and non-members, what half of the judges say of each row.

    Raises:
        NonFiniteError: when a judge diverges.
        RunFolderError: when a file in the run folder is not what this run wrote.
    """
    dealt, members = _dealt(session.config.teachers), session.splits.members
    unseen = held_out(members, dealt, seed=derive(session.config.seed, "judges"))
    names = [f"judge-{k + 1}-of-{dealt.folds}" for k in range(dealt.folds)]
    paths = [session.folder.path / FOLDER / f"{name}.safetensors" for name in names]
    if not all(path.exists() for path in paths):
        text = f"judges: {dealt.folds}, each without half of the members, that label nothing"
        session.progress.enter("judges", text)
    steer = session.splits.steer
    asked = []
    for number, (without, path) in enumerate(zip(unseen, paths, strict=True)):
        if not path.exists():
            _train_judge(session, number, without, path)
        asked.append(_read(path, steer))
    place = {row: k for k, row in enumerate(members.ids.tolist())}
    steering = torch.tensor([place[row] for row in steer.members.ids.tolist()], dtype=torch.int64)
    # No judge was trained on non-members. Only as many are asked as about a member, because another
    # number would distinguish non-members from members.
    turn = torch.arange(len(steer.nonmembers)) - torch.arange(dealt.folds).unsqueeze(1)
    chosen = Pool(unseen[:, steering], turn % dealt.folds < dealt.held_out)
    groups = chosen.map(lambda mask: mask.T.nonzero()[:, 1].view(-1, dealt.held_out).T)
    named = Pool("members", "nonmembers")
    return groups.zip(named, lambda who, group: _answers(asked, who, group))


def references_of(judges: Pool[Judges]) -> Pool[References]:
    """Return the judges as reference models that saw none of the rows.

    Args:
        judges: what they say of the steering rows.
    """
    return judges.map(lambda j: References(j.log_odds, torch.zeros(j.log_odds.shape).bool()))


def _answers(asked: list[Mapping[str, Tensor]], who: Tensor, group: str) -> Judges:
    """Return the figures of the judges `who`, int64 (k, n), of each row of a group."""
    odds, entropy = (
        torch.stack([answers[f"{group}_{figure}"] for answers in asked]).gather(0, who)
        for figure in ("log_odds", "entropy")
    )
    return Judges(odds, entropy)


def _train_judge(session: Session, number: int, unseen: Tensor, path: Path) -> None:
    """Train one judge on its half of the members and write what it says of the steering rows."""
    members, progress = session.splits.members, session.progress
    # Judges come after the teachers in the count, so that none begins as a teacher does.
    place = session.config.teachers.folds + number
    seen = members.take(torch.nonzero(~unseen).squeeze(1))
    # A choice of settings is made for the teachers' labels; judges train by the first setting.
    setting = TeacherSetting.of(session.config.teachers)
    trainer = session.trainers.teacher(place, seen, module=session.module, setting=setting)
    start = trainer.start(weights=session.fresh(place))
    key = f"judge {number + 1}"
    done = progress.train_to(key, start, trainer.total_steps, trainer=trainer)
    said = session.splits.steer.map(lambda rows: trainer.outputs(done, rows))
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, _figures("members", said.members) | _figures("nonmembers", said.nonmembers))
    progress.pieces.pop(key, None)
    progress.commit()


def _figures(group: str, outputs: Outputs) -> dict[str, Tensor]:
    known = Terms.of(outputs)
    return {
        f"{group}_ids": outputs.ids,
        f"{group}_log_odds": known.odds.contiguous(),
        f"{group}_entropy": known.entropy.contiguous(),
    }


def _read(path: Path, steer: Pool[Rows]) -> Mapping[str, Tensor]:
    remedy = "Delete it, and the judge is trained again."
    try:
        stored = read_tensors(path)
    except DataError as error:
        raise RunFolderError(f"{error} {remedy}") from error
    for group, rows in (("members", steer.members), ("nonmembers", steer.nonmembers)):
        ids = stored.get(f"{group}_ids")
        figures = [stored.get(f"{group}_{figure}") for figure in ("log_odds", "entropy")]
        fits = all(values is not None and len(values) == len(rows) for values in figures)
        if ids is None or not torch.equal(ids, rows.ids) or not fits:
            raise RunFolderError(f"{path}: not this run's, of other rows. {remedy}")
    return stored
