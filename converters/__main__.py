"""``python -m converters``, and the installed commands."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line and return its exit code. An interruption is not a traceback, even while modules load."""
    try:
        from converters.cli.main import main

        return main()
    except KeyboardInterrupt:  # the command itself reports one that it is told of
        _ignore_interruptions()
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        _ignore_interruptions()


def _ignore_interruptions() -> None:
    """What is done is done: another interruption must not become a traceback while the process ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
