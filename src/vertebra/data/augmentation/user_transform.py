"""A transform of the user's own, such as a ``Compose`` of ``torchvision.transforms.v2``."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from vertebra.data.on_canvas import OnCanvas
from vertebra.data.transforms import to_canvas
from vertebra.errors import ConfigError, first_line
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec

OPTION = "the transform of 'train.augment'"


class UserTransform:
    """Calls a transform with each training image, before it is resized onto the canvas.

    The transform is called as ``transform(image)`` for images without boxes, masks and points, and else as
    ``transform(image, target)``; it returns the same things. ``image`` is a ``tv_tensors.Image`` (C, H, W) uint8. ``target`` is a
    dictionary of tensors, as the task's ``wrap`` makes it; for images of several branches a dictionary of these by branch.
    ``labels`` are row numbers, so that boxes can be dropped with them.

    Its random numbers are those of torch, numpy and Python, seeded for each image.

    Args:
        transform: any callable.
    """

    def __init__(self, transform: Callable[..., Any]) -> None:
        self.transform = transform

    def __reduce__(self) -> tuple[Any, ...]:
        """For loader processes.

        Raises:
            ConfigError: the transform cannot be sent to them.
        """
        try:
            pickle.dumps(self.transform)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"{OPTION} cannot be sent to loader processes ({first_line(error)}); use functions of a module in place of lambdas "
                "and local functions, or train.workers=0"
            ) from error
        return UserTransform, (self.transform,)

    def onto(
        self,
        image: np.ndarray,
        annotations: Mapping[str, Any],
        resize_spec: ResizeSpec,
        labels: Mapping[str, LabelSpec],
        draw: np.random.Generator,
    ) -> OnCanvas:
        """The transformed image and its annotations on the canvas.

        Args:
            image: (H, W, C) uint8.
            annotations: by branch, in image pixels.
            resize_spec: how the transformed image is resized.
            labels: by branch.
            draw: seeds the random numbers of the transform.

        Raises:
            ConfigError: the transform returned something else than it should.
        """
        size = (image.shape[0], image.shape[1])
        converters = {name: task_of(annotation).tv_tensors for name, annotation in annotations.items()}
        wrapped = {
            name: converter.wrap(annotations[name], size)
            for name, converter in converters.items()
            if converter is not None
        }
        pixels = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
        with seeded(draw):
            pixels, returned = self._call(pixels, wrapped)
        changed = np.ascontiguousarray(self._checked(pixels, image.shape[2]).numpy().transpose(1, 2, 0))
        new_size = (changed.shape[0], changed.shape[1])
        transformed = dict(annotations)
        for name, tensors in returned.items():
            converter = converters[name]
            assert converter is not None
            transformed[name] = converter.unwrap(annotations[name], tensors, new_size, labels.get(name))
        return to_canvas(changed, transformed, resize_spec, labels)

    def _call(self, image: Any, wrapped: dict[str, dict[str, Any]]) -> tuple[Any, dict[str, Mapping[str, Any]]]:
        """The transformed image, and the tensors of each branch."""
        if not wrapped:
            return self.transform(image), {}
        single = next(iter(wrapped)) if len(wrapped) == 1 else None
        result = self.transform(image, wrapped if single is None else wrapped[single])
        if not isinstance(result, tuple) or len(result) != 2:
            raise ConfigError(f"{OPTION} must return (image, target) as it takes them, got {type(result).__name__}")
        image, target = result
        returned = target if single is None else {single: target}
        for name, tensors in wrapped.items():
            entry = returned.get(name) if isinstance(returned, Mapping) else None
            missing = [key for key in tensors if not isinstance(entry, Mapping) or key not in entry]
            if missing:
                raise ConfigError(
                    f"{OPTION} must return the target with all of its entries; it lacks {', '.join(missing)}"
                )
        return image, returned

    def _checked(self, image: Any, channels: int) -> torch.Tensor:
        if not isinstance(image, torch.Tensor) or image.dtype != torch.uint8:
            kind = str(image.dtype) if isinstance(image, torch.Tensor) else type(image).__name__
            raise ConfigError(
                f"{OPTION} must return the image as a tensor of uint8, got {kind}; leave conversion to floats and normalization "
                "out: they are in the model"
            )
        if image.ndim != 3 or image.shape[0] != channels or 0 in image.shape:
            raise ConfigError(f"{OPTION} must return an image ({channels}, H, W), got shape {tuple(image.shape)}")
        return image.as_subclass(torch.Tensor)


@contextmanager
def seeded(draw: np.random.Generator) -> Iterator[None]:
    """Seeds the random numbers of torch, numpy and Python, and restores them afterwards."""
    seed = int(draw.integers(0, 2**32))
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
