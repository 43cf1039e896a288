"""Draws the recent path of each track on the frames of a video; without torch."""

from __future__ import annotations

from collections import deque

import numpy as np
from PIL import Image, ImageDraw

from vertebra.tasks.palette import color
from vertebra.tasks.picture import line_width, open_picture
from vertebra.tasks.prediction import Prediction

TRAIL_FRAMES = 30


class Trails:
    """The paths of the tracks of one video and branch: lines through the centers of their boxes in the last 30 frames with a
    result."""

    def __init__(self) -> None:
        self._centers: deque[dict[int, tuple[float, float]]] = deque(maxlen=TRAIL_FRAMES)

    def drawn(self, prediction: Prediction) -> Image.Image:
        """The frame with its objects and the paths of its tracks, under the objects; without paths if objects are not tracked.

        Args:
            prediction: of the next frame.

        Raises:
            DataError: see `Prediction.draw`.
        """
        if not prediction.trackable or prediction.track_ids is None:
            return prediction.draw()
        boxes = prediction.boxes
        centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
        ids: list[int] = np.asarray(prediction.track_ids).tolist()
        self._centers.append({track: (x, y) for track, (x, y) in zip(ids, centers, strict=True)})
        picture = open_picture(prediction.image)
        draw = ImageDraw.Draw(picture)
        for track in ids:
            path = [frame[track] for frame in self._centers if track in frame]
            if len(path) > 1:
                draw.line(path, fill=color(track), width=line_width(picture), joint="curve")
        return prediction.draw(picture)
