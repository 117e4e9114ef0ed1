"""GluonCV's networks as MXNet's operators, against what real MXNet and GluonCV computed."""

from __future__ import annotations

import pytest

from converters.errors import Refused
from converters.source_graphs.registry import NoSourceNet, source_graph, source_net
from converters.tensor import Held, Tensor
from tests.helpers import gluoncv_goldens, seeded_weights_gluoncv


def test_golden() -> None:
    """One, to say whether it is the graph that is wrong: all are in `tests/conversion`."""
    golden = gluoncv_goldens.golden_named(gluoncv_goldens.SMALLEST)
    arrays, clip = seeded_weights_gluoncv.of_golden(golden)
    gluoncv_goldens.assert_graph(gluoncv_goldens.SMALLEST, golden, arrays, clip)


def shells(model: str) -> dict[str, Tensor]:
    """A file's tensors without their values."""
    sizes = seeded_weights_gluoncv.shapes(model, classes=3)
    return {name: Tensor(name, "float32", shape, Held(b"")) for name, shape in sizes.items()}


@pytest.mark.parametrize("model", seeded_weights_gluoncv.models())
def test_every_network_is_recognised_and_read_whole(model: str) -> None:
    """One name of each tensor is read; one that is missing is told."""
    held = shells(model)
    twice = seeded_weights_gluoncv.further_names(model)
    net = source_net(held)
    assert net.framework == "MXNet"
    read = source_graph(net, held).weights.keys()
    assert {twice.get(name, name) for name in read} == held.keys() - twice.keys()
    assert len(read) == len(held) - len(twice)
    missing = [name for name in read if name.endswith((".beta", ".bias"))][-1]
    less = {name: one for name, one in held.items() if twice.get(name, name) != twice.get(missing, missing)}
    with pytest.raises(Refused, match=r"reads .*, which nothing wrote"):
        source_graph(source_net(less), less)


def test_the_same_names_of_a_pytorch_project_are_not_gluoncvs() -> None:
    from converters.tensor import Held, Tensor

    held = {
        name: Tensor(name, "float32", one.shape, Held(b"")) for name, one in shells("c3d_kinetics400").items()
    }
    assert source_net(held, layout="gluoncv").framework == "MXNet"
    with pytest.raises(NoSourceNet):
        source_net(held, layout="c3d-pytorch")
