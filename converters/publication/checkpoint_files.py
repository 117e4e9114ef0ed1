"""The checkpoints in a folder and its sub-folders, of any framework, by their names and first bytes."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.registry import formats
from converters.formats.sniff import HEAD, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

_OTHERS = (
    *(
        ".bin",
        ".th",
        ".pb",
        ".pbtxt",
        ".meta",
        ".tflite",
        ".keras",
        ".h5",
        ".npy",
        ".joblib",
        ".mdl",
        ".gguf",
        ".ggml",
    ),
    *(".params", ".pdparams", ".pdiparams", ".pdopt", ".weights", ".mar", ".ptl", ".distcp", ".tar", ".tgz"),
    *(".solverstate", ".binaryproto", ".mlmodel", ".engine", ".trt"),
)
"""Suffixes of checkpoints that this tool does not read."""

_SUFFIXES = (
    *(suffix for record in formats() for suffix in (*record.suffixes, *record.other_suffixes)),
    *_OTHERS,
)
_PARTS = re.compile(r".*(?:\.data-\d+-of-\d+|\.ckpt-\d+|\.index\.json)|checkpoint")
_COPIES = re.compile(r"(?:\.(?:gz|bz2|xz|zst|zip|7z|rar|bak|old|orig|tmp|part|partial|crdownload|\d+)|~)+$")
"""What follows the suffix in the name of a packed file, a backup, a part or an unfinished download."""

_KINDS = ("safetensors", "torch-legacy", "pickle", "hdf5", "npy", "minidb")
_PICKLE, _STOP = 0x80, b"."
"""The first byte of a pickle of protocol 2 or later, and the last of any."""

_MEMBERS = (b"data.pkl", b".npy", b"/byteorder", b"/version")
"""What the first member of a zip file is called that PyTorch or numpy writes."""


class Found(NamedTuple):
    """A file or a folder by its name from the folder that was searched. ``unseen`` says why it was not looked into."""

    name: str
    unseen: str = ""


def checkpoint_files(folder: str) -> Iterator[Found]:
    """Every checkpoint, and what could not be looked into. No link to a folder is
    followed. Raises `BadInput` if the folder itself cannot be listed."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(os.path.join(folder, inner)) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            if not inner:
                raise BadInput(f"cannot be listed: {reason}", path=folder) from None
            yield Found(inner, f"cannot be listed: {reason}")
            continue
        for entry in entries:
            name = os.path.join(inner, entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
            elif entry.is_dir():
                yield Found(name, "is a link to a folder, which was not followed")
            elif named_like_one(entry.name):
                yield Found(name)
            else:
                yield from _by_contents(name, entry)


def named_like_one(name: str) -> bool:
    """Whether a file is named like a checkpoint, or a part, an index or a copy of one."""
    name = _COPIES.sub("", name.lower())
    return name.endswith(_SUFFIXES) or _PARTS.fullmatch(name) is not None


def _by_contents(name: str, entry: os.DirEntry[str]) -> Iterator[Found]:
    if not entry.is_file():  # pipes and devices hold nothing; a dead link has nothing to hold
        return
    try:
        with SourceFile(entry.path) as file:
            head = bytes(file.read_at(0, min(HEAD, file.size)))
            end = bytes(file.read_at(file.size - 1, 1)) if head else b""
    except BadInput as error:
        yield Found(name, error.told.what)
        return
    kind = sniff(head)
    if kind == "pickle" and head[0] != _PICKLE and end != _STOP:
        return  # a text that begins like a pickle of protocol 0: a list of words may
    if kind in _KINDS or (kind == "zip" and any(member in head[:300] for member in _MEMBERS)):
        yield Found(name)
