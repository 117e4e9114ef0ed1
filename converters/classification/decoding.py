"""The frames of a video that are wanted, one after the other, with PyAV."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused

from .video import opened, picture_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .timeline import Timeline
    from .video import Video

LARGEST = 1 << 25
"""Pixels of a frame that is decoded: 8192x4096."""

MOST_PIXELS = 1 << 36
"""Pixels that one pass decodes: 33,000 frames of 1920x1080, or 790,000 of 340x256."""

MATRIX_BYTES = 36
"""Of a display matrix: nine int32."""


class Decoding:
    """One pass over a video: iterating gives the number of each frame and its pixels [H, W, 3], uint8, RGB, upright.

    ``places`` are the frames wanted, None for all. Only what they need is decoded: nothing after the last of them, and
    where the file says which frames are key frames, nothing before the key frames that they follow. ``decoded`` and
    ``damaged`` count the frames that the decoder gave out until then.

    Iterating raises `BadInput` for a file that holds no video or a frame that cannot be decoded, `Refused` for more
    than `MOST_PIXELS`.
    """

    def __init__(self, video: Video, timeline: Timeline, places: Collection[int] | None = None) -> None:
        self._path = video.path
        self._timeline = timeline
        self._left = None if places is None else sorted(set(places), reverse=True)
        self._pixels = 0
        self.decoded = self.damaged = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        if os.path.isdir(self._path):
            return self._pictures(picture_files(self._path))
        return self._everything() if self._left is None else self._wanted(self._left)

    def _pictures(self, paths: list[str]) -> Iterator[tuple[int, Any]]:
        """The first frame of each picture."""
        for place in range(len(paths)) if self._left is None else reversed(self._left):
            with opened(paths[place]) as container:
                frame = next(self._frames(container, paths[place]), None)
                if frame is None:
                    raise BadInput("holds no frame that can be decoded", path=paths[place])
                yield place, _upright_pixels(frame)

    def _everything(self) -> Iterator[tuple[int, Any]]:
        with opened(self._path) as container:
            for place, frame in enumerate(self._frames(container, self._path)):
                yield place, _upright_pixels(frame)

    def _wanted(self, left: list[int]) -> Iterator[tuple[int, Any]]:
        timed = bool(self._timeline.times)
        with opened(self._path) as container:
            for number, frame in enumerate(self._frames(container, self._path)):
                if left[-1] == (self._timeline.place(frame.pts) if timed else number):
                    yield left.pop(), _upright_pixels(frame)
                    if not left:
                        return

    def _frames(self, container: Any, path: str) -> Iterator[Any]:
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(LARGEST)}
        number, passed_over = 0, False
        for packet in container.demux(stream):
            if packet.size:
                number += 1
                if number <= self._entry():
                    passed_over = True
                    continue
            if passed_over:
                stream.codec_context.flush_buffers()
                passed_over = False
            for frame in _decode(packet, number, path):
                self._count(frame, path)
                yield frame

    def _entry(self) -> int:
        """The number of packets that the next wanted frame does not need."""
        return self._timeline.entry(self._left[-1]) if self._left and self._timeline.times else 0

    def _count(self, frame: Any, path: str) -> None:
        size = frame.width * frame.height
        self._pixels += size
        self.decoded += 1
        self.damaged += frame.is_corrupt
        if size > LARGEST:
            raise BadInput(f"has frames of {frame.width}x{frame.height} pixels", path=path)
        if self._pixels > MOST_PIXELS:
            raise Refused(
                f"has more than {MOST_PIXELS // 10**6:,} million pixels up to the last frame that is needed",
                path=path,
                hint="cut out the part to classify, or make the frames smaller",
            )


def _decode(packet: Any, number: int, path: str) -> list[Any]:
    """The frames that a packet completes: none for the rest of one, where the file was cut in it."""
    import av.error

    try:
        frames: list[Any] = packet.decode()
    except av.error.ArgumentError:
        raise BadInput(
            f"has frames that are damaged, or have more than {LARGEST:,} pixels", path=path
        ) from None
    except av.error.InvalidDataError:
        if not packet.is_corrupt:
            raise BadInput(f"is damaged: its frame {number} cannot be decoded", path=path) from None
        return []
    return frames


def _upright_pixels(frame: Any) -> Any:
    import numpy
    from av.sidedata import sidedata

    # Not `frame.side_data`: the two hold each other then, and only the garbage collector, which may be off, frees them.
    container: Any = sidedata.SideDataContainer
    pixels = frame.to_ndarray(format="rgb24")
    return numpy.ascontiguousarray(_upright(pixels, container(frame).get("DISPLAYMATRIX")))


def _upright(pixels: Any, matrix: Any) -> Any:
    """Pixels [H, W, 3] turned and mirrored by quarters as a display matrix says, which is None where there is none.

    Its nine int32 are ``a, b, u, c, d, v, x, y, w``: the pixel at ``(x, y)`` is shown at ``(ax + cy, bx + dy)``.
    """
    import numpy

    if matrix is None or matrix.buffer_size < MATRIX_BYTES:
        return pixels
    a, b, _, c, d = (int(value) for value in numpy.frombuffer(matrix, "=i4", 5))
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
