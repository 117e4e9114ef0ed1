"""Where the files of a checkpoint are that has several: found from one address, and put into one folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.locations import WEB

from .address import hub_parts, parse_address
from .cache import digest_of, user_cache
from .download import fetch
from .stores import listed, matching

if TYPE_CHECKING:
    from .address import Address

INDEX = ".index.json"
"""The end of the name of a sharded checkpoint's index."""

_TENSORFLOW = re.compile(r"\.(?:index|meta)$|(?:\.data)?-\d{5}-of-\d{5,}$")
_INDEX_LIMIT = 16 << 20
_PARTS = 1000
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".pyth", ".ckpt", ".pkl", ".npz", ".onnx", ".msgpack")
CONFIG = "config.json"
"""The file of a repository that says which file has the weights."""


class FetchedFiles(NamedTuple):
    """What to open, and the addresses of the files by their paths here. ``digest`` is the SHA-256 of what is one
    file."""

    path: str
    address: str
    shown: dict[str, str]
    digest: str = ""


def is_part_of_set(address: Address) -> bool:
    """Whether an address by its name is a file of a checkpoint of several."""
    return address.name.endswith(INDEX) or _TENSORFLOW.search(address.name) is not None


def fetch_checkpoint(address: Address) -> FetchedFiles:
    """Fetch a file, or all files of the checkpoint that an address names by one of them or by their prefix. Raises
    `BadInput`."""
    if address.name.endswith(INDEX):
        return _fetch_set(address, _parts(address, fetch(address)), address.name)
    if match := _TENSORFLOW.search(address.name):
        prefix = address.name[: match.start()]
        return _fetch_set(address, _tensorflow(address.beside(prefix)), address.name)
    try:
        path = fetch(address)
    except BadInput as error:
        if not (error.what == "does not exist" and (found := _tensorflow(address))):
            raise
        return _fetch_set(address, found, address.name)
    return FetchedFiles(path, address.shown, {path: address.shown}, digest_of(path))


def weights_in(address: Address) -> Address:
    """The file of weights in a repository on the Hub: the one that its `CONFIG` names, or the only one. Raises
    `BadInput`."""
    repository, revision, folder = hub_parts(address.url)
    root = f"hf://{repository}{f'@{revision}' if revision else ''}"
    names = [path.rpartition("/")[2] for path in listed(address)]
    above = f"{root}/{folder.strip('/')}".rstrip("/")
    weights = [name for name in names if name.lower().endswith(_WEIGHTS)]
    named = _named(parse_address(f"{above}/{CONFIG}")) if CONFIG in names else ""
    if named in weights:
        weights = [named]
    if len(weights) != 1:
        some = ", ".join(weights[:5]) or "none"
        what = f"holds {len(weights)} files that may be its weights"
        raise BadInput(what, path=address.shown, hint=f"name the file: {some}")
    return parse_address(f"{above}/{weights[0]}")


def _named(config: Address) -> str:
    """What a repository's configuration says its weights are called; empty where it does not."""
    with open(fetch(config), "rb") as file, suppress(ValueError, RecursionError):
        data = json.loads(file.read(_INDEX_LIMIT))
        if isinstance(data, dict) and isinstance(data.get("weights"), str):
            return str(data["weights"])
    return ""


def _fetch_set(address: Address, files: list[Address], name: str) -> FetchedFiles:
    folder = user_cache().folder_of_set(address)
    shown = {os.path.join(folder, name): address.shown}
    for file in files:
        path = os.path.join(folder, file.name)
        _place(fetch(file), path)
        shown[path] = file.shown
    return FetchedFiles(os.path.join(folder, name), address.shown, shown)


def _place(source: str, path: str) -> None:
    """Give a file of the cache another name."""
    temporary = f"{path}.{os.getpid()}"
    with suppress(OSError):
        os.unlink(temporary)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, path)


def _parts(address: Address, path: str) -> list[Address]:
    """The index of a sharded checkpoint, and the files that it names. What is wrong in it is said when it is opened."""
    with open(path, "rb") as file:
        text = file.read(_INDEX_LIMIT)
    names: set[object] = set()
    with suppress(ValueError, RecursionError):
        index = json.loads(text)
        if isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
            names = set(index["weight_map"].values())
    plain = sorted(name for name in names if isinstance(name, str) and re.fullmatch(r"[\w.-]+", name))
    return [address, *(address.beside(name) for name in plain[:_PARTS] if name.strip("."))]


def _tensorflow(prefix: Address) -> list[Address]:
    """The files of a TensorFlow checkpoint with a prefix; a web server is asked for the usual two alone."""
    if prefix.scheme in WEB:
        found = [prefix.with_suffix(".index"), prefix.with_suffix(".data-00000-of-00001")]
        return found if _exist(found[0]) else []
    ends = (".index", ".meta", ".data-*-of-*", "-*-of-*")
    return [parse_address(url) for end in ends for url in matching(prefix, end)]


def _exist(address: Address) -> bool:
    try:
        fetch(address)
    except BadInput as error:
        if error.what != "does not exist":
            raise
        return False
    return True
