"""Caffe and Chainer files as people have them: converted, loaded, compared with the real frameworks, and back."""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import BadInput, Refused, convert, inspect, load_model
from converters.formats.open import open_checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.tensor import Repeated, Tensor
from tests.helpers import caffe_files, caffe_tables, paths, seeded_weights, seeded_weights_caffe, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.paths import GOLDENS

if TYPE_CHECKING:
    from pathlib import Path

FIXTURES = paths.FIXTURES / "chainer"
TABLES = caffe_tables.caffe_tables()


def values(params: dict[str, tuple[int, ...]], seed: int = 1) -> dict[str, np.ndarray]:
    """Arrays that differ from each other, quickly."""
    return {
        name: np.resize(
            np.random.default_rng([seed, number]).random(997, np.float32) + np.float32(0.01), shape
        )
        for number, (name, shape) in enumerate(params.items())
    }


def write_caffe(path: Path, table: str, arrays: dict[str, np.ndarray]) -> None:
    path.write_bytes(caffe_files.model(TABLES[table], arrays))


def blobs_of(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


def shell(params: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of which names and shapes only matter."""
    return {
        name: Tensor(
            name,
            "int64" if name.endswith("num_batches_tracked") else "float32",
            shape,
            Repeated(bytes(4), prod(shape)),
        )
        for name, shape in params.items()
    }


# Parity


def golden_file(folder: Path, name: str, golden) -> tuple[Path, str]:
    """The file that a golden was recorded from, and the layout to read it as."""
    seed, table = int(golden["weight_seed"]), str(golden["table"]).removesuffix(".json")
    if "net" not in golden:
        arrays = seeded_weights_caffe.blob_weights(TABLES[table].params, seed)
        assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
        write_caffe(folder / "model.caffemodel", table, arrays)
        return folder / "model.caffemodel", table.split("/")[0]
    net = str(golden["net"])
    # Where convolutions only were recorded the same seed gives the matrices too: a file has all.
    arrays = seeded_weights_caffe.c3d_weights(
        caffe_tables.c3d_shapes("ucf101" if net == "convs" else net), seed
    )
    recorded = {key: array for key, array in arrays.items() if net != "convs" or key.startswith("conv")}
    assert seeded_weights.digest(recorded, b"\0") == golden["weights_sha256"]
    if "chainer" in name:
        np.savez(folder / "model.npz", **arrays)
        return folder / "model.npz", "c3d"
    blobs = {}
    for blob in TABLES[table].params:
        layer, index = blob.replace("-1/", "/").split("/")
        blobs[blob] = arrays[f"{layer}/{'Wb'[int(index)]}"]
    write_caffe(folder / "model", table, blobs)
    return folder / "model", "c3d"


NAMES = [
    f"{folder}/{path.stem}"
    for folder in ("c3d", "tsn", "chainer")
    for path in sorted((GOLDENS / folder).glob("*.npz"))
]
LARGE = [name for name in NAMES if any(word in name for word in ("sports1m", "ucf101_", "odd_", "convs_7"))]
"""Of the full-size C3D: its small net has the same layers."""


@pytest.mark.parametrize(
    "name", selection.longest(selection.all_but(NAMES, *LARGE), lambda name: name == "c3d/sports1m_v10")
)
def test_converted_file_computes_what_the_framework_computed(name, device, tmp_path):
    golden = np.load(GOLDENS / f"{name}.npz")
    source, layout = golden_file(tmp_path, name, golden)
    out = tmp_path / ("out.safetensors" if sum(name.encode()) % 2 else "out.pth")
    result = convert(source, out, source=layout)
    assert result.target == ("native" if "net" in name.split("/")[1] else "mmaction")
    source.unlink()
    model = load_model(out)
    clip = seeded_weights_caffe.golden_input(golden)
    assert seeded_weights.digest_one(clip) == golden["input_sha256"]
    if layout == "tsn":
        clip = clip[:, :, None]
    points = {
        blob: caffe_tables.resnet_end_point(blob) if "resnet" in name else blob
        for blob in golden["blocks"].tolist()
    }
    with torch.inference_mode():
        steps = model.to(device).steps(torch.from_numpy(clip).to(device))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device])


def test_tsn_averages_over_segments(tmp_path):
    table = "tsn/caffe-bn_inception-rgb-ucf101"
    write_caffe(tmp_path / "x.caffemodel", table, seeded_weights_caffe.blob_weights(TABLES[table].params, 3))
    model = load_model(tmp_path / "x.caffemodel")
    clip = torch.rand(2, 3, 3, 32, 32) * 50
    with torch.inference_mode():
        logits = model(clip)
        one_by_one = [model(clip[:, :, [segment]]) for segment in range(3)]
    assert logits.shape == (2, 101)
    assert torch.allclose(logits, torch.stack(one_by_one).mean(0), rtol=1e-5, atol=1e-4)


@pytest.mark.full
def test_pool5_of_the_layouts_that_pad_it(tmp_path):
    """The same weights compute another function there, as the note says; the loaded network does so too."""
    write_c3d_npz(tmp_path / "x.npz")
    caffe = load_model(tmp_path / "x.npz")
    clip = torch.rand(1, 3, 16, 112, 112) * 100
    with torch.inference_mode():
        wanted = caffe.end_points(clip)
        for to in ("mmaction2", "c3d-pytorch"):
            result = convert(tmp_path / "x.npz", tmp_path / f"{to}.safetensors", source="c3d", to=to)
            assert "pads pool5 by (0, 1, 1)" in " ".join(result.notes)
            padded = load_model(tmp_path / f"{to}.safetensors").end_points(clip)
            assert torch.equal(padded["pool4"], wanted["pool4"])
            assert padded["pool5"].shape == wanted["pool5"].shape
            assert not torch.equal(padded["pool5"], wanted["pool5"])
        convert(tmp_path / "x.npz", tmp_path / "m.safetensors", source="c3d")
        assert torch.equal(load_model(tmp_path / "m.safetensors").end_points(clip)["fc7"], wanted["fc7"])


def write_c3d_npz(path: Path, prefix: str = "", save=np.savez) -> dict[str, np.ndarray]:
    """The full C3D of 101 classes; returns its arrays, by name in the file."""
    arrays = seeded_weights_caffe.c3d_weights(caffe_tables.c3d_shapes("ucf101"), 4)
    arrays = {prefix + name: array for name, array in arrays.items()}
    save(path, **arrays)
    return arrays


# The way back


@pytest.mark.parametrize(
    "table",
    selection.all_but(
        sorted(TABLES), *(name for name in TABLES if re.search(r"c3d/.*(sports1m|ucf101$)", name))
    ),
)
def test_the_way_back_is_bit_exact(table, tmp_path):
    """Blobs, their shapes, the dialect, the net's name and its layers, those without weights included."""
    layout = "tsn" if table.startswith("tsn") else "c3d"
    to = "native" if "net" in table.split("-")[2] else "mmaction"
    write_caffe(tmp_path / "x", table, values(TABLES[table].params))
    convert(tmp_path / "x", tmp_path / "out.safetensors", source=layout, check=True)
    result = convert(
        tmp_path / "out.safetensors", tmp_path / "back.caffemodel", source=to, to=layout, check=True
    )
    assert result.target == layout
    (tmp_path / "out.safetensors").unlink()
    with (
        open_checkpoint(str(tmp_path / "x")) as one,
        open_checkpoint(str(tmp_path / "back.caffemodel")) as two,
    ):
        assert one.details == two.details
        assert list(one.tensors) == list(two.tensors)
        for name, tensor in one.tensors.items():
            other = two.tensors[name]
            assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
            assert tensor.tobytes() == other.tobytes(), name


@pytest.mark.parametrize(
    "prefix", selection.first_of(["updater/model:main/predictor/", "", "predictor/", "any/thing/"])
)
def test_chainer_comes_back_bit_exact(prefix, tmp_path):
    arrays = values({prefix + name: shape for name, shape in caffe_tables.c3d_shapes("ucf101net").items()})
    np.savez_compressed(tmp_path / "x.npz", **arrays, **{"updater/iteration": 7})
    result = convert(tmp_path / "x.npz", tmp_path / "out.pth", source="c3d", check=True)
    assert result.layout == "c3d-chainer"
    assert result.dropped == ("updater/iteration",)
    convert(tmp_path / "out.pth", tmp_path / "back.npz", source="native", to="c3d-chainer")
    with np.load(tmp_path / "back.npz", allow_pickle=False) as back:
        assert set(back) == set(arrays)
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype
            assert back[name].shape == array.shape
            assert back[name].tobytes() == array.tobytes()


def comes_back(source: Path, layout: str, to: str, folder: Path, **keywords) -> None:
    """There, once more in the same layout, and back."""
    before = blobs_of(source)
    convert(source, folder / "one.pth", source=layout, to=to, check=True, **keywords)
    convert(folder / "one.pth", folder / "two.safetensors", to=to)
    convert(folder / "two.safetensors", folder / "back.caffemodel", source=to, to=layout, check=True)
    assert blobs_of(folder / "back.caffemodel") == before


@pytest.mark.parametrize("factor", selection.first_of([999.98, 0.0]))
def test_sums_come_back_whatever_their_divisor(factor, tmp_path):
    """Also where it is zero, and mean and variance are zero for Caffe."""
    table = "c3d/caffe-v1.1-resnet18-sports1m"
    arrays = values(TABLES[table].params)
    for name, shape in TABLES[table].params.items():
        if shape == (1,):
            arrays[name] = np.array([factor], np.float32)
    write_caffe(tmp_path / "x.caffemodel", table, arrays)
    comes_back(tmp_path / "x.caffemodel", "c3d", "native", tmp_path)
    with open_checkpoint(str(tmp_path / "one.pth")) as found:
        assert found.provenance["source"]["crc32"].keys() == arrays.keys()
        got = np.frombuffer(found.tensors["layer2.0.shortcut.bn.running_var"].tobytes(), np.float32)
    sums = arrays["bn3a_branch1/1"]
    assert np.array_equal(got, sums / np.float32(factor) if factor else sums * 0)


@pytest.mark.full
def test_a_divisor_that_no_file_had_is_one(tmp_path):
    table = "c3d/caffe-v1.1-resnet18-sports1m"
    write_caffe(tmp_path / "x.caffemodel", table, values(TABLES[table].params))
    convert(tmp_path / "x.caffemodel", tmp_path / "x.pth", source="c3d")
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    torch.save(state, tmp_path / "bare.pth")
    convert(tmp_path / "bare.pth", tmp_path / "y.caffemodel", source="native", to="c3d")
    found = blobs_of(tmp_path / "y.caffemodel")
    assert found["bn5b_branch2b/2"] == ("float32", (1,), np.float32(1).tobytes())
    assert found["bn5b_branch2b/0"][2] == state["layer4.1.conv2.bn.running_mean"].numpy().tobytes()
    assert load_model(tmp_path / "bare.pth").stem.bn.eps == 1e-5


@pytest.mark.full
def test_inverse_deviations(tmp_path, run):
    table = "tsn/caffe-bn_inception-flow-ucf101"
    arrays = values(TABLES[table].params)
    write_caffe(tmp_path / "plain.caffemodel", table, arrays)
    inverse = {
        name: (array.astype(np.float64) + 1e-5) ** -0.5 if name.endswith("_bn/3") else array
        for name, array in arrays.items()
    }
    inverse = {name: array.astype(np.float32) for name, array in inverse.items()}
    write_caffe(tmp_path / "x.caffemodel", table, inverse)
    convert(tmp_path / "plain.caffemodel", tmp_path / "plain.pth", source="tsn")
    comes_back(tmp_path / "x.caffemodel", "tsn", "mmaction", tmp_path, inverse_std=True)
    wanted = torch.load(tmp_path / "plain.pth", weights_only=True)
    found = torch.load(tmp_path / "one.pth", weights_only=True)
    for name, tensor in wanted.items():
        if "running_var" in name:
            assert torch.allclose(found[name], tensor, rtol=2e-7, atol=1e-12)
        else:
            assert torch.equal(found[name], tensor)
    one, two = (
        load_model(tmp_path / "x.caffemodel", inverse_std=True),
        load_model(tmp_path / "plain.caffemodel"),
    )
    clip = torch.rand(1, 10, 2, 31, 31) * 50 - 25
    with torch.inference_mode():
        assert torch.allclose(one(clip), two(clip), rtol=1e-5, atol=1e-4)
    told = run("inspect", "one.pth", "--tensors").stdout
    assert "inverse standard deviations" in told
    assert "--inverse-std" in run("inspect", "x.caffemodel").stdout
    (tmp_path / "c3d.caffemodel").write_bytes(layers(small_net()))
    done = run("c3d", "c3d.caffemodel", "out.pth", "--inverse-std")
    assert done.returncode == 2
    assert "no file of C3D" in done.stderr


@pytest.mark.parametrize("classifier", ["fc", "loss3/classifier", ""])
def test_the_files_that_tsn_training_began_with(tmp_path, classifier):
    """ImageNet's 1000 classes, under another name of the classifier, or no classifier."""
    table = TABLES["tsn/caffe-bn_inception-rgb-ucf101"]
    shapes = {
        name.replace("fc-action", classifier): (1000, *shape[1:]) if name.startswith("fc-") else shape
        for name, shape in table.params.items()
        if classifier or not name.startswith("fc-")
    }
    (tmp_path / "x.caffemodel").write_bytes(layers(values(shapes)))
    head = None
    if classifier.startswith("loss3"):
        with pytest.raises(Refused) as caught:
            convert(tmp_path / "x.caffemodel", tmp_path / "out.pth", source="tsn")
        assert caught.value.told.hint.endswith("say so: --head loss3/classifier")
        head = classifier
    result = convert(tmp_path / "x.caffemodel", tmp_path / "out.pth", source="tsn", head=head)
    assert (result.info.classes, result.info.channels) == (1000 if classifier else 0, 3)
    port = {"to": "tsn-pytorch", "head": head, "wrap": True, "dry_run": True}
    notes = convert(tmp_path / "x.caffemodel", tmp_path / "port.pth", source="tsn", **port).notes
    assert "no wrapper of tsn-pytorch's is known: the file is a bare state dict" in notes
    convert(tmp_path / "out.pth", tmp_path / "back.caffemodel", source="mmaction", to="tsn")
    assert blobs_of(tmp_path / "back.caffemodel") == blobs_of(tmp_path / "x.caffemodel")


def test_a_pytorch_file_becomes_a_caffe_model(tmp_path):
    """Without a record of where it came from: the first names, and the shapes of today's Caffe."""
    arrays = values(caffe_tables.c3d_shapes("ucf101net"))
    state = {caffe_tables.c3d_name(name): torch.from_numpy(array) for name, array in arrays.items()}
    torch.save(state, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", tmp_path / "x.caffemodel", source="native", to="c3d")
    with open_checkpoint(str(tmp_path / "x.caffemodel")) as found:
        assert found.details["dialect"] == "bvlc"
        shapes = {name: tensor.shape for name, tensor in found.tensors.items()}
        assert shapes == TABLES["c3d/caffe-v1.1-ucf101net"].params
        for name, array in arrays.items():
            blob = name.replace("/W", "/0").replace("/b", "/1")
            assert found.tensors[blob].tobytes() == array.tobytes()


# What is accepted


def test_shapes_of_other_forks_are_read():
    """A norm's blobs as (C) or (1, C, 1, 1), and four axes everywhere as old layers have them."""
    params = TABLES["tsn/caffe-bn_inception-rgb-ucf101"].params
    four = {name: (1,) * (4 - len(shape)) + shape for name, shape in params.items()}
    norms = {name: (*shape, 1, 1) if "_bn/" in name else shape for name, shape in params.items()}
    bare = {name: shape[1:] if "_bn/" in name else shape for name, shape in params.items()}
    for shapes in (
        params,
        bare,
        norms,
        four,
        {**four, **{name: norms[name] for name in norms if "_bn/" in name}},
    ):
        assert match_file(load_layout("tsn"), shell(shapes)).sizes == {"channels": 3, "classes": 101}


@pytest.mark.full
def test_inspect_tells_what_a_file_is(run, tmp_path):
    table = "c3d/caffe-v1.0-sports1m"
    write_caffe(tmp_path / "sports1m", table, values(TABLES[table].params))
    done = run("inspect", "sports1m", "--layouts")
    for words in (
        "C3D (c3d-plain), 487 classes",
        "layout       c3d",
        "c3d-v1.0",
        "BGR",
        "mean cube",
        "112x112",
        "pads pool5",
    ):
        assert words in done.stdout, words
    assert "eps" not in done.stdout
    found = inspect(tmp_path / "sports1m")
    assert found.parameters == 79_991_015
    assert round(found.multiply_adds / 1e9, 1) == 38.5
    assert set(found.layouts) == {
        "mmaction",
        "mmaction2",
        "c3d-pytorch",
        "pytorch-video-recognition",
        "native",
    }


def test_files_in_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    table = TABLES["c3d/caffe-v1.1-ucf101net"]
    arrays = values(table.params)
    with h5py.File(tmp_path / "x.caffemodel.h5", "w") as file:
        for name, array in arrays.items():
            file[f"data/{name}"] = array
    with h5py.File(tmp_path / "chainer.h5", "w") as file:
        for name, array in arrays.items():
            file[name.replace("/0", "/W").replace("/1", "/b")] = array.reshape(
                array.shape if array.ndim == 2 or name.endswith("0") else -1
            )
    one = convert(tmp_path / "x.caffemodel.h5", tmp_path / "one.safetensors", source="c3d")
    two = convert(tmp_path / "chainer.h5", tmp_path / "two.safetensors", source="c3d")
    assert (one.layout, two.layout) == ("c3d", "c3d-chainer")
    assert blobs_of(tmp_path / "one.safetensors") == blobs_of(tmp_path / "two.safetensors")


def test_the_way_back_to_hdf5(tmp_path):
    """Datasets, shapes, and the groups of layers without weights, as Caffe and Chainer write them."""
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    arrays = small_net()
    with h5py.File(tmp_path / "x.caffemodel.h5", "w") as file:
        for name, array in arrays.items():
            file[f"data/{name}"] = array
        file.create_group("data/relu1a")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, shape in caffe_tables.c3d_shapes("ucf101net").items():
            file[f"predictor/{name}"] = arrays[name.replace("/W", "/0").replace("/b", "/1")].reshape(shape)
    for source, layout, number in (("x.caffemodel.h5", "c3d", 16), ("x.h5", "c3d-chainer", 16)):
        convert(tmp_path / source, tmp_path / "out.pth", source="c3d", force=True)
        for back in (f"back.{source}", f"again.{source}"):
            convert(tmp_path / "out.pth", tmp_path / back, source="native", to=layout, check=True)
        whole = (tmp_path / f"back.{source}").read_bytes()
        assert whole == (tmp_path / f"again.{source}").read_bytes()
        with h5py.File(tmp_path / source) as one, h5py.File(tmp_path / f"back.{source}") as two:
            names, found = [], []
            one.visit(names.append)
            two.visit(found.append)
            assert found == names
            datasets = [name for name in names if isinstance(one[name], h5py.Dataset)]
            assert len(datasets) == number
            for name in datasets:
                assert (two[name].dtype, two[name].shape) == (one[name].dtype, one[name].shape)
                assert two[name][()].tobytes() == one[name][()].tobytes()


# Refusals


def small_net() -> dict[str, np.ndarray]:
    return values(TABLES["c3d/caffe-v1.1-ucf101net"].params)


def layers(arrays: dict[str, np.ndarray]) -> bytes:
    """A C3D-v1.1 model of these blobs, layer by layer."""
    names: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        names.setdefault(name.rpartition("/")[0], []).append(array)
    return caffe_files.message(1, b"net") + b"".join(
        caffe_files.new_layer(name, "Any", *map(caffe_files.blob, blobs)) for name, blobs in names.items()
    )


def test_old_layers_with_new_shapes_come_back(tmp_path):
    """V1 layers as a later Caffe writes them: arrays of five axes, of two and of one, by the field ``shape``."""
    arrays = {name: array.reshape(-1) if name.endswith("1") else array for name, array in small_net().items()}
    names = sorted({name.partition("/")[0] for name in arrays})
    content = b"".join(
        caffe_files.message(
            2,
            caffe_files.message(4, name.encode()),
            caffe_files.number(5, 4),
            *(caffe_files.message(6, caffe_files.blob(arrays[f"{name}/{index}"])) for index in (0, 1)),
        )
        for name in names
    )
    (tmp_path / "x.caffemodel").write_bytes(content)
    comes_back(tmp_path / "x.caffemodel", "c3d", "native", tmp_path)
    assert (tmp_path / "back.caffemodel").read_bytes() == content


def test_biases_of_bvlc_have_one_axis(tmp_path):
    arrays = {name: array.reshape(-1) if name.endswith("1") else array for name, array in small_net().items()}
    (tmp_path / "x.caffemodel").write_bytes(layers(arrays))
    comes_back(tmp_path / "x.caffemodel", "c3d", "native", tmp_path)


def test_wrong_kinds_of_file_are_named(run, tmp_path):
    arrays = small_net()
    whole = layers(arrays)
    mean = caffe_files.blob_v10(np.ones((1, 3, 4, 6, 8), np.float32))
    kinds = {
        "net.prototxt": (b'name: "C3D"\nlayer {\n  name: "data"\n}\n', "description of a Caffe network"),
        "solver.prototxt": (b"test_iter: 10\nbase_lr: 0.1\n", "or its training"),
        "x.solverstate": (caffe_files.solverstate(np.ones(4, np.float32)), "solver state"),
        "mean.binaryproto": (mean, "mean file"),
        "cut.caffemodel": (whole[: len(whole) // 2], "ends early"),
        "twice.caffemodel": (whole + whole, "two layers of this name"),
        "mean2.npz": ((FIXTURES / "mean2.npz").read_bytes(), "holds a mean only"),
        "raw.npz": ((FIXTURES / "uninitialised.npz").read_bytes(), "never initialised"),
        "page": (b"<!DOCTYPE html><html>" * 9, "web page"),
        "noise": (bytes(range(128, 256)) * 9, "not a known kind"),
        "note.txt": (b"not a model at all", "text file"),
    }
    for name, (content, words) in kinds.items():
        (tmp_path / name).write_bytes(content)
        done = run("c3d", name, "out.pth")
        assert done.returncode == 3, (name, done.stderr)
        assert done.stderr.startswith(f"error: {name}: ")
        assert words in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr
    (tmp_path / "x.caffemodel").write_bytes(whole)
    done = run("vmz", "x.caffemodel", "out.pth")
    assert done.returncode == 3
    assert "is a Caffe model (bvlc)" in done.stderr
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.full
def test_other_networks_and_missing_blobs_have_exit_code_1(run, tmp_path):
    arrays = small_net()
    shape = (96, 3, 11, 11)
    alexnet = {
        "conv1/0": shape,
        "conv1/1": (96,),
        "conv2/0": (256, 48, 5, 5),
        "fc6/0": (4096, 9216),
        "fc8/1": (1000,),
    }
    cases = {
        "alexnet": (values({name.replace("fc8/1", "fc8/0"): size for name, size in alexnet.items()}), ""),
        "lacking": ({name: array for name, array in arrays.items() if name != "fc7/1"}, "missing: fc7/1"),
        "further": ({**arrays, "conv2a/2": np.ones(3, np.float32)}, "unused: conv2a/2"),
        "another": ({**arrays, "conv9/0": np.ones(3, np.float32)}, "unused: conv9/0"),
        "doubled": ({**arrays, "fc6-1/0": arrays["fc6/0"]}, "unused: fc6-1/0"),
        "shape": ({**arrays, "conv2a/1": arrays["conv2a/1"].reshape(64, 2)}, "shape: conv2a/1"),
    }
    for name, (blobs, fault) in cases.items():
        (tmp_path / name).write_bytes(layers(blobs))
        told = run("c3d", name, "out.pth", "--json")
        assert told.returncode == 1, (name, told.stdout)
        found = json.loads(told.stdout)
        assert not fault or any(one.startswith(fault) for one in found["faults"]), (name, found)
    assert not (tmp_path / "out.pth").exists()


def test_a_small_net_goes_to_no_project(tmp_path):
    (tmp_path / "x").write_bytes(layers(small_net()))
    with pytest.raises(Refused, match="eight convolutions"):
        convert(tmp_path / "x", tmp_path / "out.pth", source="c3d", to="mmaction")


def test_a_damaged_array_of_a_stored_npz_is_found(tmp_path):
    np.savez(tmp_path / "x.npz", **values(caffe_tables.c3d_shapes("ucf101net")))
    raw = bytearray((tmp_path / "x.npz").read_bytes())
    raw[len(raw) // 2] ^= 4
    (tmp_path / "x.npz").write_bytes(raw)
    for suffix in ("pth", "safetensors"):
        with pytest.raises(BadInput, match="CRC-32"):
            convert(tmp_path / "x.npz", tmp_path / f"out.{suffix}", source="c3d")
        assert not (tmp_path / f"out.{suffix}").exists()
    with pytest.raises(BadInput, match="CRC-32"):
        load_model(tmp_path / "x.npz")
    convert(tmp_path / "x.npz", tmp_path / "out.pth", source="c3d", checksum=False)
    with pytest.raises(BadInput, match="CRC-32"):
        convert(tmp_path / "x.npz", tmp_path / "out.npz", source="c3d", to="c3d-chainer")
    assert not (tmp_path / "out.npz").exists()
