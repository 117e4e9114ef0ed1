"""``python -m converters``."""

from __future__ import annotations

import sys

from converters.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
