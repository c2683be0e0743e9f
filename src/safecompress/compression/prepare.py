"""`prepare`, `PreparedRun`: everything that a run needs, built and checked before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.attacks.controls import blind_baseline
from safecompress.attacks.lira import CalibratedAttack
from safecompress.checks import (
    OBJECTIVES,
    Suite,
    attacks_of_shadows,
    group_columns,
    steering_attacks,
    steering_measures,
    suite_from,
)
from safecompress.checks.measures import measure_from
from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.compression.given_weights import given_accuracy
from safecompress.compression.jobs import build_defenses, training_steps
from safecompress.compression.limits import limits_of
from safecompress.compression.maskable import choose_maskable_
from safecompress.compression.model_source import (
    source_module,
    untrained_weights,
)
from safecompress.compression.rehearsal import rehearse_stages
from safecompress.compression.requirements import (
    build_first_mask,
    build_proposals,
    has_references,
    needs_channels,
    needs_judges,
    needs_teachers,
)
from safecompress.compression.teacher_choice import check_choice
from safecompress.compression.teacher_folds import held_out
from safecompress.compression.transfer_rows import TransferRows
from safecompress.compression.unused import unused_parameters
from safecompress.config import CompressConfig, is_code
from safecompress.data import Splits, halves, load_splits, with_canaries
from safecompress.defenses import DEFENSES
from safecompress.errors import (
    ConfigError,
    DataError,
    MembershipError,
    MemoryShortageError,
    UndecidableError,
)
from safecompress.models import (
    channel_groups,
    check_model,
    few_inputs,
)
from safecompress.models.given import ModelSource
from safecompress.models.words import words_of
from safecompress.protocols import FirstMaskTraining
from safecompress.randomness import derive
from safecompress.registry.identity import require_distinct_names
from safecompress.sparse import initialize
from safecompress.topology import (
    Topology,
    embedding_tables,
    maskable_parameters,
    rounded_density,
)
from safecompress.train import WORD_CHANGES, require_images, require_words
from safecompress.train.state import module_tensors


@dataclass(frozen=True)
class PreparedRun:
    """A run that has been checked and can begin.

    Args:
        config: the resolved configuration.
        splits: the data.
        module: the live module, into which trainers load one candidate after the other.
        initial: the module's state_dict as given or initialized.
        fresh: returns untrained weights, different ones for each number.
        name: the model's name in the report.
        trained: whether the weights were trained before this run.
        factory: makes the untrained module if the configuration names none; else None.
        accuracy: share of the members that given weights classify correctly; None for a model that
            this run trains, or whose weights saw none of the rows.
        remarks: sentences about what was changed in the model, and what of it is not pruned.
        stacks: whether several candidates may be trained as one stack.
    """

    config: CompressConfig
    splits: Splits
    module: nn.Module
    initial: Mapping[str, Tensor]
    fresh: Callable[[int], Mapping[str, Tensor]]
    name: str
    trained: bool
    factory: Callable[[], nn.Module] | None
    accuracy: float | None = None
    remarks: tuple[str, ...] = ()
    stacks: bool = True

    @property
    def has_dense(self) -> bool:
        """Whether there is a trained dense model to prune and to compare with."""
        return self.trained or self.dense_epochs > 0

    @property
    def dense_epochs(self) -> float:
        """Epochs the dense model trains in this run."""
        if self.config.dense is not None:
            return self.config.dense.epochs
        return 0.0 if self.trained else self.config.sparse.train.epochs

    @property
    def target_density(self) -> float:
        """The configured density, rounded to a whole number of maskable weights."""
        return rounded_density(self.module, self.config.sparse.density)

    def mask_by_magnitude(self) -> Topology:
        """Return the mask of the largest weights before this run's training.

        Raises:
            ConfigError: when no mask has the configured density.
        """
        return initialize(
            {name: self.initial[name] for name in maskable_parameters(self.module)},
            density=self.config.sparse.density,
            distribution=self.config.sparse.distribution,
            method="magnitude-global",
            seed=self.config.seed,
            tables=embedding_tables(self.module),
        )

    def suite(self) -> Suite:
        """Return the checks of the verdict."""
        return suite_from(
            self.config,
            density=self.target_density,
            relative=self.has_dense,
            shadows=attacks_of_shadows(self.config, self.splits),
        )

    def default_out(self) -> Path:
        """Return the run folder used when none is named."""
        if self.config.out is not None:
            return self.config.out
        return Path("runs") / f"{self.name.split('.')[-1].replace(':', '-')}-seed{self.config.seed}"

    def preprocessing(self) -> Any:
        """Return the fitted preprocessing as JSON, or None for rows given as tensors."""
        fitted = self.splits.preprocessor
        return None if fitted is None else fitted.to_json()


def prepare(
    config: CompressConfig,
    model: ModelSource | None = None,
    data: Splits | None = None,
    *,
    compare_groups: bool = True,
) -> PreparedRun:
    """Build the data, the model and every named part; train nothing.

    Args:
        config: the configuration.
        model: a trained module, a callable that makes an untrained one, or None for the configured.
        data: the splits, or None for the configured.
        compare_groups: whether to refuse members and non-members that can be distinguished without
            a model; False for a cohort, which draws both from the same rows.

    Raises:
        UsageError: on the first thing that cannot work, saying how to correct it.
    """
    trained = isinstance(model, nn.Module) or (
        model is None and config.model is not None and config.model.weights is not None
    )
    _check_parts(config)
    splits = _with_canaries(config, _splits(config, data, trained=trained), trained=trained)
    remarks: list[str] = []
    module, name = source_module(config, model, splits, remarks.append)
    check_model(module, splits.members, splits.classes)
    unused = unused_parameters(module, splits.members)
    remarks += choose_maskable_(module, config.sparse, unused, name=name)
    initial = module_tensors(module)
    fresh = partial(untrained_weights, config, model, splits, module)
    if needs_channels(config):
        channel_groups(module, few_inputs(module, splits.members))
    if needs_teachers(config):
        held_out(splits.members, config.teachers, seed=config.seed)
        check_choice(config, splits)
        TransferRows.of(config, splits)
        fresh(0)
    factory = None if model is None or isinstance(model, nn.Module) else model
    # Weights that saw none of these rows need not know anything about them yet.
    if config.verdict.dense_accuracy is not None and not trained:
        raise ConfigError(
            "verdict.dense_accuracy: is about given weights, but this run trains its own; leave it "
            "out."
        )
    known = trained and splits.report.membership != "unseen"
    accuracy = given_accuracy(module, splits, name, config) if known else None
    prepared = PreparedRun(config, splits, module, initial, fresh, name, trained, factory, accuracy)
    _check_stages(prepared)
    build_defenses(config, splits, "dense")
    build_defenses(config, splits, "search")
    if (training := build_first_mask(config).training(config.sparse)) is not None:
        build_defenses(config, splits, "pruning", own=training.defense)
        _check_length(config, training, rows=len(splits.members))
    if compare_groups:
        _check_blind(config, splits)
        _check_columns(config, splits)
    # A density that no mask can meet is found before any training, with any kind of first mask.
    mask = prepared.mask_by_magnitude()
    try:
        found = rehearse_stages(module, splits.members, config, topology=mask)
    except MemoryShortageError as error:
        raise MemoryShortageError(
            f"{error}; nothing was begun. Start again with more memory free, or with a smaller "
            "train.batch_size."
        ) from error
    return replace(prepared, remarks=(*remarks, *found.remarks), stacks=found.stacks)


def _check_length(config: CompressConfig, training: FirstMaskTraining, *, rows: int) -> None:
    steps = training_steps(training.config, rows=rows)
    if steps < training.fewest_steps:
        raise ConfigError(
            f"sparse.initialize: '{config.sparse.initialize}' needs {training.fewest_steps} steps "
            f"of training, and {training.config.epochs:g} epochs of {rows} members in batches of "
            f"{training.config.batch_size} are {steps}; train longer, or name a first mask without "
            "a training, e.g. magnitude-global."
        )


def _check_parts(config: CompressConfig) -> None:
    """Build every named part once, so that a typo is found before the data are read."""
    build_first_mask(config)
    build_proposals(config)
    if config.sparse.rounds and not config.steer.proposals:
        raise ConfigError("steer.proposals: empty; list at least one, or set sparse.rounds: 0.")
    references = has_references(config)
    built = steering_attacks(config, references=references)
    judged = frozenset({"judges"}) if needs_judges(config) else frozenset()
    for index, attack in enumerate(built):
        if isinstance(attack, CalibratedAttack) and references:
            continue
        if missing := attack.requires - {"internals"} - judged:
            needs, why = ", ".join(sorted(missing)), ""
            if isinstance(attack, CalibratedAttack):
                why = ", unless a proposal asks teachers (soft-labels, student) or judges are "
                why += "trained (teachers.judges)"
            elif "judges" in missing:
                why = "; train some (teachers.judges: 2)"
            raise ConfigError(
                f"steer.attacks[{index}]: {attack.name} needs {needs}, which the loop does not "
                f"have{why}; take an attack on outputs or internals alone, e.g. neural or "
                "white-box."
            )
    require_distinct_names(built, where="steer.attacks", kind="attacks")
    attacks = [a.name for a in built]
    if not config.steer.attacks:
        raise ConfigError("steer.attacks: empty; list at least one, e.g. loss.")
    if twice := sorted({name for name in attacks if attacks.count(name) > 1}):
        raise ConfigError(f"steer.attacks: '{twice[0]}' is listed twice; keep one.")
    measures = steering_measures(config)
    require_distinct_names(measures, where="steer.measures", kind="measures")
    measured = [attack for measure in measures for attack in measure.uses_attacks]
    require_distinct_names([*built, *measured], where="steer", kind="attacks")
    for index, measure in enumerate(measures):
        available = {"rows", "target", "parent_target"} | judged
        if missing := measure.requires - available:
            raise ConfigError(
                f"steer.measures[{index}]: {measure.name} needs {', '.join(sorted(missing))}, "
                "which the loop does not have."
            )
    OBJECTIVES.build(config.steer.objective, where="steer.objective")
    for where, requests in (
        ("steer", config.steer.defenses),
        ("dense", () if config.dense is None else config.dense.defenses),
    ):
        for i, request in enumerate(requests):
            DEFENSES.build(request, where=f"{where}.defenses[{i}]")
    suite_from(config, density=config.sparse.density, relative=True)


def _splits(config: CompressConfig, data: Splits | None, *, trained: bool) -> Splits:
    if data is None:
        if config.data is None:
            raise ConfigError("data: missing; describe it in the configuration or pass Splits.")
        return load_splits(
            config.data,
            seed=config.seed,
            weights_given=trained,
            group_by=group_columns(config),
        )
    # Splits of ready tensors have no preprocessor: their members were declared, not drawn.
    if trained and data.preprocessor is not None and not data.report.weights_given:
        raise MembershipError(
            "the model is an object, so its weights count as trained, but the splits were made "
            "for an untrained one. A wrong guess gives a false PASS: make them with "
            "weights_given=True and membership 'pair', 'index' or 'unseen', or pass a callable "
            "that makes an untrained model."
        )
    return data


def _with_canaries(config: CompressConfig, splits: Splits, *, trained: bool) -> Splits:
    """Return the splits with the canaries that the verdict asks for.

    Raises:
        ConfigError: when weights were trained before the coins are flipped, or a check needs
            canaries and there are none.
        DataError: when there are too few rows for them.
    """
    wanted = config.verdict.canaries
    if wanted.count and trained:
        raise ConfigError(
            f"verdict.canaries.count is {wanted.count}, but the weights were given trained: coins "
            "must be flipped before any training. Train the dense model in this run, or set "
            "verdict.canaries.count: 0."
        )
    for i, check in enumerate(config.verdict.checks):
        measure = measure_from(check.measure, where=f"verdict.checks[{i}].measure")
        if "canaries" in measure.requires and not (wanted.count or splits.canaries):
            raise ConfigError(
                f"verdict.checks[{i}]: {measure.name} reads canaries, and the run has none; set "
                "verdict.canaries.count, 100 for example."
            )
    return with_canaries(splits, wanted.count, kind=wanted.kind, seed=config.seed)


def _check_blind(config: CompressConfig, splits: Splits) -> None:
    """Refuse groups of rows that can be distinguished without a model, before hours of training."""
    steer, seed = splits.steer, derive(config.seed, "blind")
    cut = steer.map(lambda rows: halves(rows.ids, seed=seed))
    try:
        baseline = blind_baseline(steer, halves=cut, seed=seed)
    except UndecidableError:
        return
    if baseline.alarm:
        raise DataError(
            f"{baseline.message} A column or word that names its rows (an identifier, a date) does "
            "the same: leave it out."
        )


def _check_columns(config: CompressConfig, splits: Splits) -> None:
    """Refuse columns of groups that the splits do not hold, before hours of training."""
    for name in group_columns(config):
        if name not in splits.groups:
            raise ConfigError(
                f"verdict.group_by: the splits hold no groups by '{name}'; make them with "
                f"groups={{'{name}': …}}, one value for each row."
            )


def _check_stages(prepared: PreparedRun) -> None:
    config = prepared.config
    limits_of(
        OBJECTIVES.build(config.steer.objective, where="steer.objective"),
        config,
        prepared.splits,
        density=prepared.target_density,
        has_dense=prepared.has_dense,
    )
    if build_first_mask(config).needs_dense and not prepared.has_dense:
        others = [n for n, part in FIRST_MASKS.parts.items() if not part.factory().needs_dense]
        raise ConfigError(
            f"sparse.initialize is {config.sparse.initialize!r}, which looks at a trained dense "
            "model, but dense.epochs is 0 and no weights are given; train one, give weights, or "
            f"use one that begins without: {', '.join(others)}."
        )
    if config.shadows.count and prepared.trained:
        raise ConfigError(
            f"shadows.count is {config.shadows.count}, but the weights were given trained: a "
            "shadow model repeats the whole recipe from nothing, and how these weights came about "
            "is not known here. Train the dense model in this run, or set shadows.count: 0."
        )
    for stage in (
        config.dense,
        config.sparse.train,
        config.sparse.admm.train,
        config.sparse.gradual.train,
        config.sparse.student.train,
    ):
        inputs = prepared.splits.members.inputs
        if stage is not None and stage.augment in WORD_CHANGES:
            require_words(inputs, words_of(prepared.module), stage)
        elif stage is not None and stage.augment != "none" and not is_code(stage.augment):
            require_images(inputs)
    if config.engine.threads is not None:
        available = torch.get_num_threads()
        if config.engine.threads > 4 * max(available, 1):
            raise ConfigError(
                f"engine.threads is {config.engine.threads}; this machine offers {available}."
            )
