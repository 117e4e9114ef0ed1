"""The tables of I3D against the real names: DeepMind's variables, and the live networks of the ports."""

from __future__ import annotations

import pytest

from converters.errors import Refused
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.networks import NetworkSpec
from converters.tensor import zeros
from tests.helpers import i3d_tables


def empty(shapes: dict[str, tuple[int, ...]]) -> dict:
    """Tensors of these names and shapes, without values."""
    return {
        name: zeros(name, "int64" if name.endswith("num_batches_tracked") else "float32", shape)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("vectors", ["[C]", "[1,1,1,1,C]"])
@pytest.mark.parametrize(
    ("table", "scope", "classes", "channels", "dropped"),
    [
        ("rgb", "RGB/inception_i3d/", 400, 3, 0),
        ("flow", "Flow/inception_i3d/", 400, 2, 0),
        ("rgb_600", "", 600, 3, 116),
    ],
)
def test_deepminds_variables(
    table: str, scope: str, classes: int, channels: int, dropped: int, vectors: str
) -> None:
    shapes = dict(i3d_tables.i3d_tables()[table])
    for name, shape in shapes.items():
        if "/batch_norm/" in name:
            shapes[name] = shape[-1:] if vectors == "[C]" else (1, 1, 1, 1, shape[-1])
    found = match_file(load_layout("i3d"), empty(shapes))
    assert (found.prefix, found.sizes["classes"], found.sizes["channels"]) == (scope, classes, channels)
    assert len(found.dropped) == dropped
    assert all(name.endswith("/Momentum") for name in found.dropped)
    stored = {scope + entry.name: entry.canonical for entry in found.slots if entry.name}
    assert stored == {name: i3d_tables.tf_name(name) for name in shapes if i3d_tables.tf_name(name)}
    assert {entry.canonical for entry in found.slots if not entry.name} == {
        name.replace("bias", "weight") for name in stored.values() if name.endswith("bn.bias")
    }


def test_a_wrong_scope() -> None:
    shapes = i3d_tables.i3d_tables()["rgb"]
    other = {name.replace("RGB/inception_i3d/", "RGB/other/"): shape for name, shape in shapes.items()}
    with pytest.raises(Refused, match="is not a video network that") as caught:
        match_file(load_layout("i3d"), empty(other))
    assert caught.value.exit_code == 1


def test_a_variable_that_belongs_to_no_other_is_refused() -> None:
    shapes = dict(i3d_tables.i3d_tables()["rgb"])
    shapes["RGB/inception_i3d/Conv3d_2b_1x1/conv_3d/Adam"] = (1, 1, 1, 64, 64)
    with pytest.raises(Refused) as caught:
        match_file(load_layout("i3d"), empty(shapes))
    assert caught.value.faults == ("unused: RGB/inception_i3d/Conv3d_2b_1x1/conv_3d/Adam",)


def test_the_reference_network_has_the_tables_names() -> None:
    from converters.mapping.variants import find_variant, modules, shapes
    from converters.networks.families.i3d import I3D
    from converters.networks.spec import ModuleShapes, Settings

    bound = {"classes": 101, "channels": 2}
    wanted = {
        f"{module.name}.{leaf}": shape
        for module in modules(find_variant("i3d", "i3d"))
        for leaf, shape in shapes(module, bound)
    }
    spec = NetworkSpec("i3d", "i3d", wanted)
    state = I3D(ModuleShapes(spec.shapes), Settings({"bn_eps": 1e-3})).state_dict()
    assert {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    } == wanted
