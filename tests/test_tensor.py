"""Source files: only regular ones are opened, and nothing is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from converters.errors import BadInput
from converters.files import CHUNK, SourceFile
from converters.tensor import same_data
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY
UNIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes and devices of Unix")


def refusal(path: object) -> str:
    start = time.monotonic()
    with pytest.raises(BadInput) as caught:
        SourceFile(path)
    assert time.monotonic() - start < 5
    return str(caught.value)


class Pieces:
    """Bytes in pieces of some lengths, all in one buffer."""

    def __init__(self, data, lengths):
        self.data, self.lengths = data, lengths

    def chunks(self):
        buffer, start = bytearray(64), 0
        for length in self.lengths:
            piece = self.data[start : start + length]
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]
            start += length


@pytest.mark.parametrize("lengths", [(64,), (3, 17, 1, 43), (8, 56), (30, 1, 33)])
def test_data_are_compared_however_they_come(lengths):
    data = bytes(range(64))
    for left in ((64,), (5, 59), (16, 1, 47)):
        assert same_data(Pieces(data, left), Pieces(data, lengths))
        for place in (0, 7, 8, 63):
            other = data[:place] + b"x" + data[place + 1 :]
            assert not same_data(Pieces(data, left), Pieces(other, lengths))
        assert not same_data(Pieces(data, left), Pieces(data[:-1], (*lengths[:-1], lengths[-1] - 1)))
    assert same_data(Pieces(b"", ()), Pieces(b"", ()))


def test_ranges_of_a_file(tmp_path):
    data = bytes(range(256)) * (CHUNK // 100)
    (tmp_path / "x").write_bytes(data)
    with SourceFile(tmp_path / "x") as file:
        assert file.size == len(data)
        assert file.read_at(300, 7) == data[300:307]
        assert b"".join(map(bytes, file.chunks(5, CHUNK + 9))) == data[5 : CHUNK + 14]
        for offset, length in ((-1, 2), (0, -1), (len(data) - 1, 2), (1 << 70, 1)):
            with pytest.raises(BadInput, match="ends early"):
                file.read_at(offset, length)


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("x")
    with SourceFile(tmp_path / "link") as file:
        assert file.read_at(0, 3) == b"abc"


def test_a_missing_file_is_told_from_one_that_cannot_be_read(tmp_path):
    assert (
        refusal(tmp_path / "x")
        == f"{tmp_path / 'x'}: cannot be opened: no such file or directory: check the path"
    )
    (tmp_path / "file").write_bytes(b"abc")
    assert refusal(tmp_path / "file" / "x").endswith("check the path")
    (tmp_path / "ircsn_152.pkl").touch()
    assert refusal(tmp_path / "ircsn-152.pkl").endswith("did you mean 'ircsn_152.pkl'?")
    assert refusal(tmp_path / "none" / "ircsn-152.pkl").endswith("check the path")
    assert "null" in refusal(f"{tmp_path}/a\0b")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    message = refusal(tmp_path / "loop")
    assert "cannot be opened" in message
    assert "check the path" not in message


@UNIX
def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        assert "is a pipe or a device, not a file" in refusal(path)


@UNIX
def test_a_pipe_that_takes_a_files_place_is_refused_without_waiting(tmp_path, monkeypatch):
    """Between the look at a path and its opening, it can become another thing."""
    (tmp_path / "x").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    seen = os.stat(tmp_path / "x")
    open_files = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr("converters.files.os.stat", lambda path, **_: seen)
        message = refusal(tmp_path / "pipe")
    assert "is a pipe or a device" in message
    assert len(os.listdir("/dev/fd")) == open_files


@UNIX
@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "/dev/stdin"])
@pytest.mark.parametrize("words", [["inspect"], ["vmz"]])
def test_the_command_refuses_a_pipe_and_a_device(tmp_path, words, path):
    os.mkfifo(tmp_path / "pipe")
    output = ["out.pth"] if words == ["vmz"] else []
    done = subprocess.run(
        [sys.executable, "-m", "converters", *words, path, *output],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 3
    assert f"{path}: is a pipe or a device, not a file" in done.stderr
    assert os.listdir(tmp_path) == ["pipe"]
