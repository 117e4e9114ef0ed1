"""Sort a file's tensors: weights, counters, and what training or the file format leaves beside them.

Only what a format or an optimizer does in every project is known here. What a project leaves out of its own files says
nothing about an unknown file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from converters.mapping.globs import glob_matches
from converters.mapping.names import BATCHES
from converters.mapping.training_state import ATTRIBUTE, slot_pattern, variable_of_slot
from converters.tensor import FLOATS, Repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from converters.formats.checkpoint import Checkpoint
    from converters.formats.other_value import OtherValue
    from converters.tensor import Tensor

_TRAINING = re.compile(
    r"(^|[/.])_?optimizers?([/.:]|$)"  # Keras and Chainer keep all of an optimizer's state below it
    r"|(^|[/_])(lr|learning_rate|beta[12]_power)$"
)
_CHAINER_TRAINER = re.compile(
    r"updater/(iterator:|iteration$)|(stop_trigger|extensions|extension_triggers)/|_snapshot_"
)
"""What Chainer's trainer puts into a snapshot, beside ``updater/model:``."""

_COUNTING = {"step", "steps", "iter", "iters", "iteration", "iterations", "epoch", "epochs"}
_COUNTING |= {"counter", "count", "batches", "updates", "t"}
"""Words in the names of integers that count what was done in training."""

_TEXTS = ("text", "string", "<U", ">U", "|S")
"""How the kinds of texts begin, in all formats."""

_FED = {"data", "input", "image", "images", "im_info"}
"""Caffe2's usual names of blobs that are fed. Its exporter fills them with anything, so that they exist."""

_LIMITS = {
    "Clip",
    "Resize",
    "Upsample",
    "Pad",
    "Pow",
    "Dropout",
    "Reshape",
    "Slice",
    "Range",
    "Expand",
    "TopK",
}
"""ONNX operators whose second and further inputs are settings."""


_GRAPH_INTEGERS = ("int32", "int64", "bool", "dtype 2", "dtype 5", "dtype 10")
"""What graphs have shapes, axes and indices in; the last three are Caffe2's numbers of the same."""


MAX_PATTERNS = 16
"""Of what is dropped; where there are more, the names themselves are listed."""


class SortedNames(NamedTuple):
    """The names of ``weights``, and of ``counters``, which are integers; patterns of what to ``drop``, which is no
    weight; and the names of the ``rest``, of which nothing is known."""

    weights: tuple[str, ...]
    counters: tuple[str, ...]
    drop: tuple[str, ...]
    rest: tuple[str, ...]


def sort_out(checkpoint: Checkpoint) -> SortedNames:
    """Sort all names of a file."""
    pytorch = checkpoint.format == "pytorch"
    tensors = checkpoint.tensors
    weights: list[str] = []
    counters: list[str] = []
    rest: list[str] = []
    drop: dict[str, str] = {}
    is_of_training = _training_names(checkpoint)
    is_setting = _onnx_settings(checkpoint)
    is_fed = _fed_blobs(checkpoint)
    for name, tensor in tensors.items():
        pattern = _slot(name, tensors)
        if pattern:
            drop[name] = pattern
        elif is_of_training(name) or is_setting(name) or is_fed(name):
            drop[name] = name
        elif pytorch and name.endswith(f".{BATCHES}"):
            continue
        elif tensor.dtype in FLOATS and 0 not in tensor.shape:
            weights.append(name)
        elif _counts(name, tensor):
            counters.append(name)
        else:
            rest.append(name)
    for name, value in checkpoint.other_values.items():
        if value.beside:
            continue
        if is_of_training(name) or _is_plain(checkpoint.format, value):
            drop[name] = name
        else:
            rest.append(name)
    kept = {*weights, *counters, *rest}
    return SortedNames(tuple(weights), tuple(counters), _patterns(drop, kept), tuple(rest))


def is_filler(checkpoint: Checkpoint, name: str) -> bool:
    """Whether a tensor that the other file lacks is one number that an exporter made up: what Caffe2's fills a blob
    with that will be fed, or a constant of an ONNX graph without a name of its own."""
    tensor = checkpoint.tensors.get(name)
    if tensor is None or not _is_one(tensor):
        return False
    if checkpoint.format == "onnx":
        return bool(re.fullmatch(r"\d+|onnx::.*|.*Constant.*", name))
    return _is_net(checkpoint) and isinstance(tensor.data, Repeated)


def _slot(name: str, tensors: Mapping[str, Tensor]) -> str:
    """The pattern of an optimizer's slot, which stands beside a variable of its shape; empty for anything else."""
    variable = variable_of_slot(name, tensors)
    if not variable or variable not in tensors or tensors[variable].shape != tensors[name].shape:
        return ""
    return slot_pattern(name, variable)


def _training_names(checkpoint: Checkpoint) -> Callable[[str], bool]:
    """Whether a name is of an optimizer or a trainer."""
    tensors = checkpoint.tensors
    snapshot = checkpoint.format == "chainer" and any(name.startswith("updater/model:") for name in tensors)

    def is_of_training(name: str) -> bool:
        if snapshot and _CHAINER_TRAINER.match(name):
            return True
        found = _TRAINING.search(name.removesuffix(ATTRIBUTE))
        # A rate is one number; what is below an optimizer may be anything.
        return bool(found and (found[2] is not None or name not in tensors or _is_one(tensors[name])))

    return is_of_training


def _counts(name: str, tensor: Tensor) -> bool:
    """Whether an integer counts something; Chainer's batch norms count their updates as ``N``."""
    words = re.findall(r"[a-z]+", name.removesuffix(ATTRIBUTE).lower())
    if name.endswith("/N"):
        words.append("count")
    return _is_one(tensor) and tensor.dtype in ("int64", "int32") and not _COUNTING.isdisjoint(words)


def _is_one(tensor: Tensor) -> bool:
    return all(size == 1 for size in tensor.shape)


def _is_plain(format_: str, value: OtherValue) -> bool:
    """Whether what is not converted is not a weight either: a plain value, a text, or in a graph an integer."""
    if not value.is_tensor or value.kind.startswith(_TEXTS):
        return True
    return format_ in ("caffe2-pickle", "onnx") and value.kind in _GRAPH_INTEGERS


def _is_net(checkpoint: Checkpoint) -> bool:
    return checkpoint.format == "caffe2-pickle" and checkpoint.container.startswith("Caffe2")


def _fed_blobs(checkpoint: Checkpoint) -> Callable[[str], bool]:
    """Whether a blob of a Caffe2 net is one that the user feeds: its operators read it as their first input."""
    if not _is_net(checkpoint):
        return lambda _: False
    ops = checkpoint.predict_net.ops if checkpoint.predict_net else ()
    first = {op.inputs[0] for op in ops if op.inputs and op.kind != "Gather"}
    later = {name for op in ops for name in op.inputs[1:]}

    def is_fed(name: str) -> bool:
        constant = isinstance(checkpoint.tensors[name].data, Repeated)
        usual = name.rpartition("/")[2].lower() in _FED and name not in later
        return usual or (constant and name in first and name not in later)

    return is_fed


def _onnx_settings(checkpoint: Checkpoint) -> Callable[[str], bool]:
    """Whether an ONNX initializer is a setting of an operator, such as the limits of Clip; or without any element, or
    integers, which are shapes and axes."""
    if checkpoint.format != "onnx":
        return lambda _: False
    uses: dict[str, set[bool]] = {}
    for node in checkpoint.nodes:
        for place, name in enumerate(node.inputs):
            uses.setdefault(name, set()).add(place > 0 and node.kind in _LIMITS)

    def is_setting(name: str) -> bool:
        tensor = checkpoint.tensors[name]
        return uses.get(name) == {True} or 0 in tensor.shape or tensor.dtype in ("int64", "bool")

    return is_setting


def _patterns(drop: Mapping[str, str], kept: Iterable[str]) -> tuple[str, ...]:
    """The patterns of what is dropped; names where a pattern would also fit what is kept."""
    kept = tuple(kept)
    patterns = {pattern for pattern in drop.values() if "*" in pattern}
    if len(patterns) > MAX_PATTERNS:
        return tuple(drop)
    wide = {pattern for pattern in patterns if any(glob_matches(pattern, name) for name in kept)}
    return tuple(dict.fromkeys(name if pattern in wide else pattern for name, pattern in drop.items()))
