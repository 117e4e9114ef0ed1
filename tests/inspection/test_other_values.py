"""What files hold beside the tensors that can be converted: shown, compared, and refused where it is needed."""

from __future__ import annotations

import argparse
import json
import pickle
import struct
import time
import zipfile
from math import prod

import h5py
import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import helper, numpy_helper

from converters import Refused, convert, diff, inspect
from converters.conversion.recognize import recognize
from converters.errors import BadInput, UsageError
from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import unconverted
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.reports.terminal.difference import difference_text
from converters.tensor import Repeated, Tensor
from tests.helpers import layout_weights, tensorflow_files

pytestmark = pytest.mark.filterwarnings("ignore")

W = torch.ones(2)


def save(path, value, **options):
    torch.save(value, path, **options)
    return path


def others(found) -> dict[str, str]:
    return {other.name: other.kind for other in found.others if other.kind != "equal"}


def test_numbers_and_tensors_beside_a_state_dict_are_compared(tmp_path):
    def made(name, rate, momentum, note):
        optimizer = {"state": {0: {"momentum_buffer": momentum}}, "param_groups": [{"lr": rate}]}
        return save(
            tmp_path / name, {"state_dict": {"w": W}, "epoch": 3, "optimizer": optimizer, "note": note}
        )

    a = made("a.pth", 0.1, torch.zeros(3), "x" * 1000)
    b = made("b.pth", 0.01, torch.zeros(3), "x" * 1000)
    c = made("c.pth", 0.1, torch.ones(3), "x" * 999 + "y")
    found = diff(a, b)
    assert not found.same
    assert [row.kind for row in found.rows] == ["equal"]
    assert [(one.name, one.a, one.b) for one in found.others if one.kind == "differs"] == [
        ("optimizer.param_groups[0].lr", "0.1", "0.01")
    ]
    assert others(diff(a, c)) == {
        "optimizer.state[0].momentum_buffer": "differs",
        "note": "differs",
    }
    assert diff(a, save(tmp_path / "d.pth", torch.load(a), pickle_protocol=4)).same


TENSORS = {
    "uint16": torch.ones(3, dtype=torch.uint16),
    "uint32": torch.ones(3, dtype=torch.uint32),
    "uint64": torch.ones(3, dtype=torch.uint64),
    "complex64": torch.ones(3, dtype=torch.complex64),
    "float8_e4m3fn": torch.ones(3).to(torch.float8_e4m3fn),
    "float8_e5m2": torch.ones(3).to(torch.float8_e5m2),
}
ODD = {
    "complex128": torch.ones(3, dtype=torch.complex128),
    "quantised tensor": None,  # made in the test: PyTorch warns of it
    "sparse tensor": torch.ones(2, 2).to_sparse(),
    "numpy array of float32": np.ones(3, "f4"),
    "numpy array of byte strings": np.array([b"a"]),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", [*TENSORS, *ODD])
def test_a_tensor_that_is_not_converted_is_shown_and_compared(run, tmp_path, kind, suffix):
    odd = (TENSORS | ODD)[kind]
    if odd is None:
        odd = torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.quint8)
    if suffix == ".safetensors" and kind in ODD:
        return
    changed = odd.clone() if isinstance(odd, torch.Tensor) else odd.copy()
    if isinstance(changed, np.ndarray) or not changed.is_sparse:
        changed[0] = 0 if kind != "numpy array of byte strings" else b"b"
    else:
        changed = torch.zeros(2, 2).to_sparse()
    paths = [tmp_path / f"{name}{suffix}" for name in "abc"]
    for path, value in zip(paths, ({"odd": odd}, {"odd": changed}, {}), strict=True):
        state = {"w": W, **value}
        save(path, state) if suffix == ".pth" else safetensors.torch.save_file(state, path)
    a, b, c = paths
    shown = inspect(a)
    assert [(name, kind in what) for name, what, _ in shown.unconverted] == [("odd", True)]
    assert shown.unconverted[0][2] == tuple(odd.shape)
    assert shown.others == ("odd",)
    assert "odd" in run("inspect", a).stdout.partition("not converted 1")[2]
    assert json.loads(run("inspect", a, "--json").stdout)["unconverted"][0][0] == "odd"
    assert diff(a, a).same
    assert set(others(diff(a, b)).values()) <= {"differs", "only in A", "only in B"}
    assert others(diff(a, c)) == {"odd": "only in A"}
    done = run("diff", a, c)
    assert done.returncode == 1
    assert "equal" not in done.stdout


def shell(layout: str, variant: str) -> dict[str, Tensor]:
    one = layout_weights.variant(variant)
    bound = layout_weights.sizes(one)
    slots = [slot for slot in tensor_slots(load_layout(layout), one, bound, {}) if slot.name]
    shapes = {slot.name: slot.file_shape(bound) for slot in slots}
    return {
        name: Tensor(name, "float32", shape, Repeated(bytes(4), prod(shape)))
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("layout", "variant", "form"),
    [("torchvision", "r3d-18", "pytorch"), ("vmz", "r2d-18", "caffe2-pickle"), ("i3d", "i3d", "tensorflow")],
)
def test_a_conversion_refuses_only_what_it_needs(layout, variant, form):
    tensors = shell(layout, variant)

    def checkpoint(tensors, others):
        return Checkpoint(path="x", format=form, container="a file", tensors=tensors, other_values=others)

    match = recognize(checkpoint(tensors, {"more": unconverted("uint16", (3,), None)}), layout)
    assert match.variant.name == variant
    assert match.dropped == ("more",)
    name = next(iter(tensors))
    needed = {name: unconverted("float8_e5m2", tensors[name].shape, None)}
    rest = {other: tensor for other, tensor in tensors.items() if other != name}
    with pytest.raises(Refused, match="it is float8_e5m2") as caught:
        recognize(checkpoint(rest, needed), layout)
    assert caught.value.where == name
    assert f"not converted: {name} (float8_e5m2)" in caught.value.faults


def test_what_a_mapping_leaves_out_is_unused(run, tmp_path):
    safetensors.torch.save_file({"a": W, "odd": TENSORS["uint16"]}, tmp_path / "a.safetensors")
    (tmp_path / "m.toml").write_text('[tensors]\n"a" = "b"\n')
    done = run("a.safetensors", "b.pth", "--mapping", "m.toml")
    assert done.returncode == 1
    assert "unused: odd" in done.stderr
    assert "(1 fault; 1 of 1 rows match)\n" in done.stderr
    assert "hint: add rows for the unused names, or list them under drop" in done.stderr
    (tmp_path / "m.toml").write_text('[tensors]\n"a" = "b"\n"odd" = "odd"\n')
    done = run("a.safetensors", "b.pth", "--mapping", "m.toml")
    assert "dtype: odd (uint16, which is not converted)" in done.stderr
    (tmp_path / "m.toml").write_text('[from]\ndrop = ["odd"]\n[tensors]\n"a" = "b"\n')
    assert run("a.safetensors", "b.pth", "--mapping", "m.toml").returncode == 0


def test_arrays_of_npz_and_hdf5_files_are_compared(tmp_path):
    for name, values in {"a": [1, 2], "b": [1, 3]}.items():
        np.savez(tmp_path / f"{name}.npz", w=np.ones(2, "f4"), odd=np.array(values, "u2"))
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["l/w"] = np.ones(2, "f4")
            file["l/odd"] = np.array(values, "c8")
            file["l/text"] = f"text {name}"
    assert others(diff(tmp_path / "a.npz", tmp_path / "b.npz")) == {"odd": "differs"}
    assert others(diff(tmp_path / "a.h5", tmp_path / "b.h5")) == {"l/odd": "differs", "l/text": "differs"}
    assert inspect(tmp_path / "a.npz").unconverted == (("odd", "uint16", (2,)),)


def test_what_cannot_be_compared_is_not_equal(tmp_path):
    """A tensor that repeats its elements is not read: only files with the same bytes are equal."""
    for name, epoch in {"a": 1, "b": 1, "c": 2}.items():
        value = {"state_dict": {"w": W}, "log": torch.zeros(1).expand(5), "epoch": epoch}
        save(tmp_path / f"{name}.pth", value)
    assert diff(tmp_path / "a.pth", tmp_path / "a.pth").same
    assert others(diff(tmp_path / "a.pth", tmp_path / "c.pth")) == {"log": "unknown", "epoch": "differs"}


def test_files_of_two_formats_have_values_that_only_one_can_hold(run, tmp_path):
    state = {"w": W, "odd": TENSORS["uint16"]}
    save(tmp_path / "a.pth", {"state_dict": state, "epoch": 3})
    safetensors.torch.save_file(state, tmp_path / "b.safetensors", {"format": "pt"})
    found = diff(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert found.same
    assert found.not_compared == (("epoch", "the entry with the weights"), ("format",))
    done = run("diff", "a.pth", "b.safetensors")
    assert done.returncode == 0
    assert "not compared, of A: epoch" in done.stdout
    safetensors.torch.save_file({"w": W}, tmp_path / "c.safetensors")
    assert others(diff(tmp_path / "a.pth", tmp_path / "c.safetensors")) == {"odd": "only in A"}


def test_metadata_and_records_are_compared(r2d, tmp_path):
    for name, text in {"a": "1", "b": "2"}.items():
        safetensors.torch.save_file({"w": W}, tmp_path / f"{name}.safetensors", {"note": text})
    assert others(diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors")) == {"note": "differs"}
    header = json.dumps(
        {"__metadata__": None, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    ).encode()
    (tmp_path / "null.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert inspect(tmp_path / "null.safetensors").tensors == (("w", "float32", (1,)),)
    convert(r2d, tmp_path / "a.pth", source="vmz")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", source="vmz-pt", to="vmz-pt")
    found = diff(tmp_path / "a.pth", tmp_path / "b.pth")
    assert others(found) in ({}, {"the record": "differs"})
    assert found.same == (not others(found))


def test_what_says_how_a_file_is_written_is_named_as_not_compared(run, tmp_path):
    save(tmp_path / "a.pth", {"w": W})
    raw = bytearray((tmp_path / "a.pth").read_bytes())
    raw[raw.index(b"serialization_id") + 60] ^= 1
    (tmp_path / "b.pth").write_bytes(raw)
    save(tmp_path / "c.pth", {"w": W}, pickle_protocol=4)
    for other in "bc":
        found = diff(tmp_path / "a.pth", tmp_path / f"{other}.pth")
        assert found.same
        assert found.not_compared == (("how the file is written",),) * 2
    done = run("diff", "a.pth", "b.pth")
    assert done.returncode == 0
    assert "not compared, of A: how the file is written" in done.stdout
    assert done.stdout.endswith("equal bit for bit; what was not compared is named above\n")
    assert diff(tmp_path / "a.pth", tmp_path / "a.pth").not_compared == ((), ())
    save(tmp_path / "d.pth", {"w": W * 2})
    assert diff(tmp_path / "a.pth", tmp_path / "d.pth").not_compared == ((), ())


def test_two_layouts_are_compared_by_their_network_alone(r2d, run, tmp_path):
    convert(r2d, tmp_path / "a.pth", source="vmz", to="native")
    state = torch.load(tmp_path / "a.pth", weights_only=False)
    value = {"state_dict": {**state, "odd": TENSORS["uint16"]}, "epoch": 3}
    save(tmp_path / "b.pth", value)
    found = diff(r2d, tmp_path / "b.pth", layout_b="native")
    assert found.same
    assert found.canonical
    assert {"epoch", "odd", "stem.bn.num_batches_tracked"} <= set(found.not_compared[1])
    done = run("diff", r2d, tmp_path / "b.pth", "--layout-b", "native", "--json")
    assert done.returncode == 0
    assert "epoch" in json.loads(done.stdout)["not_compared"]["b"]


def test_graphs_and_constants_of_onnx_models_are_compared(tmp_path):
    def made(name, *, weight=1.0, constant=1.0, axis=1, producer="x"):
        tensors = [numpy_helper.from_array(np.full(2, value, "f4"), "v") for value in (weight, constant)]
        nodes = [
            helper.make_node("Constant", [], ["c"], value=tensors[1]),
            helper.make_node("Concat", ["v", "c"], ["y"], axis=axis),
        ]
        graph = helper.make_graph(nodes, "g", [], [], [tensors[0]])
        onnx.save(helper.make_model(graph, producer_name=producer), tmp_path / name)
        return tmp_path / name

    a = made("a.onnx")
    assert others(diff(a, made("b.onnx", weight=2.0))) == {}
    assert not diff(a, made("b.onnx", weight=2.0)).same
    assert others(diff(a, made("b.onnx", constant=2.0))) == {"c": "differs"}
    assert others(diff(a, made("b.onnx", axis=0))) == {"the graph": "differs"}
    assert others(diff(a, made("b.onnx", producer="y"))) == {"the model's properties": "differs"}
    assert inspect(a).others == ("c",)


def test_values_that_contain_themselves_are_followed_for_a_moment_only(tmp_path):
    tower: list[object] = []
    for _ in range(40):
        tower = [tower, tower]
    tower.append(tower)
    for name in "ab":
        save(tmp_path / f"{name}.pth", {"state_dict": {"w": W}, "tower": tower, "name": name})
    start = time.process_time()
    found = diff(tmp_path / "a.pth", tmp_path / "b.pth")
    assert time.process_time() - start < 20
    assert not found.same
    assert others(found)["name"] == "differs"


def test_attributes_that_a_program_gave_its_tensors_are_compared(tmp_path):
    for name, rate in {"a": 0.1, "b": 0.2}.items():
        weight = torch.nn.Parameter(torch.ones(2))
        weight.rate = rate
        save(tmp_path / f"{name}.pth", {"w": weight})
    (name,) = others(diff(tmp_path / "a.pth", tmp_path / "b.pth"))
    assert name.startswith("the state dict's attributes")
    assert name.endswith(".rate")


def test_names_in_bytes_are_others_than_names_in_text(tmp_path):
    for name, key in {"a": "lr", "b": b"lr"}.items():
        save(tmp_path / f"{name}.pth", {"state_dict": {"w": W}, "config": {key: 1}})
    assert others(diff(tmp_path / "a.pth", tmp_path / "b.pth")) == {"config.keys in bytes": "only in B"}


def test_objects_of_training_code_are_compared_by_what_they_were_made_from(tmp_path):
    for name, rate in {"a": 0.1, "b": 0.2}.items():
        save(tmp_path / f"{name}.pth", {"state_dict": {"w": W}, "args": argparse.Namespace(lr=rate)})
    assert others(diff(tmp_path / "a.pth", tmp_path / "b.pth")) == {"args[0].lr": "differs"}


def test_what_a_file_holds_around_its_values_is_compared(tmp_path):
    for name, group in {"a": "one", "b": "two"}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["l/w"] = np.ones(2, "f4")
            file.create_group(group)
            file["l/none"] = h5py.Empty("f" if name == "a" else "d")
        blobs = {"w": np.ones(2, "f4")}
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(blobs if group == "one" else {"blobs": blobs}, 2))
        (tmp_path / name / "variables").mkdir(parents=True)
        (tmp_path / name / "saved_model.pb").write_bytes(group.encode())
        entry = tensorflow_files.entry((2,), 0, bytes(8))
        tensorflow_files.write_v2(tmp_path / name / "variables", {b"w": entry}, bytes(8))
        for part in (tmp_path / name / "variables").iterdir():
            part.rename(part.with_name(part.name.replace("m.", "variables.")))
    assert set(others(diff(tmp_path / "a.h5", tmp_path / "b.h5"))) == {
        *("attributes.one/", "attributes.two/"),
        "attributes.l/none",
    }
    assert others(diff(tmp_path / "a.pkl", tmp_path / "b.pkl"))["the blobs are in an entry"] == "differs"
    assert others(diff(tmp_path / "a", tmp_path / "b")) == {"the graph": "differs"}


def test_shards_have_the_values_of_their_parts(tmp_path):
    for name, number in {"a": 1, "b": 2}.items():
        folder = tmp_path / name
        folder.mkdir()
        safetensors.torch.save_file({"w": W, "odd": TENSORS["uint16"] * number}, folder / "1.safetensors")
        index = {
            "metadata": {"total_size": number},
            "weight_map": {"w": "1.safetensors", "odd": "1.safetensors"},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    paths = [tmp_path / name / "model.safetensors.index.json" for name in "ab"]
    assert others(diff(*paths)) == {"odd": "differs", "the index": "differs"}


def test_comments_of_onnx_weights_are_compared(tmp_path):
    for name in "ab":
        weight = numpy_helper.from_array(np.ones(2, "f4"), "w")
        weight.doc_string = name
        onnx.save(helper.make_model(helper.make_graph([], "g", [], [], [weight])), tmp_path / f"{name}.onnx")
    assert others(diff(tmp_path / "a.onnx", tmp_path / "b.onnx")) == {"the graph": "differs"}


def test_a_big_endian_file_has_the_same_values(tmp_path):
    state = {"w": W, "odd": TENSORS["uint32"], "z": TENSORS["complex64"]}
    a = save(tmp_path / "a.pth", state)
    with zipfile.ZipFile(a) as archive, zipfile.ZipFile(tmp_path / "b.pth", "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if "/data/" in name:
                content = np.frombuffer(content, "<u4").astype(">u4").tobytes()
            other.writestr(name, b"big" if name.endswith("byteorder") else content)
    assert diff(a, tmp_path / "b.pth").same


@pytest.mark.parametrize("where", ["scalar", "array", "attribute", "region", "named datatype", "field"])
def test_hdf5_references_and_named_datatypes_are_not_called_equal(tmp_path, where):
    def made(name, target, part, dtype):
        with h5py.File(tmp_path / name, "w") as file:
            file["a"], file["b"] = np.ones(3, "f4"), np.zeros(3, "f4")
            reference = file[target].ref
            if where == "scalar":
                file.create_dataset("r", data=reference, dtype=h5py.ref_dtype)
            elif where == "array":
                file.create_dataset("r", (1,), dtype=h5py.ref_dtype)[0] = reference
            elif where == "attribute":
                file["a"].attrs["r"] = reference
            elif where == "region":
                file.create_dataset("r", data=file["a"].regionref[part], dtype=h5py.regionref_dtype)
            elif where == "field":
                fields = np.dtype([("n", "i4"), ("r", h5py.ref_dtype)])
                file.create_dataset("r", data=np.array([(1, reference)], fields))
            else:
                file["t"] = np.dtype(dtype)
        return tmp_path / name

    a = made("a.h5", "a", slice(0, 1), "f4")
    b = made("b.h5", "b", slice(1, 3), "i8")
    found = diff(a, b)
    assert not found.same
    assert all("class" not in other.a for other in found.others)
    assert diff(a, a).same


@pytest.mark.parametrize(
    "where", ["scalar", "array", "attribute", "region", "points", "field", "list", "null"]
)
def test_hdf5_references_are_compared_by_what_they_refer_to(tmp_path, where):
    def made(name, target, part, first="x"):
        with h5py.File(tmp_path / name, "w") as file:
            file[f"g/{first}"] = 1.0  # so that the targets lie elsewhere in the file
            del file[f"g/{first}"]
            file["g/a"], file["g/b"] = np.ones(3, "f4"), np.zeros(3, "f4")
            one = file["g"][target].ref
            if where == "scalar":
                file.create_dataset("r", data=one, dtype=h5py.ref_dtype)
            elif where == "array":
                file.create_dataset("r", (2, 1), dtype=h5py.ref_dtype)[1, 0] = one
            elif where == "attribute":
                file["g/a"].attrs["r"] = one
            elif where == "region":
                file.create_dataset("r", data=file["g/a"].regionref[part], dtype=h5py.regionref_dtype)
            elif where == "points":
                points = file["g/a"].regionref[np.array([part.start == 0, True, True])]
                file.create_dataset("r", data=points, dtype=h5py.regionref_dtype)
            elif where == "field":
                fields = np.dtype([("n", "i4"), ("r", h5py.ref_dtype)])
                file.create_dataset("r", data=np.array([(1, one)], fields))
            elif where == "list":
                lists = file.create_dataset("r", (1,), dtype=h5py.vlen_dtype(h5py.ref_dtype))
                lists[0] = np.array([file["g/a"].ref, one], h5py.ref_dtype)
            elif target == "a":
                file.create_dataset("r", (2,), dtype=h5py.ref_dtype)
            else:
                file.create_dataset("r", (2,), dtype=h5py.ref_dtype)[0] = one
        return tmp_path / name

    a, again = made("a.h5", "a", slice(0, 1)), made("again.h5", "a", slice(0, 1), "a longer name" * 9)
    b = made("b.h5", "b", slice(1, 3))
    assert a.read_bytes() != again.read_bytes()
    assert diff(a, again).same
    assert set(others(diff(a, b)).values()) == {"differs"}


def test_an_hdf5_reference_to_what_has_no_path_is_unknown(tmp_path):
    for name in "ab":
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["w"], file["gone"] = np.ones(3, "f4"), np.full(2, ord(name))
            file.create_dataset("r", data=file["gone"].ref, dtype=h5py.ref_dtype)
            file["r"].attrs["name"] = name
            del file["gone"]
    assert others(diff(tmp_path / "a.h5", tmp_path / "b.h5"))["r[0]"] == "unknown"


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (torch.tensor([True, False]), torch.tensor([False, False]), "1 values, bits differ"),
        (torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0]), "bits differ"),
        (
            torch.tensor([0x7FC00000], dtype=torch.int32).view(torch.float32),
            torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32),
            "bits differ",
        ),
    ],
    ids=["truth values", "sign of zero", "NaN payload"],
)
def test_values_without_a_distance_are_said_to_differ_in_bits(tmp_path, a, b, said):
    found = diff(save(tmp_path / "a.pth", {"w": a}), save(tmp_path / "b.pth", {"w": b}))
    (row,) = found.as_data()["rows"]
    assert row["unequal"] + row["other_bits"] == 1
    text = difference_text(found)
    assert said in text
    assert "nan" not in text
    assert "by up to" not in text


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
@pytest.mark.parametrize("beside", ["criterion", "model"])
def test_a_module_beside_a_state_dict_is_refused_with_the_name_of_the_state_dict(tmp_path, key, beside):
    module = torch.nn.CrossEntropyLoss()
    for value in ({key: {"w": W}, beside: module}, {beside: module, key: {"w": W}}):
        with pytest.raises(BadInput) as caught:
            inspect(save(tmp_path / "a.pth", value))
        assert f"the file's own '{key}' alone" in caught.value.hint
    with pytest.raises(BadInput) as caught:
        inspect(save(tmp_path / "a.pth", module))
    assert "alone" not in caught.value.hint


def test_entries_are_compared_without_what_is_beside_them(tmp_path):
    def made(name, weights, average, **more):
        odd = {"n": torch.ones(2, dtype=torch.uint16)}
        return save(
            tmp_path / name,
            {
                "state_dict": {"w": weights, **odd, **more},
                "ema_state_dict": {"w": average, **odd},
                "epoch": name,
            },
        )

    a, b = made("a.pth", W, W * 2), made("b.pth", W * 2, W)
    assert not diff(a, b).same
    assert not diff(a, b, entry_a="state_dict", entry_b="state_dict").same
    found = diff(a, b, entry_a="state_dict", entry_b="ema_state_dict")
    assert found.same
    assert "epoch" in found.not_compared[0]
    assert "ema_state_dict" in found.not_compared[0]
    assert not diff(a, a, entry_b="ema_state_dict").same
    assert diff(a, save(tmp_path / "c.pth", {"w": W * 2}), entry_a="ema_state_dict").not_compared[1] == ()
    more = made("d.pth", W, W, o=torch.ones(1, dtype=torch.uint16))
    assert others(diff(a, more, entry_b="state_dict")) == {"o": "only in B"}
    with pytest.raises(UsageError, match="no state dict in the entry"):
        diff(a, b, entry_a="other")
