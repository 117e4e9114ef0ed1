"""Open Caffe2's pickles and nets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.checkpoint import Checkpoint
from converters.formats.io.other_bytes import OtherBytes
from converters.formats.other_value import OtherValue, plain_value
from converters.tensor import whole_file

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions
    from converters.formats.graph import Caffe2Net


def open_caffe2(file: SourceFile, kind: str, _options: ReadOptions) -> Checkpoint | None:
    """Open a pickle, or an init net with the predict net beside it; None for a pickle or a protocol buffer of others.
    Raises `BadInput`."""
    if kind == "pickle":
        return _open_pickle(file)
    from .nets import is_caffe2_net

    return _open_nets(file) if is_caffe2_net(file) else None


def _open_pickle(file: SourceFile) -> Checkpoint | None:
    from converters.formats.pickle.forms import THE_FORM

    from .pickle_reader import NoBlobs, read_caffe2_pickle

    try:
        contents = read_caffe2_pickle(file)
    except NoBlobs:
        return None
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="caffe2-pickle",
        container=f"pickle, protocol {contents.protocol}",
        tensors=contents.tensors,
        other_values=contents.other_values,
        metadata={"the blobs are in an entry": plain_value(contents.nested), THE_FORM: contents.form},
        details={"nested": contents.nested, "protocol": contents.protocol},
    )


def _open_nets(file: SourceFile) -> Checkpoint:
    """An init net, with the predict net beside it if there is one; either may be named."""
    from .nets import read_caffe2_net

    net = read_caffe2_net(file)
    is_init = any(op.kind.endswith("Fill") for op in net.ops)
    own, other = ("init_net", "predict_net") if is_init else ("predict_net", "init_net")
    name = os.path.basename(file.path)
    second = file.beside(name.replace(own, other)) if own in name else None
    if second is not None:
        try:
            second_net = read_caffe2_net(second)
            if is_init:
                return _checkpoint((file, second), net, second_net)
            return _checkpoint((second, file), second_net, net)
        except BaseException:
            second.close()
            raise
    if not is_init:
        raise BadInput(
            "describes a network only",
            path=file.path,
            hint="its weights are in an init_net.pb; put that beside this file",
        )
    return _checkpoint((file,), net, None)


def _checkpoint(
    files: tuple[SourceFile, ...], init_net: Caffe2Net, predict_net: Caffe2Net | None
) -> Checkpoint:
    from .nets import filled_blobs, other_blobs

    tensors = filled_blobs(files[0], init_net)
    operators = OtherBytes(files[0], tuple(tensor.data for tensor in tensors.values()))
    metadata = {"the init net without its values": OtherValue(kind="protocol buffer", data=operators)}
    if predict_net:
        metadata["the predict net"] = OtherValue(kind="protocol buffer", data=whole_file(files[1]))
    return Checkpoint(
        path=files[0].path,
        files=files,
        format="caffe2-pickle",
        container="Caffe2 init net and predict net" if predict_net else "Caffe2 init net",
        tensors=tensors,
        other_values=other_blobs(files[0], init_net),
        metadata=metadata,
        predict_net=predict_net,
    )
