"""`convert batch`: whole manifests, kills at random moments, full disks, and what a resumed run does again."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from converters import Refused, UsageError, __version__, convert, convert_batch, inspect
from converters.batches.events import Event
from converters.batches.job import Job
from converters.batches.manifest import load_manifest
from converters.batches.perform import perform
from converters.batches.progress import Display, Lines
from converters.batches.results import Results, dump_line, parse_line
from converters.batches.summary import summary_text
from converters.batches.tasks import tasks_of
from converters.checksums import sha256_of
from converters.files import SourceFile
from converters.verification.outcome import TOLERANCES
from tests.helpers import batch_files
from tests.helpers.paths import REPOSITORY

OUTPUTS = batch_files.OUTPUTS


@pytest.fixture
def manifest(zoo, tmp_path):
    """A copy of the zoo for one test."""
    return batch_files.copy_zoo(zoo, tmp_path)


@pytest.fixture
def small(zoo, tmp_path):
    """A manifest of four quick rows, of which the third cannot be done."""
    (tmp_path / "vmz").mkdir()
    for path in (zoo / "vmz").iterdir():
        shutil.copy(path, tmp_path / "vmz")
    (tmp_path / "vmz" / "ip-csn-26-1.pkl").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "small.toml").write_text(
        '[[convert]]\nsource = "vmz"\ninput = "vmz/i?-csn-26-[012].pkl"\nto = "native"\noutput = "out/{stem}.pth"\n'
    )
    return tmp_path / "small.toml"


GOOD = ["out/ip-csn-26-2.pth", "out/ir-csn-26-0.pth", "out/ir-csn-26-1.pth"]
BAD = "out/ip-csn-26-1.pth"


def command(*words):
    return [sys.executable, "-m", "converters", "batch", *map(str, words)]


def start(*words, whole=False, stderr=subprocess.DEVNULL, **options):
    """Start ``convert batch`` with some arguments, or another command if it is given as a ``whole``."""
    return subprocess.Popen(
        list(map(str, words)) if whole else command(*words),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        # A shell ignores SIGINT for tests in the background, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def lines_of(path):
    """The results in a file, none of which may be damaged."""
    rows = [parse_line(line) for line in path.read_bytes().splitlines(keepends=True)]
    assert None not in rows
    return rows


def states(summary):
    return {row["task"]: row["state"] for row in summary.rows}


def counts(summary):
    return {state: number for state, number in summary.as_data()["counts"].items() if number}


@pytest.mark.full
def test_forty_rows_of_every_source(manifest, expected, run_process):
    folder = manifest.parent
    done = run_process("batch", manifest, "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert batch_files.hashes(folder, *OUTPUTS) == expected
    rows = lines_of(folder / "zoo.results.jsonl")
    assert len(rows) == len({row["task"] for row in rows}) == batch_files.ROWS
    for row in rows:
        ((_, size, crc32),) = row["output"]["files"]
        assert batch_files.crc32(folder / row["task"]) == crc32
        assert (folder / row["task"]).stat().st_size == size
    assert "43 rows: 43 converted" in done.stdout.splitlines()[-2]
    assert (
        sum(line.startswith("[") and " converted " in line for line in done.stdout.splitlines())
        == batch_files.ROWS
    )
    assert not done.stderr
    # The index links a page for every row, and nothing else; no page has a script.
    index = (folder / "zoo.report" / "index.html").read_text()
    links = set(re.findall(r'<a href="([^"]+)"', index))
    assert links == {path.name for path in (folder / "zoo.report").iterdir()} - {"index.html"}
    assert len(links) == batch_files.ROWS
    assert not (folder / "zoo.scratch").exists()

    # Resumed, nothing changes: no byte, and no time of modification.
    results = (folder / "zoo.results.jsonl").read_bytes()
    times = {name: (folder / name).stat().st_mtime_ns for name in expected}
    again = run_process("batch", manifest, "--resume", "--json")
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["ok"]
    assert report["counts"]["kept"] == batch_files.ROWS
    assert (folder / "zoo.results.jsonl").read_bytes() == results
    assert {name: (folder / name).stat().st_mtime_ns for name in expected} == times
    assert run_process("batch", manifest).returncode == 1  # without --resume no results may exist


def children(pid):
    """The workers of a batch."""
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def alive(pid):
    """Whether a process runs; one that has ended may keep its number for a while."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def spoilt(folder, body):
    """A program that replaces Python, and whose workers have the ``perform(job, progress)`` that ``body`` defines."""
    (folder / "spoilt.py").write_text(
        "import os, sys, time\n"
        "from converters.batches import worker\n"
        "real = worker.perform\n"
        f"{body}\n"
        "worker.perform = perform\n"
        "sys.exit(worker.main(sys.argv[1:]))\n"
    )
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} -P {folder}/spoilt.py "$@"\n')
    program.chmod(0o755)
    return str(program)


def wait_for(process, happened, seconds=30):
    """Wait until something has happened or the process has ended."""
    end = time.monotonic() + seconds
    while not happened(process.pid) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


def size_of(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers in /proc")
def test_kills_at_random_moments(manifest, expected):
    """The batch or one of its workers is killed ten times; then the rest is converted, and nothing twice."""
    folder = manifest.parent
    results = folder / "zoo.results.jsonl"
    chance = random.Random(7)
    finished: dict[str, dict] = {}
    killed = {"batch": 0, "worker": 0}
    for turn in range(10):
        process = start(manifest, "--jobs", 2, "--resume", "--quiet")
        wait_for(process, lambda pid: children(pid))
        # The moment is a number of rows, too small for any machine to finish early, and a fraction of one more.
        wanted = size_of(results) + chance.choice((0, 1, 3000))
        wait_for(process, lambda _, wanted=wanted: size_of(results) >= wanted)
        time.sleep(chance.random() * 0.03)
        if turn % 2 and (workers := children(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed["worker"] += 1
            time.sleep(chance.random() * 0.03)
        if process.poll() is None:
            process.kill()
            killed["batch"] += 1
        process.communicate(timeout=60)
        if results.exists():
            whole = results.read_bytes()[: results.read_bytes().rfind(b"\n") + 1]
            rows = [parse_line(line) for line in whole.splitlines(keepends=True)]
            assert None not in rows
            done = {row["task"]: row for row in rows if row["state"] != "failed"}
            for task, row in finished.items():
                assert done[task] == row  # a finished row is not done again
            finished = done
            for row in done.values():
                assert sha256_of(str(folder / row["task"])) == expected[row["task"]]
                ((_, _, crc32),) = row["output"]["files"]
                assert batch_files.crc32(folder / row["task"]) == crc32
    assert min(killed.values()) >= 3, killed
    assert finished
    process = start(manifest, "--jobs", 2, "--resume", "--json")
    report = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 0, report
    assert batch_files.hashes(folder, *OUTPUTS) == expected
    assert not [path for name in OUTPUTS for path in (folder / name).rglob(".*")]  # no leftovers
    rows = [row for row in lines_of(results) if row["state"] != "failed"]
    assert len(rows) == len({row["task"] for row in rows}) == batch_files.ROWS
    assert {row["task"]: row for row in rows}.items() >= finished.items()


def test_a_bad_row_fails_alone(small, run_process):
    done = run_process("batch", small, "--jobs", 2)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert sorted(line.partition("] ")[2].split()[0] for line in lines[:4]) == ["converted"] * 3 + ["failed"]
    assert "4 rows: 3 converted, 1 failed" in lines[4]
    again = convert_batch(small, resume=True)
    assert states(again) == {BAD: "failed", **dict.fromkeys(GOOD, "kept")}
    assert "out/ip-csn-26-1.pth" in summary_text(again)


def test_the_first_failure_ends_it_if_asked(small):
    summary = convert_batch(small, jobs=1, fail_fast=True)
    assert states(summary) == {BAD: "failed", **dict.fromkeys(GOOD, "skipped")}
    assert not summary.ok
    assert counts(convert_batch(small, resume=True)) == {"converted": 3, "failed": 1}


def test_a_worker_that_dies_costs_one_row(zoo, tmp_path, monkeypatch):
    """Once before it starts its row, and once when the row is done but not yet reported."""
    (tmp_path / "vmz").mkdir()
    shutil.copy(zoo / "vmz" / "ir-csn-26-0.pkl", tmp_path / "vmz")
    rows = "".join(
        f'[[convert]]\nsource = "vmz"\ninput = "vmz/ir-csn-26-0.pkl"\nto = "native"\noutput = "out/{n}.pth"\n'
        for n in range(6)
    )
    (tmp_path / "zoo.toml").write_text(rows)
    body = """
def perform(job, progress):
    if job.name == "out/1.pth":
        os.kill(os.getpid(), 9)
    result = real(job, progress)
    if job.name == "out/3.pth":
        os.kill(os.getpid(), 9)
    return result
"""
    monkeypatch.setattr(sys, "executable", spoilt(tmp_path, body))
    summary = convert_batch(tmp_path / "zoo.toml", jobs=1)
    assert counts(summary) == {"converted": 4, "failed": 2}
    for row in (summary.rows[1], summary.rows[3]):
        assert "ended by SIGKILL" in row["error"]["text"]
    monkeypatch.undo()
    again = states(convert_batch(tmp_path / "zoo.toml", resume=True))
    assert [again[f"out/{n}.pth"] for n in range(6)] == [
        "kept",
        "converted",
        "kept",
        "adopted",
        "kept",
        "kept",
    ]


def test_what_was_done_is_done_again_only_if_something_changed(small, monkeypatch):
    folder = small.parent
    assert counts(convert_batch(small)) == {"converted": 3, "failed": 1}
    results = folder / "small.results.jsonl"
    good = results.read_bytes()
    outputs = batch_files.hashes(folder, "out")

    def resumed(**options):
        return states(convert_batch(small, resume=True, **options))

    def rewritten(**change):
        rows = [parse_line(line) for line in good.splitlines(keepends=True)]
        rows = [{**row, **change} if row["task"] == GOOD[0] else row for row in rows]
        results.write_bytes(b"".join(dump_line(row) for row in rows))

    # The output is gone, or damaged.
    (folder / GOOD[0]).unlink()
    assert resumed() == {BAD: "failed", GOOD[0]: "converted", GOOD[1]: "kept", GOOD[2]: "kept"}
    data = bytearray((folder / GOOD[1]).read_bytes())
    data[-2000] ^= 1
    (folder / GOOD[1]).write_bytes(data)
    assert resumed() == {BAD: "failed", GOOD[0]: "kept", GOOD[1]: "converted", GOOD[2]: "kept"}
    assert batch_files.hashes(folder, "out") == outputs
    # Another version of the tool, or of the tables, made it.
    (row,) = (row for row in lines_of(results) if row["task"] == GOOD[2])
    rewritten(tool="0.0.1")
    assert resumed()[GOOD[0]] == "converted"
    rewritten(mapping={**row["mapping"], "sha256": "0" * 64})
    assert resumed()[GOOD[0]] == "converted"
    rewritten(mapping={**row["mapping"], "target": "a-layout-that-is-gone"})
    assert resumed()[GOOD[0]] == "converted"
    # The manifest asks for something else.
    text = small.read_text()
    small.write_text(text + 'dtype = "float16"\n')
    assert resumed()[GOOD[0]] == "converted"
    small.write_text(text)
    assert resumed()[GOOD[0]] == "converted"
    assert batch_files.hashes(folder, "out") == outputs
    # The input is a different file.
    name = "ip-csn-26-2.pkl"
    (folder / "vmz" / name).unlink()
    shutil.copy(folder / "vmz" / "ir-csn-26-0.pkl", folder / "vmz" / name)
    assert resumed() == {BAD: "failed", GOOD[0]: "converted", GOOD[1]: "kept", GOOD[2]: "kept"}
    # It has the same size and another byte, in a tensor.
    data = bytearray((folder / "vmz" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "vmz" / name).write_bytes(data)
    assert resumed() == {BAD: "failed", GOOD[0]: "converted", GOOD[1]: "kept", GOOD[2]: "kept"}
    # The row that failed can be converted now.
    (folder / "vmz" / "ip-csn-26-1.pkl").unlink()
    shutil.copy(folder / "vmz" / "ip-csn-26-3.pkl", folder / "vmz" / "ip-csn-26-1.pkl")
    assert resumed() == {BAD: "converted", **dict.fromkeys(GOOD, "kept")}


def test_outputs_that_were_not_recorded_are_adopted_or_refused(small):
    folder = small.parent
    convert_batch(small)
    results = folder / "small.results.jsonl"
    outputs = batch_files.hashes(folder, "out")
    inodes = {name: (folder / name).stat().st_ino for name in GOOD}
    results.unlink()
    assert counts(convert_batch(small)) == {"failed": 4}  # without --resume they count as somebody else's
    results.unlink()
    (folder / GOOD[0]).write_bytes((folder / GOOD[0]).read_bytes() + b"x")
    summary = convert_batch(small, resume=True)
    assert states(summary) == {BAD: "failed", GOOD[0]: "failed", GOOD[1]: "adopted", GOOD[2]: "adopted"}
    assert "is not what this row converts to" in summary.rows[1]["error"]["text"]
    (folder / GOOD[0]).unlink()
    assert counts(convert_batch(small, resume=True)) == {"converted": 1, "kept": 2, "failed": 1}
    assert batch_files.hashes(folder, "out") == outputs
    assert all((folder / name).stat().st_ino == inodes[name] for name in GOOD[1:])


def test_an_output_with_the_right_crc_and_other_bytes_is_not_adopted(small):
    """A multiple of CRC-32's divisor, added to the file, does not change the CRC."""
    folder = small.parent
    convert_batch(small)
    (folder / "small.results.jsonl").unlink()
    path = folder / GOOD[0]
    data, crc32 = bytearray(path.read_bytes()), batch_files.crc32(path)
    for place, byte in enumerate((0xEDB88320 << 1 | 1).to_bytes(5, "little"), len(data) // 2):
        data[place] ^= byte
    path.write_bytes(data)
    assert batch_files.crc32(path) == crc32
    summary = convert_batch(small, resume=True)
    assert states(summary)[GOOD[0]] == "failed"
    assert "is not what this row converts to" in summary.rows[1]["error"]["text"]


def test_what_is_recorded_of_the_files(small):
    """CRC-32 of both; the SHA-256 of the input where the row gives or asks for it."""
    folder = small.parent
    digest = batch_files.hashes(folder, "vmz")["vmz/ir-csn-26-0.pkl"]
    row = '[[convert]]\ninput = "vmz/ir-csn-26-0.pkl"\nto = "native"\noutput = "{}.pth"\n{}\n'
    small.write_text(
        row.format("bare", "")
        + row.format("given", f'hash = "{digest[:8]}"')
        + row.format("asked", "sha256 = true")
        + row.format("sha1", f'hash = "sha1:{"0" * 40}"')
    )
    bare, given, asked, sha1 = convert_batch(small).rows
    for row in (bare, given, asked):
        name = row["task"]
        assert row["input"]["crc32"] == batch_files.crc32(folder / "vmz" / "ir-csn-26-0.pkl")
        size = (folder / name).stat().st_size
        assert row["output"]["files"] == [[name, size, batch_files.crc32(folder / name)]]
    assert "sha256" not in bare["input"]
    assert given["input"]["sha256"] == asked["input"]["sha256"] == digest
    assert sha1["state"] == "failed"
    pages = {page.name.split(".")[0]: page.read_text() for page in folder.glob("small.report/*.html")}
    assert digest not in pages["bare"]
    assert ">SHA-256<" not in pages["bare"]
    assert digest in pages["given"]
    assert digest in pages["asked"]
    assert all(row["output"]["files"][0][2] in pages[row["task"][:-4]] for row in (bare, given, asked))


def test_hashes_are_compared(small):
    folder = small.parent
    digest = batch_files.hashes(folder, "vmz")["vmz/ir-csn-26-0.pkl"]
    row = '[[convert]]\ninput = "vmz/ir-csn-26-0.pkl"\nto = "native"\noutput = "{}.pth"\nhash = "{}"\n'
    small.write_text(
        row.format("whole", digest)
        + row.format("short", digest[:8].upper())
        + row.format("wrong", "0" * 64)
        + row.format("short-wrong", "0" * 8)
    )
    assert list(states(convert_batch(small)).values()) == ["converted", "converted", "failed", "failed"]
    assert not (folder / "wrong.pth").exists()


def test_a_dry_run_reads_no_tensor(manifest, run_process, monkeypatch):
    before = sorted(manifest.parent.rglob("*"))
    done = run_process("batch", manifest, "--dry-run", "--jobs", 2, "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["counts"]["planned"] == batch_files.ROWS
    assert sorted(manifest.parent.rglob("*")) == before

    read = [0]
    real = SourceFile._fill

    def fill(self, offset, view):
        read[0] += len(view)
        real(self, offset, view)

    monkeypatch.setattr(SourceFile, "_fill", fill)
    for task in tasks_of(load_manifest(manifest)):
        options = {**task.options, "check": True, "verify": True, "strict": True, "sha256": True}
        read[0] = 0
        result = perform(Job(task=task.replace(options=options), tool=__version__, dry_run=True))
        assert result["state"] == "planned"
        size = Path(task.input).stat().st_size if Path(task.input).is_file() else 400_000
        assert read[0] < size / 20


def test_a_row_can_ask_for_a_proof(r2d, tmp_path, monkeypatch):
    """Both networks run; the report says what was compared, and if they differ the output is removed."""
    (tmp_path / "r2d.pkl").hardlink_to(r2d)
    row = '[[convert]]\ninput = "r2d.pkl"\nto = "{}"\noutput = "{}.pth"\nverify = true\n'
    (tmp_path / "zoo.toml").write_text(row.format("vmz-pt", "good"))
    (good,) = convert_batch(tmp_path / "zoo.toml").rows
    assert good["state"] == "converted"
    assert good["checked"], "verifying compares every tensor as well"
    assert good["verification"]["blocks"] > 10
    assert 0 <= good["verification"]["worst"] < 1e-5
    (page,) = (tmp_path / "zoo.report").glob("good*.html")
    assert "✓ verified" in page.read_text()
    assert '<tr class="done verified checked">' in (tmp_path / "zoo.report" / "index.html").read_text()

    (task,) = tasks_of(load_manifest(tmp_path / "zoo.toml"))
    (tmp_path / "good.pth").unlink()
    monkeypatch.setitem(TOLERANCES, "cpu", 0.0)
    result = perform(Job(task=task, tool=__version__))
    assert result["state"] == "failed"
    assert "does not compute what its source does" in result["error"]["text"]
    assert any("FAILED" in line for line in result["error"]["faults"])
    assert not (tmp_path / "good.pth").exists()


def test_a_row_names_its_classes_and_is_published(r2d, tmp_path):
    """Beside the converted file there is a published one; without it the row is done again."""
    (tmp_path / "r2d.pkl").hardlink_to(r2d)
    (tmp_path / "names.txt").write_text("\n".join(f"class {number}" for number in range(400)))
    (tmp_path / "zoo.toml").write_text(
        '[[convert]]\ninput = "r2d.pkl"\nto = "vmz-pt"\noutput = "out.pth"\n'
        'labels = "names.txt"\npublish = "released/here"\nlicense = "MIT"\n'
    )
    (row,) = convert_batch(tmp_path / "zoo.toml").rows
    assert row["state"] == "converted", row
    folder = tmp_path / "released" / "here"
    published = row["published"]
    assert {path.name for path in folder.iterdir()} == {published["file"], published["card"], "SHA256SUMS"}
    assert row["checked"]
    assert published["sha256"] == batch_files.hashes(tmp_path, ".")["out.pth"]
    card = (folder / published["card"]).read_text()
    assert "license: mit" in card
    assert "class 399" in str(inspect(folder / published["file"]).network.input["labels"])
    (page,) = (tmp_path / "zoo.report").glob("out*.html")
    assert published["file"] in page.read_text()

    assert convert_batch(tmp_path / "zoo.toml", resume=True).count("kept") == 1
    (folder / published["card"]).unlink()
    assert convert_batch(tmp_path / "zoo.toml", resume=True).count("converted") == 1
    assert (folder / published["card"]).read_text() == card
    (tmp_path / "names.txt").write_text("\n".join(f"kind {number}" for number in range(400)))
    (row,) = convert_batch(tmp_path / "zoo.toml", resume=True).rows
    assert row["state"] == "converted"
    (tmp_path / "names.txt").unlink()
    (row,) = convert_batch(tmp_path / "zoo.toml", resume=True).rows
    assert "the labels 'names.txt': cannot be opened" in row["error"]["text"]


@pytest.mark.full
def test_memory_is_limited_row_by_row(zoo, tmp_path):
    """A row that needs more than its process may have fails alone: I3D's kernels are reordered in memory."""
    shutil.copytree(zoo / "rgb_imagenet", tmp_path / "rgb")
    shutil.copy(zoo / "vmz" / "ir-csn-26-0.pkl", tmp_path)
    text = '[[convert]]\ninput = "{}"\nto = "native"\noutput = "{}.pth"\n'
    (tmp_path / "zoo.toml").write_text(
        text.format("rgb/model.ckpt", "i3d") + text.format("ir-csn-26-0.pkl", "csn")
    )
    # Where exactly it fails is not defined: perhaps while it imports numpy.
    for memory in (40, 60):
        tight = convert_batch(tmp_path / "zoo.toml", jobs=1, memory=memory)
        assert states(tight) == {"i3d.pth": "failed", "csn.pth": "converted"}
        (tmp_path / "zoo.results.jsonl").unlink()
        (tmp_path / "csn.pth").unlink()
    assert counts(convert_batch(tmp_path / "zoo.toml", memory=2000)) == {"converted": 2}


def test_workers_that_cannot_start_are_no_endless_loop(small, monkeypatch):
    monkeypatch.setattr("converters.batches.pool.PACKAGE", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Exception, match="workers cannot start"):
        convert_batch(small)


def test_a_worker_that_dies_before_its_first_word_costs_nothing(small, monkeypatch):
    """Two are killed as they start, as a kernel without memory would; others replace them."""
    fragile = small.parent / "python"
    fragile.write_text(
        f"""#!/bin/sh
if mkdir {small.parent}/first || mkdir {small.parent}/second; then kill -9 $$; fi 2> /dev/null
exec {sys.executable} "$@"
"""
    )
    fragile.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fragile))
    assert counts(convert_batch(small, jobs=2)) == {"converted": 3, "failed": 1}
    assert (small.parent / "second").is_dir()


def test_what_is_not_ours_stays(small):
    """A user's files in a folder with the scratch folder's name, and a text file with the results' name."""
    folder = small.parent / "small.scratch"
    (folder / "convert-killed").mkdir(parents=True)
    (folder / "mine").write_text("precious")
    convert_batch(small)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    for text in ("notes\nwithout an end", '{"crc32": 1}\n', small.read_text()):
        notes = small.parent / "notes.txt"
        notes.write_text(text)
        with pytest.raises(Refused, match="not a file of results"):
            convert_batch(small, results=notes, resume=True)
        assert notes.read_text() == text


def test_a_pattern_does_not_take_what_its_row_wrote(zoo, tmp_path):
    """All in one folder, whose name looks like a pattern."""
    folder = tmp_path / "zoo [2026]*"
    folder.mkdir()
    convert(zoo / "vmz" / "ir-csn-26-0.pkl", folder / "a.pth", source="vmz", to="native")
    manifest = folder / "m.toml"
    manifest.write_text('[[convert]]\ninput = "*.pth"\nto = "vmz-pt"\noutput = "{stem}.vmz.pth"\n')
    assert states(convert_batch(manifest)) == {"a.vmz.pth": "converted"}
    assert states(convert_batch(manifest, resume=True)) == {"a.vmz.pth": "kept"}
    manifest.write_text(manifest.read_text().replace("*.pth", "a.vmz.pth") * 2)
    with pytest.raises(UsageError, match="two conversions write"):
        convert_batch(manifest, resume=True)
    manifest.write_text('[[convert]]\ninput = "*.pth"\nto = "vmz-pt"\noutput = "{stem}.pth"\n')
    with pytest.raises(UsageError, match="is both an output and an input"):
        convert_batch(manifest, resume=True)


def test_what_a_kill_leaves_beside_an_output_goes(small):
    """After a file is linked but before its temporary name is removed, and between a checkpoint's two files."""
    folder = small.parent
    convert_batch(small)
    dead = [folder / "out" / f".{Path(name).name}.{2**22 + 1}-{'0' * 16}.partial" for name in GOOD[:2]]
    for path in dead:
        path.touch()
    results = folder / "small.results.jsonl"
    rows = [row for row in lines_of(results) if row["task"] != GOOD[0]]
    results.write_bytes(b"".join(map(dump_line, rows)))
    again = states(convert_batch(small, resume=True))
    assert (again[GOOD[0]], again[GOOD[1]]) == ("adopted", "kept")
    assert not any(path.exists() for path in dead)


def test_a_checkpoint_whose_first_file_alone_is_there(zoo, tmp_path):
    text = f'[[convert]]\ninput = "{zoo}/rgb_imagenet/model.ckpt"\nto = "i3d"\noutput = "out/model.ckpt"\n'
    (tmp_path / "zoo.toml").write_text(text)
    assert counts(convert_batch(tmp_path / "zoo.toml")) == {"converted": 1}
    made = batch_files.hashes(tmp_path, "out")
    assert len(made) == 2
    (tmp_path / "out" / "model.ckpt.index").unlink()
    (tmp_path / "zoo.results.jsonl").unlink()
    assert counts(convert_batch(tmp_path / "zoo.toml", resume=True)) == {"converted": 1}
    assert batch_files.hashes(tmp_path, "out") == made
    # Somebody else's data remain.
    (tmp_path / "out" / "model.ckpt.index").unlink()
    (tmp_path / "zoo.results.jsonl").unlink()
    (tmp_path / "out" / "model.ckpt.data-00000-of-00001").write_bytes(b"other")
    assert counts(convert_batch(tmp_path / "zoo.toml", resume=True)) == {"failed": 1}
    assert (tmp_path / "out" / "model.ckpt.data-00000-of-00001").read_bytes() == b"other"


@pytest.mark.full
def test_a_full_disk_leaves_an_error_and_is_resumed(zoo, tmp_path, expected):
    """On a small file system in a namespace of its own, too small for all outputs."""
    (tmp_path / "disk").mkdir()
    script = f"""
set -e
mount -t tmpfs -o size=40m tmpfs {tmp_path}/disk
cp -r {zoo}/vmz {tmp_path}/disk/
cat > {tmp_path}/disk/zoo.toml <<'END'
[[convert]]
source = "vmz"
input = "vmz/*.pkl"
to = ["vmz-pt", "native", "mmaction"]
output = "half/{{stem}}.{{to}}.pth"
dtype = "float16"
END
cd {tmp_path}/disk
set +e
{sys.executable} -m converters batch zoo.toml --jobs 2 --quiet
echo code $?
df . | tail -1
mount -o remount,size=300m {tmp_path}/disk
{sys.executable} -m converters batch zoo.toml --jobs 2 --resume --json > {tmp_path}/second.json
echo code $?
cp -r half zoo.results.jsonl {tmp_path}
"""
    allowed = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", tmp_path / "disk"],
        check=False,
        capture_output=True,
        timeout=60,
    )
    if allowed.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 1", "code 0"], (
        done.stderr
    )
    rows = lines_of(tmp_path / "zoo.results.jsonl")
    failed = [row for row in rows if row["state"] == "failed"]
    first = [row for row in rows[: len(rows) - len(failed)] if row["state"] == "converted"]
    assert failed, "the disk was not too small"
    assert first
    assert all("the disk is full" in row["error"]["text"] for row in failed)
    report = json.loads((tmp_path / "second.json").read_text())
    assert report["counts"]["kept"] + report["counts"]["converted"] == 12
    assert report["counts"]["kept"] >= 1
    found = batch_files.hashes(tmp_path, "half")
    assert found == {name: digest for name, digest in expected.items() if name.startswith("half/")}


def test_results_that_cannot_be_written_end_it_and_are_resumed(small, monkeypatch):
    """There is room for the outputs, but not for the third line of the results, whose beginning is cut off."""
    real, written = os.write, []

    def write(fd, data):
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".results.jsonl"):
            written.append(len(data))
            if len(written) == 3:
                return real(fd, bytes(data)[:10])
            if len(written) == 4:
                raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr("converters.batches.results.os.write", write)
    with pytest.raises(Refused, match="disk is full"):
        convert_batch(small, jobs=1)
    monkeypatch.undo()
    rows = lines_of(small.parent / "small.results.jsonl")
    assert [row["state"] for row in rows] == ["failed", "converted"]
    assert counts(convert_batch(small, resume=True)) in (
        {"kept": 1, "adopted": 1, "converted": 1, "failed": 1},
        {"kept": 1, "adopted": 2, "failed": 1},
    )


FAILED = {
    "task": "",
    "spec": "",
    "tool": "",
    "seconds": 0,
    "state": "failed",
    "error": {"text": "", "faults": []},
}
DONE = {
    **FAILED,
    "state": "converted",
    "input": {"crc32": "", "size": 1, "version": ""},
    "output": {"files": [["a", 1, ""]], "version": ""},
    "mapping": {"source": "", "target": "", "network": "", "sha256": ""},
    "bytes": 1,
    "notes": [],
    "text": "",
    "network": "",
    "classes": 2,
    "verification": {"text": "", "blocks": 1, "worst": None},
}


@pytest.mark.parametrize("row", [FAILED, DONE])
def test_wrong_fields_with_a_right_checksum_are_no_result(row):
    assert parse_line(dump_line(row)) == row
    needed = row.keys() - {"network", "classes", "verification"} - ({"error"} if row is DONE else set())
    for name in needed:
        assert parse_line(dump_line({key: value for key, value in row.items() if key != name})) is None
        for value in (None, {}, [[]], -1, 1e300, True):
            assert parse_line(dump_line({**row, name: value})) is None, (name, value)
    for wrong in ([], None, "x", {**row, "state": "kept"}, {**row, "state": []}):
        assert parse_line(dump_line(wrong)) is None


def test_a_torn_or_damaged_line_is_no_result(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    with Results(str(path)) as results:
        for number in range(3):
            results.append({**FAILED, "task": str(number)})
    whole = path.read_bytes()
    monkeypatch.setattr("converters.batches.results.os.fsync", lambda _: None)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Results(str(path)) as results:
            assert results.damaged == 0
            assert list(results.rows) == [str(n) for n in range(whole[:cut].count(b"\n"))]
            assert path.read_bytes() == whole[: whole[:cut].rfind(b"\n") + 1]
            results.append({**FAILED, "task": "new"})
        with Results(str(path)) as results:
            assert "new" in results.rows
    line = len(whole) // 3
    for place in range(line, 2 * line - 1):
        path.write_bytes(whole[:place] + bytes((whole[place] ^ 0x04,)) + whole[place + 1 :])
        with Results(str(path)) as results:
            assert results.damaged == 1
            assert list(results.rows) == ["0", "2"]


def test_a_failure_does_not_undo_what_was_done(small):
    """A worker dies while it checks a finished row; the row's input is missing for a while."""
    convert_batch(small)
    results = small.parent / "small.results.jsonl"
    good = {row["task"]: row for row in lines_of(results)}
    with results.open("ab") as file:
        file.write(dump_line({**good[BAD], "task": GOOD[0]}))
    assert states(convert_batch(small, resume=True))[GOOD[0]] == "kept"
    source = small.parent / "vmz" / "ip-csn-26-2.pkl"
    source.rename(small.parent / "away")
    small.write_text(small.read_text().replace("vmz/i?-csn-26-[012].pkl", "vmz/ip-csn-26-2.pkl"))
    assert states(convert_batch(small, resume=True)) == {GOOD[0]: "failed"}
    (small.parent / "away").rename(source)
    assert states(convert_batch(small, resume=True)) == {GOOD[0]: "kept"}
    assert [row for row in lines_of(results) if row["state"] != "failed" and row["task"] == GOOD[0]] == [
        good[GOOD[0]]
    ]


def test_two_batches_on_one_results_file_are_refused(small, monkeypatch):
    monkeypatch.setattr("converters.batches.results.PATIENCE", 0.2)
    with (small.parent / "small.results.jsonl").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another batch is using this file"):
            convert_batch(small)
    assert not (small.parent / "out").exists()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers in /proc")
def test_an_interrupt_ends_the_workers(manifest):
    """Both are in the middle of a row that would take long."""
    folder = manifest.parent
    (folder / "at-work").mkdir()
    body = f"""
def perform(job, progress):
    os.mkdir("{folder}/at-work/" + str(os.getpid()))
    time.sleep(600)
"""
    code = "import sys\nfrom converters.cli.main import main;sys.executable = sys.argv[1];sys.exit(main(sys.argv[2:]))"
    words = [sys.executable, "-c", code, spoilt(folder, body), "batch", manifest, "--jobs", "2", "--quiet"]
    with open(folder / "told", "w") as told:
        process = start(*words, whole=True, stderr=told)
    wait_for(process, lambda _: len(list((folder / "at-work").iterdir())) == 2, 60)
    workers = [int(path.name) for path in (folder / "at-work").iterdir()]
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished rows are recorded: --resume continues from there" in (folder / "told").read_text()
    assert not any(map(alive, workers))
    assert not (folder / "zoo.scratch").exists()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_a_terminal_gets_a_display_that_is_gone_at_the_end(small):
    master, slave = os.openpty()
    process = subprocess.Popen(
        command(small, "--jobs", 2),
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # how a terminal reports that it was closed
        while piece := os.read(master, 65536):
            seen += piece
    os.close(master)
    assert process.wait(60) == 1
    # Each row is drawn when it starts; which others still run at that time depends on the machine.
    assert re.search(rb"\] out/i[pr]-csn-26-[012]\.pth\r\n", seen)
    left = seen[seen.rindex(b"\x1b[J") + 3 :].decode()
    assert "#" not in left


def test_the_display_shows_each_file_and_all(small, monkeypatch):
    out = io.StringIO()
    display = Display(out)
    tasks = tasks_of(load_manifest(small))
    display.begin(tasks, [100_000_000, 50_000_000, 0, 0])
    clock = [display._started + 10]
    monkeypatch.setattr("converters.batches.progress.monotonic", lambda: clock[0])
    job = Job(task=tasks[0], tool=__version__)
    display.event(Event("started", job))
    display.event(Event("progress", job, (1, 1000, "")))
    assert "left" not in display.lines(100)[-1], "the first bytes tell nothing of the time"
    display.event(Event("progress", job, (1, 4, "")))
    assert display.lines(100) == [
        f"[######..................] {tasks[0].name}",
        "[####....................] 0 of 4 rows, 25.0 MB of 150.0 MB, 0:50 left",
    ]
    clock[0] += 1
    display.event(Event("tick"))
    assert out.getvalue().endswith(" left\n")
    done = {"task": tasks[0].name, "state": "failed", "seconds": 1, "error": {"text": "bad\x1b[2J"}}
    display.event(Event("result", job, done))
    redrawn = "\r\x1b[2A\x1b[J"
    assert redrawn in out.getvalue()
    assert "\x1b[2J" not in out.getvalue().replace(redrawn, "")
    assert display.lines(40)[-1].startswith("[################........] ...")
    display.end()

    # If all inputs are remote no size is known in advance, and the estimate is by rows.
    remote = Display(io.StringIO())
    remote.begin(tasks, [0] * 4)
    remote.event(Event("progress", job, (2_000_000, 8_000_000, "")))
    remote.event(Event("result", job, done))
    clock[0] = remote._started + 10
    assert remote.lines(100) == ["[######..................] 1 of 4 rows, 2.0 MB, 0:30 left"]

    # While a copy is verified its bytes are not counted: that takes longer than copying.
    verified = Display(io.StringIO())
    verified.begin(tasks, [100_000_000, 50_000_000, 0, 0])
    verified.event(Event("started", job))
    verified.event(Event("progress", job, (1, 1, "block 2 of 54, layer1")))
    assert verified.lines(100) == [
        f"[########################] {tasks[0].name}: block 2 of 54, layer1",
        "[........................] 0 of 4 rows, 0 bytes of 150.0 MB",
    ]

    plain = Lines(out := io.StringIO())
    plain.begin(tasks, [0] * 4)
    plain.event(Event("result", job, {**done, "state": "converted", "network": "X", "bytes": 5_000_000}))
    assert out.getvalue() == f"[1/4] converted {tasks[0].name}: X, 5.0 MB, 1.00 s\n"


def test_no_page_stays_of_a_row_that_is_gone(r2d, tmp_path):
    (tmp_path / "r2d.pkl").hardlink_to(r2d)
    row = '[[convert]]\ninput = "r2d.pkl"\nto = "vmz-pt"\noutput = "{}.pth"\n'
    report = tmp_path / "zoo.report"
    for names in ("ab", "b"):
        (tmp_path / "zoo.toml").write_text("".join(map(row.format, names)))
        assert convert_batch(tmp_path / "zoo.toml", resume=True).ok
        if names == "ab":
            (report / "mine.html").write_text("somebody else's")
    assert {path.name[:2] for path in report.iterdir()} == {"b.", "in", "mi"}
    page = next(report.glob("b.pth-*.html")).read_text()
    assert "r2d.pkl" in page
    assert str(tmp_path) not in page


def test_a_name_cannot_put_markup_into_a_report(zoo, tmp_path):
    name = "<script>alert(1)<|script>&.pkl"
    shutil.copy(zoo / "vmz" / "ir-csn-26-0.pkl", tmp_path / name)
    (tmp_path / "zoo.toml").write_text(
        '[[convert]]\ninput = "*.pkl"\nto = "native"\noutput = "out/{stem}.pth"\n'
    )
    convert_batch(tmp_path / "zoo.toml")
    pages = list((tmp_path / "zoo.report").iterdir())
    assert len(pages) == 2
    assert not any("<script" in page.read_text() for page in pages)


def test_usage(run_process, small):
    assert run_process("batch").returncode == 2
    assert run_process("batch", small, "--jobs", 0).returncode == 2
    assert run_process("batch", small, "--memory", -1).returncode == 2
    assert run_process("batch", small, "--results", "/nowhere/x").returncode == 1
