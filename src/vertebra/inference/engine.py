"""A model prepared for inference on a device, for any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from vertebra.cpus import limit_torch
from vertebra.decoders.base import Decoded
from vertebra.inference.devices import pick_device
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.optimize.cuda_graphs import CudaGraphRunner, on_cpu
from vertebra.optimize.half_precision import Precision, autocast_context
from vertebra.optimize.inference_copy import inference_copy
from vertebra.optimize.model_itself import device_of, evaluation_mode, user_hooks


class Engine:
    """Runs a model on batches of canvases through an optimized copy with the same outputs; see `inference_copy`.

    A model with hooks of its user, or that cannot be copied, runs itself: as it is, on its device, neither compiled nor captured
    as a CUDA graph; its mode is the same afterwards.

    Threads may share it. They compute in parallel, except on a GPU, with a compiled model and with a model that runs itself,
    where they take turns.

    Args:
        model: a model, of which a copy runs unless ``inplace`` is true.
        device: "cpu", "cuda", "mps" …; by default the best one available.
        precision: "fp32", "bf16" or "fp16" (GPU only).
        inplace: optimize and run the model itself, which saves the memory of a copy; by default it is not changed.
        compile: compile the model with ``torch.compile``.

    Attributes:
        model: the model that runs.
        info: its preprocessing and branches.

    Raises:
        ConfigError: the device or precision does not exist, or the device does not support the precision.
    """

    def __init__(
        self,
        model: VisionModel,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
        inplace: bool = False,
        compile: bool = False,
    ) -> None:
        limit_torch()
        self.device = pick_device(device)
        self.precision = precision
        self.model = inference_copy(model, self.device, precision, pack=not compile, inplace=inplace)
        self.info = model_info(self.model)
        self._itself = (not inplace and self.model is model) or bool(user_hooks(self.model))
        self._run: Callable[..., Mapping[str, Decoded]] = self.model
        self._turn: AbstractContextManager[Any] = nullcontext()
        if self._itself:
            self.device = device_of(self.model, self.device)
        elif compile:
            self._run = torch.compile(self.model, mode="reduce-overhead" if self.device.type == "cuda" else None)
            self._turn = Lock()  # a new shape is compiled at its first run
        elif self.device.type == "cuda":
            self._run = CudaGraphRunner(self.model, self.device)

    @torch.inference_mode()
    def compute(self, images: Tensor, sizes: Tensor) -> Mapping[str, Decoded]:
        """Decoded outputs by branch, as tensors; those of an NVIDIA GPU are copied to the CPU.

        Args:
            images: (N, C, H, W) uint8 canvases.
            sizes: (N, 2) int64, (height, width) of each one's valid pixels.
        """
        mode = evaluation_mode(self.model) if self._itself else nullcontext()
        with self._turn, mode, autocast_context(self.precision, self.device):
            if isinstance(self._run, CudaGraphRunner):
                return self._run(images, sizes)
            decoded = self._run(images.to(self.device), sizes.to(self.device))
            return on_cpu(decoded) if self.device.type == "cuda" else decoded
