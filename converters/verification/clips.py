"""The input of both networks: a clip from a file, or noise of the right size and range."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, UsageError
from converters.loading import reference_record
from converters.printable import printable, shape_text
from converters.tensor import FLOATS

if TYPE_CHECKING:
    from converters.mapping.network_info import NetworkInfo

LOG_MEL = (1, 100, 40)
"""Channels, frames and bins of an audio clip."""

REGIONS = 3
"""Of every clip that a detector is given."""

LARGEST = 1 << 30
"""Bytes of a file of clips at most: the networks need many times as much to run on them."""


def make_inputs(
    info: NetworkInfo,
    path: str | os.PathLike[str] | None,
    seed: int,
    *,
    regions: bool,
    size: tuple[int, ...] | None = None,
) -> tuple[list[Any], str]:
    """The inputs as float32 arrays in the reference networks' order, and their shapes and origin in words.

    Detectors are given ``regions`` beside the clip. Noise has the network's usual size, or ``size``: frames, height,
    width. Raises `UsageError`, or `BadInput` for a file that holds no such clip.
    """
    import numpy

    if not 0 <= seed < 1 << 32:
        raise UsageError(f"the seed {seed} is not from 0 to {(1 << 32) - 1:,}", hint="choose another --seed")
    random = numpy.random.RandomState(seed)
    kinds = reference_record(info.family).inputs
    audio = kinds[0] == "logmels"
    if path is not None:
        first, origin = (
            _load_clip(os.fspath(path), audio, info.channels),
            printable(os.path.basename(os.fspath(path))),
        )
    else:
        size, origin = size or info.input.get("clip"), f"noise of seed {seed}"
        if audio:
            first = _standardised(random.random_sample((1, *LOG_MEL)))
        elif size is not None:
            first = _preprocessed(random.random_sample((1, info.channels, *size)), info)
        else:
            raise UsageError("no table gives the clip size of this network", hint="name a clip with --clip")
    values = [first]
    if "logmels" in kinds[1:]:
        values.append(_standardised(random.random_sample((len(first), *LOG_MEL))))
    if regions:
        values.append(random_regions(random, first.shape))
    inputs = [numpy.ascontiguousarray(value, "<f4") for value in values]
    return inputs, f"{' and '.join(shape_text(array.shape) for array in inputs)}, {origin}"


def random_regions(random: Any, shape: tuple[int, ...]) -> Any:
    """Regions inside the frames of clips ``[N, C, T, H, W]``, each around the centre: rows of (clip, x1, y1, x2, y2) in
    pixels."""
    import numpy

    clips, (height, width) = numpy.repeat(numpy.arange(shape[0]), REGIONS), shape[3:]
    low, high = random.random_sample((2, len(clips), 2)) / 2
    frame = numpy.array([width, height])
    return numpy.column_stack([clips, low * frame, (1 - high) * frame])


def _standardised(noise: Any) -> Any:
    """Noise from 0 to 1 shifted and scaled to mean 0 and standard deviation 1."""
    return (noise - 0.5) * 12**0.5


def _preprocessed(noise: Any, info: NetworkInfo) -> Any:
    """Noise from 0 to 1 as pixels (or flow) after the network's own preprocessing."""
    import numpy

    described = info.input
    if "range" not in described:
        return _standardised(noise)
    low, high = described["range"]
    middle = [(low + high) / 2] * info.channels
    mean, std = (
        numpy.array(described.get(key, default), "f8").reshape(-1, 1, 1, 1)
        for key, default in (("mean", middle), ("std", [1.0]))
    )
    return (low + noise * (high - low) - mean) / std


def _load_clip(path: str, audio: bool, channels: int) -> Any:
    """One or several clips from an ``.npy``, as float32; the axis for clips may be left out. Raises `BadInput` for
    other dtypes, axes and channels, and for values that prove nothing: not finite, or all the same."""
    import numpy

    from converters.files import SourceFile
    from converters.formats.npz.reader import read_npy

    layout = "[N, 1, 100, 40], log-mel spectrograms" if audio else "[N, C, T, H, W], preprocessed"
    axes = 4 if audio else 5
    with SourceFile(path) as file:
        tensor = read_npy(file)
        if tensor.dtype == "bool" or len(tensor.shape) not in (axes, axes - 1) or 0 in tensor.shape:
            raise BadInput(
                f"is not a clip: {tensor.dtype} {shape_text(tensor.shape)}",
                path=path,
                hint=f"expected an array with {axes} axes, {layout}",
            )
        if tensor.dtype not in (*FLOATS, "int8"):  # the others hold pixels as they are
            raise BadInput(
                f"holds {tensor.dtype}, not float32", path=path, hint=f"preprocess the frames first: {layout}"
            )
        _require_channels(tensor.shape, 1 if audio else channels, axes, path, layout)
        if tensor.nbytes > LARGEST:
            raise BadInput(
                f"holds a clip of {tensor.nbytes:,} bytes, and at most {LARGEST:,} are run",
                path=path,
                hint="cut a shorter or smaller clip",
            )
        value = numpy.frombuffer(tensor.tobytes(), numpy.dtype(tensor.dtype).newbyteorder("<"))
    with numpy.errstate(over="ignore", invalid="ignore"):
        value = value.reshape((1,) * (axes - len(tensor.shape)) + tensor.shape).astype("<f4")
    if not numpy.isfinite(value).all():
        raise BadInput(
            "holds NaN, Inf or values beyond float32's range", path=path, hint="preprocess the clip again"
        )
    if value.size > 1 and value.min() == value.max():
        raise BadInput(
            f"holds only the value {value.flat[0]:g}: it proves little",
            path=path,
            hint="choose a clip of a video",
        )
    return value


def _require_channels(shape: tuple[int, ...], channels: int, axes: int, path: str, layout: str) -> None:
    found = shape[1 - axes]
    if found == channels:
        return
    last = f"; the last axis has {channels}: are the channels last?" if shape[-1] == channels else ""
    raise BadInput(
        f"is a clip of {found} channels, and the network takes {channels}{last}",
        path=path,
        where=shape_text(shape),
        hint=f"expected {layout}",
    )
