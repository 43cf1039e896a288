"""Cameras and network streams: always the newest frame, whatever the model's speed; without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic

from vertebra.errors import DataError
from vertebra.inference.io.video import Capture, FrameInfo, VideoFrame, frame_rate, open_capture, rgb

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https")
_CAMERA = "camera:"
_LOOK_S = 0.5  # a wait without an end cannot be interrupted on Windows
_STOP_S = 5.0  # for a read that is under way; one that hangs ends with the process


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, or a stream in the network.

    Args:
        address: ``camera:0`` for the first camera, or ``rtsp://...``, ``rtmp://...``, ``http://...``.

    Raises:
        DataError: what follows ``camera:`` is no number.
    """

    address: str

    def __post_init__(self) -> None:
        number = self.address.removeprefix(_CAMERA)
        if number != self.address and not number.isdecimal():
            raise DataError(f"{self.address}: a camera is given by its number, such as camera:0")

    @property
    def name(self) -> str:
        """The address without what may be secret: all before the last ``@``, and what follows a ``?`` or ``#``."""
        if self.address.startswith(_CAMERA):
            return self.address
        scheme, _, rest = self.address.partition("://")
        return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"

    def frames(self) -> Iterator[VideoFrame]:
        """The newest frame whenever one is asked for, until the source ends; frames in between are dropped, but counted.

        Times are seconds since the source was opened.

        Raises:
            DataError: the source cannot be opened, or gives no frame.
            ConfigError: OpenCV is not installed.
        """
        number = self.address.removeprefix(_CAMERA)
        capture = open_capture(int(number) if number != self.address else self.address)
        if not capture.isOpened():
            capture.release()
            raise DataError(f"{self.name}: cannot be opened; is it connected, and used by no other program?")
        newest, seen = _Newest(capture, self.name), False
        try:
            while (frame := newest.take()) is not None:
                seen = True
                yield frame
        finally:
            newest.stop()
        if not seen:
            raise DataError(f"{self.name}: gives no frame")


def is_address(address: str) -> bool:
    """Whether a text is an address: of a camera, a stream, or an image in the network."""
    scheme, colon, _ = address.partition("://")
    return address.startswith(_CAMERA) or bool(colon and scheme.lower() in SCHEMES)


class _Newest:
    """Reads a capture in a thread and keeps its newest frame only. The capture belongs to the thread, which releases it."""

    def __init__(self, capture: Capture, name: str) -> None:
        self._capture, self._name = capture, name
        self._frame: VideoFrame | None = None
        self._error: Exception | None = None
        self._ended = self._stopped = False
        self._changed = Condition()
        self._thread = Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._thread.start()

    def take(self) -> VideoFrame | None:
        """The newest frame that was not taken before; waits for it. None at the end."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait(_LOOK_S)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._thread.join(_STOP_S)

    def _read(self) -> None:
        try:
            fps, number, start = frame_rate(self._capture), 0, monotonic()
            while not self._stopped and self._capture.grab():
                time = monotonic() - start
                whole, pixels = self._capture.retrieve()
                if whole:
                    self._put(VideoFrame(FrameInfo(self._name, number, time, fps), rgb(pixels)))
                number += 1
        except Exception as error:  # raised where frames are taken
            self._error = error
        finally:
            self._capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _put(self, frame: VideoFrame) -> None:
        with self._changed:
            self._frame = frame
            self._changed.notify()
