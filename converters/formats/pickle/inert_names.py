"""The closed table of what training code saves beside the weights, by the package that defines it.

The names and their forms are those of real pickles: of CPython 2.7 to 3.13, numpy 1 and 2, OmegaConf 1.4 to 2.3,
mmengine 0.10, mmcv 1.7, Lightning 2 and so on; ``tests/fixtures/pickle`` has most of them. No class here does more than
hold its arguments and attributes; none of it is ever imported. A name that is not here, or a form that is not, is
refused.
"""

from __future__ import annotations

from . import inert_objects as inert
from .jax_arrays import NAMES as JAX
from .machine import Global

_PYTHON = ("builtins", "__builtin__")
_TYPES = ("list", "dict", "int", "long", "float", "str", "unicode", "bool", "tuple", "object")
_CONSTANTS = ("Ellipsis", "NotImplemented")
_BUILTIN_CALLS = ("complex", "slice", "range", "xrange")
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_GENERICS = "Any Callable ClassVar Dict FrozenSet Iterable List Literal Mapping Optional Sequence Set Tuple Type Union"
_DTYPES = (
    "Bool Float16 Float32 Float64 Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Complex64 Complex128"
)
_LIGHTNING = ("pytorch_lightning", "lightning.pytorch")
_CALLBACKS = (
    ("model_checkpoint", "ModelCheckpoint"),
    ("early_stopping", "EarlyStopping"),
    ("lr_monitor", "LearningRateMonitor"),
    ("lr_logger", "LearningRateLogger"),
    ("gpu_stats_monitor", "GPUStatsMonitor"),
    ("progress", "ProgressBar"),
    ("stochastic_weight_avg", "StochasticWeightAveraging"),
    ("timer", "Timer"),
)

NAMED: dict[str, tuple[str, ...]] = {
    "typing": tuple(_GENERICS.split()),
    "numpy": (
        *("bool", "bool_", "str_", "bytes_", "object_", "void", "datetime64", "timedelta64", "complex64"),
        *(
            "complex128",
            "float16",
            "float32",
            "float64",
            "longdouble",
            "clongdouble",
            "int8",
            "int16",
            "int32",
        ),
        *("int64", "uint8", "uint16", "uint32", "uint64"),
    ),
    "numpy.dtypes": tuple(f"{kind}DType" for kind in _DTYPES.split()),
    "numpy.ma": ("MaskedArray",),
    "numpy.ma.core": ("MaskedArray",),
    "numpy.random._mt19937": ("MT19937",),
    "numpy.random._pcg64": ("PCG64", "PCG64DXSM"),
    "numpy.random._philox": ("Philox",),
    "numpy.random._sfc64": ("SFC64",),
    "numpy.random.bit_generator": ("SeedSequence",),
    **{f"{lightning}.callbacks.{module}": (name,) for lightning in _LIGHTNING for module, name in _CALLBACKS},
}
"""Names that are only mentioned."""

CALLED: dict[str, tuple[str, ...]] = {
    "array": ("array", "_array_reconstructor"),
    "collections": ("Counter",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "http": ("HTTPStatus",),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "re": ("RegexFlag", "_compile"),
    "types": ("GenericAlias", "SimpleNamespace"),
    "numpy.ma.core": ("_mareconstruct",),
    "numpy.random._pickle": ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"),
    "numpy.random.bit_generator": ("__pyx_unpickle_SeedSequence",),
    "pandas._libs.tslibs.timedeltas": ("_timedelta_unpickle",),
    "pandas._libs.tslibs.timestamps": ("_unpickle_timestamp",),
    "pytz": ("_UTC", "_p"),
    "torch._C": ("Generator",),
    "omegaconf.base": ("SCMode",),
    "torchvision.transforms.functional": ("InterpolationMode",),
    "PIL.Image": ("Dither", "Palette", "Quantize", "Resampling", "Transform", "Transpose"),
    "detectron2.structures.boxes": ("BoxMode",),
    **{f"{lightning}.trainer.states": ("TrainerFn", "TrainerStatus", "RunningStage") for lightning in _LIGHTNING},
    **{
        f"{lightning}.utilities.enums": ("AMPType", "DeviceType", "DistributedType", "GradClipAlgorithmType")
        for lightning in _LIGHTNING
    },
}  # fmt: skip
"""Names whose calls hold their arguments: values of Python, members of enumerations."""

OBJECTS: dict[str, tuple[str, ...]] = {
    "argparse": ("Namespace",),
    "collections": ("ChainMap", "UserList", "UserString"),
    "UserList": ("UserList",),
    "UserString": ("UserString",),
    "uuid": ("UUID",),
    "jsonargparse._namespace": ("Namespace",),
    "jsonargparse.namespace": ("Namespace",),
    "numpy": ("poly1d",),
    "numpy.polynomial.polynomial": ("Polynomial",),
    "mmcv.utils.config": ("Config",),
    "mmengine.config.config": ("Config",),
    "mmengine.config.lazy": ("LazyAttr", "LazyObject"),
    "mmengine.logging.history_buffer": ("HistoryBuffer",),
    "ml_collections.config_dict.config_dict": ("ConfigDict", "FieldReference", "FrozenConfigDict"),
    "omegaconf.base": ("ContainerMetadata", "Metadata", "UnionNode"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.tupleconfig": ("TupleConfig",),
    "omegaconf.nodes": (
        *("AnyNode", "BooleanNode", "BytesNode", "EnumNode", "FloatNode", "IntegerNode"),
        *("InterpolationResultNode", "PathNode", "StringNode", "UntypedNode", "ValueNode"),
    ),
}
"""Classes of objects with attributes."""

DICTIONARIES: dict[str, tuple[str, ...]] = {
    "addict.addict": ("Dict",),
    "attrdict.default": ("AttrDefault",),
    "attrdict.dictionary": ("AttrDict",),
    "box": ("Box", "ConfigBox"),
    "box.box": ("Box",),
    "box.config_box": ("ConfigBox",),
    "bunch": ("Bunch",),
    "detectron2.config.config": ("CfgNode",),
    "dotmap": ("DotMap",),
    "easydict": ("EasyDict",),
    "fvcore.common.config": ("CfgNode",),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    **{f"{lightning}.utilities.parsing": ("AttributeDict",) for lightning in _LIGHTNING},
    "mmcv.utils.config": ("ConfigDict",),
    "mmengine.config.config": ("ConfigDict",),
    "munch": ("DefaultMunch", "Munch"),
    "sacred.config.custom_containers": ("ReadOnlyDict",),
    "sklearn.utils": ("Bunch",),
    "sklearn.utils._bunch": ("Bunch",),
    "yacs.config": ("CfgNode",),
}
"""Classes of dictionaries, mostly of configurations."""

LISTS: dict[str, tuple[str, ...]] = {
    "box": ("BoxList",),
    "box.box_list": ("BoxList",),
    "sacred.config.custom_containers": ("ReadOnlyList",),
}
"""Classes of lists."""

TEXTS: dict[str, tuple[str, ...]] = {"torch.torch_version": ("TorchVersion",)}
"""Classes of texts."""

ATTRIBUTES: dict[tuple[str, str], tuple[str, ...]] = {
    ("mmengine.logging.history_buffer", "HistoryBuffer"): ("current", "max", "mean", "min"),
    ("torch.optim.lr_scheduler", "OneCycleLR"): ("_annealing_cos", "_annealing_linear"),
}
"""Functions of classes that are only mentioned: what a HistoryBuffer and a scheduler say they compute with."""


def _attributes() -> dict[tuple[str, str], Global]:
    """What ``getattr`` may name, by the full name of a class and the function's."""
    known = {
        (f"{module}.{owner}", name): Global(f"{module}.{owner}.{name}")
        for (module, owner), names in ATTRIBUTES.items()
        for name in names
    }
    known["zoneinfo.ZoneInfo", "_unpickle"] = inert.called("zoneinfo.ZoneInfo")
    return known


def _functions() -> dict[tuple[str, str], Global]:
    """Names that are taken with some arguments only."""
    functions = {
        ("collections", "defaultdict"): Global("collections.defaultdict", inert.default_dict),
        ("collections", "deque"): Global("collections.deque", inert.deque, inert.cost_of_items),
        ("_functools", "reduce"): Global("functools.reduce", inert.reduced),
        ("__builtin__", "reduce"): Global("functools.reduce", inert.reduced),
    }
    for module in ("_operator", "operator"):
        functions[module, "getitem"] = Global("operator.getitem", inert.item_of)
        functions[module, "or_"] = inert.called("operator.or_")
    for owner in (("collections", "UserDict"), ("UserDict", "IterableUserDict"), ("UserDict", "UserDict")):
        functions[owner] = inert.user_dict("collections.UserDict")
    getattr_ = Global("getattr", inert.attribute_of(_attributes()))
    for module in _PYTHON:
        functions[module, "getattr"] = getattr_
        functions[module, "type"] = Global("type", inert.type_of)
        functions[module, "set"] = Global("set", inert.set_of, inert.cost_of_items)
        functions[module, "frozenset"] = Global("frozenset", inert.frozen_set_of, inert.cost_of_items)
    for module in ("copyreg", "copy_reg"):
        functions[module, "__newobj__"] = Global("copyreg.__newobj__", inert.new_object)
        functions[module, "_reconstructor"] = Global(
            "copyreg._reconstructor", inert.reconstructed, inert.cost_of_value
        )
    return functions


def _names() -> dict[tuple[str, str], Global]:
    names = _functions()
    for module in _PYTHON:
        names |= {(module, name): Global(name) for name in (*_TYPES, *_CONSTANTS)}
        names |= {(module, name): inert.called(name) for name in _BUILTIN_CALLS}
    for kind, table in (
        (Global, NAMED),
        (inert.called, CALLED),
        (inert.attribute_object, OBJECTS),
        (inert.dictionary, DICTIONARIES),
        (inert.sequence, LISTS),
        (inert.text, TEXTS),
    ):
        for module, known in table.items():
            names |= {(module, name): kind(f"{module}.{name}") for name in known}
    for (module, owner), attributes in ATTRIBUTES.items():
        names.setdefault((module, owner), Global(f"{module}.{owner}"))
        names |= {(module, f"{owner}.{name}"): Global(f"{module}.{owner}.{name}") for name in attributes}
    names["zoneinfo", "ZoneInfo"] = Global("zoneinfo.ZoneInfo")
    names["zoneinfo", "ZoneInfo._unpickle"] = inert.called("zoneinfo.ZoneInfo")
    return names | JAX


NAMES = _names()
"""The closed table of these names. Read only."""
