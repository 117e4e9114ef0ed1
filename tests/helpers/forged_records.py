"""Files whose record says something else than the conversion that made them."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def forged(path: Path, output: Path, change: Callable[[Any], object]) -> Path:
    """A safetensors file with its record changed."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    ((key, text),) = ((key, text) for key, text in header["__metadata__"].items() if '"provenance"' in text)
    record = json.loads(text)
    change(record)
    header["__metadata__"][key] = json.dumps(record)
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    output.write_bytes(struct.pack("<Q", len(written)) + written + data[8 + length :])
    return output
