"""What a network says a video shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.clips.description import ClipPreprocessing
from converters.clips.preprocess import preprocessing_of, require_rate
from converters.conversion.mean import read_mean_cube
from converters.errors import Refused, UsageError
from converters.loading import load_network, reference_record
from converters.locations import without_credentials
from converters.record import Record

from .decoding import Decoding
from .run import Work, classify_clips, classify_stream, is_streaming, one_frame
from .video import jpeg, open_video

if TYPE_CHECKING:
    from converters.mapping.network_info import NetworkInfo

    from .run import Seen
    from .video import Video

PICTURES = 8
"""Pictures of a strip."""

MOST_CLIPS = 100


class Likely(NamedTuple):
    """A class, its number among the outputs, and its probability."""

    label: str
    number: int
    probability: float


class Classification(Record):
    """What a network says of a video.

    ``likely`` are the likeliest classes, the likeliest first; ``named`` says whether the file knows the classes' names.
    ``clips`` are the numbers of the first frame of each clip, over which the probabilities were averaged, ``frames``
    the frames of each and ``size`` their height and width. ``video_frames`` are those of the whole video, ``rate`` its
    frames a second. ``notes`` say what is wrong with the video: it was cut, or frames are damaged. ``pictures`` are
    some of the frames as the network saw them, before they were normalised, as JPEG; only on request.
    """

    model: str
    network: str
    video: str
    likely: tuple[Likely, ...]
    classes: int
    clips: tuple[int, ...]
    frames: int
    size: tuple[int, int]
    video_frames: int
    rate: float | None
    named: bool
    preprocessing: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    pictures: tuple[bytes, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        values = {name: value for name, value in self.as_dict().items() if name != "pictures"}
        return values | {"likely": [likely._asdict() for likely in self.likely]}


def classify(
    path: str | os.PathLike[str],
    video: str | os.PathLike[str],
    *,
    clips: int = 1,
    top: int = 5,
    fps: float | None = None,
    mean: str | os.PathLike[str] | None = None,
    pictures: bool = False,
    layout: str | None = None,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    settings: Mapping[str, object] = MappingProxyType({}),
) -> Classification:
    """Classify a video, a GIF or a folder of pictures with the network in a checkpoint.

    Frames are picked, resized, cropped and normalised as the file's record, or its layout's table, says: see
    `preprocess`. One clip is the video's middle, several ``clips`` are spread evenly over it, and their probabilities
    are averaged. A network that takes its frames one after the other gets all of the video. ``top`` are the classes
    wanted, ``fps`` the video's frames a second, if they are not what the file says. ``mean`` is the file of a mean
    cube, for the networks that subtract one. ``layout`` and what follows are those of `load_model`. No more frames are
    decoded than the clips need, and only those of the clips are in memory, however long the video is.

    Raises `BadInput` for a file that is neither a video nor a checkpoint, `Refused` for a network that does not
    classify frames or a video that is too large, `UsageError` for a wrong call, `ConverterError` without PyTorch or
    PyAV.
    """
    if not 1 <= clips <= MOST_CLIPS:
        raise UsageError(f"{clips} clips were requested; 1 to {MOST_CLIPS} are possible")
    if top < 1:
        raise UsageError("the number of classes must be at least 1")
    if fps is not None:
        require_rate(fps)
    opened = open_video(video)
    if fps is not None:
        opened = opened.replace(rate=fps)
    model, info = load_network(
        path, layout, variant=variant, entry=entry, head=head, drop=drop, settings=settings
    )
    wanted = preprocessing_of(model)
    _require_classifier(info, os.fspath(path))
    cube = None if mean is None else read_mean_cube(mean)
    work = Work(model=model, wanted=wanted, video=opened, mean=cube)
    seen = classify_stream(work) if is_streaming(model) else classify_clips(work, clips)
    return Classification(
        model=without_credentials(os.fspath(path)),
        network=f"{info.title} ({info.variant})",
        video=os.fspath(video),
        likely=_likely(seen.probabilities, model.labels, top),
        classes=info.classes,
        clips=seen.starts,
        frames=seen.frames,
        size=seen.size,
        video_frames=seen.timeline.frames,
        rate=opened.rate,
        named=bool(model.labels),
        preprocessing=wanted.as_data(),
        notes=seen.notes,
        pictures=_pictures(opened, wanted, seen) if pictures else (),
    )


def _require_classifier(info: NetworkInfo, path: str) -> None:
    """Raise `Refused` for a network whose outputs are not the classes of a clip."""
    if not info.classes:
        raise Refused("has no classifier, so it names no classes", path=path)
    if reference_record(info.family).inputs != ("clip",):
        raise Refused("needs sound as well as frames", path=path)
    if info.parts.get("detector") or "-ava-" in info.variant:
        raise Refused("is a detector: it classifies regions, not clips", path=path)


def _likely(probabilities: Sequence[float], labels: Sequence[str], top: int) -> tuple[Likely, ...]:
    order = sorted(range(len(probabilities)), key=lambda number: -probabilities[number])[:top]
    names = [labels[number] if number < len(labels) else f"class {number}" for number in order]
    return tuple(
        Likely(name, number, probabilities[number]) for name, number in zip(names, order, strict=True)
    )


def _pictures(video: Video, wanted: ClipPreprocessing, seen: Seen) -> tuple[bytes, ...]:
    """Some frames of the clips, evenly spread, as the network sees them, before it is normalised."""
    places = sorted(set(seen.places))
    step = max(1, -(-len(places) // PICTURES))
    shown = set(places[::step])
    plain = wanted.replace(order="RGB", range=None, mean=(), std=(), mean_cube="")
    return tuple(
        jpeg(one_frame(frame, plain)[0, :, 0].round().byte().permute(1, 2, 0).contiguous().numpy())
        for _, frame in Decoding(video, seen.timeline, shown)
    )
