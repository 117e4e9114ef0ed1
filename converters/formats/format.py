"""A file format's record, `Format`, and the arguments of its opener and writer.

Each format's folder declares its records in its ``__init__.py``, which imports only this module; `registry` lists
the folders.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import UsageError
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.files import Find, SourceFile
    from converters.tensor import Tensor

    from .checkpoint import Checkpoint
    from .graph import Graph
    from .io.output_stream import Output

# Tuples, not dataclasses: every conversion imports this module, and to import dataclasses takes longer than to
# import all formats' records.


class Format(NamedTuple):
    """A file format.

    ``name`` is a short word, ``title`` its description in messages. ``suffixes`` are those of outputs, the usual one
    first; files of other tools may also have one of ``other_suffixes``. ``layout_formats`` are the formats of layouts,
    as the tables name them, whose tensors such a file can hold. ``kinds`` are the results of `sniff` for its files.

    ``opener`` and ``writer`` are dotted paths, so that a format which is not used is not imported; see `open` and
    `write`. Where a checkpoint is a set of files, ``open_set`` opens it by its path, or gives None for a path that
    names no such set, and ``files`` gives the paths that an output's name stands for, the one that makes it complete
    last. ``has_entries`` says whether a file may hold several state dicts. ``wrappers`` are what outputs with some of
    the suffixes always have around the state dict. ``confirmer``, a dotted path too, is for formats whose outputs can
    be read back faster than by opening them; see `confirms`.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    layout_formats: tuple[str, ...]
    kinds: tuple[str, ...]
    opener: str
    writer: str
    other_suffixes: tuple[str, ...] = ()
    open_set: Callable[[str, ReadOptions], Checkpoint | None] | None = None
    files: Callable[[str], tuple[str, ...]] = lambda path: (path,)
    has_entries: bool = False
    wrappers: Mapping[str, Wrapper] = MappingProxyType({})
    confirmer: str = ""

    def open(self, file: SourceFile, kind: str, options: ReadOptions) -> Checkpoint | None:
        """Open a file of one of ``kinds``; None if it is of another format. Raises `BadInput` for a damaged one.

        A checkpoint owns the file from then on. Raises `UsageError` for an entry where files have none.
        """
        checkpoint: Checkpoint | None = _function(self.opener)(file, kind, options)
        if checkpoint is not None and options.entry is not None and not self.has_entries:
            checkpoint.close()
            options.refuse_entry(file.path)
        return checkpoint

    def write(self, outputs: Sequence[Output], content: Content) -> None:
        """Write an output's ``files``, which are open. Raises `Refused` for what the format cannot hold."""
        _function(self.writer)(outputs, content)

    def confirms(self, path: str, tensors: Sequence[Tensor], wrapper: Wrapper | None) -> bool:
        """Whether a written file surely has these tensors' names, shapes and dtypes, in order. If not, only opening
        it can tell. Their data are not read. Raises `BadInput` for a damaged file."""
        return bool(self.confirmer) and bool(_function(self.confirmer)(path, tensors, wrapper))


def _function(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


class ReadOptions(NamedTuple):
    """How a checkpoint is read: ``checksum`` compares the checksums in it; ``entry`` names the state dict in a PyTorch
    file by its path, with dots, or the averages in a TensorFlow checkpoint or in nested variables (default: the plain
    weights). ``find`` opens the files beside one that is in no folder of its own, see `SourceFile`."""

    checksum: bool = True
    entry: str | None = None
    find: Find | None = None

    def refuse_entry(self, path: str) -> None:
        """Raise `UsageError` if an entry was named."""
        if self.entry is not None:
            raise UsageError(
                "only files of PyTorch, TensorFlow and JAX have entries", path=path, hint="leave --entry out"
            )


class Wrapper(NamedTuple):
    """The dictionary around a state dict: ``key`` is the state dict's entry, ``entries`` are the others, plain data."""

    key: str
    entries: Mapping[str, object]


class Content(Record):
    """What an output holds.

    ``original`` describes the file that the weights first came from (`Checkpoint.details`); ``same_layout`` is true
    if that file had the output's layout. ``slash_keys`` are patterns of the keys of nested dictionaries that contain
    slashes.
    ``provenance`` gives the text of the provenance record, from the CRC-32 of each tensor's bytes as written, in
    order; ``graph`` the source framework's network; ``progress`` is called with the number of bytes of each chunk.
    """

    tensors: Sequence[Tensor]
    original: Mapping[str, Any]
    same_layout: bool
    wrapper: Wrapper | None
    slash_keys: Sequence[str]
    provenance: Callable[[Sequence[int]], str]
    graph: Callable[[], Graph]
    progress: Callable[[int], None] | None
