"""How annotations pass through a user's transform: as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class TVTensors(ABC):
    """Converts the annotations of one task."""

    @abstractmethod
    def wrap(self, annotation: Any, size: tuple[int, int]) -> dict[str, Any]:
        """The annotation as tensors by name.

        Args:
            annotation: in image pixels.
            size: (height, width) of the image.
        """

    @abstractmethod
    def unwrap(self, annotation: Any, tensors: Mapping[str, Any], size: tuple[int, int], labels: Any) -> Any:
        """The transformed annotation.

        Args:
            annotation: as it was.
            tensors: as the transform returned them.
            size: (height, width) of the transformed image.
            labels: the task's labels.

        Raises:
            ConfigError: the transform returned something else, or mirrored points whose pairs are unknown.
        """
