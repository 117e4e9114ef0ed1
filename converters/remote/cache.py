"""The cache of remote files: by their contents, with a note for each address of what was last found there."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

FOLDER = "VIDEO_CHECKPOINT_CACHE"
"""The environment variable that names the folder."""

LIMIT = 50_000_000_000
"""Bytes of files that are kept; those that were not used for longest are removed first."""

_ABANDONED = 7 * 24 * 3600.0
"""Seconds after which the part of a download is removed."""

_IN_USE = 24 * 3600.0
"""Seconds in which a file that was used is not removed."""


class Cache(NamedTuple):
    """A folder with ``files/SHA256/NAME``, ``addresses/KEY.json`` and ``parts/``, all of them the user's alone."""

    folder: str

    def find(self, address: Address, version: str, size: int | None) -> str:
        """The path of the file that an address had at a version; empty where it is not here."""
        note = self._note(address)
        if not version or note.get("version") != version or note.get("size") != size:
            return ""
        return self.file(str(note.get("sha256", "")), address.name, size)

    def file(self, digest: str, name: str, size: int | None = None) -> str:
        """The path of a content under a name; empty where it is not here, or not whole."""
        folder = self._content(digest)
        if not folder or not os.path.isdir(folder):
            return ""
        names = sorted(os.listdir(folder), key=lambda each: (each != name, each))
        for found in names:
            path = os.path.join(folder, found)
            if size is None or os.path.getsize(path) == size:
                # Not the file's own time: whoever reads it would think that it has changed.
                with suppress(OSError):
                    os.utime(folder)
                return path if found == name else _linked(path, os.path.join(folder, name))
        return ""

    def part(self, address: Address, version: str) -> str:
        """The path of what has arrived of a download."""
        key = sha256(f"{_key(address)} {version}".encode()).hexdigest()[:32]
        return os.path.join(self.parts(), f"{key}.part")

    def parts(self) -> str:
        """The folder of what has not arrived whole."""
        return self._made("parts")

    def keep(self, part: str, address: Address, version: str, digest: str) -> str:
        """Give a complete download its place, and note what the address had; returns its path."""
        size = os.path.getsize(part)
        path = os.path.join(self._made(os.path.join("files", digest)), address.name)
        os.replace(part, path)
        if version:
            note = {"address": address.shown, "version": version, "size": size, "sha256": digest}
            target = self._note_path(address)
            self._made("addresses")
            with open(f"{target}.{os.getpid()}", "w", encoding="utf-8") as file:
                json.dump(note, file)
            os.replace(file.name, target)
        self.trim()
        return path

    def folder_of_set(self, address: Address) -> str:
        """A folder for the files of a checkpoint that has several, under their own names."""
        return self._made(os.path.join("sets", _key(address)))

    def trim(self) -> None:
        """Remove abandoned parts, and of the files those that were not used for longest, down to `LIMIT`."""
        now = time.time()
        for path, status in _files(os.path.join(self.folder, "parts")):
            if now - status.st_mtime > _ABANDONED:
                _remove(path)
        sets = os.path.join(self.folder, "sets")  # made again from the files in a moment
        for name in os.listdir(sets) if os.path.isdir(sets) else ():
            if now - _used(os.path.join(sets, name, "")) > _IN_USE:
                shutil.rmtree(os.path.join(sets, name), ignore_errors=True)
        files = [(_used(path), path, status) for path, status in _files(os.path.join(self.folder, "files"))]
        total = sum(status.st_size for _, _, status in files)
        for used, path, status in sorted(files, key=lambda each: each[:2]):
            if total <= LIMIT or now - used < _IN_USE:
                return
            _remove(path)
            total -= status.st_size

    def room(self) -> int:
        """Free bytes of its disk."""
        return shutil.disk_usage(self._made("")).free

    def _note(self, address: Address) -> dict[str, object]:
        with suppress(OSError, ValueError), open(self._note_path(address), encoding="utf-8") as file:
            note = json.load(file)
            return note if isinstance(note, dict) else {}
        return {}

    def _note_path(self, address: Address) -> str:
        return os.path.join(self.folder, "addresses", f"{_key(address)}.json")

    def _content(self, digest: str) -> str:
        hexadecimal = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        return os.path.join(self.folder, "files", digest) if hexadecimal else ""

    def _made(self, name: str) -> str:
        folder = os.path.join(self.folder, name)
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder


def digest_of(path: str) -> str:
    """The SHA-256 of a file in the cache, which is its place."""
    return os.path.basename(os.path.dirname(path))


def user_cache() -> Cache:
    """The cache that the environment names, or the user's own."""
    if named := os.environ.get(FOLDER):
        return Cache(os.path.abspath(named))
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        above = os.path.join(home, "Library", "Caches")
    elif sys.platform == "win32":
        above = os.environ.get("LOCALAPPDATA") or home
    else:
        above = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return Cache(os.path.join(above, "video-checkpoint-converters"))


def _key(address: Address) -> str:
    """A name for an address: its hash, without the user and the password in it."""
    scheme, _, rest = address.url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme != "hf":
        host = host.rpartition("@")[2]
    return sha256(f"{scheme}://{host}{slash}{path}".encode()).hexdigest()[:32]


def _linked(path: str, wanted: str) -> str:
    """The same file under another name, where the file system has links."""
    with suppress(OSError):
        os.link(path, wanted)
    return wanted if os.path.exists(wanted) else path


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for above, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(above, name)
            with suppress(OSError):
                yield path, os.stat(path)


def _used(path: str) -> float:
    """When a content was last asked for."""
    with suppress(OSError):
        return os.stat(os.path.dirname(path)).st_mtime
    return 0.0


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
