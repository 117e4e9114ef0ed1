"""Published hashes: their forms, and what fits them."""

from __future__ import annotations

import hashlib
import random
import subprocess
from hashlib import sha256

import pytest

from converters.checksums import RunningHash
from converters.files import SourceFile
from converters.formats.io.output_stream import Output
from converters.hashes import LENGTHS, Hash, digests_of, parse_hash

DIGITS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (f"sha256:{DIGITS}", Hash("sha256", DIGITS)),
        (f"SHA1:{DIGITS[:40].upper()}", Hash("sha1", DIGITS[:40])),
        (f"git:{DIGITS[:40]}", Hash("git", DIGITS[:40])),
        ("0123ABCD", Hash("sha256", "0123abcd")),
        (DIGITS, Hash("sha256", DIGITS)),
    ],
)
def test_forms(text, known):
    assert parse_hash(text) == known
    assert parse_hash(str(known)) == known
    assert known.whole == (len(known.digits) > 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "git:",
        "0123abc",
        "0123abcde",
        DIGITS[:40],
        f"git:{DIGITS}",
        "sha1:0123abcd",
        f"md5:{DIGITS[:32]}",
        "0123abcg",
        f" {DIGITS}",
        f"{DIGITS}\n",
        f"sha256:git:{DIGITS[:40]}",
    ],
)
def test_what_is_no_hash(text):
    with pytest.raises(ValueError, match="is not"):
        parse_hash(text)


def test_digests_are_those_of_other_tools(tmp_path):
    data = b"video" * 100_000
    (tmp_path / "a").write_bytes(data)
    with SourceFile(tmp_path / "a") as file:
        digests = digests_of([file])
        twice = digests_of([file, file], ["git"])
    assert digests["sha256"] == hashlib.sha256(data).hexdigest()
    assert digests["sha1"] == hashlib.sha1(data, usedforsecurity=False).hexdigest()
    assert [*digests] == [*LENGTHS]
    for content, digest in ((data, digests["git"]), (data + data, twice["git"])):
        said = subprocess.run(
            ["git", "hash-object", "--stdin"], input=content, capture_output=True, check=False
        )
        assert said.returncode or said.stdout.decode().strip() == digest


def test_what_fits():
    digests = {"sha1": "ab" * 20, "sha256": "cd" * 32}
    assert Hash("sha1", "ab" * 20).fits(digests)
    assert Hash("sha256", "cdcdcdcd").fits(digests)
    assert not Hash("sha256", "ab" * 32).fits(digests)
    assert not Hash("git", "ab" * 20).fits(digests)


ORDERS = {
    "in order": [(0, 400_000), (400_100, 300_000)],
    "back to front": [(500_000, 200_000), (0, 100_000)],
    "twice, and not to the end": [(100, 500_000), (100, 500_000), (40_000, 500_000)],
    "not at all": [],
}


@pytest.mark.parametrize("ranges", ORDERS.values(), ids=ORDERS)
def test_files_are_hashed_while_they_are_read_in_any_order(tmp_path, ranges):
    contents = [random.Random(1).randbytes(1_000_000), b"the second file"]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    with SourceFile(tmp_path / "0") as first, SourceFile(tmp_path / "1") as second:
        running = RunningHash([first, second])
        for offset, length in ranges:
            read = b"".join(map(bytes, first.chunks(offset, length)))
            assert read == contents[0][offset : offset + length]
        assert running.hexdigest() == sha256(b"".join(contents)).hexdigest()


def test_what_is_read_in_order_is_not_read_again_for_its_hash(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(bytes(1_000_000))
    with SourceFile(tmp_path / "a") as file:
        running = RunningHash([file])
        for start in (100, 500_000):
            for _ in file.chunks(start, 499_900):
                pass
        again = []
        file.watch = again.append
        monkeypatch.setattr(file, "chunks", lambda start, length: again.append((start, length)) or ())
        running.hexdigest()
    assert again == [None, (999_900, 100)]


def test_an_output_is_hashed_while_it_is_written(tmp_path):
    pieces = [random.Random(2).randbytes(size) for size in (10, 300_000, 5, 40_000)]
    with open(tmp_path / "out", "wb") as file:
        out = Output(file.fileno(), "out")
        assert out.sha256 == ""
        out.hash()
        for piece in pieces:
            out.write(piece)
        out.flush()
        assert out.sha256 == sha256(b"".join(pieces)).hexdigest()
        out.rewrite(0, b"changed")
        assert out.sha256 == "", "the hash is of bytes that are no longer there"
