"""Run a network over the clips of a video. Only the frames of clips are in memory, already resized and cropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.clips.preprocess import positions, preprocess
from converters.errors import BadInput
from converters.record import Record

from .decoding import Decoding

if TYPE_CHECKING:
    import torch

    from converters.clips.description import ClipPreprocessing
    from converters.networks.layers import Network

    from .timeline import Timeline
    from .video import Video

PIECE = 8
"""Frames that a streaming network is given at a time."""


class Work(Record):
    """A network, how its clips are made, the video, and the mean cube, None where none is subtracted."""

    model: Network
    wanted: ClipPreprocessing
    video: Video
    mean: Any


class Seen(Record):
    """What a network made of a video: the probability of each class, and the frames that it saw.

    ``starts`` are the first frames of the clips, ``places`` all of their frames in the ``timeline`` of the video;
    ``frames`` are those of one clip and ``size`` is their height and width. ``notes`` say what is wrong with the file.
    """

    probabilities: list[float]
    starts: tuple[int, ...]
    places: tuple[int, ...]
    frames: int
    size: tuple[int, int]
    timeline: Timeline
    notes: tuple[str, ...]


class Clips(Record):
    """The frames of each clip, and all of them by their numbers: ready for the network, or None where a mean cube has
    other values for every frame of a clip."""

    chosen: list[list[int]]
    ready: dict[int, torch.Tensor | None]
    timeline: Timeline
    notes: tuple[str, ...]

    @property
    def places(self) -> tuple[int, ...]:
        """The frames of all clips."""
        return tuple(sorted({place for places in self.chosen for place in places}))


def is_streaming(model: Network) -> bool:
    """Whether a network takes the frames of a video one after the other."""
    return hasattr(model, "initial_state") and hasattr(model, "step")


def classify_clips(work: Work, clips: int) -> Seen:
    """Average the probabilities of clips that are spread evenly over the video; one is its middle."""
    import torch

    read = _read_clips(work, clips)
    sums, size = None, (0, 0)
    for places in read.chosen:
        frames = [frame for place in places if (frame := read.ready[place]) is not None]
        clip = torch.cat(frames, dim=2) if frames else _with_mean_cube(work, read.timeline, places)
        size = (clip.shape[3], clip.shape[4])
        found = _probabilities(work.model, clip)
        sums = found if sums is None else sums + found
    assert sums is not None
    return Seen(
        probabilities=(sums / len(read.chosen)).tolist(),
        starts=tuple(places[0] for places in read.chosen),
        places=read.places,
        frames=len(read.chosen[0]),
        size=size,
        timeline=read.timeline,
        notes=read.notes,
    )


def classify_stream(work: Work) -> Seen:
    """Give a network the whole video, a few frames at a time."""
    import torch

    step, count, due = _step(work), 0, 0.0
    timeline = work.video.timeline()
    decoding = Decoding(work.video, timeline)
    state: Any = work.model.initial_state
    piece: list[torch.Tensor] = []
    places: list[int] = []
    logits, size = None, (0, 0)

    def run() -> None:
        nonlocal state, logits
        with torch.inference_mode():
            logits, state = work.model.step(torch.cat(piece, dim=2), state)  # type: ignore[operator]
        piece.clear()

    for _, frame in decoding:
        while round(due) == count:
            piece.append(one_frame(frame, work.wanted))
            size = (piece[-1].shape[3], piece[-1].shape[4])
            places.append(count)
            due += step
            if len(piece) == PIECE:
                run()
        count += 1
    if not count:
        raise _no_frames(work.video)
    if piece:
        run()
    assert logits is not None
    return Seen(
        probabilities=logits[0].double().softmax(0).tolist(),
        starts=(0,),
        places=tuple(places),
        frames=len(places),
        size=size,
        timeline=timeline.replace(frames=count),
        notes=_notes(timeline, count, decoding),
    )


def one_frame(frame: Any, wanted: ClipPreprocessing, mean: Any = None) -> torch.Tensor:
    """A frame [H, W, 3] as a clip of one, [1, 3, 1, height, width]."""
    return preprocess(frame[None], _one_of_each(wanted, 1), mean=mean)


def _read_clips(work: Work, clips: int) -> Clips:
    """Choose the frames of the clips and decode them.

    Where a frame does not come, or comes damaged, all up to it are decoded instead of those that it is said to need;
    where fewer come than the packets promise, the clips are chosen among these.
    """
    promised = timeline = work.video.timeline()
    while timeline.frames:
        chosen = _chosen(work, timeline.frames, clips)
        needed = {place for places in chosen for place in places}
        decoding = Decoding(work.video, timeline, needed)
        ready = {place: _ready(frame, work) for place, frame in decoding}
        if timeline.times and (len(ready) < len(needed) or decoding.damaged):
            timeline = timeline.replace(times=())
        elif len(ready) < len(needed):
            timeline = timeline.replace(frames=decoding.decoded)
        else:
            notes = _notes(promised, timeline.frames, decoding)
            return Clips(chosen=chosen, ready=ready, timeline=timeline, notes=notes)
    raise _no_frames(work.video)


def _ready(frame: Any, work: Work) -> torch.Tensor | None:
    """A frame as the network gets it; None where that depends on its place in the clip."""
    return None if _depends_on_place(work.mean) else one_frame(frame, work.wanted, work.mean)


def _notes(promised: Timeline, frames: int, decoding: Decoding) -> tuple[str, ...]:
    """What is wrong with a video, of whose frames that were promised some can be decoded."""
    notes = []
    if promised.note:
        notes.append(promised.note)
    elif frames < promised.frames:
        notes.append(f"{frames} of the file's {promised.frames} frames can be decoded")
    if decoding.damaged:
        verb = "is" if decoding.damaged == 1 else "are"
        notes.append(f"{decoding.damaged} of {decoding.decoded} decoded frames {verb} damaged")
    return tuple(notes)


def _depends_on_place(mean: Any) -> bool:
    """Whether a mean cube has other values for every frame of a clip."""
    return getattr(mean, "ndim", 0) == 4 and mean.shape[1] > 1


def _with_mean_cube(work: Work, timeline: Timeline, places: list[int]) -> torch.Tensor:
    """A clip of these frames with a mean cube of as many frames subtracted."""
    import numpy

    kept = dict(Decoding(work.video, timeline, places))
    frames = numpy.stack([kept[place] for place in places])
    return preprocess(frames, _one_of_each(work.wanted, len(places)), mean=work.mean)


def _one_of_each(wanted: ClipPreprocessing, frames: int) -> ClipPreprocessing:
    """The same for frames that are picked already."""
    return wanted.replace(frames=frames, again_every=0, step=1, spread=False, rate=None)


def _chosen(work: Work, count: int, clips: int) -> list[list[int]]:
    """The frames of each clip. Of a video that is shorter than one, there is one."""
    wanted, rate = work.wanted, work.video.rate
    if wanted.spread:
        parts = [(number + 0.5) / clips for number in range(clips)]
        return [positions(count, wanted, rate, None, part=part) for part in parts]
    if clips == 1:
        return [positions(count, wanted, rate, None)]
    last = max(0, count - 1 - (wanted.once - 1) * _step(work))
    starts = sorted({float(round(last * number / (clips - 1))) for number in range(clips)})
    return [positions(count, wanted, rate, start) for start in starts]


def _step(work: Work) -> float:
    """Frames of the video from one of the network's to the next."""
    rate, own = work.video.rate, work.wanted.rate
    return work.wanted.step * (rate / own if rate and own else 1.0)


def _probabilities(model: Network, clip: torch.Tensor) -> torch.Tensor:
    import torch

    with torch.inference_mode():
        found: torch.Tensor = model(clip)[0].double().softmax(0)
    return found


def _no_frames(video: Video) -> BadInput:
    return BadInput("holds no frame that can be decoded", path=video.path)
