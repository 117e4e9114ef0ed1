"""The process that reads HDF5: what it does not answer, or answers wrongly, is an error of the file."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.cli.main import main
from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.hdf5 import library
from converters.formats.hdf5.reader import read_hdf5

if TYPE_CHECKING:
    from pathlib import Path

h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")

ROW = '{"path":"w","dtype":"float32","shape":[4],%s}'
REST = '"others":[],"empty":[],"groups":[],"attributes":[]'
ANSWERS = {
    "no message": "b'no message at all, of sixteen bytes and more'",
    "too long": "struct.pack('<QQ', 1 << 40, 0)",
    "too long a body": "struct.pack('<QQ', 2, 1 << 40) + b'{}'",
    "no JSON": "told('{')",
    "nested": "told('[' * 200_000)",
    "another kind": "told('[1]')",
    "neither": "told('{}')",
    "error without words": "told('{\"error\":[1,2,3]}')",
    "beyond the file": "told('{\"read\":[0,1000000000]}')",
    "negative": "told('{\"read\":[-1,2]}')",
    "without end": "told('{\"read\":[0,1000]}', 2)",
    "no rows": "told('{\"answer\":{}}')",
    "a list": "told('{\"answer\":[]}')",
    "dtype": f"""told('{{"answer":{{"tensors":[{ROW.replace("float32", "object") % '"offset":0'}],{REST}}}}}')""",
    "offset": f"""told('{{"answer":{{"tensors":[{ROW % '"offset":-8'}],{REST}}}}}')""",
    "chunk": f"""told('{{"answer":{{"tensors":[{ROW % '"chunk":[0]'}],{REST}}}}}')""",
    "axes": f"""told('{{"answer":{{"tensors":[{ROW % '"chunk":[1,1]'}],{REST}}}}}')""",
}
STAND_IN = """
import struct, sys
def told(text, times=1):
    text = text.encode()
    return (struct.pack("<QQ", len(text), 0) + text) * times
sys.stdout.buffer.write({})
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One contiguous dataset, one that is packed."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = np.arange(4, dtype="f4")
        file.create_dataset("w", data=np.arange(3000, dtype="f4"), chunks=(1000,), compression="gzip")
    return tmp_path / "a.h5"


def stand_in(monkeypatch, code: str) -> None:
    """Another process in place of the one that reads."""
    monkeypatch.setattr(library, "COMMAND", ("-I", "-S", "-c", code))


@pytest.mark.parametrize("case", ANSWERS)
def test_nonsense_is_refused(case: str, path: Path, monkeypatch) -> None:
    stand_in(monkeypatch, STAND_IN.format(ANSWERS[case]))
    monkeypatch.setattr(library, "_READ", 1500)
    monkeypatch.setattr(library, "_READ_RATIO", 0)
    with SourceFile(path) as file, pytest.raises(BadInput, match="made libhdf5 answer nonsense"):
        read_hdf5(file)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise SystemExit(7)", "exit code 7"),
        ("import os; os.read(0, 9); os.write(1, b'half of'); os.abort()", "SIGABRT"),
    ],
)
def test_a_crash_is_exit_code_3(code: str, how: str, path: Path, monkeypatch, capsys) -> None:
    if sys.platform == "win32" and how.startswith("SIG"):
        pytest.skip("there are no signals")
    stand_in(monkeypatch, code)
    assert main(["inspect", str(path)]) == 3
    told = capsys.readouterr().err
    assert f"{path}: made libhdf5 fail ({how})\nhint: the file is damaged" in told
    assert "Traceback" not in told


@needs_posix
@pytest.mark.parametrize(
    "code", ["import time; time.sleep(60)", STAND_IN.format("told('{\"read\":[0,1]}', 2)")]
)
def test_silence_ends(code: str, path: Path, monkeypatch) -> None:
    """Also of a process that asks, and does not read what it is given."""
    stand_in(monkeypatch, code)
    monkeypatch.setattr(library, "_SECONDS", 0.3)
    with SourceFile(path) as file, pytest.raises(BadInput, match="took libhdf5 more than"):
        read_hdf5(file)


@needs_posix
def test_one_that_reads_nothing_stops_nobody(path: Path, monkeypatch) -> None:
    code = "import struct,sys,time\nt=b'{\"read\":[0,2000]}'\n"
    code += "sys.stdout.buffer.write((struct.pack('<QQ', len(t), 0) + t) * 400)\nsys.stdout.flush()\ntime.sleep(60)"
    stand_in(monkeypatch, code)
    monkeypatch.setattr(library, "_SECONDS", 0.5)
    with SourceFile(path) as file, pytest.raises(BadInput, match="took libhdf5 more than"):
        read_hdf5(file)


@needs_posix
def test_a_process_that_is_killed_under_way(path: Path) -> None:
    """The values that need it cannot be read then; contiguous ones can, and the next question starts another."""
    with SourceFile(path) as file:
        found = read_hdf5(file)
        process = library.library_of(file)._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(BadInput, match=r"made libhdf5 fail \(SIGKILL\)"):
            found.tensors["w"].tobytes()
        assert found.tensors["plain"].tobytes() == np.arange(4, dtype="f4").tobytes()
        assert found.tensors["w"].tobytes() == np.arange(3000, dtype="f4").tobytes()


def test_one_process_for_a_file_which_ends_with_it(path: Path) -> None:
    with SourceFile(path) as file:
        found, again = read_hdf5(file), read_hdf5(file)
        process = library.library_of(file)._process
        assert process is not None
        for one in (found, again):
            assert one.tensors["w"].tobytes() == np.arange(3000, dtype="f4").tobytes()
        assert library.library_of(file)._process is process
        assert process.poll() is None
    assert process.poll() is not None


CHECKS = """
import os, sys
seen = [sys.argv[-1], sorted(os.environ)]
if os.path.isdir("/proc/self/fd"):
    seen.append(sorted(int(one) for one in os.listdir("/proc/self/fd"))[:-1])
import json, struct
told = json.dumps({"error": [json.dumps(seen), "", ""]}).encode()
sys.stdout.buffer.write(struct.pack("<QQ", len(told), 0) + told)
"""


def test_it_has_no_files_and_a_clean_environment(path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", "/tmp")
    stand_in(monkeypatch, CHECKS)
    with SourceFile(path) as file:
        os.set_inheritable(file.fileno(), True)
        with pytest.raises(BadInput) as caught:
            read_hdf5(file)
    told = caught.value.what
    assert f'"{path.stat().st_size}"' in told
    assert "SECRET_TOKEN" not in told
    assert "HDF5_PLUGIN_PATH" not in told
    assert '"HDF5_PLUGIN_PRELOAD"' in told
    if os.path.isdir("/proc/self/fd"):
        assert told.endswith("[0, 1, 2]]")


@needs_posix
def test_it_is_limited(path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of other processes are not shown here")
    with SourceFile(path) as file:
        read_hdf5(file)
        process = library.library_of(file)._process
        assert process is not None
        assert resource.prlimit(process.pid, resource.RLIMIT_DATA)[0] == 1 << 30
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] == 0
        assert 0 < resource.prlimit(process.pid, resource.RLIMIT_CPU)[0] < 200
