#!/usr/bin/env python3
"""Kill commands at random moments, and fill the disk under them: an output appears whole or not at all.

    python scripts/kills.py --kills 50
    python scripts/kills.py --only tensorflow --only publish --seed 7

After each kill every output must be absent, or have exactly the bytes that an undisturbed run writes; after the last
one an undisturbed run must end right and leave nothing else. The disk is a tmpfs of a few sizes, which only root can
mount; without that the limit of a file's size stands for it. The exit code is 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MANIFEST = """\
[[convert]]
source = "movinet-pytorch"
input = "in/*.pth"
to = "movinet"
output = "out/{stem}/model.ckpt"
[[convert]]
source = "movinet-pytorch"
input = "in/*.pth"
to = "native"
output = "out/{stem}.safetensors"
check = true
"""


SUMS = "SHA256SUMS"


class Case(NamedTuple):
    """A command: its words, run in a folder with the inputs in ``in`` and an empty ``out``. With ``force`` the outputs
    are there already, from another input."""

    words: tuple[str, ...]
    before: tuple[str, ...] = ()


CASES = {
    "publish": Case(("publish", "in/a.pth", "--folder", "out")),
    "inflate": Case(
        ("inflate", "flat/flat.pth", "out/i.pth", "--variant", "resnet2d-18", "--channels", "10")
    ),
    "suggest": Case(("suggest", "in/a.pth", "flat/native.pth", "-o", "out/s.toml")),
    "batch": Case(("batch", "zoo.toml", "--resume", "--jobs", "2", "--results", "results.jsonl")),
    "tensorflow": Case(("auto", "in/a.pth", "out/t.ckpt", "--to", "movinet")),
    "tensorflow --force": Case(
        ("auto", "in/a.pth", "out/t.ckpt", "--to", "movinet", "--force"),
        before=("auto", "in/b.pth", "out/t.ckpt", "--to", "movinet", "--force"),
    ),
}


def make_inputs(folder: Path) -> None:
    """Small MoViNets and a 2D ResNet-18, with seeded values."""
    import torch

    from converters.loading import to_torch
    from converters.mapping.layout_tables import load_layout
    from tests.helpers import layout_weights

    for name in ("in", "flat", "out"):
        (folder / name).mkdir()
    for name, layout, variant, scale in (
        ("in/a", "movinet-pytorch", "movinet-a0-base", 1.0),
        ("in/b", "movinet-pytorch", "movinet-a0-base", 0.5),
        ("flat/native", "native", "movinet-a0-base", 1.0),
        ("flat/flat", "native", "resnet2d-18", 1.0),
    ):
        tensors = layout_weights.seeded(load_layout(layout), layout_weights.variant(variant))
        state = {key: to_torch(tensor) * scale for key, tensor in tensors.items()}
        torch.save(state, folder / f"{name}.pth")
    (folder / "zoo.toml").write_text(MANIFEST)


def start(
    words: Sequence[str], folder: Path, prepare: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """The command, in a process group of its own, which a batch's workers are in too."""
    return subprocess.Popen(
        [sys.executable, "-m", "converters", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def run(words: Sequence[str], folder: Path) -> float:
    """Run the command undisturbed; the seconds. Raises `RuntimeError` where it fails."""
    begun = time.monotonic()
    process = start(words, folder)
    _, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit code {process.returncode}: {error}")
    return time.monotonic() - begun


def list_of_hashes(folder: Path) -> str:
    """The text of the list of hashes, if there is one."""
    path = folder / SUMS
    return path.read_text() if path.exists() else ""


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_temporary(name: str) -> bool:
    """Whether a name is one that the next run removes."""
    return any(part.startswith(".") for part in Path(name).parts)


def faults_of(
    found: dict[str, str], whole: dict[str, str], before: dict[str, str], sums: str = ""
) -> list[str]:
    """What is wrong with the outputs that a kill or a full disk left; ``sums`` is the text of their list of hashes."""
    faults = []
    for line in sums.splitlines():
        digest, _, name = line.partition("  ")
        if found.get(name) != digest:
            faults.append(f"{SUMS}: {line!r} is not a file that is there")
    if sums and not sums.endswith("\n"):
        faults.append(f"{SUMS}: torn")
    seen = {name: content for name, content in found.items() if not is_temporary(name)}
    for name, content in seen.items():
        if name not in whole:
            faults.append(f"{name}: not an output")
        elif content not in (whole[name], before.get(name)) and name != SUMS:
            faults.append(f"{name}: torn")
    for index in (name for name in seen if name.endswith(".index")):
        shard = index.removesuffix(".index") + ".data-00000-of-00001"
        pair = (seen[index], seen.get(shard))
        if pair not in [(side.get(index), side.get(shard)) for side in (whole, before)]:
            faults.append(f"{index}: without its own shard")
    return faults


def clear(folder: Path) -> None:
    """Empty the folder of outputs."""
    shutil.rmtree(folder / "out")
    (folder / "out").mkdir()


def prepare(case: Case, folder: Path) -> dict[str, str]:
    """The folder of outputs as it is before the command; its contents."""
    clear(folder)
    if case.before:
        run(case.before, folder)
    return contents(folder / "out")


def names_in(folder: Path) -> set[str]:
    """The paths of all files, while a command may remove some."""
    return {os.path.join(inner, name) for inner, _, names in os.walk(folder) for name in names}


def wait_for_writing(process: subprocess.Popen[str], folder: Path, rng: random.Random) -> bool:
    """Wait until the command has begun to write a file that was not there, and a random moment more. Whether it did
    so before it ended."""
    before = names_in(folder)
    while process.poll() is None:
        if names_in(folder) - before:
            time.sleep(rng.uniform(0, 0.004))
            return process.poll() is None
    return False


def kill_often(name: str, folder: Path, kills: int, rng: random.Random) -> tuple[Counter[str], list[str]]:
    """Kill one command ``kills`` times; how often it was killed at which stage, and what was wrong."""
    case, counts, faults = CASES[name], Counter[str](), list[str]()
    before = prepare(case, folder)
    seconds = run(case.words, folder)
    whole = contents(folder / "out")
    resumed = "--resume" in case.words
    prepare(case, folder)
    while counts["killed"] < kills and counts["runs"] < 3 * kills:
        process = start(case.words, folder)
        if counts["runs"] % 2:
            counts["while it wrote"] += wait_for_writing(process, folder / "out", rng)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.2, 1.1) * seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        counts["runs"] += 1
        counts["killed"] += process.returncode == -signal.SIGKILL
        found, sums = contents(folder / "out"), list_of_hashes(folder / "out")
        counts["nothing yet"] += found == before
        counts["temporary files"] += any(map(is_temporary, found))
        counts["whole"] += process.returncode == -signal.SIGKILL and found == whole
        faults += [f"{name}: {fault}" for fault in faults_of(found, whole, before, sums)]
        if not resumed or found == whole:
            # What a killed run left stays, for the next to remove; its outputs do not.
            for path in (folder / "out").rglob("*"):
                if path.is_file() and not is_temporary(str(path.relative_to(folder / "out"))):
                    path.unlink()
            if case.before:
                run(case.before, folder)
    run(case.words, folder)
    if contents(folder / "out") != whole:
        faults.append(f"{name}: the last run left {sorted(contents(folder / 'out'))}, not {sorted(whole)}")
    return counts, faults


def fill_disk(name: str, folder: Path, disks: int, rng: random.Random) -> tuple[Counter[str], list[str]]:
    """Run one command on ``disks`` full disks; how often it was refused, and what was wrong."""
    case, counts, faults = CASES[name], Counter[str](), list[str]()
    before = prepare(case, folder)
    run(case.words, folder)
    whole = contents(folder / "out")
    size = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
    for _ in range(disks):
        prepare(case, folder)
        room = max(4096, int(size * rng.uniform(0, 1.2)))
        mounted = not case.before and mount(folder / "out", room)
        try:
            process = start(case.words, folder, None if mounted else limit(room))
            _, error = process.communicate()
            found = contents(folder / "out")
        finally:
            if mounted:
                subprocess.run(["umount", str(folder / "out")], check=True)
        counts["disks"] += 1
        counts["refused"] += process.returncode == 1
        told = process.returncode in (0, 1) and "Traceback" not in error
        wanted = whole if process.returncode == 0 else before
        faults += [] if told else [f"{name}: exit code {process.returncode}: {error}"]
        faults += [] if found == wanted else [f"{name}: a full disk left {sorted(found)}"]
    return counts, faults


def mount(folder: Path, size: int) -> bool:
    """Mount a disk of so many bytes; whether that is allowed."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    return not subprocess.run(words, capture_output=True, check=False).returncode


def limit(size: int) -> Callable[[], None]:
    """Before the command starts: no file may be larger."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def run_all(
    only: Sequence[str], kills: int, disks: int, seed: int
) -> tuple[dict[str, tuple[Counter[str], Counter[str]]], list[str]]:
    """Kill and fill for each command; the counts by its name, and the faults."""
    rng = random.Random(seed)
    faults: list[str] = []
    table = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        for case in only or CASES:
            killed, wrong = kill_often(case, folder, kills, rng)
            filled, more = Counter[str](), list[str]()
            if case.startswith("tensorflow"):
                filled, more = fill_disk(case, folder, disks, rng)
            table[case] = (killed, filled)
            faults += wrong + more
    return table, faults


def main() -> int:
    """Run, and print the table of counts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills of each command (default: 50)")
    parser.add_argument(
        "--disks", type=int, default=20, help="full disks of each TensorFlow output (default: 20)"
    )
    parser.add_argument("--only", action="append", default=[], choices=CASES, help="may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    table, faults = run_all(options.only, options.kills, options.disks, options.seed)
    for name, counts in table.items():
        words = ", ".join(f"{key} {count}" for each in counts for key, count in each.items())
        print(f"{name}: {words}")
    print("\n".join(faults) or "nothing was torn")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
