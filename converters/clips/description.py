"""What a network's clip is made of, as the tables and a file's record describe it."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST = 4096
"""Frames of a clip, and pixels of a side, that are believed."""

SPREAD = "the frames are spread over the video"
"""What tables say of networks whose clip is not a piece of the video."""

_SHORT_SIDE = re.compile(r"\bshort side (\d+)")
_SIZE = re.compile(r"(?:^|, )(\d+)x(\d+)\b")
_CROP = re.compile(r"\bcrop (\d+)x(\d+)(?: at \((\d+), (\d+)\))?")


class ClipPreprocessing(Record):
    """How a video's frames become a network's clip; a field is None, or empty, where no table says it.

    The clip has ``frames`` frames, one of every ``step`` of a video of ``rate`` frames a second, or, with ``spread``,
    one of each of as many equal parts of the video. Every ``again_every``-th of them comes again at its end, and is
    among their number. ``resize`` is the length of a frame's short side, or its (height, width) whatever its ratio was;
    ``crop`` is (height, width), at (y, x) ``crop_at`` or, without it, in the centre. ``interpolation`` is how the
    network's project resizes.

    ``order`` names the channels, ``range`` is that of the values before ``mean`` is subtracted and the difference
    divided by ``std``, both per channel. ``mean_cube`` says in words which mean of every position is subtracted in
    their place.
    """

    frames: int | None = None
    again_every: int = 0
    step: int = 1
    spread: bool = False
    rate: float | None = None
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    crop_at: tuple[int, int] | None = None
    interpolation: str = ""
    order: str = ""
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    mean_cube: str = ""

    @property
    def once(self) -> int:
        """How many frames there are before some come again; 1 where no number is known."""
        frames = self.frames or 1
        return frames - frames // (self.again_every + 1) if self.again_every else frames

    def as_data(self) -> dict[str, Any]:
        """Plain data: the fields that are known."""
        return {name: value for name, value in self.as_dict().items() if value not in (None, "", (), 0)}


def describe(recorded: Mapping[str, Any]) -> ClipPreprocessing | None:
    """The preprocessing in a network's ``input``, the plain data of a table or a record. None if it takes no frames or
    says nothing. Raises `BadInput` for what only a damaged record can say."""
    clip, order = recorded.get("clip"), recorded.get("order", "")
    if not (clip or order) or (isinstance(clip, list) and clip and len(clip) != 3):
        return None
    try:
        return _describe(recorded, clip or None, order)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("its provenance record is damaged", hint="convert the source again") from None


def _describe(recorded: Mapping[str, Any], clip: Any, order: object) -> ClipPreprocessing:
    words = str(recorded.get("resize", ""))
    crop = _CROP.search(words)
    rate, range_ = _numbers([recorded.get("rate", 0)])[0], _numbers(recorded.get("range", ()))
    sizes = [_size(value) for value in clip] if clip else []
    return ClipPreprocessing(
        frames=sizes[0] if sizes else None,
        again_every=_size(recorded["again_every"]) if "again_every" in recorded else 0,
        step=_size(recorded.get("frame_step", 1)),
        spread=SPREAD in words,
        rate=rate if rate > 0 else None,
        resize=_resize(words),
        crop=(sizes[1], sizes[2]) if sizes else None,
        crop_at=(int(crop[3]), int(crop[4])) if crop and crop[3] else None,
        interpolation=str(recorded.get("interpolation", "")),
        order=str(order),
        range=(range_[0], range_[1]) if len(range_) == 2 else None,
        mean=_numbers(recorded.get("mean", ())),
        std=_numbers(recorded.get("std", ())),
        mean_cube=str(recorded.get("mean_cube", "")),
    )


def _resize(words: str) -> int | tuple[int, int] | None:
    if short := _SHORT_SIDE.search(words):
        return _size(int(short[1]))
    if size := _SIZE.search(words):
        return _size(int(size[1])), _size(int(size[2]))
    return None


def _size(value: object) -> int:
    """A number of frames or pixels. ValueError for another value: a record may be forged."""
    if not isinstance(value, int) or not 1 <= value <= LARGEST:
        raise ValueError(value)
    return value


def _numbers(values: Sequence[object]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values if isinstance(value, int | float))
    if len(numbers) != len(values) or not all(map(isfinite, numbers)):
        raise ValueError(values)
    return numbers
