"""`DataSource`: the interface of sources of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod

from safecompress.data.raw import RawData


class DataSource(ABC):
    """Where rows come from: a frozen object whose fields are its options.

    A configuration names a source as `{source: NAME, option: value}`. A package publishes one, as
    a frozen dataclass, in the entry-point group `safecompress.sources`. Options may come from
    somebody else's run folder, so they must not name code to be run.
    """

    @abstractmethod
    def load(self, *, seed: int | None) -> RawData:
        """Read or make all rows; the same options and seed give the same rows in the same order.

        `raw_from_arrays` makes and checks them from arrays. A source that has a train and a test
        part says where the test part begins (`test_from`); `membership: pair` then takes the
        train part for the members. Nothing may be learned from the rows here.

        Args:
            seed: for sources that generate rows; files do not need it. None where there is none.

        Raises:
            DataError: when the rows cannot be used.
            ConfigError: when the options cannot work.
        """
