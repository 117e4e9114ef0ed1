"""Named arrays are called after their writer, and Chainer's only if Chainer's names are in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.cli.main import main
from converters.errors import BadInput
from converters.formats.open import open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

W = np.ones((3, 2), np.float32)

NPZ = {
    "positions": (["arr_0", "arr_1"], False),
    "small letters": (["w", "b"], False),
    "flax": (["params/Dense_0/kernel", "params/Dense_0/bias"], False),
    "tensorpack": (["conv0/W:0", "conv0/b:0", "bn0/gamma:0"], False),
    "pytorch": (["layer1.0.conv1.weight", "layer1.0.bn1.running_mean"], False),
    "tensorflow": (["conv1/weights", "conv1/biases", "bn/beta", "bn/gamma"], False),
    "one link": (["W", "b"], False),
    "one link in a chain": (["conv1/W", "conv1/b"], False),
    "links": (["conv1/W", "conv1/b", "bn/gamma", "bn/beta", "bn/avg_mean", "bn/avg_var", "bn/N"], True),
    "a snapshot": (["updater/model:main/own", "trainer/x"], True),
    "an own parameter": (["conv1/W", "conv1/b", "conv2/W", "scale"], True),
    "recurrent": (["l1/upward/W", "l1/upward/b", "l1/lateral/W", "l2/0/w0", "l2/0/b0"], True),
}


@pytest.mark.parametrize("case", NPZ)
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_are_chainers_by_their_names(case: str, suffix: str, tmp_path: Path) -> None:
    names, is_chainer = NPZ[case]
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **dict.fromkeys(names, W))
    else:
        h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
        with h5py.File(path, "w") as file:
            for name in names:
                file[name] = W
    with open_checkpoint(str(path)) as checkpoint:
        assert ("Chainer" in checkpoint.container) == is_chainer
        assert (checkpoint.format == "chainer") == is_chainer
        assert {*checkpoint.tensors} == {*names}


@pytest.mark.parametrize("links", [2, 3])
def test_arrays_of_float64_are_numpys(links: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"l{n}/W": np.ones((3, 2)) for n in range(links)})
    with open_checkpoint(str(tmp_path / "a.npz")) as checkpoint:
        assert checkpoint.container == "NumPy file (npz)"


def keras_model(file) -> None:
    """What `model.save` of Keras 2 and 3 writes to `.h5`."""
    file.attrs.update({"keras_version": "2.2.4", "backend": "tensorflow", "model_config": "{}"})
    file["model_weights/conv/conv/kernel:0"] = W


def keras_weights(file) -> None:
    """What `save_weights` of Keras 1 and 2 writes."""
    file.attrs["layer_names"] = [b"conv"]
    file["conv/conv/kernel:0"] = W


def keras_without_a_version(file) -> None:
    keras_weights(file)
    file.attrs["backend"] = "theano"


def keras_three(file) -> None:
    """What `save_weights` of Keras 3 writes to `.weights.h5`."""
    file["layers/conv2d/vars/0"] = W
    file["layers/batch_normalization/vars/3"] = W[0]


def a_group_called_data(file) -> None:
    """As Caffe's files have, and many others."""
    file["data/conv1/weights"] = W
    file["data/conv1/bias"] = W[0]


def a_training_history(file) -> None:
    file["history/loss"] = W
    file["weights/w"] = W


def net_cdf(file) -> None:
    file.attrs["_NCProperties"] = "version=2"
    file["w"] = W


def py_tables(file) -> None:
    file.attrs["PYTABLES_FORMAT_VERSION"] = "2.1"
    file["w"] = W


@pytest.mark.parametrize(
    ("make", "block", "title"),
    [
        (keras_model, b"", "Keras model (HDF5)"),
        (keras_weights, b"", "Keras weight file (HDF5)"),
        (keras_without_a_version, b"", "Keras weight file (HDF5)"),
        (keras_three, b"", "Keras weight file (HDF5)"),
        (lambda file: file.__setitem__("w", W), b"MATLAB 7.3 MAT-file, Platform: PCWIN64", "MATLAB 7.3 file (HDF5)"),
        (lambda file: file.__setitem__("w", W), b"HDF5-based Julia Data Format", "Julia file (JLD2, HDF5)"),
        (net_cdf, b"", "netCDF file (HDF5)"),
        (a_group_called_data, b"", "plain HDF5 file"),
        (a_training_history, b"", "plain HDF5 file"),
        (py_tables, b"", "PyTables file (HDF5)"),
        (lambda file: file.__setitem__("w", W), b"", "plain HDF5 file"),
    ],
)  # fmt: skip
def test_hdf5_files_are_called_after_their_writers(
    make, block: bytes, title: str, tmp_path: Path, capsys
) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512 if block else 0) as file:
        make(file)
    with path.open("r+b") as raw:
        raw.write(block)
    with open_checkpoint(str(path)) as checkpoint:
        assert (checkpoint.container, checkpoint.format) == (title, "arrays")
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert title in said
    assert "a mapping file of your own" in said
    for source, code in (("auto", 1), ("vmz", 3), ("c3d-chainer", 3)):
        assert main([source, str(path), str(tmp_path / "out.pth")]) == code
        said = capsys.readouterr().err
        assert title in said
        assert "a mapping file of your own" in said
        assert "convert c3d" not in said


def test_arrays_and_a_mapping_file_both_ways(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"dense/kernel": W, "dense/bias": W[0]})
    (tmp_path / "m.toml").write_text(
        '[from]\nformat = "arrays"\n[tensors]\n"dense/kernel" = { to = "fc.weight", axes = "i o -> o i" }\n'
        '"dense/bias" = "fc.bias"\n'
    )
    out, back = tmp_path / "out.pth", tmp_path / "back.npz"
    mapping = ["--mapping", str(tmp_path / "m.toml")]
    assert main([str(tmp_path / "a.npz"), str(out), *mapping]) == 0
    assert main([str(out), str(back), *mapping, "--reverse"]) == 0
    with np.load(back) as found:
        assert np.array_equal(found["dense/kernel"], W)
        assert np.array_equal(found["dense/bias"], W[0])


def test_files_without_arrays(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("model_weights")
    with pytest.raises(BadInput, match="holds no arrays") as caught:
        open_checkpoint(str(tmp_path / "a.h5"))
    assert "Chainer" not in str(caught.value)
