"""`Splits`: the groups of rows that are trained on, that steer and that judge; all disjoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.data.canaries import Canaries
from safecompress.data.duplicates import check_disjoint, content_of_inputs
from safecompress.data.group_columns import GroupsGiven, both_values, group_columns
from safecompress.data.ledger import Ledger
from safecompress.data.partition import REMEDY, Partition, Shares, partition
from safecompress.data.preprocessing import Preprocessor
from safecompress.data.raw import first
from safecompress.data.row_values import RowValues
from safecompress.data.rows import check_ids, check_rows, input_shape, rows_digest, slice_rows
from safecompress.data.tokens import TokenEncoder
from safecompress.errors import DataError
from safecompress.protocols import Groups, Inputs, Pool, Rows
from safecompress.randomness import permutation


@dataclass(frozen=True)
class SplitReport:
    """How the rows of a source were divided.

    Args:
        membership: how it is known which rows are members: `fresh`, `pair`, `index`, `unseen`, or
            `declared` for rows given in memory.
        source_rows: number of rows of the source.
        used_rows: number of rows in use after `split.rows`.
        sizes: number of rows per group.
        duplicates: number of rows per kind of duplicate; a kind's name tells whether they were
            kept or dropped.
        dropped: ids of the rows dropped as duplicates.
        classes_without_members: names of the classes that no member has. The model never trains
            on them, so attacks on their rows reveal little about membership.
        weights_given: whether the splits were made for weights that were trained before.
    """

    membership: str
    source_rows: int
    used_rows: int
    sizes: Mapping[str, int]
    duplicates: Mapping[str, int]
    dropped: tuple[int, ...]
    classes_without_members: tuple[str, ...]
    weights_given: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Disjoint groups of model-ready rows.

    The rows that judge are sealed: only `open_sealed` returns them, and it counts how often. Sealed
    members are trained on like all members, so they are part of `members`, but no attribute tells
    which members they are.

    Args:
        members: all rows that are trained on, canaries last.
        steer: members and non-members by which candidates are chosen; the non-members also
            validate training.
        reference: non-members set aside for defenses, or None.
        classes: number of classes.
        class_names: one name per class.
        input_shape: shape of one row's inputs.
        preprocessor: how raw rows became these rows; None for rows given in memory.
        report: counts, duplicates and membership.
        groups: by name, a column of values of all rows, within whose groups figures are judged.
        canaries: rows of which some are trained on and none steers or judges; None without any.

    Raises:
        SplitOverlapError: when a row is in two groups; the message names how many and the first.
        DataError: when the members are not the steering members, the sealed members and the
            canaries that are trained on, together.
    """

    members: Rows
    steer: Pool[Rows]
    reference: Rows | None
    classes: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    preprocessor: Preprocessor | None
    report: SplitReport
    _sealed: Pool[Rows] = field(repr=False)
    groups: Mapping[str, RowValues] = field(default_factory=dict)
    canaries: Canaries | None = None

    def __post_init__(self) -> None:
        held_out = {
            "sealed.nonmembers": self._sealed.nonmembers,
            "steer.nonmembers": self.steer.nonmembers,
        }
        if self.reference is not None:
            held_out["reference"] = self.reference
        if self.canaries is not None:
            held_out["canaries held out"] = self.canaries.held_out
        halves_of_members = {
            "sealed.members": self._sealed.members,
            "steer.members": self.steer.members,
        }
        if self.canaries is not None:
            halves_of_members["canaries trained on"] = self.canaries.trained_on
        for name, rows in {**held_out, **halves_of_members, "members": self.members}.items():
            check_ids(name, rows)
        for groups in ({**held_out, "members": self.members}, {**held_out, **halves_of_members}):
            check_disjoint(
                {name: (rows.ids.numpy(), rows.ids.numpy()) for name, rows in groups.items()},
                what="",
                remedy=REMEDY,
            )
        halves_ids = torch.cat([rows.ids for rows in halves_of_members.values()])
        if not torch.equal(halves_ids.sort().values, self.members.ids.sort().values):
            raise DataError(
                f"splits: the {len(self.members)} members are not the {len(halves_ids)} steering "
                "and sealed members, and canaries that are trained on, together; every member must "
                "be in exactly one of these."
            )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={n}" for name, n in self.report.sizes.items())
        return f"Splits({sizes}, classes={self.classes}, input_shape={self.input_shape})"

    @classmethod
    def from_rows(
        cls,
        members: Rows,
        nonmembers: Rows,
        *,
        classes: int,
        seed: int,
        steer: float = 0.5,
        reference: float = 0,
        deduplicate: bool = False,
        class_names: tuple[str, ...] | None = None,
        groups: GroupsGiven | None = None,
    ) -> Splits:
        """Cut rows whose membership is known.

        Args:
            members: the rows that are, or will be, trained on.
            nonmembers: rows of the same source that are not; ids are unique across both groups.
            classes: number of classes.
            seed: seed of the draw.
            steer: share of members and of non-members that steers, in (0, 1); the rest is sealed.
            reference: non-members set aside for defenses: an int is a count, a float a share.
            deduplicate: whether non-members whose inputs equal a member's, or an earlier
                non-member's, are dropped instead of refused.
            class_names: one name per class; None takes their numbers.
            groups: by name, one value for each member and for each non-member, such as a region;
                checks can judge the leak within the groups of each.

        Raises:
            SplitOverlapError: when members and non-members share ids, or inputs.
            DataError: on too few rows or unusable labels or inputs.
        """
        if not 0 < steer < 1 or reference < 0:
            raise DataError(
                f"steer={steer} and reference={reference}; expected a share in (0, 1), and a count "
                "or share of at least 0."
            )
        names = class_names or tuple(str(i) for i in range(classes))
        for name, rows in (("members", members), ("nonmembers", nonmembers)):
            check_rows(name, rows, classes)
            check_ids(name, rows)
        ids = {"nonmembers": nonmembers.ids.numpy(), "members": members.ids.numpy()}
        check_disjoint(
            {name: (keys, keys) for name, keys in ids.items()},
            what="",
            remedy="ids name rows of one source; number members and non-members apart, and never "
            "put a trained row among the non-members.",
        )
        content = np.concatenate(content_of_inputs([members.inputs, nonmembers.inputs]))
        total, m = len(content), len(members)
        cut = partition(
            np.arange(total),
            content,
            names=np.concatenate([ids["members"], ids["nonmembers"]]),
            declared=np.arange(m),
            shares=Shares(0.5, steer, reference, deduplicate),
            seed=seed,
        )

        def others(positions: NDArray[np.int64]) -> Rows:
            return nonmembers.take(torch.from_numpy(positions - m))

        return assemble(
            members.take(torch.from_numpy(cut.members)),
            steer_nonmembers=others(cut.steer_nonmembers),
            sealed_nonmembers=others(cut.sealed_nonmembers),
            reference=others(cut.reference),
            cut=cut,
            membership="declared",
            source_rows=total,
            used_rows=total,
            class_names=names,
            preprocessor=None,
            groups=_by_id(groups or {}, Pool(ids["members"], ids["nonmembers"])),
        )

    def groups_of(self, rows: Pool[Rows]) -> Pool[Mapping[str, Groups]]:
        """Return the group of each of some rows, by the name of the column.

        Args:
            rows: rows of these splits.
        """
        ids = rows.map(lambda r: r.ids.numpy())
        return group_columns({name: ids.map(values.at) for name, values in self.groups.items()})

    @property
    def tokens(self) -> TokenEncoder | None:
        """What turned texts into the token ids of the rows; None for other rows."""
        return None if self.preprocessor is None else self.preprocessor.tokens

    @property
    def ordinary_members(self) -> Rows:
        """The members without canaries: steering and sealed ones."""
        if self.canaries is None:
            return self.members
        return slice_rows(self.members, 0, len(self.members) - len(self.canaries.trained_on))

    @cached_property
    def sealed_digest(self) -> str:
        """SHA-256 of the inputs, labels and ids of the sealed members and non-members."""
        return rows_digest(self._sealed.members, self._sealed.nonmembers)

    @cached_property
    def sealed_sizes(self) -> tuple[int, int]:
        """Number of sealed members and of sealed non-members."""
        return len(self._sealed.members), len(self._sealed.nonmembers)

    def held_out(self, figure: Callable[[Inputs], Tensor]) -> Tensor:
        """Return a figure of every non-member, sorted, so that no place tells which are sealed.

        Args:
            figure: returns one number for each row of some inputs, (n,).
        """
        rows = (self.steer.nonmembers, self._sealed.nonmembers)
        return torch.cat([figure(each.inputs) for each in rows]).sort().values

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the rows of every group, for provenance."""
        digests = {
            "members": rows_digest(self.members),
            "steer": rows_digest(self.steer.members, self.steer.nonmembers),
            "sealed": self.sealed_digest,
        }
        if self.reference is not None:
            digests["reference"] = rows_digest(self.reference)
        if self.canaries is not None:
            digests["canaries"] = rows_digest(self.canaries.rows)
        return digests

    def open_sealed(
        self, ledger: Ledger, *, model_digest: str, run: str = ""
    ) -> tuple[Pool[Rows], int]:
        """Return the rows that judge, after recording the look in the ledger.

        Args:
            ledger: where looks are counted.
            model_digest: digest of the model to be judged.
            run: the run's name, for people who read the ledger.

        Returns:
            The sealed rows, and the number of distinct models that were judged on them so far, this
            one included.

        Raises:
            StorageError: when the look cannot be recorded; the rows then stay sealed.
        """
        looks = ledger.look(self.sealed_digest, model_digest, run=run)
        return self._sealed, looks


def assemble(
    members: Rows,
    *,
    steer_nonmembers: Rows,
    sealed_nonmembers: Rows,
    reference: Rows,
    cut: Partition,
    membership: str,
    source_rows: int,
    used_rows: int,
    class_names: tuple[str, ...],
    preprocessor: Preprocessor | None,
    weights_given: bool = False,
    groups: Mapping[str, RowValues] | None = None,
) -> Splits:
    """Return splits of groups that `partition` cut.

    Both halves of the members are views of `members`, so that no row is in memory twice.

    Args:
        members: the steering members, followed by the sealed ones.
        steer_nonmembers: non-members that steer.
        sealed_nonmembers: non-members that judge.
        reference: non-members set aside for defenses; may be empty.
        cut: the positions of all groups, and the duplicates that were dropped.
        membership: how it is known which rows are members.
        source_rows: number of rows of the source.
        used_rows: number of rows in use.
        class_names: one name per class.
        preprocessor: how raw rows became these rows, or None.
        weights_given: whether the splits are for weights that were trained before.
        groups: by name, a column of values of all rows.

    Raises:
        SplitOverlapError: when a row is in two groups.
    """
    steers = len(cut.steer_members)
    present = set(members.labels.tolist())
    steer = Pool(slice_rows(members, 0, steers), steer_nonmembers)
    sealed = Pool(slice_rows(members, steers, len(members)), sealed_nonmembers)
    return Splits(
        members=members,
        steer=steer,
        reference=reference if len(reference) else None,
        classes=len(class_names),
        class_names=class_names,
        input_shape=input_shape(members),
        preprocessor=preprocessor,
        report=SplitReport(
            membership=membership,
            source_rows=source_rows,
            used_rows=used_rows,
            sizes={
                "members": len(members),
                "steer.members": len(steer.members),
                "steer.nonmembers": len(steer.nonmembers),
                "sealed.members": len(sealed.members),
                "sealed.nonmembers": len(sealed.nonmembers),
                "reference": len(reference),
            },
            duplicates=dict(cut.duplicates),
            dropped=tuple(int(row) for row in cut.dropped),
            classes_without_members=tuple(
                name for i, name in enumerate(class_names) if i not in present
            ),
            weights_given=weights_given,
        ),
        _sealed=sealed,
        groups=groups or {},
    )


def _by_id(groups: GroupsGiven, ids: Pool[NDArray[np.int64]]) -> dict[str, RowValues]:
    """Return the values of columns by the ids of all rows."""
    found = {}
    for name, given in groups.items():
        values = both_values(given, f"groups['{name}']")
        sizes, wanted = values.map(len), ids.map(len)
        if sizes != wanted:
            raise DataError(
                f"groups['{name}']: {sizes.members} values of members and {sizes.nonmembers} of "
                f"non-members; expected {wanted.members} and {wanted.nonmembers}."
            )
        joined = np.concatenate([values.members, values.nonmembers])
        found[name] = RowValues.of(np.concatenate([ids.members, ids.nonmembers]), joined)
    return found


def halves(ids: Tensor, *, seed: int) -> Tensor:
    """Choose the half of a group of rows that attacks are fitted on.

    Args:
        ids: int64 (n,), unique.
        seed: seed of the choice.

    Returns:
        bool (n,), True for exactly ⌊n/2⌋ rows. The choice depends on the set of ids and the seed,
        but not on the order of the rows.

    Raises:
        DataError: when an id occurs twice, because the choice would then depend on the order.
    """
    order = ids.argsort()
    ranked = ids[order]
    if bool((ranked[1:] == ranked[:-1]).any()):
        again = torch.unique(ranked[1:][ranked[1:] == ranked[:-1]])
        raise DataError(f"halves: {len(again)} ids occur twice ({first(again.tolist())}).")
    chosen = permutation(len(ids), seed, "halves")[: len(ids) // 2]
    mask = torch.zeros(len(ids), dtype=torch.bool)
    mask[order[chosen]] = True
    return mask
