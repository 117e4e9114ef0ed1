"""Writes the small pickles of tests/fixtures/caffe2 with the Python and numpy that run it.

    python2.7  scripts/make_pickle_fixtures.py tests/fixtures/caffe2 0 1 2        # numpy 1.16
    python3.6  scripts/make_pickle_fixtures.py tests/fixtures/caffe2 0 1 2 3 4    # numpy 1.19
    python3.8  scripts/make_pickle_fixtures.py tests/fixtures/caffe2 5            # numpy 1.24
    python3.13 scripts/make_pickle_fixtures.py tests/fixtures/caffe2 0 1 2 3 4 5  # numpy 2.5

It needs numpy alone and is valid Python 2 and 3. Tests import `contents` to know what the files hold.
"""

from __future__ import print_function

import os
import pickle
import sys

import numpy as np

PY2 = sys.version_info[0] == 2


def values(shape, dtype, start=0):
    """An array whose bytes depend on its shape and dtype alone: exact in every dtype, with both signs."""
    count = 1
    for size in shape:
        count *= size
    numbers = (np.arange(start, start + count, dtype="i8") * 7919 + 13) % 251 - 120
    dtype = np.dtype(dtype)
    if dtype.kind in "ub":
        numbers = abs(numbers) % 2 if dtype.kind == "b" else numbers % 256
    return (numbers / 8.0 if dtype.kind == "f" else numbers).astype(dtype).reshape(shape)


def contents(kind):
    """The blobs of a kind of file: (name, value) pairs."""
    if kind == "vmz":  # as VMZ's minidb_to_pickle writes it: float32, C order, no scopes
        blobs = [
            ("conv1_w", values((5, 3, 1, 3, 3), "<f4")),
            ("conv1_spatbn_relu_s", values((5,), "<f4", 1)),
            ("conv1_spatbn_relu_b", values((5,), "<f4", 2)),
            ("conv1_spatbn_relu_rm", values((64,), "<f4", 3)),
            ("conv1_spatbn_relu_riv", values((63,), "<f4", 4)),
            ("comp_0_conv_1_w", values((4, 5, 3, 1, 1), "<f4", 5)),
            ("last_out_L7_w", values((7, 4), "<f4", 6)),
            ("last_out_L7_b", values((7,), "<f4", 7)),
        ]
    elif kind == "every":  # every form of an array, and what a solver leaves
        blobs = [
            ("gpu_0/conv1_w", values((2, 3, 1, 2, 3), "<f4")),
            ("gpu_0/conv1_w_momentum", values((2, 3, 1, 2, 3), "<f4", 9)),
            ("gpu_0/half", values((5, 3), "<f2")),
            ("gpu_0/double", values((40,), "<f8")),
            ("big_single", values((3, 7), ">f4")),
            ("big_double", values((2, 2), ">f8")),
            ("big_half", values((130,), ">f2")),
            ("fortran", np.asfortranarray(values((3, 4, 5), "<f4"))),
            ("fortran_big", np.asfortranarray(values((4, 3), ">f4"))),
            ("fortran_short", np.asfortranarray(values((2, 3), "<f8"))),
            ("permuted", values((3, 4, 6), "<f4").transpose(1, 0, 2)),
            ("sliced", values((6, 8), "<f4")[::2, 1:5]),
            ("bytes", values((256,), "u1")),
            ("all_bytes", np.arange(256, dtype="u1").repeat(2)),
            ("signed", values((6,), "i1")),
            ("short", values((6,), "<i2")),
            ("int", values((6,), "<i4")),
            ("long", values((6,), "<i8")),
            ("flags", values((9,), "?")),
            ("scalar", np.array(2.5, "<f4")),
            ("nothing", np.zeros((0, 3), "<f4")),
            ("lr", np.array([0.0025], "<f4")),
            ("model_iter", 123456),
            ("best", np.float64(0.75)),
            ("epoch", np.int64(-3)),
            ("note", None),
        ]
    else:
        raise ValueError(kind)
    return blobs


def dictionary(kind, as_bytes=False):
    """The blobs of a kind of file as a dictionary, its names optionally bytes under Python 3."""
    blobs = [
        (("scope/" + name)[6:], value) for name, value in contents(kind)
    ]  # names that nothing else holds
    made = {name.encode() if as_bytes else name: value for name, value in blobs}
    del blobs
    return made


def main(folder, protocols):
    """Write this interpreter's files, one for each protocol."""
    writers = [("", pickle)]
    if PY2:
        import cPickle

        writers = [("-cpickle", cPickle), ("-pickle", pickle)]
    tag = "py{}{}-numpy{}".format(sys.version_info[0], sys.version_info[1], np.__version__.rsplit(".", 1)[0])

    def save(name, value, protocol, writer=pickle):
        with open(os.path.join(folder, name + ".pkl"), "wb") as out:
            writer.dump(value, out, protocol)

    for label, writer in writers:
        for protocol in protocols:
            blobs = dictionary("every")
            value = {"blobs": blobs} if protocol % 2 else blobs
            save("every-{}{}-p{}".format(tag, label, protocol), value, protocol, writer)
    if PY2:
        save("vmz-" + tag, {"blobs": dictionary("vmz")}, 2, writers[0][1])
    else:
        save("vmz-bytes-" + tag, {b"blobs": dictionary("vmz", True)}, 3)


if __name__ == "__main__":
    main(sys.argv[1], [int(protocol) for protocol in sys.argv[2:]])
