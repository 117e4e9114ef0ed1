"""Mean cubes: what is taken off the frames before a C3D sees them, in files of their own.

Caffe has them as a ``.binaryproto``, TGAN as the one array ``mean`` of an ``.npz``, and PyTorch projects as an
``.npy``. Axes are channel, frame, y, x (channel, y, x for one image), channels in the order BGR; facts from
facebookarchive/C3D, where readers that took the frames first were wrong (pull request 59).
"""

from __future__ import annotations

import os
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, UsageError
from converters.files import SourceFile
from converters.printable import short_name
from converters.record import Record
from converters.tensor import FLOATS, Tensor

from .arrays import arrays
from .operations.storage import Reshape
from .operations.values import Cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.formats.io.output_stream import Output

CHANNELS = 3
FLAT = (CHANNELS, 16, 128, 171)
"""The shape that an array without axes is assumed to have: C3D's own."""

SUFFIXES = (".npy", ".npz", ".binaryproto")
"""What a mean can be written as."""


class Mean(Record):
    """A mean that was converted: ``shape`` is [channels, (frames,) y, x], ``means`` are those of its channels, in
    the file's order, ``crc32`` is that of its float32 values (little-endian, C order)."""

    source: str
    output: str | None
    container: str
    shape: tuple[int, ...]
    means: tuple[float, ...]
    crc32: str

    def as_data(self) -> dict[str, Any]:
        """The result as plain data, for ``--json``."""
        return self.as_dict()


def convert_mean(
    input: str | os.PathLike[str], output: str | os.PathLike[str] | None, *, force: bool = False
) -> Mean:
    """Convert a mean file (``.binaryproto``, ``.npz``, ``.npy``) to the format of the output's suffix, as float32.

    Without an output it is only read. Raises `BadInput` for a file that is not a mean or has its axes in another order,
    `Refused` where the output cannot be written and `UsageError` for a suffix that means none of the three.
    """
    path = os.fspath(input)
    out_path = None if output is None else os.fspath(output)
    write = None if out_path is None else _writer(out_path)
    if out_path is not None:
        from .write import refuse_early, refuse_input

        refuse_input(path, out_path)
        refuse_early(out_path, force=force)
    with SourceFile(path) as file:
        tensor, container = _read(file)
        result = _look(tensor, path, container)
        if out_path is not None and write is not None:
            from converters.formats.io.atomic import replacing

            with replacing(out_path, force=force) as out:
                write(out, tensor)
            result = result.replace(output=out_path)
    return result


def read_mean_cube(path: str | os.PathLike[str]) -> Any:
    """A mean file as a float32 array, [3, height, width] or [3, frames, height, width]. Raises `BadInput`."""
    import numpy

    with SourceFile(path) as file:
        tensor, _ = _read(file)
        return numpy.frombuffer(tensor.tobytes(), "<f4").reshape(tensor.shape)


def _read(file: SourceFile) -> tuple[Tensor, str]:
    """The mean in a file, its axes checked, as float32, and what the file is in words."""
    from converters.formats.sniff import HEAD, expect, sniff

    kind = sniff(file.read_at(0, min(HEAD, file.size)))
    if kind == "npy":
        from converters.formats.npz.reader import read_npy

        tensor, container = read_npy(file), "numpy array (.npy)"
    elif kind == "zip":
        from converters.formats.npz.reader import read_npz

        npz = read_npz(file)
        arrays_in_file = npz.tensors
        if npz.objects and not arrays_in_file:
            from converters.formats.npz.objects import pickled

            raise pickled(file, short_name(npz.objects[0]))
        if set(arrays_in_file) != {"mean"}:
            raise BadInput(
                "is not a mean: a single array named 'mean' was expected",
                path=file.path,
                where=", ".join(list(arrays_in_file)[:3]) or "no arrays",
                hint="to convert a model, write a .pth, a .safetensors or, with --to c3d-chainer, an .npz",
            )
        tensor, container = arrays_in_file["mean"], "numpy arrays (.npz)"
    elif kind in ("protobuf", "unknown", "text"):
        from converters.formats.caffe.reader import read_mean

        tensor, container = read_mean(file), "Caffe mean file (.binaryproto)"
    else:
        expect(file, "npy", "zip", "protobuf")
        raise AssertionError(kind)
    if tensor.dtype not in FLOATS:
        raise BadInput(
            f"holds {tensor.dtype}, but a mean is of a floating-point type",
            path=file.path,
            hint="save it as float32",
        )
    shape = _axes(tensor.shape, file.path)
    if shape != tensor.shape:
        tensor = Reshape(shape=shape).apply(tensor)
    if tensor.dtype != "float32":
        tensor = Cast(dtype="float32").apply(tensor)
    return tensor._replace(name="mean"), container


def _axes(shape: tuple[int, ...], path: str) -> tuple[int, ...]:
    """A shape without its axes of size one, which must be channels, perhaps frames, height and width."""
    bare = tuple(size for size in shape if size != 1)
    if len(bare) == 1 and bare[0] == prod(FLAT):
        return FLAT
    if len(bare) in (3, 4) and bare[0] == CHANNELS and 0 not in bare:
        return bare
    raise BadInput(
        f"holds an array of {'x'.join(map(str, shape)) or 'one value'}, which is not a mean",
        path=path,
        hint=f"its axes must be channel ({CHANNELS}), frame, y, x in this order, or channel, y, x",
    )


def _look(tensor: Tensor, path: str, container: str) -> Mean:
    """Read a mean once: the means of its channels, and its checksum."""
    from zlib import crc32

    from numpy import errstate

    size = prod(tensor.shape[1:])
    sums, at, crc = [0.0] * tensor.shape[0], 0, 0
    for values in arrays(tensor.data, "float32"):
        crc = crc32(values, crc)
        rest = values
        while len(rest):
            piece = rest[: size - at % size]
            with errstate(invalid="ignore"):  # Inf - Inf: refused below
                sums[at // size] += float(piece.sum(dtype="float64"))
            at, rest = at + len(piece), rest[len(piece) :]
    if not all(map(isfinite, sums)):
        raise BadInput("holds NaN or Inf", path=path, hint="the file is damaged; fetch it again")
    means = tuple(total / size for total in sums)
    return Mean(
        source=path, output=None, container=container, shape=tensor.shape, means=means, crc32=f"{crc:08x}"
    )


def _writer(path: str) -> Callable[[Output, Tensor], object]:
    from converters.formats.caffe.writer import write_mean
    from converters.formats.npz.writer import write_npy, write_npz

    writers: dict[str, Callable[[Output, Tensor], object]] = {
        ".npy": write_npy,
        ".npz": lambda out, tensor: write_npz(out, [tensor]),
        ".binaryproto": write_mean,
    }
    for suffix, write in writers.items():
        if path.lower().endswith(suffix):
            return write
    raise UsageError(
        f"a mean's name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        path=path,
        hint="the suffix chooses the format",
    )
