"""Every family is registered where it is defined, and by nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from converters.mapping.table_files import network_names
from converters.mapping.variants import config, modules, shapes, variants
from converters.networks import NetworkSpec, build, family_names, network_record
from tests.helpers.paths import REPOSITORY

SIZES = {"classes": 7, "channels": 3, "stem_t": 3, "lateral_t": 5}


def smallest(family: str):
    """The first network of a family whose stem does not span the clip, and its sizes."""
    variant = next(each for each in variants(family) if not each.values.get("stem_spans_clip"))
    return variant, {name: variant.values.get(name, [size])[0] for name, size in SIZES.items()}


def test_every_table_has_its_network() -> None:
    assert sorted(network_names()) == list(family_names())


@pytest.mark.parametrize("family", family_names())
def test_the_test_clip_of_a_family_goes_through_its_network(family: str) -> None:
    """On the meta device: only shapes are computed."""
    variant, sizes = smallest(family)
    spec = NetworkSpec(
        family,
        variant.name,
        {
            f"{module.name}.{leaf}": shape
            for module in modules(variant)
            if not module.optional
            for leaf, shape in shapes(module, sizes)
        },
        {**config(variant), "bn_eps": 1e-5},
    )
    record = network_record(family)
    inputs = {"clip": record.test_clip, "logmels": (1, 1, 100, 40)}
    model = build(spec).eval()
    out = model(*(torch.empty(inputs[name], device="meta") for name in record.inputs))
    assert tuple(out.shape) == (1, sizes["classes"])


def test_the_names_of_the_families_need_no_torch() -> None:
    code = (
        "import sys, converters.networks as networks; assert networks.family_names(); "
        "print(*(name for name in sys.modules if name == 'torch' or '.families.' in name))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_an_unknown_family_is_refused() -> None:
    for name in ("resnet4d", "resnet3d.x", "__init__", ""):
        with pytest.raises(ValueError, match="unknown network family"):
            network_record(name)
