"""MoViNet from TensorFlow 2's checkpoints to logits, whole clips and frame by frame, and back."""

from __future__ import annotations

import shutil
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from converters import Refused, convert, load_model
from converters.formats.io.atomic import replacing
from converters.formats.open import open_checkpoint
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.reader import read_tensorflow
from converters.formats.tensorflow.writer import write_tensorflow
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant
from converters.tensor import Held, Tensor
from tests.helpers import seeded_weights, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.paths import GOLDENS
from tests.helpers.seeded_weights_movinet import (
    SUFFIX,
    movinet_clip,
    movinet_tables,
    movinet_weights,
    variables_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from converters.networks.layers import Network


def write(prefix: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write variables as a V2 checkpoint; its index."""
    tensors = [
        Tensor(name, str(array.dtype), array.shape, Held(array.tobytes())) for name, array in arrays.items()
    ]
    data, index = checkpoint_names(str(prefix))
    with replacing(data, force=True) as data_out, replacing(index, force=True) as index_out:
        write_tensorflow(data_out, index_out, tensors)
    return prefix.with_suffix(".index")


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The weights in a checkpoint, without what TensorFlow has beside them."""
    with read_tensorflow(str(path)) as found:
        return {
            name: np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape)
            for name, tensor in found.tensors.items()
            if not name.startswith("save_counter")
        }


def steps_of(model: Network, clip: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The network's end points, the pooled one as TensorFlow has it."""
    for name, value in model.steps(clip):
        yield name, value[..., None, None, None] if name == "pool" else value


def points_of(blocks: list[str]) -> dict[str, str]:
    """Our end points by TensorFlow's."""
    named = {block: block.replace("block", "layer").replace("_layer", ".") for block in blocks}
    return named | {"stem": "stem", "head": "pool"}


NAMES = sorted(path.stem for path in (GOLDENS / "movinet").glob("*.npz"))


@pytest.mark.parametrize(
    "name",
    selection.one_of_each(
        NAMES, lambda name: {name.partition("_")[0][3:]}, lambda name: not name.endswith("_6x72")
    ),
)
def test_converted_file_computes_what_tensorflow_computed(name: str, device: str, tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "movinet" / f"{name}.npz")
    network = str(golden["network"])
    arrays = movinet_weights(variables_of(network, int(golden["classes"])), int(golden["weight_seed"]))
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    convert(write(tmp_path / "own", arrays), tmp_path / "out.pth", source="movinet")
    array = movinet_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    clip = torch.from_numpy(array.transpose(0, 4, 1, 2, 3).copy()).to(device)
    with torch.inference_mode():
        model = load_model(tmp_path / "out.pth").to(device)
        points = points_of(golden["blocks"].tolist())
        tolerance = TOLERANCE[device]
        assert_parity(golden, steps_of(model, clip), points, tolerance=tolerance, channels_last=True)
        if "stream" in network:
            assert_streams(model, clip, golden["step_logits"], tolerance)


def assert_streams(model: Any, clip: torch.Tensor, wanted: np.ndarray, tolerance: float) -> None:
    """Frame by frame and in uneven pieces a network computes what TensorFlow computed, and what it does at once."""
    whole, state = model(clip), model.initial_state
    for frame in range(clip.shape[2]):
        logits, state = model.step(clip[:, :, frame : frame + 1], state)
        error = np.abs(logits.cpu().numpy() - wanted[:, frame]).max() / np.abs(wanted[:, frame]).max()
        assert error <= tolerance
    assert_equals(logits, whole, tolerance)
    zeros = model.initial_state(clip.shape)
    assert {name: value.shape for name, value in zeros.items()} == {
        name: value.shape for name, value in state.items()
    }
    _, after = model.step(clip[:, :, :1], zeros)
    assert not any(value.any() for value in zeros.values())
    logits, _ = model.step(clip[:, :, 1:], after)
    assert_equals(logits, whole, tolerance)


def assert_equals(logits: torch.Tensor, whole: torch.Tensor, tolerance: float) -> None:
    """On a CPU bit for bit."""
    assert (logits - whole).abs().max() / whole.abs().max() <= (tolerance / 10 if whole.is_cuda else 0)


@pytest.mark.parametrize("network", sorted(movinet_tables()))
def test_every_network_has_the_variables_that_tensorflow_wrote(network: str) -> None:
    variant = find_variant("movinet", f"movinet-{network}")
    sizes = {"channels": 3, "classes": 7}
    slots = tensor_slots(load_layout("movinet"), variant, sizes, {})
    assert {f"model/{slot.name}": slot.file_shape(sizes) for slot in slots} == variables_of(network, 7)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A0-base of seven classes, with an optimizer's variables, metrics and a step beside it."""
    arrays = movinet_weights(variables_of("a0-base", 7), 11)
    beside = {
        "global_step": np.array(9),
        "keras_api/metrics/0/total": np.ones((), "f4"),
        "optimizer/_iterations": np.array(9),
        "optimizer/_learning_rate": np.ones((), "f4"),
        "optimizer/_variables/1": np.ones((3, 3), "f4"),
        "model/layer_with_weights-1/_head/_conv/bias/.OPTIMIZER_SLOT/optimizer/momentum": np.ones(2048, "f4"),
    }
    extra = {f"{name}{SUFFIX}": array for name, array in beside.items()}
    return write(tmp_path_factory.mktemp("movinet") / "ckpt-1", arrays | extra)


def test_there_and_back(checkpoint: Path, tmp_path: Path) -> None:
    """Every weight comes back bit for bit, and what TensorFlow needs to restore them beside them."""
    result = convert(checkpoint, tmp_path / "out.pth", source="movinet", to="native", check=True)
    assert result.info.classes == 7
    left = [name for name in result.dropped if not name.startswith(("_CHECKPOINTABLE", "save_counter"))]
    assert len(left) == 6
    slots = next(note for note in result.notes if "slots of an optimizer" in note)
    assert "OPTIMIZER_SLOT" in slots
    assert "optimizer/_variables/1" in slots
    convert(tmp_path / "out.pth", tmp_path / "back.index", source="native", to="movinet", check=True)
    back, source = arrays_of(tmp_path / "back.index"), arrays_of(checkpoint)
    assert back.keys() == variables_of("a0-base", 7).keys() <= source.keys()
    for name, array in back.items():
        assert array.tobytes() == source[name].tobytes(), name
    with open_checkpoint(str(tmp_path / "back.index")) as written:
        assert {"_CHECKPOINTABLE_OBJECT_GRAPH", f"save_counter{SUFFIX}"} == written.other_values.keys()


def test_averages_among_an_optimizers_slots_are_taken_on_request(checkpoint: Path, tmp_path: Path) -> None:
    arrays = arrays_of(checkpoint)
    arrays = {name: arrays[name] for name in variables_of("a0-base", 7)}
    slot = f"/.OPTIMIZER_SLOT/optimizer/average{SUFFIX}"
    averages = {
        name.replace(SUFFIX, slot): array + 1 for name, array in arrays.items() if "moving" not in name
    }
    source = write(tmp_path / "ckpt-2", arrays | averages)
    result = convert(source, tmp_path / "out.pth", source="movinet", to="native")
    assert any("averages" in note and "(entry= average takes them)" in note for note in result.notes)
    convert(source, tmp_path / "average.pth", source="movinet", to="native", entry="average")
    plain, average = (load_model(tmp_path / name).state_dict() for name in ("out.pth", "average.pth"))
    assert torch.equal(average["head.bias"], plain["head.bias"] + 1)
    assert torch.equal(average["stem.bn.running_mean"], plain["stem.bn.running_mean"])


def test_another_model_is_refused_by_what_it_is(tmp_path: Path) -> None:
    shapes = {"kernel": (3, 3, 3, 8), "bias": (8,)}
    arrays = {f"model/layer_with_weights-0/{leaf}{SUFFIX}": np.zeros(s, "f4") for leaf, s in shapes.items()}
    arrays[f"model/layer_with_weights-1/kernel{SUFFIX}"] = np.zeros((8, 5), "f4")
    for source in ("movinet", None):
        with pytest.raises(Refused, match=r"Keras model \(1 convolution, 1 dense layer\)"):
            convert(write(tmp_path / "other", arrays), tmp_path / "out.pth", source=source)


def test_an_older_network_is_refused_by_its_files_name(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "movinet_a0_stream_legacy"
    folder.mkdir()
    for file in checkpoint.parent.iterdir():
        shutil.copy(file, folder)
    with pytest.raises(Refused, match="older streaming MoViNet"):
        convert(folder, tmp_path / "out.pth", source="movinet")


def test_a_note_calls_the_target_by_its_project(tmp_path: Path) -> None:
    source = write(tmp_path / "own", movinet_weights(variables_of("a0-stream", 3), 2))
    convert(source, tmp_path / "hub.pth", source="movinet", settings={"stream_gate_slope": "0.2"})
    result = convert(tmp_path / "hub.pth", tmp_path / "back.index", to="movinet")
    assert any(
        note.startswith("MoViNet's own network has stream_gate_slope = 0.16667") for note in result.notes
    )


@pytest.mark.full
def test_a_stream_as_onnx_takes_and_gives_its_states(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    source = write(tmp_path / "own", movinet_weights(variables_of("a3-stream", 11), 5))
    convert(source, tmp_path / "out.onnx", source="movinet")
    model: Any = load_model(tmp_path / "out.onnx")
    clip = torch.from_numpy(movinet_clip(3, (2, 3, 4, 50, 61)))
    session = runtime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    states = {name: value.numpy() for name, value in model.initial_state(clip.shape).items()}
    assert {value.name for value in session.get_inputs()} == {"image", *states}
    for frame in range(clip.shape[2]):
        image = clip[:, :, frame : frame + 1].permute(0, 2, 3, 4, 1).numpy()
        logits, *after = session.run(None, {"image": image, **states})
        states = {name.removeprefix("next_"): value for name, value in zip(names[1:], after, strict=True)}
    with torch.inference_mode():
        wanted = model(clip).numpy()
    assert np.abs(logits - wanted).max() / np.abs(wanted).max() <= TOLERANCE["cpu"]


@pytest.mark.full
def test_a_large_network_takes_the_memory_of_its_largest_kernel(tmp_path: Path) -> None:
    """Python's own objects beside two copies of the kernel that is transposed, as for kinetics-i3d."""
    arrays = movinet_weights(variables_of("a5-base"), 1)
    largest = max(array.nbytes for array in arrays.values())
    source, total = write(tmp_path / "own", arrays), sum(array.nbytes for array in arrays.values())
    del arrays
    convert(
        source, tmp_path / "out.pth", source="movinet"
    )  # what is imported and cached by the first is not counted
    tracemalloc.start()
    convert(source, tmp_path / "out.pth", source="movinet", force=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * largest + (8 << 20) < total / 2
