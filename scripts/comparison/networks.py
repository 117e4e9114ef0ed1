"""Every kind of network of every layout, to all layouts that have its family, and back."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from check_parity import model_names, seeded_tensors, write

from converters.mapping.layout_tables import load_layout
from converters.mapping.names import families
from converters.mapping.table_files import layout_names
from converters.mapping.variants import parameters, variants
from tests.helpers.layout_weights import model_of, sizes

from .cases import Case
from .inputs import suffix
from .state_dicts import write_state_dict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant

    from .inputs import Inputs

LIKE_ANOTHER = (
    "mc?-50", "rmc?-50", "rmc[245]-18", "r2df-50", "av_resnet-r3d-50", "av_resnet-r2plus1d-50", "av_resnet-ip-csn-50"
)  # fmt: skip
"""Networks all of whose blocks another one has too."""

WITH_FILE = 125e6
"""Bytes: a larger network has no file in a source's own format here. It is converted from ``native`` and then on."""

WITH_ALL_TARGETS = 140e6
"""Bytes: a larger network goes from a PyTorch layout to one other only."""


class Network(NamedTuple):
    """A network under a layout's names. ``size`` is in bytes of float32."""

    layout: LayoutTable
    variant: Variant
    size: float

    @property
    def path(self) -> str:
        """The input file, in the folder of the inputs."""
        return f"{self.layout.name}/{self.variant.name}{suffix(self.layout.name)}"

    @property
    def has_file(self) -> bool:
        """Whether there is a file. Affine norms always have one, as no other layout can be converted to them."""
        return (
            self.size <= WITH_FILE
            or self.layout.format == "pytorch"
            or self.layout.name == "nonlocal-affine"
            or (self.layout.name, self.variant.name) == ("c3d", "c3d-plain")
        )

    def targets(self, *, itself: bool = False) -> list[LayoutTable]:
        """Layouts that have the network's family, those that refuse it among them, which costs nothing."""
        found = [
            layout
            for layout in map(load_layout, layout_names())
            if self.variant.family in families(layout) and (itself or layout.name != self.layout.name)
        ]
        of_project = self.layout.format == "pytorch" and self.layout.name != "native"
        if self.size <= WITH_ALL_TARGETS or not of_project:
            return found
        supporting = [layout for layout in found if not layout.support_for(self.variant.name).unsupported]
        return sorted(supporting, key=lambda layout: layout.format == "pytorch")[:1]


@cache
def networks(layout: str) -> list[Network]:
    """The smallest network of each kind that a layout supports: a type, above or below 50 layers."""
    table = load_layout(layout)
    smallest: dict[tuple[str, str, bool], Network] = {}
    for variant in (variant for family in families(table) for variant in variants(family)):
        if table.support_for(variant.name).unsupported or any(
            fnmatchcase(variant.name, glob) for glob in LIKE_ANOTHER
        ):
            continue
        stem, depth = re.fullmatch(r"(.*?)(?:-r?(\d+))?", variant.name).groups()  # type: ignore[union-attr]
        size = 4.0 * parameters(variant, sizes(variant), {"blending": False})
        kind = variant.family, stem, int(depth or 0) >= 50
        if kind not in smallest or smallest[kind].size > size:
            smallest[kind] = Network(table, variant, size)
    return list(smallest.values())


def hints(layout: LayoutTable, variant: Variant) -> list[str]:
    """What ``--variant`` may say of a file; the first is the usual one."""
    return list(dict.fromkeys([model_of(layout.name, variant), *model_names(layout, variant)]))


def every_network(inputs: Inputs) -> None:
    """Each network of each layout to all others that have its family, and back."""
    for name in layout_names():
        smallest = min((network.size for network in networks(name)), default=0)
        for network in networks(name):
            if not network.has_file:
                continue  # see `_from_native`
            layout, variant, size = network
            path = inputs.path(network.path)
            if layout.format == "pytorch":
                write_state_dict(path, layout, variant)
            else:
                write(str(path), layout, list(seeded_tensors(layout, variant)))
            file = f"{{inputs}}/{network.path}"
            usual, *others = hints(layout, variant)
            for target in network.targets(itself=size == smallest):
                inputs.cases.append(_there_and_back(network, target, file, network.path, usual))
            for hint in others:
                target = network.targets()[0]
                inputs.cases.append(_there_and_back(network, target, file, network.path, hint))


def _there_and_back(network: Network, target: LayoutTable, file: str, title: str, hint: str) -> Case:
    """A conversion from one layout to another, and back."""
    layout, variant, _ = network
    name = f"{title} ({hint}) -> {target.name}"
    output = suffix(target.name)
    back = [target.name, "{in}", "{out}", "--to", layout.name]
    if target.format != "pytorch":  # its files have no record
        back += ["--variant", hints(target, variant)[0]]
    elif crc32(name.encode()) % 2:
        output = ".safetensors"
    then = [Case(f"{name} -> back", back, f"back{suffix(layout.name)}")]
    if layout.name == "native":
        then += _from_native(target, variant, name)
    words = [layout.name, file, "{out}", "--to", target.name, "--variant", hint]
    return Case(name, words, f"out{output}", then)


def _from_native(source: LayoutTable, variant: Variant, title: str) -> list[Case]:
    """The conversions of a network that has no file in a source's format, from what ``native`` is converted to."""
    return [
        _there_and_back(network, target, "{in}", title, hints(source, variant)[0])
        for network in networks(source.name)
        if network.variant.name == variant.name and not network.has_file
        for target in network.targets()
        if target.name != "native"
    ]


def graphs(inputs: Inputs) -> None:
    """The smallest network of each family and source as ONNX and, where a source writes such files, as HDF5."""
    for layout in map(load_layout, layout_names()):
        for network in _smallest_of_families(networks(layout.name)) if layout.format != "pytorch" else ():
            variant = f" --variant {hints(layout, network.variant)[0]}"
            kinds = {"out.onnx": "onnx"}
            if layout.format in ("caffe", "chainer"):
                kinds["out.h5"] = layout.name
            for output, kind in kinds.items():
                name = f"{network.path} -> {output}"
                words = f"{layout.name} {{inputs}}/{network.path} {{out}} --to {layout.name}{variant}"
                then = [
                    Case(
                        f"{name} -> {target}",
                        f"{kind} {{in}} {{out}} --to {target}{variant}".split(),
                        f"back{suffix(target)}",
                    )
                    for target in (layout.name, "native")
                ]
                inputs.add(name, words, output, then)


def _smallest_of_families(found: Iterable[Network]) -> list[Network]:
    chosen: dict[str, Network] = {}
    for network in found:
        family = network.variant.family
        if network.size <= WITH_FILE and (family not in chosen or chosen[family].size > network.size):
            chosen[family] = network
    return list(chosen.values())
