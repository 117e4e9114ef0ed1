"""What the recorders share: hashes, statistics of blocks, files with fixed bytes, and the command line.

Imported by ``record_*.py``, each of which runs in the environment of its framework: Python 3.7 and numpy must do.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(ROOT, "tests", "data")
GOLDENS = os.path.join(ROOT, "tests", "goldens")

CLOSE = 1e-6
"""How far apart two runs may be, relative: another processor, another number of threads."""


def little_endian(value: np.ndarray) -> bytes:
    """The bytes that are hashed: float32, little-endian, C order."""
    return np.ascontiguousarray(value, dtype="<f4").tobytes()


def sha256(value: np.ndarray) -> str:
    """The hash of one array."""
    return hashlib.sha256(little_endian(value)).hexdigest()


def sha256_of_all(arrays: Mapping[str, np.ndarray], separator: bytes = b"\0") -> str:
    """The hash over every name, a separator and the array's bytes, in sorted order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode("ascii") + separator + little_endian(arrays[name]))
    return digest.hexdigest()


def statistics(block: np.ndarray) -> list[float]:
    """Mean, deviation, minimum, maximum and L2 norm, computed in float64."""
    wide = block.astype(np.float64).ravel()
    return [wide.mean(), wide.std(), wide.min(), wide.max(), np.sqrt(np.dot(wide, wide))]


def difference(got: np.ndarray, want: np.ndarray, scale: Any = None) -> float:
    """The largest difference, relative to ``scale``, by default the largest value wanted."""
    scale = np.abs(want).max() if scale is None else scale
    return float((np.abs(got.astype(np.float64) - want.astype(np.float64)) / scale).max())


def load_npz(path: str) -> dict[str, np.ndarray]:
    """The arrays of a golden."""
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def write_npz(path: str, arrays: Mapping[str, Any]) -> None:
    """Write an ``.npz`` whose bytes depend on its contents alone: fixed dates, fixed order."""
    with zipfile.ZipFile(path, "w") as archive:
        for key, value in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
            entry = zipfile.ZipInfo(key + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


def stem(path: str) -> str:
    """A golden's name by its path."""
    return os.path.splitext(os.path.basename(path))[0]


def command_line(description: str | None, out: str) -> argparse.ArgumentParser:
    """The options that every recorder has. ``out`` is the folder of its files."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default=out, help="folder of the .npz files")
    parser.add_argument("--only", action="append", metavar="NAME", help="record this one (repeatable)")
    parser.add_argument("--list", action="store_true", help="print the goldens and run nothing")
    parser.add_argument("--check", nargs="+", metavar="FILE", help="run again and compare instead of writing")
    return parser


def chosen(
    parser: argparse.ArgumentParser, options: argparse.Namespace, names: Mapping[str, Any]
) -> list[str]:
    """The goldens to record: those named by ``--only``, else all. Exits for a name that there is not."""
    unknown = set(options.only or ()) - set(names)
    if unknown:
        parser.error("no golden called " + ", ".join(sorted(unknown)))
    return [name for name in names if not options.only or name in options.only]


def print_list(lines: Mapping[str, str], names: list[str]) -> int:
    """Print every golden with what ``lines`` says of it; the exit code."""
    for name in names:
        print(f"{name:30s} {lines[name]}")
    return 0


def check_all(paths: list[str], check: Callable[[str], bool | None]) -> int:
    """Check every file; the exit code is 1 where one differs. None is for a file that cannot be checked here."""
    results = [check(path) for path in paths]
    return int(any(result is False for result in results))


def record_all(names: list[str], record: Callable[[str], Mapping[str, Any]], out: str) -> int:
    """Record and write every golden, a line for each; the exit code."""
    os.makedirs(out, exist_ok=True)
    for name in names:
        started = time.perf_counter()
        golden = record(name)
        path = os.path.join(out, name + ".npz")
        write_npz(path, golden)
        logits = next((golden[key] for key in ("logits", "f32/logits") if key in golden), np.zeros(1))
        took = time.perf_counter() - started
        peak, size = np.abs(logits).max(), os.path.getsize(path)
        print(f"{name:30s} max |logit| {peak:8.4f}  {size:6d} bytes  {took:5.1f} s")
        sys.stdout.flush()
    return 0
