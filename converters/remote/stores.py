"""Files in object stores and on the Hugging Face Hub, through fsspec."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, ConverterError
from converters.extras import install_hint

from .address import Digest
from .source import BLOCK, Source, denied, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

_NEEDS = {
    "s3": ("s3://", "remote"),
    "gs": ("gs://", "gcs"),
    "hf": ("hf://", "hub"),
}
"""What to call a scheme, and the extra that has its packages."""


class StoreFile(Source):
    """A file in a store. Raises `BadInput` where there is none."""

    ranges = True

    def __init__(self, address: Address) -> None:
        self._address = address
        with file_system(address) as files:
            info = files.info(address.url)
            if info.get("type") == "directory":
                raise BadInput("is a folder, not a file", path=address.shown, hint="name a file in it")
            self.size = info.get("size")
            self.digest = _digest(info)
            etag = info.get("ETag") or info.get("etag") or (self.digest.digits if self.digest else "")
            self.version = f"{self.size} {etag}" if etag else ""
            self._file = files.open(address.url, "rb", cache_type="none")

    def read(self, start: int, length: int) -> bytes:
        with calling(self._address):
            self._file.seek(start)
            data: bytes = self._file.read(length)
            if len(data) != length:
                raise ConnectionError(f"{len(data):,} of {length:,} bytes arrived")
            return data

    def pieces(self, start: int) -> Iterator[bytes]:
        size = self.size or 0
        while start < size:
            yield self.read(start, length := min(4 * BLOCK, size - start))
            start += length

    def close(self) -> None:
        with suppress(Exception):
            self._file.close()


def _digest(info: dict[str, Any]) -> Digest | None:
    """The hash by which the Hub knows a file: SHA-256 of a large one, git's blob id of a small one."""
    large = info.get("lfs")
    sha256 = large.get("sha256") if isinstance(large, dict) else getattr(large, "sha256", None)
    if isinstance(sha256, str):
        return Digest("sha256", sha256.lower())
    blob = info.get("blob_id")
    return Digest("git", blob.lower()) if isinstance(blob, str) else None


def listed(address: Address) -> list[str]:
    """The paths of the files in a repository or a folder, without scheme."""
    with file_system(address) as files:
        return sorted(each["name"] for each in files.ls(address.url, detail=True) if each["type"] == "file")


def matching(address: Address, end: str) -> list[str]:
    """The addresses of the files whose names begin with an address's, and end in a pattern."""
    with file_system(address) as files:
        names = files.glob(f"{_escaped(address.url)}{end}")
        return sorted(f"{address.scheme}://{name.partition('://')[2] or name}" for name in names)


def _escaped(url: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in url)


@contextmanager
def file_system(address: Address) -> Iterator[Any]:
    """The fsspec file system of an address; errors inside become `BadInput`.

    Raises `ConverterError`, naming the extra, if a package is not installed.
    """
    try:
        fsspec: Any = import_module("fsspec")
        options: dict[str, Any] = {}
        if address.scheme == "hf":  # repositories change: nothing is remembered of them from call to call
            options = {"skip_instance_cache": True, "endpoint": os.environ.get("HF_ENDPOINT")}
        if address.scheme == "gs":
            _quiet("gcsfs")
        files = fsspec.filesystem(address.scheme, use_listings_cache=False, **options)
    except ImportError:
        title, extra = _NEEDS[address.scheme]
        raise ConverterError(
            f"{title} needs more packages",
            hint=install_hint(extra),
        ) from None
    with calling(address):
        yield files


def _quiet(package: str) -> None:
    """Leave out a package's warnings, unless its user has asked for some: gcsfs warns at every request that it has no
    credentials, which public buckets do not need."""
    import logging

    logger = logging.getLogger(package)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)


@contextmanager
def calling(address: Address) -> Iterator[None]:
    """Errors of a store, inside, become `BadInput`; those that may pass become `OSError`."""
    try:
        yield
    except (ConverterError, ConnectionError, TimeoutError):
        raise
    except FileNotFoundError:
        raise missing(address) from None
    except PermissionError:
        raise denied(address) from None
    except Exception as error:
        raise _unreachable(error, address) from None


def _unreachable(error: Exception, address: Address) -> BadInput:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return denied(address)
    lines = str(error).strip().splitlines()
    reason = lines[0][:300].replace(address.url, address.shown) if lines else type(error).__name__
    return BadInput(f"cannot be reached: {reason}", path=address.shown, hint="try again")
