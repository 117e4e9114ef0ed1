"""Where the files of a checkpoint are that has several: found from one address, and put into one folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import SourceFile
from converters.locations import WEB

from .address import hub_parts, parse_address
from .cache import digest_of, user_cache
from .download import fetch
from .source import Missing
from .stores import listed, matching

if TYPE_CHECKING:
    from .address import Address

INDEX = ".index.json"
"""The end of the name of a sharded checkpoint's index."""

_TENSORFLOW = re.compile(r"\.(?:index|meta)$|(?:\.data)?-\d{5}-of-\d{5,}$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
_PLAIN = re.compile(r"(?!\.)[\w.-]+(?:/(?!\.)[\w.-]+)*")
"""Names of files beside another that can stand in an address as they are."""

_CONFIG_LIMIT = 16 << 20
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".pyth", ".ckpt", ".pkl", ".npz", ".onnx", ".msgpack")
CONFIG = "config.json"
"""The file of a repository that says which file has the weights."""


class FetchedFiles(NamedTuple):
    """What to open, and the addresses of the files by their paths here as people may see them. ``digest`` is the
    SHA-256 of what is one file."""

    path: str
    address: str
    shown: dict[str, str]
    digest: str = ""


def is_part_of_set(address: Address) -> bool:
    """Whether an address by its name is a file of a TensorFlow checkpoint, which has several."""
    return _TENSORFLOW.search(address.name) is not None


def fetch_checkpoint(address: Address) -> FetchedFiles:
    """Fetch a file, or all files of the TensorFlow checkpoint that an address names by one of them or by their prefix.
    Raises `BadInput`."""
    if match := _TENSORFLOW.search(address.name):
        prefix = address.name[: match.start()]
        return _fetch_set(address, _tensorflow(address.beside(prefix)), address.name)
    try:
        path = fetch(address)
    except Missing:
        if not (found := _tensorflow(address)):
            raise
        return _fetch_set(address, found, address.name)
    return FetchedFiles(path, address.shown, {path: address.shown}, digest_of(path))


def weights_in(address: Address) -> Address:
    """The file of weights in a repository on the Hub: the one that its `CONFIG` names, or the only one, or the index of
    several. Raises `BadInput`."""
    repository, revision, folder = hub_parts(address.url)
    root = f"hf://{repository}{f'@{revision}' if revision else ''}"
    names = [path.rpartition("/")[2] for path in listed(address)]
    above = f"{root}/{folder.strip('/')}".rstrip("/")
    weights = [
        name
        for name in names
        if name.endswith(INDEX) or (name.lower().endswith(_WEIGHTS) and not _SHARD.search(name))
    ]
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
        data = json.loads(file.read(_CONFIG_LIMIT))
        if isinstance(data, dict) and isinstance(data.get("weights"), str):
            return str(data["weights"])
    return ""


class Neighbours:
    """The files beside a fetched one, for its reader: the parts that an index names, an ONNX model's external data.
    What other libraries read too is copied into one folder: onnx reads no external data with several links."""

    def __init__(self, address: Address, files: FetchedFiles) -> None:
        self._address = address
        self._files = files
        self._folder = ""

    def find(self, name: str) -> SourceFile | None:
        """A file by its name, opened; None where there is none."""
        address = beside(self._address, name)
        path = _if_there(address) if address else ""
        if not address or not path:
            return None
        if not self._address.name.endswith(INDEX):
            self._folder = self._folder or user_cache().folder_of_set(self._address)
            path = _copied(path, os.path.join(self._folder, name))
        self._files.shown[path] = address.shown
        return SourceFile(path)

    def local(self, path: str) -> str:
        """Where the file itself is, which is at ``path`` too: with its neighbours, if it has any."""
        return _copied(path, os.path.join(self._folder, self._address.name)) if self._folder else path


def beside(address: Address, name: str) -> Address | None:
    """The address of a file in the folder of another; None for a name that no file there can have."""
    return address.beside(name) if _PLAIN.fullmatch(name) else None


def _fetch_set(address: Address, files: list[Address], name: str) -> FetchedFiles:
    folder = user_cache().folder_of_set(address)
    shown = {os.path.join(folder, name): address.shown}
    for file in files:
        path = os.path.join(folder, file.name)
        _place(fetch(file), path)
        shown[path] = file.shown
    return FetchedFiles(os.path.join(folder, name), address.shown, shown)


def _copied(source: str, path: str) -> str:
    """A copy of a file of the cache at ``path``, made unless it is there."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    have, wanted = (os.stat(one) if os.path.exists(one) else None for one in (path, source))
    if have is None or wanted is None or (have.st_size, have.st_mtime) != (wanted.st_size, wanted.st_mtime):
        temporary = f"{path}.{os.getpid()}"
        shutil.copy2(source, temporary)
        os.replace(temporary, path)
    return path


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


def _tensorflow(prefix: Address) -> list[Address]:
    """The files of a TensorFlow checkpoint with a prefix; a web server is asked for the usual two alone."""
    if prefix.scheme in WEB:
        found = [prefix.with_suffix(".index"), prefix.with_suffix(".data-00000-of-00001")]
        return found if _if_there(found[0]) else []
    ends = (".index", ".meta", ".data-*-of-*", "-*-of-*")
    return [parse_address(url) for end in ends for url in matching(prefix, end)]


def _if_there(address: Address) -> str:
    """The path of a remote file in the cache; empty where there is no such file."""
    try:
        return fetch(address)
    except Missing:
        return ""
