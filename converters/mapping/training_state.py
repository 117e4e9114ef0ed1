"""Names that training leaves among a network's weights: buffers of losses, metrics and profilers, optimizers' slots.

They are told by their names and their shapes. A matrix in a loss may be a classifier, so it is none of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.tensor import Tensor

LOSSES, METRICS, PROFILERS = "buffers of losses", "buffers of metrics", "buffers of profilers"
SLOTS, AVERAGES, COUNTERS = "slots of an optimizer", "averages of the weights", "counters of training"
AVERAGES_OF_LOSSES = "averages of losses"
"""What a name is, in words."""

_LOSS_WORDS = frozenset(
    ("criterion", "criterions", "criteria", "loss", "losses", "lossfn", "bce", "ce", "nll", "objective")
)
_METRIC_WORDS = frozenset(
    (
        *("metric", "metrics", "meter", "meters", "acc", "accuracy", "accuracies", "top1", "top5"),
        *("precision", "recall", "f1", "fscore", "auc", "auroc", "confmat", "confusion", "iou", "jaccard"),
        *("kappa", "mcc"),
    )
)
_LOSS_BUFFERS = frozenset(("pos_weight",))
"""The buffers of ``torch.nn`` losses that no other module has (``BCEWithLogitsLoss``)."""

_PROFILER_BUFFERS = frozenset(
    ("total_ops", "total_params", "total_flops", "total_macs", "__flops__", "__macs__", "__params__")
)
"""What thop (``thop/profile.py``) and its like register in every module."""

_HINTS = (*sorted(_LOSS_WORDS), *sorted(_METRIC_WORDS), *sorted(_LOSS_BUFFERS), *sorted(_PROFILER_BUFFERS))
# Patterns are compiled where they are used first: most conversions need none.
_WORD = r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*"

_ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow 2 puts after a variable's path (``tensorflow/python/checkpoint/trackable_view.py``)."""

_OBJECTS = {"optimizer": SLOTS, "_optimizer": SLOTS, "keras_api": METRICS, "metrics": METRICS}
"""Objects of TensorFlow 2 beside a model, and what their variables are."""

_OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
_AVERAGE = r"(?i)average|(?:^|_)(?:ema|avg)(?:$|_)"
_SLOT = (
    r"(?:Adam|AdamMax|Adamax|Nadam|AMSGrad|RMSProp|Momentum|Adagrad|AdagradDA|Adadelta|Ftrl|ProximalAdagrad|LARS"
    r"|adam_[mv]|m|v|vhat|vr|vc|rms|mg|momentum|velocity|accumulator|linear|accum_grad|accum_var)(?:_[0-9]+)?"
)
"""The slots of TensorFlow's and Keras's optimizers (``tensorflow/python/training``, ``keras/optimizers``)."""

_SCALAR = (
    r"(?:beta_?[12](?:_power)?|global_step|iter|iterations|step|epoch|learning_rate|lr|decay|momentum|rho|epsilon"
    r"|loss_scale|current_loss_scale|good_steps|save_counter|local_step|biased|_CHECKPOINTABLE_OBJECT_GRAPH)"
    r"(?:_[0-9]+)?"
)


def left_aside(layout_format: str, tensors: Mapping[str, Tensor], others: Iterable[str]) -> dict[str, str]:
    """The names that are no weights, in the file's order, each with what it is in words. ``others`` are names
    of values that are not tensors."""
    if layout_format == "pytorch":
        text = "\n".join(tensors).lower()
        return dict(_of_pytorch(tensors)) if any(hint in text for hint in _HINTS) else {}
    if layout_format == "tensorflow":
        return dict(_of_tensorflow(tensors, others))
    return {}


def _of_pytorch(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    for name, tensor in tensors.items():
        leaf = name.rpartition(".")[2]
        words = {word.lower() for word in re.findall(_WORD, name)}
        words |= {word.rstrip("0123456789") for word in words}
        is_float, axes = "float" in tensor.dtype, len(tensor.shape)
        if leaf in _PROFILER_BUFFERS and max(tensor.shape, default=1) == 1:
            yield name, PROFILERS
        elif words & _METRIC_WORDS and (not is_float or axes < 2 or set(tensor.shape) == {tensor.shape[0]}):
            yield name, METRICS
        elif (words & _LOSS_WORDS or leaf in _LOSS_BUFFERS) and (not is_float or axes < 2):
            yield name, LOSSES


def _of_tensorflow(tensors: Mapping[str, Tensor], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in (*tensors, *others):
        path = name.removesuffix(_ATTRIBUTE)
        leaf = path.rpartition("/")[2]
        tensor = tensors.get(name)
        owners = path.split("/")[:-1] if name.endswith(_ATTRIBUTE) else ()
        if any(owner in _OBJECTS for owner in owners):
            kind = next(_OBJECTS[owner] for owner in owners if owner in _OBJECTS)
            yield name, COUNTERS if re.fullmatch(_SCALAR, leaf.lstrip("_")) else kind
        elif _is_slot(path, tensors):
            yield name, AVERAGES if re.search(_AVERAGE, leaf) else SLOTS
        elif tensor is not None and max(tensor.shape, default=1) > 1:
            continue
        elif re.fullmatch(_SCALAR, leaf):
            yield name, COUNTERS
        elif re.search(_AVERAGE, leaf):  # of a loss, which is no variable itself
            yield name, AVERAGES_OF_LOSSES


def _is_slot(path: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a variable belongs to another: it lies inside it (``X/Adam``), also in a scope of the optimizer's
    (``train/X/Adam``), or has its name after the slot's (``Adam/m/X``)."""
    if _OBJECT_SLOT in path:
        return True
    parts = path.split("/")
    if any("/".join(parts[:end]) in tensors for end in range(1, len(parts))):
        return True
    if (re.fullmatch(_SLOT, parts[-1]) or re.search(_AVERAGE, parts[-1])) and any(
        "/".join(parts[start:-1]) in tensors for start in range(len(parts) - 1)
    ):
        return True
    return any(
        re.fullmatch(_SLOT, parts[end - 1]) and "/".join(parts[end:]) in tensors
        for end in range(1, len(parts))
    )
