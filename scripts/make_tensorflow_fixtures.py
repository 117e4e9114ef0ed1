"""Write small checkpoints with real TensorFlow 1.15, and under TensorFlow 2 those that are new in it, into
tests/fixtures/tensorflow: see scripts/README.md.

No values are stored beside them: those of a variable follow from its name, dtype and shape (`values`), and the
tests make them again. ``manifest.json`` has dtype and shape of every variable of every fixture.

A fixture's files come out the same byte for byte, but for graphs (``.meta``, ``saved_model.pb``), which are not
kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import zlib
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Table = dict[str, tuple[str, list[int]]]
    Arrays = dict[str, np.ndarray]
    Part = list[tuple[int, int]]

v1 = tf.compat.v1
HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(os.path.dirname(HERE), "tests", "fixtures", "tensorflow")

# What every dtype that weights have comes in: vectors, a scalar, nothing at all.
EVERY = {
    "bfloat16/vector": ("bfloat16", [5]),
    "bool/vector": ("bool", [9]),
    "empty": ("float32", [0, 4]),
    "float16/matrix": ("float16", [3, 5]),
    "float32/conv/w": ("float32", [2, 3, 3, 4, 5]),
    "float32/conv/w/Momentum": ("float32", [2, 3, 3, 4, 5]),
    "float32/scalar": ("float32", []),
    "float64/matrix": ("float64", [2, 7]),
    "global_step": ("int64", []),
    "int16/vector": ("int16", [6]),
    "int32/vector": ("int32", [300]),
    "int64/vector": ("int64", [4]),
    "int8/vector": ("int8", [7]),
    "na\u00efve \u5909\u6570": ("float32", [3]),
    "uint8/vector": ("uint8", [8]),
}
TEXTS = {"text/scalar": [], "text/vector": [3]}
RARE = {"complex64/vector": ("complex64", [3])}

# name -> dtype, shape, and the parts: start and length along each axis.
PARTITIONED = {
    "along0": ("float32", [10, 3], [[(0, 4), (0, 3)], [(4, 3), (0, 3)], [(7, 3), (0, 3)]]),
    "along1": ("float32", [4, 9], [[(0, 4), (0, 5)], [(0, 4), (5, 4)]]),
    "behind_one": ("float64", [1, 6, 2], [[(0, 1), (0, 2), (0, 2)], [(0, 1), (2, 4), (0, 2)]]),
    "far": ("int8", [9000], [[(0, 63)], [(63, 1)], [(64, 8128)], [(8192, 808)]]),
    "grid": ("int16", [4, 6], [[(0, 1), (0, 6)], [(1, 3), (0, 2)], [(1, 3), (2, 4)]]),
    "last": ("int32", [2, 3, 4], [[(0, 2), (0, 3), (0, 1)], [(0, 2), (0, 3), (1, 3)]]),
    "many": ("uint8", [256, 4], [[(64 * i, 64), (0, 4)] for i in range(4)]),
    "whole": ("float32", [2, 2], [[(0, 2), (0, 2)]]),
}


def values(name: str, dtype: str, shape: list[int]) -> np.ndarray:
    """The bytes that RandomState(crc32 of the name) draws, whatever they mean; 0 or 1 for bool."""
    kind = tf.as_dtype(dtype).as_numpy_dtype
    size = int(np.prod(shape, dtype=int)) * np.dtype(kind).itemsize
    raw = np.random.RandomState(zlib.crc32(name.encode())).randint(0, 256, size).astype(np.uint8)
    if dtype == "bool":
        raw &= 1
    return raw.view(kind).reshape(shape)


def tensors(table: Table) -> Arrays:
    """The arrays of a table."""
    return {name: values(name, dtype, shape) for name, (dtype, shape) in table.items()}


def run(build: Callable[[], Any]) -> None:
    """Run the operation that ``build`` makes in a graph of its own."""
    with tf.Graph().as_default(), v1.Session(config=v1.ConfigProto(device_count={"CPU": 2})) as session:
        session.run(build())


def save_v2(prefix: str, arrays: Arrays) -> None:
    """A V2 checkpoint."""
    names = sorted(arrays)
    run(
        lambda: tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(arrays[name]) for name in names],
        )
    )


def specs(shape: list[int], parts: list[Part]) -> list[str]:
    """TensorFlow's words for the parts of a variable."""
    text = " ".join(map(str, shape))
    return [text + " " + ":".join(f"{start},{size}" for start, size in part) for part in parts]


def pieces(table: dict[str, Any]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Names, TensorFlow's words for the slices, and the arrays of all parts."""
    for name, (dtype, shape, parts) in sorted(table.items()):
        array = values(name, dtype, shape)
        for spec, part in zip(specs(shape, parts), parts):  # noqa: B905 - not in Python 3.7
            yield name, spec, array[tuple(slice(start, start + size) for start, size in part)]


def save_v2_partitioned(prefix: str) -> None:
    """A V2 checkpoint of partitioned variables."""
    names, slices, arrays = zip(*pieces(PARTITIONED))  # noqa: B905
    run(
        lambda: tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(names),
            shape_and_slices=list(slices),
            tensors=[tf.constant(array) for array in arrays],
        )
    )


def save_v1(path: str, arrays: Arrays) -> None:
    """A V1 checkpoint."""
    names = sorted(arrays)
    run(
        lambda: tf.raw_ops.Save(
            filename=path, tensor_names=names, data=[tf.constant(arrays[name]) for name in names]
        )
    )


def save_v1_partitioned(path: str) -> None:
    """A V1 checkpoint of partitioned variables."""
    names, slices, arrays = zip(*pieces(PARTITIONED))  # noqa: B905
    run(
        lambda: tf.raw_ops.SaveSlices(
            filename=path,
            tensor_names=list(names),
            shapes_and_slices=list(slices),
            data=[tf.constant(array) for array in arrays],
        )
    )


def save_with_saver(prefix: str, table: Table, version: int, *, sharded: bool) -> None:
    """Variables on two devices, saved as a training script does it, with the file ``checkpoint``."""
    with tf.Graph().as_default():
        variables = {}
        for number, (name, (dtype, shape)) in enumerate(sorted(table.items())):
            with tf.device(f"/cpu:{number % 2}"):
                partitioner = None
                if sharded and shape:
                    partitioner = v1.fixed_size_partitioner(min(3, shape[0]))
                variables[name] = v1.get_variable(
                    name,
                    shape,
                    tf.as_dtype(dtype),
                    use_resource=False,
                    partitioner=partitioner,
                    initializer=initializer(name, dtype, shape),
                )
        saver = v1.train.Saver(sharded=sharded, write_version=version, save_relative_paths=True)
        with v1.Session(config=v1.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(v1.global_variables_initializer())
            saver.save(session, prefix, write_meta_graph=False)


def initializer(name: str, dtype: str, whole: list[int]) -> Callable[..., tf.Tensor]:
    """What TensorFlow asks for the value of a variable, or of a part of it."""

    def part(shape: list[int], dtype: Any = None, partition_info: Any = None) -> tf.Tensor:
        starts = [0] * len(shape) if partition_info is None else partition_info.var_offset
        where = tuple(slice(starts[axis], starts[axis] + size) for axis, size in enumerate(shape))
        return tf.constant(values(name, kind, whole)[where])

    kind = dtype
    return part


def save_saved_model(folder: str, table: Table) -> None:
    """A SavedModel of TensorFlow 1, without its graph."""
    with tf.Graph().as_default():
        for name, (dtype, shape) in sorted(table.items()):
            v1.get_variable(name, initializer=values(name, dtype, shape))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(folder)
            builder.add_meta_graph_and_variables(session, ["serve"])
            builder.save()
    # The graph is of no use here: an empty file stands for it.
    open(os.path.join(folder, "saved_model.pb"), "w").close()


def compress_blocks(path: str) -> None:
    """Rewrite a table with its blocks compressed by Snappy, as Google's own builds write them."""
    with open(path, "rb") as file:
        raw = file.read()
    footer = raw[-48:]
    meta_at, meta_size, place = handle(footer, 0)
    index_at, index_size, _ = handle(footer, place)
    out = bytearray()

    def add(content: bytes) -> bytes:
        packed = bytes(cramjam.snappy.compress_raw(content)) + b"\1"
        offset = len(out)
        out.extend(packed + struct.pack("<I", masked_crc32c(packed)))
        return varint(offset) + varint(len(packed) - 1)

    rows = []
    for key, value in entries(raw[index_at : index_at + index_size]):
        offset, size, _ = handle(value, 0)
        rows.append((key, add(raw[offset : offset + size])))
    meta = add(raw[meta_at : meta_at + meta_size])
    index = add(block(rows))
    out += (meta + index).ljust(40, b"\0") + footer[40:]
    with open(path, "wb") as file:
        file.write(out)


def entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block."""
    end = len(content) - 4 - 4 * struct.unpack("<I", content[-4:])[0]
    place, key = 0, b""
    while place < end:
        shared, place = number(content, place)
        rest, place = number(content, place)
        size, place = number(content, place)
        key = key[:shared] + content[place : place + rest]
        yield key, content[place + rest : place + rest + size]
        place += rest + size


def block(rows: list[tuple[bytes, bytes]]) -> bytes:
    """A block whose every entry is a restart."""
    out, starts = bytearray(), []
    for key, value in rows:
        starts.append(len(out))
        out += varint(0) + varint(len(key)) + varint(len(value)) + key + value
    return (
        bytes(out) + b"".join(struct.pack("<I", start) for start in starts) + struct.pack("<I", len(starts))
    )


def number(data: bytes, place: int) -> tuple[int, int]:
    """A varint, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def handle(data: bytes, place: int) -> tuple[int, int, int]:
    """Offset and size of a block, and the place behind them."""
    offset, place = number(data, place)
    size, place = number(data, place)
    return offset, size, place


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def masked_crc32c(data: bytes) -> int:
    """Bit by bit, and masked."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def check(prefix: str, table: Table) -> None:
    """Real TensorFlow reads what was written, bit for bit."""
    shapes = v1.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
    with tf.Graph().as_default(), v1.Session() as session:
        for name, (dtype, shape) in table.items():
            assert shapes[name] == list(shape), name
            if os.path.exists(prefix + ".index"):
                read = tf.raw_ops.RestoreV2(
                    prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[tf.as_dtype(dtype)]
                )[0]
            else:
                read = tf.raw_ops.Restore(file_pattern=prefix, tensor_name=name, dt=tf.as_dtype(dtype))
            assert session.run(read).tobytes() == values(name, dtype, shape).tobytes(), name


def main() -> None:
    """Write what this version of TensorFlow is for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=OUT)
    out = parser.parse_args().out
    if tf.__version__[0] == "1":
        os.makedirs(out, exist_ok=True)
        for name in os.listdir(out):
            path = os.path.join(out, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif name != "README.md":
                os.remove(path)
        write_v1(out)
    else:
        write_v2(out)
    total = 0
    for folder, _, names in sorted(os.walk(out)):
        for name in sorted(names):
            size = os.path.getsize(os.path.join(folder, name))
            total += size
            print(f"{size:8d} {os.path.relpath(os.path.join(folder, name), out)}")
    print(f"{total:8d} in all")


def write_v2(out: str) -> None:
    """An object-based checkpoint and a SavedModel of TensorFlow 2."""
    module = tf.Module()
    module.kernel = tf.Variable(values("kernel", "float32", [3, 2, 4]))
    module.layers = [tf.Module()]
    module.layers[0].bias = tf.Variable(values("bias", "float32", [4]))
    tf.train.Checkpoint(model=module, step=tf.Variable(7, dtype=tf.int64)).write(os.path.join(out, "object"))
    tf.saved_model.save(module, os.path.join(out, "saved_model_2"))
    for folder in ("assets", "fingerprint.pb"):
        path = os.path.join(out, "saved_model_2", folder)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    open(os.path.join(out, "saved_model_2", "saved_model.pb"), "w").close()


def write_v1(out: str) -> None:
    """Everything of TensorFlow 1."""

    def where(*names: str) -> str:
        return os.path.join(out, *names)

    manifest = {}

    def made(name: str, table: Table, prefix: str = "") -> None:
        check(where(*(prefix or name).split("/")), table)
        manifest[name] = {variable: [row[0], list(row[1])] for variable, row in sorted(table.items())}

    every = tensors(EVERY)
    every.update({name: values(name, *row) for name, row in RARE.items()})
    texts = {name: np.full(shape, b"some text", object) for name, shape in TEXTS.items()}
    save_v2(where("every"), dict(every, **texts))
    made("every", EVERY)
    v1_every = {name: array for name, array in every.items() if EVERY.get(name, [""])[0] != "bfloat16"}
    v1_every.pop("empty")
    save_v1(where("every_v1.ckpt"), v1_every)
    made("every_v1.ckpt", {name: row for name, row in EVERY.items() if name in v1_every})

    for suffix in ("index", "data-00000-of-00001"):
        shutil.copyfile(where("every." + suffix), where("snappy." + suffix))
    compress_blocks(where("snappy.index"))
    made("snappy", EVERY)
    shutil.copyfile(where("every_v1.ckpt"), where("snappy_v1.ckpt"))
    compress_blocks(where("snappy_v1.ckpt"))
    made("snappy_v1.ckpt", {name: row for name, row in EVERY.items() if name in v1_every})

    parts = {name: row[:2] for name, row in PARTITIONED.items()}
    save_v2_partitioned(where("partitioned"))
    made("partitioned", parts)
    save_v1_partitioned(where("partitioned_v1.ckpt"))
    made("partitioned_v1.ckpt", parts)

    trained = {
        "RGB/tiny/conv/w": ("float32", [3, 2, 2]),
        "RGB/tiny/conv/b": ("float32", [2]),
        "RGB/tiny/logits/w": ("float32", [4, 5]),
        "global_step": ("int64", []),
    }
    for name, version, sharded in (
        ("trained", v1.train.SaverDef.V2, False),
        ("sharded", v1.train.SaverDef.V2, True),
        ("trained_v1", v1.train.SaverDef.V1, False),
        ("sharded_v1", v1.train.SaverDef.V1, True),
    ):
        os.makedirs(where(name))
        save_with_saver(where(name, "model.ckpt"), trained, version, sharded=sharded)
        shards = "-?????-of-00002" if name == "sharded_v1" else ""
        made(name, trained, name + "/model.ckpt" + shards)
    floats = {name: row for name, row in trained.items() if row[0] == "float32"}
    save_saved_model(where("saved_model"), floats)
    made("saved_model", floats, "saved_model/variables/variables")

    with open(where("manifest.json"), "w") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
