"""The reader of TensorFlow checkpoints: real files, every way of naming them, and damaged and hostile ones."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
import types
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.files import CHUNK, SourceFile
from converters.formats.io import crc32c as crc32c_module
from converters.formats.io.crc32c import Folded, crc32c, masked, running_crc32c
from converters.formats.io.protobuf_fields import Damaged
from converters.formats.tensorflow.files import find_checkpoint, names_checkpoint
from converters.formats.tensorflow.reader import read_tensorflow, verify_crcs
from converters.formats.tensorflow.slices import slice_key
from converters.formats.tensorflow.snappy import decompress
from converters.formats.tensorflow.sstable import read_table
from tests.helpers import i3d_tables, selection
from tests.helpers.budgets import examples
from tests.helpers.paths import REPOSITORY
from tests.helpers.tensorflow_files import (
    FIXTURES,
    HEADER,
    contents,
    entry,
    extents,
    fixed32,
    fixtures,
    message,
    number,
    shape_proto,
    table,
    v1_meta,
    v1_values,
    values,
    varint,
    write_v1,
    write_v2,
)

# CRC-32C


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # these four: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc_of_known_messages(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc
    running = Folded()
    for byte in data:
        running.update(bytes((byte,)))
    assert running.value() == crc


def bitwise(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [1, 7, 35, 36, 37, 300, 711, 715, 4093, 20000])
def test_folding_is_the_bitwise_definition(size: int) -> None:
    data = os.urandom(size)
    running = Folded()
    running.update(data)
    assert running.value() == bitwise(data)


@pytest.mark.parametrize("size", [131067, 131068, 131072, 262144, 300001])
def test_pieces_of_any_size_give_the_same(size: int) -> None:
    """Folded by numpy at once, in pieces, and by the bits of a whole number alone."""
    data = os.urandom(size)
    whole, pieces = Folded(), Folded()
    whole.update(data)
    for start in range(0, size, 70001):
        pieces.update(memoryview(data)[start : start + 70001])
    short = crc32c_module._fold_bits(bytearray(crc32c_module._START + data))
    register = 0
    for byte in short:
        register = register >> 8 ^ crc32c_module._TABLE[(register ^ byte) & 0xFF]
    assert whole.value() == pieces.value() == register ^ 0xFFFFFFFF


def test_the_multiples_are_multiples() -> None:
    for degree, terms in crc32c_module._MULTIPLES:
        remainder = 0
        for power in (degree, *terms):
            value = 1
            for _ in range(power):
                value <<= 1
                value ^= 0x11EDC6F41 if value >> 32 else 0
            remainder ^= value
        assert remainder == 0


def test_crc_is_quick() -> None:
    """Far below what a table byte by byte takes (four seconds)."""
    data = bytes(50_000_000)
    crc32c(data[:200_000])
    started = time.process_time()
    crc32c(data)
    assert time.process_time() - started < 0.5


def test_an_extension_is_used_where_there_is_one(monkeypatch) -> None:
    asked = []

    def extend(value: int, data: bytes) -> int:
        assert type(data) is bytes
        asked.append(len(data))
        return value + len(data)

    monkeypatch.setitem(sys.modules, "google_crc32c", types.ModuleType("google_crc32c"))
    module = types.ModuleType("google_crc32c._crc32c")
    module.extend = extend
    monkeypatch.setitem(sys.modules, "google_crc32c._crc32c", module)
    running = running_crc32c()
    running.update(memoryview(bytearray(5)))
    running.update(b"12")
    assert running.value() == 7
    assert asked == [5, 2]


def test_mask() -> None:
    assert masked(0) == 0xA282EAD8
    assert masked(0xFFFFFFFF) == 0xA282EAD7
    assert masked(1) == 0xA284EAD8


# Snappy


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\0", b""),
        (b"\x03\x08abc", b"abc"),
        (b"\x08\x04ab\x09\x02", b"ab" * 4),  # a copy of one byte's offset that repeats itself
        (b"\x07\x04ab\x12\x02\0", b"abababa"),
        (b"\x06\x08abc\x0b\x03\0\0\0", b"abcabc"),
        (b"\x3d\xf0\x3c" + b"x" * 61, b"x" * 61),
        (b"\x80\x08\xf4\xff\x03" + b"y" * 1024, b"y" * 1024),
    ],
)
def test_snappy(packed: bytes, plain: bytes) -> None:
    assert decompress(packed) == plain


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (b"", "does not end"),
        (b"\x80", "does not end"),
        (b"\x03", "less than it claims"),
        (b"\x03\x08ab", "ends early"),
        (b"\x02\x08abc", "more than it claims"),
        (b"\x04\x08abc", "less than it claims"),
        (b"\x04\x00a\x05", "ends early"),
        (b"\x05\x00a\x01\x00", "before its beginning"),
        (b"\x05\x00a\x01\x02", "before its beginning"),
        (b"\x05\x01\x01", "before its beginning"),
        (b"\x10\xfc\xff\xff\xff\xff", "ends early"),
        (b"\xff\xff\xff\xff\x0f\x00a", "claims to hold 4,294,967,295"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "more than 64 bits"),
    ],
)
def test_damaged_snappy(packed: bytes, says: str) -> None:
    with pytest.raises(Damaged, match=says):
        decompress(packed)


# Files of real TensorFlow


@pytest.mark.parametrize("name", sorted(fixtures()))
@pytest.mark.parametrize("checksum", [True, False])
def test_fixture_is_read_bit_for_bit(name: str, checksum: bool) -> None:
    wanted = {
        variable: (dtype, shape, values(variable, dtype, shape))
        for variable, (dtype, shape) in fixtures()[name].items()
    }
    with read_tensorflow(str(FIXTURES / name), checksum=checksum) as checkpoint:
        assert contents(checkpoint.tensors) == wanted
        assert checkpoint.version == ("V1" if "v1" in name else "V2")
        assert checkpoint.checksum is checksum
        others = {
            "complex64/vector": ("complex64", (3,)),
            "text/scalar": ("text", ()),
            "text/vector": ("text", (3,)),
        }
        kept = {key: (value.kind, value.shape) for key, value in checkpoint.other_values.items()}
        if name.startswith(("every", "snappy")):
            assert kept == {
                key: value for key, value in others.items() if "v1" not in name or "text" not in key
            }
        else:
            assert checkpoint.other_values == {}
        verify_crcs(checkpoint)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "object",
            {
                "model/kernel/.ATTRIBUTES/VARIABLE_VALUE": (
                    "float32",
                    (3, 2, 4),
                    values("kernel", "float32", (3, 2, 4)),
                ),
                "model/layers/0/bias/.ATTRIBUTES/VARIABLE_VALUE": (
                    "float32",
                    (4,),
                    values("bias", "float32", (4,)),
                ),
                "step/.ATTRIBUTES/VARIABLE_VALUE": ("int64", (), (7).to_bytes(8, "little")),
            },
        ),
        (
            "saved_model_2",
            {
                "kernel/.ATTRIBUTES/VARIABLE_VALUE": (
                    "float32",
                    (3, 2, 4),
                    values("kernel", "float32", (3, 2, 4)),
                ),
                "layers/0/bias/.ATTRIBUTES/VARIABLE_VALUE": (
                    "float32",
                    (4,),
                    values("bias", "float32", (4,)),
                ),
            },
        ),
    ],
)
def test_tensorflow_2_objects(name: str, wanted: dict) -> None:
    with read_tensorflow(str(FIXTURES / name)) as checkpoint:
        assert contents(checkpoint.tensors) == wanted
        assert {key: value.kind for key, value in checkpoint.other_values.items()} == {
            "_CHECKPOINTABLE_OBJECT_GRAPH": "text"
        }


@pytest.mark.parametrize("name", sorted(i3d_tables.PUBLISHED))
def test_published_index(name: str, tmp_path) -> None:
    """Names, shapes and places of DeepMind's own files; the data is a hole of the right size."""
    shutil.copy(i3d_tables.INDEXES / f"{name}.index", tmp_path / "model.ckpt.index")
    size = {"rgb": 50_818_176, "flow": 50_730_368, "rgb_600": 103_218_112}[i3d_tables.PUBLISHED[name]]
    with open(tmp_path / "model.ckpt.data-00000-of-00001", "wb") as file:
        file.truncate(size)
    wanted = dict(i3d_tables.i3d_tables()[i3d_tables.PUBLISHED[name]])
    if name.startswith("hub"):
        wanted = {key: shape if len(shape) > 1 or key.endswith("/b") else (1, 1, 1, 1, *shape)
                  for key, shape in wanted.items()}  # fmt: skip
    with read_tensorflow(str(tmp_path)) as checkpoint:
        found = {key: tensor.shape for key, tensor in checkpoint.tensors.items()}
        assert found == wanted
        assert list(found) == sorted(wanted)
        assert {tensor.dtype for tensor in checkpoint.tensors.values()} == {"float32"}
        assert sum(tensor.nbytes for tensor in checkpoint.tensors.values()) == size
        with pytest.raises(BadInput, match="CRC-32C is wrong"):
            verify_crcs(checkpoint)


def test_the_hub_module_is_rgb_scratch() -> None:
    """The same checksums in the compressed index of one and in the plain one of the other."""
    crcs = []
    for name in ("hub_i3d_kinetics_400_1", "rgb_scratch"):
        with SourceFile(i3d_tables.INDEXES / f"{name}.index") as file:
            crcs.append([bytes(one.value)[-4:] for one in read_table(file) if one.key])
    assert crcs[0] == crcs[1]


# Every way of naming a checkpoint


def copied(name: str, folder: Path) -> Path:
    """A fixture's folder, or its files in a folder of their own."""
    source = FIXTURES / name
    target = folder / name
    if source.is_dir():
        shutil.copytree(source, target)
        return target
    target.mkdir()
    for path in FIXTURES.glob(f"{name}*"):
        if path.is_file():
            shutil.copy(path, target)
    return target


@pytest.mark.parametrize(
    "words",
    [
        "trained/model.ckpt",
        "trained/model.ckpt.index",
        "trained/model.ckpt.data-00000-of-00001",
        "trained",
        "trained/",
        "trained/checkpoint",
        "trained_v1/model.ckpt",
        "trained_v1",
        "trained_v1/checkpoint",
        "sharded/model.ckpt",
        "sharded/model.ckpt.index",
        "sharded/model.ckpt.data-00001-of-00002",
        "sharded",
        "sharded/checkpoint",
        "sharded_v1/model.ckpt",
        "sharded_v1/model.ckpt-00000-of-00002",
        "sharded_v1/model.ckpt-00001-of-00002",
        "sharded_v1/model.ckpt-?????-of-00002",
        "sharded_v1",
        "sharded_v1/checkpoint",
    ],
)
def test_ways_of_naming(words: str, tmp_path) -> None:
    folder = copied(words.split("/")[0], tmp_path)
    with read_tensorflow(str(tmp_path / words) + ("/" if words.endswith("/") else "")) as checkpoint:
        assert {name: kind[:2] for name, kind in contents(checkpoint.tensors).items()} == fixtures()[
            folder.name
        ]
        assert checkpoint.prefix == str(folder / "model.ckpt")
    if not words.endswith("checkpoint"):
        (folder / "checkpoint").unlink()
        read_tensorflow(str(tmp_path / words)).close()
    assert names_checkpoint(str(tmp_path / words))


@pytest.mark.parametrize(
    "words", ["", "saved_model.pb", "variables", "variables/variables", "variables/variables.index"]
)
def test_ways_of_naming_a_saved_model(words: str) -> None:
    with read_tensorflow(str(FIXTURES / "saved_model" / words)) as checkpoint:
        assert set(checkpoint.tensors) == set(fixtures()["saved_model"])


def test_a_hub_module(tmp_path) -> None:
    folder = copied("saved_model", tmp_path)
    (folder / "saved_model.pb").rename(folder / "tfhub_module.pb")
    for path in (folder, folder / "tfhub_module.pb"):
        read_tensorflow(str(path)).close()


def test_a_relative_prefix_without_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(copied("trained", tmp_path))
    for name in ("model.ckpt", "checkpoint", ".", "model.ckpt.index"):
        read_tensorflow(name).close()
    monkeypatch.chdir(copied("sharded_v1", tmp_path))
    read_tensorflow("model.ckpt").close()


@pytest.mark.parametrize(
    "path",
    [
        "/gone/away/model.ckpt",
        "C:\\\\gone\\\\model.ckpt",
        "elsewhere/model.ckpt",
        "model\\056ckpt",
        "./model.ckpt",
    ],
)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_dead_path_in_the_file_checkpoint(path: str, quote: str, tmp_path) -> None:
    folder = copied("trained", tmp_path)
    (folder / "checkpoint").write_text(
        f"all_model_checkpoint_paths: {quote}other{quote}\nmodel_checkpoint_path: {quote}{path}{quote}\n"
    )
    for named in (folder, folder / "checkpoint"):
        with read_tensorflow(str(named)) as checkpoint:
            assert len(checkpoint.tensors) == 4


def test_a_folder_that_was_copied_is_read_itself(tmp_path) -> None:
    """Its file ``checkpoint`` still names the original, which is also there."""
    original = copied("trained", tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    (copy / "checkpoint").write_text(f'model_checkpoint_path: "{original}/model.ckpt"\n')
    with read_tensorflow(str(copy)) as checkpoint:
        assert checkpoint.prefix == str(copy / "model.ckpt")
    for path in copy.glob("model.ckpt.*"):
        path.unlink()
    with read_tensorflow(str(copy)) as checkpoint:
        assert checkpoint.prefix == str(original / "model.ckpt")


def test_a_meta_file_with_the_others_names_them(tmp_path) -> None:
    folder = copied("trained", tmp_path)
    (folder / "model.ckpt.meta").write_bytes(b"\n\x05graph")
    read_tensorflow(str(folder / "model.ckpt.meta")).close()


def test_ordinary_files_are_not_taken_for_checkpoints(tmp_path) -> None:
    for name, content in (("model.pth", b"PK\3\4"), ("vmz.pkl", b"\x80\2}."), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        assert not names_checkpoint(str(tmp_path / name))
    assert not names_checkpoint(str(tmp_path / "nothing"))


# What is missing


@pytest.mark.parametrize(
    ("fixture", "gone", "named", "says"),
    [
        ("trained", ["*.data*"], "", r"model\.ckpt\.data-00000-of-00001: cannot be opened: no such file.*\.index"),
        ("sharded", ["*00001-of*"], "model.ckpt", r"model\.ckpt\.data-00001-of-00002: cannot be opened"),
        ("sharded", ["*00000-of*"], "model.ckpt.data-00001-of-00002", r"data-00000-of-00002: cannot be opened"),
        ("trained", ["*.index"], "", r"file model\.ckpt\.index is missing"),
        ("trained", ["*.index"], "model.ckpt", r"file model\.ckpt\.index is missing"),
        ("trained", ["*.index"], "model.ckpt.index", r"file model\.ckpt\.index is missing"),
        ("trained", ["*.index"], "model.ckpt.data-00000-of-00001", r"file model\.ckpt\.index is missing"),
        ("trained", ["*.index", "checkpoint"], "", r"file model\.ckpt\.index is missing"),
        ("sharded_v1", ["*00001-of*"], "", r"file model\.ckpt-00001-of-00002 is missing"),
        ("sharded_v1", ["*00000-of*"], "model.ckpt", r"file model\.ckpt-00000-of-00002 is missing"),
        ("trained", ["model*"], "", r"names the checkpoint model\.ckpt, which is not there"),
        ("trained_v1", ["model*"], "checkpoint", r"names the checkpoint model\.ckpt, which is not there"),
        ("trained", ["*"], "", "a folder without a TensorFlow checkpoint"),
        ("trained", ["*"], "model.ckpt", "does not exist"),
        ("trained", ["*"], "model.ckpt.index", "does not exist"),
        ("saved_model", ["variables"], "", r"has no variables \(variables/variables\.index is missing\)"),
        ("saved_model", ["variables"], "saved_model.pb", "has no variables"),
        ("saved_model", ["variables/*.index"], "", r"file variables\.index is missing"),
    ],
)  # fmt: skip
def test_missing_files(fixture: str, gone: list[str], named: str, says: str, tmp_path) -> None:
    folder = copied(fixture, tmp_path)
    for pattern in gone:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(BadInput, match=says) as caught:
        read_tensorflow(str(folder / named) if named else str(folder))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("named", ["", "model.ckpt", "model.ckpt.meta"])
def test_a_meta_file_alone(named: str, tmp_path) -> None:
    (tmp_path / "model.ckpt.meta").write_bytes(b"\n\x05graph")
    with pytest.raises(BadInput, match="the graph of a checkpoint, without its weights: put model"):
        read_tensorflow(str(tmp_path / named))


def test_a_folder_of_several(tmp_path) -> None:
    for name in ("a-1", "a-2", "a-3", "a-4", "a-5"):
        (tmp_path / f"{name}.index").write_bytes(b"")
    with pytest.raises(BadInput, match=r"holds 5 checkpoints: name one of a-1, a-2, a-3, a-4, \.\.\."):
        read_tensorflow(str(tmp_path))


def test_one_version_given_as_the_other(tmp_path) -> None:
    v1, v2 = tmp_path / "as_v2.index", tmp_path / "as_v1"
    shutil.copy(FIXTURES / "trained_v1" / "model.ckpt", v1)
    shutil.copy(FIXTURES / "trained" / "model.ckpt.index", v2)
    for path in (v1, v1.with_suffix("")):
        with pytest.raises(
            BadInput, match=r"is a V1 checkpoint, not the index of a V2 one: take \.index off"
        ):
            read_tensorflow(str(path))
    with pytest.raises(BadInput, match=r"is the index of a V2 checkpoint: it must be called PREFIX\.index"):
        read_tensorflow(str(v2))


@pytest.mark.parametrize("text", [b"", b"nothing", b'model_checkpoint_path: ""', b'model_checkpoint_path: "a\\000"',
                                  b'model_checkpoint_path: "cut', b"\xff" * 5000, b'"' * 100_000])  # fmt: skip
def test_a_file_checkpoint_that_names_nothing(text: bytes, tmp_path) -> None:
    (tmp_path / "checkpoint").write_bytes(text)
    with pytest.raises(BadInput, match=r"names no checkpoint \(model_checkpoint_path\)"):
        read_tensorflow(str(tmp_path))


def test_files_of_other_kinds(tmp_path) -> None:
    for name, content in (("model.ckpt.index", b"<html>"), ("model.index", b""), ("x.index", b"\0" * 500)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match="does not end as a TensorFlow checkpoint does"):
            read_tensorflow(str(tmp_path / name))
    (tmp_path / "model.pkl").write_bytes(b"\x80\2}.")
    with pytest.raises(BadInput, match="is not a TensorFlow checkpoint"):
        read_tensorflow(str(tmp_path / "model.pkl"))
    with pytest.raises(BadInput, match="an impossible number of shards"):
        find_checkpoint(str(tmp_path / "m-00000-of-99999999999999999999"))


# Damage


def attempt(path: Path, wanted: dict, **choices: bool) -> str:
    """Read everything: either the exact contents or a clean refusal, which is returned."""
    said = ""
    try:
        with read_tensorflow(str(path), **choices) as checkpoint:
            assert contents(checkpoint.tensors) == wanted
    except BadInput as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 1000
    return said


def wanted_of(name: str) -> dict:
    return {
        variable: (dtype, shape, values(variable, dtype, shape))
        for variable, (dtype, shape) in fixtures()[name].items()
    }


DAMAGED = [
    ("trained", "model.ckpt.index"),
    ("trained", "model.ckpt.data-00000-of-00001"),
    ("trained_v1", "model.ckpt"),
    ("snappy", "snappy.index"),
    ("sharded", "model.ckpt.index"),
    ("partitioned", "partitioned.index"),
]


@pytest.mark.parametrize(("fixture", "name"), DAMAGED)
def test_cut_at_every_byte(fixture: str, name: str, tmp_path) -> None:
    path = copied(fixture, tmp_path) / name
    whole = path.read_bytes()
    wanted = wanted_of(fixture)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        said = attempt(path, wanted)
        assert "does not end as" in said or "ends early" in said or "is not a TensorFlow" in said, (
            size,
            said,
        )


@pytest.mark.parametrize(
    ("fixture", "name"),
    selection.longest(
        selection.first_of(DAMAGED), lambda fixture, _name: fixture in ("snappy", "partitioned")
    ),
)
def test_every_bit_flipped(fixture: str, name: str, tmp_path) -> None:
    """Not one goes unseen, but in the padding of the footer and in what belongs to tensors that are not read."""
    path = copied(fixture, tmp_path) / name
    whole = path.read_bytes()
    wanted = wanted_of(fixture)
    unseen = []
    step = 1 if len(whole) < 600 else 3
    for bit in range(0, 8 * len(whole), step):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not attempt(path, wanted):
            unseen.append(bit // 8)
    allowed = range(len(whole) - 48, len(whole) - 8) if ".data" not in name else ()
    assert set(unseen) <= set(allowed)


@pytest.mark.parametrize(("fixture", "name"), selection.first_of(DAMAGED))
def test_flipped_bits_without_checksums(fixture: str, name: str, tmp_path) -> None:
    """Whatever comes out then, it is a clean refusal or tensors of some sort."""
    path = copied(fixture, tmp_path) / name
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 1 if len(whole) < 300 else 7):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with suppress(BadInput), read_tensorflow(str(path), checksum=False) as checkpoint:
            for tensor in checkpoint.tensors.values():
                assert len(tensor.tobytes()) == tensor.nbytes


def test_a_damaged_tensor_is_named(tmp_path) -> None:
    folder = copied("trained", tmp_path)
    data = folder / "model.ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[60] ^= 1
    data.write_bytes(content)
    with read_tensorflow(str(folder)) as checkpoint:
        with pytest.raises(
            BadInput, match=r"has a tensor whose CRC-32C is wrong \(RGB/tiny/logits/w\)"
        ) as caught:
            verify_crcs(checkpoint)
        assert caught.value.path == str(data)
        assert checkpoint.tensors["RGB/tiny/conv/w"].tobytes() == values(
            "RGB/tiny/conv/w", "float32", (3, 2, 2)
        )
    with read_tensorflow(str(folder), checksum=False) as checkpoint:
        verify_crcs(checkpoint)


def test_a_shard_cut_after_it_was_opened(tmp_path) -> None:
    folder = copied("trained", tmp_path)
    with read_tensorflow(str(folder)) as checkpoint:
        os.truncate(folder / "model.ckpt.data-00000-of-00001", 50)
        with pytest.raises(BadInput, match="ends early"):
            verify_crcs(checkpoint)


def test_files_are_closed(tmp_path) -> None:
    folder = copied("sharded", tmp_path)

    def opened() -> int:
        return sum(
            os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(folder))
            for fd in os.listdir("/proc/self/fd")
        )

    with read_tensorflow(str(folder)) as checkpoint:
        if sys.platform == "linux":
            assert opened() == 3
        assert checkpoint.size == sum(path.stat().st_size for path in folder.glob("model*"))
    (folder / "model.ckpt.data-00001-of-00002").unlink()
    with pytest.raises(BadInput):
        read_tensorflow(str(folder))
    if sys.platform == "linux":
        assert opened() == 0


# Files that lie, with right checksums

FOUR = bytes(range(16))
GOOD = entry((4,), 0, FOUR)

LIES = {
    "no header": ({b"": b"", b"x": GOOD}, "no header"),
    "big shard number": ({b"x": entry((4,), 0, FOUR, shard=3)}, r"data in shard 3 of 1 \(x\)|\(x\)"),
    "newer format": ({b"": number(1, 1) + message(3, number(2, 2)), b"x": GOOD}, "version 2 of the format"),
    "byte order": ({b"": number(1, 1) + number(2, 7), b"x": GOOD}, "unknown byte order"),
    "version that is a number": ({b"": number(1, 1) + number(3, 2), b"x": GOOD}, "where a message belongs"),
    "offset beyond the end": ({b"x": entry((4,), 1, FOUR)}, "ends early: 16 bytes needed at offset 1"),
    "huge offset": ({b"x": entry((4,), 1 << 63, FOUR)}, "ends early"),
    "huge shape": ({b"x": entry((1 << 62, 1 << 62, 1 << 62), 0, FOUR)}, "more than any file has"),
    "shape that wraps": ({b"x": entry((1 << 62, 4, 4), 0, FOUR)}, "more than any file has"),
    "negative size": ({b"x": entry((-1,), 0, FOUR)}, "an impossible shape"),
    "two negative sizes": ({b"x": entry((-2, -2), 0, FOUR)}, "an impossible shape"),
    "size too small": ({b"x": entry((4,), 0, FOUR[:12])}, "12 bytes where its shape and dtype take 16"),
    "size too large": ({b"x": entry((4,), 0, 1 << 63)}, "where its shape and dtype take 16"),
    "65 axes": ({b"x": entry((1,) * 65, 0, FOUR[:4])}, "an impossible shape"),
    "unknown rank": ({b"x": number(1, 1) + message(2, number(3, 1))}, "an unknown shape"),
    "shape that is a number": ({b"x": number(1, 1) + number(2, 5)}, "a shape that is not a message"),
    "two in one place": ({b"x": GOOD, b"y": entry((2,), 8, FOUR[8:])}, r"another tensor's place \(y\)"),
    "the same twice": ({b"x": GOOD, b"y": GOOD}, r"another tensor's place"),
    "name that is not UTF-8": ({b"\xff": GOOD}, "a name that is not UTF-8"),
    "terminal codes in a name": ({b"\x1b[2J": entry((4,), 1, FOUR)}, "ends early"),
    "garbage": ({b"x": b"\xff\xff\xff"}, "a number that does not end"),
    "field 0": ({b"x": b"\0\0"}, "a field of number 0"),
    "group": ({b"x": b"\x0b"}, "a field of wire type 3"),
    "message beyond the end": ({b"x": b"\x12\x7f"}, "reaches beyond its message"),
    "cut fixed number": ({b"x": b"\x35\0\0"}, "reaches beyond its message"),
    "number of 70 bits": ({b"x": b"\x08" + b"\xff" * 9 + b"\x7f"}, "more than 64 bits"),
    "number without an end": ({b"x": b"\x08" + b"\xff" * 30}, "more than 64 bits"),
    "a part without its variable": ({slice_key("x", ((0, 4),)): GOOD}, "parts of a variable that it does not have"),
    "a part that is not there": (
        {b"x": number(1, 1) + message(2, shape_proto((4,))) + message(7, extents((0, 4)))}, "a part that is not there"
    ),
}  # fmt: skip


def partitioned(shape: tuple[int, ...], *parts: tuple[tuple[int, int], ...], of: tuple | None = None) -> dict:
    """A variable's entry and those of its parts, one after the other; ``of`` gives the parts other shapes."""
    whole = (
        number(1, 1) + message(2, shape_proto(shape)) + b"".join(message(7, extents(*part)) for part in parts)
    )
    entries = {b"x": whole}
    place = 0
    for number_, part in enumerate(parts):
        sizes = of[number_] if of else tuple(size for _, size in part)
        size = 4
        for one in sizes:
            size *= one
        entries[slice_key("x", part)] = entry(sizes, place, bytes(size))
        place += size
    return entries


LIES |= {
    "parts with a gap": (partitioned((4,), ((0, 1),), ((2, 2),)), "do not make up"),
    "parts that overlap": (partitioned((4,), ((0, 2),), ((1, 2),)), "parts that overlap"),
    "parts that overlap in two axes": (
        partitioned((2, 2), ((0, 2), (0, 1)), ((0, 1), (0, 2))), "parts that overlap"
    ),
    "part outside": (partitioned((4,), ((3, 2),), ((0, 2),)), "outside its variable"),
    "part far outside": (partitioned((4,), ((1 << 62, 4),)), "outside its variable"),
    "part of another rank": (partitioned((4,), ((0, 4), (0, 1))), "a slice of 2 axes"),
    "part of another shape": (partitioned((4,), ((0, 4),), of=((2, 2),)), "a part of another shape"),
    "the same part twice": (partitioned((4,), ((0, 2),), ((0, 2),)), "parts that overlap"),
    "slice that is a number": ({b"x": number(1, 1) + number(7, 1)}, "a slice that is not a message"),
    "part in another dtype": (
        {**partitioned((4,), ((0, 4),)), slice_key("x", ((0, 4),)): entry((4,), 0, FOUR, dtype=3)},
        "a part that is not there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("checksum", [True, False])
def test_lies_in_an_index(lie: str, checksum: bool, tmp_path) -> None:
    entries, says = LIES[lie]
    prefix = write_v2(tmp_path, entries, FOUR, header=entries.get(b"", HEADER))
    with pytest.raises(BadInput, match=says) as caught:
        read_tensorflow(prefix, checksum=checksum)
    assert str(caught.value).isprintable()


def test_parts_of_nothing(tmp_path) -> None:
    """An empty variable has parts that take no place."""
    with read_tensorflow(write_v2(tmp_path, partitioned((0, 3), ((0, 0), (0, 3))), b"")) as checkpoint:
        assert contents(checkpoint.tensors) == {"x": ("float32", (0, 3), b"")}


def test_big_endian_bundle(tmp_path) -> None:
    swapped = b"".join(FOUR[i : i + 4][::-1] for i in range(0, 16, 4))
    header = number(1, 1) + number(2, 1) + message(3, number(1, 1))
    with read_tensorflow(write_v2(tmp_path, {b"x": GOOD}, FOUR, header=header)) as checkpoint:
        assert checkpoint.tensors["x"].tobytes() == swapped
        verify_crcs(checkpoint)


def test_gaps_between_tensors_are_allowed(tmp_path) -> None:
    """TensorFlow aligns data where it is told to."""
    prefix = write_v2(tmp_path, {b"x": entry((4,), 64, FOUR), b"y": entry((1,), 128, FOUR[:4])},
                      bytes(64) + FOUR + bytes(48) + FOUR[:4])  # fmt: skip
    with read_tensorflow(prefix) as checkpoint:
        assert checkpoint.tensors["x"].tobytes() == FOUR
        assert checkpoint.tensors["y"].tobytes() == FOUR[:4]


FULL = extents(None)
FLOATS = message(5, FOUR)

V1_LIES = {
    "values without a header": ([v1_meta(), v1_values("x", FULL, FLOATS)], "its header does not name"),
    "values of another slice": (
        [v1_meta(("x", 1, (4,), [FULL])), v1_values("x", extents((0, 4)), FLOATS)], "its header does not name"
    ),
    "values twice": (
        [v1_meta(("x", 1, (4,), [FULL])), v1_values("x", FULL, FLOATS), v1_values("x", FULL, FLOATS)],
        "its header does not name",
    ),
    "no values": ([v1_meta(("x", 1, (4,), [FULL]))], "a part that is not there"),
    "a variable twice": ([v1_meta(("x", 1, (4,), [FULL]), ("x", 1, (4,), [FULL]))], "a variable twice"),
    "a variable in two shapes": ([v1_meta(("x", 1, (4,), []), ("x", 1, (2,), []))], "a variable twice"),
    "too few": ([v1_meta(("x", 1, (5,), [FULL])), v1_values("x", FULL, FLOATS)], "16 bytes of values"),
    "far too few": (
        [v1_meta(("x", 1, (1 << 62, 1 << 62), [extents(None, None)])),
         v1_values("x", extents(None, None), FLOATS)],
        "16 bytes of values",
    ),
    "one for all": ([v1_meta(("x", 1, (4,), [FULL])), v1_values("x", FULL, message(5, FOUR[:4]))], "4 bytes of"),
    "in two pieces": (
        [v1_meta(("x", 1, (4,), [FULL])), v1_values("x", FULL, message(5, FOUR[:8]), message(5, FOUR[8:]))],
        "more than one piece",
    ),
    "one by one": (
        [v1_meta(("x", 1, (1,), [FULL])), v1_values("x", FULL, fixed32(5, 1))], "more than one piece"
    ),
    "integers too few": (
        [v1_meta(("x", 3, (3,), [FULL])), v1_values("x", FULL, message(7, b"\1\2"))], "another number of values"
    ),
    "integers cut": (
        [v1_meta(("x", 3, (2,), [FULL])), v1_values("x", FULL, message(7, b"\1\2\x80"))], "another number of"
    ),
    "slice outside": (
        [v1_meta(("x", 1, (4,), [extents((2, 4))])), v1_values("x", extents((2, 4)), FLOATS)], "outside its"
    ),
    "slices with a gap": (
        [v1_meta(("x", 1, (8,), [extents((0, 4))])), v1_values("x", extents((0, 4)), FLOATS)], "do not make up"
    ),
    "name that is a number": ([message(1, message(1, number(1, 5)))], "where a string belongs"),
    "name that is not UTF-8": ([message(1, message(1, message(1, b"\xff")))], "a string that is not UTF-8"),
    "a number under a name": ([v1_meta(), number(2, 1)], "a number where tensors belong"),
}  # fmt: skip


@pytest.mark.parametrize("lie", V1_LIES)
def test_lies_in_a_v1_file(lie: str, tmp_path) -> None:
    (meta, *slices), says = V1_LIES[lie]
    with pytest.raises(BadInput, match=says) as caught:
        read_tensorflow(write_v1(tmp_path, meta, *slices))
    assert caught.value.exit_code == 3


def test_a_varint_of_too_many_bytes(tmp_path) -> None:
    path = write_v1(
        tmp_path, v1_meta(("x", 3, (1,), [FULL])), v1_values("x", FULL, message(7, b"\xff" * 11 + b"\1"))
    )
    with read_tensorflow(path) as checkpoint, pytest.raises(BadInput, match="more than 64 bits"):
        checkpoint.tensors["x"].tobytes()


def test_v1_integers_of_every_size(tmp_path) -> None:
    """Packed as numbers of up to ten bytes, also negative ones."""
    numbers = [0, 1, 127, 128, -1, -128]
    packed = b"".join(varint(value % (1 << 64)) for value in numbers)
    for code, size, field in ((6, 1, 7), (5, 2, 7), (3, 4, 7), (9, 8, 10)):
        path = write_v1(
            tmp_path, v1_meta(("x", code, (6,), [FULL])), v1_values("x", FULL, message(field, packed))
        )
        with read_tensorflow(path) as checkpoint:
            assert checkpoint.tensors["x"].tobytes() == b"".join(
                (value % (1 << 8 * size)).to_bytes(size, "little") for value in numbers
            )


def test_v1_integers_across_chunks(tmp_path) -> None:
    """Two bytes and three bytes for each number in turn: no chunk ends with a whole pair."""
    pairs = CHUNK // 4
    path = write_v1(
        tmp_path,
        v1_meta(("x", 3, (2 * pairs,), [FULL])),
        v1_values("x", FULL, message(7, (varint(300) + varint(70_000)) * pairs)),
    )
    with read_tensorflow(path) as checkpoint:
        assert checkpoint.tensors["x"].tobytes() == struct.pack("<II", 300, 70_000) * pairs


# Tables


def broken_table(change) -> bytes:
    """A table of one block, its content changed before the checksums are made."""
    from converters.formats.tensorflow import writer as writer

    block = writer._Block(16)
    block.add(b"", HEADER)
    block.add(b"x", GOOD)
    content = bytearray(block.content())
    content = change(content) or content

    def stored(place: int, data: bytes) -> tuple[bytes, bytes]:
        data += b"\0"
        return data + masked(crc32c(data)).to_bytes(4, "little"), varint(place) + varint(len(data) - 1)

    first, handle = stored(0, bytes(content))
    index = writer._Block(1)
    index.add(b"y", handle)
    meta, meta_handle = stored(len(first), writer._Block(1).content())
    second, index_handle = stored(len(first) + len(meta), index.content())
    end = (meta_handle + index_handle).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    return first + meta + second + end


def replaced(old: bytes, new: bytes):
    def change(content: bytearray) -> bytearray:
        assert old in content
        return bytearray(bytes(content).replace(old, new, 1))

    return change


TABLES = {
    "whole": (lambda content: None, ""),
    "no room for restarts": (lambda content: bytearray(b"\0"), "without a list of restarts"),
    "restarts beyond the block": (lambda content: content[:-4] + b"\xff\xff\xff\x7f", "without a list of restarts"),
    "shares what is not there": (replaced(b"\0\1", b"\1\1"), "reaches beyond its block"),
    "key beyond the block": (replaced(b"\0\1", b"\0\x7f"), "reaches beyond its block"),
    "value beyond the block": (
        replaced(bytes((len(GOOD),)) + b"x", b"\x7fx"), "reaches beyond its block"
    ),
    "keys out of order": (replaced(b"\0\1" + bytes((len(GOOD),)) + b"x", b"\0\0" + bytes((len(GOOD) + 1,)) + b"x"),
                          "not in order"),
    "cut number": (lambda content: b"\x80" + content[-8:], "a number that does not end"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_broken_tables(name: str, tmp_path) -> None:
    change, says = TABLES[name]
    (tmp_path / "m.index").write_bytes(broken_table(change))
    (tmp_path / "m.data-00000-of-00001").write_bytes(FOUR)
    if not says:
        with read_tensorflow(str(tmp_path / "m")) as checkpoint:
            assert checkpoint.tensors["x"].tobytes() == FOUR
        return
    with pytest.raises(BadInput, match=says):
        read_tensorflow(str(tmp_path / "m"))


def test_blocks_that_are_used_twice(tmp_path) -> None:
    """An index that names one block many times would be read many times."""
    from converters.formats.tensorflow import writer as writer

    whole = table([(b"", HEADER), (b"x", GOOD)])
    with SourceFile(FIXTURES / "trained" / "model.ckpt.index") as file:
        assert len(list(read_table(file))) == 5
    block_size = whole.index(b"\0\0\0\0\1\0\0\0") + 8
    content = whole[:block_size]
    assert masked(crc32c(content + b"\0")).to_bytes(4, "little") == whole[block_size + 1 : block_size + 5]
    index = writer._Block(1)
    for key in (b"a", b"b", b"c"):
        index.add(key, varint(0) + varint(block_size))
    start = block_size + 5
    raw = index.content() + b"\0"
    rest = raw + masked(crc32c(raw)).to_bytes(4, "little")
    empty = writer._Block(1).content() + b"\0"
    rest += empty + masked(crc32c(empty)).to_bytes(4, "little")
    handles = varint(start + len(raw) + 4) + varint(len(empty) - 1) + varint(start) + varint(len(raw) - 1)
    (tmp_path / "m.index").write_bytes(
        content + b"\0" + whole[block_size + 1 : start] + rest + handles.ljust(40, b"\0") + whole[-8:]
    )
    with pytest.raises(BadInput, match="blocks that are not in order"):
        read_tensorflow(str(tmp_path / "m.index"))


@examples(300)
@given(st.data())
def test_any_bytes_with_right_checksums(data) -> None:
    """Values of an index changed at random, checksums made again: tensors or a clean refusal."""
    import tempfile

    with SourceFile(FIXTURES / "partitioned.index") as file:
        rows = [(one.key, bytearray(one.value)) for one in read_table(file)]
    for _ in range(data.draw(st.integers(1, 3))):
        value = rows[data.draw(st.integers(0, len(rows) - 1))][1]
        if value:
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "m.index").write_bytes(table([(key, bytes(value)) for key, value in rows]))
        shutil.copy(FIXTURES / "partitioned.data-00000-of-00001", path / "m.data-00000-of-00001")
        with suppress(BadInput), read_tensorflow(str(path / "m")) as checkpoint:
            for tensor in checkpoint.tensors.values():
                assert len(tensor.tobytes()) == tensor.nbytes


@examples(200)
@given(st.binary(max_size=80))
def test_any_bytes_as_snappy(packed: bytes) -> None:
    with suppress(Damaged):
        assert len(decompress(packed)) <= 22 * len(packed)


# Bombs: small files that want much memory or time


def bombs(folder: Path) -> dict[str, str]:
    """Checkpoints by what they try."""
    made = {}

    def case(name: str) -> Path:
        path = folder / name.replace(" ", "_")
        path.mkdir()
        made[name] = str(path)
        return path

    huge = entry((1 << 40,), 0, 1 << 42)
    write_v2(case("a huge tensor"), {b"x": huge}, FOUR)
    write_v2(case("a huge tensor in parts"), partitioned((1 << 40,), ((0, 1 << 39),), of=((4,),)), FOUR)
    same = {b"%06d" % i: entry((1 << 18,), 0, 1 << 20) for i in range(20000)}
    write_v2(case("one place for all"), same, bytes(1 << 20))
    many = b"".join(message(7, extents((0, 1), (0, 1))) for _ in range(100_000))
    write_v2(case("many parts"), {b"x": number(1, 1) + message(2, shape_proto((1000, 1000))) + many}, FOUR)
    write_v2(case("many shards"), {b"x": GOOD}, FOUR, header=number(1, 1 << 62))

    # Keys that share four thousand bytes with the one before: seven bytes in the file each.
    keys = bytearray(varint(0) + varint(4000) + varint(0) + b"k" * 4000)
    for i in range(90_000):
        keys += varint(4000) + b"\x03\0" + i.to_bytes(3, "big")
    path = case("long keys")
    (path / "m.index").write_bytes(broken_table(lambda _: keys + b"\0\0\0\0\1\0\0\0"))
    keys = bytearray()
    for i in range(60_000):
        keys += varint(min(i, 4000)) + b"\1\0z"
    path = case("keys that grow")
    (path / "m.index").write_bytes(broken_table(lambda _: keys + b"\0\0\0\0\1\0\0\0"))

    name = "v" * 100
    path = case("a varint list")
    write_v1(
        path, v1_meta((name, 6, (3_000_000,), [FULL])), v1_values(name, FULL, message(7, b"\1" * 3_000_000))
    )
    nested = b""
    for _ in range(2000):
        nested = message(1, nested)
    write_v1(case("nested messages"), nested)
    return made


@pytest.mark.full
def test_bombs_cost_little(tmp_path) -> None:
    made = bombs(tmp_path)
    script = """
import resource, sys, time
from converters.errors import BadInput
from converters.formats.tensorflow.reader import read_tensorflow, verify_crcs
import numpy  # its libraries reserve address space
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (64 << 20), taken + (64 << 20)))
for path in sys.argv[1:]:
    started = time.process_time()
    try:
        with read_tensorflow(path) as checkpoint:
            verify_crcs(checkpoint)
        said = "read"
    except BadInput as error:
        said = str(error)
    print(f"{time.process_time() - started:.2f} {said}")
"""
    if sys.platform != "linux":
        pytest.skip("limits of memory are Linux's")
    done = subprocess.run(
        [sys.executable, "-c", script, *made.values()],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(zip(made, done.stdout.splitlines(), strict=True))
    for name, line in lines.items():
        assert float(line.split()[0]) < 5, (name, line)
    said = {name: line.split(" ", 1)[1] for name, line in lines.items()}
    assert said.pop("a varint list") == "read"
    assert "keys far longer than itself" in said["long keys"]
    assert all(line != "read" for line in said.values()), said


# What it costs


def test_names_are_read_without_numpy_or_torch() -> None:
    script = (
        "import sys; from converters.formats.tensorflow.reader import read_tensorflow\n"
        f"checkpoint = read_tensorflow({str(FIXTURES / 'every')!r})\n"
        "assert len(checkpoint.tensors) == 15\n"
        "print(sorted({'numpy', 'torch', 'tensorflow', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
