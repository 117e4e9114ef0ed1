"""Finds the files of a TensorFlow checkpoint from any of its names.

A V2 checkpoint is ``PREFIX.index`` and its shards ``PREFIX.data-SSSSS-of-NNNNN``; no file is called ``PREFIX``. A V1
checkpoint is one file, or ``PREFIX-SSSSS-of-NNNNN``. A text file ``checkpoint`` in the same folder names the prefix,
often by a path that no longer exists.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from converters.errors import BadInput
from converters.files import SourceFile
from converters.printable import short_name

from .sstable import MAGIC

STATE = "checkpoint"
_STATE_LIMIT = 1 << 20
_MODULES = ("saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb")
_VARIABLES = "variables"
_NUMBER = re.compile(r"-([0-9]{5}|\?{5})-of-([0-9]{5,})$")
_LATEST = re.compile(rb"""(?m)^\s*model_checkpoint_path\s*:\s*(["'])((?:(?!\1)[^\\\n]|\\.)*)\1""")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.S)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


class CheckpointFiles(NamedTuple):
    """The files of a checkpoint with TensorFlow's name ``prefix``. ``index_path`` is a V2 checkpoint's index, whose
    header lists the shards; ``tables`` are the files of V1."""

    prefix: str
    index_path: str | None
    tables: tuple[str, ...]

    def shard(self, number: int, count: int) -> str:
        """The path of one of a V2 checkpoint's data shards."""
        return f"{self.prefix}.data-{number:05d}-of-{count:05d}"


def names_checkpoint(path: str) -> bool:
    """Whether a path can only mean a TensorFlow checkpoint: a folder, a file named like one of its files, a prefix
    that is not a file itself, or a table. The rest may be missing."""
    if os.path.isdir(path) or os.path.basename(path) in (STATE, *_MODULES):
        return True
    if path.endswith((".index", ".meta")) or _NUMBER.search(path):
        return True
    if not os.path.exists(path):
        return _has_parts(path)
    return _is_table(path)


def find_checkpoint(path: str) -> CheckpointFiles:
    """The files of the checkpoint that ``path`` names by its prefix, any of its files, its folder, the file
    ``checkpoint``, or a SavedModel or TF-Hub module.

    Raises `BadInput` where nothing is found, the choice is ambiguous, or a file is missing.
    """
    if os.path.isdir(path):
        return _in_folder(path)
    folder, name = os.path.split(path)
    if name == STATE and os.path.isfile(path):
        return _from_state(path)
    if name in _MODULES:
        return _saved_model(folder, path)
    for suffix in (".index", ".meta"):
        if name.endswith(suffix):
            return _prefix(path.removesuffix(suffix), path)
    if match := _NUMBER.search(path):
        front = path[: match.start()]
        if front.endswith(".data"):
            return _prefix(front.removesuffix(".data"), path)
        return _v1_shards(front, match[2], path)
    return _prefix(path, path)


def graph_beside(prefix: str) -> str:
    """The path of the graph of a SavedModel or a TF-Hub module whose variables have this prefix; empty where they are
    none's."""
    folder = os.path.dirname(prefix)
    if os.path.basename(folder) != _VARIABLES:
        return ""
    paths = (os.path.join(os.path.dirname(folder), name) for name in _MODULES)
    return next(filter(os.path.isfile, paths), "")


def _prefix(prefix: str, path: str) -> CheckpointFiles:
    """The checkpoint with a prefix that was derived from ``path``."""
    index = f"{prefix}.index"
    if os.path.isfile(prefix) and (path == prefix or not os.path.isfile(index)) and _is_table(prefix):
        return CheckpointFiles(prefix, None, (prefix,))
    if os.path.isfile(index):
        return CheckpointFiles(prefix, index, ())
    shards = [name for name in _beside(prefix) if _NUMBER.search(name)]
    if any(".data-" in name for name in shards):
        raise BadInput(
            f"the checkpoint's file {os.path.basename(index)} is missing",
            path=path,
            hint="the names and places of its tensors are there; put it beside the data",
        )
    if shards:
        match = _NUMBER.search(shards[0])
        assert match
        return _v1_shards(prefix, match[2], path)
    if os.path.isfile(f"{prefix}.meta"):
        raise BadInput(
            "is the graph of a checkpoint, without its weights",
            path=f"{prefix}.meta",
            hint=f"put {os.path.basename(index)} and the .data files beside it",
        )
    if path.endswith(".index") or not os.path.exists(path):
        raise BadInput("does not exist", path=path, hint="nor is it the prefix of a TensorFlow checkpoint")
    raise BadInput(
        "is not a TensorFlow checkpoint", path=path, hint="name its prefix, its .index or its folder"
    )


def _v1_shards(prefix: str, count: str, path: str) -> CheckpointFiles:
    names = [f"{prefix}-{number:05d}-of-{count}" for number in range(_count(count, path))]
    for name in names:
        if not os.path.isfile(name):
            raise BadInput(f"the checkpoint's file {os.path.basename(name)} is missing", path=path)
    return CheckpointFiles(prefix, None, tuple(names))


def _count(text: str, path: str) -> int:
    count = int(text) if len(text) < 10 else 0
    if not 0 < count <= 100_000:
        raise BadInput("is named as one of an impossible number of shards", path=path)
    return count


def _in_folder(folder: str) -> CheckpointFiles:
    """The checkpoint in a folder: the one that the file ``checkpoint`` names, or the only one."""
    if os.path.isdir(os.path.join(folder, _VARIABLES)) or any(
        os.path.isfile(os.path.join(folder, name)) for name in _MODULES
    ):
        return _saved_model(folder, folder)
    state = os.path.join(folder, STATE)
    if os.path.isfile(state):
        return _from_state(state)
    names = _listed(folder)
    prefixes = {name.removesuffix(".index") for name in names if name.endswith(".index")}
    if not prefixes:
        for name in names:
            match = _NUMBER.search(name)
            if match:
                prefixes.add(name[: match.start()].removesuffix(".data"))
            elif _is_table(os.path.join(folder, name)):
                prefixes.add(name)
    if not prefixes:
        prefixes = {name.removesuffix(".meta") for name in names if name.endswith(".meta")}
    if len(prefixes) == 1:
        return _prefix(os.path.join(folder, *prefixes), folder)
    if not prefixes:
        raise BadInput("is a folder without a TensorFlow checkpoint", path=folder, hint="name a file")
    some = ", ".join(sorted(prefixes)[:4]) + (", ..." if len(prefixes) > 4 else "")
    raise BadInput(f"holds {len(prefixes)} checkpoints", path=folder, hint=f"name one of {some}")


def _saved_model(folder: str, path: str) -> CheckpointFiles:
    """The variables of a SavedModel or TF-Hub module."""
    prefix = os.path.join(folder, _VARIABLES, _VARIABLES)
    if _has_parts(prefix):
        return _prefix(prefix, path)
    raise BadInput(
        "has no variables",
        path=path,
        where=f"{_VARIABLES}/{_VARIABLES}.index is missing",
        hint="a frozen graph holds its weights as constants, which are not read",
    )


def _from_state(path: str) -> CheckpointFiles:
    """The checkpoint that the text file ``checkpoint`` names, or one with the same base name beside it."""
    with SourceFile(path) as file:
        text = file.read_at(0, min(file.size, _STATE_LIMIT))
    match = _LATEST.search(text)
    raw = b"" if match is None else _ESCAPE.sub(_unescaped, match[2])
    named = os.fsdecode(raw)
    if not named or "\0" in named:
        raise BadInput(
            "names no checkpoint (model_checkpoint_path)", path=path, hint="name the checkpoint itself"
        )
    folder = os.path.dirname(path)
    base = re.split(r"[/\\]", named.rstrip("/\\"))[-1]
    # Of a folder that was copied, the copy is meant, not what may still be where it came from.
    places = [os.path.join(folder, named), os.path.join(folder, base)]
    for prefix in reversed(places) if os.path.isabs(named) else places:
        if shard := _NUMBER.search(prefix):  # of V1
            if os.path.isfile(f"{prefix[: shard.start()]}-00000-of-{shard[2]}"):
                return _v1_shards(prefix[: shard.start()], shard[2], path)
        elif os.path.isfile(prefix) or _has_parts(prefix):
            return _prefix(prefix, prefix)
    raise BadInput(
        f"names the checkpoint {short_name(named)}, which is not there",
        path=path,
        hint=f"nor is {short_name(base)} beside it; name the checkpoint itself",
    )


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes((int(code, 8) & 0xFF,)) if code[:1] in b"01234567" else _LETTERS.get(code, code)


def _has_parts(prefix: str) -> bool:
    return any(os.path.isfile(prefix + end) for end in (".index", ".meta")) or any(
        _NUMBER.search(name) for name in _beside(prefix)
    )


def _beside(prefix: str) -> list[str]:
    """The file names in the folder that consist of the prefix and shard numbers."""
    folder, name = os.path.split(prefix)
    wanted = (name, f"{name}.data")
    entries = _listed(folder or os.curdir)
    return [entry for entry in entries if (m := _NUMBER.search(entry)) and entry[: m.start()] in wanted]


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_table(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            file.seek(-len(MAGIC), os.SEEK_END)
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
