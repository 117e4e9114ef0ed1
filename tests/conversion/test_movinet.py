"""MoViNet from TensorFlow 2's checkpoints to logits, whole clips and frame by frame, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from converters import convert, load_model
from converters.formats.io.atomic import replacing
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.reader import read_tensorflow
from converters.formats.tensorflow.writer import write_tensorflow
from converters.tensor import Held, Tensor
from tests.helpers import seeded_weights, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.paths import GOLDENS
from tests.helpers.seeded_weights_movinet import (
    movinet_clip,
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
        NAMES, lambda name: {name.partition("_")[0][3:]}, lambda name: name != "a0-base_6x72"
    ),
)
def test_converted_file_computes_what_tensorflow_computed(name: str, device: str, tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "movinet" / f"{name}.npz")
    network = str(golden["network"])
    arrays = movinet_weights(variables_of(network, int(golden["classes"])), int(golden["weight_seed"]))
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    convert("movinet", write(tmp_path / "own", arrays), tmp_path / "out.pth")
    array = movinet_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    clip = torch.from_numpy(array.transpose(0, 4, 1, 2, 3).copy()).to(device)
    settings = {"stream_gate_slope": "0.16667"} if "stream" in network else {}
    with torch.inference_mode():
        model = load_model(tmp_path / "out.pth", settings=settings).to(device)
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
    assert (logits - whole).abs().max() / whole.abs().max() <= tolerance / 10
    zeros = model.initial_state(clip.shape)
    assert {name: value.shape for name, value in zeros.items()} == {
        name: value.shape for name, value in state.items()
    }
    _, after = model.step(clip[:, :, :1], zeros)
    assert not any(value.any() for value in zeros.values())
    logits, _ = model.step(clip[:, :, 1:], after)
    assert (logits - whole).abs().max() / whole.abs().max() <= tolerance / 10
