"""Kills and full disks, a few of each: see scripts/kills.py."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.paths import REPOSITORY

sys.path.append(str(REPOSITORY / "scripts"))

import kills

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals"),
]


@pytest.mark.parametrize("name", ["publish", "suggest", "batch", "tensorflow --force"])
def test_every_output_is_whole_or_not_there(name: str) -> None:
    table, faults = kills.run_all([name], kills=3, disks=3, seed=1)
    assert not faults
    killed, filled = table[name]
    assert killed["killed"] == 3
    assert killed["while it wrote"] >= 1
    assert filled["disks"] == (3 if name.startswith("tensorflow") else 0)


def test_what_is_torn_is_seen() -> None:
    whole = {"t.index": "1", "t.data-00000-of-00001": "2"}
    before = {"t.index": "3", "t.data-00000-of-00001": "4"}
    assert not kills.faults_of({}, whole, before)
    assert not kills.faults_of(before, whole, before)
    assert not kills.faults_of({"t.data-00000-of-00001": "2", ".t.1-a.partial": "5"}, whole, before)
    assert kills.faults_of({"t.index": "3", "t.data-00000-of-00001": "2"}, whole, before)
    assert kills.faults_of({"t.index": "1"}, whole, before)
    assert kills.faults_of({"t.index": "5", "t.data-00000-of-00001": "2"}, whole, before)
    assert kills.faults_of({"other": "1"}, whole, before)
    listed = {"a.pth": "1", "SHA256SUMS": "2"}
    assert not kills.faults_of(listed, listed, {}, "1  a.pth\n")
    for sums in ("1  a.pth", "2  a.pth\n", "1  b.pth\n", "1  a.p"):
        assert kills.faults_of(listed, listed, {}, sums)
