"""Open a checkpoint of any supported format: what it is, its tensors (lazy), and what else it says."""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput, ConverterError, UsageError
from converters.files import SourceFile
from converters.printable import printable

from .provenance_record import parse_provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.formats.caffe.reader import CaffeModel
    from converters.formats.onnx.reader import OnnxNode
    from converters.formats.pytorch.reader import PthFile
    from converters.source_graphs.net import SourceNet
    from converters.tensor import Tensor

_PART = re.compile(r"\.(index|meta|data-[0-9]{5}-of-[0-9]{5,})$")
"""How the names of a TensorFlow checkpoint's files end, the first bytes of which tell nothing."""


class Checkpoint(NamedTuple):
    """An open checkpoint, in one file or several.

    ``format`` is one that layouts come in (`mapping.schema.FORMATS`) or ``"onnx"``, in which any of them may come,
    ``container`` the file format in words. ``others`` are values that are not tensors. ``provenance`` is what this
    tool wrote into the file, if it did. ``told`` is what the file itself tells of its network beside the tensors, by
    the names of `NetworkInfo`, ``net`` the network that it describes under its tensors' names, and ``nodes`` are
    those of an ONNX model's graph.
    """

    path: str
    files: tuple[SourceFile, ...]
    format: str
    container: str
    tensors: Mapping[str, Tensor]
    others: Mapping[str, object]
    provenance: Mapping[str, Any] | None
    details: Mapping[str, Any]
    told: Mapping[str, Any] = MappingProxyType({})
    net: SourceNet | None = None
    nodes: tuple[OnnxNode, ...] = ()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ConverterError):
            error.at(self.path)
        for file in self.files:
            file.close()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def open_checkpoint(path: str, *, checksum: bool = True, entry: str | None = None) -> Checkpoint:
    """Recognise and open a checkpoint. Raises `BadInput` for anything else, saying what the file is.

    ``checksum`` compares the checksums that a format has for its tensors, where they are read. ``entry`` is the path
    of the state dict in a PyTorch file, with dots, where another than the plain weights is wanted: `UsageError` for
    files that have no entries.
    """
    if _is_set(path):
        _refuse_entry(path, entry)
        return _open_tensorflow(path, checksum=checksum)
    file = SourceFile(path)
    try:
        from .sniff import HEAD, expect, sniff

        head = file.read_at(0, min(HEAD, file.size))
        kind = sniff(head)
        if kind in ("zip", "torch-legacy", "tar") and (
            found := _open_torch(file, head, kind, checksum=checksum, entry=entry)
        ):
            return found
        _refuse_entry(path, entry)
        if kind == "pickle":
            return _open_pickle(file)
        if kind == "zip":
            return _open_chainer(file, checksum=checksum)
        if kind == "safetensors":
            return _open_safetensors(file)
        if _names_tensorflow(path):
            file.close()
            return _open_tensorflow(path, checksum=checksum)
        if kind == "hdf5":
            return _open_hdf5(file, checksum=checksum)
        if kind == "text" and path.endswith(".index.json"):
            return _open_shards(file, checksum=checksum)
        if kind == "protobuf" and (found := _open_onnx(file) or _open_caffe2_net(file)):
            return found
        if kind in ("protobuf", "unknown", "text"):
            return _open_caffe(file)
        expect(file, "pickle", "zip", "safetensors", "hdf5", "protobuf")
        raise AssertionError(kind)
    except BaseException:
        file.close()
        raise


def _is_set(path: str) -> bool:
    """Whether a path names one of several files that belong together, or what they have in common."""
    if not os.path.isfile(path):
        return _names_tensorflow(path)
    name = os.path.basename(path)
    return name in ("checkpoint", "saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb") or bool(
        _PART.search(name)
    )


def _names_tensorflow(path: str) -> bool:
    from converters.formats.tensorflow.files import names_checkpoint

    return names_checkpoint(path)


def _open_pickle(file: SourceFile) -> Checkpoint:
    from converters.formats.caffe2.pickle_reader import read_caffe2_pickle

    found = read_caffe2_pickle(file)
    details = {"nested": found.nested, "protocol": found.protocol}
    container = f"pickle, protocol {found.protocol}"
    return Checkpoint(
        file.path, (file,), "caffe2-pickle", container, found.tensors, found.others, None, details
    )


def _refuse_entry(path: str, entry: str | None) -> None:
    if entry is not None:
        raise UsageError("only PyTorch's own files have entries", path=path, hint="leave --entry out")


def _open_torch(
    file: SourceFile, head: bytes, kind: str, *, checksum: bool, entry: str | None
) -> Checkpoint | None:
    """A file of any of PyTorch's formats; None for a zip file or a tar archive of another sort."""
    if kind == "zip":
        # PyTorch's first record is another; to read the whole directory first would cost it twice.
        if head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy"):
            return None
        from converters.formats.pytorch.reader import read_pth

        return _pth(file, read_pth(file, checksum=checksum, entry=entry), "zip")
    from converters.formats.pytorch.legacy import read_legacy_pth, read_tar_pth

    if kind == "torch-legacy":
        return _pth(file, read_legacy_pth(file, entry=entry), "legacy")
    found = read_tar_pth(file, entry=entry)
    return _pth(file, found, "tar") if found else None


_PTH_FORMATS = {
    "zip": "PyTorch zip file",
    "torchscript": "TorchScript file",
    "legacy": "PyTorch file, before 1.6",
    "tar": "PyTorch file, before 0.1.10",
}


def _pth(file: SourceFile, found: PthFile, form: str) -> Checkpoint:
    provenance = parse_provenance(found.provenance, file.path)
    details: dict[str, Any] = {"wrapper": found.wrapper}
    if found.beside:
        details["beside"] = list(found.beside)
    container = _PTH_FORMATS["torchscript" if found.script else form]
    return Checkpoint(
        file.path, (file,), "pytorch", container, found.tensors, found.others, provenance, details
    )


def _open_shards(index: SourceFile, *, checksum: bool) -> Checkpoint:
    from converters.formats.pytorch.shards import read_index

    shards = read_index(index)
    opened: list[Checkpoint] = []
    tensors: dict[str, Tensor] = {}
    try:
        for path, names in shards.items():
            shard = open_checkpoint(path, checksum=checksum)
            opened.append(shard)
            if shard.format != "pytorch" or len(shard.files) != 1:
                raise BadInput(f"is a {shard.container}, not a part of a PyTorch checkpoint", path=path)
            missing, more = names - shard.tensors.keys(), shard.tensors.keys() - names
            if missing or more:
                raise BadInput(
                    f"{'lacks' if missing else 'holds'} a tensor that the index {'has' if missing else 'lacks'}",
                    path=path,
                    where=min(missing or more),
                    hint="index and files are not of one checkpoint; fetch them again",
                )
            tensors |= shard.tensors
    except BaseException:
        for shard in opened:
            for file in shard.files:
                file.close()
        raise
    files = (index, *(shard.files[0] for shard in opened))
    container = f"{opened[0].container} in {len(opened)} parts"
    return Checkpoint(index.path, files, "pytorch", container, tensors, {}, None, {})


def _open_safetensors(file: SourceFile) -> Checkpoint:
    from converters.formats.safetensors.reader import read_safetensors

    found = read_safetensors(file)
    provenance = parse_provenance(found.metadata.get("provenance"), file.path)
    return Checkpoint(file.path, (file,), "pytorch", "safetensors", found.tensors, {}, provenance, {})


def _open_tensorflow(path: str, *, checksum: bool) -> Checkpoint:
    from converters.formats.tensorflow.reader import read_tensorflow

    found = read_tensorflow(path, checksum=checksum)
    container = f"TensorFlow checkpoint, {found.version}"
    details = {"checksums": "verified" if checksum else "not verified"}
    return Checkpoint(
        found.prefix, found.files, "tensorflow", container, found.tensors, found.others, None, details
    )


def _open_onnx(file: SourceFile) -> Checkpoint | None:
    """An ONNX model; None for another protocol buffer."""
    from converters.formats.onnx.reader import is_onnx, read_onnx

    if not is_onnx(file):
        return None
    from converters.formats.onnx.graph_settings import told_by

    found = read_onnx(file)
    try:
        provenance = parse_provenance(found.metadata.get("provenance"), file.path)
    except BaseException:
        for beside in found.files:
            beside.close()
        raise
    told = told_by(found.nodes, found.inputs, found.tensors)
    return Checkpoint(
        file.path,
        (file, *found.files),
        "onnx",
        f"ONNX model, opset {found.opset}",
        found.tensors,
        {},
        provenance,
        {"producer": printable(found.producer)},
        told,
        nodes=found.nodes,
    )


def _open_caffe2_net(file: SourceFile) -> Checkpoint | None:
    """An init net, with the predict net beside it if there is one, named by either; None for another protocol
    buffer."""
    from converters.formats.caffe2.nets import filled_blobs, is_caffe2_net, read_caffe2_net

    if not is_caffe2_net(file):
        return None
    folder, name = os.path.split(file.path)
    first = read_caffe2_net(file)
    fills = any(op.kind.endswith("Fill") for op in first.ops)
    here, there = ("init_net", "predict_net") if fills else ("predict_net", "init_net")
    beside = os.path.join(folder, name.replace(here, there))
    if here not in name or not os.path.isfile(beside):
        if not fills:
            raise BadInput(
                "describes a network only",
                path=file.path,
                hint="its weights are in an init_net.pb; put it beside",
            )
        return _caffe2_net((file,), filled_blobs(file, first))
    other = SourceFile(beside)
    try:
        second = read_caffe2_net(other)
        files, nets = ((file, other), (first, second)) if fills else ((other, file), (second, first))
        tensors = filled_blobs(files[0], nets[0])
        from converters.source_graphs.caffe2_predict_net import described_net, told_by_net

        net = described_net(nets[1], tensors)
        return _caffe2_net(files, tensors)._replace(net=net, told=told_by_net(net, tensors))
    except BaseException:
        other.close()
        raise


def _caffe2_net(files: tuple[SourceFile, ...], tensors: Mapping[str, Tensor]) -> Checkpoint:
    container = "Caffe2 init net" + (" and predict net" if len(files) > 1 else "")
    return Checkpoint(files[0].path, files, "caffe2-pickle", container, tensors, {}, None, {})


def _open_caffe(file: SourceFile) -> Checkpoint:
    from converters.formats.caffe.reader import read_caffemodel

    return _caffe(file, read_caffemodel(file))


def _caffe(file: SourceFile, found: CaffeModel) -> Checkpoint:
    container = f"Caffe model ({found.dialect})"
    details = {
        "dialect": found.dialect,
        "net": found.net,
        "layers": [layer._asdict() for layer in found.layers],
    }
    return Checkpoint(file.path, (file,), "caffe", container, found.tensors, {}, None, details)


def _open_hdf5(file: SourceFile, *, checksum: bool) -> Checkpoint:
    from converters.formats.hdf5.reader import read_hdf5

    if {"data", "history"}.isdisjoint(read_hdf5(file).groups):
        return _open_chainer(file, checksum=checksum)
    from converters.formats.caffe.reader import read_caffe_hdf5

    return _caffe(file, read_caffe_hdf5(file))


def _open_chainer(file: SourceFile, *, checksum: bool) -> Checkpoint:
    from converters.formats.chainer.reader import counted, read_chainer

    found = read_chainer(file, checksum=checksum)
    if set(found.tensors) == {"mean"}:
        raise BadInput(
            "holds a mean only, not a model",
            path=file.path,
            hint="`convert c3d` turns it into an .npy; the weights are in the model's own .npz",
        )
    if found.objects:
        raise BadInput(
            "holds arrays of Python objects, which are pickles: nothing was unpickled",
            path=file.path,
            where=", ".join(map(printable, found.objects[:3])),
            hint="weights are plain arrays; save them as such, or fetch the file from its authors",
        )
    if found.uninitialised:
        raise BadInput(
            f"holds {counted(len(found.uninitialised))} never initialised",
            path=file.path,
            where=", ".join(map(printable, found.uninitialised[:3])),
            hint="run the model once before saving it",
        )
    container = f"Chainer file ({found.container})"
    return Checkpoint(file.path, (file,), "chainer", container, found.tensors, found.others, None, {})
