"""Published hashes: their forms, and what fits them."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from converters.files import SourceFile
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
