"""Our reader and writer against real TensorFlow 2, on files written here by either.

Needs TensorFlow and pytest, so it is no part of the usual run; `make test-frameworks` makes an environment for it.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import pytest
import tensorflow as tf

from converters.files import SourceFile
from converters.formats.io.crc32c import crc32c, masked
from converters.formats.open import open_checkpoint
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.reader import read_tensorflow, verify_crcs
from converters.formats.tensorflow.snappy import decompress
from converters.formats.tensorflow.sstable import read_table
from converters.formats.tensorflow.writer import write_tensorflow
from converters.tensor import Held, Tensor
from tests.helpers import i3d_tables, seeded_weights_i3d, seeded_weights_movinet
from tests.helpers.tensorflow_files import FIXTURES, Memory, contents, fixtures, values

SHAPES = [(), (1,), (7,), (0,), (3, 0, 2), (2, 3, 4), (2, 1, 3, 2, 5), (70_000,)]
DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"]


def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    kind = tf.as_dtype(dtype).as_numpy_dtype
    return np.frombuffer(values(name, dtype, shape), kind).reshape(shape)


def restored(prefix: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """All numeric variables as TensorFlow reads them."""
    reader = tf.train.load_checkpoint(prefix)
    found = {}
    for name, dtype in reader.get_variable_to_dtype_map().items():
        if dtype.name in DTYPES:
            value = np.asarray(reader.get_tensor(name))
            found[name] = (dtype.name, value.shape, value.tobytes())
    return found


def ours(path: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with read_tensorflow(path) as checkpoint:
        verify_crcs(checkpoint)
        return contents(checkpoint.tensors)


@pytest.mark.parametrize("name", ["every", "snappy", "trained/model.ckpt", "sharded/model.ckpt", "object",
                                  "saved_model/variables/variables", "saved_model_2/variables/variables",
                                  "partitioned"])  # fmt: skip
def test_fixtures(name: str) -> None:
    assert ours(str(FIXTURES / name)) == restored(str(FIXTURES / name))


@pytest.mark.parametrize("name", ["every_v1.ckpt", "snappy_v1.ckpt", "partitioned_v1.ckpt", "trained_v1/model.ckpt",
                                  "sharded_v1/model.ckpt-?????-of-00002"])  # fmt: skip
def test_v1_fixtures(name: str) -> None:
    """TensorFlow's reader of V1 has no float16, whose values its writer keeps: the operation has."""
    found = ours(str(FIXTURES / name))
    assert set(found) == set(fixtures()[name.split("/")[0]])
    for variable, (dtype, _, content) in found.items():
        value = tf.raw_ops.Restore(
            file_pattern=str(FIXTURES / name), tensor_name=variable, dt=tf.as_dtype(dtype)
        )
        assert value.numpy().tobytes() == content


def test_v2_that_tensorflow_writes_now(tmp_path) -> None:
    arrays = {
        f"{dtype}/{shape}": array(f"{dtype}/{shape}", dtype, shape) for dtype in DTYPES for shape in SHAPES
    }
    names = sorted(arrays)
    prefix = str(tmp_path / "new")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[arrays[name] for name in names],
    )
    assert ours(prefix) == restored(prefix) == {
        name: (name.split("/")[0], value.shape, value.tobytes()) for name, value in arrays.items()
    }  # fmt: skip


def test_v1_that_tensorflow_writes_now(tmp_path) -> None:
    arrays = {
        f"{dtype}/{shape}": array(f"{dtype}/{shape}", dtype, shape)
        for dtype in DTYPES
        for shape in SHAPES
        if dtype != "bfloat16" and 0 not in shape
    }
    path = str(tmp_path / "old.ckpt")
    tf.raw_ops.Save(
        filename=path, tensor_names=sorted(arrays), data=[arrays[name] for name in sorted(arrays)]
    )
    assert ours(path) == {
        name: (name.split("/")[0], value.shape, value.tobytes()) for name, value in arrays.items()
    }


def test_shards_merged_and_not(tmp_path) -> None:
    """Shards as a training in several processes leaves them, before and after TensorFlow has merged them."""
    parts = []
    for number in range(3):
        prefix = str(tmp_path / f"part{number}")
        names = [f"v{number}/{index}" for index in range(4)]
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=names, shape_and_slices=[""] * 4,
            tensors=[array(name, "float32", (5, 3)) for name in names],
        )  # fmt: skip
        parts.append(prefix)
        assert set(ours(prefix)) == set(names)
    merged = str(tmp_path / "merged")
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=merged, delete_old_dirs=False)
    assert len(ours(merged)) == 12
    assert ours(merged) == restored(merged)
    assert len(list(tmp_path.glob("merged.data-*"))) == 3


def test_slices_along_any_axis(tmp_path) -> None:
    whole = array("x", "float32", (6, 4, 5))
    for axes in ((0,), (1,), (2,), (0, 2), (0, 1, 2)):
        cuts = [[(0, size // 2), (size // 2, size - size // 2)] if axis in axes else [(0, size)]
                for axis, size in enumerate(whole.shape)]  # fmt: skip
        specs, pieces = [], []
        for a in cuts[0]:
            for b in cuts[1]:
                for c in cuts[2]:
                    specs.append("6 4 5 " + ":".join(f"{start},{size}" for start, size in (a, b, c)))
                    pieces.append(whole[tuple(slice(start, start + size) for start, size in (a, b, c))])
        prefix = str(tmp_path / f"cut{''.join(map(str, axes))}")
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=["x"] * len(specs), shape_and_slices=specs, tensors=pieces
        )
        assert ours(prefix) == {"x": ("float32", (6, 4, 5), whole.tobytes())}


def test_tensorflow_reads_what_we_write(tmp_path) -> None:
    with read_tensorflow(str(FIXTURES / "every")) as checkpoint:
        prefix = str(tmp_path / "ours")
        outs = Memory(), Memory()
        write_tensorflow(*outs, list(checkpoint.tensors.values()))
        for name, out in zip(checkpoint_names(prefix), outs, strict=True):
            Path(name).write_bytes(out.getvalue())
        assert restored(prefix) == contents(checkpoint.tensors)


def test_same_bytes_as_tensorflow(tmp_path) -> None:
    """A whole I3D, written by TensorFlow and then from what we read of it: both files the same."""
    arrays = seeded_weights_i3d.i3d_weights(i3d_tables.variables_of("flow"), 5)
    names = sorted(arrays)
    theirs, mine = str(tmp_path / "theirs"), str(tmp_path / "mine")
    tf.raw_ops.SaveV2(
        prefix=theirs,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[arrays[name] for name in names],
    )
    with read_tensorflow(theirs) as checkpoint:
        outs = Memory(), Memory()
        write_tensorflow(*outs, list(checkpoint.tensors.values()))
    for name, original, out in zip(checkpoint_names(mine), checkpoint_names(theirs), outs, strict=True):
        assert Path(original).read_bytes() == out.getvalue(), name


def test_published_indexes_open_in_tensorflow() -> None:
    """TensorFlow and we agree on names and shapes of the files that DeepMind published."""
    for name, table in i3d_tables.PUBLISHED.items():
        with SourceFile(i3d_tables.INDEXES / f"{name}.index") as file:
            keys = [one.key.decode() for one in read_table(file) if one.key]
        if name.startswith("hub"):
            assert len(keys) == 230
        else:
            assert set(keys) == set(i3d_tables.i3d_tables()[table])


def test_crc_and_snappy_of_tfrecords(tmp_path) -> None:
    """TensorFlow's own checksum of any length, and its own Snappy: both are in its record files."""
    random = np.random.default_rng(3)
    for size in (0, 1, 100, 5000, 200_000):
        raw = random.integers(0, 4, size, np.uint8).tobytes()
        path = str(tmp_path / f"record{size}")
        with tf.io.TFRecordWriter(path) as writer:
            writer.write(raw)
        content = Path(path).read_bytes()
        assert content[12:-4] == raw
        assert masked(crc32c(raw)).to_bytes(4, "little") == content[-4:]
    with SourceFile(FIXTURES / "snappy.index") as file:
        compressed = [one.block for one in read_table(file)]
        assert all(block.compressed for block in compressed)
        assert decompress(file.read_at(compressed[0].offset, compressed[0].size))


@pytest.mark.parametrize("network", ["a0-base", "a3-stream"])
def test_tensorflow_restores_what_we_write_by_its_object_graph(network: str, tmp_path) -> None:
    """A tree of objects as MoViNet's is, and every variable in it, from a checkpoint of ours; and ours from its own."""
    arrays = seeded_weights_movinet.movinet_weights(seeded_weights_movinet.variables_of(network, 9), 3)
    write_movinet(str(tmp_path / "ours"), arrays)
    root = tf.train.Checkpoint(model=tf.Module())
    variables = {name: variable_at(root, name, array.shape) for name, array in arrays.items()}
    status = root.restore(str(tmp_path / "ours"))
    status.assert_existing_objects_matched()
    status.assert_consumed()
    for name, array in arrays.items():
        assert variables[name].numpy().tobytes() == array.tobytes()
    saved = root.save(str(tmp_path / "own"))
    with open_checkpoint(saved) as checkpoint:
        assert {name: tensor.tobytes() for name, tensor in checkpoint.tensors.items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }


def test_paths_of_variables_are_those_of_the_object_graph(tmp_path) -> None:
    """Of a variable with two paths TensorFlow's key is the shorter one; the layers' is what it is called here."""
    root, model, layer = tf.Module(), tf.Module(), tf.Module()
    layer.kernel = tf.Variable([1.0, 2.0])
    setattr(model, "layer_with_weights-0", layer)
    root.model = model
    root.variables_of_it = [layer.kernel]
    prefix = tf.train.Checkpoint(net=root, kept=layer.kernel).save(str(tmp_path / "twice"))
    assert "kept/.ATTRIBUTES/VARIABLE_VALUE" in restored(prefix)
    with open_checkpoint(prefix) as checkpoint:
        name = "net/model/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
        assert list(checkpoint.tensors) == [name]


def write_movinet(prefix: str, arrays: dict[str, np.ndarray]) -> None:
    tensors = [Tensor(name, "float32", array.shape, Held(array.tobytes())) for name, array in arrays.items()]
    data, index = Memory(), Memory()
    write_tensorflow(data, index, tensors)
    for path, out in zip(checkpoint_names(prefix), (data, index), strict=True):
        Path(path).write_bytes(out.getvalue())


def variable_at(root: tf.train.Checkpoint, name: str, shape: tuple[int, ...]) -> tf.Variable:
    """A variable under its path, and the objects on the way."""
    *path, leaf = name.removesuffix(seeded_weights_movinet.SUFFIX).split("/")
    owner = root
    for part in path:
        if not hasattr(owner, part):
            setattr(owner, part, tf.Module())
        owner = getattr(owner, part)
    setattr(owner, leaf, tf.Variable(tf.zeros(shape)))
    return getattr(owner, leaf)
