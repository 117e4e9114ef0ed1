"""How many frames a video has and where its key frames are, from its packets: nothing is decoded."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_FRAMES = 1 << 22
"""Frames of a video: 46 hours of 25 a second."""

TIMED = "matroska", "mov"
"""Demuxers whose packets say when their frames are shown, and which of them need no other."""

DURATION = "matroska", "flv", "asf"
"""Demuxers of files whose header says how long they are. Others have FFmpeg guess."""

SHORT = 0.25
"""Seconds that a header may be wrong by."""

GIF_TRAILER = b";"
"""The last byte of a whole GIF."""


class Timeline(Record):
    """The frames of a video.

    ``frames`` are those whose packets are whole, ``promised`` those that the file says it has, ``about`` whether that
    follows from a duration; None where nothing says it. ``ends_early`` says that the file was cut. ``times`` are the
    times of the frames in the order in which they are shown, and ``keys`` the packets that need no other, each with the
    time of its frame; both are empty where the file does not say them, or not reliably.
    """

    frames: int
    promised: int | None = None
    about: bool = False
    ends_early: bool = False
    times: Sequence[int] = ()
    keys: tuple[tuple[int, int], ...] = ()

    def place(self, time: int | None) -> int | None:
        """The number of the frame that is shown at a time, None where there is none."""
        if time is None:
            return None
        number = bisect_left(self.times, time)
        return number if number < len(self.times) and self.times[number] == time else None

    def entry(self, place: int) -> int:
        """The number of the packet from which a decoder must start in order to decode a frame."""
        before = bisect_right(self.keys, self.times[place], key=lambda key: key[1])
        return self.keys[before - 1][0] if before else 0

    @property
    def note(self) -> str:
        """What must be said of a file that was cut, in words."""
        if not self.ends_early:
            return ""
        if self.promised is None:
            return f"the file ends early, after {self.frames} frames"
        return f"the file ends early: {self.frames} of {'about ' if self.about else ''}{self.promised} frames"


def survey(container: Any, path: str) -> Timeline:
    """The frames of a container's first video stream. Raises `Refused` for too many."""
    stream = container.streams.video[0]
    demuxer = container.format.name.split(",")[0]
    frames, end, last = 0, 0.0, None
    times, keys, reliable = array("q"), [], demuxer in TIMED
    for packet in container.demux():
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index or not packet.size:
            continue
        if reliable and packet.is_keyframe and packet.pts is not None:
            keys.append((frames, packet.pts))
        last = packet
        frames += 1
        require_frames(frames, path)
        reliable = reliable and packet.pts is not None and not packet.is_discard
        if reliable:
            times.append(packet.pts)
    broken = last is not None and last.is_corrupt
    promised, about, early = _promised(container, stream, demuxer, frames, end)
    shown = sorted(times)
    reliable = reliable and all(a < b for a, b in pairwise(shown))
    return Timeline(
        frames=frames - broken,
        promised=promised,
        about=about,
        ends_early=early or broken or _lacks_trailer(container, demuxer, last),
        times=array("q", shown) if reliable else (),
        keys=tuple(sorted(keys, key=lambda key: key[1])) if reliable else (),
    )


def require_frames(frames: int, path: str) -> None:
    """Raise `Refused` for a video that is too long."""
    if frames > MOST_FRAMES:
        raise Refused(f"has more than {MOST_FRAMES:,} frames", path=path, hint="cut out the part to classify")


def _promised(
    container: Any, stream: Any, demuxer: str, frames: int, end: float
) -> tuple[int | None, bool, bool]:
    """The frames that a file says it has, whether that is only about right, and whether fewer are there."""
    if demuxer == "mov":  # a cut file's table of frames points behind its end
        entries = stream.index_entries
        beyond = sum(entry.pos + entry.size > container.size for entry in entries) if container.size else 0
        return (len(entries), False, True) if beyond else (None, False, False)
    rate = float(stream.average_rate or 0)
    if demuxer == "avi" and stream.frames and rate:
        duration, promised = stream.frames / rate, stream.frames
    elif demuxer in DURATION and container.duration:
        duration = container.duration / 1_000_000
        promised = round(frames * duration / end) if end > 0 else 0
    else:
        return None, False, False
    early = duration - end > max(SHORT, 2 / rate if rate else 0.0) and promised > frames
    return (promised, demuxer != "avi", True) if early else (None, False, False)


def _lacks_trailer(container: Any, demuxer: str, last: Any) -> bool:
    """Whether a GIF ends with its last frame, without its trailer, which FFmpeg gives out with that frame."""
    at_end = demuxer == "gif" and last is not None and last.pos + last.size >= container.size
    return at_end and bytes(last)[-1:] != GIF_TRAILER
