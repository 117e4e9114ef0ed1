"""An interruption ends a command with 130 and one line, at any moment at which our code runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY

COMMAND = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
moment, sys.argv[1:] = sys.argv[1], ["models"]

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from converters.__main__ import main
if moment == "the end":
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize(
    ("moment", "code"),
    [("converters.cli", 130), ("converters.cli.main", 130), ("converters.errors", 130), ("the end", 0)],
)
def test_it_is_never_a_traceback(moment: str, code: int) -> None:
    command = [sys.executable, "-c", COMMAND, moment]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.strip() == ("error: interrupted" if code else "")
