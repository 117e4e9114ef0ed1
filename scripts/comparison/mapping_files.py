"""Mapping files, both ways."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import torch

from converters.errors import ConverterError
from converters.formats.open import open_checkpoint
from converters.formats.registry import usual_suffix
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from tests.conversion import test_user_mapping
from tests.helpers import vmz_files
from tests.helpers.layout_weights import variant
from tests.helpers.paths import FIXTURES

if TYPE_CHECKING:
    from .inputs import Inputs


def mapping_files(inputs: Inputs) -> None:
    """The mapping files of the tests, and one for each fixture that keeps all names."""
    vmz_files.write(inputs.path("own/vmz.pkl"), "ir-csn-26", seed=8)
    torch.save({"beta": torch.arange(3.0)[None]}, inputs.path("own/constants.pth"))
    torch.save({name: torch.ones(2) for name in "abz"}, inputs.path("own/unsure.pth"))
    for name, text in {
        "vmz": test_user_mapping.IR_CSN,
        "constants": test_user_mapping.CONSTANTS,
        "unsure": test_user_mapping.UNSURE,
        "i3d": test_user_mapping.I3D % _i3d_modules(),
        "c3d": test_user_mapping.C3D,
    }.items():
        inputs.path(f"own/{name}.toml").write_text(text)
    _add(inputs, "own/vmz.pkl", "own/vmz.toml", ".pkl", "", "--check", "--dtype float16", "--sha256")
    _add(inputs, "own/constants.pth", "own/constants.toml", ".pth", "", "--check")
    _add(inputs, "own/unsure.pth", "own/unsure.toml", ".pth", "", "--accept-unsure")
    _add(inputs, "i3d/rgb.ckpt", "own/i3d.toml", ".ckpt", "", "--dtype float16")
    _add(inputs, "caffe/caffe-v1.1-ucf101net.caffemodel", "own/c3d.toml", ".caffemodel", "")
    for sort in ("caffe2", "chainer", "pytorch", "tensorflow"):
        _fixtures(inputs, sort)


def _i3d_modules() -> tuple[str, str]:
    """The convolutions of I3D as a TOML file lists them: in DeepMind's layout and in the port's."""
    lists = []
    for layout in ("i3d", "pytorch-i3d"):
        slots = tensor_slots(load_layout(layout), variant("i3d"), {"classes": 7, "channels": 3}, {})
        convolutions = (slot for slot in slots if slot.canonical.endswith("conv.weight"))
        names = (slot.name.removesuffix(slot.stored.suffix) for slot in convolutions)
        lists.append(", ".join(f'"{name}"' for name in names))
    units, modules = lists
    return units, modules


def _fixtures(inputs: Inputs, sort: str) -> None:
    folder = inputs.folder / "fixtures" / sort
    shutil.copytree(FIXTURES / sort, folder)
    for path in sorted(folder.iterdir()):
        if ".data-" in path.name or path.suffix in (".md", ".json"):
            continue
        file = path.relative_to(inputs.folder).as_posix().removesuffix(".index")
        mapping = f"mappings/{path.name}.toml"
        if kind := _write_identity(inputs, file, mapping):
            _add(inputs, file, mapping, usual_suffix(kind), "", "--check", "--dtype float32")
        inputs.add(f"auto {file}", f"auto {{inputs}}/{file} {{out}}", "out.pth")


def _write_identity(inputs: Inputs, file: str, mapping: str) -> str:
    """Write a mapping that keeps all names of a file; returns the file's format, or nothing if it cannot be read."""
    path = inputs.path(mapping)
    try:
        with open_checkpoint(str(inputs.folder / file)) as checkpoint:
            names, others, kind = list(checkpoint.tensors), list(checkpoint.other_values), checkpoint.format
    except ConverterError:
        return ""
    dropped = json.dumps([] if kind == "pytorch" else others)
    quoted = [json.dumps(name.replace("{", "{{").replace("}", "}}")) for name in names]
    lines = ["[from]", f'format = "{kind}"', f"drop = {dropped}", "[tensors]"]
    path.write_text("\n".join([*lines, *(f"{name} = {name}" for name in quoted), ""]))
    return kind


def _add(inputs: Inputs, file: str, mapping: str, end: str, *options: str) -> None:
    """Add the conversions of one file by one mapping, with each of the options; ``end`` is the file's suffix."""
    for option in options:
        for output in ("out.pth", "out.safetensors"):
            words = f"{{inputs}}/{file} {{out}} --mapping {{inputs}}/{mapping} {option}"
            back = f"{{in}} {{out}} --mapping {{inputs}}/{mapping} --reverse"
            if "unsure" in option:
                back += " --accept-unsure"
            inputs.add_both(f"{file} by {mapping} {option} -> {output}", words, output, back, f"back{end}")
