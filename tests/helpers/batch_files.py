"""A small zoo: a file of every source, with the real names and shapes of its smallest networks and seeded values,
and a manifest that converts each into several layouts."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch

from converters import convert
from converters.batches.manifest import load_manifest
from converters.batches.tasks import tasks_of
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.variants import find_variant

MANIFEST = """\
[defaults]
output = "out/{folder}/{stem}.{to}.pth"

[[convert]]
source = "vmz"
input = "vmz/*.pkl"
to = ["vmz-pt", "native", "mmaction"]

[[convert]]
source = "vmz"
input = "vmz/*.pkl"
to = ["vmz-pt", "native", "mmaction"]
output = "safe/{stem}.{to}.safetensors"

[[convert]]
source = "vmz"
input = "vmz/*.pkl"
to = ["vmz-pt", "native", "mmaction"]
output = "half/{stem}.{to}.pth"
dtype = "float16"

[[convert]]
source = "i3d"
input = "rgb_imagenet/model.ckpt"
to = ["pytorch-i3d", "kinetics_i3d_pytorch", "video_features"]

[[convert]]
source = "tsn"
input = "tsn/tsn_rgb.caffemodel"
to = ["mmaction", "tsn-pytorch"]

[[convert]]
source = "c3d"
input = "c3d/small.caffemodel"
to = "native"

[[convert]]                        # a Chainer file, recognised
input = "c3d/*.npz"
to = ["native"]
check = true
"""

ROWS = 43
OUTPUTS = ("out", "safe", "half")
"""The folders that the manifest's outputs go to."""


def write_native(path: Path, family: str, name: str, classes: int, seed: int) -> None:
    """A file of canonical names with seeded values, small ones, variances positive."""
    torch.manual_seed(seed)
    sizes = {"classes": classes, "channels": 3, "stem_t": 3}
    state = {}
    for entry in tensor_slots(load_layout("native"), find_variant(family, name), sizes, {}):
        if entry.name:
            shape = [size if isinstance(size, int) else sizes[size] for size in entry.shape]
            value = torch.rand(shape) + 0.5 if entry.leaf == "running_var" else torch.randn(shape) * 0.01
            state[entry.name] = (
                torch.ones(shape) if family == "i3d" and entry.name.endswith("bn.weight") else value
            )
    torch.save(state, path)


def make_zoo(folder: Path) -> None:
    """Write every input and the manifest ``zoo.toml``."""
    native = folder / "native.pth"

    def source(family: str, name: str, to: str, path: str, seed: int, classes: int = 10) -> None:
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        write_native(native, family, name, classes, seed)
        convert(native, folder / path, source="native", to=to)

    for seed, name in enumerate(("ir-csn-26", "ir-csn-26", "ip-csn-26", "ip-csn-26")):
        source("resnet3d", name, "vmz", f"vmz/{name}-{seed}.pkl", seed, 10 + seed)
    source("i3d", "i3d", "i3d", "rgb_imagenet/model.ckpt", 4)
    source("bn_inception", "tsn-bn-inception", "tsn", "tsn/tsn_rgb.caffemodel", 5)
    source("c3d", "c3d-small", "c3d", "c3d/small.caffemodel", 6)
    source("c3d", "c3d-small", "c3d-chainer", "c3d/small-chainer.npz", 7)
    native.unlink()
    (folder / "zoo.toml").write_text(MANIFEST)


def convert_zoo(folder: Path) -> dict[str, str]:
    """What each row converts to, converted one by one; nothing of it stays but the hashes, by output."""
    tasks = tasks_of(load_manifest(folder / "zoo.toml"))
    assert len(tasks) == ROWS
    for task in tasks:
        Path(task.output).parent.mkdir(parents=True, exist_ok=True)
        source = None if task.source == "auto" else task.source
        convert(task.input, task.output, source=source, to=task.to, **task.options)
    found = hashes(folder, *OUTPUTS)
    assert len(found) == ROWS
    for name in OUTPUTS:
        shutil.rmtree(folder / name)
    return found


def copy_zoo(zoo: Path, folder: Path) -> Path:
    """The same files, linked, with a manifest of their own; returns its path."""
    for path in zoo.rglob("*"):
        target = folder / path.relative_to(zoo)
        if path.is_dir():
            target.mkdir(parents=True)
        elif path.suffix != ".toml":
            target.hardlink_to(path)
    (folder / "zoo.toml").write_text((zoo / "zoo.toml").read_text())
    return folder / "zoo.toml"


def crc32(*paths: str | Path) -> str:
    """CRC-32 of files, one after the other, in 8 hexadecimal digits."""
    value = 0
    for path in paths:
        value = zlib.crc32(Path(path).read_bytes(), value)
    return f"{value:08x}"


def hashes(folder: Path, *names: str) -> dict[str, str]:
    """SHA-256 of every file in some folders of a folder, by its path in it."""
    found: dict[str, Any] = {}
    for name in names:
        for path in sorted((folder / name).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
