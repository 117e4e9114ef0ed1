"""The only globals that a PyTorch pickle may name, and the inert value that each makes of its arguments."""

from __future__ import annotations

from copy import copy
from functools import partial

from converters.formats.pickle.known import Known
from converters.formats.pickle.machine import Global, NamedText
from converters.formats.pickle.numpy_arrays import NAMES as ARRAY_NAMES
from converters.formats.pickle.strings import PickleError
from converters.tensor import ITEMSIZE

from .tensors import STORAGES, OddTensor, Size, TorchTensor, checked_sizes

_DTYPES = (
    *ITEMSIZE,
    *("uint16", "uint32", "uint64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
_QUANTISED = "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric"
_QUANTISED_BY = (*_QUANTISED.split(), "per_channel_affine_float_qparams")
_MENTIONED = (
    *("float4_e2m1fn_x2", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
    *("qint8", "quint8", "qint32", "quint4x2", "quint2x4"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
)
"""Dtypes beside those that tensors are rebuilt with."""

_MEMORY_FORMATS = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")

_ODD = {
    "_rebuild_sparse_tensor": ("a sparse tensor", "save its .to_dense() instead"),
    "_rebuild_sparse_csr_tensor": ("a sparse tensor", "save its .to_dense() instead"),
    "_rebuild_nested_tensor": ("a nested tensor", "save the tensors in it"),
    "_rebuild_qtensor": ("a quantised tensor", "save its .dequantize() instead"),
    "_rebuild_meta_tensor_no_storage": ("a tensor without values (on the device meta)", "save it with them"),
}
"""PyTorch's functions for tensors that are not converted: what they make, and what to do about it."""


_PLACES = 8


def _rebuild_tensor(arguments: tuple[object, ...]) -> TorchTensor:
    """``(storage, first, shape, strides[, requires_grad, hooks[, metadata]])``"""
    if not 4 <= len(arguments) <= 7:
        raise PickleError("has a tensor of unknown form")
    if any(arguments[6:]):
        kind = "a view with a sign or a conjugation still to do"
        return OddTensor(kind, "save its .resolve_neg() instead", arguments, arguments[2])
    made = TorchTensor(arguments[0], arguments[1], arguments[2], arguments[3], "")
    if any(arguments[4:5]):
        made.form = "wants gradients"
    return made


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> TorchTensor:
    """``(storage, first, shape, strides, requires_grad, hooks, dtype[, metadata])``"""
    dtype = arguments[6] if 7 <= len(arguments) <= 8 and not any(arguments[7:]) else None
    if not isinstance(dtype, Global) or dtype.name.removeprefix("torch.") not in _DTYPES:
        raise PickleError("has a tensor of unknown form")
    name = dtype.name.removeprefix("torch.")
    made = TorchTensor(arguments[0], arguments[1], arguments[2], arguments[3], name)
    if arguments[4]:
        made.form = "wants gradients"
    return made


def _rebuild_parameter(arguments: tuple[object, ...]) -> TorchTensor:
    """``(tensor, requires_grad, hooks[, state])``"""
    tensor = arguments[0] if 3 <= len(arguments) <= 4 else None
    if not isinstance(tensor, TorchTensor):
        raise PickleError("has a parameter of unknown form")
    made = copy(tensor)  # the stream may have the tensor in other places too
    made.form = "parameter that wants gradients" if arguments[1] else "parameter"
    if len(arguments) == 4 and arguments[3]:
        made.attributes = arguments[3]
    return made


def _rebuild_from_type(arguments: tuple[object, ...]) -> object:
    """``(rebuilder, class, its arguments, state)``: a tensor with attributes of its own, which are not weights."""
    rebuild, owner, inner, state = arguments if len(arguments) == 4 else (None, None, None, None)
    if (
        not isinstance(rebuild, Global)
        or not rebuild.make
        or not rebuild.name.startswith("torch._utils._rebuild_")
    ):
        raise PickleError("has a tensor of unknown form")
    if type(inner) is not tuple:
        raise PickleError("has a tensor of unknown form")
    made = rebuild.make(inner)
    if isinstance(made, TorchTensor) and isinstance(owner, Global) and owner.name != "torch.Tensor":
        made.form = f"{owner.name} {made.form}".rstrip()
    if isinstance(made, TorchTensor) and state:
        made.attributes = state
    return made


def _size(arguments: tuple[object, ...]) -> Size:
    return Size(checked_sizes(arguments[0] if len(arguments) == 1 else None))


def _device(arguments: tuple[object, ...]) -> str:
    """``(type[, index])``, both bounded: what is stored once can be used in every call."""
    kind, index = (*arguments, 0)[:2] if 1 <= len(arguments) <= 2 else (None, None)
    if type(kind) is not str or not kind.isascii() or len(kind) > 32:
        raise PickleError("has a device of unknown form")
    if type(index) is not int or not 0 <= index < 1 << 16:
        raise PickleError("has a device of unknown form")
    return NamedText("torch.device", kind if len(arguments) == 1 else f"{kind}:{index}")


def _layout(arguments: tuple[object, ...]) -> str:
    """``(its name)``, such as ``torch.strided``."""
    name = arguments[0] if len(arguments) == 1 else None
    if type(name) is not str or not name.isascii() or len(name) > 32:
        raise PickleError("has a layout of unknown form")
    return NamedText("torch.layout", name)


def _odd(kind: str, hint: str, arguments: tuple[object, ...]) -> OddTensor:
    return OddTensor(kind, hint, arguments, _shape_among(arguments))


def _shape_among(arguments: tuple[object, ...]) -> object:
    """The first tuple or size, or the first in it where it holds the tensors of a sparse one. None where there is
    none. Only the first few are looked at: one long tuple can be in many calls."""
    first = next((item for item in arguments[:_PLACES] if isinstance(item, (tuple, Size))), ())
    if isinstance(first, tuple) and any(isinstance(item, TorchTensor) for item in first[:_PLACES]):
        return next((item for item in first[:_PLACES] if isinstance(item, (tuple, Size))), None)
    return first


def _torch_names() -> dict[tuple[str, str], Global]:
    names = {
        ("torch._utils", "_rebuild_tensor"): Global("torch._utils._rebuild_tensor", _rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): Global("torch._utils._rebuild_tensor_v2", _rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v3"): Global("torch._utils._rebuild_tensor_v3", _rebuild_tensor_v3),
        ("torch._utils", "_rebuild_parameter"): Global("torch._utils._rebuild_parameter", _rebuild_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): Global(
            "torch._utils._rebuild_parameter_with_state", _rebuild_parameter
        ),
        ("torch._tensor", "_rebuild_from_type_v2"): Global(
            "torch._tensor._rebuild_from_type_v2", _rebuild_from_type
        ),
        ("torch.nn.parameter", "Parameter"): Global("torch.nn.Parameter"),
        ("torch", "Tensor"): Global("torch.Tensor"),
        ("torch", "Size"): Global("torch.Size", _size),
        ("torch", "device"): Global("torch.device", _device),
        ("torch.serialization", "_get_layout"): Global("torch.serialization._get_layout", _layout),
        ("torch.storage", "UntypedStorage"): Global("torch.storage.UntypedStorage"),
    }
    for name in (*STORAGES, *_DTYPES, *_MENTIONED, *_QUANTISED_BY):
        names["torch", name] = Global(f"torch.{name}")
    for name in _MEMORY_FORMATS:  # this odd place is where pickle finds them
        names["torch._utils", f"torch.{name}"] = Global(f"torch.{name}")
    for name, (kind, hint) in _ODD.items():
        names["torch._utils", name] = Global(f"torch._utils.{name}", partial(_odd, kind, hint))
    return names


NAMES = Known({**ARRAY_NAMES, **_torch_names()})
"""The closed table of the names that a checkpoint may hold."""
