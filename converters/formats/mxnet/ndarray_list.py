"""The numbers in an MXNet NDArray list, which ``mx.nd.save`` and Gluon's ``save_parameters`` write.

All numbers are little-endian. The list is the magic number, eight reserved bytes, the number of arrays, the arrays,
the number of names, and each name with its length before it. An array's header depends on its version:

    before 1      ndim (u32), sizes (u32)                               the first number is ndim itself
    1             magic (u32), ndim (i32), sizes (i64)
    2, 3          magic (u32), storage type (i32), ndim (i32), sizes (i64)

Then come the device's type and number (i32 each), the type flag (i32) and the elements, in C order. An array without
axes is empty in the versions before 3, and nothing follows it. In version 3, of NumPy's shapes, it is a scalar, and an
ndim or size of -1 means an empty array. Source: apache/mxnet@b84609d, ``src/ndarray/ndarray.cc`` lines 1855 to 2145,
``include/mxnet/tuple.h`` line 377; files that MXNet 1.9.1 wrote are the same.
"""

from __future__ import annotations

LIST_MAGIC = 0x112
MAGICS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}
"""The version of an array, by its magic number; any other number is the ndim of one before 1."""

DENSE = 0
SPARSE = {1: "row_sparse", 2: "csr"}
"""The storage types."""

CPU = (1, 0)
"""The device's type and number of an array that was in the computer's own memory."""

FLAGS = {
    0: "float32",
    1: "float64",
    2: "float16",
    3: "uint8",
    4: "int32",
    5: "int8",
    6: "int64",
    7: "bool",
    8: "int16",
    12: "bfloat16",
}
"""The dtype of each type flag."""

OTHER_FLAGS = {9: ("uint16", 2), 10: ("uint32", 4), 11: ("uint64", 8)}
"""The flags of dtypes that are not converted, with the bytes that an element takes."""

ARRAYS = 1 << 16
"""The most arrays that are read. No checkpoint has so many."""

AXES = 32
"""The most axes that are read. NumPy, which MXNet makes its arrays of, has no more."""

PREFIXES = ("arg:", "aux:")
"""What MXNet's Module puts before the names of parameters, and of the statistics of batch norms."""
