"""Atomic outputs: a file appears whole or not at all, and so does a set of files.

The bytes go to a temporary file in the output's folder, named ``.NAME.PID-RANDOM.partial`` and locked while its
process is alive; those of a set to files in a temporary folder of such a name. Only finished, synced files get their
final names. What has such a name and a lock that is free belongs to a dead process; the next run with the same output
removes it, and puts back what was replaced by half of a set.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from zlib import crc32

from converters.errors import Refused

from .output_folder import ASIDE, OutputFolder
from .output_stream import Output, write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SUFFIX = ".partial"


@contextmanager
def replacing(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    check: Callable[[str], None] | None = None,
) -> Iterator[Output]:
    """Write a file that gets the name ``path`` only when the block has ended without an exception.

    The order is: flush, fsync, ``check(name of the temporary file)``, rename, fsync of the folder.
    Whatever is raised in the block or by ``check``, `KeyboardInterrupt` included, removes the temporary
    file and leaves ``path`` as it was; so does a killed process, whose temporary file the next run
    removes. A folder that is renamed meanwhile keeps nothing of it either.

    Without ``force`` an existing ``path`` is `Refused`, before the block and again at the rename. With it
    the file is replaced and keeps its permissions; a link is replaced itself, not what it points to. New
    files get the permissions that the umask leaves. A missing or read-only folder and a full disk are
    `Refused` too.
    """
    target = os.fspath(path)
    base = os.path.basename(target)
    with _ready_folder(target, force=force) as folder:
        temporary = _temporary_name(base)
        fd = -1
        try:
            with _errors_of(target):
                fd = folder.create(temporary)
            out = Output(fd, target)
            yield out
            out.flush()
            with _errors_of(target):
                _keep_mode(fd, folder, base)
                os.fsync(fd)
            if check is not None:
                check(os.path.join(os.path.dirname(target), temporary))
            if sys.platform == "win32":  # an open file cannot be renamed there
                os.close(fd)
                fd = -1
            with _errors_of(target):
                _put(folder, temporary, folder, base, force=force)
            folder.sync()
        finally:
            # Elsewhere than on Windows the name goes while the lock is still held.
            if fd >= 0 and sys.platform == "win32":
                os.close(fd)
            with suppress(OSError):
                folder.unlink(temporary)
            if fd >= 0 and sys.platform != "win32":
                os.close(fd)


@contextmanager
def replacing_all(
    paths: Sequence[str], *, force: bool = False, check: Callable[[str], None] | None = None
) -> Iterator[list[Output]]:
    """Write several files of one folder that make up one output, as `replacing` writes one.

    ``check`` is given the name of the last file, which completes the output; the others are beside it under their
    names. At the end the files get their names in order. If that fails half-way, those that have them lose them again
    and replaced ones come back. A process that is killed in that moment leaves no last file, never one beside files of
    another run.
    """
    if len(paths) == 1:
        with replacing(paths[0], force=force, check=check) as out:
            yield [out]
        return
    last = paths[-1]
    names = [os.path.basename(path) for path in paths]
    with _ready_folder(*reversed(paths), force=force) as folder:
        temporary = _temporary_name(names[-1])
        with _errors_of(last):
            staging = folder.create_folder(temporary)
        fds: list[int] = []
        try:
            with _errors_of(last):
                fds += [staging.create(name) for name in names]
            outputs = [Output(fd, path) for fd, path in zip(fds, paths, strict=True)]
            yield outputs
            for out, fd, name in zip(outputs, fds, names, strict=True):
                out.flush()
                with _errors_of(out.path):
                    _keep_mode(fd, folder, name)
                    os.fsync(fd)
            while fds:
                os.close(fds.pop())
            if check is not None:
                check(os.path.join(os.path.dirname(last), temporary, names[-1]))
            with _errors_of(last):
                _put_all(staging, folder, names, force=force)
            folder.sync()
        finally:
            while fds:
                os.close(fds.pop())
            with suppress(OSError):
                folder.remove_folder(temporary, names[-1])
            staging.close()


class Staging:
    """A temporary folder in the folder of outputs whose names are not known yet; see `staging`."""

    def __init__(self, inner: OutputFolder, folder: OutputFolder, path: str) -> None:
        self._inner = inner
        self._folder = folder
        self._path = path

    def path(self, name: str) -> str:
        """Where a file of this name is written."""
        return os.path.join(self._path, name)

    def put(self, name: str, new_name: str, *, force: bool = False) -> None:
        """Move a finished file out, to its name. Without ``force`` an existing one is `Refused`."""
        target = os.path.join(self._folder.path, new_name)
        with _errors_of(target):
            _put(self._inner, name, self._folder, new_name, force=force)
        self._folder.sync()


@contextmanager
def staging(path: str) -> Iterator[Staging]:
    """A temporary folder beside ``path``, the beginning of whose outputs' names it is, with nothing else in it.

    It has a name of its own in every run, so several runs with one ``path`` do not meet. It goes at the end with the
    files that are still in it, and the next run removes one that a killed process left. A missing or read-only
    folder is `Refused`.
    """
    with _ready_folder(path, force=True) as folder:
        temporary = _temporary_name(os.path.basename(path))
        with _errors_of(path):
            inner = folder.create_folder(temporary)
        try:
            yield Staging(inner, folder, os.path.join(os.path.dirname(path), temporary))
        finally:
            with suppress(OSError):
                folder.remove_folder(temporary)
            inner.close()


def _put_all(staging: OutputFolder, folder: OutputFolder, names: Sequence[str], *, force: bool) -> None:
    """Move the files to their names, the last one last. What they replace goes first; if one fails, it comes back when
    the temporary folder is removed."""
    placed: list[str] = []
    try:
        for name in reversed(names):
            if force and folder.exists(name):
                folder.replace(name, staging, ASIDE + name)
        for name in names:
            _put(staging, name, folder, name, force=force)
            placed.append(name)
    except BaseException:
        for name in reversed(placed):
            folder.unlink(name)
        raise


def _put(source: OutputFolder, name: str, folder: OutputFolder, new_name: str, *, force: bool) -> None:
    if force:
        source.replace(name, folder, new_name)
        return
    try:
        source.move(name, folder, new_name)
    except FileExistsError:
        raise _exists(os.path.join(folder.path, new_name)) from None


def _ready_folder(*targets: str, force: bool) -> OutputFolder:
    """The folder of an output, whose names are free, opened. Raises `Refused`."""
    restored = remove_dead(targets[0])
    for target in targets:
        if restored and not force and os.path.lexists(target):
            raise _exists(target, "exists already, restored after a run that was killed while replacing it")
        refuse_output(target, force=force)
    with _errors_of(targets[0]):
        return OutputFolder(os.path.dirname(targets[0]))


@contextmanager
def _errors_of(target: str) -> Iterator[None]:
    """Errors of the operating system as `Refused`."""
    try:
        yield
    except OSError as error:
        raise write_error(error, target) from None


def _keep_mode(fd: int, folder: OutputFolder, name: str) -> None:
    """Give a file the permissions of the one that it replaces. On Windows they come from the folder."""
    if sys.platform != "win32" and (mode := folder.mode(name)) is not None:
        os.fchmod(fd, mode)


def refuse_output(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Raise `Refused` if ``path`` cannot become an output; call it before any work.

    That is so if it is a folder or a device, if its folder is missing or read-only, or if it exists and ``force`` is
    not given.
    """
    target = os.fspath(path)
    folder, base = os.path.split(target)
    folder = folder or os.curdir
    if not base or base in (os.curdir, os.pardir) or os.path.isdir(target):
        raise Refused("is a folder", path=target, hint="name a file in it")
    if not os.path.isdir(folder):
        raise Refused(f"there is no folder {folder}", path=target, hint="make it first")
    if os.path.lexists(target):
        if os.path.exists(target) and not os.path.isfile(target):
            raise Refused("is not a regular file", path=target, hint="name a file")
        if not force:
            raise _exists(target)
    if not os.access(folder, os.W_OK):
        raise write_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), target)


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, through hard or symbolic links. False if either does not exist."""
    try:
        return os.path.samefile(a, b)
    except OSError:
        return False


def remove_dead(path: str | os.PathLike[str]) -> bool:
    """Remove temporary files that killed runs with the output ``path`` left, but not those of live processes. Returns
    whether files came back that such a run had begun to replace.

    Files that cannot be removed are ignored silently: leftovers are harmless.
    """
    path, base = os.path.split(os.fspath(path))
    prefix = _prefix(base)
    try:
        names = os.listdir(path or os.curdir)
    except OSError:
        return False
    restored = False
    for name in names:
        if name.startswith(prefix) and name.endswith(_SUFFIX):
            pid, _, mark = name[len(prefix) : -len(_SUFFIX)].partition("-")
            if pid.isdecimal() and len(mark) == 16 and not mark.strip("0123456789abcdef"):
                with suppress(OSError), OutputFolder(path) as folder:
                    restored |= folder.remove_dead(name, base)
    return restored


def _temporary_name(base: str) -> str:
    return f"{_prefix(base)}{os.getpid()}-{os.urandom(8).hex()}{_SUFFIX}"


def _prefix(base: str) -> str:
    # A name may have 255 bytes, and the temporary one must fit as well.
    if len(os.fsencode(base)) > 200:
        base = f"{base[:40]}~{crc32(os.fsencode(base)):08x}"
    return f".{base}."


def _exists(target: str, what: str = "exists already") -> Refused:
    return Refused(f"the output {what}", path=target, hint="--force replaces it")
