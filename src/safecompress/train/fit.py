"""Training as a function: a candidate and a number of steps in, a new candidate out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from safecompress import randomness
from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ConfigError, NonFiniteError
from safecompress.protocols import (
    Batch,
    Defense,
    Internals,
    ModelLike,
    Outputs,
    Rows,
    TrainingContext,
)
from safecompress.topology import Topology, maskable_parameters
from safecompress.train.active import Active, ActiveWeights, sparse_parts
from safecompress.train.batches import Batches
from safecompress.train.engine import MixedPrecision, device_of, make_fabric, trains_alone
from safecompress.train.exchange import Exchange
from safecompress.train.internals import internals
from safecompress.train.loss import TrainingLoss, only_penalties
from safecompress.train.memory import kept_memory
from safecompress.train.optimizers import make_optimizer
from safecompress.train.predict import mode, predict
from safecompress.train.probe import ProbedSettings, choose_settings
from safecompress.train.progress import OnProgress, Reporter
from safecompress.train.scaler import Scaler
from safecompress.train.schedule import learning_rate
from safecompress.train.sparse_layers import (
    SparseLayerChoice,
    SparseLayers,
    computing_sparsely,
    without_own_gradient,
)
from safecompress.train.stack import LARGEST_STEP, Stack, obstacle
from safecompress.train.state import load_module_, require_finite, require_finite_losses
from safecompress.train.step import (
    Pairs,
    reseed_,
    update_averages_,
)
from safecompress.train.workbench import Workbench


class Trainer:
    """Trains candidates of one model in one stage.

    The module is a workbench: every method first puts a candidate's tensors into it. Batches,
    augmentation and dropout depend on (seed, stage, step) alone, so cutting a stage into pieces
    changes no bit, and candidates at the same step see the same batches. Tensors of candidates
    live on the CPU.

    Under several processes (as `torchrun` starts them) every batch is shared out, gradients are
    averaged, and every process returns the same candidate.

    Args:
        module: the model; moved to the engine's device and memory format.
        rows: the rows trained on.
        config: the stage's length, batches, optimizer and schedule.
        seed: the run's seed.
        engine: accelerator, devices and loggers.
        stage: name of the stage, mixed into every seed; stages with the same name and seed see
            the same batches.
        defenses: changes to the loss, in order.
        reference: rows for defenses that need non-members.
        validation: rows that steer, for defenses that watch the model on unseen rows.
        dense: the finished dense model, for defenses that ask it.
        soft_labels: float32 (rows, classes), class probabilities for soft targets.
        track_moving_average: keep a moving average of dense gradients per maskable parameter.
        settings: settings of an earlier probe to train with; by default probed now.
        typical: a mask like those that will be trained, for the probe; by default all weights
            exist.
        on_progress: called at most every 0.2 s.
        log_dir: folder of training curves, where the engine asks for loggers.

    Raises:
        ConfigError: when hardware, data and configuration do not fit together.
        DataError: when there are no rows.
    """

    def __init__(
        self,
        module: nn.Module,
        rows: Rows,
        config: TrainConfig,
        *,
        seed: int,
        engine: EngineConfig,
        stage: str = "train",
        defenses: Sequence[Defense] = (),
        reference: Rows | None = None,
        validation: Rows | None = None,
        dense: nn.Module | None = None,
        soft_labels: Tensor | None = None,
        track_moving_average: bool = False,
        settings: ProbedSettings | None = None,
        typical: Topology | None = None,
        on_progress: OnProgress | None = None,
        log_dir: Path | None = None,
    ) -> None:
        device = device_of(engine)
        module.to(device)
        self._module, self._config = module, config
        self._seed, self._stage = seed, stage
        self._track = track_moving_average
        self._worth_it = SparseLayerChoice()
        # A probe needs whole batches; shares of them are cut once the processes are known.
        self._batches = Batches(rows, config, seed=seed, stage=stage, device=device)
        sparsely = typical is not None and not track_moving_average and only_penalties(defenses)
        self.settings = settings or choose_settings(
            module,
            self._batches,
            config,
            device=device,
            total_steps=self.total_steps,
            topology=typical if sparsely and trains_alone(engine) else None,
        )
        self._bench = Workbench(module, self.settings.torch_format)
        self._fabric = make_fabric(
            engine, precision=self.settings.precision, stage=stage, log_dir=log_dir
        )
        self._rank, self._ranks = self._fabric.global_rank, self._fabric.world_size
        self._batches.share_(rank=self._rank, ranks=self._ranks)
        self._scaler = Scaler(self._fabric)
        self._optimizer = make_optimizer(config, self._bench.parameters)
        wrapped, self._stepper = self._fabric.setup(module, self._optimizer)
        self._alone = self._ranks == 1 and self.settings.precision == "32-true"
        self._model: nn.Module = wrapped
        if self._ranks == 1:
            # In fp32 Fabric's wrapper does nothing, but takes a tenth of a small step.
            self._model = module if self._alone else MixedPrecision(module, self._fabric)
        self._reporter = Reporter(
            on_progress, stage=stage, total=self.total_steps, rows=self._batches.size
        )
        context = TrainingContext(
            classes=predict(module, rows.take(torch.arange(1))).classes if defenses else 0,
            steps=self.total_steps,
            seed=seed,
            reference=reference,
            device=self._fabric.device,
            module=module,
            validation=validation,
            rows=len(rows),
            batch_size=self._batches.size,
            stage=stage,
            dense=None if dense is None else copy.deepcopy(dense).to(device).eval(),
        )
        if self._ranks > 1 and self.settings.precision != "32-true":
            asking = [d.name for d in defenses if d.needs_input_gradients]
            if asking:
                raise ConfigError(
                    f"defenses: {', '.join(asking)} look at input gradients, which several "
                    "processes can take in precision 32-true alone; set the stage's precision."
                )
        self._objective = TrainingLoss(defenses, context, soft_labels=soft_labels)
        if self._objective.samples_alone:
            if not self._alone:
                raise ConfigError(
                    "defenses: gradients of single rows need one device and precision 32-true; set "
                    "engine.devices: 1 and the stage's precision."
                )
            self._batches.draw_alone_()
        self._exchange = Exchange(
            module=module,
            bench=self._bench,
            optimizer=self._optimizer,
            config=config,
            scaler=self._scaler,
            objective=self._objective,
            fabric=self._fabric,
            track=track_moving_average,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch; a last batch that is not full is left out."""
        return self._batches.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return round(self._config.epochs * self._batches.steps_per_epoch)

    def start(self, topology: Topology | None = None) -> Candidate:
        """Return a candidate at step 0 with the module's weights as they are now.

        Args:
            topology: which weights exist; all of them by default. The others become zero.
        """
        return self._exchange.fresh(topology or Topology.dense(self._module))

    def load_(self, candidate: Candidate) -> None:
        """Put a candidate into the live module, which then computes as the candidate says.

        Weights that do not exist are zero, and quantized ones rounded.
        """
        self._bench.put_(candidate)

    def outputs(self, candidate: Candidate, rows: Rows) -> Outputs:
        """Return the candidate's outputs on `rows`.

        Raises:
            NonFiniteError: when a logit is NaN or infinite.
        """
        self.load_(candidate)
        return predict(self._module, rows)

    def internals(self, candidate: Candidate, rows: Rows) -> Internals:
        """Return what the candidate computes inside for `rows`.

        Raises:
            NonFiniteError: when a logit or a gradient is NaN or infinite.
            ModelError: when the model has no layer to look at.
        """
        self.load_(candidate)
        return internals(self._module, rows)

    def train(self, candidate: Candidate, steps: int) -> Candidate:
        """Return the candidate after `steps` more steps; the one given is left untouched.

        Raises:
            NonFiniteError: when the loss or a weight became NaN or infinite; names the step.
        """
        if steps <= 0:
            return candidate
        self._exchange.restore_(candidate)
        active = self._bench.active(candidate)
        averages = self._exchange.averages(candidate)
        losses = torch.zeros(steps, device=self._fabric.device)
        self._reporter.begin()
        sparsely = self._sparse_layers(candidate)
        with kept_memory(), self._training(), computing_sparsely(sparsely):
            gathered = without_own_gradient(active, sparsely)
            for index in range(steps):
                step = candidate.step + index
                losses[index] = self._step_(step, active, gathered, averages)
                if self._reporter.due():
                    self._report(losses[: index + 1], candidate.step)
                if self._fabric.loggers and (step + 1) % self.steps_per_epoch == 0:
                    self._log(losses[max(0, index + 1 - self.steps_per_epoch) : index + 1], step)
        self._check(losses, candidate.step)
        if candidate.step + steps >= self.total_steps:
            self._reporter.report(losses, step=candidate.step + steps)
        for logger in self._fabric.loggers:
            logger.save()
        return self._exchange.collected(candidate, averages=averages, steps=steps)

    def trains_together(self, candidates: Sequence[Candidate]) -> bool:
        """Return whether `train_together` can train these candidates, and takes less time.

        The size of a step decides and not a timing, so that the same run does the same arithmetic.
        """
        return (
            self._alone
            and not self._track
            and not self._objective.defended
            and not self._fabric.loggers
            and self._batches.size * sum(p.numel() for p in self._bench.parameters.values())
            <= LARGEST_STEP[self._fabric.device.type == "cpu"]
            and not obstacle(self._module, candidates)
        )

    def train_together(
        self, candidates: Sequence[Candidate], steps: int
    ) -> list[Candidate | NonFiniteError]:
        """Return the candidates after `steps` more steps, trained as one stack.

        Each is what `train` makes of it but for rounding; one whose loss or weights became NaN or
        infinite is the error that `train` would have raised.

        Args:
            candidates: those that `trains_together`, all at the same step.
            steps: at least 1.
        """
        self._bench.clear_()
        stack = Stack(
            self._module,
            candidates,
            self._config,
            self._bench.parameters,
            lambda batch, candidate: self._objective.targets(batch, candidate.soft_target),
        )
        first = candidates[0].step
        losses = torch.zeros(steps, len(candidates), device=self._fabric.device)
        self._reporter.begin()
        with kept_memory(), self._training():
            for index in range(steps):
                step = first + index
                batch = self._batches.at(step, memory_format=self.settings.torch_format)
                lr = learning_rate(self._config, step, total=self.total_steps)
                losses[index] = stack.step_(batch, lr=lr)
        found: list[Candidate | NonFiniteError] = []
        for candidate, own in zip(stack.collected(steps), losses.T, strict=True):
            try:
                load_module_(self._module, candidate.weights)
                self._check(own, first)
                found.append(candidate)
            except NonFiniteError as error:
                found.append(error)
        return found

    def gradient(self, candidate: Candidate, batches: int) -> dict[str, Tensor]:
        """Return the mean gradient of the training loss, dense and in fp32.

        Args:
            candidate: where the gradient is taken.
            batches: number of batches averaged: those the candidate would train on next.

        Returns:
            Per maskable parameter a CPU tensor of its shape; weights that do not exist have
            gradients too, and weight decay has no part in it.
        """
        self._exchange.restore_(candidate)
        parameters = maskable_parameters(self._module)
        sums = [torch.zeros_like(p) for p in parameters.values()]
        with kept_memory(), self._training():
            for step in range(candidate.step, candidate.step + batches):
                loss, _ = self._loss(step, self._module)
                gradients = torch.autograd.grad(
                    loss, list(parameters.values()), allow_unused=True, materialize_grads=True
                )
                torch._foreach_add_(sums, list(gradients))
        if self._ranks > 1:
            for total in sums:
                total.copy_(self._fabric.all_reduce(total, reduce_op="mean"))  # type: ignore[arg-type]
        return {
            name: (total / batches).detach().to("cpu", copy=True).contiguous()
            for name, total in zip(parameters, sums, strict=True)
        }

    @contextmanager
    def _training(self) -> Iterator[None]:
        with (
            mode(self._module, training=True),
            randomness.seeded(self._seed, self._stage),
            self._objective.training(),
        ):
            yield

    def _step_(
        self, step: int, active: Active, gathered: Sequence[ActiveWeights], averages: Pairs
    ) -> Tensor:
        self._optimizer.param_groups[0]["lr"] = learning_rate(
            self._config, step, total=self.total_steps
        )
        with self._bench.watched():
            loss, seen = self._loss(step, self._model)
        self._fabric.backward(loss)
        self._objective.before_step_(seen)
        if averages:
            update_averages_(averages, scale=self._scaler.scale)
        for part in gathered:
            part.read_gradient_()
        self._stepper.step()
        for part in sparse_parts(active):
            part.write_()
            part.values.grad = None
        self._bench.forget_gradients_()
        self._objective.after_step_(seen)
        return loss.detach()

    def _loss(self, step: int, model: ModelLike) -> tuple[Tensor, Batch | None]:
        reseed_(self._fabric.device, self._seed, self._stage, "step", step, self._rank)
        batch = self._batches.at(step, memory_format=self.settings.torch_format)
        return self._objective(model, batch, step)

    def _sparse_layers(self, candidate: Candidate) -> SparseLayers:
        """Return the layers that compute with their existing weights in this stage.

        Whoever looks at whole weights or their gradients (moving averages, some defenses, wrappers
        of mixed precision and several processes) gets them; so does a model that uses a layer's
        weight without calling the layer.
        """
        if self._track or not self._objective.only_penalties or not self._alone:
            return {}

        def backward() -> None:
            buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()]
            with self._training():
                loss, _ = self._loss(candidate.step, self._module)
                loss.backward()  # type: ignore[no-untyped-call]
            for buffer, before in buffers:
                buffer.copy_(before)

        found = self._worth_it.among(self._bench.sparse_layers(candidate), backward)
        self._bench.forget_gradients_()
        return found

    def _report(self, losses: Tensor, first: int) -> None:
        if self._ranks == 1:
            self._check(losses, first, weights=False)
        self._reporter.report(losses, step=first + len(losses))

    def _log(self, losses: Tensor, step: int) -> None:
        rate = learning_rate(self._config, step, total=self.total_steps)
        self._fabric.log_dict({"loss": float(losses.mean()), "lr": rate}, step=step + 1)

    def _check(self, losses: Tensor, first: int, *, weights: bool = True) -> None:
        """Raise NonFiniteError when a loss, or a weight where asked, is not finite."""
        where = f"training ({self._stage})"
        scaled = self._scaler.scale is not None
        require_finite_losses(losses, first, where=where, scaled=scaled)
        if weights:
            require_finite(self._module, where=f"{where}, by step {first + len(losses)}")
