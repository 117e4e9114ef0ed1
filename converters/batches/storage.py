"""Where files are: paths, or addresses that fsspec reaches. A remote file is brought here, or taken there, whole."""

from __future__ import annotations

import glob
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, ConverterError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOCOLS = ("file", "s3", "https", "http")
"""The addresses that inputs may have."""

BLOCK = 1 << 20
"""Bytes that are moved over the network at a time."""

SILENCE = 60.0
"""Seconds that a web server may say nothing. However long a download takes, as long as it goes on, it may."""

_MAGIC = frozenset("*?[")


def protocol(place: str) -> str:
    """What is before ``://``; empty for a path."""
    head, found, _ = place.partition("://")
    return head if found else ""


def is_remote(place: str) -> bool:
    """Whether a place is not on this machine's file systems."""
    return protocol(place) not in ("", "file")


def local_path(place: str, folder: str) -> str:
    """The absolute path of a place that is not remote; a relative one is in ``folder``."""
    path = place[len("file://") :] if protocol(place) == "file" else place
    return os.path.normpath(os.path.join(folder, path))


def is_pattern(place: str, folder: str) -> bool:
    """Whether a place is a pattern of names; a path that exists as it is written is none."""
    if not _MAGIC & set(place):
        return False
    return protocol(place) == "s3" if is_remote(place) else not os.path.lexists(local_path(place, folder))


def matches(place: str, folder: str) -> list[str]:
    """The files that a place stands for, sorted: itself, unless it is a pattern. Raises `ConverterError` where a store
    does not answer."""
    if not is_pattern(place, folder):
        return [place if is_remote(place) else local_path(place, folder)]
    if is_remote(place):
        with reaching(place) as files:
            return sorted(f"s3://{name}" for name in files.glob(place))
    return sorted(glob.glob(local_path(place, glob.escape(folder)), recursive=True))


def exists(place: str) -> bool:
    """Whether there is something already: a file, or what a TensorFlow checkpoint's prefix names."""
    if not is_remote(place):
        return os.path.lexists(place) or os.path.lexists(place.removesuffix(".index") + ".index")
    with reaching(place) as files:
        return bool(files.exists(place))


def is_input(place: str) -> bool:
    """Whether a remote input is there: a file, or a TensorFlow checkpoint by its prefix. Raises `BadInput` where a
    store says something else than yes or no."""
    with reaching(place) as files:
        if protocol(place) != "s3":
            files.info(place)  # fsspec takes any failure for no in ``exists``
            return True
        return bool(files.exists(place) or files.glob(f"{place}.*"))


def size_of(place: str) -> int:
    """Bytes of a local input, all files of a TensorFlow checkpoint; 0 where that is not known."""
    if is_remote(place):
        return 0
    try:
        if os.path.isfile(place) and not place.endswith(".index"):
            return os.path.getsize(place)
        return sum(map(os.path.getsize, glob.glob(glob.escape(place.removesuffix(".index")) + ".*")))
    except OSError:
        return 0


def mark_of(place: str) -> str:
    """What a store says of a remote file that changes when the file does; empty where it says nothing."""
    with reaching(place) as files:
        told = files.info(place)
        etag = told.get("ETag") or told.get("etag")
        return f"{told.get('size')} {etag}" if etag else ""


def fetch(place: str, folder: str, moved: Callable[[int, int], None] | None = None) -> str:
    """Bring a remote file, or those of a TensorFlow checkpoint's prefix, into a folder; returns the path there.

    Raises `BadInput` where there is none, or less arrives than the store said.
    """
    with reaching(place) as files:
        name = place.rstrip("/").rpartition("/")[2].partition("?")[0]
        if name in ("", os.curdir, os.pardir):
            raise BadInput("names no file", path=place)
        found = [place]
        if protocol(place) == "s3" and not files.exists(place):
            found = [f"s3://{one}" for one in files.glob(f"{place}.*")]
        if not found:
            raise BadInput("is not there", path=place, hint="check the address")
        for one in found:
            ending = one.removeprefix(place)
            _fetch(files, one, os.path.join(folder, os.path.basename(name + ending)), moved)
    return os.path.join(folder, name)


def _fetch(files: Any, place: str, path: str, moved: Callable[[int, int], None] | None) -> None:
    size = files.info(place).get("size")
    hooks = {"moved": lambda size, value, **_: moved(value, size or value)} if moved else {}
    callback = import_module("fsspec.callbacks").Callback(hooks=hooks)
    files.get_file(place, path, callback=callback)
    done = os.path.getsize(path)
    if size is not None and done != size:
        raise BadInput(f"ends early: {done:,} of {size:,} bytes", path=place, hint="try again")


def remote_chunks(place: str) -> Iterator[bytes]:
    """The bytes of a remote file, block by block."""
    with reaching(place) as files, files.open(place, "rb", block_size=BLOCK) as source:
        while block := source.read(BLOCK):
            yield block


def store(path: str, place: str) -> None:
    """Take a local file to a remote place, which has it whole or not at all. Raises `Refused` where it does not."""
    with reaching(place) as files:
        files.put_file(path, place)
        files.invalidate_cache()
        if files.info(place)["size"] != os.path.getsize(path):
            raise Refused("was not stored whole", path=place, hint="try again")


class reaching:  # noqa: N801 - used like a function
    """The file system of a remote place; its errors become ours.

    Raises `ConverterError`, naming the extra, where what reaches it is not installed.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> Any:
        try:
            fsspec: Any = import_module("fsspec")
            return fsspec.filesystem(protocol(self._place), use_listings_cache=False, **self._options())
        except ImportError:
            raise ConverterError(
                f"reaching {protocol(self._place)}:// needs more packages",
                hint="install them: pip install 'video-checkpoint-converters[remote]'",
            ) from None

    def _options(self) -> dict[str, Any]:
        if protocol(self._place) not in ("http", "https"):
            return {}
        # aiohttp's own limit is five minutes for a whole file; proxies are the environment's, as everywhere.
        limit = import_module("aiohttp").ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        return {"client_kwargs": {"timeout": limit, "trust_env": True}}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
            # What fsspec says of whatever a web server answers, and where there is none.
            error = _meant(error, error.__cause__)
        if isinstance(error, FileNotFoundError):
            raise BadInput("is not there", path=self._place, hint="check the address") from None
        if isinstance(error, PermissionError):
            raise BadInput(
                "may not be reached", path=self._place, hint="check the credentials and what they allow"
            ) from None
        if error is not None and not isinstance(error, ConverterError) and isinstance(error, Exception):
            what = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            raise BadInput(f"cannot be reached: {what}", path=self._place, hint="try again") from None


def _meant(error: FileNotFoundError, cause: Exception) -> Exception:
    """What a web server's failure is, by its status where it has one."""
    status = getattr(cause, "status", None)
    if status in (404, 410) or isinstance(cause, FileNotFoundError):
        return error
    return PermissionError() if status in (401, 403) else cause
