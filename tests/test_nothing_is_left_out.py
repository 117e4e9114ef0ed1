"""The fast suite has a test of everything that there is, the full one uses every golden."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from converters.cli.overview import COMMANDS, CONVERSIONS
from converters.conversion.operations import inflation, storage, values
from converters.formats.registry import formats
from converters.mapping.table_files import layout_names, network_names
from converters.mapping.variants import variants
from tests.helpers import collection
from tests.helpers.paths import GOLDENS
from tests.helpers.selection import kinds, kinds_by_name

if TYPE_CHECKING:
    from tests.helpers.collection import Collected

GOLDEN_TESTS = {
    "c3d": "conversion/test_caffe.py::test_converted_file_computes_what_the_framework_computed",
    "caffe-targets": "networks/test_targets.py::test_a_file_computes_what_its_own_network_computes",
    "caffe2": "conversion/test_goldens.py::test_converted_file_computes_what_caffe2_computed",
    "chainer": "conversion/test_caffe.py::test_converted_file_computes_what_the_framework_computed",
    "gluoncv": "conversion/test_gluoncv.py::test_converted_file_computes_what_mxnet_computed",
    "i3d": "conversion/test_i3d.py::test_converted_file_computes_what_tensorflow_computed",
    "i3d-genuine": "networks/test_genuine_i3d.py::test_genuine_weights",
    "i3d-shared": "conversion/test_i3d.py::test_converted_file_computes_what_tensorflow_computed",
    "i3d-targets": "networks/test_targets.py::test_a_file_computes_what_its_own_network_computes",
    "movinet": "conversion/test_movinet.py::test_converted_file_computes_what_tensorflow_computed",
    "nonlocal": "conversion/test_zoo.py::test_video_nonlocal_net",
    "nonlocal-recorded": "conversion/test_zoo.py::test_video_nonlocal_net",
    "paddle": "conversion/test_paddle.py::test_a_converted_file_computes_what_paddlevideo_computed",
    "resnet-targets": "networks/test_targets.py::test_a_file_computes_what_its_own_network_computes",
    "slowfast": "conversion/test_zoo.py::test_pyslowfast",
    "targets": "networks/test_targets.py::test_a_file_computes_what_its_own_network_computes",
    "tsn": "conversion/test_caffe.py::test_converted_file_computes_what_the_framework_computed",
    "vmz": "networks/test_vmz.py::test_caffe2_golden",
}
"""The test that every golden of a folder is computed in."""


@pytest.fixture(scope="module")
def collected(request, tmp_path_factory) -> list[Collected]:
    """All tests, also those that this run leaves out."""
    tests = collection.described(request.config.stash[collection.ITEMS])
    return (
        tests if collection.complete(tests) else collection.collect_all(tmp_path_factory.mktemp("collected"))
    )


@pytest.fixture(scope="module")
def fast(collected) -> list[Collected]:
    return [test for test in collected if test.fast]


def test_every_golden_is_computed(collected):
    assert GOLDEN_TESTS.keys() == {path.parent.name for path in GOLDENS.rglob("*.npz")}
    for folder, test in GOLDEN_TESTS.items():
        computed = {
            name.rpartition("/")[2] for row in collected if row.test == test for name in row.parameters
        }
        assert {path.stem for path in (GOLDENS / folder).glob("*.npz")} <= computed, folder


def test_goldens_of_every_folder_are_in_the_fast_suite(fast):
    for folder, test in GOLDEN_TESTS.items():
        computed = {name.rpartition("/")[2] for row in fast if row.test == test for name in row.parameters}
        assert {path.stem for path in (GOLDENS / folder).glob("*.npz")} & computed, folder


def test_every_part_of_a_network_is_in_the_fast_suite(fast):
    """Its network is built, its names come back from every layout that has it, its values from some layout."""
    wanted = {kind for family in network_names() for variant in variants(family) for kind in kinds(variant)}
    for test in (
        "mapping/test_tables.py::test_networks_have_the_tables_tensors",
        "mapping/test_tables.py::test_every_mapping_is_a_bijection_and_comes_back_exactly",
    ):
        parameters = {name for row in fast if row.test == test for name in row.parameters}
        built = [name.removeprefix("Variant ") for name in parameters if name.startswith("Variant ")]
        assert wanted <= {kind for name in built for kind in kinds_by_name(name)}, test


def test_every_layout_is_in_the_fast_suite(fast):
    pairs = {name for row in fast if row.file == "conversion/test_pairs.py" for name in row.parameters}
    assert set(layout_names()) <= pairs | {"nonlocal-affine"}


def test_every_operation_is_in_the_fast_suite(fast):
    wanted = {
        name
        for module in (storage, values, inflation)
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    named = {
        name for row in fast if row.file.startswith("conversion/") for name in row.mentions | row.parameters
    }
    assert wanted <= named


def test_every_format_is_in_the_fast_suite(fast):
    """The folder of each has tests of its own, and a file of each suffix is read or written somewhere."""
    files, named = (
        {row.file for row in fast},
        {name for row in fast for name in row.mentions | row.parameters},
    )
    for record in formats():
        folder = record.opener.split(".")[2]
        assert any(file.startswith(f"formats/{folder}/") for file in files), folder
        assert any(name.endswith(record.suffixes) for name in named), record.name


def test_every_command_is_in_the_fast_suite(fast):
    named = {name for row in fast for name in row.mentions | row.parameters}
    assert {*COMMANDS, *CONVERSIONS} - {"LAYOUT"} <= named
