"""Prediction on images of any size, in the images' own pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.errors import DataError
from vertebra.inference.devices import pick_device
from vertebra.model import VisionModel
from vertebra.preprocess.images import SUFFIXES, apply, read_image, stack
from vertebra.tasks import get_task


class Result(Mapping[str, Any]):
    """What a model says of one image: a prediction for each branch, by the branch's name.

    Attributes:
        path: the image's file, or None where it came as an array.
        size: (height, width) of the image in pixels.
    """

    def __init__(self, predictions: dict[str, Any], path: Path | None, size: tuple[int, int]) -> None:
        self._predictions = predictions
        self.path = path
        self.size = size

    def __getitem__(self, branch: str) -> Any:
        return self._predictions[branch]

    def __iter__(self) -> Iterator[str]:
        return iter(self._predictions)

    def __len__(self) -> int:
        return len(self._predictions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "image": None if self.path is None else str(self.path),
            "height": self.size[0],
            "width": self.size[1],
            **{name: prediction.to_dict() for name, prediction in self.items()},
        }


class Predictor:
    """Runs a model on images.

    Args:
        model: is moved to the device and put in evaluation mode.
        device: "cpu", "cuda", "mps" …; by default the best there is.
        batch_size: images at a time.
        threshold: objects below this score are left out.
        skip_unreadable: leave unreadable files out with a warning instead of raising.
    """

    def __init__(
        self,
        model: VisionModel,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        threshold: float = 0.3,
        skip_unreadable: bool = False,
    ) -> None:
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.batch_size = batch_size
        self.threshold = threshold
        self.skip_unreadable = skip_unreadable
        self.skipped: list[str] = []

    def predict(self, images: Any) -> list[Result]:
        """Predictions for one image, a folder, or several images.

        Args:
            images: a file, a folder (all images in it, also in folders below), a Pillow image, an (H, W, C) or (H, W)
                array of 8 or 16 bit, or a sequence of these.

        Raises:
            DataError: a file is missing or unreadable; the message names it.
        """
        return list(self.stream(list_images(images)))

    def stream(self, images: Iterable[Any]) -> Iterator[Result]:
        """Predictions one after the other, for any number of images; see `predict`."""
        waiting: list[tuple[Any, np.ndarray]] = []
        for image in images:
            try:
                waiting.append((image, read_image(image, channels=self.model.backbone.in_channels)))  # type: ignore[arg-type]
            except DataError as error:
                if not self.skip_unreadable:
                    raise
                self.skipped.append(str(error))
            if len(waiting) == self.batch_size:
                yield from self._batch(waiting)
                waiting = []
        if waiting:
            yield from self._batch(waiting)

    @torch.inference_mode()
    def _batch(self, images: Sequence[tuple[Any, np.ndarray]]) -> list[Result]:
        canvases = [apply(self.model.plan, array) for _, array in images]
        places = [self.model.plan.place(array.shape[0], array.shape[1]) for _, array in images]
        tensor = torch.from_numpy(stack(canvases, self.model.plan)).permute(0, 3, 1, 2).to(self.device)
        sizes = torch.tensor([place.size for place in places], device=self.device)
        decoded = self.model(tensor, sizes)
        arrays = tree.tree_map(lambda value: value.cpu().numpy(), decoded)
        results = []
        for index, (source, array) in enumerate(images):
            path = Path(source) if isinstance(source, str | Path) else None
            predictions = {
                name: self._prediction(name, type(own)(*(value[index] for value in own)), places[index], path or array)
                for name, own in arrays.items()
            }
            results.append(Result(predictions, path, (array.shape[0], array.shape[1])))
        return results

    def _prediction(self, name: str, decoded: Any, place: Any, image: Any) -> Any:
        branch = self.model.branch(name)
        prediction = get_task(branch.task).from_decoded(decoded, place, branch.labels, image)
        return prediction.with_threshold(self.threshold)


def list_images(images: Any) -> list[Any]:
    """One entry for each image that a user means.

    Raises:
        DataError: a file or folder is missing, or a folder has no image.
    """
    if isinstance(images, list | tuple):
        return [image for entry in images for image in list_images(entry)]
    if not isinstance(images, str | Path):
        return [images]
    path = Path(images)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{path}: no image in this folder (looked for {', '.join(sorted(SUFFIXES))})")
        return list(found)
    if not path.exists():
        raise DataError(f"{path}: no such image or folder")
    return [path]
