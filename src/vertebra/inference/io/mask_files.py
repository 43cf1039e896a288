"""Writes segmentation masks as PNG files of class ids, with a legend file; without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vertebra.errors import ConfigError, DataError, RunError
from vertebra.files import os_error_sentence, os_errors_as_run_errors, replacing, save_under_free_name
from vertebra.inference.io.output_names import output_location
from vertebra.inference.io.pictures import encoded
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.tasks import all_tasks, get_task
from vertebra.tasks.base import LabelSpec

LEGEND = "classes.json"
Color = tuple[int, int, int]
BLACK: Color = (0, 0, 0)


class MaskFolder:
    """Writes the masks of a model's segmentation branches, and the file ``classes.json`` with the id, name and color of each
    class, by branch.

    A mask has the image's size; each pixel is a class id. Its palette has the colors of the pictures, with black for a background.
    The file is ``<image>.png`` if there is one segmentation branch, else ``<image>_<branch>.png``; for a video frame, the frame
    number follows the video's name. If classes may overlap, each class that occurs has its own file ``<name>_<class id>.png``,
    which is 1 where the class is. A number is added to names that exist.

    Args:
        folder: created if needed.
        info: of the model.
        root: the folder of the images; the subfolders between it and an image are repeated in ``folder``.

    Attributes:
        count: the number of written masks.

    Raises:
        ConfigError: no branch segments.
        RunError: the folder has masks of other classes, or cannot be written.
    """

    def __init__(self, folder: Path, info: ModelInfo, root: Path | None = None) -> None:
        self.folder, self.root, self.count = folder, root, 0
        self.labels: dict[str, LabelSpec] = {}
        self.colors: dict[str, list[Color]] = {}
        for name, (task, labels) in info.branches.items():
            colors_of = get_task(task).mask_colors
            if colors_of is not None:
                self.labels[name], self.colors[name] = labels, colors_of(labels)
        if not self.labels:
            tasks = ", ".join(name for name, task in all_tasks().items() if task.mask_colors is not None)
            raise ConfigError(f"--masks is for branches of task {tasks}; this model has: {', '.join(info.branches)}")
        self._legend = self._new_legend()

    def write(self, result: Result) -> dict[str, Any]:
        """Writes the masks of an image.

        Returns:
            The files by branch; if classes may overlap, by branch and class name.
        """
        if self._legend is not None:
            self._write_legend(self._legend)
            self._legend = None
        subfolder, stem = output_location(result, self.root)
        stem += "" if result.frame is None else f"_{result.frame:06d}"
        written: dict[str, Any] = {}
        for branch, labels in self.labels.items():
            colors = self.colors[branch]
            name = stem if len(self.labels) == 1 else f"{stem}_{branch}"
            mask: np.ndarray = result[branch].mask
            if mask.ndim == 2:
                written[branch] = self._save(mask, colors[:256], subfolder, name)
                continue
            written[branch] = {
                labels.classes[class_id]: self._save(
                    layer.astype(np.uint8), [BLACK, colors[class_id]], subfolder, f"{name}_{class_id}"
                )
                for class_id, layer in enumerate(mask)
                if layer.any()
            }
        return written

    def _save(self, mask: np.ndarray, colors: list[Color], subfolder: Path, name: str) -> Path:
        picture = Image.fromarray(np.ascontiguousarray(mask))
        if mask.dtype == np.uint8:  # more than 256 classes have 16 bits, and no palette
            values = [value for color in colors for value in color]
            picture.putpalette(
                values + [0] * (768 - len(values))
            )  # Pillow would use fewer bits per pixel for a short palette
        self.count += 1
        return save_under_free_name(self.folder / subfolder, name, ".png", encoded(picture, "PNG"))

    def _new_legend(self) -> dict[str, Any] | None:
        """The legend by branch; None if the folder has it already."""
        legend = {
            branch: [
                {"id": class_id, "name": name, "color": list(color)}
                for class_id, (name, color) in enumerate(zip(labels.classes, self.colors[branch], strict=True))
            ]
            for branch, labels in self.labels.items()
        }
        path = self.folder / LEGEND
        with os_errors_as_run_errors(path):
            if not path.exists():
                return legend
        if _read(path) != legend:
            raise RunError(
                f"{path} lists other classes than this model has, and nothing is overwritten; choose another folder"
            )
        return None

    def _write_legend(self, legend: dict[str, Any]) -> None:
        path = self.folder / LEGEND
        with os_errors_as_run_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(legend, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(os_error_sentence(error, path)) from None
    except ValueError:
        return None
