"""Random networks in two files: a Caffe model, a TensorFlow bundle or a Caffe2 pickle, and PyTorch's state dict, with
what distinguishes them planted: BatchNorm factors, flattened axes in another order, kernels with axes exchanged."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

Arrays = dict[str, np.ndarray]


class Planted(NamedTuple):
    """A network's two files' tensors, in order, and the right name of each left one; factors have none."""

    left: Arrays
    right: Arrays
    names: dict[str, str]


def network(seed: int, *, left: str, axes: int) -> Planted:
    """A few convolutions with norms, then two linear layers; ``axes`` are those of space and time."""
    made = _Maker(seed, left, axes)
    channels = made.draw.choice([1, 3])
    for number in range(made.draw.randint(2, 4)):
        outputs = made.draw.choice([6, 8, 12])
        made.convolution(number, channels, outputs)
        made.norm(number, outputs)
        channels = outputs
    size = tuple(made.draw.choice([1, 2, 3]) for _ in range(axes))
    hidden = made.draw.choice([7, 10, 24])
    made.linear(0, (channels, *size), hidden)
    made.linear(1, (hidden,), 5)
    return made.planted


class _Maker:
    def __init__(self, seed: int, left: str, axes: int) -> None:
        self.draw, self.values = random.Random(seed), np.random.default_rng(seed)
        self.caffe, self.axes = left == "caffe", axes
        self.planted = Planted({}, {}, {})
        order = list(range(axes))
        if self.draw.random() < 0.7:
            self.draw.shuffle(order)
        self.space = tuple(order)
        """The left file's axes of space and time, in the right file's order."""
        volume = [0, *(1 + axis for axis in self.space)]
        if self.draw.random() < 0.7:
            self.draw.shuffle(volume)
        self.volume = tuple(volume)
        self.last = left == "tensorflow"
        """Whether channels come last on the left."""

    def _array(self, *shape: int) -> np.ndarray:
        return self.values.standard_normal(shape).astype("f4")

    def _put(self, left: str, right: str, here: np.ndarray, there: np.ndarray) -> None:
        self.planted.left[left] = np.ascontiguousarray(here)
        self.planted.right[right] = np.ascontiguousarray(there)
        self.planted.names[left] = right

    def convolution(self, number: int, inputs: int, outputs: int) -> None:
        kernel = self.draw.choice([(3,) * self.axes, (1,) * self.axes, (3, 2, 2)[: self.axes]])
        right = self._array(outputs, inputs, *kernel)
        axes = (
            (*(2 + axis for axis in self.space), 1, 0)
            if self.last
            else (0, 1, *(2 + axis for axis in self.space))
        )
        self._put(self._left(f"conv{number}", 0), f"layer{number}.conv.weight", right.transpose(axes), right)

    def norm(self, number: int, size: int) -> None:
        factor = np.float32(self.draw.choice([999.982, 1.0, 0.25, 43.7])) if self.caffe else np.float32(1)
        mean, variance = self._array(size), abs(self._array(size)) + np.float32(0.1)
        sums = [mean * factor, variance * factor]
        # As ports do, one way or the other: the quotient, or the product with the inverse.
        mean, variance = (one / factor if number % 2 else one * (1 / factor) for one in sums)
        scale, shift = abs(self._array(size)) + np.float32(0.5), self._array(size)
        right = f"layer{number}.bn"
        self._put(self._left(f"norm{number}", 0, "moving_mean"), f"{right}.running_mean", sums[0], mean)
        self._put(
            self._left(f"norm{number}", 1, "moving_variance"), f"{right}.running_var", sums[1], variance
        )
        if self.caffe:
            self.planted.left[f"norm{number}/2"] = np.array([factor])
        self._put(self._left(f"scale{number}", 0, "gamma"), f"{right}.weight", scale, scale)
        self._put(self._left(f"scale{number}", 1, "beta"), f"{right}.bias", shift, shift)

    def linear(self, number: int, volume: tuple[int, ...], outputs: int) -> None:
        right = self._array(outputs, *volume)
        left = right.transpose(0, *(1 + axis for axis in self.volume)) if len(volume) > 1 else right
        flat, right = left.reshape(outputs, -1), right.reshape(outputs, -1)
        self._put(self._left(f"fc{number}", 0), f"head.{number}.weight", flat.T if self.last else flat, right)
        bias = self._array(outputs)
        self._put(self._left(f"fc{number}", 1, "bias"), f"head.{number}.bias", bias, bias)

    def _left(self, layer: str, blob: int, word: str = "kernel") -> str:
        return f"{layer}/{blob}" if self.caffe else f"{layer}/{word}"


def write_caffe(path: Path, arrays: Arrays) -> None:
    """A Caffe model of these blobs."""
    from tests.helpers import caffe_files

    kinds = {"conv": "Convolution", "norm": "BatchNorm", "scale": "Scale", "fc": "InnerProduct"}
    layers: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        layers.setdefault(name.rpartition("/")[0], []).append(array)
    path.write_bytes(
        b"".join(
            caffe_files.new_layer(layer, kinds[layer.rstrip("0123456789")], *map(caffe_files.blob, blobs))
            for layer, blobs in layers.items()
        )
    )


def write_tensorflow(path: Path, arrays: Arrays) -> None:
    """A bundle of these variables."""
    from converters.formats.io.atomic import replacing
    from converters.formats.tensorflow import checkpoint_names
    from converters.formats.tensorflow.writer import write_tensorflow as write
    from converters.tensor import Held, Tensor

    data, index = checkpoint_names(str(path))
    with replacing(data) as data_out, replacing(index) as index_out:
        write(
            data_out,
            index_out,
            [
                Tensor(name, str(one.dtype), one.shape, Held(one.tobytes()))
                for name, one in sorted(arrays.items())
            ],
        )
