"""PyTorch's formats before 1.6, and TorchScript, are read as data: files of real PyTorchs, damaged and lying ones."""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.formats.open import open_checkpoint
from converters.formats.pytorch.legacy import MAGIC
from tests.formats.pytorch.test_reader import bits, repacked, saved
from tests.helpers import hostile_pickles, selection
from tests.helpers.budgets import examples
from tests.helpers.other_values import plain
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

ROOT = REPOSITORY
FIXTURES = ROOT / "tests" / "fixtures" / "pytorch"
LEGACY = sorted(FIXTURES.glob("legacy-*.pth"))
SCRIPTS = sorted(FIXTURES.glob("script-*.pth"))
TAR = FIXTURES / "tar-py311-torch2.13.0.pth"


def writer():
    """The script that wrote the fixtures, which says what they hold."""
    path = ROOT / "scripts" / "fixtures" / "make_pytorch_fixtures.py"
    spec = importlib.util.spec_from_file_location("make_pytorch_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = writer()


def read(path: Path):
    """What is read, and all tensors' bytes."""
    with open_checkpoint(str(path)) as checkpoint:
        return checkpoint, {name: tensor.tobytes() for name, tensor in checkpoint.tensors.items()}


def read_bytes(folder: Path, data: bytes):
    (folder / "x.pth").write_bytes(data)
    return read(folder / "x.pth")


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read_bytes(folder, data)
    assert str(caught.value).isprintable()
    return str(caught.value)


def legacy(value) -> bytes:
    return saved(value, _use_new_zipfile_serialization=False)


def scripted(module: torch.nn.Module) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(module), out)
    return out.getvalue()


def agree(checkpoint, raw, wanted) -> None:
    assert set(raw) == set(wanted)
    for name, tensor in wanted.items():
        assert raw[name] == bits(tensor), name
        assert checkpoint.tensors[name].shape == tuple(tensor.shape)
        assert checkpoint.tensors[name].dtype == str(tensor.dtype).removeprefix("torch.")


@pytest.mark.parametrize("path", [*LEGACY, FIXTURES / "zip-py37-torch1.8.1.pth"], ids=lambda path: path.stem)
def test_files_of_real_pytorchs_are_read_bit_for_bit(path):
    checkpoint, raw = read(path)
    agree(checkpoint, raw, made.contents())
    assert list(raw) == list(made.contents())
    assert checkpoint.details["wrapper"] == "state_dict"
    assert plain(checkpoint.other_values["epoch"]) == 3
    assert plain(checkpoint.other_values["arch"]) == "r3d"
    assert plain(checkpoint.other_values["optimizer"])["param_groups"][0]["momentum"] == 0.9
    assert checkpoint.container == ("PyTorch zip file" if "zip" in path.name else "PyTorch file, before 1.6")


def test_there_are_files_of_python_2_and_of_the_oldest_and_the_newest_pytorch():
    names = " ".join(path.stem for path in LEGACY)
    assert all(which in names for which in ("py27-torch1.0", "py36-torch1.0", "py37-torch1.8", "torch2.13"))


def test_the_tar_format(tmp_path):
    checkpoint, raw = read(TAR)
    agree(checkpoint, raw, made.tar_contents())
    assert checkpoint.container == "PyTorch file, before 0.1.10"
    assert plain(checkpoint.other_values["epoch"]) == 3
    # PyTorch still reads it, so what was put together by hand is what its old versions wrote.
    theirs = torch.load(TAR, weights_only=False)["state_dict"]
    assert {name: bits(tensor) for name, tensor in theirs.items()} == raw
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(__file__, "checkpoint.pth")
    assert "tar archive" in refusal(tmp_path, (tmp_path / "other.tar").read_bytes())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_torchscript(path):
    checkpoint, raw = read(path)
    wanted = made.network().state_dict()
    agree(checkpoint, raw, wanted)
    assert list(raw) == list(wanted)
    assert checkpoint.container == "TorchScript file"


def test_a_traced_network_a_shared_module_and_a_frozen_one(tmp_path):
    module = torch.nn.Sequential(made.network(), torch.nn.ReLU())
    traced = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 2, 1, 1, 1)), traced)
    agree(*read_bytes(tmp_path, traced.getvalue()), module.state_dict())
    linear = torch.nn.Linear(2, 2)
    twice = torch.nn.Sequential(linear, linear)
    agree(*read_bytes(tmp_path, scripted(twice)), twice.state_dict())
    frozen = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(made.network())), frozen)
    assert "frozen" in refusal(tmp_path, frozen.getvalue())


def test_attributes_of_many_sorts_are_left_aside(tmp_path):
    class SuspectTensor(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)
            self.sizes = torch.jit.Attribute([1, 2], list[int])
            self.names = torch.jit.Attribute({"a": 1}, dict[str, int])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) + self.sizes[0] + self.names["a"]

    module = SuspectTensor()
    agree(*read_bytes(tmp_path, scripted(module)), module.state_dict())


def test_a_module_that_a_script_declares_itself(tmp_path):
    class Own(torch.nn.Sequential):
        pass

    Own.__module__ = "__main__"
    module = Own(torch.nn.Linear(2, 1))
    agree(*read_bytes(tmp_path, scripted(module)), module.state_dict())


def test_the_code_of_torchscript_neither_runs_nor_is_read(tmp_path):
    def change(records):
        return {name: b"import os" if "/code/" in name else data for name, data in records.items()}

    wanted = made.network()
    agree(*read_bytes(tmp_path, repacked(scripted(wanted), change)), wanted.state_dict())


def test_torchscript_that_lies_is_refused(tmp_path):
    def with_data(stream: bytes) -> bytes:
        def change(records):
            key = next(name for name in records if name.endswith("/data.pkl"))
            return {**records, key: stream}

        return repacked(scripted(made.network()), change)

    new = b"\x80\x02c__torch__.M\nM\n)\x81"
    assert "no module" in refusal(tmp_path, with_data(b"\x80\x02}."))
    assert "frozen" in refusal(tmp_path, with_data(new + b"}b."))
    assert "own code" in refusal(tmp_path, with_data(new + b"K\x01b."))
    assert "contains code" in refusal(tmp_path, with_data(b"\x80\x02c__torch__.M\nM\n)R."))
    assert "contains code" in refusal(tmp_path, with_data(b"\x80\x02c__torch__.M\nM\nK\x01\x85\x81."))
    assert "contains code" in refusal(tmp_path, with_data(b"\x80\x02cos\nsystem\n)\x81."))
    itself = new + b"q\x00}X\x01\x00\x00\x00ah\x00sb."
    assert "too deeply" in refusal(tmp_path, with_data(itself))
    levels = new + b"q\x00}b"
    for level in range(40):  # each module is twice in the next: 2^40 paths
        levels += b"0" + new[2:] + bytes((ord("q"), level + 1)) + b"}("
        levels += b"X\x01\x00\x00\x00ah" + bytes((level,)) + b"X\x01\x00\x00\x00bh" + bytes((level,)) + b"ub"
    assert "too deeply or too many" in refusal(tmp_path, with_data(levels + b"."))


def test_every_dtype_and_view_in_the_legacy_format(tmp_path):
    from tests.formats.pytorch.test_reader import every

    value = every()
    agree(*read_bytes(tmp_path, legacy(value)), value)


@examples(40)
@given(shape=st.lists(st.integers(0, 5), max_size=4), data=st.data())
def test_any_view_comes_back_from_the_legacy_format(tmp_path, shape, data):
    tensor = torch.arange(int(torch.tensor(shape).prod()) if shape else 1, dtype=torch.int32).reshape(shape)
    tensor = tensor.permute(data.draw(st.permutations(range(len(shape)))))
    for axis, size in enumerate(tensor.shape):
        first, step = data.draw(st.integers(0, size)), data.draw(st.integers(1, 3))
        tensor = tensor[(slice(None),) * axis + (slice(first, None, step),)]
    agree(*read_bytes(tmp_path, legacy({"w": tensor})), {"w": tensor})


STORAGE = b"ctorch\nFloatStorage\n"


def by_hand(
    *, place: bytes | None = None, keys: object = ("0",), counts: tuple[int, ...] = (4,), after: bytes = b"",
    version: int = 1001, first: bytes = b"K\x00", shape: bytes = b"K\x02\x85",
) -> bytes:  # fmt: skip
    """A file of one tensor ``w``, two elements of the storage ``0`` of four."""
    place = reference() if place is None else place
    made_of = b"ctorch._utils\n_rebuild_tensor\n(" + place + first + shape + b"K\x01\x85tR"
    data = pickle.dumps(MAGIC, 2) + pickle.dumps(version, 2) + pickle.dumps({"little_endian": True}, 2)
    data += b"\x80\x02}X\x01\x00\x00\x00w" + made_of + b"s." + pickle.dumps(list(keys), 2)
    for count in counts:
        data += struct.pack("<q4f", count, 1, 2, 3, 4)
    return data + after


def reference(
    *, key: bytes = b"U\x010", count: bytes = b"K\x04", view: bytes = b"N", kind: bytes = STORAGE
) -> bytes:
    return b"(U\x07storage" + kind + key + b"U\x03cpu" + count + view + b"tQ"


VIEW = b"(U\x01vK\x01K\x03t"


def test_parts_of_storages(tmp_path):
    """PyTorch before 0.4 wrote a storage that is a part of another by its place there."""
    data = by_hand(place=reference(view=VIEW), first=b"K\x01")
    _, raw = read_bytes(tmp_path, data)
    assert raw == {"w": struct.pack("<2f", 3, 4)}
    theirs = torch.load(tmp_path / "x.pth", weights_only=False, encoding="latin1")
    assert bits(theirs["w"]) == raw["w"]


LIES = {
    "more elements": (by_hand(counts=(5,)), "5 elements"),
    "negative elements": (by_hand(counts=(-1,)), "elements"),
    "elements beyond": (by_hand(place=reference(count=b"J\x00\x00\x00\x7f"), counts=(0x7F000000,)), "ends early"),
    "far beyond": (
        by_hand(place=reference(count=b"\x8a\x08" + struct.pack("<q", 1 << 61)), counts=(1 << 61,)), "ends early"
    ),
    "no key": (by_hand(keys=(), counts=()), "lacks a storage"),
    "a key twice": (by_hand(keys=("0", "0"), counts=(4, 4)), "or that occurs twice"),
    "another key": (by_hand(keys=("1",)), "no tensor names"),
    "a key that is not a text": (by_hand(keys=(1,)), "no tensor names"),
    "bytes after": (by_hand(after=b"x"), "1 more bytes"),
    "another version": (by_hand(version=1002), "version"),
    "beyond the storage": (by_hand(first=b"K\x03"), "beyond"),
    "beyond the part": (by_hand(place=reference(view=VIEW), first=b"K\x02"), "beyond"),
    "a part beyond": (by_hand(place=reference(view=b"(U\x01vK\x02K\x03t")), "outside its storage"),
    "a negative part": (by_hand(place=reference(view=b"(U\x01vJ\xff\xff\xff\xffK\x02t")), "outside its storage"),
    "a part of another form": (by_hand(place=reference(view=b"K\x01")), "unknown form"),
    "a class of another sort": (by_hand(place=reference(kind=b"ctorch\nfloat32\n")), "unknown form"),
    "a module": (by_hand(place=b"(U\x06moduleNNNNNtQ"), "whole modules"),
    "shape far beyond": (by_hand(shape=b"\x8a\x08" + struct.pack("<q", 1 << 62) + b"\x85"), "beyond"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_legacy_files_that_lie_are_refused(tmp_path, name):
    data, says = LIES[name]
    assert says in refusal(tmp_path, data)


@pytest.mark.parametrize("deep", [b"2\x86" * 40, b"\x85" * 20_000])
def test_a_key_is_not_printed_whole(tmp_path, deep):
    """2 ** 40 numbers, and a tuple so deep that it cannot be printed."""
    data = by_hand(keys=("4",)).replace(pickle.dumps(["4"], 2), b"\x80\x02]K\x01" + deep + b"a.")
    assert "no tensor names, or that occurs twice (a tuple)" in refusal(tmp_path, data)


def test_a_storage_in_two_forms_is_refused(tmp_path):
    one = b"ctorch._utils\n_rebuild_tensor\n(" + reference() + b"K\x00K\x02\x85K\x01\x85tR"
    two = b"ctorch._utils\n_rebuild_tensor\n(" + reference(count=b"K\x03") + b"K\x00K\x02\x85K\x01\x85tR"
    data = by_hand().replace(b"\x80\x02}X\x01\x00\x00\x00w" + one + b"s.",
                             b"\x80\x02}(X\x01\x00\x00\x00w" + one + b"X\x01\x00\x00\x00v" + two + b"u.")  # fmt: skip
    assert "two different forms" in refusal(tmp_path, data)


@pytest.mark.parametrize("name", hostile_pickles.live("x"))
def test_nothing_in_a_legacy_file_runs(tmp_path, name):
    marker = tmp_path / "it-ran"
    head = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    stream = hostile_pickles.live(str(marker))[name]
    for data in (head + stream, pickle.dumps(MAGIC, 2) + stream):
        assert "contains code" in refusal(tmp_path, data)
    for member in ("pickle", "tensors", "storages"):
        assert "contains code" in refusal(tmp_path, with_member(member, stream))
    assert not marker.exists()


def test_a_whole_model_in_the_tar_format_is_named_as_one(tmp_path):
    attributes = (
        b"}("
        + b"".join(hostile_pickles.text(name) + b"}" for name in ("_parameters", "_buffers", "_modules"))
        + b"u"
    )
    stream = b"\x80\x02cmy_project.models\nNet\n)\x81" + attributes + b"b."
    message = refusal(tmp_path, with_member("pickle", stream))
    assert "holds a whole model, which is a program: my_project.models.Net" in message
    assert "save its state_dict()" in message
    plain = with_member("pickle", b"\x80\x02cmy_project.models\nNet\n)\x81.")
    assert "contains my_project.models.Net, which is not known to be plain data" in refusal(tmp_path, plain)


def with_member(name: str, data: bytes) -> bytes:
    """The fixture in the tar format with one member replaced."""
    out = io.BytesIO()
    with (
        tarfile.open(TAR) as archive,
        tarfile.open(fileobj=out, mode="w:", format=tarfile.PAX_FORMAT) as copy,
    ):
        for info in archive.getmembers():
            content = data if info.name == name else archive.extractfile(info).read()
            info.size = len(content)
            copy.addfile(info, io.BytesIO(content))
    return out.getvalue()


TAR_LIES = {
    "tensors without storages": ("storages", pickle.dumps(0, 2) + pickle.dumps([], 2), "unknown form"),
    "a number that is none": ("tensors", pickle.dumps("many", 2), "impossible number"),
    "too many": ("tensors", pickle.dumps(1 << 40, 2), "impossible number"),
    "no storage at all": ("storages", pickle.dumps(3, 2), "ends early"),
    "parts of nothing": (
        "storages",
        pickle.dumps(0, 2) + pickle.dumps([(1, 2, 0, 3)], 2),
        "outside its storage",
    ),
    "parts of another form": ("storages", pickle.dumps(0, 2) + pickle.dumps([7], 2), "unknown form"),
    "no list of parts": ("storages", pickle.dumps(0, 2) + pickle.dumps(7, 2), "no list of the views"),
    "more axes than any": (
        "tensors",
        pickle.dumps(1, 2) + pickle.dumps((1, 2, None), 2) + struct.pack("<ii", 65, 0),
        "impossible shape",
    ),
    "a tensor that is not there": ("pickle", b"\x80\x02}X\x01\x00\x00\x00wU\x019Qs.", "does not have"),
    "a reference of another form": ("pickle", b"\x80\x02}X\x01\x00\x00\x00w]Qs.", "unknown form"),
    "a module": ("pickle", b"\x80\x02}X\x01\x00\x00\x00w(NNNtQs.", "whole modules"),
}


@pytest.mark.parametrize("name", TAR_LIES)
def test_tar_files_that_lie_are_refused(tmp_path, name):
    member, data, says = TAR_LIES[name]
    assert says in refusal(tmp_path, with_member(member, data))


def small_tar() -> bytes:
    return made.tar_bytes({"w": torch.arange(3.0), "v": torch.arange(4.0)[1:3]})


SMALL = {
    "legacy": lambda: legacy({"w": torch.ones(3), "v": torch.arange(6).reshape(2, 3).t()}),
    "tar": small_tar,
    "script": lambda: scripted(torch.nn.Linear(2, 1)),
}


@pytest.mark.parametrize("kind", selection.first_of(SMALL))
def test_a_file_cut_anywhere_is_refused(tmp_path, kind):
    data = SMALL[kind]()
    end = data.rindex(b"]q") if kind == "tar" else len(data)  # zeros to full blocks follow the last member
    for size in range(4, end, 1 if kind == "legacy" else 7):
        refusal(tmp_path, data[:size])


@pytest.mark.parametrize("kind", selection.first_of(SMALL))
def test_random_damage_ends_in_a_value_or_a_refusal(tmp_path, kind):
    data = SMALL[kind]()
    end = data.rindex(b"]q") if kind == "tar" else len(data)
    path, refused = tmp_path / "x.pth", 0
    for bit in range(0, 8 * end, 3 if kind == "legacy" else 29):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            with open_checkpoint(str(path), checksum=False) as checkpoint:
                for tensor in checkpoint.tensors.values():
                    assert len(tensor.tobytes()) == tensor.nbytes
        except BadInput:
            refused += 1
    assert refused > 100


def test_a_tar_member_larger_than_8_gb_is_found(tmp_path):
    """Sizes that twelve octal digits cannot say are in the extended header; the file is sparse."""
    from converters.files import SourceFile
    from converters.formats.io.tar_members import read_tar

    size = 9 << 30
    info = tarfile.TarInfo("storages")
    info.size = size
    last = tarfile.TarInfo("pickle")
    last.size = 3
    with open(tmp_path / "large.tar", "wb") as out:
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        start = out.tell()
        out.seek(size, 1)
        out.write(last.tobuf(tarfile.GNU_FORMAT) + b"abc")
    with SourceFile(tmp_path / "large.tar") as file:
        assert read_tar(file) == {"storages": (start, size), "pickle": (start + size + 512, 3)}


def test_a_sparse_legacy_file_over_4_gb(tmp_path):
    count = (4 << 30) // 4 + 4
    number = b"\x8a\x05" + count.to_bytes(5, "little")
    head = by_hand(
        place=reference(count=number), counts=(), first=b"\x8a\x05" + (count - 2).to_bytes(5, "little")
    )
    with open(tmp_path / "large.pth", "wb") as out:
        out.write(head + struct.pack("<q", count))
        out.seek(4 * (count - 2), 1)
        out.write(struct.pack("<2f", 1.5, 2.5))
    assert read(tmp_path / "large.pth")[1] == {"w": struct.pack("<2f", 1.5, 2.5)}


def test_sharded_checkpoints(tmp_path):
    import json

    from safetensors.torch import save_file

    state = OrderedDict((f"layer{index}.weight", torch.arange(4.0) + index) for index in range(4))
    names = list(state)
    save_file({name: state[name] for name in names[:2]}, tmp_path / "model-1.safetensors")
    save_file({name: state[name] for name in names[2:]}, tmp_path / "model-2.safetensors")
    torch.save({name: state[name] for name in names[:2]}, tmp_path / "model-1.bin")
    (tmp_path / "model-2.bin").write_bytes(legacy({name: state[name] for name in names[2:]}))
    index = tmp_path / "model.safetensors.index.json"

    def written(where, **more):
        index.write_text(json.dumps({"metadata": {"total_size": 64}, "weight_map": where, **more}))
        return index

    def where(suffix):
        return {name: f"model-{1 + number // 2}.{suffix}" for number, name in enumerate(names)}

    for suffix in ("safetensors", "bin"):
        checkpoint, raw = read(written(where(suffix)))
        agree(checkpoint, raw, state)
        assert checkpoint.size == index.stat().st_size + sum(
            path.stat().st_size for path in tmp_path.glob(f"*.{suffix}")
        )
    bad = {
        "lacks a tensor": {**where("bin"), "more": "model-1.bin"},
        "holds a tensor": {name: part for name, part in where("bin").items() if name != names[0]},
        "not in its own folder": {**where("bin"), "w": "../model-1.bin"},
        "cannot be opened": {**where("bin"), "w": "model-3.bin"},
        "not the index": {},
    }
    for says, places in bad.items():
        with pytest.raises(BadInput, match=says):
            read(written(places))
    for path in (
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".",
        "..",
        "",
        "x:y",
        "model.safetensors.index.json",
        "a\nb",
        7,
    ):
        with pytest.raises(BadInput, match=r"own folder|cannot be opened|is a folder"):
            read(written({"w": path}))
    index.write_text('{"weight_map": {"w": "a", "w": "b"}}')
    with pytest.raises(BadInput, match="not JSON"):
        read(index)
    index.write_text("{" + '"a":[' * 100_000)
    with pytest.raises(BadInput, match="not JSON"):
        read(index)
    index.write_text('{"weight_map":[' + "[]," * 200_000 + "[]]}")
    with pytest.raises(BadInput, match="more values"):
        read(index)


def test_torchscript_before_1_4_is_named(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("old/version", b"1")
        archive.writestr("old/model.json", b"{}")
        archive.writestr("old/tensors/0", bytes(8))
    assert "TorchScript file of PyTorch before 1.4" in refusal(tmp_path, out.getvalue())


def test_torchscript_that_was_packed_again(tmp_path):
    model = torch.nn.Linear(2, 1)
    out = io.BytesIO()
    source = io.BytesIO(scripted(model))
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    _, raw = read_bytes(tmp_path, out.getvalue())
    assert raw == {name: bits(value) for name, value in model.state_dict().items()}
