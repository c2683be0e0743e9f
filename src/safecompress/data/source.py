"""`DataSource`: the interface of data sources."""

from __future__ import annotations

from abc import ABC, abstractmethod

from safecompress.data.raw import RawData


class DataSource(ABC):
    """Where rows come from: a frozen object whose fields are its options.

    A configuration names a source as `{source: NAME, option: value}`. A package publishes a source,
    as a frozen dataclass, in the entry-point group `safecompress.sources`. Options may come from
    a stranger's run folder, so they must not name code that would be run.
    """

    @abstractmethod
    def load(self, *, seed: int | None) -> RawData:
        """Read or generate all rows; the same options and seed give the same rows in this order.

        `raw_from_arrays` checks arrays and returns them as `RawData`. A source with a train and a
        test part sets `test_from`, the first row of the test part; with `membership: pair` the
        train part are the members. Nothing may be learned from the rows here, because it is not
        yet known which of them are members.

        Args:
            seed: seed for sources that generate rows; None if there is no seed.

        Raises:
            DataError: when the rows cannot be used.
            ConfigError: when the options cannot work.
        """
