"""Prediction with a model in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vertebra.decoders.base import Decoded
from vertebra.errors import ConfigError
from vertebra.inference.engine import Engine
from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.pipeline import Pipeline, Track
from vertebra.keywords import check_count, strict_keywords
from vertebra.model import VisionModel, check_model
from vertebra.optimize.half_precision import Precision


class Predictor(Pipeline):
    """Runs a model on images through an optimized copy with the same outputs; see `inference_copy`. Threads read files and make
    results while the model runs on other images. Threads may share a predictor.

    Args:
        model: a model, of which a copy runs unless ``inplace`` is true; or an engine, which several predictors may share and
            which has its own device, precision, ``inplace`` and ``compile``.
        device: "cpu", "cuda", "mps" …; by default the best one available.
        batch_size: images or tiles per batch.
        threshold: minimum score of objects, of all classes. By default the scores that the model stores by class, and 0.3 for a
            model without them. Of classes that may overlap it is the one of ``accepted``.
        skip_unreadable: collect unreadable files in ``skipped`` instead of raising.
        precision: "fp32", "bf16" or "fp16" (GPU only). Half precision is faster on hardware that supports it; outputs differ
            slightly.
        inplace: optimize and run the model itself, which saves the memory of a copy; by default it is not changed.
        compile: compile the model with ``torch.compile``: about 30 seconds at first and for each new shape, then often faster.
        threads: CPU threads of torch, for the whole process; None leaves the setting unchanged.
        tile: side in image pixels of the square tiles that larger images are cut into; None: always the whole image.
        overlap: minimum overlap of neighboring tiles, as a fraction of their side.
        flip: also run the model on the mirrored image or tile, and merge the results.
        scales: factors of the canvas size; the model runs at each of them, and the results are merged.
        probabilities: keep the probabilities of each class at each pixel, in the image's size, as ``probabilities`` of segmentation
            predictions: (K, H, W) float32, 4 bytes for each pixel and class.
        track: give the objects of videos ids: True, the name of a tracker ("bytetrack", "ocsort"), or a mapping of its options with
            the tracker as ``name``; see `vertebra.Tracker`. None for no tracks.

    Raises:
        ConfigError: ``model`` is no model; the device or precision does not exist, or the device does not support the precision;
            the batch size, threshold, threads, tiles or scales are not valid, or the model does not support the tiles, scales or
            probabilities.
    """

    @strict_keywords
    def __init__(
        self,
        model: VisionModel | Engine,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        threshold: float | None = None,
        skip_unreadable: bool = False,
        precision: Precision = "fp32",
        inplace: bool = False,
        compile: bool = False,
        threads: int | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        probabilities: bool = False,
        track: Track = None,
    ) -> None:
        if threads is not None:
            check_count("threads", threads)
        if isinstance(model, ExportedModel):
            raise ConfigError(f"{model.path.name} is an exported file, which has its predictor: model.predictor(...)")
        if not isinstance(model, Engine):
            check_model("Predictor", model)
        engine = (
            model
            if isinstance(model, Engine)
            else Engine(model, device=device, precision=precision, inplace=inplace, compile=compile)
        )
        super().__init__(
            engine.info,
            batch_size=batch_size,
            threshold=threshold,
            skip_unreadable=skip_unreadable,
            tile=tile,
            overlap=overlap,
            flip=flip,
            scales=scales,
            probabilities=probabilities,
            track=track,
        )
        if threads is not None:
            torch.set_num_threads(threads)
        self.engine = engine

    @property
    def model(self) -> VisionModel:
        """The model that runs."""
        return self.engine.model

    @property
    def device(self) -> torch.device:
        """The device that it runs on."""
        return self.engine.device

    @property
    def precision(self) -> Precision:
        """The precision of its computations."""
        return self.engine.precision

    def compute(self, images: Tensor, sizes: Tensor) -> Mapping[str, Decoded]:
        """Decoded outputs by branch, as tensors; see `Engine.compute`."""
        return self.engine.compute(images, sizes)

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs of canvases; see `Pipeline.run`."""
        images = torch.from_numpy(canvases).permute(0, 3, 1, 2)
        decoded = self.engine.compute(images, torch.from_numpy(sizes))
        return {name: [value.cpu().numpy() for value in fields] for name, fields in decoded.items()}
