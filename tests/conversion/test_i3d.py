"""I3D from TensorFlow files to logits, through the whole product: published layouts of files, every layout out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from converters import BadInput, Refused, convert, inspect, load_model, load_two_stream
from converters.formats.io.atomic import replacing
from converters.formats.open import open_checkpoint
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.reader import read_tensorflow
from converters.formats.tensorflow.writer import write_tensorflow
from converters.tensor import Held, Tensor
from tests.helpers import i3d_tables, seeded_weights, seeded_weights_i3d, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.paths import GOLDENS

TARGETS = {
    "pytorch-i3d": "pytorch-i3d/piergiaj",
    "kinetics_i3d_pytorch": "pytorch-i3d/hassony2",
    "video_features": "pytorch-i3d/video_features",
    "mmaction": "mmaction/i3d_inception_v1",
}


def write(prefix: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write variables as TensorFlow does: an index and one shard."""
    tensors = [
        Tensor(name, str(array.dtype), array.shape, Held(memoryview(array.reshape(-1).view("u1"))))
        for name, array in arrays.items()
    ]
    data, index = checkpoint_names(str(prefix))
    with replacing(data, force=True) as data_out, replacing(index, force=True) as index_out:
        write_tensorflow(data_out, index_out, tensors)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with read_tensorflow(str(path)) as found:
        return {
            name: np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape)
            for name, tensor in found.tensors.items()
        }


def test_outputs_have_their_own_checksums(rgb: Path, tmp_path: Path) -> None:
    """TensorFlow's are of another kind: what a zip says of its records is computed."""
    for name in ("out.pth", "out.safetensors"):
        result = convert(rgb, tmp_path / name, source="i3d")
        with open_checkpoint(str(tmp_path / name)) as written:
            for tensor in written.tensors.values():
                tensor.tobytes()  # compares
        with open_checkpoint(str(rgb)) as source:
            sums = result.provenance["source"]["crc32"]
            assert sums == {key: f"{crc32(source.tensors[key].tobytes()):08x}" for key in sums}


def published(table: str, seed: int, classes: int = 400) -> dict[str, np.ndarray]:
    return seeded_weights_i3d.i3d_weights(i3d_tables.variables_of(table, classes), seed)


@pytest.fixture(scope="module")
def rgb(tmp_path_factory) -> Path:
    """rgb_imagenet in its exact layout, with the file `checkpoint` and its dead, absolute path."""
    folder = tmp_path_factory.mktemp("i3d") / "rgb_imagenet"
    folder.mkdir()
    write(folder / "model.ckpt", published("rgb", 411))
    (folder / "checkpoint").write_text('model_checkpoint_path: "/dead/path/model.ckpt"\n')
    (folder / "model.ckpt.meta").write_bytes(b"\x0a\x04\x0a\x02Op")
    return folder


@pytest.fixture(scope="module")
def flow(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("i3d-flow") / "flow_imagenet"
    folder.mkdir()
    write(folder / "model.ckpt", published("flow", 422))
    return folder


NAMES = sorted(path.stem for folder in ("i3d", "i3d-shared") for path in (GOLDENS / folder).glob("*.npz"))


@pytest.mark.parametrize(
    "name",
    selection.longest(
        selection.one_of_each(
            NAMES,
            lambda name: {name.split("_")[0], "_two" in name},
            lambda name: int(re.findall(r"_(\d+)x", name)[0]),
        ),
        {"rgb_64x224", "rgb600_64x224", "flow_79x224"}.__contains__,
    ),
)
def test_converted_file_computes_what_tensorflow_computed(name: str, device: str, tmp_path: Path) -> None:
    (path,) = (path for folder in ("i3d", "i3d-shared") for path in (GOLDENS / folder).glob(f"{name}.npz"))
    golden = np.load(path)
    table, classes = Path(str(golden["table"])).stem, golden["logits"].shape[1]
    arrays = published(table, int(golden["weight_seed"]), classes)
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    write(tmp_path / "model.ckpt", arrays)
    result = convert(tmp_path / "model.ckpt", tmp_path / "out.pth", source="i3d")
    assert result.target == "pytorch-i3d"
    assert len(result.dropped) == sum("Momentum" in variable for variable in arrays)
    clip = seeded_weights_i3d.i3d_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    points = {name: name for name in golden["blocks"].tolist()}
    with torch.inference_mode():
        model = load_model(tmp_path / "out.pth").to(device)
        steps = model.steps(torch.from_numpy(clip.transpose(0, 4, 1, 2, 3).copy()).to(device))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device], channels_last=True)


@pytest.mark.parametrize("to", selection.first_of([*TARGETS, "native"], 2))
def test_every_layout_out_and_the_way_back(rgb: Path, tmp_path: Path, to: str) -> None:
    result = convert(rgb, tmp_path / "out.pth", source="i3d", to=to, check=True)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    if to in TARGETS:
        (table,) = (
            table
            for key, table in i3d_tables.i3d_target_tables().items()
            if key.startswith(TARGETS[to]) and "rgb" in key and key.endswith("400")
        )
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == table.keys
        (eps,) = {norm["eps"] for norm in table.norms}
        assert result.info.bn_eps == eps
    convert(tmp_path / "out.pth", tmp_path / "back.ckpt", source=to, to="i3d")
    back, source = arrays_of(tmp_path / "back.ckpt"), arrays_of(rgb)
    assert back.keys() == source.keys()
    for name, array in source.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes(), name


@pytest.mark.full
def test_a_layouts_own_network_computes_what_it_computes(rgb: Path, tmp_path: Path) -> None:
    """Even sizes and two frames left: every layout's network gives TensorFlow's logits, whatever its eps."""
    golden = np.load(GOLDENS / "i3d-shared" / "rgb_16x224.npz")
    clip = torch.from_numpy(
        seeded_weights_i3d.i3d_clip(41, (1, 16, 224, 224, 3)).transpose(0, 4, 1, 2, 3).copy()
    )
    for to in TARGETS:
        convert(rgb, tmp_path / f"{to}.safetensors", source="i3d", to=to)
        with torch.inference_mode():
            logits = load_model(tmp_path / f"{to}.safetensors")(clip).numpy()
        assert np.abs(logits - golden["logits"]).max() <= 1e-5 * np.abs(golden["logits"]).max(), to
    found = inspect(tmp_path / "mmaction.safetensors")
    assert "averages all remaining frames" in found.layouts["mmaction"]


@pytest.mark.full
def test_every_way_to_name_a_checkpoint(rgb: Path, run, tmp_path: Path) -> None:
    ways = ["", "model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "checkpoint"]
    wholes = set()
    for number, way in enumerate(ways):
        done = run("i3d", rgb / way, f"{number}.safetensors")
        assert done.returncode == 0, (way, done.stderr)
        wholes.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(wholes) == 1
    saved = tmp_path / "module"
    (saved / "variables").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"\x08\x01")
    for path in rgb.glob("model.ckpt.*"):
        shutil.copy(path, saved / "variables" / path.name.replace("model.ckpt", "variables"))
    assert run("i3d", saved, "module.pth").returncode == 0


@pytest.mark.full
def test_published_names_and_hub_shapes(tmp_path: Path) -> None:
    arrays = published("rgb", 7)
    hub = {
        name: array.reshape(1, 1, 1, 1, -1) if array.ndim == 1 and "batch_norm" in name else array
        for name, array in arrays.items()
    }
    write(tmp_path / "hub.ckpt", hub)
    write(tmp_path / "plain.ckpt", arrays)
    for name in ("hub", "plain"):
        convert(tmp_path / f"{name}.ckpt", tmp_path / f"{name}.pth", source="i3d")
        convert(tmp_path / f"{name}.pth", tmp_path / f"{name}-back.ckpt", source="pytorch-i3d", to="i3d")
    back = arrays_of(tmp_path / "hub-back.ckpt")
    assert all(back[name].shape == array.shape for name, array in hub.items())
    one, other = (torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in ("hub", "plain"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_fine_tuned_classes_and_channels(tmp_path: Path) -> None:
    write(tmp_path / "ucf.ckpt", published("flow", 9, 101))
    result = convert(tmp_path / "ucf.ckpt", tmp_path / "ucf.pth", source="i3d")
    assert (result.info.classes, result.info.channels) == (101, 2)
    assert "labels" not in result.info.input


def test_labels_and_preprocessing_travel(rgb: Path, tmp_path: Path) -> None:
    convert(rgb, tmp_path / "out.pth", source="i3d")
    network = inspect(tmp_path / "out.pth").provenance["network"]
    assert len(network["input"]["labels"]) == 400
    assert network["input"]["labels"][:2] == ["abseiling", "air drumming"]
    assert "Apache-2.0" in network["input"]["labels_notice"]
    assert network["input"]["mean"] == [127.5] * 3


@pytest.mark.full
def test_two_stream_sums_averaged_logits(rgb: Path, flow: Path, tmp_path: Path) -> None:
    convert(rgb, tmp_path / "rgb.pth", source="i3d")
    convert(flow, tmp_path / "flow.safetensors", source="i3d", to="mmaction")
    both = load_two_stream(tmp_path / "rgb.pth", tmp_path / "flow.safetensors")
    frames, motion = torch.randn(1, 3, 16, 224, 224), torch.randn(1, 2, 16, 224, 224)
    with torch.inference_mode():
        apart = load_model(tmp_path / "rgb.pth")(frames) + load_model(tmp_path / "flow.safetensors")(motion)
        assert torch.equal(both(frames, motion), apart)
    assert not both.training
    write(tmp_path / "ucf.ckpt", published("flow", 9, 101))
    convert(tmp_path / "ucf.ckpt", tmp_path / "ucf.pth", source="i3d")
    with pytest.raises(Refused, match="classes"):
        load_two_stream(tmp_path / "rgb.pth", tmp_path / "ucf.pth")
    with pytest.raises(Refused, match="wrong way round"):
        load_two_stream(tmp_path / "ucf.pth", tmp_path / "rgb.pth")


def test_damage_is_named(rgb: Path, run, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        shutil.copytree(rgb, tmp_path / name)
        return tmp_path / name

    flipped = copy("flipped") / "model.ckpt.data-00000-of-00001"
    raw = bytearray(flipped.read_bytes())
    raw[len(raw) // 2] ^= 1
    flipped.write_bytes(raw)
    short = copy("short") / "model.ckpt.data-00000-of-00001"
    short.write_bytes(short.read_bytes()[:-100])
    (copy("missing") / "model.ckpt.data-00000-of-00001").unlink()
    index = copy("index") / "model.ckpt.index"
    raw = bytearray(index.read_bytes())
    raw[100] ^= 1
    index.write_bytes(raw)
    (tmp_path / "meta").mkdir()
    shutil.copy(rgb / "model.ckpt.meta", tmp_path / "meta" / "model.ckpt.meta")
    for name, word in (
        ("flipped", "CRC-32C"),
        ("short", "ends early"),
        ("missing", "data-00000-of-00001"),
        ("index", "CRC-32C"),
        ("meta", "graph"),
    ):
        alone = "model.ckpt.meta" if name == "meta" else ""
        done = run("i3d", tmp_path / name / alone, "out.pth")
        assert done.returncode == 3, (name, done.stderr)
        assert word in done.stderr, (name, done.stderr)
        assert [line.partition(":")[0] for line in done.stderr.splitlines()] in (["error"], ["error", "hint"])
    assert not (tmp_path / "out.pth").exists()
    done = run("i3d", tmp_path / "flipped", "out.pth", "--no-checksum", "--json")
    assert done.returncode == 0
    assert any("not compared" in note for note in json.loads(done.stdout)["notes"])


def test_a_wrong_scope_is_another_network(tmp_path: Path) -> None:
    arrays = {f"Other/{name}": array for name, array in published("rgb", 3).items()}
    write(tmp_path / "model.ckpt", arrays)
    with pytest.raises(Refused):
        convert(tmp_path / "model.ckpt", tmp_path / "out.pth", source="i3d")
    with pytest.raises(BadInput, match="comes as"):
        convert(tmp_path / "model.ckpt", tmp_path / "out.pth", source="vmz")


def test_a_norm_with_a_scale_cannot_go_back(rgb: Path, tmp_path: Path) -> None:
    """TensorFlow's network has no scale: a file whose batch norms were trained further is refused."""
    convert(rgb, tmp_path / "out.pth", source="i3d")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    state["Mixed_4b.b0.bn.weight"][3] = 1.5
    torch.save(state, tmp_path / "tuned.pth")
    with pytest.raises(Refused, match=r"Mixed_4b\.b0\.bn\.weight"):
        convert(tmp_path / "tuned.pth", tmp_path / "back.ckpt", source="pytorch-i3d", to="i3d")
