"""Names from files are printed in bounded time and length, whatever stands for them."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest

from converters.printable import short_name, with_article


def shared(depth: int) -> Any:
    """A tuple that has two to the power of ``depth`` numbers when it is written out."""
    value: Any = 1
    for _ in range(depth):
        value = (value, value)
    return value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


itself: list[Any] = []
itself.append(itself)

NAMES = {
    "text": ("conv1.weight", "conv1.weight"),
    "bytes": (b"conv1_w", "conv1_w"),
    "bytes that are not text": (b"\xff\x00", r"\xff\x00"),
    "number": (7, "7"),
    "float": (1.5, "1.5"),
    "None": (None, "None"),
    "truth": (True, "True"),
    "long text": ("x" * 4_000_000, "x" * 77 + "..."),
    "long bytes": (b"x" * 4_000_000, "x" * 77 + "..."),
    "control codes": ("\x1b[2J" * 1000, None),
    "wide": ("\U0001f600" * 1000, None),
    "surrogate": ("\ud800", "\\ud800"),
    "large number": (1 << 20_000, "a number of 20,001 bits"),
    "shared tuples": (shared(40), "a tuple"),
    "nested lists": (nested(20_000), "a list"),
    "a list in itself": (itself, "a list"),
    "a dictionary": ({"a": shared(60)}, "a dict"),
    "another object": (Fraction(1, 3), "a Fraction"),
}


@pytest.mark.parametrize("what", NAMES)
def test_a_name_is_short(what):
    value, expected = NAMES[what]
    start = time.process_time()
    name = short_name(value)
    assert time.process_time() - start < 0.5
    assert name.isascii()
    assert name.isprintable()
    assert len(name) <= 80
    assert expected is None or name == expected


def test_articles_are_as_spoken() -> None:
    formats = ["MXNet parameter file", "ONNX model", "HDF5 file", "NumPy file (npz)", "Caffe model", "pickle"]
    assert [with_article(one).split()[0] for one in formats] == ["an", "an", "an", "a", "a", "a"]
