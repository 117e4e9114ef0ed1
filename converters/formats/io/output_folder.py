"""The folder of an output, held open: what happens to its name meanwhile does not matter."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing import Self

ASIDE = "~"
"""What the names of replaced files begin with, as long as those that replace them do not all have theirs."""

_FILE = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_DIRECTORY", 0)


class OutputFolder:
    """A folder in which files are made, renamed and removed by their names in it.

    On Windows, and where the folder may not be listed, its path is used instead of a descriptor. All methods raise
    `OSError` as the calls of `os` do.
    """

    def __init__(self, path: str) -> None:
        self.path = path or os.curdir
        self._fd = None if sys.platform == "win32" else _open_folder(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor, and with it give up a lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def create(self, name: str) -> int:
        """A new file, locked; returns its descriptor.

        Between its creation and its lock another run may take it for dead and remove it: then there is a second try.
        """
        while True:
            fd = os.open(self._at(name), _FILE | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self._fd)
            if _lock(fd) and not self._is(name, fd):
                os.close(fd)
                continue
            return fd

    def create_folder(self, name: str) -> OutputFolder:
        """A new folder in this one, locked like a file."""
        while True:
            os.mkdir(self._at(name), 0o700, dir_fd=self._fd)
            try:
                folder = self._inner(name)
            except FileNotFoundError:
                continue
            if folder._fd is None or not _lock(folder._fd) or self._is(name, folder._fd):
                return folder
            folder.close()

    def exists(self, name: str) -> bool:
        """Whether there is a file, a folder or a link of this name."""
        try:
            os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def mode(self, name: str) -> int | None:
        """The permissions of a file; None if there is none."""
        try:
            return stat.S_IMODE(os.stat(self._at(name), dir_fd=self._fd).st_mode) & 0o777
        except FileNotFoundError:
            return None

    def unlink(self, name: str) -> None:
        """Remove a file."""
        os.unlink(self._at(name), dir_fd=self._fd)

    def replace(self, name: str, to: OutputFolder, new_name: str) -> None:
        """Move a file, over one that has the new name."""
        os.replace(self._at(name), to._at(new_name), src_dir_fd=self._fd, dst_dir_fd=to._fd)

    def move(self, name: str, to: OutputFolder, new_name: str) -> None:
        """Move a file, unless there is one of the new name: then raise `FileExistsError`."""
        try:
            # Unlike a rename, this never replaces what another run has put there meanwhile.
            os.link(self._at(name), to._at(new_name), src_dir_fd=self._fd, dst_dir_fd=to._fd)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOENT):
                raise
            # No links here (FAT, some network and container file systems).
            if to.exists(new_name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
            os.rename(self._at(name), to._at(new_name), src_dir_fd=self._fd, dst_dir_fd=to._fd)
        else:
            self.unlink(name)

    def sync(self) -> None:
        """Wait until the names are on the disk, where the file system can."""
        if self._fd is not None:
            with suppress(OSError):  # what had to be done has been done already: nothing to report
                os.fsync(self._fd)

    def remove_folder(self, name: str, last: str = "") -> bool:
        """Remove a folder in this one with the files in it. Folders in it are left, and it with them.

        If the new file ``last`` is in it still and has not got its name, the files that were put aside for the new ones
        get theirs back first. Returns whether there were any.
        """
        with self._inner(name) as inner:
            restored = not self.exists(last) and inner.exists(last) and inner._restore(self)
            inner._empty()
        os.rmdir(self._at(name), dir_fd=self._fd)
        return restored

    def remove_dead(self, name: str, last: str = "") -> bool:
        """Remove a file or a folder of files whose lock is free: its process has ended. ``last`` and what is returned
        are those of `remove_folder`."""
        if sys.platform == "win32":
            self.unlink(name)  # denied while any process has the file open
            return False
        status = os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            return False
        flags = _FOLDER | os.O_NOFOLLOW if stat.S_ISDIR(status.st_mode) else _FILE | os.O_NONBLOCK
        fd = os.open(self._at(name), flags, dir_fd=self._fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A third run may have removed it, and its owner made it anew, before the lock was had.
            if not self._is(name, fd):
                return False
            if stat.S_ISDIR(status.st_mode):
                return self.remove_folder(name, last)
            self.unlink(name)
            return False
        finally:
            os.close(fd)

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name) if self._fd is None else name

    def _is(self, name: str, fd: int) -> bool:
        """Whether a name is still that of an open file."""
        try:
            status = os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(fd), status)

    def _inner(self, name: str) -> OutputFolder:
        inner = OutputFolder.__new__(OutputFolder)
        inner.path = os.path.join(self.path, name)
        inner._fd = None
        if self._fd is not None:
            inner._fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._fd)
        return inner

    def _names(self) -> list[str]:
        return os.listdir(self.path if self._fd is None else self._fd)

    def _restore(self, folder: OutputFolder) -> bool:
        """Give the files that were put aside their names in ``folder``; whether there were any."""
        aside = sorted(name for name in self._names() if name.startswith(ASIDE))
        for name in aside:
            self.replace(name, folder, name.removeprefix(ASIDE))
        return bool(aside)

    def _empty(self) -> None:
        for name in self._names():
            with suppress(IsADirectoryError, PermissionError):
                self.unlink(name)


def _open_folder(path: str) -> int | None:
    try:
        return os.open(path, _FOLDER)
    except PermissionError:  # a folder that may be written to and not listed
        return None


def _lock(fd: int) -> bool:
    """Lock a file; False where there are no locks: nothing is ever taken for dead there."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
