"""Run every case by the command line of an installed version, and keep the digests of what it wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from .cases import read_cases
from .digests import digest_folder

if TYPE_CHECKING:
    from argparse import Namespace

    from .cases import Case


class Runner(NamedTuple):
    """Runs cases with the package that an interpreter has."""

    python: str
    inputs: Path
    folder: Path

    def run(self, case: Case, before: str = "") -> list[dict[str, Any]]:
        """Run a case and those that convert its output on; returns a row for each. The outputs are deleted."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        output = str(folder / case.output)
        paths = {"{inputs}": str(self.inputs), "{in}": before, "{out}": output}
        words = case.words
        for mark, path in paths.items():
            words = [word.replace(mark, path) for word in words]
        try:
            process = subprocess.run(
                [self.python, "-m", "converters", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=folder,
                check=False,
            )
            code = process.returncode
            error = process.stderr.decode(errors="replace") if code else ""
            for mark, path in paths.items():
                error = error.replace(path, mark) if path else error
            rows = [{"case": case.name, "exit": code, **digest_folder(folder), "error": error}]
            for following in case.then if code == 0 else ():
                rows += self.run(following, output)
            return rows
        finally:
            shutil.rmtree(folder)


def run(options: Namespace) -> int:
    """Run the cases that ``--only`` names, or all, and write a line of JSON for each."""
    cases = [
        case
        for case in read_cases(options.inputs)
        if any(fnmatchcase(case.name, glob) for glob in options.only or ["*"])
    ]
    where = "import converters; print(converters.__file__)"
    with tempfile.TemporaryDirectory(prefix="compare-", dir=options.folder) as folder:
        package = subprocess.run(
            [options.python, "-c", where], cwd=folder, stdout=subprocess.PIPE, check=True
        )
        print(f"with {package.stdout.decode().strip()}", file=sys.stderr)
        runner = Runner(options.python, options.inputs.resolve(), Path(folder))
        count = failed = size = 0
        started = perf_counter()
        with options.outputs.open("w") as file, ThreadPoolExecutor(options.jobs) as pool:
            for done, rows in enumerate(pool.map(runner.run, cases), 1):
                for row in rows:
                    file.write(json.dumps(row) + "\n")
                    count, failed, size = count + 1, failed + bool(row["exit"]), size + row["size"]
                file.flush()
                if done % 25 == 0 or done == len(cases):
                    text = (
                        f"{done}/{len(cases)}: {count} cases, {failed} refused, {size / 1e9:.1f} GB written"
                    )
                    print(f"{text}, {perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return 0
