"""Writes panoptic predictions as COCO does: a JSON file, and a PNG file of segment ids for each image; without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from vertebra.annotations.mask_files import segment_colors
from vertebra.files import os_errors_as_run_errors, replacing, save_under_free_name
from vertebra.inference.io.coco_results import CocoIds, coco_ids, refuse_existing
from vertebra.inference.io.output_names import output_location
from vertebra.inference.io.pictures import encoded
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.panoptic.branches import panoptic_branches
from vertebra.panoptic.types import PanopticPrediction

NAME = "panoptic"


class PanopticFolder:
    """Writes ``panoptic.json`` and the PNG files in ``panoptic``, as panopticapi reads them.

    Segments have ``id``, ``category_id``, ``bbox``, ``area``, ``iscrowd`` and ``isthing``, things a ``score``. A PNG file is named
    as its image, for a frame with the number of the frame. The JSON file is written at the end, also after an error, with all
    images that are done.

    Args:
        folder: created if needed; must not have a ``panoptic.json``.
        info: of the model.
        sources: the images to predict on.
        coco_gt: a COCO file with ids of images and classes; None for numbers in file names, and class ids from 1.
        root: the folder of the images; the subfolders between it and an image are repeated.

    Attributes:
        path: the JSON file.

    Raises:
        ConfigError: the model has no branches to fuse.
        DataError: an image or class is not in ``coco_gt``, or two images have one id.
        RunError: the JSON file exists.
    """

    def __init__(
        self,
        folder: Path,
        info: ModelInfo,
        sources: Sequence[Any],
        coco_gt: Path | None = None,
        root: Path | None = None,
    ) -> None:
        self.folder, self.root = folder, root
        self.path = folder / f"{NAME}.json"
        self.labels = panoptic_branches({name: labels for name, (_, labels) in info.branches.items()}).labels
        refuse_existing(self.path)
        named = [source for source in sources if isinstance(source, str | Path)]
        self.ids: CocoIds = coco_ids(named, self.labels.classes, coco_gt)
        self.categories = self.ids.categories or list(range(1, self.labels.class_count + 1))
        self.images: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []

    @property
    def count(self) -> int:
        """Number of written images."""
        return len(self.images)

    def write(self, result: Result) -> Path:
        """Writes the PNG file of an image or frame; the path of it."""
        prediction = result.panoptic
        subfolder, stem = output_location(result, self.root)
        stem += "" if result.frame is None else f"_{result.frame:06d}"
        picture = Image.fromarray(segment_colors(prediction.ids))
        path = save_under_free_name(self.folder / NAME / subfolder, stem, ".png", encoded(picture, "PNG"))
        image_id = self.ids.images.get(str(result.source)) if result.frame is None else None
        image_id = path.relative_to(self.folder / NAME).with_suffix("").as_posix() if image_id is None else image_id
        name = stem if result.source is None else Path(str(result.source)).name
        height, width = result.size
        self.images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        file_name = path.relative_to(self.folder / NAME).as_posix()
        self.entries.append({"image_id": image_id, "file_name": file_name, "segments_info": self._segments(prediction)})
        return path

    def _segments(self, prediction: PanopticPrediction) -> list[dict[str, Any]]:
        rows = []
        for segment, (left, top, right, bottom) in zip(prediction.segments, prediction.boxes.tolist(), strict=True):
            score = {} if math.isnan(segment.score) else {"score": segment.score}
            rows.append(
                {
                    "id": segment.id,
                    "category_id": self.categories[segment.class_id],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": segment.area,
                    "iscrowd": 0,
                    "isthing": int(segment.is_thing),
                    **score,
                }
            )
        return rows

    def close(self) -> None:
        """Writes the JSON file.

        Raises:
            RunError: it exists, or cannot be written.
        """
        refuse_existing(self.path)
        categories = [
            {"id": number, "name": name, "supercategory": "", "isthing": int(class_id < self.labels.thing_count)}
            for class_id, (number, name) in enumerate(zip(self.categories, self.labels.classes, strict=True))
        ]
        content = {"images": self.images, "annotations": self.entries, "categories": categories}
        with os_errors_as_run_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as part:
            part.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    def __enter__(self) -> PanopticFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.images or kind is None:
            self.close()
