"""Nested variables of Flax and Haiku: Flax's msgpack, pickled dictionaries of arrays, and NumPy files of their names.

Their tensors' names are the keys from the outermost dictionary to the array, joined by slashes; see `names`.
"""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="flax-msgpack",
        title="a Flax file (.msgpack)",
        suffixes=(".msgpack",),
        layout_formats=("jax",),
        kinds=("msgpack",),
        opener="converters.formats.jax.opener.open_msgpack",
        has_entries=True,
        writer="converters.formats.jax.msgpack_writer.write",
    ),
    Format(
        name="nested-pickle",
        title="a pickle of nested arrays (.pkl)",
        suffixes=(".pkl", ".pickle"),
        layout_formats=("jax",),
        kinds=("pickle",),
        opener="converters.formats.jax.opener.open_pickle",
        has_entries=True,
        writer="converters.formats.jax.pickle_writer.write",
    ),
    Format(
        name="nested-npz",
        title="a NumPy file (.npz)",
        suffixes=(".npz",),
        layout_formats=("jax",),
        kinds=("zip",),
        opener="converters.formats.jax.opener.open_npz",
        has_entries=True,
        writer="converters.formats.arrays.writer.write_as_npz",
    ),
)
