"""The configuration: frozen, complete, checked before anything is trained.

YAML in (`${NAME}` is replaced by the environment variable), JSON schema out. Unknown keys fail
with the nearest known one. Parts that plug in (attacks, proposals, defenses, objectives, checks)
are written as `name` or `{name: {option: value}}` and are built, and so checked, before training.
"""

from safecompress.config.audit import AuditConfig, LimitsConfig, seconds_of
from safecompress.config.compare import CompareConfig, ComparedDataConfig, MethodConfig
from safecompress.config.data import DataConfig, PreprocessingConfig, SplitConfig
from safecompress.config.engine import EngineConfig
from safecompress.config.judging import CheckConfig, ShadowsConfig, SteerConfig, VerdictConfig
from safecompress.config.reading import (
    dump_yaml,
    load_audit_config,
    load_compare_config,
    load_config,
    load_section,
    override,
    parse_yaml,
    read_yaml,
)
from safecompress.config.schema import CompressConfig
from safecompress.config.section import Request, Section
from safecompress.config.sources import (
    CsvSource,
    NpzSource,
    PublishedSource,
    SklearnSource,
    Source,
    SourceConfig,
    TorchSource,
)
from safecompress.config.sparse_stage import AdmmConfig, GradualConfig, SparseConfig
from safecompress.config.training import DenseConfig, ModelConfig, TeachersConfig, TrainConfig

__all__ = [
    "AdmmConfig",
    "AuditConfig",
    "CheckConfig",
    "CompareConfig",
    "ComparedDataConfig",
    "CompressConfig",
    "CsvSource",
    "DataConfig",
    "DenseConfig",
    "EngineConfig",
    "GradualConfig",
    "LimitsConfig",
    "MethodConfig",
    "ModelConfig",
    "NpzSource",
    "PreprocessingConfig",
    "PublishedSource",
    "Request",
    "Section",
    "ShadowsConfig",
    "SklearnSource",
    "Source",
    "SourceConfig",
    "SparseConfig",
    "SplitConfig",
    "SteerConfig",
    "TeachersConfig",
    "TorchSource",
    "TrainConfig",
    "VerdictConfig",
    "dump_yaml",
    "load_audit_config",
    "load_compare_config",
    "load_config",
    "load_section",
    "override",
    "parse_yaml",
    "read_yaml",
    "seconds_of",
]
