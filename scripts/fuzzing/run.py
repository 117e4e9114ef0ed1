"""Run the verbs on mutated files, in a child process with bounded time and memory.

A fault is: an exception other than our own, more memory or time than what is stated, a verdict "equal" of a file
that no reader can open, or the end of the process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import signal
import tempfile
import traceback
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from .mutations import mutate
from .seeds import Seed, networks, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

SECONDS = 10.0
"""CPU time that one mutated file may take in one verb."""
MANY = 500
"""Mutations from which on a whole network is among the files that are mutated."""
MEMORY = 512 << 20
"""Bytes of address space that it may take beside what the process has when it starts."""


class Fault(NamedTuple):
    """What went wrong: the seed's name, the number that makes the mutation again, the verb, and the traceback."""

    seed: str
    number: int
    verb: str
    what: str


class Tried(NamedTuple):
    """What a run found: the faults, and how often each verb ended in which way."""

    faults: list[Fault]
    outcomes: Counter[tuple[str, str]]


class TooLong(BaseException):
    """The time is over. Not an `Exception`, so that nothing takes it for something else."""


def _stop(_number: int, _frame: object) -> None:
    raise TooLong


def _inspect(path: Path, _original: Path) -> None:
    from converters.formats.open import open_checkpoint
    from converters.inspection.inspect import inspect
    from converters.reports.terminal.inspection import inspection_text

    inspection_text(inspect(path))
    with open_checkpoint(str(path)) as checkpoint:
        for tensor in checkpoint.tensors.values():
            for _ in tensor.data.chunks():
                pass


def _convert(path: Path, _original: Path) -> None:
    from converters import convert

    convert(path, path.with_name("out.pth"), dry_run=True)


def _diff(path: Path, original: Path) -> None:
    from converters import diff

    diff(path, original)


def _suggest(path: Path, original: Path) -> None:
    from converters.suggestion.suggest import suggest

    suggest(path, original, path.with_name("suggested.toml"), force=True)


def _main(path: Path, _original: Path) -> None:
    """The command line: an exit code that is documented, and no traceback."""
    import io
    from contextlib import redirect_stderr, redirect_stdout

    from converters.cli.main import main

    told = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(told):
        code = main(["inspect", str(path), "--json"])
    if code not in (0, 1, 3) or "Traceback" in told.getvalue():
        raise AssertionError(f"exit code {code}: {told.getvalue()[:500]}")


def _manifest(path: Path, _original: Path) -> None:
    from converters.batches.manifest import load_manifest

    load_manifest(path)


def _mapping(path: Path, _original: Path) -> None:
    from converters.mapping.user_mapping import load_mapping

    load_mapping(str(path))


VERBS: dict[str, Callable[[Path, Path], None]] = {
    "inspect": _inspect,
    "convert": _convert,
    "diff": _diff,
    "suggest": _suggest,
    "command line": _main,
}
OF_KIND: dict[str, dict[str, Callable[[Path, Path], None]]] = {
    "manifest": {"manifest": _manifest},
    "mapping": {"mapping": _mapping},
}


def _verbs(kind: str, number: int) -> dict[str, Callable[[Path, Path], None]]:
    """The verbs of one run: `inspect` always, and one of the others in turn."""
    if kind in OF_KIND:
        return OF_KIND[kind]
    others = [name for name in VERBS if name != "inspect"]
    return {name: VERBS[name] for name in ("inspect", others[number % len(others)])}


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / next(iter(files))


def mutated(seed: Seed, number: int) -> dict[str, bytes]:
    """The files of a seed with one of them mutated, always in the same way for the same number."""
    rng = Random(f"{next(iter(seed.files))}-{number}")
    name = next(iter(seed.files)) if rng.random() < 0.8 else rng.choice([*seed.files])
    return {**seed.files, name: mutate(seed.files[name], rng)}


def try_one(seed: Seed, number: int, folder: Path) -> Tried:
    """Run the verbs on one mutation."""
    from converters.errors import ConverterError

    path = _write(folder / "mutated", mutated(seed, number))
    original = _write(folder / "original", seed.files)
    faults: list[Fault] = []
    outcomes = Counter[tuple[str, str]]()
    for name, verb in _verbs(seed.kind, number).items():
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            verb(path, original)
            outcomes[name, "done"] += 1
        except ConverterError as error:
            outcomes[name, f"exit code {error.exit_code}"] += 1
        except (Exception, TooLong):
            outcomes[name, "fault"] += 1
            faults.append(Fault(next(iter(seed.files)), number, name, traceback.format_exc(limit=-6)))
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return Tried(faults, outcomes)


def _import_all(seed: Seed, folder: Path) -> None:
    """Import whatever the verbs import, before memory is counted. What they say of a right file is tested elsewhere."""
    path = _write(folder / "original", seed.files)
    for verb in VERBS.values():
        with contextlib.suppress(Exception):
            verb(path, path)


def _work(connection: Connection, jobs: Sequence[tuple[Seed, int]]) -> None:
    """In the child: tell before each job which it is, and its faults after it."""
    signal.signal(signal.SIGVTALRM, _stop)
    with contextlib.suppress(ImportError):
        from converters.formats.hdf5 import library
        from tests.helpers.forked_library import Forked

        library.start_process = Forked  # type: ignore[assignment]  # starts in less time
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _import_all(jobs[0][0], folder)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        for index, (seed, number) in enumerate(jobs):
            connection.send((index, None))
            connection.send((index, try_one(seed, number, folder)))
    connection.send((len(jobs), Tried([], Counter())))


def _in_turn(pool: Sequence[Seed], runs: int) -> Iterator[Seed]:
    """The kinds in turn, and the seeds of each: no format is tried less because it has few seeds."""
    kinds: dict[str, list[Seed]] = {}
    for seed in pool:
        kinds.setdefault(seed.kind, []).append(seed)
    turns = cycle([cycle(of_kind) for of_kind in kinds.values()])
    return (next(turn) for turn in islice(turns, runs))


def run(fixtures: Path, runs: int, *, first: int = 0, only: Sequence[str] = ()) -> Tried:
    """Try ``runs`` mutations. A child that dies is a fault, and the next one goes on."""
    every = [*seeds(fixtures), *(networks() if runs >= MANY else ())]
    pool = [seed for seed in every if not only or seed.kind in only]
    jobs = [(seed, first + number) for number, seed in enumerate(_in_turn(pool, runs))]
    faults: list[Fault] = []
    outcomes = Counter[tuple[str, str]]()
    context = multiprocessing.get_context("fork")
    while jobs:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(there, jobs))
        child.start()
        there.close()
        done = -1
        try:
            while True:
                index, found = here.recv()
                if found is None:
                    done = index
                else:
                    faults += found.faults
                    outcomes += found.outcomes
        except EOFError:
            pass
        child.join()
        if child.exitcode == 0:
            return Tried(faults, outcomes)
        seed, number = jobs[max(done, 0)]
        faults.append(
            Fault(next(iter(seed.files)), number, "the process", f"died with exit code {child.exitcode}")
        )
        outcomes["the process", "fault"] += 1
        jobs = jobs[max(done, 0) + 1 :]
    return Tried(faults, outcomes)
