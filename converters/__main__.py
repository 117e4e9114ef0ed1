"""``python -m converters``, and the installed commands."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line and return its exit code. An interruption is no traceback, even while modules load."""
    try:
        from converters.cli.main import main

        return main()
    except KeyboardInterrupt:  # the command itself reports one that it is told of
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
