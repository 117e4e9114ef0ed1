"""Turn a video's frames into the clip that a network was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused, UsageError
from converters.lazy_module import LazyModule

from .description import ClipPreprocessing

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

PIXELS = 255
"""The largest value of a uint8 frame."""

LARGEST = 1 << 25
"""Pixels that a frame may have once it is resized: 8192x4096, or 131072x256."""

RATES = 0.01, 1_000_000.0
"""The fewest and the most frames per second that a video has."""


def preprocess(
    frames: Any,
    model: Any,
    *,
    fps: float | None = None,
    start: float | None = None,
    mean: Any = None,
) -> torch.Tensor:
    """Turn frames ``[T, H, W, 3]`` (uint8, RGB, a numpy array or a tensor) into the clip that ``model`` was made for.

    The result is float32 ``[1, 3, frames, height, width]``, as ``model.preprocessing`` declares it: one frame of every
    ``step``, resized, cropped, in the order of its channels, normalised. ``model`` is what `load_model` returns, or
    its ``preprocessing``. Frames are resized bilinearly without antialiasing, with half-pixel centres and without
    rounding; a project whose ``interpolation`` is not known may do it otherwise, and its logits then differ slightly.
    Resizing the short side keeps the ratio; the long side is rounded down.

    ``fps`` are the frames' own frames per second: where the network's ``rate`` is known, frames are picked at that
    rate, otherwise every frame counts as one. ``start`` is the clip's first frame; by default the clip is the video's
    middle, or the middles of its parts where the network's frames are spread over it. A video that ends before the
    clip does is repeated from its beginning, as for I3D (Carreira and Zisserman, 2017). ``mean`` is a network's mean
    cube, where it has one: an array ``[3, height, width]`` or ``[3, frames, height, width]`` of the resized frame's
    size, in the network's order of channels.

    Raises `UsageError` for other frames or another model, `Refused` where the network takes no RGB frames, where no
    table says how its clip is made, or where a frame is smaller than the crop, `BadInput` for a frame so narrow that it
    would be enormous once it is resized.
    """
    import torch

    wanted = preprocessing_of(model)
    video = _video(frames)
    picked = positions(len(video), wanted, fps, start)
    clip = torch.stack([_frame(video[place], wanted, wanted.mean_cube != "") for place in picked], dim=1)
    if wanted.mean_cube:
        clip = _crop(clip - _mean_cube(mean, wanted, clip), wanted)
    elif mean is not None:
        raise UsageError("this network subtracts no mean cube", hint="leave mean out")
    if wanted.mean:
        clip = clip - torch.tensor(wanted.mean).reshape(-1, 1, 1, 1)
    if wanted.std:
        clip = clip / torch.tensor(wanted.std).reshape(-1, 1, 1, 1)
    return clip.unsqueeze(0).contiguous()


def preprocessing_of(model: Any) -> ClipPreprocessing:
    """What a model declares. Raises `UsageError` or `Refused` where it cannot be done with RGB frames."""
    missing = object()
    wanted = model if isinstance(model, ClipPreprocessing) else getattr(model, "preprocessing", missing)
    if wanted is missing:
        raise UsageError(
            f"preprocess takes a model, not {type(model).__name__}",
            hint="load it with load_model, or give model.preprocessing",
        )
    if not isinstance(wanted, ClipPreprocessing) or not (wanted.frames and wanted.order):
        raise Refused(
            "no table says how frames become this network's clip",
            hint="convert the file as it was released: the output's record says it",
        )
    if sorted(wanted.order) != sorted("RGB"):
        raise Refused(f"this network takes no RGB frames: its channels are {wanted.order}")
    return wanted


def _video(frames: Any) -> torch.Tensor:
    """Frames as a tensor [T, H, W, 3] of uint8. Raises `UsageError` for anything else."""
    import torch

    if not isinstance(frames, torch.Tensor):
        import numpy

        array = numpy.asarray(frames)
        if array.dtype != numpy.uint8:
            raise UsageError(f"frames must be uint8 values from 0 to {PIXELS}, not {array.dtype}")
        frames = torch.from_numpy(numpy.array(array) if not array.flags.writeable else array)
    if frames.dtype != torch.uint8:
        raise UsageError(
            f"frames must be uint8 values from 0 to {PIXELS}, not {frames.dtype}".replace("torch.", "")
        )
    if frames.dim() != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise UsageError(f"frames must have the shape [T, H, W, 3], not {list(frames.shape)}")
    video: torch.Tensor = frames.detach().cpu()
    return video


def positions(
    count: int, wanted: ClipPreprocessing, fps: float | None, start: float | None, *, part: float = 0.5
) -> list[int]:
    """Which of ``count`` frames are in the clip. Of frames that are spread over the video, ``part`` says where in its
    part of it each is, from 0 to below 1."""
    if fps is not None:
        require_rate(fps)
    if wanted.spread and start is not None:
        raise UsageError("this network's frames are spread over the whole video", hint="leave start out")
    step = wanted.step * (fps / wanted.rate if fps and wanted.rate else 1.0)
    length = wanted.once
    if wanted.spread:
        start, step = part * count / length, count / length
    if start is None:
        start = max(0.0, (count - 1 - (length - 1) * step) // 2)
    if not 0 <= start < count:
        raise UsageError(f"start must be one of the {count} frames, not {start:g}")
    exact = (start + place * step for place in range(length))
    places = [int(place) if wanted.spread else round(place) % count for place in exact]
    return [*places, *places[:: wanted.again_every]] if wanted.again_every else places


def require_rate(fps: float) -> None:
    """Raise `UsageError` for frames per second that no video has: with them a clip has no end, or no numbers."""
    fewest, most = RATES
    if not fewest <= fps <= most:
        raise UsageError(f"fps must be from {fewest:g} to {most:.0f}, not {fps:g}")


def _frame(frame: torch.Tensor, wanted: ClipPreprocessing, whole: bool) -> torch.Tensor:
    """A frame [H, W, 3] as float32 [3, height, width], cropped unless ``whole``."""
    from torch.nn.functional import interpolate

    height, width = frame.shape[:2]
    size = _resized(height, width, wanted.resize)
    if size != (height, width) and size[0] * size[1] > LARGEST:
        raise BadInput(
            f"frames of {height}x{width} pixels are too narrow: resized for the network they have {size[0]}x{size[1]}",
            hint="crop them",
        )
    pixels = frame.permute(2, 0, 1)[None].float()
    if size != (height, width):
        pixels = interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=False)
    low, high = wanted.range or (0.0, float(PIXELS))
    if (low, high) != (0.0, float(PIXELS)):
        pixels = low + pixels * ((high - low) / PIXELS)
    ordered = pixels[0, ["RGB".index(channel) for channel in wanted.order]]
    return ordered if whole else _crop(ordered, wanted)


def _resized(height: int, width: int, wanted: int | tuple[int, int] | None) -> tuple[int, int]:
    """The height and width of a frame after resizing."""
    if isinstance(wanted, tuple):
        return wanted
    if wanted is None or min(height, width) == wanted:
        return height, width
    if height < width:
        return wanted, width * wanted // height
    return height * wanted // width, wanted


def _crop(pixels: torch.Tensor, wanted: ClipPreprocessing) -> torch.Tensor:
    """The crop of ``[..., H, W]``. Raises `Refused` for frames that are smaller."""
    rows, columns = wanted.crop or (pixels.shape[-2], pixels.shape[-1])
    height, width = pixels.shape[-2:]
    y, x = wanted.crop_at or ((height - rows) // 2, (width - columns) // 2)
    if min(y, x) < 0 or y + rows > height or x + columns > width:
        raise Refused(
            f"frames of {height}x{width} pixels are smaller than the network's crop of {rows}x{columns}",
            hint="give larger frames",
        )
    return pixels[..., y : y + rows, x : x + columns]


def _mean_cube(mean: Any, wanted: ClipPreprocessing, clip: torch.Tensor) -> torch.Tensor:
    """The mean cube as float32 [3, 1 or frames, height, width] of the clip's size."""
    import torch

    if mean is None:
        raise UsageError(
            f"this network subtracts {wanted.mean_cube}",
            hint="give it as mean=, an array (convert_mean writes it as an .npy)",
        )
    values = torch.as_tensor(mean, dtype=torch.float32)
    if values.dim() == 3:
        values = values[:, None]
    if values.dim() != 4 or any(
        have not in (want, 1 if axis == 1 else want)
        for axis, (have, want) in enumerate(zip(values.shape, clip.shape, strict=False))
    ):
        raise UsageError(f"a mean cube of {list(values.shape)} does not fit a clip of {list(clip.shape)}")
    return values
