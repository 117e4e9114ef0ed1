"""Whether an output has the bytes of another: as many files, each of them equal."""

from __future__ import annotations

import pytest

from converters.batches.output_files import has_same_bytes

CONTENT = bytes(range(256)) * 3000


@pytest.mark.parametrize(
    ("content", "same"),
    [
        (CONTENT, True),
        (CONTENT[:-1], False),
        (CONTENT + b"x", False),
        (CONTENT[:400_000] + b"x" + CONTENT[400_001:], False),
        (b"", False),
    ],
    ids=["equal", "shorter", "longer", "another byte", "empty"],
)
def test_one_file(tmp_path, content, same):
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "b").write_bytes(content)
    assert has_same_bytes(str(tmp_path / "a"), str(tmp_path / "b")) is same
    assert has_same_bytes(str(tmp_path / "b"), str(tmp_path / "a")) is same


def test_two_files(tmp_path):
    for prefix, index in (("a", b"index"), ("b", b"index"), ("c", b"Index")):
        (tmp_path / f"{prefix}.index").write_bytes(index)
        (tmp_path / f"{prefix}.data-00000-of-00001").write_bytes(CONTENT)
    (tmp_path / "d").write_bytes(CONTENT)  # as the first of two
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    assert has_same_bytes(a, b)
    assert not has_same_bytes(a, c)
    assert not has_same_bytes(d, a)
    assert not has_same_bytes(a, d)
