"""Atomic outputs: a file appears whole or not at all.

The bytes go to a temporary file in the output's folder, named ``.NAME.PID-RANDOM.partial`` and locked while its
process is alive. Only a finished, synced file gets the final name. A temporary file whose lock can be acquired
belongs to a dead process; the next run with the same output removes it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from zlib import crc32

from converters.errors import Refused

from .output_stream import Output, write_error

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SUFFIX = ".partial"
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


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
    removes.

    Without ``force`` an existing ``path`` is `Refused`, before the block and again at the rename. With it
    the file is replaced and keeps its permissions; a link is replaced itself, not what it points to. New
    files get the permissions that the umask leaves. A missing or read-only folder and a full disk are
    `Refused` too.
    """
    target = os.fspath(path)
    folder, base = os.path.split(target)
    remove_dead(target)
    refuse_output(target, force=force)
    temporary = os.path.join(folder, f"{_prefix(base)}{os.getpid()}-{os.urandom(8).hex()}{_SUFFIX}")
    fd = -1
    try:
        try:
            fd = _create(temporary)
        except OSError as error:
            raise write_error(error, target) from None
        out = Output(fd, target)
        yield out
        out.flush()
        try:
            _keep_mode(fd, target)
            os.fsync(fd)
        except OSError as error:
            raise write_error(error, target) from None
        if check is not None:
            check(temporary)
        if sys.platform == "win32":  # an open file cannot be renamed there
            os.close(fd)
            fd = -1
        try:
            _publish(temporary, target, force=force)
        except OSError as error:
            raise write_error(error, target) from None
        _sync_folder(folder)
    finally:
        # Elsewhere than on Windows the name goes while the lock is still held.
        if fd >= 0 and sys.platform == "win32":
            os.close(fd)
        with suppress(OSError):
            os.unlink(temporary)
        if fd >= 0 and sys.platform != "win32":
            os.close(fd)


@contextmanager
def replacing_all(
    paths: Sequence[str], *, force: bool = False, check: Callable[[str], None] | None = None
) -> Iterator[list[Output]]:
    """Write several files that make up one output. They get their names in order; the last one completes the output.

    A single file is checked before it gets its name. Several can only be read under their final names, so ``check``
    is called with the last one's name afterwards; if it raises, all are removed.
    """
    if len(paths) == 1:
        with replacing(paths[0], force=force, check=check) as out:
            yield [out]
        return
    with ExitStack() as stack:
        outputs = [stack.enter_context(replacing(path, force=force)) for path in reversed(paths)]
        yield outputs[::-1]
    try:
        if check is not None:
            check(paths[-1])
    except BaseException:
        for path in reversed(paths):
            os.unlink(path)
        raise


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


def remove_dead(path: str | os.PathLike[str]) -> None:
    """Remove temporary files that killed runs with the output ``path`` left, but not those of live processes.

    Files that cannot be removed are ignored silently: leftovers are harmless.
    """
    folder, base = os.path.split(os.fspath(path))
    prefix = _prefix(base)
    try:
        names = os.listdir(folder or os.curdir)
    except OSError:
        return
    for name in names:
        if name.startswith(prefix) and name.endswith(_SUFFIX):
            pid, _, mark = name[len(prefix) : -len(_SUFFIX)].partition("-")
            if pid.isdecimal() and len(mark) == 16 and not mark.strip("0123456789abcdef"):
                with suppress(OSError):
                    _remove_if_dead(os.path.join(folder, name))


def _prefix(base: str) -> str:
    # A name may have 255 bytes, and the temporary one must fit as well.
    if len(os.fsencode(base)) > 200:
        base = f"{base[:40]}~{crc32(os.fsencode(base)):08x}"
    return f".{base}."


def _exists(target: str) -> Refused:
    return Refused("the output exists already", path=target, hint="--force replaces it")


if sys.platform == "win32":

    def _create(name: str) -> int:
        return os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)

    def _remove_if_dead(name: str) -> None:
        os.unlink(name)  # denied while any process has the file open

    def _keep_mode(fd: int, target: str) -> None:
        pass  # what a file may be used for is inherited from its folder

    def _sync_folder(folder: str) -> None:
        pass  # a folder cannot be opened

else:

    def _create(name: str) -> int:
        """A new file, locked. Between its creation and its lock another run may take it for dead and remove
        it: then there is a second try."""
        while True:
            fd = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
            # A file system without locks cannot tell dead from live: nothing is ever removed there.
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(fd), os.lstat(name)):
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)

    def _remove_if_dead(name: str) -> None:
        fd = os.open(name, _FLAGS | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A third run may have removed this file, and its owner made it anew, before the lock was had.
            if os.path.samestat(status, os.lstat(name)):
                os.unlink(name)
        finally:
            os.close(fd)

    def _keep_mode(fd: int, target: str) -> None:
        with suppress(FileNotFoundError):
            os.fchmod(fd, stat.S_IMODE(os.stat(target).st_mode) & 0o777)

    def _sync_folder(folder: str) -> None:
        # Some file systems refuse this, and the rename has happened already: nothing to report.
        with suppress(OSError):
            fd = os.open(folder or os.curdir, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _publish(temporary: str, target: str, *, force: bool) -> None:
    if force:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike a rename, never replaces what another run has put there meanwhile
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOENT):
            raise
        # No links here (FAT, some network and container file systems).
        if os.path.lexists(target):
            raise _exists(target) from None
        os.rename(temporary, target)
    else:
        os.unlink(temporary)
