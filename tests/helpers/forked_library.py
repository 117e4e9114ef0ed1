"""The process that reads HDF5 as a copy of this one, which has h5py already: for tests that open many files.

All else is as it is: the messages, the limits, and that a crash is the copy's own.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress

import h5py  # noqa: F401 - before the copy is made

from converters.formats.hdf5.child.__main__ import Server, limit


class Forked:
    """What `subprocess.Popen` gives, as far as it is used."""

    def __init__(self, size: int) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the copy does without
            self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(ours_out)
                os.close(ours_in)
                limit()
                Server(size, os.fdopen(theirs_in, "rb"), os.fdopen(theirs_out, "wb")).serve()
            finally:
                os._exit(1)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb", 0)
        self.returncode: int | None = None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def fork_libraries(monkeypatch) -> None:
    """From now on, for one test."""
    if sys.platform != "win32":
        monkeypatch.setattr("converters.formats.hdf5.library.start_process", Forked)
