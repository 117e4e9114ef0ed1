"""Names that training leaves among a network's weights: buffers of losses, metrics and profilers, optimizers' slots.

They are told by their names and their shapes. A matrix in a loss may be a classifier, so it is not counted among them.
"""

from __future__ import annotations

import re
from itertools import accumulate, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from converters.tensor import Tensor

LOSSES, METRICS, PROFILERS = "buffers of losses", "buffers of metrics", "buffers of profilers"
SLOTS, AVERAGES, COUNTERS = "slots of an optimizer", "averages of the weights", "counters of training"
AVERAGES_OF_LOSSES = "averages of losses"
BESIDE = "buffers of modules without weights"
"""What a name is, in words."""

_LOSS_WORDS = frozenset(
    (
        *("criterion", "criterions", "criteria", "loss", "losses", "lossfn", "bce", "ce", "nll", "objective"),
        *("entropy", "focal", "cost"),
    )
)
_METRIC_WORDS = frozenset(
    (
        *("metric", "metrics", "meter", "meters", "acc", "accuracy", "accuracies", "top1", "top5"),
        *("precision", "recall", "f1", "fscore", "auc", "auroc", "confmat", "confusion", "iou", "jaccard"),
        *("kappa", "mcc", "ece"),
    )
)
_LOSS_BUFFERS = frozenset(("pos_weight", "class_weight", "class_weights"))
"""The buffers of losses that no other module has: of ``torch.nn``'s ``BCEWithLogitsLoss``, and the usual names."""

_PARAMETERS = frozenset(
    ("weight", "bias", "gamma", "beta", "running_mean", "running_var", "weight_g", "weight_v")
)
"""What the tensors of layers are called."""

_AVERAGED = frozenset(("n_averaged", "steps"))
"""The counters in averaged models of PyTorch and mmengine."""

_PROFILER_BUFFERS = frozenset(
    ("total_ops", "total_params", "total_flops", "total_macs", "__flops__", "__macs__", "__params__")
)
"""What thop (``thop/profile.py``) and its like register in every module."""

_HINTS = (*sorted(_LOSS_WORDS), *sorted(_METRIC_WORDS), *sorted(_LOSS_BUFFERS), *sorted(_PROFILER_BUFFERS))
# Patterns are compiled where they are used first: most conversions need none.
_WORD = r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*"

ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow 2 puts after a variable's path (``tensorflow/python/checkpoint/trackable_view.py``)."""

_OBJECTS = {"optimizer": SLOTS, "_optimizer": SLOTS, "keras_api": METRICS, "metrics": METRICS}
"""Objects of TensorFlow 2 beside a model, and what their variables are."""

_OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
_AVERAGE = r"(?i)average|(?:^|_)(?:ema|avg)(?:$|_)"
_SLOT = (
    r"(?:Adam|AdamW|Lamb|Lion|AdamMax|Adamax|Nadam|AMSGrad|RMSProp|Momentum|Adagrad|AdagradDA|Adadelta|Ftrl|ProximalAdagrad|LARS"
    r"|adam_[mv]|m|v|vhat|vr|vc|rms|mg|momentum|velocity|accumulator|linear|accum_grad|accum_var)(?:_[0-9]+)?"
)
"""The slots of TensorFlow's and Keras's optimizers (``tensorflow/python/training``, ``keras/optimizers``)."""

_CAFFE2_SLOTS = ("_momentum", "_grad", "_adagrad_squared_sum", "_adam_first_moment", "_adam_second_moment")
"""The endings of Caffe2's slots (``caffe2/python/optimizer.py``)."""

_SCALAR = (
    r"(?:beta_?[12](?:_power)?|global_step|iter|iterations|step|epoch|learning_rate|lr|decay|momentum|rho|epsilon"
    r"|loss_scale|current_loss_scale|good_steps|save_counter|local_step|biased|_CHECKPOINTABLE_OBJECT_GRAPH)"
    r"(?:_[0-9]+)?"
)


def left_aside(layout_format: str, tensors: Mapping[str, Tensor], others: Iterable[str]) -> dict[str, str]:
    """The names that are not weights, in the file's order, each with what it is in words. ``others`` are names
    of values that are not tensors."""
    if layout_format == "pytorch":
        text = "\n".join(tensors).lower()
        return dict(_of_pytorch(tensors)) if any(hint in text for hint in _HINTS) else {}
    if layout_format == "tensorflow":
        return dict(_of_tensorflow(tensors, others))
    return dict.fromkeys(_averages_of_jax(tensors), AVERAGES) if layout_format == "jax" else {}


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


def beside_the_network(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of buffers beside a network, whatever they are called, each with what it is in words: all that is in a
    module without weights that lies outside the module with the weights, or directly in it, and counts outside it."""
    weights = [name for name, tensor in tensors.items() if _may_be_a_weight(name, tensor)]
    owners = {module for name in weights for module in _modules(name)}
    paths = [name.split(".")[:-1] for name in weights]
    depth = next((at for at, parts in enumerate(zip(*paths, strict=False)) if len({*parts}) > 1), 0)
    return {
        name: BESIDE
        for name, tensor in tensors.items()
        if name not in _AVERAGED
        and (
            any(module not in owners for module in islice(_modules(name), depth + 1))
            or (depth and "." not in name and "float" not in tensor.dtype)
        )
    }


def _may_be_a_weight(name: str, tensor: Tensor) -> bool:
    """Whether a tensor may be a parameter or a buffer of a layer. Counts and confusion matrices are not."""
    if not tensor.shape:
        return False
    if name.rpartition(".")[2] in _PARAMETERS:
        return True
    return "float" in tensor.dtype and len(tensor.shape) > 1 and len({*tensor.shape}) > 1


def _modules(name: str) -> Iterator[str]:
    """The modules that a tensor is in, the outermost first."""
    return accumulate(name.split(".")[:-1], "{}.{}".format)


def _of_tensorflow(tensors: Mapping[str, Tensor], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in (*tensors, *others):
        path = name.removesuffix(ATTRIBUTE)
        leaf = path.rpartition("/")[2]
        tensor = tensors.get(name)
        owners = path.split("/")[:-1] if name.endswith(ATTRIBUTE) else ()
        if variable_of_slot(name, tensors, any_word=True):
            yield name, AVERAGES if re.search(_AVERAGE, leaf) else SLOTS
        elif owner := next((owner for owner in owners if owner in _OBJECTS), ""):
            yield name, COUNTERS if re.fullmatch(_SCALAR, leaf.lstrip("_")) else _OBJECTS[owner]
        elif tensor is not None and max(tensor.shape, default=1) > 1:
            continue
        elif re.fullmatch(_SCALAR, leaf):
            yield name, COUNTERS
        elif re.search(_AVERAGE, leaf):  # of a loss, which is not a variable itself
            yield name, AVERAGES_OF_LOSSES


def _averages_of_jax(names: Iterable[str]) -> Iterator[str]:
    """The names in a dictionary of averages beside the parameters, or beside the dictionary that has them:
    ``ema_params``, also within a training state."""
    split = [name.split("/") for name in names]
    owners = {tuple(keys[: keys.index("params")]) for keys in split if "params" in keys}
    owners |= {owner[:-1] for owner in owners}
    for keys in split:
        if any(tuple(keys[:end]) in owners and re.search(_AVERAGE, key) for end, key in enumerate(keys)):
            yield "/".join(keys)


def variable_of_slot(name: str, tensors: Container[str], *, any_word: bool = False) -> str:
    """The name of the variable that an optimizer's slot or an average belongs to; empty for anything else.

    A slot of TensorFlow's lies inside its variable (``X/Adam``), also in a scope of the optimizer's (``train/X/Adam``),
    has the variable's name after its own (``Adam/m/X``), or is listed below it by TensorFlow 2, whether the variable is
    there or not. One of Caffe2's has the variable's name with an ending. With ``any_word``, whatever lies inside a
    variable is its slot: so it is in files of TensorFlow's optimizers.
    """
    path = name.removesuffix(ATTRIBUTE)
    if _OBJECT_SLOT in path:
        return path.partition(_OBJECT_SLOT)[0] + ATTRIBUTE
    parts = path.split("/")
    leaf = parts[-1]
    candidates = ["/".join(parts[:end]) for end in range(1, len(parts))] if any_word else []
    if re.fullmatch(_SLOT, leaf) or re.search(_AVERAGE, leaf):
        candidates += ["/".join(parts[start:-1]) for start in range(len(parts) - 1)]
    candidates += [
        "/".join(parts[end:]) for end in range(1, len(parts)) if re.fullmatch(_SLOT, parts[end - 1])
    ]
    candidates += [path.removesuffix(ending) for ending in _CAFFE2_SLOTS if path.endswith(ending)]
    return next((one for one in candidates if one in tensors), "")


def slot_pattern(name: str, variable: str) -> str:
    """A pattern that fits the slots of one sort, of which ``name`` is the one of a ``variable``."""
    if _OBJECT_SLOT in name:
        return f"*{_OBJECT_SLOT}*"
    before, _, after = name.rpartition(variable)
    return f"{before}*{after}" if not (before and after) else f"*{after}"
