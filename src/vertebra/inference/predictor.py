"""Prediction with a model in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vertebra.decoders.base import Decoded
from vertebra.inference.engine import Engine
from vertebra.inference.pipeline import Pipeline
from vertebra.model import Branch, VisionModel
from vertebra.model_info import ModelInfo
from vertebra.optimize.half_precision import Precision
from vertebra.tasks import get_task


def model_info(model: VisionModel) -> ModelInfo:
    """What must be known of a model to use it."""
    channels = model.backbone.in_channels
    branches = {name: (model.branch(name).task, model.branch(name).labels) for name in model.branches}
    whole = frozenset(name for name in model.branches if _speaks_of_the_whole(model.branch(name)))
    fixed = model.backbone.fixed_size
    why_fixed = "" if fixed is None else f"its backbone is built for {fixed[0]}x{fixed[1]}"
    return ModelInfo(model.resize_spec, channels, branches, whole, why_fixed)


def _speaks_of_the_whole(branch: Branch) -> bool:
    return get_task(branch.task).describes_whole_image(branch.decoder.needs is not None)


class Predictor(Pipeline):
    """Runs a model on images, by the fastest way that gives the model's own outputs: see `inference_copy`. Files are read and
    prepared, and results finished, while the model works on other images. Threads may share it.

    Args:
        model: stays as it is, and a copy of it runs, if ``keep`` says so; or an engine, which several predictors may share, and
            which has its own device, precision, ``keep`` and ``compile``.
        device: "cpu", "cuda", "mps" …; by default the best there is.
        batch_size: images, or tiles, at a time.
        threshold: objects below this score are left out.
        skip_unreadable: leave unreadable files out and note them in ``skipped`` instead of raising.
        precision: "fp32", or "bf16" or "fp16" (GPU), which are faster where the processor has them, and differ a little.
        keep: False: the model is only there to be run by this predictor, which saves the memory of a copy.
        compile: compile the model with ``torch.compile``: half a minute at first and for each new shape, then perhaps faster.
        threads: of the CPU that torch may use, for the whole process; None leaves that as it is.
        tile: side in image pixels of the square tiles that larger images are looked at in; None: always the whole image.
        overlap: least overlap of neighboring tiles, as a part of their side.
        flip: look at each image, or tile, mirrored too, and put together what is found.
        scales: of the canvas; at each the image is looked at, and what is found is put together.

    Raises:
        ConfigError: there is no such device or precision, or the device does not compute in it; there are no such tiles or
            scales, or the model cannot be used with them.
    """

    def __init__(
        self,
        model: VisionModel | Engine,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        threshold: float = 0.3,
        skip_unreadable: bool = False,
        precision: Precision = "fp32",
        keep: bool = True,
        compile: bool = False,
        threads: int | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        engine = (
            model
            if isinstance(model, Engine)
            else Engine(model, device=device, precision=precision, keep=keep, compile=compile)
        )
        super().__init__(
            model_info(engine.model),
            batch_size=batch_size,
            threshold=threshold,
            skip_unreadable=skip_unreadable,
            tile=tile,
            overlap=overlap,
            flip=flip,
            scales=scales,
        )
        if threads is not None:
            torch.set_num_threads(threads)
        self.engine = engine

    @property
    def model(self) -> VisionModel:
        """What runs."""
        return self.engine.model

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.engine.device

    @property
    def precision(self) -> Precision:
        """What is computed in."""
        return self.engine.precision

    def compute(self, images: Tensor, sizes: Tensor) -> Mapping[str, Decoded]:
        """Decoded outputs by branch, as tensors; see `Engine.compute`."""
        return self.engine.compute(images, sizes)

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs of canvases; see `Pipeline.run`."""
        decoded = self.compute(torch.from_numpy(canvases).permute(0, 3, 1, 2), torch.from_numpy(sizes))
        return {name: [value.cpu().numpy() for value in fields] for name, fields in decoded.items()}
