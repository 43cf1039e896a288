"""What a task is to the rest of the house: its types, and the way to its predictions and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vertebra.tasks.base import LabelSpec
from vertebra.tasks.data import TaskData

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.preprocess.tiles import Grid, Tile
    from vertebra.preprocess.view_transform import ViewTransform
    from vertebra.tasks.metric import TaskMetric
    from vertebra.tasks.picture import ImageLike


class Prediction(Protocol):
    """What predictions of all tasks can do."""

    @property
    def image(self) -> ImageLike | None:
        """What was predicted on; None where it is not known."""

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """A picture of the prediction, on the given image or on the one that was predicted on."""

    def with_threshold(self, threshold: float) -> Any:
        """Without objects whose score is below ``threshold``; what is not about objects stays as it is."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with class names."""


class TTAMerger(Protocol):
    """Makes the decoded arrays of one image, or of a tile of one, out of those of several looks at it."""

    def __init__(self, labels: Any, whole: bool) -> None:
        """For one image.

        Args:
            labels: the task's label specification.
            whole: whether the branch says one thing of the image as a whole.
        """

    def add(self, decoded: Sequence[np.ndarray], sight: ViewTransform) -> None:
        """What one look shows.

        Args:
            decoded: its decoded arrays, as ``Task.from_decoded`` takes them, in the pixels of its canvas.
            sight: how the image lies on that canvas.
        """

    def finish(self) -> list[np.ndarray]:
        """The same arrays for all looks together, in the pixels of the plain canvas."""


class TileMerger(Protocol):
    """Makes the prediction of one image out of what its tiles show.

    Attributes:
        whole_too: whether it wants to see the whole image, made small, after the tiles.
    """

    whole_too: ClassVar[bool]

    def __init__(self, labels: Any, grid: Grid, threshold: float) -> None:
        """For one image.

        Args:
            labels: the task's label specification.
            grid: the tiles of the image.
            threshold: objects below this score are left out.
        """

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """What one tile shows; tiles come in the grid's order.

        Args:
            decoded: the tile's decoded arrays, as ``Task.from_decoded`` takes them.
            transform: where the tile lies on the canvas.
            tile: where it lies in the image.
        """

    def finish(self, image: ImageLike | None) -> Any:
        """The prediction, after all tiles were added."""


@dataclass(frozen=True)
class Task:
    """One task. Nothing here loads torch before ``metric`` is called.

    Attributes:
        name: its name in configs ("detect").
        labels: the class of its label specification.
        annotation: the class of the truth of one image.
        prediction: the class of the prediction of one image.
        monitor: the metric that picks the best weights, unless the user names another.
        from_decoded: one image's decoded arrays in their order, its placement on the canvas, the label
            specification and the image (or None) to its prediction; numpy only.
        similarity: two predictions of one image, the second by lower precision, to how far they agree, 0 to 1.
        to_image: the task's decoded outputs as tensors, a
            `vertebra.preprocess.image_transform_torch.ImageTransforms` and the images' (height, width), to the
            same outputs in the images' own pixels.
        metric: a label specification to a fresh metric (a ``torchmetrics.Metric``).
        data: how its annotations are handled on the way to a batch.
        views: how several looks at one image, mirrored or at another scale, become one.
        tiles: how predictions on tiles become one; None for a task that speaks of an image as a whole.
        class_map: like ``to_image``, but gives one map (N, H, W) of class ids; None for a task without pixels' classes.
    """

    name: str
    labels: type[LabelSpec]
    annotation: type[Any]
    prediction: type[Any]
    monitor: str
    from_decoded: Callable[[Sequence[np.ndarray], Any, Any, Any], Any]
    similarity: Callable[[Any, Any], float]
    to_image: Callable[[Any, Any, Any], Any]
    metric: Callable[[Any], TaskMetric]
    data: TaskData
    views: type[TTAMerger]
    tiles: type[TileMerger] | None = None
    class_map: Callable[[Any, Any, Any], Any] | None = None
