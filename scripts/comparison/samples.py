"""Samples of options, of settings and of inflated networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.mapping.layout_tables import load_layout
from tests.helpers.layout_weights import variant

from .inputs import suffix
from .networks import hints

if TYPE_CHECKING:
    from .inputs import Inputs

OPTIONS = (
    "--dtype float16", "--dtype bfloat16", "--dtype float64", "--dtype float32", "--wrap", "--backbone", "--check",
    "--sha256", "--no-checksum", "--strict", "--dry-run", "--wrap --backbone --dtype float16 --check",
)  # fmt: skip

OPTION_SAMPLES = {
    "vmz/ir-csn-26.pkl": "mmaction",
    "slowfast/x3d-m.pkl": "pyslowfast",
    "slowfast/i3d-r50.pkl": "mmaction2",
    "i3d/i3d.ckpt": "mmaction",
    "tsn/tsn-bn-inception.caffemodel": "mmaction",
    "c3d-chainer/c3d-small.npz": "native",
    "mmaction/ir-csn-26.pth": "vmz-pt",
    "native/ir-csn-26.pth": "vmz",
}
"""The file, and the layout to convert it to."""

SETTING_SAMPLES = ("vmz/ir-csn-26.pkl", "vmz/r2d-18.pkl", "vmz/ir-csn-50.pkl", "vmz-pt/ip-csn-26.pth")
SETTINGS = (
    "--set pool1=on",
    "--set pool1=off",
    "--set stem_stride=2",
    "--set pool1=off --set stem_stride=2",
)

IMAGE_NETWORKS = (
    "mmaction/resnet2d-50.pth",
    "torchvision/resnet2d-50.pth",
    "detectron/resnet2d-50.pkl",
    "nonlocal/resnet2d-50.pkl",
)
INFLATIONS = {
    "--variant i3d-r50 --to mmaction2": "out.pth",
    "--variant i3d-r50 --to mmaction2 --inflate centre": "out.safetensors",
    "--variant slowonly-r50 --to mmaction --wrap": "out.pth",
    "--variant i3d-nl-r50 --to mmaction": "out.pth",
    "--variant slowfast_r50_4x16 --to mmaction2": "out.pth",
    "--variant I3D_8x8_R50 --to pyslowfast --channels 2": "out.safetensors",
    "--variant i3d-r50 --model 32x2 --to nonlocal": "out.pkl",
    "--variant resnet2d-50 --channels 10": "out.pth",
}
TSN = "tsn/tsn-bn-inception.caffemodel"


def options(inputs: Inputs) -> None:
    """The options, on the smallest network of each source and of some layouts."""
    for path, target in OPTION_SAMPLES.items():
        source, network = path.rsplit(".", 1)[0].split("/")
        given = f" --variant {hints(load_layout(source), variant(network))[0]}"
        end = suffix(target)
        for option in OPTIONS:
            name = f"{path} {option}"
            words = f"{source} {{inputs}}/{path} {{out}} --to {target} {option}{given}"
            if option == "--dry-run":
                inputs.add(name, words, f"out{end}")
                continue
            back = f"auto {{in}} {{out}} --to {source}{given if end != '.pth' else ''}"
            inputs.add_both(name, words, f"out{end}", back, f"back{suffix(source)}")
        to_native = f"{{inputs}}/{path} {{out}} --to native{given}"
        for output in ("out.pt", "out.pth.tar", "out.safetensors", "out.bin"):
            inputs.add(f"{path} -> native {output}", f"{source} {to_native}", output)
        inputs.add(f"auto {path}", f"auto {to_native}", "out.pth")
        inputs.add(f"auto {path} without --to", f"auto {{inputs}}/{path} {{out}}", "out.pth")
        wrong = f"{source} {{inputs}}/{path} {{out}} --variant r2d-18"
        inputs.add(f"{path} --variant of another network", wrong, "out.pth")
    _settings(inputs)


def _settings(inputs: Inputs) -> None:
    """Settings that no weight shows, and TSN's inverted deviations."""
    for path in SETTING_SAMPLES:
        for given in SETTINGS:
            for target, end in (("native", ".pth"), ("mmaction", ".safetensors"), ("vmz", ".onnx")):
                words = f"{path.split('/')[0]} {{inputs}}/{path} {{out}} --to {target} {given}"
                back = f"{'onnx' if end == '.onnx' else target} {{in}} {{out}} --to vmz"
                inputs.add_both(f"{path} {given} -> {target}", words, f"out{end}", back, "b.pkl")
    for target, end in (("mmaction", ".pth"), ("tsn-pytorch", ".safetensors"), ("tsn", ".onnx")):
        words = f"tsn {{inputs}}/{TSN} {{out}} --to {target} --inverse-std"
        back = f"{'onnx' if end == '.onnx' else target} {{in}} {{out}} --to tsn"
        inputs.add_both(f"{TSN} --inverse-std -> {target}", words, f"out{end}", back, "back.caffemodel")


def inflations(inputs: Inputs) -> None:
    """Image networks inflated to video networks."""
    for path in IMAGE_NETWORKS:
        for words, output in INFLATIONS.items():
            inputs.add(f"inflate {path} {words}", f"inflate {{inputs}}/{path} {{out}} {words}", output)
    for target in ("--to mmaction", "--to tsn-pytorch --inverse-std", "--to tsn"):
        words = f"--variant tsn-bn-inception --channels 10 {target}"
        output = "out.caffemodel" if target == "--to tsn" else "out.pth"
        inputs.add(f"inflate {TSN} {words}", f"inflate {{inputs}}/{TSN} {{out}} {words}", output)
