"""Open nested variables of JAX's libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import OtherValue
from converters.tensor import Held

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions

    from .names import Flat


def open_msgpack(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint:
    """Open a file of ``flax.serialization``. Raises `BadInput`."""
    from .msgpack_reader import read_msgpack

    return _checkpoint(file, read_msgpack(file), "Flax file (msgpack)")


def open_pickle(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint:
    """Open a pickle of nested dictionaries of arrays. Raises `BadInput`."""
    from converters.formats.pickle.forms import THE_FORM

    from .pickle_reader import read_nested_pickle

    flat, protocol, form = read_nested_pickle(file)
    found = _checkpoint(file, flat, f"pickle of nested arrays, protocol {protocol}")
    return found.replace(metadata={THE_FORM: form})


def open_npz(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open a NumPy file of Flax's variables, whose keys are joined by slashes or dots; None for other arrays. Raises
    `BadInput`."""
    from converters.formats.npz.reader import read_npz

    from .names import with_slashes

    npz = read_npz(file, checksum=options.checksum)
    names = with_slashes((*npz.tensors, *npz.other_values))
    if names is None or npz.objects or npz.empty or len(set(names.values())) < len(names):
        return None
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="jax",
        container="NumPy file (npz)",
        tensors={names[old]: tensor._replace(name=names[old]) for old, tensor in npz.tensors.items()},
        other_values={names[old]: other for old, other in npz.other_values.items()},
        metadata=npz.metadata,
    )


def _checkpoint(file: SourceFile, flat: Flat, container: str) -> Checkpoint:
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="jax",
        container=container,
        tensors=flat.tensors,
        other_values=flat.other_values,
        metadata={"forms of values": OtherValue(kind="names", data=Held(flat.forms.encode()))}
        if flat.forms
        else {},
        details={"slash_keys": list(flat.slash_keys)},
    )
