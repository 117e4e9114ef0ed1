"""Mutated files of every format, through every verb: see scripts/fuzz.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - an annotation of the verbs
from random import Random

import pytest

from converters.formats.registry import formats
from tests.helpers.paths import FIXTURES, REPOSITORY
from tests.helpers.selection import longest

sys.path.append(str(REPOSITORY / "scripts"))
from fuzzing import run as fuzz
from fuzzing.mutations import mutate
from fuzzing.seeds import seeds

PARTS = 10
MUTATIONS = 1120
WITHOUT_SEED = {"caffe-hdf5"}
"""Formats with another one's reader: it opens Caffe's HDF5 files as it does Chainer's."""


def told(faults: list[fuzz.Fault]) -> str:
    return "\n".join(f"{fault.verb}: {fault.seed} {fault.number}\n{fault.what}" for fault in faults)


def test_a_few_mutations_of_every_kind() -> None:
    faults, outcomes = fuzz.run(FIXTURES, 80)
    alone = sum(count for (verb, _), count in outcomes.items() if verb in fuzz.OF_KIND)
    assert alone > 0
    assert outcomes.total() == 2 * 80 - alone  # one verb for manifests and mapping files, two for all else
    assert not faults, told(faults)


@pytest.mark.full
@pytest.mark.parametrize("part", longest(range(PARTS), lambda part: part > 1))
def test_twenty_thousand_commands(part: int) -> None:
    faults, outcomes = fuzz.run(FIXTURES, MUTATIONS, first=1_000_000 * (part + 1))
    assert outcomes.total() >= 20_000 / PARTS
    assert not faults, told(faults)


def test_there_is_a_seed_of_every_format() -> None:
    kinds = {seed.kind for seed in seeds(FIXTURES)}
    folders = {record.opener.split(".")[2] for record in formats() if record.name not in WITHOUT_SEED}
    assert folders <= kinds


def test_mutations_are_the_same_every_time_and_change_something() -> None:
    changed = 0
    for seed in list(seeds(FIXTURES))[::7]:
        data = next(iter(seed.files.values()))
        assert mutate(data, Random(3)) == mutate(data, Random(3))
        changed += mutate(data, Random(3)) != data
    assert changed > 5


def raises(_path: Path, _original: Path) -> None:
    raise KeyError("planted")


def hangs(_path: Path, _original: Path) -> None:
    while True:
        pass


def takes_memory(_path: Path, _original: Path) -> None:
    bytearray(4 * fuzz.MEMORY)


def dies(_path: Path, _original: Path) -> None:
    if os.path.basename(os.path.dirname(_path)) == "mutated":
        os.abort()


@pytest.mark.full
@pytest.mark.parametrize(
    ("verb", "what"),
    [(raises, "KeyError"), (hangs, "TooLong"), (takes_memory, "MemoryError"), (dies, "exit code -6")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_found(monkeypatch, verb, what: str) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    monkeypatch.setattr(fuzz, "OF_KIND", {"manifest": {"planted": verb}})
    faults, _ = fuzz.run(FIXTURES, 2, only=["manifest"])
    assert len(faults) == 2
    assert all(what in fault.what for fault in faults)
