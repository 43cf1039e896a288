"""The training step as a Lightning module: the loss of all branches, divided once, and one optimizer step."""

from __future__ import annotations

import copy
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from vertebra.data.batches import Batch
from vertebra.evaluation.measure import Evaluation
from vertebra.evaluation.process_sums import has_processes, sum_over_processes
from vertebra.losses.loss_term import LossTerm
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.recipe.lr_schedule import lr_factor, make_schedule
from vertebra.recipe.step_plan import StepPlan
from vertebra.training.buffers import BufferBackup, copy_from_first_process, saved_buffers
from vertebra.training.ema import MovingAverage
from vertebra.training.epoch_cost import EpochCost
from vertebra.training.frozen_start import FrozenStart, check_backbone_options, frozen_steps
from vertebra.training.optimizers import make_optimizer
from vertebra.training.parameter_groups import parameter_groups
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.training.sharding import full, gather, is_sharded, shard
from vertebra.training.skipped_steps import SkippedStep, SkippedSteps
from vertebra.training.teacher import DISTILLATION, Teacher

Terms = dict[str, dict[str, LossTerm]]


class TrainingModule(pl.LightningModule):
    """Trains a `VisionModel`.

    One batch from the loader is one step: a list of ``accumulate`` micro batches. Optimization is manual because every
    loss term is divided by its count over all processes and all micro batches of the step, which must be known before
    the first backward pass.

    Args:
        model: the model to train.
        recipe: the options of training.
        pretrained: whether the backbone started from pretrained weights.
        teacher: a model from whose outputs this one learns too, or None.

    Attributes:
        requests: this process's requests to all processes: whether to stop and whether to save after the step.
        agreed: whether any process requested each of the two before the last step.
        skipped_steps: those that were not taken.
        cost: seconds and memory of the epoch.
        plan: the number of steps; None before training for that of the recipe's epochs.
    """

    def __init__(
        self, model: VisionModel, recipe: ResolvedTrain, pretrained: bool, teacher: Teacher | None = None
    ) -> None:
        super().__init__()
        check_backbone_options(recipe, model.backbone, pretrained)
        self.automatic_optimization = False
        self._whole = [model] if is_sharded(recipe) else []  # a list, so that its weights are not this module's
        self.model = copy.deepcopy(model) if is_sharded(recipe) else model
        self._compiled_loss = torch.compile(self.model.loss) if recipe.compile else None
        self.average = None if recipe.ema is None else MovingAverage(model, recipe.ema)
        self.recipe = recipe
        self.pretrained = pretrained
        self.teacher = teacher
        self.evaluation = Evaluation(model_info(model))
        self.scores: dict[str, float] | None = None
        self.losses: dict[str, float] = {}
        self.skipped_steps = SkippedSteps()
        self.cost = EpochCost()
        self.plan: StepPlan | None = None
        self.requests: tuple[bool, bool] = (False, False)
        self.agreed: tuple[bool, bool] = (False, False)

    @property
    def best_model(self) -> VisionModel:
        """The model that is evaluated and saved: the moving average, or the model itself without one."""
        return self.model if self.average is None else self.average.model  # type: ignore[return-value]

    @property
    def is_sharded(self) -> bool:
        """Whether each process has only a part of the weights."""
        return bool(self._whole)

    def whole_model(self) -> VisionModel:
        """The `best_model` with whole weights; all processes must call it."""
        for whole in self._whole:
            gather(self.best_model, whole)
            return whole
        return self.best_model

    def configure_model(self) -> None:
        """Divides the weights among the processes, for the strategy fsdp."""
        if not self._whole or isinstance(self.model, FSDPModule):
            return
        self.to(self.trainer.strategy.root_device)
        for model in (self.model, *([] if self.average is None else [self.average.model])):
            shard(model, self.device_mesh["data_parallel"])  # type: ignore[arg-type]

    def configure_optimizers(self) -> dict[str, Any]:
        groups = parameter_groups(self.model.backbone, self.model, self.recipe, self.pretrained)
        optimizer = make_optimizer(groups, self.recipe)
        # Lightning's estimate would open the loaders before a resumed run's state is loaded
        plan = self.plan or StepPlan(self.recipe.epochs * len(self.trainer.datamodule.train_dataloader()))
        self.plan = plan
        schedule = make_schedule(self.recipe.lr_schedule.name, self.recipe.lr_schedule.options)
        self._frozen_start = FrozenStart(self.model.backbone, frozen_steps(self.recipe, plan.first))

        def factor(step: int, frozen: int) -> float:
            return lr_factor(plan.schedule_step(step), plan.first, self.recipe.warmup, schedule, frozen)

        factors: list[Callable[[int], float]] = [
            partial(factor, frozen=self._frozen_start.steps if group["pretrained"] else 0) for group in groups
        ]
        lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
        return {"optimizer": optimizer, "lr_scheduler": lr_scheduler}

    def on_train_start(self) -> None:
        self._backup = BufferBackup(self.model)
        self._choose_evaluation()  # Lightning starts no epoch where a run is resumed in the middle of one
        if self.teacher is not None:
            self.teacher.to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped_steps"] = dict(self.skipped_steps.counts)
        checkpoint["nonfinite_steps"] = self.skipped_steps.in_a_row
        checkpoint["origin"] = dict(self.model.origin)  # for the run's model files, also after it was resumed
        checkpoint["cost"] = self.cost.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped_steps.counts = Counter(checkpoint["skipped_steps"])
        self.skipped_steps.in_a_row = checkpoint.get("nonfinite_steps", 0)  # older versions did not save it
        for model in (self.model, self.best_model, *self._whole):
            model.origin = dict(checkpoint["origin"])
        if "cost" in checkpoint:  # not in states of older versions
            self.cost.load_state_dict(checkpoint["cost"])

    def on_train_epoch_start(self) -> None:
        self._choose_evaluation()

    def _choose_evaluation(self) -> None:
        # the last epoch is always evaluated, so that a run ends with a score
        last = self.current_epoch + 1 == self.trainer.max_epochs
        self.trainer.check_val_every_n_epoch = 1 if last else self.recipe.evaluate_every
        self.cost.begin("data")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.cost.begin(None)

    def training_step(self, step: Sequence[Batch], batch_idx: int) -> None:
        torch.manual_seed(draw_seed(self.recipe.seed, self.global_step, self.global_rank))
        optimizer: Any = self.optimizers()
        self.cost.begin("forward", self.device)
        if self._whole:
            copy_from_first_process(self._backup.buffers)  # as DDP does
        self._backup.save()
        counts = self._counts(step)
        losses: dict[str, Tensor] = {}
        assert self.plan is not None
        self._frozen_start.apply(self.plan.schedule_step(self.global_step))
        for micro in step:
            self.cost.begin("forward", self.device)
            terms = self._terms(micro)
            scaled = self._divide(terms, counts)
            for name, value in scaled.items():
                losses[name] = losses.get(name, value.new_zeros(())) + value.detach()
            self.cost.begin("backward", self.device)
            if scaled:
                total = torch.stack([self._weight(name) * value for name, value in scaled.items()]).sum()
                self.manual_backward(total * self.trainer.world_size)
        if self._is_finite(losses, step, optimizer):
            optimizer.step()
            if self.average is not None:
                self.average.update(self.model)
        else:
            self._backup.restore()
        optimizer.zero_grad(set_to_none=True)
        lr_scheduler: Any = self.lr_schedulers()
        lr_scheduler.step()
        self.cost.begin(None, self.device)
        self.cost.images += sum(map(len, step))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.cost.measure_memory(self.device, now=self.trainer.is_last_batch)
        self.cost.begin(None if self.trainer.is_last_batch else "data")

    def _clip(self, optimizer: Any) -> bool:
        """Clips the gradients' norm if the recipe has ``clip_norm``, and returns whether it is finite. Gradients of float16 are
        still multiplied by the loss scale here. (Lightning's clipping refuses fused optimizers in mixed precision.)"""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = full(torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None]))
        scale = 1.0 if scaler is None else scaler.get_scale()
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, self.recipe.clip_norm * scale, norm)
        # above a scale of 1 the scaler skips the step itself and lowers the scale
        return scale > 1 or bool(norm.isfinite())

    def _weight(self, name: str) -> float:
        branch, _, term = name.partition("/")
        factor = self.teacher.weight if self.teacher is not None and term == DISTILLATION else 1.0
        return factor * self.model.branch(branch).weight

    def _terms(self, micro: Batch) -> Terms:
        targets = {name: (branch.rows, branch.targets) for name, branch in micro.targets.items()}
        compiled = self._compiled_loss if torch.is_grad_enabled() else None
        loss = compiled or self.model.loss
        terms, outputs = loss(micro.images, micro.sizes, targets)
        return terms if self.teacher is None else self.teacher.add_terms(terms, self.model, micro, outputs)

    def _counts(self, step: Sequence[Batch]) -> Tensor | None:
        """Counts of all terms over the step's micro batches and all processes; None where one pass gives both.

        With several micro batches the counts are taken in a first pass without gradients, in evaluation mode, so that
        norms update their statistics only once.
        """
        if len(step) == 1:
            return None
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            counts = [self._count_vector(self._terms(micro)) for micro in step]
        self.model.train(was_training)
        return sum_over_processes(torch.stack(counts).sum(dim=0))

    def _count_vector(self, terms: Terms) -> Tensor:
        zero = torch.zeros((), device=self.device)
        counts = {
            f"{name}/{term}": value.count
            for name, branch_terms in terms.items()
            for term, value in branch_terms.items()
        }
        return torch.stack([counts.get(name, zero).detach().float().to(self.device) for name in self._term_names()])

    def _term_names(self) -> list[str]:
        taught = [] if self.teacher is None else self.teacher.branches
        return [
            f"{name}/{term}"
            for name in self.model.branches
            for term in (*self.model.branch(name).decoder.terms, *([DISTILLATION] if name in taught else []))
        ]

    def _divide(self, terms: Terms, counts: Tensor | None) -> dict[str, Tensor]:
        if counts is None:
            counts = sum_over_processes(self._count_vector(terms))
        divisor = dict(zip(self._term_names(), counts.clamp(min=1).unbind(), strict=True))
        return {
            f"{name}/{term}": value.sum / divisor[f"{name}/{term}"]
            for name, branch_terms in terms.items()
            for term, value in branch_terms.items()
        }

    def _over_processes(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of the whole step: each process has its part of each term, divided by the count of all processes."""
        if not has_processes():
            return losses
        zero = torch.zeros((), device=self.device)
        names = self._term_names()
        values = torch.stack([losses.get(name, zero).float() for name in names])
        present = torch.tensor([float(name in losses) for name in names], device=self.device)
        values, present = sum_over_processes(torch.stack([values, present])).unbind()
        return {
            name: value for name, value, count in zip(names, values.unbind(), present.tolist(), strict=True) if count
        }

    def _is_finite(self, losses: dict[str, Tensor], step: Sequence[Batch], optimizer: Any) -> bool:
        """Stores the losses for the progress display, clips the gradients, and returns whether the step's loss, gradient and
        running statistics are finite in all processes.

        Args:
            losses: this process's part of each.
            step: its micro batches.
            optimizer: has the gradients.

        Raises:
            RunError: ten steps in a row were not finite.
        """
        totals, buffers = self._over_processes(losses), self._backup.size()
        values = [*totals.values(), *([] if buffers is None else [buffers])]
        numbers = torch.stack([value.float() for value in values]).tolist() if values else []
        self.losses = dict(zip(totals, numbers, strict=False))
        lost = [name for name, value in self.losses.items() if not math.isfinite(value)]
        nonfinite = [f"the loss {name}" for name in lost if name in losses and not bool(losses[name].isfinite())]
        if not lost and not self._clip(optimizer):  # in all processes or in none, for sharded gradients
            nonfinite = ["the gradient"]
        if not lost and not all(map(math.isfinite, numbers)):
            nonfinite = ["a running statistic"]
        anywhere = self._agree(bool(lost or nonfinite))
        if anywhere:
            skipped = SkippedStep(self.global_step + 1, ", ".join(nonfinite), dict(self.losses), step)
            self.skipped_steps.add(skipped, self.global_rank if self.trainer.world_size > 1 else None)
        else:
            self.skipped_steps.end_series()
        return not anywhere

    def _agree(self, nonfinite: bool) -> bool:
        """Whether the step is not finite in any process; their requests are exchanged with it."""
        self.agreed = self.requests
        if has_processes():
            flags = sum_over_processes(
                torch.tensor([nonfinite, *self.requests], dtype=torch.float32, device=self.device)
            )
            nonfinite, stop, save = (flags > 0).tolist()
            self.agreed = (stop, save)
        return nonfinite

    def on_validation_start(self) -> None:
        self.cost.begin("evaluation")
        copy_from_first_process(saved_buffers(self))

    def on_validation_end(self) -> None:
        self.cost.begin(None)

    def validation_step(self, micro: Batch, batch_idx: int) -> None:
        self.evaluation.update(micro, self.best_model)

    def on_validation_epoch_start(self) -> None:
        self.evaluation.reset()

    def on_validation_epoch_end(self) -> None:
        self.scores = self.evaluation.compute()


def draw_seed(*numbers: int) -> int:
    """One seed from several numbers, by a hash."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
