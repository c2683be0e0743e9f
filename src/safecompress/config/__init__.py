"""The sections of a configuration, and the functions that load and check one.

A configuration is read from YAML, in which `${NAME}` stands for an environment variable, and has a
JSON schema. It is immutable and complete: every default is filled in. An unknown key is an error
that names the nearest known key. Parts (attacks, proposals, defenses, objectives, measures) are
written as `name` or `{name: {option: value}}`; they are built, and so checked, before training.
"""

from safecompress.config.audit import AuditConfig, LimitsConfig, seconds_of
from safecompress.config.compare import CompareConfig, ComparedDataConfig, MethodConfig
from safecompress.config.data import DataConfig, PreprocessingConfig, SplitConfig
from safecompress.config.engine import EngineConfig
from safecompress.config.judging import (
    PRESETS,
    CanariesConfig,
    CheckConfig,
    Preset,
    ShadowsConfig,
    SteerConfig,
    VerdictConfig,
)
from safecompress.config.own_code import is_code, stages_of, training_code
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
    DatasetsSource,
    ImagesSource,
    JsonlSource,
    NpySource,
    NpzSource,
    ParquetSource,
    PublishedSource,
    SklearnSource,
    Source,
    SourceConfig,
    TableSource,
    TorchSource,
)
from safecompress.config.sparse_stage import AdmmConfig, GradualConfig, SparseConfig
from safecompress.config.teacher_choice import TeacherChoiceConfig
from safecompress.config.trackers import (
    FolderOptions,
    GivenTrackers,
    MlflowOptions,
    TrackerOptions,
    TrackerRequest,
    TrackersConfig,
    WandbOptions,
    named,
)
from safecompress.config.training import DenseConfig, ModelConfig, TeachersConfig, TrainConfig
from safecompress.config.transfer_set import TransferSetConfig

__all__ = [
    "PRESETS",
    "AdmmConfig",
    "AuditConfig",
    "CanariesConfig",
    "CheckConfig",
    "CompareConfig",
    "ComparedDataConfig",
    "CompressConfig",
    "CsvSource",
    "DataConfig",
    "DatasetsSource",
    "DenseConfig",
    "EngineConfig",
    "FolderOptions",
    "GivenTrackers",
    "GradualConfig",
    "ImagesSource",
    "JsonlSource",
    "LimitsConfig",
    "MethodConfig",
    "MlflowOptions",
    "ModelConfig",
    "NpySource",
    "NpzSource",
    "ParquetSource",
    "PreprocessingConfig",
    "Preset",
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
    "TableSource",
    "TeacherChoiceConfig",
    "TeachersConfig",
    "TorchSource",
    "TrackerOptions",
    "TrackerRequest",
    "TrackersConfig",
    "TrainConfig",
    "TransferSetConfig",
    "VerdictConfig",
    "WandbOptions",
    "dump_yaml",
    "is_code",
    "load_audit_config",
    "load_compare_config",
    "load_config",
    "load_section",
    "named",
    "override",
    "parse_yaml",
    "read_yaml",
    "seconds_of",
    "stages_of",
    "training_code",
]
