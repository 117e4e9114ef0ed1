"""Mean cubes between the files that people have, and in the provenance of a conversion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import pytest

from converters import BadInput, Refused, UsageError, convert, convert_mean, inspect
from tests.helpers import caffe_files, caffe_tables, seeded_weights_caffe

if TYPE_CHECKING:
    from pathlib import Path

CUBE = seeded_weights_caffe.mean_cube(7, 4, 6, 5)


def written(folder: Path) -> list[Path]:
    """Every file form of the same cube, as its own project writes it."""
    np.savez(folder / "mean2.npz", mean=CUBE[:, None])
    np.savez_compressed(folder / "deflated.npz", mean=CUBE)
    np.save(folder / "own.npy", CUBE)
    np.save(folder / "fortran.npy", np.asfortranarray(CUBE))
    np.save(folder / "wide.npy", CUBE.astype(">f8"))
    (folder / "v10.binaryproto").write_bytes(caffe_files.blob_v10(CUBE[None]))
    (folder / "unpacked.binaryproto").write_bytes(caffe_files.blob_v10(CUBE[None], packed=False))
    (folder / "v11.binaryproto").write_bytes(caffe_files.blob(CUBE[None]))
    return sorted(folder.iterdir())


def test_every_form_becomes_the_same_array(tmp_path):
    for source in written(tmp_path):
        out = tmp_path / f"{source.name}.out.npy"
        found = convert_mean(source, out)
        array = np.load(out, allow_pickle=False)
        assert (array.dtype, array.shape) == (np.float32, (3, 4, 6, 5)), source.name
        assert np.array_equal(array, CUBE), source.name
        assert found.shape == array.shape
        assert found.crc32 == f"{crc32(CUBE.tobytes()):08x}"
        assert np.allclose(found.means, CUBE.astype(np.float64).mean(axis=(1, 2, 3)), rtol=1e-12)


def test_the_way_back_has_the_same_bytes(tmp_path):
    written(tmp_path)
    convert_mean(tmp_path / "v10.binaryproto", tmp_path / "x.npy")
    convert_mean(tmp_path / "x.npy", tmp_path / "x.binaryproto")
    assert (tmp_path / "x.binaryproto").read_bytes() == (tmp_path / "v10.binaryproto").read_bytes()
    convert_mean(tmp_path / "x.npy", tmp_path / "x.npz")
    assert np.array_equal(np.load(tmp_path / "x.npz")["mean"], CUBE)
    image = CUBE[:, 0]
    (tmp_path / "image.binaryproto").write_bytes(caffe_files.blob_v1(image[None]))
    assert convert_mean(tmp_path / "image.binaryproto", tmp_path / "y.npy").shape == image.shape
    convert_mean(tmp_path / "y.npy", tmp_path / "y.binaryproto")
    assert (tmp_path / "y.binaryproto").read_bytes() == (tmp_path / "image.binaryproto").read_bytes()


def test_the_real_cube_has_the_published_size(tmp_path):
    """17 bytes before the values, as in C3D's own files; without axes it is taken for the same."""
    cube = np.resize(CUBE, (3, 16, 128, 171))
    (tmp_path / "x.binaryproto").write_bytes(caffe_files.blob_v10(cube[None]))
    assert (tmp_path / "x.binaryproto").stat().st_size == 4_202_513
    np.savez(tmp_path / "flat.npz", mean=cube.ravel())
    for name in ("x.binaryproto", "flat.npz"):
        found = convert_mean(tmp_path / name, tmp_path / "x.npy", force=True)
        assert found.shape == (3, 16, 128, 171)
        assert np.array_equal(np.load(tmp_path / "x.npy"), cube)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("frames-first", CUBE.transpose(1, 0, 2, 3), "channel .3., frame, y, x"),
        ("channels-last", CUBE.transpose(1, 2, 3, 0), "channel .3., frame, y, x"),
        ("flat", CUBE.ravel(), "which is not a mean"),
        ("bytes", CUBE.astype("u1"), "floating-point type"),
        ("nan", CUBE * np.nan, "NaN"),
        (
            "infinities",
            np.where(CUBE.mean() < CUBE, np.inf, -np.inf),
            "NaN or Inf",
        ),  # and no warning of numpy's
    ],
)
def test_what_is_no_mean_is_refused(name, array, words, tmp_path):
    np.savez(tmp_path / f"{name}.npz", mean=array)
    with pytest.raises(BadInput, match=words):
        convert_mean(tmp_path / f"{name}.npz", tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


def test_the_command(tmp_path, run):
    written(tmp_path)
    done = run("c3d", "v10.binaryproto", "mean.npy")
    assert done.returncode == 0
    assert "mean cube 3x4x6x5 (channel, frame, y, x)" in done.stdout
    assert run("c3d", "v10.binaryproto", "mean.npy").returncode == 1
    told = json.loads(run("auto", "mean2.npz", "mean.npy", "--force", "--json").stdout)
    assert (told["ok"], told["shape"]) == (True, [3, 4, 6, 5])
    assert run("c3d", "mean2.npz", "x.npy", "--dtype", "float16").returncode == 2
    assert run("c3d-chainer", "mean2.npz", "x.binaryproto").returncode == 0
    np.savez(tmp_path / "model.npz", **{"conv1a/W": CUBE})
    done = run("c3d", "model.npz", "x.npy")
    assert done.returncode == 3
    assert "is not a mean" in done.stderr
    with pytest.raises(UsageError, match="suffix"):
        convert_mean(tmp_path / "mean2.npz", tmp_path / "x.txt")
    with pytest.raises(UsageError, match="same file"):
        convert_mean(tmp_path / "mean.npy", tmp_path / "mean.npy", force=True)
    with pytest.raises(Refused, match="exists"):
        convert_mean(tmp_path / "mean2.npz", tmp_path / "mean.npy")


def test_in_the_provenance_of_a_model(tmp_path, run):
    written(tmp_path)
    table = caffe_tables.caffe_tables()["c3d/caffe-v1.1-ucf101net"]
    arrays = {name: np.zeros(shape, np.float32) for name, shape in table.params.items()}
    (tmp_path / "x.caffemodel").write_bytes(caffe_files.model(table, arrays))
    convert(tmp_path / "x.caffemodel", tmp_path / "x.safetensors", source="c3d", mean=tmp_path / "mean2.npz")
    convert(tmp_path / "x.safetensors", tmp_path / "again.safetensors", source="native", to="native")
    told = inspect(tmp_path / "again.safetensors").network.input["mean_file"]
    assert told["name"] == "mean2.npz"
    assert told["shape"] == [3, 4, 6, 5]
    assert told["crc32"] == f"{crc32(CUBE.tobytes()):08x}"
    assert np.allclose(told["means"], CUBE.mean(axis=(1, 2, 3)))
    assert "mean2.npz, 3x4x6x5, channel means" in run("inspect", "again.safetensors").stdout
    done = run("c3d", "x.caffemodel", "y.pth", "--mean", "x.caffemodel")
    assert done.returncode == 3
    assert "error: x.caffemodel: is a Caffe model" in done.stderr
    assert not (tmp_path / "y.pth").exists()
