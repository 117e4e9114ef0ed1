"""Recognises the kind of a file by its first bytes, and gives advice on kinds that are not expected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.errors import BadInput

if TYPE_CHECKING:
    from converters.files import SourceFile

HEAD = 1024
"""Bytes at the start of a file that `sniff` needs."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_BLOCK = 512  # bytes of the smallest block in front
_MAY_BE_A_USER_BLOCK = ("unknown", "text", "protobuf", "html", "msgpack")

_STARTS = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7-zip"),
    (b"Rar!", "rar"),
    (_HDF5, "hdf5"),
    (b"\x93NUMPY", "npy"),
    (b"version https://git-lfs", "git-lfs"),
    (b"\x12\x01\0\0\0\0\0\0", "mxnet"),
)

_OLD_PICKLE = rb"[}\]][q(.re]|\([dl][p.(SVUX]|\(?[ci][\w.]+\n[\w.]+\n|\([SVUXKIc(}\])]"
"""The first bytes of a pickle of protocol 0 or 1, which has no version number: a container, a name, or values for
a call."""

_LEGACY_TORCH = (b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"L119547037146038801333356L")
"""0x1950a86a20f9469cfc6c, the number at the start of what ``torch.save`` wrote before PyTorch 1.6."""

_HTML = rb"(?is)(?:\xef\xbb\xbf)?\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype|html|head|body|\?xml|script)"
_PROTOBUF = (
    rb"\n([\x01-\x7f])|\n\0[\x12\x1a\x20\x22\x2a\x32\x3a\x42\xa2]|\n[\x80-\xff][\x01-\x07]|\x12[\x80-\xff]|\x12[\x02-\x7f][\n\x12\x1a\x22]|\xa2\x06"
    rb"|\x08[\x80-\xff]{0,9}[\x00-\x7f](?:[\x10\x12\x1a\x22\x28\x2a\x32\x3a\x42\x72]|[\xa2\xca]\x01)"
)
_MSGPACK = (
    rb"(?:[\x90-\x9f]|\xdc..)?(?:[\x81-\x8f]|\xde..|\xdf....)"
    rb"(?:[\xa0-\xbf]|[\xc4\xd9].|[\xc5\xda]..|[\0-\x7f][\x80-\xdf])"
)
"""A dictionary with a text or a small number as its first key, perhaps in a list."""

_SAFETENSORS_HEADER = 100_000_000
"""The longest header of a safetensors file, in bytes; its length is the file's first eight bytes."""

_MINIDB = (b"!!PREDICTOR_DBREADER", b"!!META_NET_DEF")

_DECOMPRESS = "decompress it first; `tar -xf` unpacks a .tar.gz or similar; then name the file inside"

_DESCRIPTIONS = {
    "empty": ("is empty", "the download failed; fetch it again"),
    "html": ("is a web page, not a checkpoint", "the site sent a page; fetch the file itself"),
    "git-lfs": ("is a git-lfs pointer, not a checkpoint", "run 'git lfs pull' to get the file itself"),
    "text": ("is a text file, not a checkpoint", "open it: it may be an error message from the download"),
    "zip": ("is a zip file", "a .pth of PyTorch 1.6 or later, or an archive to unpack first"),
    "torch-legacy": ("is a PyTorch file in the format used before 1.6", "it can be converted as it is"),
    "gzip": ("is compressed with gzip", _DECOMPRESS),
    "bzip2": ("is compressed with bzip2", _DECOMPRESS),
    "xz": ("is compressed with xz", _DECOMPRESS),
    "zstandard": ("is compressed with zstandard", _DECOMPRESS),
    "7-zip": ("is a 7-zip archive", "unpack it first"),
    "rar": ("is a rar archive", "unpack it first"),
    "tar": ("is a tar archive", "unpack it first; the checkpoint is a file inside"),
    "hdf5": ("is an HDF5 file", "Caffe and Chainer models come as one"),
    "npy": ("is a single numpy array (.npy)", "a checkpoint has many named arrays"),
    "safetensors": ("is a safetensors file", "it can be converted as it is"),
    "mxnet": ("is an MXNet parameter file (.params)", "it can be converted as it is"),
    "protobuf": ("is a protocol buffer, such as a .caffemodel", "Caffe models are read as c3d or tsn"),
    "msgpack": ("is a msgpack file", "Flax's come as one, with a dictionary of named arrays"),
    "minidb": (
        "is a Caffe2 database (.mdl)",
        "VMZ's minidb_to_pickle.py turns it into a .pkl, which can be converted",
    ),
    "pickle": ("is a pickle", "Caffe2 checkpoints of VMZ are pickles: read it as vmz"),
    "unknown": ("is not a known kind of file", "it is damaged, or encrypted, or not a checkpoint"),
}


def sniff(head: bytes) -> str:
    """The kind of a file from its first `HEAD` bytes, a key of `_DESCRIPTIONS`."""
    if not head:
        return "empty"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER:
        return "safetensors"  # before pickles: a header of 640 bytes begins like one
    if any(number in head[:40] for number in _LEGACY_TORCH):
        return "torch-legacy"
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        return "pickle"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[257:262] == b"ustar":
        return "tar"
    if head[8:].startswith(_MINIDB):
        return "minidb"
    if re.match(_MSGPACK, head, re.DOTALL):
        return "msgpack"
    if re.match(_HTML, head):
        return "html"
    if _is_protobuf(head):
        return "protobuf"
    if re.match(_OLD_PICKLE, head):
        return "pickle"
    return "text" if _is_text(head) else "unknown"


def _is_protobuf(head: bytes) -> bool:
    """Whether a file begins like a protocol buffer of Caffe, Caffe2 or ONNX: with a network's name, which may be empty
    or longer than a hundred bytes, a layer, ONNX's version, or the first numbers of a Caffe mean file or solver
    state."""
    match = re.match(_PROTOBUF, head)
    if not match:
        return False
    if match[1] is None:
        return True
    end = 2 + match[1][0]
    return head[2:end].isascii() and head[end : end + 1] in (b"\x12", b"\x1a", b"\x22", b"\xa2")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character cut by the end of the head
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)


def kind_of(file: SourceFile) -> str:
    """The kind of a file, a key of `_DESCRIPTIONS`. An HDF5 file may have a block of its user in front, of any contents
    and of 512, 1024, 2048 ... bytes, as all files of MATLAB 7.3 have."""
    kind = sniff(file.read_at(0, min(HEAD, file.size)))
    if kind in _MAY_BE_A_USER_BLOCK:
        start = _HDF5_BLOCK
        while start + len(_HDF5) <= file.size:
            if file.read_at(start, len(_HDF5)) == _HDF5:
                return "hdf5"
            start *= 2
    return kind


def expect(file: SourceFile, *kinds: str) -> str:
    """Return the kind of a file. Raises `BadInput`, which says what the file is, unless it is one of ``kinds``."""
    kind = kind_of(file)
    if kind not in kinds:
        raise unexpected_kind(file, kind)
    return kind


def unexpected_kind(file: SourceFile, kind: str) -> BadInput:
    """The error for a file whose kind is not expected."""
    what, hint = _DESCRIPTIONS[kind]
    return BadInput(what, path=file.path, hint=hint)
