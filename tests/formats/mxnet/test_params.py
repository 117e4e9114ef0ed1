"""MXNet's parameter files: every version and dtype, names of every kind, zip files, damage."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters import convert
from converters.errors import BadInput, ConverterError, Refused
from converters.files import SourceFile
from converters.formats.mxnet.reader import read_params
from converters.formats.mxnet.writer import Form, original_form, write_params
from converters.formats.open import open_checkpoint
from converters.tensor import Held, Tensor
from tests.helpers.mxnet_files import FLAGS, MAGIC, array, listed, params
from tests.helpers.paths import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

W = np.arange(6, dtype="float32").reshape(2, 3)
V = np.arange(2, dtype="float32")


def opened(tmp_path: Path, data: bytes, name: str = "x.params"):
    """The file's checkpoint."""
    (tmp_path / name).write_bytes(data)
    return open_checkpoint(str(tmp_path / name))


def written(tensors: list[Tensor], form: Form) -> bytes:
    out = BytesIO()
    write_params(out, tensors, form)
    return out.getvalue()


@pytest.mark.parametrize("version", range(4))
def test_every_version_is_read_and_written_back(tmp_path: Path, version: int) -> None:
    data = params({"b.weight": W, "a.gamma": V}, version)
    with opened(tmp_path, data) as checkpoint:
        assert (checkpoint.format, list(checkpoint.tensors)) == ("mxnet", ["b.weight", "a.gamma"])
        assert {name: (one.dtype, one.shape) for name, one in checkpoint.tensors.items()} == {
            "b.weight": ("float32", (2, 3)),
            "a.gamma": ("float32", (2,)),
        }
        assert checkpoint.details["version"] == version
        tensors = list(checkpoint.tensors.values())
        assert [one.tobytes() for one in tensors] == [W.tobytes(), V.tobytes()]
        assert written(tensors, Form(version=version)) == data
        named = Form(version=version, stored_names=("b.weight", "a.gamma"))
        assert written(tensors[::-1], named) == data


def test_every_dtype(tmp_path: Path) -> None:
    values = {dtype: np.arange(4).astype(dtype) for dtype in FLAGS}
    data = params(values)
    with opened(tmp_path, data) as checkpoint:
        assert {name: one.dtype for name, one in checkpoint.tensors.items()} == {name: name for name in FLAGS}
        assert all(one.tobytes() == values[name].tobytes() for name, one in checkpoint.tensors.items())
        tensors = [one for name, one in checkpoint.tensors.items() if name != "int16"]
        assert written(tensors, Form()) == params({name: values[name] for name in FLAGS if name != "int16"})
        with pytest.raises(Refused, match="MXNet has no int16"):
            written([checkpoint.tensors["int16"]], Form())


def test_dtypes_that_are_not_converted(tmp_path: Path) -> None:
    head = struct.pack("<IiI", MAGIC[2], 0, 1) + struct.pack("<q", 2)
    arrays = [
        head + struct.pack("<3i", 1, 0, flag) + bytes(2 * size) for flag, size in ((9, 2), (10, 4), (11, 8))
    ]
    brain = head + struct.pack("<3i", 1, 0, 12) + b"\x80\x3f\0\x40"
    with opened(tmp_path, listed([*arrays, brain], "abcd")) as checkpoint:
        kinds = {name: (other.kind, other.shape) for name, other in checkpoint.other_values.items()}
        assert kinds == {"a": ("uint16", (2,)), "b": ("uint32", (2,)), "c": ("uint64", (2,))}
        assert checkpoint.tensors["d"].dtype == "bfloat16"


def test_a_list_without_names(tmp_path: Path) -> None:
    with opened(tmp_path, listed([array(W), array(V)], [])) as checkpoint:
        assert list(checkpoint.tensors) == ["0", "1"]
        assert checkpoint.details["stored_names"] == []


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (["arg:w", "aux:m"], ["w", "m"]),
        (["arg:w", "m"], ["arg:w", "m"]),
        (["arg:", "aux:m"], ["", "m"]),
    ],
)
def test_names_of_module(tmp_path: Path, stored: list[str], names: list[str]) -> None:
    data = listed([array(W), array(V)], stored)
    with opened(tmp_path, data) as checkpoint:
        assert list(checkpoint.tensors) == names
        assert written(list(checkpoint.tensors.values()), Form(stored_names=tuple(stored))) == data


def test_any_device_and_what_is_said_of_it(tmp_path: Path) -> None:
    data = listed([array(W, device=(2, 3)), array(V, device=(2, 3))], ["w", "v"])
    with opened(tmp_path, data) as checkpoint:
        assert checkpoint.metadata["the arrays' devices"].value == "gpu(3)"
        assert checkpoint.details["device"] == [2, 3]
        assert written(list(checkpoint.tensors.values()), Form(device=(2, 3))) == data
    with opened(tmp_path, listed([array(W, device=(7, -1)), array(V)], ["w", "v"])) as checkpoint:
        assert checkpoint.metadata["the arrays' devices"].value == "cpu(0), device 7(-1)"


def test_an_array_of_another_version_or_device_is_written_so_again(tmp_path: Path) -> None:
    forms = [(2, (2, 1)), (1, (2, 1)), (2, (2, 1)), (0, (1, 0)), (2, (-1, 7))]
    arrays = [array(W + place, *form) for place, form in enumerate(forms)]
    data = listed(arrays, [f"arg:{name}" for name in "bacde"])
    with opened(tmp_path, data) as checkpoint:
        assert checkpoint.details["other_arrays"] == {
            "arg:a": [1, 2, 1],
            "arg:d": [0, 1, 0],
            "arg:e": [2, -1, 7],
        }
        tensors = sorted(checkpoint.tensors.values(), key=lambda tensor: tensor.name)
        assert written(tensors, original_form(checkpoint.details)) == data


def test_arrays_that_are_none(tmp_path: Path) -> None:
    none = struct.pack("<Iii", MAGIC[2], 0, 0)
    unknown = struct.pack("<Iiiq", MAGIC[3], 0, 1, -1)
    nothing = struct.pack("<Iii", MAGIC[3], 0, -1)
    old = struct.pack("<I", 0)
    with opened(tmp_path, listed([none, array(W), unknown, nothing, old], "abcde")) as checkpoint:
        assert list(checkpoint.tensors) == ["b"]
        assert {other.kind for other in checkpoint.other_values.values()} == {"array without a shape"}


def test_scalars_and_empty_arrays_are_of_version_3(tmp_path: Path) -> None:
    scalar, empty = np.array(2, dtype="float32"), np.zeros((0, 3), dtype="float32")
    data = params({"s": scalar, "e": empty}, 3)
    with opened(tmp_path, data) as checkpoint:
        tensors = list(checkpoint.tensors.values())
        assert [one.shape for one in tensors] == [(), (0, 3)]
        assert written(tensors, Form(version=3)) == data
        for one, what in zip(tensors, ("a scalar", "an array without elements"), strict=True):
            with pytest.raises(Refused, match=what):
                written([one], Form())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_in_a_zip_file(tmp_path: Path, method: int) -> None:
    data = params({"w": W, "v": V})
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("README.txt", "weights")
        archive.writestr("net-0123abcd.params", data)
        archive.writestr("__MACOSX/._net-0123abcd.params", "what macOS keeps beside it")
    with opened(tmp_path, packed.getvalue(), "net-0123abcd.zip") as checkpoint:
        assert checkpoint.container == "MXNet parameter file in a zip file"
        assert {name: one.tobytes() for name, one in checkpoint.tensors.items()} == {
            "w": W.tobytes(),
            "v": V.tobytes(),
        }
    broken = bytearray(packed.getvalue())
    broken[broken.index(b"net-0123abcd.params") + 60] ^= 0x55
    with pytest.raises(BadInput, match=r"CRC-32|inflated|has \d+ bytes"):
        opened(tmp_path, bytes(broken), "net.zip")


def test_zip_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.formats.io.unpacked_members._SMALL", 1 << 20)
    for names, what in ((("a.params", "b.params"), "2 parameter files"), (("a.params",), "inflates")):
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, bytes(2 << 20) if what == "inflates" else params({"w": W}))
        with pytest.raises(BadInput, match=what):
            opened(tmp_path, packed.getvalue(), "x.zip")


def _array_with(shape: list[int], **changes: int) -> bytes:
    axes = changes.get("axes", len(shape))
    head = struct.pack("<Iii", MAGIC[2], changes.get("storage", 0), axes) + struct.pack(
        f"<{len(shape)}q", *shape
    )
    return head + struct.pack("<3i", 1, 0, changes.get("flag", 0)) + bytes(24)


HOSTILE = {
    "too many arrays": (listed([], [], count=1 << 62), "which it cannot"),
    "more arrays than there are": (listed([array(W)], ["w"], count=2), "ends early"),
    "fewer arrays than there are": (listed([array(W), array(V)], ["w", "v"], count=1), "names"),
    "no arrays": (listed([], []), "holds no arrays"),
    "no count": (struct.pack("<QQ", 0x112, 0), "ends early"),
    "half of the number of names": (params({"w": W})[:-13], "ends early"),
    "half of a name": (params({"weight": W})[:-3], "ends early: 6 bytes needed"),
    "no length of a name": (params({"weight": W, "v": V})[:-5], "ends early"),
    "a negative size": (listed([_array_with([-2, -3])], ["w"]), "negative size"),
    "a size beyond the end": (listed([_array_with([1 << 40])], ["w"]), "ends early"),
    "sizes whose product is huge": (listed([_array_with([1 << 62] * 3)], ["w"]), "ends early"),
    "sizes whose product overflows to what is there": (
        listed([_array_with([1 << 32, 1 << 32, 6])], ["w"]),
        "ends",
    ),
    "too many axes": (listed([_array_with([1] * 40)], ["w"]), "40 axes"),
    "a negative number of axes": (listed([_array_with([2, 3], axes=-5)], ["w"]), "-5 axes"),
    "no such dtype": (listed([_array_with([2, 3], flag=99)], ["w"]), "type 99"),
    "a negative dtype": (listed([_array_with([2, 3], flag=-1)], ["w"]), "type -1"),
    "row-sparse": (listed([_array_with([2, 3], storage=1)], ["w"]), r"sparse array \(row_sparse\)"),
    "csr": (listed([_array_with([2, 3], storage=2)], ["w"]), r"sparse array \(csr\)"),
    "no such storage": (listed([_array_with([2, 3], storage=-1)], ["w"]), "storage type -1"),
    "another version": (listed([struct.pack("<I", 0xF993FACB) + array(W)[4:]], ["w"]), "axes"),
    "a name twice": (listed([array(W), array(V)], ["w", "w"]), "the name w twice"),
    "a parameter and a statistic": (
        listed([array(W), array(V)], ["arg:w", "aux:w"]),
        "has w both as a parameter",
    ),
    "fewer names than arrays": (listed([array(W), array(V)], ["w"]), "2 arrays and says that it has 1 names"),
    "more names than arrays": (listed([array(W)], ["w", "v"]), "1 arrays and says that it has 2 names"),
    "a long name": (listed([array(W)], ["w" * 5000]), "a name of 5,000 bytes"),
    "a name that is not a text": (listed([array(W)], [b"\xff\xfe"]), "not UTF-8"),
    "a name beyond the end": (params({"w": W})[:-9] + struct.pack("<Q", 1 << 63) + b"w", "a name of"),
    "bytes after the end": (params({"w": W}) + b"\0", "1 bytes after its end"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(tmp_path: Path, case: str) -> None:
    data, what = HOSTILE[case]
    with pytest.raises(BadInput, match=what) as error:
        opened(tmp_path, data)
    assert error.value.exit_code == 3
    assert str(error.value).isprintable()


def test_cut_anywhere(tmp_path: Path) -> None:
    data = params({"first.weight": W, "second.gamma": V})
    for length in range(0, len(data), 3):
        (tmp_path / "x.params").write_bytes(data[:length])
        with SourceFile(tmp_path / "x.params") as file, pytest.raises(BadInput):
            read_params(file)


def test_mutations_take_no_memory(tmp_path: Path) -> None:
    rng = random.Random(20240613)
    whole = b"".join([params({f"layer{n}.weight": W for n in range(20)})])
    path = tmp_path / "x.params"
    tracemalloc.start()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 9)):
            data[rng.randrange(16, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(data)
        try:
            with SourceFile(path) as file:
                for tensor in read_params(file).tensors.values():
                    assert len(tensor.tobytes()) == tensor.nbytes
        except ConverterError as error:
            assert error.exit_code == 3, str(error)  # noqa: PT017
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_no_array_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sparse.params"
    data = listed([_array_with([1 << 28])[:-24]], [])
    with open(path, "wb") as file:  # a gigabyte that takes no room
        file.write(data[:-8])
        file.seek(1 << 30, 1)
        file.write(struct.pack("<Q", 0))
    with SourceFile(path) as file:
        tracemalloc.start()
        assert read_params(file).tensors["0"].nbytes == 1 << 30
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_names_and_dtypes_that_cannot_be_written() -> None:
    with pytest.raises(Refused, match="not valid Unicode"):
        written([Tensor("\ud800", "float32", (1,), Held(bytes(4)))], Form())
    with pytest.raises(Refused, match="an axis so long"):
        written([Tensor("w", "float32", (1 << 32,), Held(b""))], Form(version=0))


def test_what_mxnet_wrote() -> None:
    """The fixtures: read whole, the same in a zip file, and written again byte for byte."""
    folder = FIXTURES / "mxnet"
    stored = {}
    for path in sorted(folder.glob("*")):
        with open_checkpoint(str(path)) as found:
            tensors = list(found.tensors.values())
            stored[path.name] = {tensor.name: tensor.tobytes() for tensor in tensors}
            form = original_form(found.details)
            if path.suffix == ".params" and form.stored_names:
                assert written(tensors, form) == path.read_bytes(), path.name
    assert stored["gluon.params"] == stored["gluon-0123abcd.zip"]
    assert stored["deduplicated.params"].items() <= stored["gluon.params"].items()
    assert stored["numpy.params"]["empty"] == b""
    assert np.frombuffer(stored["dtypes.params"]["float16"], "<f2").tolist() == list(range(6))


def test_what_mxnet_2_writes_is_called_so(tmp_path: Path) -> None:
    """Its arrays are in numpy's format, whatever the suffix."""
    packed = BytesIO()
    leaves = ("gamma", "beta", "running_mean", "running_var")
    np.savez(packed, **{"conv.weight": W, **{f"norm.{leaf}": V for leaf in leaves}})
    for name in ("net.npz", "net.params"):
        with opened(tmp_path, packed.getvalue(), name) as checkpoint:
            assert checkpoint.container == "NumPy file (npz) of MXNet 2"
            assert checkpoint.format == "arrays"
        with pytest.raises(ConverterError, match="of MXNet 2"):
            convert(tmp_path / name, tmp_path / "out.pth", source="gluoncv")
