"""What commands have in common: options on a file's state dict, and how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_entry(parser: argparse.ArgumentParser) -> None:
    """Declare what says which of a file's state dicts is meant, and which layer is its last."""
    parser.add_argument(
        "--entry", metavar="PATH", help="the state dict in a PyTorch file, such as ema_state_dict"
    )
    parser.add_argument("--head", metavar="NAME", help="what the file calls the last layer, if not as usual")


def outcome(
    options: argparse.Namespace,
    data: Callable[[], dict[str, Any]],
    text: Callable[[], str] | None,
    *,
    ok: bool = True,
) -> int:
    """Print ``data`` as one JSON object with ``--json``, else ``text``, nothing with ``--quiet``. Returns 0 or 1."""
    if options.json:
        print(json.dumps({"ok": ok, **data()}))
    elif text is not None and not options.quiet:
        print(text())
    return 0 if ok else 1
