"""With real Chainer 7.8.1: it reads what is written here, and what it writes is read here.

Not part of the usual run: ``make test-frameworks`` runs it in an environment of its own.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import chainer
import chainer.links as L
import numpy as np
import pytest

from converters import convert
from converters.files import SourceFile
from converters.formats.chainer.reader import read_chainer
from converters.formats.hdf5.writer import write_hdf5
from converters.formats.io.output_stream import Output
from converters.formats.npz.writer import write_npz
from converters.tensor import Tensor
from tests.helpers import caffe_tables, paths, seeded_weights_caffe
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

GOLDENS = paths.GOLDENS / "chainer"


def recorder():
    """The script's networks, made of Chainer's own links."""
    folder = str(REPOSITORY / "scripts" / "record")
    if folder not in sys.path:  # its own imports are from there
        sys.path.insert(0, folder)
    return importlib.import_module("record_chainer")


class Bytes:
    def __init__(self, array: np.ndarray) -> None:
        self.raw = np.ascontiguousarray(array).tobytes()

    def chunks(self):
        for start in range(0, len(self.raw), 4096):
            yield memoryview(self.raw)[start : start + 4096]


def write(path: Path, arrays: dict[str, np.ndarray], writer=write_npz) -> None:
    tensors = [Tensor(name, str(array.dtype), array.shape, Bytes(array)) for name, array in arrays.items()]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    out = Output(fd, str(path))
    writer(out, tensors)
    out.flush()
    os.close(fd)


@pytest.mark.parametrize("form", ["npz", "hdf5"])
@pytest.mark.parametrize("prefix", ["", "predictor/"])
def test_chainer_reads_what_is_written(tmp_path, prefix, form):
    made = recorder()
    arrays = made.weights("tiny", 9)
    writer = {"npz": write_npz, "hdf5": write_hdf5}[form]
    write(tmp_path / "a", {prefix + name: array for name, array in arrays.items()}, writer)
    model = made.C3D("tiny")
    load = {"npz": chainer.serializers.load_npz, "hdf5": chainer.serializers.load_hdf5}[form]
    load(str(tmp_path / "a"), L.Classifier(model) if prefix else model)
    parameters = {name.lstrip("/"): parameter.array for name, parameter in model.namedparams()}
    assert parameters.keys() == arrays.keys()
    assert all(np.array_equal(parameters[name], arrays[name]) for name in arrays)


def test_chainer_reads_the_way_back(tmp_path):
    """From Chainer's file to PyTorch's and back, in both of Chainer's forms."""
    made = recorder()
    source = made.C3D("ucf101net")
    chainer.serializers.save_npz(str(tmp_path / "a.npz"), source)
    convert(tmp_path / "a.npz", tmp_path / "a.safetensors", source="c3d")
    for form, load in (("npz", chainer.serializers.load_npz), ("h5", chainer.serializers.load_hdf5)):
        convert(tmp_path / "a.safetensors", tmp_path / f"b.{form}", source="native", to="c3d-chainer")
        model = made.C3D("ucf101net")
        load(str(tmp_path / f"b.{form}"), model)
        again = dict(model.namedparams())
        for name, parameter in source.namedparams():
            assert np.array_equal(parameter.array, again[name].array), name


def test_a_golden_again_from_a_file_written_here(tmp_path):
    golden = np.load(GOLDENS / "ucf101net_1x97x128.npz")
    shapes = caffe_tables.c3d_shapes("ucf101net")
    write(tmp_path / "a.npz", seeded_weights_caffe.c3d_weights(shapes, int(golden["weight_seed"])))
    model = recorder().C3D("ucf101net")
    chainer.serializers.load_npz(str(tmp_path / "a.npz"), model)
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        *_, (name, logits) = model.blocks(seeded_weights_caffe.golden_input(golden))
    assert name == "fc8"
    assert np.abs(logits - golden["logits"]).max() <= 1e-5 * np.abs(golden["logits"]).max()


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("stored.npz", ""),
        ("deflated.npz", ""),
        ("classifier.npz", "predictor/"),
        ("snapshot.npz", "updater/model:main/predictor/"),
        ("model.h5", ""),
        ("plain.h5", ""),
    ],
)
def test_what_chainer_writes_is_read(tmp_path, name, prefix):
    made = recorder()
    made.write_fixtures(str(tmp_path))
    with SourceFile(tmp_path / name) as file:
        result = read_chainer(file)
        for key, array in made.weights("tiny", 5).items():
            tensor = result.tensors[prefix + key]
            assert (tensor.dtype, tensor.shape) == ("float32", array.shape)
            assert tensor.tobytes() == array.tobytes()


def test_uninitialised_parameters_are_named(tmp_path):
    recorder().write_fixtures(str(tmp_path))
    for name in ("uninitialised.npz", "uninitialised.h5"):
        with SourceFile(tmp_path / name) as file:
            assert read_chainer(file).uninitialised == ("conv1a/W",)
