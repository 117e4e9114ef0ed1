"""Hostile and damaged pickles, made by hand. The payloads only ever try to create a file."""

from __future__ import annotations

import struct
from functools import cache


def text(value: str) -> bytes:
    """A short text, protocol 4."""
    raw = value.encode()
    return b"\x8c" + bytes((len(raw),)) + raw if len(raw) < 256 else b"X" + struct.pack("<I", len(raw)) + raw


def named(module: str, name: str) -> bytes:
    """STACK_GLOBAL."""
    return text(module) + text(name) + b"\x93"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """A name and a call of it."""
    return named(module, name) + b"(" + b"".join(arguments) + b"tR"


def live(marker: str) -> dict[str, bytes]:
    """Pickles that create the file ``marker`` when Python's pickle loads them, by what they use."""
    shell = f"touch {marker}"
    code = f"open({marker!r}, 'w').close()"
    p4 = b"\x80\x04"
    system = call("os", "system", text(shell))
    nested = text("blobs") + b"}" + text("conv1_w") + system + b"ss."
    return {
        "GLOBAL": f"cos\nsystem\n(S'{shell}'\ntR.".encode(),
        "GLOBAL posix": f"cposix\nsystem\n(S'{shell}'\ntR.".encode(),
        "GLOBAL protocol 2": b"\x80\x02cos\nsystem\n" + text(shell) + b"\x85R.",
        "INST": f"(S'{shell}'\nios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{shell}'\no.".encode(),
        "STACK_GLOBAL": p4 + system + b".",
        "STACK_GLOBAL eval": p4 + call("builtins", "eval", text(code)) + b".",
        "STACK_GLOBAL exec": p4 + call("builtins", "exec", text(code)) + b".",
        "STACK_GLOBAL open": p4 + call("builtins", "open", text(marker), text("w")) + b".",
        "STACK_GLOBAL dotted": p4 + call("os", "path.os.system", text(shell)) + b".",
        "STACK_GLOBAL from the memo": p4
        + text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93" + text(shell) + b"\x85R.",
        "getattr": p4
        + call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system"))
        + text(shell) + b"\x85R.",
        "timeit": p4
        + call("timeit", "timeit", text(code), text("pass"), named("time", "time"), b"K\x01") + b".",
        "pathlib": p4 + call("pathlib", "Path.touch", call("pathlib", "Path", text(marker))) + b".",
        "BUILD __setstate__": p4 + named("os", "environ") + b"0" + system + b"0}.",
        "NEWOBJ_EX": p4 + named("io", "FileIO") + b"(" + text(marker) + b"t}\x92" + system + b"0.",
        "NEWOBJ": p4 + named("builtins", "object") + b")\x81" + system + b"0.",
        "after a harmless dictionary": p4 + b"}" + system + b"0.",
        "in a blob": p4 + b"}" + nested,
        "popped": p4 + system + b"0}.",
    }  # fmt: skip


def refused() -> dict[str, tuple[bytes, str]]:
    """Pickles that ask for something, and what the refusal must name."""
    p4 = b"\x80\x04"
    array = named("numpy", "ndarray")
    return {
        "numpy.load": (p4 + call("numpy", "load", text("x.npy")) + b".", "numpy.load"),
        "torch.load": (p4 + call("torch", "load", text("x")) + b".", "torch.load"),
        "__import__": (p4 + call("builtins", "__import__", text("os")) + b".", "builtins.__import__"),
        "python 2 builtin": (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        "module by dots": (p4 + named("numpy.core", "multiarray.scalar") + b".", "multiarray.scalar"),
        "attribute of a name": (p4 + named("numpy", "ndarray.tofile") + b".", "numpy.ndarray.tofile"),
        "another codec": (
            p4 + call("_codecs", "encode", text("x"), text("rot13")) + b".", "_codecs.encode(rot13)"
        ),
        "codec by name": (p4 + call("_codecs", "lookup", text("latin1")) + b".", "_codecs.lookup"),
        "_reconstructor": (b"ccopy_reg\n_reconstructor\n.", "copy_reg._reconstructor"),
        "allowed name that is not a function": (p4 + array + b")R.", "numpy.ndarray"),
        "NEWOBJ of an allowed name": (p4 + array + b")\x81.", "numpy.ndarray"),
        "NEWOBJ_EX of an allowed name": (p4 + array + b")}\x92.", "numpy.ndarray"),
        "OBJ of an allowed name": (p4 + b"(" + array + b"o.", "numpy.ndarray"),
        "INST of an allowed name": (b"(inumpy\nndarray\n.", "numpy.ndarray"),
        "REDUCE of a list": (p4 + b"])R.", "not a function"),
        "REDUCE of a text": (p4 + text("os.system") + b")R.", "not a function"),
        "REDUCE without a tuple": (p4 + array + b"]R.", "not a function"),
        "BUILD of a dictionary": (p4 + b"}}" + text("__class__") + b"Nsb.", "a state"),
        "BUILD of a list": (p4 + b"]}b.", "a state"),
        "BUILD of a name": (p4 + array + b"}b.", "a state"),
        "EXT1": (p4 + b"\x82\x01.", "extension code 1"),
        "EXT2": (p4 + b"\x83\x01\x02.", "extension code 513"),
        "EXT4": (p4 + b"\x84\x01\x00\x00\x00.", "extension code 1"),
        "PERSID": (b"P1\n.", "outside the file"),
        "BINPERSID": (p4 + text("x") + b"Q.", "outside the file"),
        "NEXT_BUFFER": (b"\x80\x05\x97.", "out-of-band"),
        "READONLY_BUFFER": (b"\x80\x05\x97\x98.", "out-of-band"),
        "terminal codes in a name": (p4 + named("os\x1b[2J", "x\n") + b".", "os\\x1b[2J.x\\n"),
    }  # fmt: skip


def array(shape: bytes, data: bytes, dtype: bytes = b"f4", order: bytes = b"<") -> bytes:
    """A protocol 2 array whose shape, dtype and data are given as opcodes or text."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nU" + bytes((len(dtype),)) + dtype + b"K\x00K\x01\x87R(K\x03U"
        + bytes((len(order),)) + order
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + data + b"tb"
    )  # fmt: skip


def raw(data: bytes) -> bytes:
    """Python 2's string."""
    return b"T" + struct.pack("<i", len(data)) + data


def blobs(*entries: tuple[bytes, bytes]) -> bytes:
    """``{'blobs': {...}}`` of names and values as opcodes, protocol 2."""
    inner = b"".join(b"U" + bytes((len(name),)) + name + value for name, value in entries)
    return b"\x80\x02}U\x05blobs}(" + inner + b"us."


def bad_arrays() -> dict[str, tuple[bytes, str]]:
    """Values of a blob that lie, and a part of what the refusal says."""
    good = raw(bytes(16))
    huge = b"\x8a\x08" + struct.pack("<q", 1 << 62)
    four = b"K\x04\x85"
    return {
        "too few bytes": (array(b"K\x05\x85", good), "16 bytes, but its shape takes 20"),
        "too many bytes": (array(b"K\x03\x85", good), "16 bytes, but its shape takes 12"),
        "far too many elements": (array(huge + b"\x85", good), "16 bytes, but its shape takes"),
        "overflowing shape": (array(b"(" + huge * 5 + b"t", good), "more than any file has"),
        "shape that wraps to the right size": (
            array(b"\x8a\x09" + ((1 << 64) + 4).to_bytes(9, "little") + b"\x85", good), "impossible shape"
        ),
        "negative size": (array(b"J\xff\xff\xff\xff\x85", good), "impossible shape"),
        "two negative sizes": (array(b"J\xff\xff\xff\xffJ\xfc\xff\xff\xff\x86", good), "impossible shape"),
        "size that is a bool": (array(b"\x88K\x04\x86", good), "impossible shape"),
        "size that is a float": (array(b"G" + struct.pack(">d", 4.0) + b"\x85", good), "impossible shape"),
        "shape that is a list": (array(b"]K\x04a", good), "unknown form"),
        "too many axes": (array(b"(" + b"K\x01" * 65 + b"t", raw(bytes(4))), "unknown form"),
        "objects": (array(four, b"]", b"O8", b"|"), "Python objects"),
        "objects as bytes": (array(b"K\x02\x85", good, b"O8", b"|"), "Python objects"),
        "structure": (array(four, good, b"V4", b"|"), "structured elements"),
        "strings": (array(four, good, b"S4", b"|"), "byte strings"),
        "texts": (array(four, good, b"U1"), "texts"),
        "complex": (array(b"K\x02\x85", good, b"c8"), "complex"),
        "dates": (array(b"K\x02\x85", good, b"M8"), "dates"),
        "unsigned": (array(four, good, b"u4"), "unsigned"),
        "no such dtype": (array(four, good, b"f3"), "f3"),
        "native byte order": (array(four, good, b"f4", b"="), "byte order"),
        "no byte order": (array(four, good, b"f4", b""), "byte order"),
        "data that is a list": (array(four, b"]"), "not bytes"),
        "data that is a text": (array(four, b"X\x10\x00\x00\x00" + bytes(16)), "not bytes"),
        "data that is None": (array(four, b"N"), "not bytes"),
        "never filled": (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R", "without contents"
        ),
        "array of another class": (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85U\x01b\x87R", "unknown form"
        ),
        "object scalar": (
            b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNN"
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb}\x86R",
            "number of unknown form",
        ),
        "list": (b"](K\x01K\x02e", "neither an array nor a number"),
    }  # fmt: skip


def damaged() -> dict[str, bytes]:
    """Streams that no pickler writes."""
    p4 = b"\x80\x04"
    return {
        "empty stack": p4 + b".",
        "no stop": p4 + b"}",
        "no opcode": p4 + b"\xff.",
        "unknown protocol": b"\x80\x06}.",
        "protocol in the middle": p4 + b"}\x80\x04.",
        "bytes after the end": p4 + b"}.}",
        "values left over": p4 + b"}}.",
        "mark left over": p4 + b"(}.",
        "tuple without a mark": p4 + b"K\x01t.",
        "items without a mark": p4 + b"}u.",
        "odd items": p4 + b"}(K\x01u.",
        "odd dictionary": b"(K\x01d.",
        "item of a list": p4 + b"]K\x01K\x01s.",
        "append to a dictionary": p4 + b"}K\x01a.",
        "appends to a tuple": p4 + b")(K\x01e.",
        "unhashable key": p4 + b"}]Ns.",
        "key that is a tuple with a list": p4 + b"}]\x85Ns.",
        "key that is a tuple with a dictionary": p4 + b"}}\x85\x85Ns.",
        "key twice": p4 + b"}(K\x01NK\x01Nu.",
        "nothing in the memo": p4 + b"h\x05.",
        "negative memo index": b"g-1\n.",
        "no memo index": b"gx\n.",
        "put without a value": p4 + b"q\x00}.",
        "mark in the memo": p4 + b"(q\x00}.",
        "no number": b"Iabc\n.",
        "number without an end": b"I123",
        "float": b"Fabc\n.",
        "string without quotes": b"Sabc\n.",
        "string with one quote": b"S'\n.",
        "string with another quote": b"S'abc\"\n.",
        "string with a wrong escape": b"S'\\q'\n.",
        "string cut in an escape": b"S'\\x1'\n.",
        "negative length": p4 + b"T\xff\xff\xff\xff.",
        "length beyond the end": p4 + b"T\xff\xff\xff\x7f.",
        "unsigned length beyond the end": p4 + b"B\xff\xff\xff\xff.",
        "length of 8 bytes": p4 + b"\x8e" + b"\xff" * 8 + b".",
        "length of a text": p4 + b"\x8d" + b"\xff" * 8 + b".",
        "length of a bytearray": b"\x80\x05\x96" + b"\xff" * 8 + b".",
        "length of a frame": p4 + b"\x95" + b"\xff" * 8 + b".",
        "text that is not UTF-8": p4 + b"\x8c\x02\xff\xff.",
        "surrogate": p4 + b"\x8c\x03\xed\xa0\x80.",
        "integer of 255 bytes": p4 + b"\x8a\xff" + b"\x7f" * 255 + b".",
        "integer of 2 GB": p4 + b"\x8b\xff\xff\xff\x7f.",
        "integer of negative length": p4 + b"\x8b\xff\xff\xff\xff.",
        "integer of a thousand digits": b"I" + b"9" * 1000 + b"\n.",
        "line without an end": b"c" + b"x" * 1000 + b"\n.",
        "name that is a number": p4 + b"K\x01K\x02\x93.",
        "name of 300 characters": p4 + text("x" * 300) + text("y") + b"\x93.",
    }


@cache
def bombs() -> dict[str, bytes]:
    """Small files that want much memory or time, and large ones whose memory must stay bounded."""
    p4 = b"\x80\x04"
    escapes = array(b"J\x00\x00\x10\x00\x85", b"S'" + b"\\x00" * (1 << 20) + b"'\n", b"i1")
    return {
        "nested tuples": p4 + b"K\x01" + b"\x85" * 1_000_000 + b".",
        "nested lists": p4 + b"]" * 1_000_000 + b"a" * 999_999 + b".",
        "nested lists as a blob": b"\x80\x02}U\x05blobs}U\x01x" + b"]" * 500_000 + b"a" * 499_999 + b"sss.",
        "nested tuples as a key": p4 + b"}K\x01" + b"\x85" * 1_000_000 + b"Ns.",
        "pairs of pairs": p4 + b"]" + b"2\x86" * 300_000 + b".",
        "lists of one list": p4 + b"]\x94" + b"](h\x00h\x00e\x940" * 200_000 + b".",
        "a list in itself": p4 + b"]\x94h\x00a.",
        "a dictionary in itself": p4 + b"}\x94" + text("blobs") + b"h\x00s.",
        "marks": p4 + b"(" * 6_000_000,
        "dictionaries": p4 + b"}" * 6_000_000,
        "sets": p4 + b"\x8f" * 6_000_000,
        "copies": p4 + b"}" + b"2" * 6_000_000,
        "memo": p4 + b"}" + b"\x94" * 6_000_000,
        "numbers": p4 + b"K\x01" * 3_000_000,
        "calls": b"\x80\x02ccollections\nOrderedDict\n\x940" + b"h\x00)R" * 2_000_000,
        "extended in turn": p4 + b"]\x94" + b"(h\x00h\x00e" * 1_000_000 + b".",
        "a line of 20 MB": b"S'" + b"x" * 20_000_000,
        "escapes of 4 MB": blobs((b"w", escapes)),
    }


def _key(index: int) -> bytes:
    return b"J" + struct.pack("<i", index)


def _stored(value: bytes, number: int) -> bytes:
    """A value that is kept under a number of the memo and taken off the stack."""
    return value + b"r" + struct.pack("<I", number) + b"0"


@cache
def repeated() -> dict[str, tuple[bytes, str]]:
    """Streams of 3 MB at most that store a value once and use it as often as they can, and a part of what is
    said of each. They need the names of a state dict, and a record ``data/0`` of 16 bytes."""
    p4 = b"\x80\x04"
    many = 500_000
    pairs = b"](" + b"".join(_key(index) + b"N\x86" for index in range(10_000)) + b"e"
    ordered = _stored(named("collections", "OrderedDict"), 0) + _stored(pairs + b"\x85", 1)
    once = named("collections", "OrderedDict") + pairs + b"\x85R0"
    texts = text("x" * 255) + b"\x94(" + b"h\x00" * 100_000 + b"t"
    axes = b"(" + b"\x8a\x08" + struct.pack("<q", 1 << 62) + b"K\x02" * 62 + b"K\x00t"
    order = b"(" + b"".join(b"K" + bytes((axis,)) for axis in range(63, -1, -1)) + b"t"
    dtype = (
        call("numpy", "dtype", text("f4"), b"K\x00", b"K\x01")
        + b"(K\x03"
        + text("<")
        + b"NNNK\x00K\x00K\x00tb"
    )
    reference = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04t"
    astral = b"V" + b"\xff" * 240 + b"\\U0001f600\n"

    def kept(module: str, name: str, arguments: bytes, times: int = many) -> bytes:
        """Calls whose results all stay."""
        stored = _stored(named(module, name), 0) + _stored(arguments, 1)
        return p4 + stored + b"(" + b"h\x00h\x01R" * times + b"t."

    array = _stored(call("numpy.core.numeric", "_frombuffer", b"C\x00", dtype, axes, text("C")), 2)
    sharing = b"}(" + b"".join(_key(index) + b"h\x02" for index in range(many - 100_000)) + b"u"
    weight = (
        b"}"
        + text("w")
        + named("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + reference
        + b"QK\x00K\x04\x85K\x01\x85\x89}tRs"
    )
    beside = b"".join(_key(index) + b"h\x02" for index in range(60_000))
    return {
        "device of many texts": (kept("torch", "device", texts, 60), "unknown form"),
        "device of a long text": (kept("torch", "device", text("x" * 255) + b"\x85"), "unknown form"),
        "device of a wide text": (kept("torch", "device", astral + b"\x85"), "unknown form"),
        "device of a large number": (
            kept("torch", "device", text("cpu") + b"\x8a\x40" + b"\x7f" * 64 + b"\x86"), "unknown form"
        ),
        "devices": (kept("torch", "device", text("cuda") + b"K\x01\x86"), "holds no dictionary"),
        "OrderedDict kept": (p4 + ordered + b"(" + b"h\x00h\x01R" * 3_000 + b"t.", "too many calls"),
        "OrderedDict dropped": (p4 + ordered + b"h\x00h\x01R0" * many + b"N.", "too many calls"),
        "OrderedDict of one pair": (
            kept("collections", "OrderedDict", b"](K\x01N\x86e\x85"), "holds no dictionary"
        ),
        "OrderedDict after honest ones": (
            p4 + once * 5 + ordered + b"h\x00h\x01R0" * many + b"N.", "too many calls"
        ),
        "OrderedDict with a large state": (
            p4 + ordered + b"h\x00)R" + _stored(pairs, 2) + b"h\x02b" * many + b".", "no tensors"
        ),
        "arrays of 64 axes in Fortran order": (
            kept("numpy.core.numeric", "_frombuffer", b"(C\x00" + dtype + axes + text("F") + b"t"), "no dictionary"
        ),
        "arrays of 64 axes in an order": (
            kept(
                "numpy.core.numeric", "_frombuffer", b"(C\x00" + dtype + axes + text("K") + order + b"t", 300_000
            ),
            "no dictionary",
        ),
        "arrays of 64 axes with a state": (
            p4 + _stored(named("numpy.core.multiarray", "_reconstruct"), 0)
            + _stored(named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87", 1)
            + _stored(b"(K\x01" + axes + dtype + b"\x88C\x00t", 2)
            + b"(" + b"h\x00h\x01Rh\x02b" * 350_000 + b"t.",
            "no dictionary",
        ),
        "one array under many names": (p4 + array + sharing + b".", "400,000 entries"),
        "arrays beside the tensors": (
            p4 + array + weight + b"(" + beside + b"u.", ""
        ),
        "tensors of 64 axes": (
            kept(
                "torch._utils", "_rebuild_tensor_v2", b"(" + reference + b"QK\x00" + axes + axes + b"t", 300_000
            ),
            "no dictionary",
        ),
        "sizes of 64 axes": (kept("torch", "Size", axes + b"\x85"), "no dictionary"),
        "size of many": (kept("torch", "Size", b"(" + b"K\x01" * 100_000 + b"t\x85"), "unknown form"),
        "storages": (p4 + _stored(reference, 0) + b"(" + b"h\x00Q" * many + b"t.", "no dictionary"),
        "dtypes": (kept("numpy", "dtype", text("f4") + b"K\x00K\x01\x87"), "no dictionary"),
        "dtype of a long code": (
            kept("numpy", "dtype", b"C\xff" + b"f" * 255 + b"K\x00K\x01\x87"), "dtype of unknown form"
        ),
        "bytes as text": (kept("_codecs", "encode", text("x" * 255) + text("latin1") + b"\x86"), "no dictionary"),
        "numbers": (kept("numpy.core.multiarray", "scalar", dtype + b"C\x04xxxx\x86"), "no dictionary"),
        "objects": (kept("builtins", "complex", b"K\x00K\x01\x86"), "no dictionary"),
        "objects with states": (
            p4 + _stored(named("argparse", "Namespace"), 0) + _stored(pairs, 1) + _stored(b"(h\x01t", 2)
            + b"(" + b"h\x00)\x81h\x02b" * 400_000 + b"t.",
            "no dictionary",
        ),
        "dictionaries of a known class": (
            p4 + _stored(named("easydict", "EasyDict"), 0) + b"(" + b"h\x00)\x81" * many + b"t.", "no dictionary"
        ),
        "lists of a known class": (kept("collections", "deque", b")"), "no dictionary"),
        "names by getattr": (
            kept(
                "builtins", "getattr",
                named("mmengine.logging.history_buffer", "HistoryBuffer") + text("min") + b"\x86",
            ),
            "no dictionary",
        ),
        "one tuple as a key": (
            p4 + _stored(text("x" * 255), 0) + _stored(b"(" + b"h\x00" * 30 + b"t", 1)
            + b"(" + b"}h\x01Ns" * 150_000 + b"t.",
            "no dictionary",
        ),
        "tuples as keys": (
            p4 + b"}(" + b"".join(_key(index)[1:3].join((b"M", b"\x85N")) for index in range(60_000)) + b"u.",
            "no tensors",
        ),
        "keys of equal hashes": (
            p4 + b"}(" + b"".join(b"\x8a\x3f" + (1 + index * ((1 << 61) - 1)).to_bytes(63, "little") + b"N"
                                 for index in range(50_000)) + b"u.",
            "no tensors",
        ),
        "floats of equal low bits": (
            p4 + b"}("
            + b"".join(b"G" + struct.pack(">d", float(index << 36)) + b"N" for index in range(60_000)) + b"u.",
            "no tensors",
        ),
        "NaN as keys": (
            p4 + b"}(" + (b"G" + struct.pack(">d", float("nan")) + b"N") * 60_000 + b"u.", "no tensors"
        ),
        "NaN in tuples as keys": (
            p4 + b"}(" + (b"G" + struct.pack(">d", float("nan")) + b"\x85N") * 60_000 + b"u.", "no tensors"
        ),
        "one NaN as keys": (
            p4 + _stored(b"G" + struct.pack(">d", float("nan")), 0) + b"}(" + b"h\x00N" * many + b"u.", "twice"
        ),
        "long names as keys": (
            p4 + b"}(" + b"".join(text("k" * 256 + str(index)) + b"N" for index in range(10_000)) + b"u.",
            "no tensors",
        ),
        "memo numbers of one hash": (
            b"N" + b"".join(b"p%d\n" % (index * ((1 << 61) - 1)) for index in range(100_000)) + b"0}.",
            "impossible number",
        ),
        "memo numbers that collide": (
            b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", index << 19) for index in range(8192)) * 70 + b"0}.",
            "no tensors",
        ),
        "keys that collide": (
            b"\x80\x02}(" + b"".join(_key(index << 18) + b"N" for index in range(8191)) + b"u.",
            "no tensors",
        ),
    }  # fmt: skip
