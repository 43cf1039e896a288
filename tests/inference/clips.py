"""Tiny videos of known colors, and a camera that is none."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

FPS = 12.5
STEP = 10


def write_clip(path: Path, count: int, size: tuple[int, int] = (48, 64), fourcc: str = "mp4v") -> Path:
    """A video (height, width) whose frame n has the red of n * 10 and the blue of 250 - n * 10."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), FPS, size[::-1])
    for number in range(count):
        writer.write(np.full((*size, 3), (250 - STEP * number, 0, STEP * number), dtype=np.uint8))
    writer.release()
    return path


def turn(path: Path, turned: Path) -> Path:
    """The same MP4 with a note that it is to be shown turned by a quarter, as phones write it."""
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    turned.write_bytes(content)
    return turned


def number_of(pixels: np.ndarray) -> int:
    """Which frame of a clip these pixels (H, W, 3) RGB are, by their red and by their blue."""
    red, _, blue = pixels.reshape(-1, 3).mean(axis=0)
    assert abs(red + blue - 250) < 25, "no frame of a clip"
    return round(float(red + 250 - blue) / 2 / STEP)


class FakeCapture:
    """A camera that has a new frame every ``pause_s`` seconds, as an OpenCV capture."""

    def __init__(self, count: int, pause_s: float, opened: bool = True) -> None:
        self.count, self.pause_s, self.opened = count, pause_s, opened
        self.grabbed = 0
        self.released = False

    def isOpened(self) -> bool:
        return self.opened

    def grab(self) -> bool:
        time.sleep(self.pause_s)
        if self.grabbed == self.count:
            return False
        self.grabbed += 1
        return True

    def retrieve(self) -> tuple[bool, Any]:
        number = self.grabbed - 1
        return True, np.full((48, 64, 3), (250 - number % 25 * STEP, 0, number % 25 * STEP), dtype=np.uint8)

    def get(self, which: int) -> float:
        return 30.0

    def release(self) -> None:
        self.released = True
