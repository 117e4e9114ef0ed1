"""JAX's part of a pickle: its arrays and random keys, the dtypes of ml_dtypes, and the dictionaries of Flax and Haiku.

All are inert values.

A ``jax.Array`` is pickled as the numpy array of its values, with its abstract value beside it. The names are those
that jax 0.3 to 0.10, flax 0.12 and haiku 0.0.17 write; jax before 0.3 pickles a numpy array.
"""

from __future__ import annotations

from .inert_objects import Bystander, attribute_object, dictionary
from .machine import Global
from .numpy_arrays import NAMES as NUMPY
from .numpy_arrays import Array
from .strings import PickleError


class JaxArray(Array):
    """A ``jax.Array``."""

    __slots__ = ()


_ABSTRACT = ("weak_type", "named_shape")
"""What the abstract value of a pickled array has beside its shape and dtype; the second is of older versions."""

_FUNCTIONS = (
    ("jax._src.array", "_reconstruct_array"),
    ("jax._src.device_array", "reconstruct_device_array"),
)

_ML_DTYPES = (
    *("bfloat16", "int1", "int2", "int4", "uint1", "uint2", "uint4"),
    *("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float8_e3m4", "float8_e4m3", "float8_e4m3b11"),
    *("float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    "float8_e8m0fnu",
)
_ML_MODULES = ("ml_dtypes", "ml_dtypes._ml_dtypes_ext", "jaxlib.xla_extension")

_DICTIONARIES = (
    ("flax.core.frozen_dict", "FrozenDict"),
    ("haiku._src.data_structures", "FlatMapping"),
    ("haiku._src.data_structures", "FlatMap"),
    ("haiku._src.data_structures", "frozendict"),
)

_STATES: dict[str, tuple[str, ...]] = {
    "base": ("EmptyState",),
    "factorized": ("FactoredState",),
    "lookahead": ("LookaheadParams", "LookaheadState"),
    "schedule": ("InjectHyperparamsState",),
    "transform": (
        *("AddNoiseState", "ApplyEvery", "EmaState", "ScaleByAdaDeltaState", "ScaleByAdamState"),
        *("ScaleByAdanState", "ScaleByAmsgradState", "ScaleByBeliefState", "ScaleByFromageState"),
        *("ScaleByLionState", "ScaleByLBFGSState", "ScaleByNovogradState", "ScaleByRStdDevState"),
        *("ScaleByRmsState", "ScaleByRmsWithCountState", "ScaleByRssState", "ScaleByRpropState"),
        *("ScaleBySM3State", "ScaleByScheduleState", "ScaleByTrustRatioState", "ScaleByYogiState"),
        *("ScaleState", "TraceState"),
    ),
    "constrain": ("ZeroNansState", "NonNegativeParamsState"),
    "clipping": ("AdaptiveGradClipState", "ClipByGlobalNormState", "ClipState"),
    "combine": ("PartitionState", "MultiTransformState"),
    "wrappers": ("ApplyIfFiniteState", "MaskedNode", "MaskedState", "MultiStepsState"),
    "privacy": ("DifferentiallyPrivateAggregateState",),
}
"""The states of optax's optimizers: named tuples, by module of ``optax._src``."""

_NEWER_STATES: dict[str, tuple[str, ...]] = {
    "_accumulation": ("EmaState", "MultiStepsState", "TraceState"),
    "_adding": ("AddNoiseState", "WeightDecaySchedule"),
    "_combining": ("PartitionState",),
    "_conditionality": ("ApplyIfFiniteState", "ConditionallyMaskState", "ConditionallyTransformState"),
    "_constraining": ("NonNegativeParamsState", "ZeroNansState"),
    "_masking": ("MaskedNode", "MaskedState"),
}
"""Those of ``optax.transforms``."""

_KEY_MODULES = ("jax._src.prng", "jax._src.random.prng")
_KEYS = ("PRNGKeyArray", "PRNGKeyArrayImpl")
"""Keys of random numbers, by their names in jax 0.4 to 0.10: objects with attributes, one of which is a `PRNGImpl`."""

_GENERATORS = {
    "threefry2x32": ("threefry_seed", "threefry_split", "threefry_random_bits", "threefry_fold_in"),
    "rbg": (
        *("_rbg_seed", "_rbg_split", "_rbg_random_bits", "_rbg_fold_in"),
        *("_unsafe_rbg_split", "_unsafe_rbg_fold_in"),
    ),
}
"""The functions that a `PRNGImpl` mentions, by the generator's module."""


def _reconstruct_array(arguments: tuple[object, ...]) -> JaxArray:
    """``(numpy's function, its arguments, the array's state, the abstract value)``"""
    function, given, state, abstract = arguments if len(arguments) == 4 else (None, None, None, None)
    makers = (
        NUMPY["numpy.core.multiarray", "_reconstruct"],
        NUMPY["numpy._core.multiarray", "_reconstruct"],
    )
    if function not in makers or not isinstance(function, Global) or function.make is None:
        raise PickleError("has a JAX array of unknown form")
    if not isinstance(given, tuple) or not isinstance(abstract, dict) or not set(abstract) <= set(_ABSTRACT):
        raise PickleError("has a JAX array of unknown form")
    function.make(given)
    array = JaxArray("jax.Array, weakly typed" if abstract.get("weak_type") else "jax.Array")
    array.set_state(state)
    return array


def _state(name: str) -> Global:
    """A named tuple, made from its fields."""

    def made(arguments: tuple[object, ...]) -> Bystander:
        return Bystander(name, arguments)

    return Global(name, new=made)


def _names() -> dict[tuple[str, str], Global]:
    array = Global("jax.Array", _reconstruct_array)
    names = dict.fromkeys(_FUNCTIONS, array)
    for module in _ML_MODULES:
        names |= {(module, name): Global(f"ml_dtypes.{name}") for name in _ML_DTYPES}
    names |= {(module, name): dictionary(f"{module}.{name}") for module, name in _DICTIONARIES}
    for package, table in (("optax._src", _STATES), ("optax.transforms", _NEWER_STATES)):
        for module, known in table.items():
            names |= {(f"{package}.{module}", name): _state(f"optax.{name}") for name in known}
    for module in _KEY_MODULES:
        names |= {(module, name): attribute_object("jax.random.key") for name in _KEYS}
        names[module, "PRNGImpl"] = _state("jax.PRNGImpl")
    for generator, functions in _GENERATORS.items():
        for module in (_KEY_MODULES[0], f"jax._src.random.{generator}"):
            names |= {(module, name): Global(f"jax.{name}") for name in functions}
    return names


NAMES = _names()
"""The closed table of these names. Read only."""
