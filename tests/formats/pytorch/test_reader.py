"""PyTorch's zip files are read without PyTorch, bit for bit; damaged and hostile ones are refused."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters import convert, inspect, load_model
from converters.conversion.recognize import recognize
from converters.errors import BadInput, Refused
from converters.files import SourceFile
from converters.formats.io.zip_records import CheckedRecord, verify_crcs
from converters.formats.open import open_checkpoint
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.formats.pytorch.reader import read_pth
from converters.tensor import FileBytes
from tests.helpers import hostile_pickles, selection
from tests.helpers.budgets import examples
from tests.helpers.other_values import all_plain, plain
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

ROOT = REPOSITORY


def saved(value, **options) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def file_of(folder: Path, data: bytes) -> SourceFile:
    path = folder / "x.pth"
    path.write_bytes(data)
    return SourceFile(path)


def read(folder: Path, data: bytes):
    """What is read, and all tensors' bytes."""
    with file_of(folder, data) as file:
        found = read_pth(file)
        return found, {name: tensor.tobytes() for name, tensor in found.tensors.items()}


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read(folder, data)
    assert str(caught.value).isprintable()
    return str(caught.value)


def needed(folder: Path, data: bytes) -> str:
    """What a conversion says that needs the file's only tensor."""
    (folder / "x.pth").write_bytes(data)
    with open_checkpoint(str(folder / "x.pth")) as checkpoint, pytest.raises(Refused) as caught:
        recognize(checkpoint, None)
    assert checkpoint.tensors == {}
    return str(caught.value)


def bits(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor in C order; those of this machine, which is little-endian."""
    if not tensor.numel():
        return b""
    return bytes(tensor.detach().clone(memory_format=torch.contiguous_format).untyped_storage())


def repacked(data: bytes, change) -> bytes:
    """The same zip file with its records changed: ``change`` takes and returns ``{name: bytes}``."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = change({name: archive.read(name) for name in archive.namelist()})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_pickle(stream: bytes, **records: bytes) -> bytes:
    """A PyTorch file whose pickle is given."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", stream)
        for key, content in records.items():
            archive.writestr(f"archive/data/{key.removeprefix('_')}", content)
    return out.getvalue()


def network() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv3d(3, 5, (1, 3, 3)), torch.nn.BatchNorm3d(5), torch.nn.Linear(4, 2)
    )


DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def every() -> dict[str, torch.Tensor]:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) - 7.5
    half = torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4)
    return {name: (torch.arange(7) % 2).to(getattr(torch, name)) for name in DTYPES} | {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "transposed": base.permute(2, 0, 1),
        "sliced": base[1:, ::2, 1:4],
        "tail": base[2],
        "shared": base,
        "parameter": torch.nn.Parameter(base[0]),
        "channels last": torch.arange(48.0).reshape(2, 3, 2, 4).to(memory_format=torch.channels_last),
        "half": half.transpose(0, 2),
        "ones": torch.arange(6.0).reshape(1, 6, 1)[:, 1:3],
    }


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state", "model_state_dict", "model"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dicts_are_read_bit_for_bit(tmp_path, wrapper, protocol):
    state = network().state_dict()
    value = state if wrapper is None else {"epoch": 7, "meta": {"note": "x"}, wrapper: state}
    found, raw = read(tmp_path, saved(value, pickle_protocol=protocol))
    assert found.wrapper == wrapper
    assert list(raw) == list(state)
    assert all(raw[name] == bits(tensor) for name, tensor in state.items())
    assert all(found.tensors[name].shape == tuple(tensor.shape) for name, tensor in state.items())
    assert all_plain(found.other_values) == ({} if wrapper is None else {"epoch": 7, "meta": {"note": "x"}})
    assert found.provenance is None
    assert {found.crcs[name] for name in raw} == {crc32(content) for content in raw.values()}


def test_every_dtype_and_view(tmp_path):
    value = every()
    found, raw = read(tmp_path, saved(value))
    assert list(raw) == list(value)
    for name, tensor in value.items():
        assert raw[name] == bits(tensor), name
        assert found.tensors[name].shape == tuple(tensor.shape)
        assert found.tensors[name].dtype == str(tensor.dtype).removeprefix("torch.")
    whole = {name for name, tensor in found.tensors.items() if isinstance(tensor.data, CheckedRecord)}
    assert whole == {*DTYPES, "scalar", "shared"}
    assert found.crcs.keys() == whole | {"empty"}
    with file_of(tmp_path, saved(value)) as file:
        unchecked = read_pth(file, checksum=False)
        assert {name: tensor.tobytes() for name, tensor in unchecked.tensors.items()} == raw
    direct = {name for name, tensor in unchecked.tensors.items() if isinstance(tensor.data, FileBytes)}
    assert set(value) - direct == {"transposed", "sliced", "channels last", "half"}
    assert unchecked.crcs == found.crcs


@examples()
@given(shape=st.lists(st.integers(0, 5), max_size=4), data=st.data())
def test_any_view_comes_back(tmp_path, shape, data):
    tensor = torch.arange(int(torch.tensor(shape).prod()) if shape else 1, dtype=torch.int32).reshape(shape)
    tensor = tensor.permute(data.draw(st.permutations(range(len(shape)))))
    for axis, size in enumerate(tensor.shape):
        first, step = data.draw(st.integers(0, size)), data.draw(st.integers(1, 3))
        tensor = tensor[(slice(None),) * axis + (slice(first, None, step),)]
    found, raw = read(tmp_path, saved({"w": tensor}))
    assert raw["w"] == bits(tensor)
    assert found.tensors["w"].shape == tuple(tensor.shape)


def test_what_else_a_checkpoint_holds(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model[2](torch.ones(1, 4)).sum().backward()
    optimizer.step()
    value = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "storage": torch.zeros(2).untyped_storage(),
        "text": "x" * 1000,
        5: None,
    }
    found, raw = read(tmp_path, saved(value))
    assert len(raw) == len(model.state_dict())
    assert set(found.other_values) == {str(key) for key in value} - {"state_dict"}
    assert plain(found.other_values["size"]) == [1, 2]
    assert plain(found.other_values["device"]) == "cpu"
    assert plain(found.other_values["dtype"]) == "torch.float16"
    assert (found.other_values["text"].kind, found.other_values["text"].data.nbytes) == ("text", 1000)
    assert plain(found.other_values["optimizer"])["param_groups"][0]["momentum"] == 0.9


def test_an_unsupported_dtype_is_refused_by_name(tmp_path):
    message = needed(tmp_path, saved({"w": torch.zeros(2, dtype=torch.uint16)}))
    assert "uint16" in message
    assert "(w)" in message


def test_a_tensor_with_a_sign_to_apply_is_refused(tmp_path):
    negative = torch._neg_view(torch.ones(3))
    assert negative.is_neg()
    message = needed(tmp_path, saved({"w": negative}))
    assert "a sign" in message
    assert "(w)" in message


ODD = {
    "sparse": lambda: torch.ones(3, 3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3, 3), 0.1, 0, torch.quint8),
    "without values": lambda: torch.empty(3, device="meta"),
    "complex64": lambda: torch.zeros(3, dtype=torch.complex64),
    "complex128": lambda: torch.zeros(3, dtype=torch.complex128),
    "float8_e4m3fn": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "a sign": lambda: torch.zeros(3, dtype=torch.complex64).conj(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_other_sorts_of_tensors_are_refused_by_name_and_left_aside_elsewhere(tmp_path, kind, legacy):
    odd = ODD[kind]()
    path = tmp_path / "x.pth"

    def written(value: object) -> str:
        torch.save(value, path, _use_new_zipfile_serialization=not legacy)
        return str(path)

    with open_checkpoint(written({"a": torch.ones(2), "w": odd})) as found:
        assert list(found.tensors) == ["a"]
        assert kind in found.unconverted["w"].kind
    with open_checkpoint(written({"w": odd})) as found, pytest.raises(Refused) as caught:
        recognize(found, None)
    assert kind in str(caught.value)
    assert "(w)" in str(caught.value)
    with open_checkpoint(written({"state_dict": {"a": torch.ones(2)}, "more": [odd]})) as found:
        assert list(found.tensors) == ["a"]


def test_an_expanded_tensor_is_refused(tmp_path):
    assert "expanded" in refusal(tmp_path, saved({"w": torch.zeros(1).expand(1 << 40)}))


def test_big_endian(tmp_path):
    value = {
        "w": torch.arange(6, dtype=torch.float32).reshape(2, 3).t(),
        "i": torch.arange(3),
        "b": torch.ones(2) > 0,
    }

    def swap(records):
        keys = {"archive/data/0": 4, "archive/data/1": 8, "archive/data/2": 1}
        for name, size in keys.items():
            raw = records[name]
            records[name] = b"".join(raw[at : at + size][::-1] for at in range(0, len(raw), size))
        records["archive/byteorder"] = b"big"
        return records

    _, raw = read(tmp_path, repacked(saved(value), swap))
    assert all(raw[name] == bits(tensor) for name, tensor in value.items())
    odd = repacked(saved(value), lambda records: {**records, "archive/byteorder": b"middle"})
    assert "byte order" in refusal(tmp_path, odd)


def test_provenance(tmp_path):
    data = saved({"w": torch.ones(2)})
    added = repacked(data, lambda records: {**records, "archive/provenance.json": '{"a": "\u00e9"}'.encode()})
    assert read(tmp_path, added)[0].provenance == '{"a": "\u00e9"}'
    latin1 = repacked(data, lambda records: {**records, "archive/provenance.json": b"\xe9"})
    assert "not UTF-8" in refusal(tmp_path, latin1)
    size = (64 << 20) + 1
    large = repacked(data, lambda records: {**records, "archive/provenance.json": bytes(size)})
    assert f"{size:,} bytes" in refusal(tmp_path, large)


def test_a_flipped_byte_is_found_by_its_checksum(tmp_path):
    data = bytearray(saved(network().state_dict()))
    with file_of(tmp_path, bytes(data)) as file:
        found = read_pth(file)
        assert verify_crcs(file, found.records)
    for name, record in found.records.items():
        changed = data.copy()
        changed[record.offset + record.size // 2] ^= 1
        with file_of(tmp_path, bytes(changed)) as file, pytest.raises(BadInput, match="CRC-32") as caught:
            verify_crcs(file, found.records)
        assert caught.value.where == name


def flipped(data: bytes, name: str, at: int = 0) -> bytes:
    """One bit of a record changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo(name).header_offset
    lengths = struct.unpack_from("<2H", data, start + 26)
    changed = bytearray(data)
    changed[start + 30 + sum(lengths) + at] ^= 1
    return bytes(changed)


@pytest.mark.full
@pytest.mark.parametrize("swapped", [True, False])
def test_a_damaged_tensor_is_refused_when_it_is_read(tmp_path, swapped):
    value = {"fine": torch.arange(3.0), "broken": torch.arange(200_000.0)}
    data = saved(value)
    if swapped:
        data = repacked(data, lambda records: {**records, "archive/byteorder": b"big"})
    data = flipped(data, "archive/data/1", 799_999)
    with file_of(tmp_path, data) as file:
        tensors = read_pth(file).tensors
        assert len(tensors["fine"].tobytes()) == 12
        with pytest.raises(BadInput, match="damaged record: its CRC-32 is") as caught:
            tensors["broken"].tobytes()
        assert (caught.value.where, caught.value.hint) == ("broken", "fetch the file again")
        tensors = read_pth(file, checksum=False).tensors
        assert tensors["broken"].tobytes() != bits(value["broken"])


def test_parts_of_a_damaged_record_are_refused_though_they_are_whole(tmp_path):
    base = torch.arange(60.0).reshape(3, 20)
    value = {"tail": base[2], "across": base[:2].t(), "empty": base[:0]}
    with file_of(tmp_path, flipped(saved(value), "archive/data/0", 100)) as file:
        tensors = read_pth(file).tensors
        for name in ("tail", "across"):
            with pytest.raises(BadInput, match="damaged record") as caught:
                tensors[name].tobytes()
            assert caught.value.where == name
        assert tensors["empty"].tobytes() == b""
        assert read_pth(file, checksum=False).tensors["tail"].tobytes() == bits(base[2])


def test_the_record_of_many_parts_is_checked_once(tmp_path, monkeypatch):
    base = torch.arange(60.0).reshape(3, 20)
    value = {f"row {index}": row for index, row in enumerate(base)}
    with file_of(tmp_path, saved(value)) as file:
        tensors = read_pth(file).tensors
        read_sizes: list[int] = []
        chunks = SourceFile.chunks

        def spy(self: SourceFile, offset: int, length: int):
            read_sizes.append(length)
            return chunks(self, offset, length)

        monkeypatch.setattr(SourceFile, "chunks", spy)
        assert [tensor.tobytes() for tensor in tensors.values()] == [bits(row) for row in base]
    assert read_sizes == [240, 80, 80, 80]


def test_a_damaged_directory_of_tensors_is_refused_at_once(tmp_path):
    data = saved({"w": torch.ones(2)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.read("archive/data.pkl").index(b"w")
    data = flipped(data, "archive/data.pkl", at)
    assert "CRC-32" in refusal(tmp_path, data)
    with file_of(tmp_path, data) as file:
        assert list(read_pth(file, checksum=False).tensors) == ["v"]


def test_a_flipped_bit_is_refused_everywhere(r2d, run, tmp_path):
    """A file that ``torch.save`` wrote, with one bit of a convolution's weights changed."""
    convert(r2d, tmp_path / "ours.pth", source="vmz")
    state = torch.load(tmp_path / "ours.pth", weights_only=True)
    name, key = next((name, key) for key, name in enumerate(state) if state[name].ndim == 5 and key > 10)
    path = tmp_path / "theirs.pth"
    torch.save(state, path)
    load_model(path)
    path.write_bytes(flipped(path.read_bytes(), f"theirs/data/{key}", state[name].nbytes // 2))
    for use in (lambda: convert(path, tmp_path / "out.pkl", to="vmz"), lambda: load_model(path)):
        with pytest.raises(BadInput, match="damaged record") as caught:
            use()
        assert caught.value.where == name
    assert not (tmp_path / "out.pkl").exists()
    inspect(path)
    done = run("inspect", path, "--stats")
    assert done.returncode == 3
    assert f"({name})" in done.stderr
    assert "damaged record" in done.stderr


def test_a_file_without_checksums(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = saved({"w": torch.ones(2)})
    finally:
        torch.serialization.set_crc32_options(before)
    with file_of(tmp_path, data) as file:
        found = read_pth(file)
        assert not verify_crcs(file, found.records)
        assert found.crcs == {}
        assert found.tensors["w"].tobytes() == struct.pack("<2f", 1, 1)


def test_other_files_are_named(tmp_path):
    assert "before 1.6" in refusal(
        tmp_path, saved({"w": torch.ones(2)}, _use_new_zipfile_serialization=False)
    )
    assert "is a pickle" in refusal(tmp_path, pickle.dumps({"w": 1}))
    script = repacked(saved({"w": torch.ones(2)}), lambda records: {**records, "archive/constants.pkl": b"x"})
    assert "TorchScript" in refusal(tmp_path, script)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("checkpoint.pth", bytes(1000))
    assert "compressed" in refusal(tmp_path, (tmp_path / "x.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("checkpoint.pth", bytes(1000))
    assert "not one of PyTorch's" in refusal(tmp_path, (tmp_path / "y.zip").read_bytes())
    assert "holds a whole model, which is a program: torch.nn.modules" in refusal(tmp_path, saved(network()))
    assert "holds a single tensor" in refusal(tmp_path, saved(torch.ones(2)))
    assert "no tensors" in refusal(tmp_path, saved({"epoch": 3}))


@pytest.mark.parametrize("name", hostile_pickles.live("x"))
def test_nothing_in_a_file_runs(tmp_path, name):
    marker = tmp_path / "it-ran"
    assert "contains code" in refusal(tmp_path, with_pickle(hostile_pickles.live(str(marker))[name]))
    assert not marker.exists()


STORAGE = hostile_pickles.named("torch", "FloatStorage")
REBUILD = hostile_pickles.named("torch._utils", "_rebuild_tensor_v2")


def storage(key: bytes = b"\x8c\x010", count: bytes = b"K\x04", kind: bytes = STORAGE) -> bytes:
    return b"(" + hostile_pickles.text("storage") + kind + key + hostile_pickles.text("cpu") + count + b"tQ"


def tensor(
    place: bytes, first: bytes = b"K\x00", shape: bytes = b"K\x04\x85", strides: bytes = b"K\x01\x85"
) -> bytes:
    made = REBUILD + b"(" + place + first + shape + strides + b"\x89}tR"
    return b"\x80\x04}" + hostile_pickles.text("w") + made + b"s."


HUGE = b"\x8a\x08" + struct.pack("<q", 1 << 62)
LIES = {
    "fine": (tensor(storage()), ""),
    "another record": (tensor(storage(b"\x8c\x011")), "no record"),
    "a record by path": (tensor(storage(hostile_pickles.text("../data.pkl"))), "no record"),
    "a key that is a number": (tensor(storage(b"K\x00")), "unknown form"),
    "more elements": (tensor(storage(count=b"K\x05")), "wrong size"),
    "negative elements": (tensor(storage(count=b"J\xff\xff\xff\xff")), "wrong size"),
    "another class": (tensor(storage(kind=hostile_pickles.named("torch", "Size"))), "unknown form"),
    "another dtype": (tensor(storage(kind=hostile_pickles.named("torch", "DoubleStorage"))), "wrong size"),
    "bytes without a dtype": (
        tensor(storage(kind=hostile_pickles.named("torch.storage", "UntypedStorage"), count=b"K\x10")), "unknown form"
    ),
    "first beyond": (tensor(storage(), first=b"K\x01"), "beyond"),
    "first far beyond": (tensor(storage(), first=HUGE), "beyond"),
    "first negative": (tensor(storage(), first=b"J\xff\xff\xff\xff"), "unknown form"),
    "shape beyond": (tensor(storage(), shape=b"K\x05\x85"), "beyond"),
    "shape far beyond": (tensor(storage(), shape=HUGE + b"\x85"), "beyond"),
    "strides beyond": (tensor(storage(), strides=b"K\x02\x85"), "beyond"),
    "negative stride": (tensor(storage(), strides=b"J\xff\xff\xff\xff\x85"), "impossible"),
    "fewer strides": (tensor(storage(), strides=b")"), "unknown form"),
    "repeated": (tensor(storage(), shape=HUGE + b"\x85", strides=b"K\x00\x85"), "expanded"),
    "repeated in part": (tensor(storage(), shape=b"K\x02K\x04\x86", strides=b"K\x00K\x01\x86"), "expanded"),
    "no storage": (tensor(b"N"), "unknown form"),
    "storage of another kind": (tensor(b"(" + hostile_pickles.text("module") + b"tQ"), "unknown form"),
    "a state": (b"\x80\x04}" + hostile_pickles.text("w") + storage() + b"}bs.", "contains code"),
    "another rebuilder": (
        b"\x80\x04" + hostile_pickles.named("torch._utils", "_rebuild_wrapper_subclass") + b".",
        "wrapper_subclass",
    ),
    "torch.load": (b"\x80\x04" + hostile_pickles.call("torch", "load", hostile_pickles.text("x")) + b".", "torch.load"),
    "a name twice": (
        b"\x80\x04}" + hostile_pickles.text("w") + b"K\x01sC\x01w" + tensor(storage())[5:-2] + b"s.", ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_tensors_that_lie_are_refused(tmp_path, name):
    stream, says = LIES[name]
    data = with_pickle(stream, _0=struct.pack("<4f", 1, 2, 3, 4))
    if name == "fine":
        assert read(tmp_path, data)[1] == {"w": struct.pack("<4f", 1, 2, 3, 4)}
    else:
        assert says in refusal(tmp_path, data)


@pytest.mark.parametrize(
    "name", selection.first_of(["nested tuples", "marks", "dictionaries", "nested tuples as a key"])
)
def test_bombs_are_refused(tmp_path, name):
    refusal(tmp_path, with_pickle(hostile_pickles.bombs()[name]))


LINEAR = """
import resource, sys, time
from converters.errors import BadInput
from converters.formats.pytorch.reader import read_pth
from converters.files import SourceFile

limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
with SourceFile(sys.argv[1]) as file:
    try:
        read_pth(file)
        print("read")
    except BadInput as error:
        print(error)
print(time.process_time())
"""


@pytest.mark.parametrize("name", selection.first_of(hostile_pickles.repeated()))
def test_what_is_stored_once_and_used_often_costs_no_more_than_its_bytes(tmp_path, name):
    stream, says = hostile_pickles.repeated()[name]
    data = with_pickle(stream, _0=struct.pack("<4f", 1, 2, 3, 4))
    (tmp_path / "x.pth").write_bytes(data)
    limit = (40 << 20) + 100 * len(stream)
    done = subprocess.run(
        [sys.executable, "-c", LINEAR, tmp_path / "x.pth", str(limit)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    outcome, seconds = done.stdout.splitlines()
    assert says in outcome
    assert outcome == "read" or len(outcome) < 500 + len(str(tmp_path))
    assert float(seconds) < 10


@pytest.mark.full
def test_storages_of_a_file_with_a_long_name(tmp_path):
    stream, _ = hostile_pickles.repeated()["storages"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("r" * 60_000 + "/data.pkl", stream)
        archive.writestr("r" * 60_000 + "/data/0", bytes(16))
    start = time.process_time()
    assert "no dictionary" in refusal(tmp_path, out.getvalue())
    assert time.process_time() - start < 5


def test_descriptions_of_other_values_stay_small(tmp_path):
    stream, _ = hostile_pickles.repeated()["arrays beside the tensors"]
    found, raw = read(tmp_path, with_pickle(stream, _0=bytes(16)))
    assert raw == {"w": bytes(16)}
    assert len(found.other_values) == 60_000
    assert sum(len(value.kind) for value in found.other_values.values()) < 2_000_000


@pytest.mark.parametrize("place", ["bare", "wrapped", "beside"])
def test_names_that_are_not_unicode_are_refused(tmp_path, place):
    p4, odd = b"\x80\x04", b"V\\ud800w\n"
    entry = tensor(storage())[3:-1]  # its name, value and SETITEM
    value = entry.removeprefix(hostile_pickles.text("w"))
    wrapped = p4 + b"}" + hostile_pickles.text("state_dict") + b"}" + entry
    streams = {
        "bare": p4 + b"}" + entry + odd + value + b".",
        "wrapped": wrapped + odd + value + b"s.",
        "beside": wrapped + b"s" + odd + b"Ns.",
    }
    fine = streams[place].replace(odd, hostile_pickles.text("v"))
    assert "w" in read(tmp_path, with_pickle(fine, _0=bytes(16)))[1]
    message = refusal(tmp_path, with_pickle(streams[place], _0=bytes(16)))
    assert r"not valid Unicode: \ud800w" in message


def test_more_entries_than_any_checkpoint_has_are_refused(tmp_path):
    value = {"state_dict": {"w": torch.ones(2)} | {f"n{index}": 0 for index in range(TENSOR_LIMIT)}}
    assert "65,537 entries" in refusal(tmp_path, saved(value))


def test_a_file_cut_anywhere_is_refused(tmp_path):
    data = saved({"w": torch.ones(3)})
    for end in range(4, len(data)):
        with file_of(tmp_path, data[:end]) as file, pytest.raises(BadInput):
            read_pth(file)


@pytest.mark.full
def test_random_damage_ends_in_a_value_or_a_refusal(tmp_path):
    data = saved({"w": torch.ones(3), "v": torch.arange(6).reshape(2, 3).t()})
    refused = 0
    for bit in range(0, 8 * len(data), 5):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with file_of(tmp_path, bytes(changed)) as file:
            try:  # without checksums, which would refuse nearly everything
                for made in read_pth(file, checksum=False).tensors.values():
                    assert len(made.tobytes()) == made.nbytes
            except BadInput:
                refused += 1
    assert refused > 500


def central(data: bytes) -> int:
    """Where the first entry of the central directory begins."""
    return data.index(b"PK\x01\x02")


@pytest.mark.parametrize(
    ("at", "form", "value", "says"),
    [
        (8, "<H", 1, "encrypted"),
        (10, "<H", 8, "compressed"),
        (20, "<L", 7, "compressed"),
        (42, "<L", 5, "not where"),
        (42, "<L", 0xFFFFFFFF, "zip64"),
        (42, "<L", 0x7FFFFFFF, "outside"),
        (28, "<H", 0xFFFF, "directory"),
        (0, "<L", 0, "directory"),
    ],
)
def test_directories_that_lie_are_refused(tmp_path, at, form, value, says):
    data = bytearray(with_pickle(tensor(storage()), _0=bytes(16)))
    struct.pack_into(form, data, central(data) + at, value)
    assert says in refusal(tmp_path, bytes(data))


def test_records_across_each_other_are_refused(tmp_path):
    data = bytearray(with_pickle(tensor(storage()), _0=bytes(16)))
    second = data.index(b"PK\x01\x02", central(data) + 4)
    data[second + 42 : second + 46] = data[central(data) + 42 : central(data) + 46]
    assert "record" in refusal(tmp_path, bytes(data))
    long = bytearray(with_pickle(tensor(storage()), _0=bytes(16)))
    struct.pack_into("<2L", long, central(long) + 20, 400, 400)
    assert "across another" in refusal(tmp_path, bytes(long))


def test_a_record_twice_is_refused(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", tensor(storage()))
        archive.writestr("archive/data/0", bytes(16))
        archive.writestr("archive/data/1", bytes(16))
    data = out.getvalue().replace(b"archive/data/1", b"archive/data/0")
    assert "twice" in refusal(tmp_path, data)


@pytest.mark.parametrize(
    ("at", "value", "says"), [(8, 9, "records"), (12, 9, "directory"), (16, 9, "directory")]
)
def test_end_records_that_lie_are_refused(tmp_path, at, value, says):
    data = bytearray(with_pickle(tensor(storage()), _0=bytes(16)))
    end = data.index(b"PK\x05\x06")
    struct.pack_into("<H" if at < 12 else "<L", data, end + at, value)
    if at == 8:
        struct.pack_into("<H", data, end + 10, value)
    assert says in refusal(tmp_path, bytes(data))
    assert "after its end" in refusal(tmp_path, with_pickle(tensor(storage()), _0=bytes(16)) + b"x")


def test_a_sparse_file_over_4_gb(tmp_path):
    """zip64: sizes and offsets over 32 bits, on the way as Python's zipfile writes them."""
    path = tmp_path / "large.pth"
    size = (4 << 30) + 16
    count = b"\x8a\x05" + (size // 4).to_bytes(5, "little")
    stream = tensor(storage(b"\x8c\x011"), shape=b"K\x02\x85")
    stream = (
        stream[:-1] + hostile_pickles.text("big") + tensor(storage(count=count), shape=count + b"\x85")[6:]
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", b"3")
    header = struct.Struct("<4s5H3L2H")
    names = {"archive/data/0": size, "archive/data/1": 16, "archive/data.pkl": len(stream)}
    entries = b""
    with open(path, "wb") as out:
        for name, length in names.items():
            start = out.tell()
            out.write(header.pack(b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), 20))
            out.write(name.encode() + struct.pack("<2H2Q", 1, 16, length, length))
            if name.endswith("pkl"):
                out.write(stream)
            else:
                out.seek(length - 4, os.SEEK_CUR)
                out.write(struct.pack("<f", 2.5))
            extra = struct.pack("<2H3Q", 1, 24, length, length, start)
            full = 0xFFFFFFFF
            fields = (45, 45, 0, 0, 0, 0, 0, full, full, len(name), len(extra), 0, 0, 0, 0, full)
            entries += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields) + name.encode() + extra
        start = out.tell()
        out.write(entries)
        end = out.tell()
        out.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, len(entries), start))
        out.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1))
        out.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, full, full, 0))
    assert zipfile.ZipFile(path).getinfo("archive/data/0").file_size == size
    with SourceFile(path) as file:
        found = read_pth(file)
        large = found.tensors["big"]
        assert isinstance(large.data, FileBytes)
        assert large.shape == (size // 4,)
        assert file.read_at(large.data.offset + size - 4, 4) == struct.pack("<f", 2.5)
        assert found.tensors["w"].tobytes() == bytes(8)


def test_reading_imports_neither_torch_nor_numpy(tmp_path):
    code = (
        "import sys\n"
        "from converters.formats.pytorch.reader import read_pth\n"
        "from converters.files import SourceFile\n"
        "with SourceFile(sys.argv[1]) as file:\n"
        "    read_pth(file).tensors['0.weight'].tobytes()\n"
        "assert not {'numpy', 'torch', 'pickle', 'zipfile'} & set(sys.modules)\n"
    )
    path = tmp_path / "x.pth"
    path.write_bytes(saved(network().state_dict()))
    subprocess.run([sys.executable, "-c", code, path], check=True, cwd=ROOT, timeout=60)


def test_joined_zip_files_are_said_to_be(tmp_path):
    """Also two of one size, whose end record leads to the first; and one behind other bytes."""
    for number in (1, 2):
        torch.save({"a": torch.full((3,), number), "b": torch.ones(2)}, tmp_path / f"{number}.pth")
    first, second = ((tmp_path / f"{number}.pth").read_bytes() for number in (1, 2))
    small = io.BytesIO()
    with zipfile.ZipFile(small, "w") as archive:
        archive.writestr("notes.txt", "no weights")
    for front, last in ((first, second), (small.getvalue(), second), (first, small.getvalue())):
        path = tmp_path / "joined.pth"
        path.write_bytes(front + last)
        with pytest.raises(BadInput, match=f"has {len(front):,} bytes in front of the zip file") as caught:
            open_checkpoint(str(path))
        assert f"tail -c +{len(front) + 1}" in caught.value.hint
        assert path.read_bytes()[len(front) :] == last
