"""Read any checkpoint as a mapping of names to arrays, without the framework that wrote it, and without running it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from converters.formats.open import open_checkpoint as open_file
from converters.lazy_module import LazyModule
from converters.printable import printable, shape_text, short_name
from converters.spelling import nearest_word

from .errors import UsageError

if TYPE_CHECKING:
    from typing import Self

    import numpy as np

    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor
else:
    np = LazyModule("numpy")
    Self = object

SHOWN = 3
"""Names of a checkpoint that its ``repr`` lists."""


class LazyArray:
    """An array that is still in its file. ``dtype`` is its name (``"float32"``), ``shape`` its sizes in C order."""

    __slots__ = ("_checkpoint", "_tensor")

    def __init__(self, tensor: Tensor, checkpoint: OpenCheckpoint) -> None:
        self._tensor = tensor
        self._checkpoint = checkpoint

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self._tensor.name

    @property
    def dtype(self) -> str:
        """The name of its dtype: numpy's, or ``"bfloat16"``."""
        return self._tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes in C order, ``()`` for a scalar."""
        return self._tensor.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the array itself."""
        return self._tensor.nbytes

    def numpy(self) -> np.ndarray[Any, Any]:
        """Read it, as a numpy array of its own. What is bfloat16, which numpy has not, comes as float32 of the same
        values. Raises `BadInput` where the file is damaged, `UsageError` where the checkpoint is closed."""
        import numpy as np

        self._checkpoint.require_open()
        data = bytearray(self._tensor.tobytes())
        if self.dtype == "bfloat16":
            wide = np.frombuffer(data, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(self.shape)
        dtype = np.dtype(self.dtype).newbyteorder("<")
        return np.frombuffer(data, dtype).reshape(self.shape).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"<{short_name(self.name)}: {self.dtype} {shape_text(self.shape)}>"


class OpenCheckpoint(Mapping[str, LazyArray]):
    """An open checkpoint: a read-only mapping of names to `LazyArray`, and a context manager that closes its files.

    ``container`` is the file format in words. ``provenance`` is the record of the conversion that wrote the file, if
    this tool did. ``others`` are the names of all that is in the file beside the arrays, with what each is.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._open = True

    @property
    def path(self) -> str:
        """Where it is."""
        return self._checkpoint.path

    @property
    def container(self) -> str:
        """The file format in words."""
        return self._checkpoint.container

    @property
    def provenance(self) -> Mapping[str, Any] | None:
        """The record of the conversion that wrote the file, if this tool did."""
        return self._checkpoint.provenance

    @property
    def others(self) -> dict[str, str]:
        """What is in the file beside the arrays, by name: numbers, texts, tensors of kinds that are not converted."""
        return {name: other.kind for name, other in self._checkpoint.other_values.items()}

    def require_open(self) -> None:
        """Raise `UsageError` if the files are closed."""
        if not self._open:
            raise UsageError("the checkpoint is closed", path=self.path, hint="read its arrays before that")

    def close(self) -> None:
        """Close the files; names, dtypes and shapes stay."""
        self._open = False
        self._checkpoint.close()

    def __getitem__(self, name: str) -> LazyArray:
        tensor = self._checkpoint.tensors.get(name)
        if tensor is None:
            raise KeyError(self._missing(name))
        return LazyArray(tensor, self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoint.tensors)

    def __len__(self) -> int:
        return len(self._checkpoint.tensors)

    def __enter__(self) -> Self:
        self.require_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(short_name(name) for name in list(self)[:SHOWN])
        more = ", ..." if len(self) > SHOWN else ""
        state = "" if self._open else "closed, "
        return printable(f"<{self.path}: {state}{self.container}, {len(self)} arrays: {names}{more}>")

    def _missing(self, name: object) -> str:
        """What to say of a name that is not an array's."""
        if name in self._checkpoint.other_values:
            kind = self._checkpoint.other_values[str(name)].kind
            return f"{short_name(name)} is not an array that numpy can hold, but {kind}"
        near = nearest_word(str(name)[:200], list(self)[:5000])
        return f"{short_name(name)}{f': did you mean {short_name(near)}?' if near else ''}"


def open_checkpoint(
    path: str | os.PathLike[str], *, entry: str | None = None, checksum: bool = True
) -> OpenCheckpoint:
    """Open a checkpoint of any format that is read, as a mapping of names to lazy arrays.

    >>> with open_checkpoint("model.pkl") as checkpoint:
    ...     checkpoint["conv1_w"].numpy()

    Nothing in the file runs, no framework is imported, and no array is read before it is asked for. ``entry`` is the
    path of a state dict in a PyTorch file, or the averages in a TensorFlow or Flax file, where not the plain
    weights are wanted; without ``checksum`` the file's own checksums are not compared. Names, axes and values are the
    file's own.

    Raises `BadInput` for a file that is not a checkpoint, or is damaged.
    """
    return OpenCheckpoint(open_file(os.fspath(path), entry=entry, checksum=checksum))
