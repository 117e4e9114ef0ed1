"""Where files are: local paths, or URLs that fsspec reaches. Remote files are transferred whole."""

from __future__ import annotations

import glob
import os
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, ConverterError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOCOLS = ("file", "s3", "https", "http")
"""Protocols of input URLs."""

BLOCK = 1 << 20
"""Bytes per transfer."""

SILENCE = 60.0
"""Seconds without data after which a web server counts as dead. A download that goes on has no time limit."""

_WILDCARDS = frozenset("*?[")


def protocol(location: str) -> str:
    """What stands before ``://``; empty for a path."""
    head, separator, _ = location.partition("://")
    return head if separator else ""


def is_remote(location: str) -> bool:
    """Whether a location is outside this machine's file systems."""
    return protocol(location) not in ("", "file")


def local_path(location: str, folder: str) -> str:
    """The absolute path of a local location; relative ones are in ``folder``."""
    path = location[len("file://") :] if protocol(location) == "file" else location
    return os.path.normpath(os.path.join(folder, path))


def is_pattern(location: str, folder: str) -> bool:
    """Whether a location is a pattern; an existing path with ``*`` or ``[`` in its name is not."""
    if not _WILDCARDS & set(location):
        return False
    if is_remote(location):
        return protocol(location) == "s3"
    return not os.path.lexists(local_path(location, folder))


def matches(location: str, folder: str) -> list[str]:
    """The files that a pattern matches, sorted, or the location itself if it is not a pattern.

    Raises `ConverterError` if a store cannot be reached.
    """
    if not is_pattern(location, folder):
        return [location if is_remote(location) else local_path(location, folder)]
    if is_remote(location):
        with file_system(location) as files:
            return sorted(f"s3://{name}" for name in files.glob(location))
    return sorted(glob.glob(local_path(location, glob.escape(folder)), recursive=True))


def exists(location: str) -> bool:
    """Whether there is a file, or a TensorFlow checkpoint with this prefix."""
    if not is_remote(location):
        return os.path.lexists(location) or os.path.lexists(location.removesuffix(".index") + ".index")
    with file_system(location) as files:
        return bool(files.exists(location))


def input_exists(location: str) -> bool:
    """Whether a remote input exists, as a file or by its prefix. Raises `BadInput` if the store gives no answer."""
    with file_system(location) as files:
        if protocol(location) != "s3":
            files.info(location)  # unlike ``exists``, which returns False for any failure
            return True
        return bool(files.exists(location) or files.glob(f"{location}.*"))


def size_of(location: str) -> int:
    """Bytes of a local input, all files of a TensorFlow checkpoint; 0 if unknown."""
    if is_remote(location):
        return 0
    try:
        if os.path.isfile(location) and not location.endswith(".index"):
            return os.path.getsize(location)
        return sum(map(os.path.getsize, glob.glob(glob.escape(location.removesuffix(".index")) + ".*")))
    except OSError:
        return 0


def version_of(location: str) -> str:
    """The size and ETag of a remote file, which change with its content; empty if the store has no ETag."""
    with file_system(location) as files:
        info = files.info(location)
        etag = info.get("ETag") or info.get("etag")
        return f"{info.get('size')} {etag}" if etag else ""


def fetch(location: str, folder: str, progress: Callable[[int, int], None] | None = None) -> str:
    """Download a file, or the files of a TensorFlow checkpoint's prefix, into a folder; returns the local path.

    Raises `BadInput` if there is none or it arrives incomplete.
    """
    with file_system(location) as files:
        name = location.rstrip("/").rpartition("/")[2].partition("?")[0]
        if name in ("", os.curdir, os.pardir):
            raise BadInput("the URL names no file", path=location)
        sources = [location]
        if protocol(location) == "s3" and not files.exists(location):
            sources = [f"s3://{source}" for source in files.glob(f"{location}.*")]
        if not sources:
            raise _missing(location)
        for source in sources:
            target = os.path.join(folder, os.path.basename(name + source.removeprefix(location)))
            _fetch_file(files, source, target, progress)
    return os.path.join(folder, name)


def _fetch_file(files: Any, location: str, path: str, progress: Callable[[int, int], None] | None) -> None:
    size = files.info(location).get("size")
    hooks = {"progress": lambda size, value, **_: progress(value, size or value)} if progress else {}
    callback = import_module("fsspec.callbacks").Callback(hooks=hooks)
    files.get_file(location, path, callback=callback)
    arrived = os.path.getsize(path)
    if size is not None and arrived != size:
        raise BadInput(
            f"is incomplete: {arrived:,} of {size:,} bytes arrived", path=location, hint="try again"
        )


def remote_chunks(location: str) -> Iterator[bytes]:
    """The bytes of a remote file, block by block."""
    with file_system(location) as files, files.open(location, "rb", block_size=BLOCK) as source:
        while block := source.read(BLOCK):
            yield block


def store(path: str, location: str) -> None:
    """Upload a local file. Raises `Refused` if it does not arrive whole."""
    with file_system(location) as files:
        files.put_file(path, location)
        files.invalidate_cache()
        if files.info(location)["size"] != os.path.getsize(path):
            raise Refused("was not stored whole", path=location, hint="try again")


@contextmanager
def file_system(location: str) -> Iterator[Any]:
    """The fsspec file system of a remote location; errors inside become `BadInput`.

    Raises `ConverterError`, naming the extra, if a package is not installed.
    """
    try:
        fsspec: Any = import_module("fsspec")
        files = fsspec.filesystem(protocol(location), use_listings_cache=False, **_options(location))
    except ImportError:
        raise ConverterError(
            f"{protocol(location)}:// needs more packages",
            hint="install them: pip install 'video-checkpoint-converters[remote]'",
        ) from None
    try:
        yield files
    except ConverterError:
        raise
    except Exception as error:
        raise _storage_error(error, location) from None


def _options(location: str) -> dict[str, Any]:
    if protocol(location) not in ("http", "https"):
        return {}
    # aiohttp by itself allows five minutes for a whole file. Proxies come from the environment.
    limit = import_module("aiohttp").ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    return {"client_kwargs": {"timeout": limit, "trust_env": True}}


def _storage_error(error: Exception, location: str) -> BadInput:
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = _http_error(error, error.__cause__)
    if isinstance(error, FileNotFoundError):
        return _missing(location)
    if isinstance(error, PermissionError):
        return BadInput("access is denied", path=location, hint="check the credentials and permissions")
    lines = str(error).strip().splitlines()
    reason = lines[0][:300] if lines else type(error).__name__
    return BadInput(f"cannot be reached: {reason}", path=location, hint="try again")


def _http_error(error: FileNotFoundError, cause: Exception) -> Exception:
    """What fsspec meant by a FileNotFoundError, which it raises for every answer of a web server, or none."""
    status = getattr(cause, "status", None)
    if status in (404, 410) or isinstance(cause, FileNotFoundError):
        return error
    return PermissionError() if status in (401, 403) else cause


def _missing(location: str) -> BadInput:
    return BadInput("does not exist", path=location, hint="check the URL")
