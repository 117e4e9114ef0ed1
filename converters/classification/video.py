"""Videos, GIFs and folders of pictures, opened with PyAV."""

from __future__ import annotations

import os
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from converters.clips.preprocess import RATES
from converters.errors import BadInput, ConverterError
from converters.extras import install_hint
from converters.files import SourceFile
from converters.record import Record

from .timeline import Timeline, require_frames, survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

DEMUXERS = (
    "apng,asf,avi,bmp_pipe,dv,flv,gif,h264,hevc,ivf,jpeg_pipe,matroska,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,png_pipe,"
    "rm,tiff_pipe,webm,webp_pipe,yuv4mpegpipe"
)
"""The formats that are read: none that names other files or addresses, as playlists do."""

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of the files that are frames in a folder."""


class Video(Record):
    """What a video is: ``rate`` are its frames a second, None where nothing says it."""

    path: str
    rate: float | None = None

    def timeline(self) -> Timeline:
        """How many frames there are, from the packets alone.

        Raises `BadInput` for a file that holds no video, `Refused` for a video that is too long.
        """
        if os.path.isdir(self.path):
            return Timeline(frames=len(picture_files(self.path)))
        with opened(self.path) as container:
            return survey(container, self.path)


def open_video(path: str | os.PathLike[str]) -> Video:
    """A video, a GIF, or a folder of pictures in the order of their names. A rate that no video has counts as none.
    Raises `BadInput`, or `ConverterError` without PyAV."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return Video(path=path)
    with opened(path) as container:
        rate = container.streams.video[0].average_rate
    fewest, most = RATES
    return Video(path=path, rate=float(rate) if rate and fewest <= rate <= most else None)


def picture_files(folder: str) -> list[str]:
    """A folder's pictures, numbers in their names in the order of counting."""
    names = [name for name in os.listdir(folder) if name.lower().endswith(PICTURES)]
    if not names:
        raise BadInput("holds no pictures", path=folder, hint=f"they end in {', '.join(PICTURES)}")
    require_frames(len(names), folder)
    return [os.path.join(folder, name) for name in sorted(names, key=_counting)]


def _counting(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts ``frame10`` after ``frame9``."""
    import re

    parts = re.split(r"([0-9]+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


class _Nameless:
    """An open file without its name, by which FFmpeg would choose a format that opens files by their names."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A container with a video stream. It reads nothing but this file: it is given the open file and no protocols."""
    av = _require_av()
    SourceFile(path).close()  # its errors, for what is not a regular file
    try:
        with (
            open(path, "rb") as file,
            av.open(
                _Nameless(file),
                container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "none"},
            ) as container,
        ):
            if not container.streams.video:
                raise BadInput("holds no video", path=path)
            yield container
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        raise BadInput(
            f"cannot be read as a video: {reason}",
            path=path,
            hint="name the network first, then a video, a GIF or a folder of pictures",
        ) from None


def jpeg(pixels: Any) -> bytes:
    """A picture [H, W, 3], uint8, RGB, as JPEG."""
    av = _require_av()
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"qscale": "4", "strict": "unofficial"}
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def _require_av() -> Any:
    try:
        import av
        import av.error
    except ImportError:
        raise ConverterError("reading videos needs PyAV", hint=install_hint("torch,video")) from None
    av.logging.set_level(av.logging.PANIC)
    return av
