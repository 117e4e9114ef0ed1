"""Open a checkpoint that is at an address."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from converters.errors import BadInput, ConverterError, Told, UsageError
from converters.files import NeedsWhole, SourceFile
from converters.remote.address import is_loopback, parse_address
from converters.remote.cache import user_cache
from converters.remote.download import fetch_source, source_of
from converters.remote.ranged import BUDGET, RangedFile
from converters.remote.sets import (
    FetchedFiles,
    Neighbours,
    beside,
    fetch_checkpoint,
    is_part_of_set,
    weights_in,
)
from converters.remote.source import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.remote.address import Address
    from converters.remote.source import Source

    from .checkpoint import Checkpoint
    from .format import ReadOptions

    ByPath = Callable[[str, ReadOptions], Checkpoint]
    ByFile = Callable[[SourceFile, ReadOptions], Checkpoint]

_FOOTER = bytes.fromhex("57fb808b247547db")
"""The last bytes of a table of TensorFlow's first format, which is not known by its first."""


def open_remote(
    location: str, options: ReadOptions, by_path: ByPath, by_file: ByFile, *, distant: bool
) -> Checkpoint:
    """Open what an address names, with a way to open paths and one to open files. Its path, and those of its files and
    its errors, are the addresses as people may see them."""
    address = parse_address(location)
    if address.scheme == "http" and address.digest is None and not is_loopback(address.url):
        raise UsageError(
            "http:// needs a hash, as the transfer is not protected",
            hint="add #sha256= and its digits to the address, or use https://",
        )
    if not address.name:
        if address.scheme != "hf":
            raise BadInput("the address names no file", path=address.shown)
        address = weights_in(address)
    if distant and not is_part_of_set(address):
        return _open_distant(address, options, by_path, by_file)
    return _open_fetched(address, fetch_checkpoint(address), options, by_path)


def _open_distant(address: Address, options: ReadOptions, by_path: ByPath, by_file: ByFile) -> Checkpoint:
    """The same by ranges, unless the file is small or in the cache, or its server has none."""
    try:
        source = source_of(address)
    except Missing:
        return _open_fetched(address, fetch_checkpoint(address), options, by_path)  # by its prefix
    try:
        if (path := _fetched(source, address)) is not None:
            source.close()
            files = FetchedFiles(path, address.shown, {path: address.shown})
            find = partial(_find_distant, address, files)
            return _open_fetched(address, files, options._replace(find=find), by_path)
        file = RangedFile(source, address.shown, partial(_find_distant, address, None))
        try:
            return by_file(file, options)
        except BadInput:
            if file.read_at(file.size - len(_FOOTER), len(_FOOTER)) == _FOOTER:
                raise NeedsWhole from None
            raise
    except BaseException:
        source.close()
        raise


def _fetched(source: Source, address: Address) -> str | None:
    """The path of a file that is not to be read by ranges, fetched; None for any other."""
    cache, size = user_cache(), source.size
    is_here = cache.find(address, source.version, size) != ""
    if is_here or address.digest or not source.ranges or size is None or size <= BUDGET:
        return fetch_source(source, address, cache)
    return None


def _find_distant(address: Address, files: FetchedFiles | None, name: str) -> SourceFile | None:
    """A file beside one at an address, opened by ranges too where it is large; None where there is none."""
    neighbour = beside(address, name)
    if neighbour is None:
        return None
    try:
        source = source_of(neighbour)
    except Missing:
        return None
    if source.size is not None and source.size > BUDGET and not source.ranges:
        source.close()
        raise NeedsWhole
    if (path := _fetched(source, neighbour)) is None:
        return RangedFile(source, neighbour.shown)
    source.close()
    if files is not None:
        files.shown[path] = neighbour.shown
    return SourceFile(path)


def _open_fetched(address: Address, files: FetchedFiles, options: ReadOptions, by_path: ByPath) -> Checkpoint:
    neighbours = Neighbours(address, files)
    with _named(files):
        checkpoint = by_path(files.path, options if options.find else options._replace(find=neighbours.find))
    checkpoint.files[0].local = neighbours.local(checkpoint.files[0].local)
    for file in checkpoint.files:
        file.path = files.shown.get(file.path, file.path)
    rest = files.path.removeprefix(checkpoint.path)  # of a set that is named by its prefix
    return checkpoint.replace(path=files.address.removesuffix(rest))


@contextmanager
def _named(files: FetchedFiles) -> Iterator[None]:
    """Errors about files in the cache name their addresses."""
    try:
        yield
    except ConverterError as error:
        if error.path in files.shown:
            error.path = files.shown[error.path]
        elif os.path.dirname(error.path) == os.path.dirname(files.path):
            folder = files.address.partition("?")[0].rpartition("/")[0]
            error.path = f"{folder}/{os.path.basename(error.path)}"
        error.told = Told(*(text.replace(files.path, files.address) for text in error.told))
        raise
