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


def open_msgpack(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint:
    """Open a file of ``flax.serialization``. Raises `BadInput`, `UsageError`."""
    from .msgpack_reader import read_msgpack

    return _chosen(_checkpoint(file, read_msgpack(file), "Flax file (msgpack)"), options)


def open_pickle(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint:
    """Open a pickle of nested dictionaries of arrays. Raises `BadInput`, `UsageError`."""
    from converters.formats.pickle.forms import THE_FORM

    from .pickle_reader import read_nested_pickle

    flat, protocol, form = read_nested_pickle(file)
    found = _checkpoint(file, flat, f"pickle of nested arrays, protocol {protocol}")
    return _chosen(found.replace(metadata={THE_FORM: form}), options)


def open_npz(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open a NumPy file of Flax's variables, whose keys are joined by slashes or dots; None for other arrays. Raises
    `BadInput`, `UsageError`."""
    from converters.formats.npz.reader import read_npz

    from .names import with_slashes

    npz = read_npz(file, checksum=options.checksum)
    names = with_slashes((*npz.tensors, *npz.other_values))
    if names is None or npz.objects or npz.empty or len(set(names.values())) < len(names):
        return None
    found = Checkpoint(
        path=file.path,
        files=(file,),
        format="jax",
        container="NumPy file (npz)",
        tensors={names[old]: tensor._replace(name=names[old]) for old, tensor in npz.tensors.items()},
        other_values={names[old]: other for old, other in npz.other_values.items()},
        metadata=npz.metadata,
    )
    return _chosen(found, options)


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


def _chosen(checkpoint: Checkpoint, options: ReadOptions) -> Checkpoint:
    """A checkpoint with the averages that are wanted in place of the weights. Raises `UsageError`."""
    from .averages import choose

    every = (*checkpoint.tensors, *checkpoint.other_values)
    names, beside = choose(every, options.entry, checkpoint.path)
    if options.entry is None and not beside:
        return checkpoint
    kept = [(names[old], tensor) for old, tensor in checkpoint.tensors.items() if old in names]
    others = {names[old]: other for old, other in checkpoint.other_values.items() if old in names}
    return checkpoint.replace(
        tensors={name: tensor._replace(name=name) for name, tensor in kept},
        other_values=others,
        details={**checkpoint.details, "wrapper": options.entry or "", "beside": list(beside)},
    )
