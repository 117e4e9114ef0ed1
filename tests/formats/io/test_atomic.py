"""An output is there whole or not at all, whatever stops the run."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import pytest

from converters.errors import Refused
from converters.files import CHUNK
from converters.formats.io.atomic import refuse_output, remove_dead, replacing, replacing_all, same_file
from converters.formats.io.crc32 import crc32_function
from converters.formats.io.output_stream import GATHER, Output
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY


def partials(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".partial"))


def python(code: str, *args: object, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def write(path: Path, content: bytes, then=lambda: None, **options) -> None:
    with replacing(path, **options) as out:
        out.write(content)
        then()


# --- what a good run leaves


def test_the_file_appears_at_the_end_only(tmp_path):
    target = tmp_path / "out.pth"
    with replacing(target) as out:
        out.write(b"a" * 10)
        out.flush()
        (name,) = os.listdir(tmp_path)
        assert name.startswith(f".out.pth.{os.getpid()}-")
        assert name.endswith(".partial")
    assert os.listdir(tmp_path) == ["out.pth"]
    assert target.read_bytes() == b"a" * 10


def test_a_name_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("out.pth", b"x")
    write("out.pth", b"y", force=True)
    assert os.listdir() == ["out.pth"]
    assert Path("out.pth").read_bytes() == b"y"


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 125])
def test_a_long_name(tmp_path, name):
    write(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]


def test_permissions_follow_the_umask_and_an_old_file_keeps_its_own(tmp_path):
    target = tmp_path / "out.pth"
    before = os.umask(0o027)
    try:
        write(target, b"x")
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        target.chmod(0o604)
        write(target, b"y", force=True)
        assert stat.S_IMODE(target.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_check_sees_the_whole_file_before_it_has_its_name(tmp_path):
    target = tmp_path / "out.pth"
    seen = []

    def check(name):
        seen.append((os.path.exists(target), Path(name).read_bytes()))

    write(target, b"whole", check=check)
    assert seen == [(False, b"whole")]


def test_a_link_is_replaced_and_not_what_it_points_to(tmp_path):
    (tmp_path / "input").write_bytes(b"input")
    (tmp_path / "out").symlink_to("input")
    write(tmp_path / "out", b"new", force=True)
    assert (tmp_path / "input").read_bytes() == b"input"
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "out").read_bytes() == b"new"


# --- what a failed run leaves


class StopError(Exception):
    pass


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("place", ["block", "check"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_any_exception_leaves_the_old_state(tmp_path, error, place, old):
    target = tmp_path / "out.pth"
    if old is not None:
        target.write_bytes(old)
    before = sorted(os.listdir(tmp_path))

    def fail(*_):
        raise error

    with pytest.raises(error):
        write(target, b"x" * 300_000, force=True, **{"then" if place == "block" else "check": fail})
    assert sorted(os.listdir(tmp_path)) == before
    assert old is None or target.read_bytes() == old


@pytest.mark.parametrize("call", ["replace", "link", "fsync"])
def test_a_failing_system_call_leaves_the_old_state(tmp_path, monkeypatch, call):
    target = tmp_path / "out.pth"
    force = call != "link"
    if force:
        target.write_bytes(b"old")

    def fail(*_, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(Refused, match="cannot be written: input/output error"):
        write(target, b"new", force=force)
    assert os.listdir(tmp_path) == (["out.pth"] if force else [])
    assert not force or target.read_bytes() == b"old"


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def fail(*_, **options):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    write(tmp_path / "out", b"new")
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(Refused, match="exists"):
        write(tmp_path / "other", b"mine", lambda: (tmp_path / "other").write_bytes(b"theirs"))
    assert sorted(os.listdir(tmp_path)) == ["other", "out"]
    assert (tmp_path / "other").read_bytes() == b"theirs"


# --- what is refused


def test_an_existing_output_is_refused_before_the_work_and_at_the_rename(tmp_path):
    target = tmp_path / "out.pth"
    with pytest.raises(Refused, match="force=True") as refused:
        write(target, b"mine", lambda: target.write_bytes(b"theirs"))
    assert refused.value.exit_code == 1
    with pytest.raises(Refused, match=r"exists already: force=True replaces it"), replacing(target):
        pytest.fail("the block must not run")
    assert os.listdir(tmp_path) == ["out.pth"]
    assert target.read_bytes() == b"theirs"
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(Refused, match="exists"):
        refuse_output(tmp_path / "dangling")


def test_folders_devices_and_missing_folders_are_refused(tmp_path):
    for path in (tmp_path, f"{tmp_path}/", f"{tmp_path}/missing/", "."):
        with pytest.raises(Refused, match="is a folder"):
            refuse_output(path, force=True)
    with pytest.raises(Refused, match=r"there is no folder .*missing: make it first"):
        write(tmp_path / "missing" / "out", b"")
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/null", tmp_path / "fifo"):
        with pytest.raises(Refused, match="not a regular file"):
            write(path, b"", force=True)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


DENIED = """
import os, sys
import converters.formats.io.atomic as atomic
if os.getuid() == 0:
    os.setuid(65534)
for early in (True, False):
    if not early:
        atomic.refuse_output = lambda *_, **__: None
    try:
        with atomic.replacing(sys.argv[1]) as out:
            print("written")
    except atomic.Refused as refused:
        print(refused)
"""


def test_a_folder_that_cannot_be_written_to():
    with tempfile.TemporaryDirectory() as folder:  # where another user can look in, unlike tmp_path
        os.chmod(folder, 0o555)
        out, err = python(DENIED, f"{folder}/out").communicate(timeout=60)
    assert out.count("cannot be written to (permission denied): write to another folder") == 2, out + err


def test_same_file(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "soft").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    (tmp_path / "b").write_bytes(b"")
    assert same_file(tmp_path / "a", f"{tmp_path}/./a")
    assert same_file(tmp_path / "a", tmp_path / "soft")
    assert same_file(tmp_path / "hard", tmp_path / "a")
    assert not same_file(tmp_path / "a", tmp_path / "b")
    assert not same_file(tmp_path / "a", tmp_path / "missing")


FILL = """
import sys
from converters.errors import Refused
from converters.formats.io.atomic import replacing
try:
    with replacing(sys.argv[1]) as out:
        for _ in range(64):
            out.write(bytes(100_000))
except Refused as refused:
    print(refused)
    sys.exit(refused.exit_code)
"""


def test_a_full_disk(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted: {mounted.stderr.strip()}")
    try:
        process = python(FILL, tmp_path / "out")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (1, "")
        assert "the disk is full: make room in" in out
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_limit_on_the_file_size(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    process = python(FILL, tmp_path / "out", preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert "larger than the file system or a limit (ulimit -f) allows" in out
    assert os.listdir(tmp_path) == []


# --- killed, interrupted, and together

HOLD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from converters.formats.io.atomic import replacing
with replacing(sys.argv[1], force="force" in sys.argv) as out:
    out.write(b"held" * 100_000)
    out.flush()
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_interrupt_removes_the_temporary_file(tmp_path):
    process = python(HOLD, tmp_path / "out")
    assert process.stdout.readline() == "ready\n"
    assert len(partials(tmp_path)) == 1
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert os.listdir(tmp_path) == []


def test_the_next_run_removes_dead_files_of_its_own_output_only(tmp_path):
    process = python(HOLD, tmp_path / "out")
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=60)
    (dead,) = partials(tmp_path)
    assert not (tmp_path / "out").exists()
    others = [".out.txt.1-0123456789abcdef.partial", ".out.1-x.partial", "out.1-0123456789abcdef.partial"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    os.mkfifo(tmp_path / ".out.2-0123456789abcdef.partial")
    write(tmp_path / "other", b"x")
    assert dead in partials(tmp_path)
    write(tmp_path / "out", b"x")
    assert partials(tmp_path) == sorted([*others, ".out.2-0123456789abcdef.partial"])


@pytest.mark.parametrize("force", [False, True])
def test_two_live_runs_to_one_output(tmp_path, force):
    target = tmp_path / "out"
    first = python(HOLD, target, *(["force"] if force else []))
    assert first.stdout.readline() == "ready\n"
    live = partials(tmp_path)
    write(target, b"second")
    assert target.read_bytes() == b"second"
    assert partials(tmp_path) == live
    _, err = first.communicate("go\n", timeout=60)
    assert os.listdir(tmp_path) == ["out"]
    if force:
        assert first.returncode == 0, err
        assert target.read_bytes() == b"held" * 100_000
    else:
        assert "the output exists already" in err
        assert target.read_bytes() == b"second"


def test_no_live_file_is_ever_taken_for_dead(tmp_path):
    """Locks belong to open files, so threads stand for processes here: some write, some sweep."""
    target = tmp_path / "out"
    end = time.monotonic() + 1.5
    errors: list[BaseException] = []
    rounds = []

    def run(work):
        try:
            count = 0
            while time.monotonic() < end:
                work()
                count += 1
            rounds.append(count)
        except BaseException as error:
            errors.append(error)

    def writer():
        mark = os.urandom(8) * 1000
        with replacing(target, force=True) as out:
            out.write(mark)

    works = [writer, writer, writer, lambda: remove_dead(target), lambda: remove_dead(target)]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert min(rounds) > 10
    content = target.read_bytes()
    assert content == content[:8] * 1000
    assert os.listdir(tmp_path) == ["out"]


KILLED_AT = """
import json, os, shutil, sys
from converters.formats.io.atomic import remove_dead, replacing_all
folder, names, force = sys.argv[1], sys.argv[2].split(), sys.argv[3] == "force"
paths = [os.path.join(folder, name) for name in names]
calls = ["open", "mkdir", "writev", "write", "fsync", "fchmod", "link", "unlink", "rmdir", "replace", "close"]
content = b"new" * 200_000
seen, after = [], []

def child(at):
    count = 0
    def patched(real):
        def call(*args, **kwargs):
            nonlocal count
            if count == at:
                os._exit(9)
            count += 1
            return real(*args, **kwargs)
        return call
    for name in calls:
        setattr(os, name, patched(getattr(os, name)))
    with replacing_all(paths, force=force) as outputs:
        for out in outputs:
            out.write(content[:1000])
            out.write(content[1000:])
    os._exit(0)

def state(path):
    found = open(path, "rb").read() if os.path.exists(path) else None
    return {None: "none", b"old": "old", content: "whole"}.get(found, "half")

for at in range(200):
    if force:
        for path in paths:
            with open(path, "wb") as file:
                file.write(b"old")
    pid = os.fork()
    if pid == 0:
        child(at)
    killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    left = len([name for name in os.listdir(folder) if name.endswith(".partial")])
    seen.append([killed, [state(path) for path in paths], left])
    # What the next run does first, every other time.
    if at % 2:
        remove_dead(paths[-1])
        after.append([state(path) for path in paths])
    for path in paths:
        if not force and os.path.exists(path):
            os.unlink(path)
    if not killed:
        break
json.dump([seen, after, os.listdir(folder)], sys.stdout)
"""


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("names", ["out", "x.data x.index"])
def test_killed_before_each_system_call(tmp_path, names, force):
    process = python(KILLED_AT, tmp_path, names, "force" if force else "no")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    seen, after, left = json.loads(out)
    assert len(seen) > 6
    if names == "out":
        assert {state for _, (state,), _ in seen} == {"old" if force else "none", "whole"}
    else:  # the index is never beside data of another run
        assert {(data, index) for _, (data, index), _ in seen if index != "none"} == (
            {("old", "old"), ("whole", "whole")} if force else {("whole", "whole")}
        )
        assert not any("half" in states for _, states, _ in seen)
        if force:  # of the two sets one is whole again
            assert {*map(tuple, after)} == {("old", "old"), ("whole", "whole")}
    assert max(count for _, _, count in seen) == 1, "each run removed what the one before it had left"
    assert seen[-1] == [False, ["whole"] * len(names.split()), 0]
    assert sorted(left) == (names.split() if force else [])


KILLED = """
import sys
from converters.formats.io.atomic import replacing
print("ready", flush=True)
while True:
    with replacing(sys.argv[1], force=True) as out:
        for _ in range(40):
            out.write(b"new!" * 25_000)
"""


def test_killed_at_random_moments(tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    chance = random.Random(1)
    left = 0
    for _ in range(12):
        process = python(KILLED, target)
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.communicate(timeout=60)
        assert target.read_bytes() in (b"old", b"new!" * 1_000_000)
        left = max(left, len(partials(tmp_path)))
        assert len(partials(tmp_path)) <= 1
    assert left == 1, "no run was killed while it wrote"
    write(target, b"last", force=True)
    assert os.listdir(tmp_path) == ["out"]


# --- the writing itself


def test_pieces_of_all_sizes_arrive_in_order(tmp_path):
    chance = random.Random(2)
    pieces = [
        chance.randbytes(size)
        for size in (0, 1, 5, GATHER - 1, GATHER, 3, CHUNK, CHUNK + 1, 7, 2, GATHER, *[GATHER - 1] * 20, 1)
    ]
    buffer = bytearray(CHUNK + 1)
    with replacing(tmp_path / "out") as out:
        for piece in pieces:
            view = memoryview(buffer)[: len(piece)]
            view[:] = piece
            out.write(view)
            view[:] = bytes(len(piece))  # a view is not kept
        assert out.position == sum(map(len, pieces))
        out.rewrite(1, b"XYZ")
        out.write(b"end")
        with pytest.raises(ValueError, match="only"):
            out.rewrite(out.position - 2, b"XYZ")
    whole = b"".join(pieces)
    assert (tmp_path / "out").read_bytes() == whole[:1] + b"XYZ" + whole[4:] + b"end"


@pytest.mark.parametrize("most", [1, 100, 40_000])
def test_short_writes_are_continued(tmp_path, monkeypatch, most):
    real = os.write

    def short(fd, data):
        return real(fd, memoryview(data)[:most])

    def shortv(fd, pieces):
        return real(fd, b"".join(pieces)[:most])

    content = random.Random(3).randbytes(GATHER + 1000)
    with open(tmp_path / "out", "wb") as file:
        monkeypatch.setattr(os, "write", short)
        monkeypatch.setattr(os, "writev", shortv)
        out = Output(file.fileno(), "out")
        for piece in (content[:500], content[500:-10], content[-10:]):
            out.write(piece)
        out.flush()
        monkeypatch.undo()
    assert (tmp_path / "out").read_bytes() == content


def test_both_crc_functions_agree(monkeypatch):
    data = random.Random(4).randbytes(100_003)
    assert crc32_function()(memoryview(data)[3:], crc32_function()(data[:3], 0)) == zlib.crc32(data)
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    assert crc32_function() is zlib.crc32


SET = ["x.data", "x.index"]


def write_set(folder: Path, content: bytes, then=lambda: None, **options) -> None:
    with replacing_all([str(folder / name) for name in SET], **options) as outputs:
        for out in outputs:
            out.write(content)
        then()


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def test_a_set_of_files_is_checked_by_the_name_of_the_last(tmp_path):
    seen = []

    def check(name):
        assert contents(Path(name).parent) == dict.fromkeys(SET, b"new")
        assert not any((tmp_path / name).exists() for name in SET)
        seen.append(os.path.basename(name))

    write_set(tmp_path, b"new", check=check)
    assert seen == SET[-1:]
    assert contents(tmp_path) == dict.fromkeys(SET, b"new")


@pytest.mark.parametrize("place", ["then", "check"])
@pytest.mark.parametrize("old", [{}, dict.fromkeys(SET, b"old"), {"x.data": b"old"}], ids=len)
def test_a_set_of_files_that_fails_leaves_the_old_state(tmp_path, place, old):
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)

    def fail(*_):
        raise Refused("differs")

    with pytest.raises(Refused, match="differs"):
        write_set(tmp_path, b"new", force=True, **{place: fail})
    assert contents(tmp_path) == old


@pytest.mark.parametrize("old", [{}, dict.fromkeys(SET, b"old"), {"x.data": b"old"}], ids=len)
@pytest.mark.parametrize("failing", range(4))
def test_a_set_whose_names_cannot_all_be_given_leaves_the_old_state(tmp_path, monkeypatch, failing, old):
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    calls = []
    real = os.replace

    def replace(*arguments, **options):
        calls.append(arguments)
        if len(calls) == failing + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **options)

    monkeypatch.setattr(os, "replace", replace)
    if failing >= len(old) + len(SET):
        write_set(tmp_path, b"new", force=True)
        assert contents(tmp_path) == dict.fromkeys(SET, b"new")
        return
    with pytest.raises(Refused, match="input/output error"):
        write_set(tmp_path, b"new", force=True)
    assert contents(tmp_path) == old


def test_a_set_of_which_one_has_appeared_meanwhile(tmp_path):
    for name in SET:
        with pytest.raises(Refused, match="exists already"):
            write_set(tmp_path, b"new", lambda name=name: (tmp_path / name).write_bytes(b"theirs"))
        assert contents(tmp_path) == {name: b"theirs"}
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "writer", [write_set, lambda folder, *rest, **options: write(folder / "x", *rest, **options)]
)
def test_a_folder_that_is_renamed_meanwhile_keeps_no_partial_file(tmp_path, writer):
    folder = tmp_path / "folder"
    folder.mkdir()

    def rename():
        folder.rename(tmp_path / "moved")

    def fail(*_):
        rename()
        raise Refused("differs")

    with pytest.raises(Refused, match="differs"):
        writer(folder, b"new", check=fail)
    assert os.listdir(tmp_path / "moved") == []
    (tmp_path / "moved").rename(folder)
    writer(folder, b"new", rename)
    assert partials(tmp_path / "moved") == []
    assert set(contents(tmp_path / "moved").values()) == {b"new"}


@pytest.mark.parametrize("there", [[], SET[:1], SET])
def test_a_dead_run_of_a_set_is_removed_by_the_next(tmp_path, there):
    """With what it had replaced, unless its own set is whole; if not, that comes back."""
    dead = tmp_path / ".x.index.1-0123456789abcdef.partial"
    dead.mkdir()
    for name in SET:
        (dead / f"~{name}").write_bytes(b"old")
        (tmp_path / name if name in there else dead / name).write_bytes(b"dead")
    what = "the output exists already"
    if there != SET:
        what += ", restored after a run that was killed while replacing it"
    with pytest.raises(Refused, match=what):
        write_set(tmp_path, b"new")
    assert contents(tmp_path) == dict.fromkeys(SET, b"dead" if there == SET else b"old")
    write_set(tmp_path, b"new", force=True)
    assert contents(tmp_path) == dict.fromkeys(SET, b"new")
