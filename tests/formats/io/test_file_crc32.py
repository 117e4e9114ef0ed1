"""CRC-32 of files of which ranges are known."""

from __future__ import annotations

import random
from zlib import crc32

import pytest

from converters.files import SourceFile
from converters.formats.io.file_crc32 import LONG, Summed, crc32_in, crc32_of, joined_crc32
from converters.formats.io.output_stream import Output

CONTENTS = [random.Random(1).randbytes(1_000_000), b"the second file", b"", bytes(300_000)]

RANGES = {
    "in order": [(0, 400_000), (400_100, 700_000)],
    "back to front": [(500_000, 700_000), (0, 100_000)],
    "side by side": [(100_000, 200_000), (200_000, 300_000)],
    "across each other": [(100, 500_000), (40_000, 540_000), (100, 200_000)],
    "twice": [(100, 500_000), (100, 500_000)],
    "short": [(10, 20), (50, 50), (70, LONG), (900_000, 900_000 + LONG - 1)],
    "all": [(0, 1_000_000)],
    "none": [],
}


@pytest.mark.parametrize("length", [0, 1, 2, 255, 256, 65_537, 1_000_000])
def test_joined(length):
    first, second = CONTENTS[0][:1000], CONTENTS[0][-length:] if length else b""
    assert joined_crc32(crc32(first), crc32(second), length) == crc32(first + second)


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_what_is_known_does_not_change_it(tmp_path, ranges):
    known = [Summed(start, end, crc32(CONTENTS[0][start:end])) for start, end in ranges]
    paths = [tmp_path / str(number) for number in range(len(CONTENTS))]
    for path, content in zip(paths, CONTENTS, strict=True):
        path.write_bytes(content)
    assert crc32_of(str(paths[0]), known) == crc32(CONTENTS[0])
    files = [SourceFile(path) for path in paths]
    assert crc32_in(zip(files, (known, (), (), ()), strict=True)) == crc32(b"".join(CONTENTS))
    for file in files:
        file.close()


def test_what_is_known_is_not_read(tmp_path):
    (tmp_path / "a").write_bytes(CONTENTS[0])
    wrong = crc32(CONTENTS[0][1000:900_000]) ^ 1
    found = crc32_of(str(tmp_path / "a"), [Summed(1000, 900_000, wrong)])
    assert found == joined_crc32(
        joined_crc32(crc32(CONTENTS[0][:1000]), wrong, 899_000), crc32(CONTENTS[0][900_000:]), 100_000
    )
    assert found != crc32(CONTENTS[0])


def test_an_output_knows_what_its_writer_noted(tmp_path):
    with open(tmp_path / "out", "wb") as file:
        out = Output(file.fileno(), "out")
        out.write(b"head")
        for piece in (CONTENTS[0], CONTENTS[3]):
            start = out.position
            out.write(piece)
            out.note(start, crc32(piece))
        out.write(b"tail")
        out.rewrite(0, b"HEAD")
        out.flush()
    assert [(start, end) for start, end, _ in out.known] == [(4, 1_000_004), (1_000_004, 1_300_004)]
    whole = b"HEAD" + CONTENTS[0] + CONTENTS[3] + b"tail"
    assert (tmp_path / "out").read_bytes() == whole
    assert crc32_of(str(tmp_path / "out"), out.known) == crc32(whole)
