"""TensorFlow checkpoints, V1 and V2: sets of files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from converters.formats.format import Format

if TYPE_CHECKING:
    from converters.formats.checkpoint import Checkpoint
    from converters.formats.format import ReadOptions

_PART = re.compile(r"\.(index|meta|data-[0-9]{5}-of-[0-9]{5,})$")
"""The suffixes of a checkpoint's files, which cannot be recognised by their first bytes."""

_MEMBERS = ("checkpoint", "saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb")


def _open_set(path: str, options: ReadOptions) -> Checkpoint | None:
    """Open a checkpoint by its prefix, its folder, or one of its files; None for a path that names another file."""
    if os.path.isfile(path):
        name = os.path.basename(path)
        if name not in _MEMBERS and not _PART.search(name):
            return None
    else:
        from .files import names_checkpoint

        if not names_checkpoint(path):
            return None
    from .opener import open_checkpoint_set

    return open_checkpoint_set(path, options)


def checkpoint_names(path: str) -> tuple[str, str]:
    """The data and the index of an output that is named by its prefix or its index. The index gets its name last:
    without it there is no checkpoint."""
    prefix = path.removesuffix(".index")
    return f"{prefix}.data-00000-of-00001", f"{prefix}.index"


FORMATS = (
    Format(
        name="tensorflow",
        title="a TensorFlow checkpoint",
        suffixes=(".ckpt", ".index"),
        other_suffixes=(".tf",),
        layout_formats=("tensorflow",),
        kinds=("unknown", "text", "protobuf", "hdf5", "empty"),
        opener="converters.formats.tensorflow.opener.open_tensorflow",
        writer="converters.formats.tensorflow.writer.write",
        open_set=_open_set,
        has_entries=True,
        files=checkpoint_names,
    ),
)
