"""`run_config` and `resume_command`: a run's own configuration, whose code is not run unasked.

A run folder may come from anybody, and a configuration can name any function of any installed
package with any arguments. So every configuration that lies in a folder is read here, and one that
names code is refused unless the user trusts it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from safecompress.config import CompressConfig, load_config, training_code
from safecompress.errors import RunFolderError, SafeCompressError
from safecompress.run.folder import CONFIG


def run_config(
    folder: Path, *, trust_code: bool, given: Collection[str] = (), unset_in: Collection[str] = ()
) -> CompressConfig:
    """Return the configuration of a run or a cohort.

    Args:
        folder: its folder.
        trust_code: whether code that the configuration names as `package.module:callable` may be
            imported and called later.
        given: what the user gives as an object (`model`, `data`) or what is not done (`training`),
            so that its code is not called.
        unset_in: top-level keys that are not needed, so that their environment variables may be
            unset.

    Raises:
        RunFolderError: when it names code that is not trusted.
        ConfigError: when it is damaged.
    """
    config = load_config(folder / CONFIG, unset_in=unset_in)
    for what, name in _code_of(config):
        if not trust_code and what not in given:
            raise RunFolderError(
                f"{folder}: its {what} is made by code, '{name[:100]}', which is not run unasked; "
                "where the folder is yours, pass --trust-code (trust_code=True)."
            )
    return config


def resume_command(folder: Path) -> str:
    """Return the command that goes on with an interrupted run.

    Args:
        folder: the run folder; its configuration may be damaged.
    """
    command = f"safecompress compress --resume {folder}"
    try:
        asks = any(_code_of(load_config(folder / CONFIG, unset_in=CompressConfig.model_fields)))
    except (SafeCompressError, OSError, RecursionError):
        return command
    return f"{command} --trust-code" if asks else command


def _code_of(config: CompressConfig) -> Iterator[tuple[str, str]]:
    """Yield what a configuration makes by code (`model`, `data`, `training`), and the path."""
    named = {
        "model": "" if config.model is None else config.model.name,
        "data": "" if config.data is None else config.data.source.code,
    }
    yield from ((what, name) for what, name in named.items() if ":" in name)
    yield from (("training", path) for path in training_code(config))
