"""The configuration: frozen, complete, checked before anything is trained.

YAML in (`${NAME}` is replaced by the environment variable), JSON schema out. Unknown keys fail
with the nearest known one. Parts that plug in (attacks, proposals, defences, objectives, checks)
are written as `name` or `{name: {option: value}}` and are built, and so checked, before training.
"""

from safecompress.config.reading import (
    dump_yaml,
    load_config,
    load_section,
    override,
    parse_yaml,
    read_yaml,
)
from safecompress.config.schema import (
    CheckConfig,
    CompressConfig,
    CsvSource,
    DataConfig,
    EngineConfig,
    ModelConfig,
    NpzSource,
    PreprocessingConfig,
    Request,
    Section,
    ShadowsConfig,
    SklearnSource,
    Source,
    SparseConfig,
    SplitConfig,
    SteerConfig,
    TeachersConfig,
    TorchSource,
    TrainConfig,
    VerdictConfig,
)

__all__ = [
    "CheckConfig",
    "CompressConfig",
    "CsvSource",
    "DataConfig",
    "EngineConfig",
    "ModelConfig",
    "NpzSource",
    "PreprocessingConfig",
    "Request",
    "Section",
    "ShadowsConfig",
    "SklearnSource",
    "Source",
    "SparseConfig",
    "SplitConfig",
    "SteerConfig",
    "TeachersConfig",
    "TorchSource",
    "TrainConfig",
    "VerdictConfig",
    "dump_yaml",
    "load_config",
    "load_section",
    "override",
    "parse_yaml",
    "read_yaml",
]
