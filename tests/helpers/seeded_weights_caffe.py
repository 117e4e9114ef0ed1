"""Seeded weights and inputs of Caffe and Chainer goldens: recipes ``c3d-golden-1`` and ``tsn-golden-1``.

Every array has a generator of its own, seeded with its name, so that nothing depends on their order. All is
computed in float64 and cast to float32 once, but for the inputs' subtraction. See `goldens/README-caffe.md`.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Arrays = dict[str, np.ndarray]
    Shape = tuple[int, ...]

FACTOR = 999.98
"""What a BatchNorm layer's sums are to be divided by."""


def draw(name: str, shape: Shape, seed: int) -> np.ndarray:
    """Uniform in [0, 1), float64, from the stream of one array."""
    stream = crc32(name.encode("ascii")) ^ (seed * 2654435761 % (1 << 32))
    return np.random.RandomState(stream).random_sample(prod(shape)).reshape(shape)


def c3d_weights(shapes: Mapping[str, Shape], seed: int) -> Arrays:
    """Arrays for ``conv1a/W``, ``conv1a/b`` ... ``fc8/b``, whatever the blobs or parameters are called."""
    arrays: Arrays = {}
    for name, shape in shapes.items():
        u = draw(name, shape, seed)
        layer, leaf = name.split("/")
        gain = {"conv1a": 1 / 64, "fc8": 1.0}.get(layer, 0.8)
        arrays[name] = (_weight(u, gain) if leaf == "W" else 0.4 * u - 0.2).astype(np.float32)
    return arrays


def blob_weights(params: Mapping[str, Shape], seed: int) -> Arrays:
    """Arrays for the blobs of a table of C3D-ResNet18 or TSN, by what blobs a layer has."""
    layers: dict[str, list[Shape]] = {}
    for name, shape in params.items():
        layers.setdefault(name.rpartition("/")[0], []).append(shape)
    names = list(layers)
    arrays: Arrays = {}
    variance = np.empty(0)
    for layer, shapes in layers.items():
        u = [draw(f"{layer}/{index}", shape, seed) for index, shape in enumerate(shapes)]
        if len(shapes) == 3:  # BatchNorm: sums
            variance = _variance(u[1])
            values = [(0.4 * u[0] - 0.2) * FACTOR, variance * FACTOR, np.full(shapes[2], FACTOR)]
        elif len(shapes) == 4:  # the TSN fork's BN
            variance = _variance(u[3])
            values = [(0.6 + 0.8 * u[0]) * np.sqrt(variance), 0.4 * u[1] - 0.2, 0.4 * u[2] - 0.2, variance]
        elif len(shapes) == 2 and len(shapes[0]) == 1:  # Scale, after its BatchNorm
            values = [(0.5 + 0.5 * u[0]) * np.sqrt(variance), 0.4 * u[1] - 0.2]
        else:
            gain = {names[0]: 1 / 64, names[-1]: 1.0}.get(layer, 0.8)
            values = [_weight(u[0], gain), *(0.4 * bias - 0.2 for bias in u[1:])]
        for index, value in enumerate(values):
            arrays[f"{layer}/{index}"] = value.astype(np.float32)
    return arrays


def _weight(u: np.ndarray, gain: float) -> np.ndarray:
    a = sqrt(6 / prod(u.shape[1:])) * gain
    return (2 * a) * u - a


def _variance(u: np.ndarray) -> np.ndarray:
    q = u * u
    return 3e-4 + (1.5 * q) * q


def frames(seed: int, time: int, height: int, width: int) -> np.ndarray:
    """uint8 RGB frames (T, H, W, 3): coarse blocks, noise, slopes, and a square that moves."""
    random = np.random.RandomState(seed)
    blocks = random.randint(0, 150, (time // 4 + 1, height // 16 + 1, width // 16 + 1, 3))
    video = random.randint(0, 40, (time, height, width, 3))
    t, y, x = np.ogrid[:time, :height, :width]
    video += blocks[t // 4, y // 16, x // 16]
    video += ((20 * y) // height + (20 * x) // width)[..., None] + 10 * np.arange(3)
    for frame in range(time):
        top, left = (5 + 4 * frame) % (height - 20), (9 + 7 * frame) % (width - 20)
        video[frame, top : top + 20, left : left + 20, frame % 3] += 60
    return video.clip(0, 255).astype(np.uint8)


def mean_cube(seed: int, time: int, height: int, width: int) -> np.ndarray:
    """float32 (3, T, H, W), BGR."""
    c, t, y, x = np.ogrid[:3, :time, :height, :width]
    cube = 90 + 12 * c + 0.5 * t + 6 * (y / height) + 9 * (x / width)
    cube = cube + np.random.RandomState(seed).random_sample((3, time, height, width))
    return cube.astype(np.float32)


def clip(video: np.ndarray, mean: np.ndarray, crop: Sequence[int]) -> np.ndarray:
    """Frames as a network takes them: BGR planes less the mean, the centre cut out, float32 (3, T, h, w)."""
    planes = video[..., ::-1].transpose(3, 0, 1, 2).astype(np.float32) - mean
    (height, width), (h, w) = video.shape[1:3], crop
    top, left = (height - h) // 2, (width - w) // 2
    return planes[:, :, top : top + h, left : left + w]


def golden_input(golden: Mapping[str, np.ndarray]) -> np.ndarray:
    """The input of a golden, [N, C, T, H, W], or [N, C, H, W] for TSN."""
    shape = [int(size) for size in golden["input_shape"]]
    if golden["recipe"] == "tsn-golden-1":
        seed, (_, channels, height, width) = int(golden["input_seed"]), shape
        if channels == 3:
            image = frames(seed, 4, height, width)[0, ..., ::-1].transpose(2, 0, 1).astype(np.float32)
            return (image - np.float32([104, 117, 123]).reshape(3, 1, 1))[None]
        return (frames(seed, channels, height, width)[..., 0].astype(np.float32) - np.float32(128))[None]
    count, _, time, height, width = shape
    if "input_seed" in golden:  # C3D-ResNet18
        video = frames(int(golden["input_seed"]), time, 128, 171)
        return clip(video, np.full((3, 1, 1, 1), 128, np.float32), (height, width))[None]
    size = [int(side) for side in golden["frames_shape"]]
    mean = mean_cube(int(golden["mean_seed"]), *size)
    seed = int(golden["clip_seed"])
    clips = [clip(frames(seed + 1000 * item, *size), mean, golden["crop"]) for item in range(count)]
    return np.stack(clips)
