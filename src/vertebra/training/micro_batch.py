"""The micro batch of a run by trial: as many images as fit into memory, measured on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vertebra.config import TrainConfig
from vertebra.data.batches import Batch, collate
from vertebra.data.samples import MixedData, Sample, SampleKey
from vertebra.model import VisionModel
from vertebra.recipe.defaults import ACTIVATION_FACTOR, MAX_BYTES_PER_PIXEL
from vertebra.tasks import task_of
from vertebra.training.precision import choose_precision
from vertebra.training.teacher import Teacher

TOO_MUCH = 2**60  # bytes, for a step that does not fit
STATES = 2  # numbers that the optimizer keeps for each weight, AdamW's
EXAMPLES = 8  # images of each kind of labels, of which the one with most objects is measured
DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class StepMemory(NamedTuple):
    """The memory of a training step.

    Attributes:
        fixed: bytes of weights, gradients, optimizer and moving average, and what does not depend on the batch.
        per_image: bytes for each image.
    """

    fixed: int
    per_image: int

    def of(self, images: int) -> int:
        """Bytes for a number of images."""
        return self.fixed + images * self.per_image


def fitting_images(
    model: VisionModel, data: MixedData, recipe: TrainConfig, size: int, device: torch.device, budget: int | None
) -> tuple[int, str]:
    """The number of images of a micro batch, and the reason; empty if the whole step fits.

    Args:
        model: is left as it is, and so are the random states.
        data: training images, not augmented.
        recipe: has the canvas, the precision and the moving average.
        size: images of the whole step in a process.
        device: that the run computes on.
        budget: bytes that may be used; None if unknown, and then nothing is measured.

    Returns:
        A number that divides ``size``.
    """
    weights = weight_bytes(model, recipe.ema is not None)
    height, width = data.resize_spec.size
    if budget is None or size == 1 or weights + size * height * width * MAX_BYTES_PER_PIXEL <= budget:
        return size, ""
    memory = step_memory(model, data, choose_precision(recipe, model), device)
    if memory is None:
        return size, ""
    memory = memory._replace(fixed=memory.fixed + weights)
    fitting = [images for images in range(1, size + 1) if size % images == 0 and memory.of(images) <= budget]
    images = max(fitting, default=1)
    if images == size:
        return size, ""
    if memory.per_image == TOO_MUCH:
        return images, f"of {size} images a step not even two fit into memory at a time"
    reason = f"of {size} images a step {images} at a time fit into memory: {_gb(memory.fixed)} and {_gb(memory.per_image)} an "
    return images, f"{reason}image, of {_gb(budget)}"


def weight_bytes(model: nn.Module, average: bool) -> int:
    """Bytes of weights, gradients, optimizer and moving average."""
    weights = list(model.parameters())
    copies = 2 if average else 1
    trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
    return copies * sum(weight.nbytes for weight in weights) + (1 + STATES) * trained


def step_memory(model: VisionModel, data: MixedData, precision: str, device: torch.device) -> StepMemory | None:
    """The memory of a training step without weights, measured on steps of one and of two images; None if they cannot run.

    A kind of images is those that are labeled for the same branches; the one that needs most counts.
    """
    batches = [sample for group in range(len(data.groups)) if (sample := _fullest(data, group)) is not None]
    try:
        trial = copy.deepcopy(model).to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    except Exception:  # foreign modules hold anything; training names it
        return None
    measure = _allocated if device.type == "cuda" else _saved
    devices = [device] if device.type == "cuda" else []
    measured = []
    with torch.random.fork_rng(devices):
        for sample in batches:
            autocast = torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()
            with autocast:
                measured.append(_measure_both(trial, sample, data, measure, device))
    del trial
    if devices:
        torch.cuda.empty_cache()
    counts = [each for each in measured if each is not None]
    if not counts:
        return None
    return StepMemory(max(each.fixed for each in counts), max(each.per_image for each in counts))


def _fullest(data: MixedData, group: int) -> Sample | None:
    """Of some images with the same labeled branches, the one with most objects; None if none of them can be read."""
    kind = data.groups[group]
    samples = [data[SampleKey(kind.source, int(row))] for row in kind.rows[:EXAMPLES]]
    return max(
        (sample for sample in samples if sample.targets), key=lambda sample: _objects(sample, data), default=None
    )


def _objects(sample: Sample, data: MixedData) -> int:
    counts = (task_of(each).data.counted(each, data.labels[name]) for name, each in sample.targets.items())
    return sum(counts)


def _measure_both(
    trial: VisionModel,
    sample: Sample,
    data: MixedData,
    measure: Callable[[VisionModel, Batch], int],
    device: torch.device,
) -> StepMemory | None:
    """From steps of one and two images, or of two and three where a norm cannot be trained on one."""
    for images in (1, 2):
        try:
            fewer, more = (
                measure(trial, collate([sample] * count, data.labels).to(device)) for count in (images, images + 1)
            )
        except ValueError:
            continue
        except torch.OutOfMemoryError:
            return StepMemory(0, TOO_MUCH)
        except RuntimeError:  # training names it
            return None
        per_image = max(0, more - fewer)
        return StepMemory(max(0, fewer - images * per_image), per_image)
    return None


def _saved(trial: VisionModel, batch: Batch) -> int:
    """Bytes of memory of a step on the CPU, from the tensors that the forward pass saves for the backward pass."""
    weights = {value.untyped_storage().data_ptr() for value in (*trial.parameters(), *trial.buffers())}
    sizes: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(record, lambda tensor: tensor):
        loss = total_loss(trial, batch)
    total = sum(sizes.values())
    del loss
    return int(ACTIVATION_FACTOR * total)


def _allocated(trial: VisionModel, batch: Batch) -> int:
    """Bytes of memory of a step on a GPU, beside those that were allocated before."""
    device = batch.images.device
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    torch.autograd.backward(total_loss(trial, batch))
    peak = torch.cuda.max_memory_allocated(device) - before
    trial.zero_grad(set_to_none=True)
    return int(peak)


def total_loss(trial: VisionModel, batch: Batch, teacher: Teacher | None = None) -> Tensor:
    """The sum of all loss terms of a batch, also of those of a teacher."""
    targets: Mapping[str, Any] = {name: (branch.rows, branch.targets) for name, branch in batch.targets.items()}
    terms, outputs = trial.loss(batch.images, batch.sizes, targets)
    if teacher is not None:
        terms = teacher.add_terms(terms, trial, batch, outputs)
    return torch.stack([term.sum.float() for branch in terms.values() for term in branch.values()]).sum()


def _gb(count: int) -> str:
    return f"{count / 1e9:.2g} GB"
