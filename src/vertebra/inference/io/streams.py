"""Cameras and network streams, of which always the latest frame is read; without torch."""

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
_WAIT_S = 0.5  # a wait without an end cannot be interrupted on Windows
_JOIN_S = 5.0  # for the current read; a read that hangs ends with the process


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, or a network stream.

    Args:
        address: ``camera:0`` for the first camera, or ``rtsp://...``, ``rtmp://...``, ``http://...``.

    Raises:
        DataError: ``camera:`` is not followed by a number.
    """

    address: str

    def __post_init__(self) -> None:
        number = self.address.removeprefix(_CAMERA)
        if number != self.address and not number.isdecimal():
            raise DataError(f"{self.address}: a camera is named by its number, such as camera:0")

    @property
    def name(self) -> str:
        """The address without possible secrets: everything before the last ``@``, and after a ``?`` or ``#``."""
        if self.address.startswith(_CAMERA):
            return self.address
        scheme, _, rest = self.address.partition("://")
        return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"

    def frames(self) -> Iterator[VideoFrame]:
        """Yields the latest frame at each step, until the source ends; frames in between are dropped, but counted.

        Times are seconds since the source was opened.

        Raises:
            DataError: the source cannot be opened, or has no frame.
            ConfigError: OpenCV is not installed.
        """
        number = self.address.removeprefix(_CAMERA)
        capture = open_capture(int(number) if number != self.address else self.address)
        if not capture.isOpened():
            capture.release()
            raise DataError(
                f"{self.name}: cannot be opened; check that it is connected, and that no other program uses it"
            )
        reader, any_frame = _LatestFrameReader(capture, self.name), False
        try:
            while (frame := reader.take()) is not None:
                any_frame = True
                yield frame
        finally:
            reader.stop()
        if not any_frame:
            raise DataError(f"{self.name}: no frame can be read")


def is_address(address: str) -> bool:
    """Whether a string is the address of a camera, a stream or an image."""
    scheme, colon, _ = address.partition("://")
    return address.startswith(_CAMERA) or bool(colon and scheme.lower() in SCHEMES)


class _LatestFrameReader:
    """Reads a capture in a thread and keeps only its latest frame. The thread releases the capture."""

    def __init__(self, capture: Capture, name: str) -> None:
        self._capture, self._name = capture, name
        self._frame: VideoFrame | None = None
        self._error: Exception | None = None
        self._ended = self._stopped = False
        self._changed = Condition()
        self._thread = Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._thread.start()

    def take(self) -> VideoFrame | None:
        """Waits for the next frame that was not taken yet, and returns the latest one; None at the end."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait(_WAIT_S)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._thread.join(_JOIN_S)

    def _read(self) -> None:
        try:
            fps, number, start = frame_rate(self._capture), 0, monotonic()
            while not self._stopped and self._capture.grab():
                time = monotonic() - start
                whole, pixels = self._capture.retrieve()
                if whole:
                    self._put(VideoFrame(FrameInfo(self._name, number, time, fps), rgb(pixels)))
                number += 1
        except Exception as error:  # raised in `take`
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
