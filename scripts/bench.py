#!/usr/bin/env python3
"""How long conversions take, and how much memory, against ``cp`` of the same file: the goals in one table.

Every figure is a whole cold process of the real command, with the files in the page cache and the output
unlinked before each run. Every round runs all rows in a new order, a ``cp`` before each; a ratio is the
median of a row's times by the median of cp's. Memory is polled in runs of its own, which are not timed. The
sources are written here, with seeded weights, in the byte format of the releases. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from statistics import median
from time import perf_counter, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SOURCES = {
    "L": "r2plus1d-152.pkl",
    "S": "ir-csn-152.pkl",
    "C": "sports1m.caffemodel",
    "N": "sports1m.npz",
    "M": "i3d-r50.params",
}
"""VMZ's pickles of 474 MB in 1,032 arrays and of 119 MB in 777; C3D of Sports-1M from Caffe (v1.0) and Chainer, each
320 MB in 22; GluonCV's I3D-R50 from MXNet, 213 MB in 509, of which 242 are tensors a second time."""

MEMORY_GOAL = 24.0
"""Peak anonymous memory of the command, in MB, whatever the file's size."""

SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table.

    ``words`` follow the interpreter (or the command, if ``command``), with ``{layout}``, ``{source}`` and
    ``{output}`` filled in. ``goals`` are multiples of cp's CPU time.
    """

    title: str
    words: tuple[str, ...]
    command: bool = True
    suffix: str = ""
    goals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One process: seconds on the processor (user and system) and on the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured of one row on one source. Memory is in MB."""

    row: str
    source: str
    cpu_ratio: float
    cpu_goal: float | None
    wall_ratio: float
    cpu_seconds: float
    wall_seconds: float
    anonymous: float
    resident: float
    memory_goal: float | None

    @property
    def holds(self) -> bool:
        """Whether every goal of this row is met."""
        return (self.cpu_goal is None or self.cpu_ratio <= self.cpu_goal) and (
            self.memory_goal is None or self.anonymous <= self.memory_goal
        )


WITHOUT_FAST = (
    "import sys; sys.modules['isal'] = None; from converters.cli.main import main; sys.exit(main())"
)
"""The command as it is where the extra ``[fast]`` is not installed: importing isal fails."""

THROUGH_TORCH = """
import pickle, sys, torch
from collections import OrderedDict
with open(sys.argv[1], "rb") as file:
    blobs = pickle.load(file, encoding="latin1")["blobs"]
torch.save(OrderedDict((name, torch.from_numpy(array)) for name, array in blobs.items()), sys.argv[2])
"""

PTH = {"L": 2.8, "S": 5.0, "C": 2.5, "N": 2.5, "M": 4.0}
FAST = {"L": 2.0, "S": 4.0, "C": 2.5, "N": 2.5, "M": 4.0}
SAFETENSORS = {"L": 1.8, "S": 4.0, "C": 1.8, "N": 1.8, "M": 4.0}
LOOK = {"L": 0.8, "S": 2.0}


def rows(fast: bool, torch: bool) -> list[Row]:
    """The table's lines, as far as what is installed allows."""
    convert = ("{layout}", "{source}", "{output}")
    listed: list[Row] = []
    for suffix, plain, fast_goals in ((".pth", PTH, FAST), (".safetensors", SAFETENSORS, SAFETENSORS)):
        words = ("-c", WITHOUT_FAST, *convert)
        title = f"{suffix}, standard library only"
        listed.append(Row(title=title, words=words, command=False, suffix=suffix, goals=plain))
        if fast:
            listed.append(Row(title=f"{suffix}, with [fast]", words=convert, suffix=suffix, goals=fast_goals))
    listed.append(Row(title="inspect", words=("inspect", "{source}"), goals=LOOK))
    listed.append(Row(title="--dry-run", words=(*convert, "--dry-run"), suffix=".pth", goals=LOOK))
    listed.append(Row(title="python -c pass", words=("-c", "pass"), command=False))
    if torch:
        listed.append(Row(title="import torch", words=("-c", "import torch"), command=False))
        words = ("-c", THROUGH_TORCH, "{source}", "{output}")
        listed.append(Row(title="pickle.load + torch.save", words=words, command=False, suffix=".pth"))
    return listed


WRITE_C3D = """
import sys
import numpy
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant
from converters.mapping.layout_tables import load_layout
from converters.tensor import Held, Tensor
from converters.formats.io.atomic import replacing
from converters.formats.caffe.writer import write_caffemodel
from converters.formats.npz.writer import write_npz
path = sys.argv[1]
caffe = path.endswith(".caffemodel")
bound, random, tensors = {"classes": 487, "channels": 3}, numpy.random.RandomState(1), []
for entry in tensor_slots(load_layout("c3d" if caffe else "c3d-chainer"), find_variant("c3d", "c3d-plain"), bound, {}):
    shape = entry.file_shape(bound)
    view = memoryview(random.random_sample(shape).astype("<f4").reshape(-1)).cast("B")
    tensors.append(Tensor(entry.name, "float32", shape, Held(view)))
with replacing(path, force=True) as out:
    write_caffemodel(out, tensors, dialect="c3d-v1.0", net="C3D") if caffe else write_npz(out, tensors)
"""
"""Writes a C3D in Caffe's or Chainer's format, 320 MB, at the path given."""

WRITE_MXNET = """
import sys
import numpy
from itertools import groupby
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant
from converters.mapping.layout_tables import load_layout
from converters.tensor import Held, Tensor
from converters.formats.io.atomic import replacing
from converters.formats.mxnet.writer import Form, write_params
bound, random, tensors = {"classes": 400, "channels": 3, "stem_t": 5}, numpy.random.RandomState(1), []
slots = tensor_slots(load_layout("gluoncv"), find_variant("resnet_i3d", "i3d-r50"), bound, {})
for _, group in groupby(slots, key=lambda slot: slot.canonical):
    group = list(group)
    shape = group[0].file_shape(bound)
    view = memoryview(random.random_sample(shape).astype("<f4").reshape(-1)).cast("B")
    tensors += [Tensor(slot.name, "float32", shape, Held(view)) for slot in group]
with replacing(sys.argv[1], force=True) as out:
    write_params(out, tensors, Form())
"""
"""Writes GluonCV's I3D-R50 in MXNet's format at the path given."""

WRITE_I3D = """
import sys
import numpy
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant
from converters.mapping.layout_tables import load_layout
from converters.tensor import Held, Tensor
from converters.formats.io.atomic import replacing
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.writer import write_tensorflow
bound, random, tensors = {"classes": 400, "channels": 3}, numpy.random.RandomState(1), []
for entry in tensor_slots(load_layout("i3d"), find_variant("i3d", "i3d"), bound, {}):
    if entry.name:
        shape = entry.file_shape(bound)
        view = memoryview(random.random_sample(shape).astype("<f4").reshape(-1)).cast("B")
        tensors.append(Tensor("RGB/inception_i3d/" + entry.name, "float32", shape, Held(view)))
data, index = checkpoint_names(sys.argv[1])
with replacing(data, force=True) as data_file, replacing(index, force=True) as index_file:
    write_tensorflow(data_file, index_file, tensors)
"""
"""Writes an I3D checkpoint in TensorFlow's format, 51 MB, at the path given."""

BATCH_GOAL = 4.5
"""Time of a batch in two processes, as a multiple of that of two ``cp`` side by side."""

I3D_GOAL, I3D_MEMORY_GOAL = 0.35, MEMORY_GOAL + 2 * 7.97
"""Times the time of ``import torch``; MB, with room for the largest tensor twice while its axes move."""


class Bench:
    """Runs commands of one Python installation in one folder."""

    def __init__(self, python: str, folder: str, module: bool) -> None:
        self.python = python
        self.folder = folder
        # What the shell says to Python (no bytecode, no buffering) would be measured too.
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        }
        if not self.imports("converters"):
            self.environment["PYTHONPATH"] = REPOSITORY
        script = os.path.join(os.path.dirname(python), "video-checkpoint-convert")
        installed = os.path.exists(script) and not module
        self.command = (script,) if installed else (python, "-m", "converters")

    def imports(self, module: str) -> bool:
        """Whether the interpreter finds a module."""
        done = subprocess.run(
            [self.python, "-c", f"import {module}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
        )
        return done.returncode == 0

    def write_source(self, label: str) -> str:
        """A file in the byte format of the releases, with seeded weights."""
        path = os.path.join(self.folder, SOURCES[label])
        network, suffix = os.path.splitext(SOURCES[label])
        if suffix != ".pkl":
            self.run([self.python, "-c", WRITE_MXNET if suffix == ".params" else WRITE_C3D, path])
            return path
        code = (
            "import sys; from converters.cli.demo_parity import write_seeded; "
            "write_seeded(sys.argv[1], 'resnet3d', sys.argv[2], int(sys.argv[3]))"
        )
        self.run([self.python, "-c", code, path, network, str(SEED)])
        return path

    def run(self, words: Sequence[str]) -> Run:
        """One process, timed. Exits if it fails."""
        started = perf_counter()
        process = self._start(words)
        _, status, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - started
        self._finish(process, status, words)
        return Run(usage.ru_utime + usage.ru_stime, wall)

    def memory(self, words: Sequence[str]) -> tuple[float, float]:
        """One process, polled every half millisecond: peak anonymous and peak resident memory in MB."""
        process = self._start(words)
        anonymous = resident = 0
        while True:
            pid, status, _ = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            found = _status(process.pid)
            anonymous = max(anonymous, found.get("RssAnon", 0))
            resident = max(resident, found.get("VmHWM", 0))
            sleep(0.0005)
        self._finish(process, status, words)
        return anonymous / 1024, resident / 1024

    def words(self, row: Row, source: str) -> list[str]:
        """The command line of a row."""
        layout = {".pkl": "vmz", ".params": "gluoncv"}.get(os.path.splitext(source)[1], "c3d")
        places = {"{layout}": layout, "{source}": source, "{output}": self.output(row)}
        start = self.command if row.command else (self.python,)
        return [*start, *(places.get(word, word) for word in row.words)]

    def output(self, row: Row) -> str:
        """Where a row writes; empty if it does not."""
        return os.path.join(self.folder, f"out{row.suffix}") if row.suffix else ""

    def _start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def _finish(self, process: subprocess.Popen[bytes], status: int, words: Sequence[str]) -> None:
        process.returncode = os.waitstatus_to_exitcode(status)
        with process:  # closes the pipe
            messages = process.stderr.read().decode(errors="replace") if process.stderr else ""
        if process.returncode:
            raise SystemExit(f"{' '.join(words)}\nended with {process.returncode}: {messages}")


def _status(pid: int) -> dict[str, int]:
    """The sizes in ``/proc/PID/status``, in KiB; nothing once the process has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) == 3 and words[2] == "kB"}


def measure(bench: Bench, label: str, table: Sequence[Row], rounds: int) -> tuple[list[Figure], Run]:
    """Every row on one source that applies to it, and the median cp."""
    source = bench.write_source(label)
    table = [row for row in table if source.endswith(".pkl") or THROUGH_TORCH not in row.words]
    copy = os.path.join(bench.folder, "copy")
    copies: list[Run] = []
    runs: dict[str, list[Run]] = {row.title: [] for row in table}

    def timed(words: Sequence[str], output: str) -> Run:
        _unlink(output)
        run = bench.run(words)
        _unlink(output)
        return run

    for row in table:  # fills the page cache and writes bytecode
        timed(bench.words(row, source), bench.output(row))
    for number in range(rounds):
        _progress(f"{label}: round {number + 1} of {rounds}")
        for row in random.sample(table, len(table)):
            copies.append(timed(["cp", source, copy], copy))
            runs[row.title].append(timed(bench.words(row, source), bench.output(row)))
    copied = _median(copies)
    figures = []
    for row in table:
        _progress(f"{label}: memory of {row.title}")
        _unlink(bench.output(row))
        anonymous, resident = bench.memory(bench.words(row, source))
        _unlink(bench.output(row))
        own = _median(runs[row.title])
        goal = row.goals.get(label)
        figures.append(
            Figure(
                row=row.title,
                source=label,
                cpu_ratio=own.cpu / copied.cpu,
                cpu_goal=goal,
                wall_ratio=own.wall / copied.wall,
                cpu_seconds=own.cpu,
                wall_seconds=own.wall,
                anonymous=anonymous,
                resident=resident,
                memory_goal=None if goal is None else MEMORY_GOAL,
            )
        )
    _unlink(source)
    _progress("")
    return figures, copied


def measure_i3d(bench: Bench, rounds: int) -> str:
    """Converting kinetics-i3d's 51 MB, every kernel transposed, against importing torch."""
    prefix, output = os.path.join(bench.folder, "model.ckpt"), os.path.join(bench.folder, "i3d.pth")
    bench.run([bench.python, "-c", WRITE_I3D, prefix])
    words = [*bench.command, "i3d", prefix, output]
    import_torch = [bench.python, "-c", "import torch"]
    conversions, imports = [], []
    for number in range(rounds + 1):
        _progress(f"i3d: round {number} of {rounds}")
        run = bench.run(words)
        _unlink(output)
        imported = bench.run(import_torch)
        if number:  # the first fills the page cache
            conversions.append(run)
            imports.append(imported)
    anonymous, _ = bench.memory(words)
    _progress("")
    own, torch = _median(conversions), _median(imports)
    ratio, wall = own.cpu / torch.cpu, own.wall / torch.wall
    verdict = "holds" if max(ratio, wall) <= I3D_GOAL and anonymous <= I3D_MEMORY_GOAL else "MISSED"
    return (
        f"convert i3d, 51 MB of TensorFlow variables to .pth: {own.wall:.3f} s, {wall:.2f} x import torch "
        f"(CPU {ratio:.2f} x; goal {I3D_GOAL:g}), anonymous memory {anonymous:.1f} MB "
        f"(goal {I3D_MEMORY_GOAL:.0f}): {verdict}"
    )


BATCH = """
[[convert]]
source = "vmz"
input = "batch/*.pkl"
to = "vmz-pt"
output = "converted/{stem}.pth"
"""


def measure_batch(bench: Bench, rounds: int, files: int = 8) -> str:
    """A batch of files in two processes, against two cp side by side that share the same files."""
    source = bench.write_source("S")
    size = os.path.getsize(source) * files / 1e6
    manifest = os.path.join(bench.folder, "batch.toml")
    for name in ("batch", "copied", "copied/0", "copied/1"):
        os.mkdir(os.path.join(bench.folder, name))
    for number in range(files):
        os.link(source, os.path.join(bench.folder, "batch", f"{number}.pkl"))
    with open(manifest, "w") as file:
        file.write(BATCH)
    words = [*bench.command, "batch", manifest, "--jobs", "2", "--quiet"]
    halves = [" ".join(f"batch/{number}.pkl" for number in range(half, files, 2)) for half in (0, 1)]
    copy = ["sh", "-c", f"cp {halves[0]} copied/0 & cp {halves[1]} copied/1 & wait"]
    conversions, copies = [], []
    for number in range(rounds + 1):
        _progress(f"batch: round {number} of {rounds}")
        for command, runs in ((words, conversions), (copy, copies)):
            bench.run(copy)  # so that both find the memory that this one has just left
            _clean(bench.folder, files)
            run = bench.run(command)
            _clean(bench.folder, files)
            if number:
                runs.append(run)
    _unlink(source)
    _progress("")
    own, copied = _median(conversions), _median(copies)
    ratio = own.wall / copied.wall
    return (
        f"convert batch --jobs 2, {files} files of {size / files:.0f} MB, CRC-32 of each and of its output recorded: "
        f"{own.wall:.2f} s, {size / own.wall:,.0f} MB/s; two cp side by side {copied.wall:.2f} s, "
        f"{size / copied.wall:,.0f} MB/s: {ratio:.2f} x their time (CPU {own.cpu / copied.cpu:.2f} x; "
        f"goal {BATCH_GOAL:g}): {'holds' if ratio <= BATCH_GOAL else 'MISSED'}"
    )


def _clean(folder: str, files: int) -> None:
    """Remove what a batch and two ``cp`` have written."""
    for name in os.listdir(folder):
        if name.startswith(("batch.r", "batch.s", "converted")):
            path = os.path.join(folder, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    for each in range(files):
        _unlink(os.path.join(folder, "copied", str(each % 2), f"{each}.pkl"))


def _median(runs: Sequence[Run]) -> Run:
    return Run(median(run.cpu for run in runs), median(run.wall for run in runs))


def _unlink(path: str) -> None:
    if path and os.path.exists(path):
        os.unlink(path)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def markdown(figures: Sequence[Figure], labels: Sequence[str]) -> str:
    """The table: a line for every row, and for every source its ratios, seconds and memory."""
    heads = ["CPU x cp", "goal", "wall x cp", "CPU s", "anon MB", "RSS MB"]
    lines = [
        "| whole cold process | "
        + " | ".join(f"{label}: {head}" for label in labels for head in heads)
        + " |",
        "|---|" + "---|" * len(heads) * len(labels),
    ]
    by_row: dict[str, dict[str, Figure]] = {}
    for each in figures:
        by_row.setdefault(each.row, {})[each.source] = each
    for title, by_source in by_row.items():
        cells: list[str] = []
        for label in labels:
            figure = by_source.get(label)
            if figure is None:
                cells += ["-"] * len(heads)
                continue
            goal = (
                ""
                if figure.cpu_goal is None
                else f"<= {figure.cpu_goal:g} {'holds' if figure.holds else 'MISSED'}"
            )
            cells += [
                f"{figure.cpu_ratio:.2f}",
                goal,
                f"{figure.wall_ratio:.2f}",
                f"{figure.cpu_seconds:.3f}",
                f"{figure.anonymous:.1f}",
                f"{figure.resident:.1f}",
            ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _machine(folder: str) -> str:
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    return (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}, {kind or 'unknown file system'}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was measured; ``copies`` is the median cp of each source, ``i3d`` and ``batch`` are sentences."""

    machine: str
    command: str
    rounds: int
    copies: Mapping[str, Run]
    figures: Sequence[Figure]
    i3d: str
    batch: str

    def json(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "machine": self.machine,
                "python": platform.python_version(),
                "rounds": self.rounds,
                "cp": {label: asdict(run) for label, run in self.copies.items()},
                "i3d": self.i3d,
                "batch": self.batch,
                "figures": [{**asdict(figure), "holds": figure.holds} for figure in self.figures],
            }
        )

    def text(self) -> str:
        """As a table in Markdown with what goes with it."""
        lines = [f"{self.machine}; command: {self.command}; median of {self.rounds} rounds"]
        for label, run in self.copies.items():
            lines.append(f"{label} = {SOURCES[label]}: cp takes {run.cpu:.3f} s of CPU, {run.wall:.3f} s")
        lines += ["", markdown(self.figures, list(self.copies)), ""]
        lines += [self.i3d] if self.i3d else []
        missed = [f"{figure.row} ({figure.source})" for figure in self.figures if not figure.holds]
        goals = f"all goals hold (CPU against cp; at most {MEMORY_GOAL:g} MB of anonymous memory)"
        return "\n".join([*lines, self.batch, f"goals missed: {', '.join(missed)}" if missed else goals])


def measure_all(bench: Bench, labels: Sequence[str], rounds: int, *, torch: bool) -> Report:
    """Every row on every source. ``torch`` says whether the rows that need PyTorch are measured."""
    table = rows(bench.imports("isal"), torch)
    machine = _machine(bench.folder)
    figures: list[Figure] = []
    copies: dict[str, Run] = {}
    for label in labels:
        measured, copies[label] = measure(bench, label, table, rounds)
        figures += measured
    return Report(
        machine=machine,
        command=" ".join(bench.command),
        rounds=rounds,
        copies=copies,
        figures=figures,
        i3d=measure_i3d(bench, rounds) if torch else "",
        batch=measure_batch(bench, rounds),
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line. Exits on systems other than Linux."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder",
        default="/dev/shm" if os.path.isdir("/dev/shm") else None,
        help="where files are written, 1.6 GB of room (default: /dev/shm, else the temporary folder)",
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter whose command is measured")
    parser.add_argument(
        "--module", action="store_true", help="`python -m converters`, not the installed command"
    )
    parser.add_argument("--rounds", type=int, default=7, help="runs of every row (default: 7)")
    parser.add_argument("--source", choices=[*SOURCES], action="append", help="only this one")
    parser.add_argument("--without-torch", action="store_true", help="leave the rows out that need torch")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not hasattr(os, "wait4") or not os.path.isdir("/proc/self"):
        parser.error("needs Linux")
    return options


def main() -> int:
    """Measure and print; returns the exit code."""
    options = parse_arguments()
    # A link, as an environment's interpreter is, must stay one: it is what finds the environment.
    python = os.path.abspath(options.python)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        bench = Bench(python, folder, options.module)
        torch = not options.without_torch and bench.imports("torch")
        report = measure_all(bench, options.source or [*SOURCES], options.rounds, torch=torch)
    print(report.json() if options.json else report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
