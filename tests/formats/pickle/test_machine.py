"""The pickle reader knows every opcode, runs nothing, and ends in a value or one refusal, within bounds."""

from __future__ import annotations

import io
import pickle
import pickletools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.caffe2.pickle_reader import read_caffe2_pickle
from converters.formats.pickle.machine import _STEPS, _damaged, walk
from converters.formats.pickle.numpy_arrays import NAMES
from converters.formats.pickle.strings import Span, content
from tests.helpers import hostile_pickles, paths, selection
from tests.helpers.budgets import examples
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

FIXTURES = sorted((paths.FIXTURES / "caffe2").glob("*.pkl"))


def file_of(folder: Path, data: bytes) -> SourceFile:
    path = folder / "x.pkl"
    path.write_bytes(data)
    return SourceFile(path)


def value_of(folder: Path, data: bytes):
    with file_of(folder, data) as file:
        return whole(file, walk(file, NAMES).value)


def whole(file: SourceFile, value):
    """A value with its long strings read."""
    if isinstance(value, Span):
        return content(file, value)
    if isinstance(value, dict):
        return {whole(file, key): whole(file, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(file, item) for item in value)
    return value


def refusal(folder: Path, data: bytes) -> str:
    with file_of(folder, data) as file, pytest.raises(BadInput) as caught:
        walk(file, NAMES)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500 + len(str(folder))
    assert caught.value.exit_code == 3
    return message


def test_every_opcode_is_known():
    known = {ord(opcode.code) for opcode in pickletools.opcodes}
    in_the_loop = set(b".Kr(")
    assert {code for code in range(256) if _STEPS[code] is not _damaged} == known - in_the_loop


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 500), 1 << 500)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
    | st.binary(max_size=400)
)
KEYS = st.text(max_size=40) | st.binary(max_size=40) | st.integers(-1000, 1000)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), inner)
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("pickler", selection.first_of([pickle.Pickler, pickle._Pickler]))
@pytest.mark.parametrize("protocol", range(6))
@examples(150)
@given(value=VALUES)
def test_plain_values_are_what_was_pickled(tmp_path, pickler, protocol, value):
    out = io.BytesIO()
    pickler(out, protocol).dump(value)
    found = value_of(tmp_path, out.getvalue())
    assert repr(found) == repr(value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_long_strings_stay_in_the_file(tmp_path, protocol):
    data = bytes(range(256)) * 40
    with file_of(tmp_path, pickle.dumps({"a": data, "b": data.decode("latin-1")}, protocol)) as file:
        found = walk(file, NAMES).value
        assert all(type(item) is Span for item in found.values())
        assert whole(file, found) == {"a": data, "b": data.decode("latin-1")}


def test_sets_are_sequences(tmp_path):
    assert value_of(tmp_path, pickle.dumps({3}, 4)) == [3]
    assert value_of(tmp_path, pickle.dumps(frozenset({3}), 4)) == (3,)


def test_long1_and_long4_and_bools_of_protocol_0(tmp_path):
    assert value_of(tmp_path, b"\x80\x02\x8b\x02\x00\x00\x00\xff\x7f.") == 32767
    assert value_of(tmp_path, b"(I01\nI00\nI5\nL-7L\nF1.5\nt.") == (True, False, 5, -7, 1.5)
    assert value_of(tmp_path, b"\x80\x02(K\x01K\x020(K\x031t.") == (1,)  # POP, POP_MARK


def test_ordered_dictionaries_of_both_pythons(tmp_path):
    python2 = b"\x80\x02ccollections\nOrderedDict\n]](U\x01aK\x01ea\x85R."
    assert value_of(tmp_path, python2) == {b"a": 1}
    assert value_of(tmp_path, b"\x80\x02ccollections\nOrderedDict\n)RX\x01\x00\x00\x00aK\x01s.") == {"a": 1}


@pytest.mark.parametrize("name", hostile_pickles.live("x"))
def test_nothing_in_a_file_runs(tmp_path, name):
    marker = tmp_path / "it-ran"
    data = hostile_pickles.live(str(marker))[name]
    assert "contains code" in refusal(tmp_path, data)
    with SourceFile(tmp_path / "x.pkl") as file, pytest.raises(BadInput, match="contains code"):
        read_caffe2_pickle(file)
    assert not marker.exists()
    # the payload is a live one: Python's own pickle does run it
    load = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-c", load, tmp_path / "x.pkl"], capture_output=True, timeout=60)
    assert marker.exists()


@pytest.mark.parametrize("name", hostile_pickles.refused())
def test_what_asks_for_code_is_refused_by_name(tmp_path, name):
    data, named = hostile_pickles.refused()[name]
    message = refusal(tmp_path, data)
    assert named in message
    assert "offset" in message


@pytest.mark.parametrize("name", hostile_pickles.damaged())
def test_damage_is_refused(tmp_path, name):
    refusal(tmp_path, hostile_pickles.damaged()[name])


GUARD = """
import resource, sys, time
from converters.errors import BadInput
from converters.formats.caffe2.pickle_reader import read_caffe2_pickle
from converters.files import SourceFile

limit = 700 << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
with SourceFile(sys.argv[1]) as file:
    try:
        for tensor in read_caffe2_pickle(file).tensors.values():
            assert len(tensor.tobytes()) == tensor.nbytes
    except BadInput as error:
        assert len(str(error)) < 1000
print(time.process_time())
"""


@pytest.mark.parametrize("name", selection.first_of(hostile_pickles.bombs()))
def test_bombs_end_in_bounded_memory_and_time(tmp_path, name):
    path = tmp_path / "bomb.pkl"
    path.write_bytes(hostile_pickles.bombs()[name])
    done = subprocess.run(
        [sys.executable, "-c", GUARD, path],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20


def test_one_budget_is_for_all_calls(tmp_path):
    pairs = b"](" + b"".join(b"K" + bytes((key,)) + b"N\x86" for key in range(100)) + b"e"
    honest = b"ccollections\nOrderedDict\n" + pairs + b"\x85R"
    found = value_of(tmp_path, b"\x80\x02(" + honest * 20 + b"t.")
    assert found == (dict.fromkeys(range(100)),) * 20
    again = b"q\x01ccollections\nOrderedDict\nq\x00h\x01\x85Rh\x00h\x01\x85R"
    assert "too many calls (offset" in refusal(tmp_path, b"\x80\x02(" + pairs + again + b"t.")


def test_memo_numbers_are_those_of_32_bits(tmp_path):
    assert value_of(tmp_path, b"(I5\np4294967295\ng4294967295\nt.") == (5, 5)
    for number in (b"-1", b"4294967296", b"2305843009213693951"):
        assert "impossible number" in refusal(tmp_path, b"(I5\np" + number + b"\nt.")


def small_fixture() -> bytes:
    return (paths.FIXTURES / "caffe2" / "vmz-py27-numpy1.16.pkl").read_bytes()


def outcome(folder: Path, data: bytes):
    """Everything a file says, or None if it is refused."""
    with file_of(folder, data) as file:
        try:
            found = read_caffe2_pickle(file)
            return {
                name: (tensor.dtype, tensor.shape, tensor.tobytes()) for name, tensor in found.tensors.items()
            }
        except BadInput:
            return None


@pytest.mark.parametrize("name", ["vmz-py27-numpy1.16", "vmz-bytes-py313-numpy2.5"])
def test_a_file_cut_anywhere_is_refused(tmp_path, name):
    data = (paths.FIXTURES / "caffe2" / f"{name}.pkl").read_bytes()
    for end in range(len(data)):
        with file_of(tmp_path, data[:end]) as file, pytest.raises(BadInput) as caught:
            read_caffe2_pickle(file)
        if end > 2:
            assert "ends early" in str(caught.value)


def test_a_flipped_bit_is_refused_or_changes_names_and_numbers_only(tmp_path):
    data = small_fixture()
    good = outcome(tmp_path, data)
    assert good is not None
    refused = 0
    for bit in range(0, 8 * len(data), 3):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        found = outcome(tmp_path, bytes(changed))
        refused += found is None
        if found is not None:
            sizes = [len(raw) for _, _, raw in found.values()]
            assert sizes == [len(raw) for _, _, raw in good.values()]
    assert refused > 500


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
@examples(40)
@given(data=st.data())
def test_random_damage_ends_in_a_value_or_a_refusal(tmp_path, path, data):
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            del changed[at : at + data.draw(st.integers(1, 9))]
    outcome(tmp_path, bytes(changed))


OPCODES = st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])
PIECES = (
    OPCODES | st.binary(max_size=6) | st.just(b"numpy\nndarray\n") | st.just(b"K\x01") | st.just(b"\x8c\x01a")
)


@examples(1500)
@given(start=st.sampled_from([b"", b"\x80\x02", b"\x80\x05"]), pieces=st.lists(PIECES, max_size=40))
def test_random_opcodes_end_in_a_value_or_a_refusal(tmp_path, start, pieces):
    message = ""
    with file_of(tmp_path, start + b"".join(pieces)) as file:
        try:
            walk(file, NAMES)
        except BadInput as error:
            message = str(error)
    assert message.isprintable()


def test_instructions_across_windows(tmp_path):
    value = {f"name {index}": ["x" * (index % 300), index * 1.5, index] for index in range(3000)}
    for protocol in range(6):
        assert value_of(tmp_path, pickle.dumps(value, protocol)) == value
