"""Every error SafeCompress raises on purpose, as one tree.

```text
SafeCompressError                     exit 4 on the command line unless a subclass says otherwise
├── UsageError                        exit 2: the caller can fix it; nothing was lost
│   ├── ConfigError                   a key, a value or a combination of them
│   │   └── PartError                 what a part of another package raised (candidate discarded)
│   ├── DataError                     a file, a shape, a type, a label
│   │   ├── SplitOverlapError         rows that must be disjoint are shared
│   │   └── MembershipError           it is unknown which rows the weights were trained on
│   ├── ModelError                    a model that cannot be built, loaded or called
│   └── RunFolderError                a run folder that is foreign, damaged or finished
│       └── BusyRunError              another process is working on it
├── MissingEvidenceError              the audit lacks what an attack needs (check: NOT_RUN)
├── UndecidableError                  too few points for the figure (check: INCONCLUSIVE)
├── NonFiniteError                    NaN or infinity in outputs or loss (candidate discarded)
├── MemoryShortageError               the machine or the GPU has no memory left (likewise)
├── StackError                        a stack of candidates that cannot be trained (one by one then)
├── WorkerError                       other processes with part of the work ended repeatedly
├── StorageError                      the disk is full or not writable; earlier work is intact
└── InterruptedRunError               exit 130: stopped by the user, resumable
```
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

FOREIGN = (Exception, SystemExit)
"""What code of somebody else may raise: its `sys.exit(0)` must not end a run as if it passed."""

_LONGEST = 300
"""Characters of somebody else's message that are passed on."""

_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


class SafeCompressError(Exception):
    """Base of the tree; messages say what was given and expected, where, and what to do."""

    exit_code = 4


class UsageError(SafeCompressError):
    """Something the caller can fix."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key, value or combination that cannot work."""


class PartError(ConfigError):
    """A part of another package raised what no part may raise."""


class DataError(UsageError):
    """A data file, array, shape, type or label that cannot be used."""


class SplitOverlapError(DataError):
    """Rows that must be disjoint are shared."""


class MembershipError(DataError):
    """Membership is unknown or contradictory; a wrong guess would give a false PASS."""


class ModelError(UsageError):
    """A model that cannot be built, loaded or called on this data."""


class RunFolderError(UsageError):
    """A run folder that is busy, foreign, damaged or already finished."""


class BusyRunError(RunFolderError):
    """A run folder that another process is working on."""


class MissingEvidenceError(SafeCompressError):
    """An attack needs evidence that this audit does not have."""


class UndecidableError(SafeCompressError):
    """Too few points to state the figure with an interval."""


class NonFiniteError(SafeCompressError):
    """NaN or infinity in a model's outputs, gradients or loss."""


class MemoryShortageError(SafeCompressError):
    """The machine's or the GPU's memory is used up."""


class StackError(SafeCompressError):
    """Candidates of this module cannot be trained as one stack."""


class StorageError(SafeCompressError):
    """The disk is full or the folder not writable; what was committed before is intact."""


class WorkerError(SafeCompressError):
    """Another process or machine with part of the work ended repeatedly without a result."""


class InterruptedRunError(SafeCompressError):
    """The run was stopped by the user and can be resumed."""

    exit_code = 130


@contextmanager
def telling_memory_shortage() -> Iterator[None]:
    """Run a block, and turn all errors by which Python and torch report a lack of memory into one.

    Raises:
        MemoryShortageError: for a MemoryError, torch's OutOfMemoryError (a RuntimeError), and the
            plain RuntimeError of its CPU allocator.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = str(error).strip()
        if not isinstance(error, MemoryError) and not _MEMORY.search(message):
            raise
        first = message.splitlines()[0] if message else type(error).__name__
        raise MemoryShortageError(f"out of memory: {first[:200]}") from error


@contextmanager
def taming_panics() -> Iterator[None]:
    """Run a block of a library written in Rust, whose panics are no `Exception` in Python.

    Raises:
        RuntimeError: for a panic.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


@contextmanager
def blaming(part: object, who: str) -> Iterator[None]:
    """Run a block of somebody else's part; whatever it raises becomes an error that names the part.

    Errors of this tree stay as they are. So do those of a part of this package, where they are a
    fault of ours and not of the configuration.

    Args:
        part: what is run.
        who: the part with the key that asks for it, as the subject of the message.

    Raises:
        PartError: naming the part, what it raised, and what to do.
        MemoryShortageError: when memory is used up.
    """
    module = type(part).__module__
    try:
        with telling_memory_shortage():
            yield
    except SafeCompressError:
        raise
    except FOREIGN as error:
        if module.partition(".")[0] == __name__.partition(".")[0]:
            raise
        text = " ".join(str(error).split())[:_LONGEST]
        raise PartError(
            f"{who} ({module}) raised {type(error).__name__}: {text}; take another, or ask its "
            "author."
        ) from error


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known name, or all of them.

    Args:
        given: the unknown name.
        known: the known names.

    >>> did_you_mean("densty", ["density", "seed"])
    "; did you mean 'density'?"
    >>> did_you_mean("zzz", ["density", "seed"])
    '; known: density, seed'
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(names)}"


def brief(error: BaseException, *, longest: int = 200) -> str:
    """Return the message of another library's error in one line.

    Args:
        error: the error; its type's name stands for an empty message.
        longest: number of characters after which the message is cut.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else text[:longest] + " …"
