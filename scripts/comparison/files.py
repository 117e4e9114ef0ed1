"""Files as projects and frameworks write them: in every form, and with more in them than weights."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from check_parity import write
from safetensors.torch import save_file

from converters.formats.open import open_checkpoint
from converters.mapping.layout_tables import load_layout
from tests.conversion.test_mean import written
from tests.helpers import (
    caffe_files,
    caffe_tables,
    i3d_tables,
    seeded_weights_caffe,
    seeded_weights_i3d,
    seeded_weights_zoo,
    vmz_files,
    zoo_tables,
)
from tests.helpers.layout_weights import variant
from tests.helpers.paths import FIXTURES

from .inputs import suffix
from .state_dicts import state_dict

if TYPE_CHECKING:
    from .inputs import Inputs

State = dict[str, torch.Tensor]


def pytorch_files(inputs: Inputs) -> None:
    """One network in every form that PyTorch projects save it in, with the option that each needs and without."""
    state = state_dict(load_layout("mmaction"), variant("ir-csn-26"), shared=False)
    files = _pytorch_forms(state)
    for name, (value, _) in files.items():
        torch.save(value, inputs.path(f"pytorch/{name}"))
    _other_containers(inputs, state)
    given = {name: option for name, (_, option) in files.items()}
    given |= dict.fromkeys(("old.pth", "plain.safetensors", "model.safetensors.index.json"), "")
    for name, option in given.items():
        for words in dict.fromkeys(("", option)):
            for target in ("mmaction", "native", "vmz"):
                inputs.add_both(
                    f"pytorch/{name} {words} -> {target}",
                    f"auto {{inputs}}/pytorch/{name} {{out}} --to {target} {words}",
                    f"out{suffix(target)}",
                    f"{target} {{in}} {{out}} --to mmaction",
                    "back.pth",
                )


def _pytorch_forms(state: State) -> dict[str, tuple[Any, str]]:
    """What is saved, and the option that it needs, by the file's name."""
    bare = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    strided = {
        name: value.transpose(0, 1).contiguous().transpose(0, 1) if value.dim() > 1 else value
        for name, value in state.items()
    }
    averages = {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}
    head = next(name for name in state if name.endswith("fc_cls.weight")).removesuffix(".weight")
    renamed = {name.replace(head, "classifier.1"): value for name, value in state.items()}
    run = {"epoch": 2, "model": state, "ema_state_dict": averages}
    return {
        "plain.pth": (state, ""),
        "bare.pth": (bare, ""),
        "half.pth": (half, ""),
        "bfloat16.pth": ({name: value.bfloat16() for name, value in bare.items()}, ""),
        "double.pth": ({name: value.double() for name, value in bare.items()}, ""),
        "turned.pth": (strided, ""),
        "run.pth": (run, "--entry ema_state_dict"),
        "two.pth": ({"state_dict": state, "state_dict_ema": averages}, ""),
        "encoder.pth": ({f"encoder.{name}": value for name, value in state.items()}, ""),
        "head.pth": (renamed, "--head classifier.1"),
        "headless.pth": ({name: value for name, value in state.items() if not name.startswith(head)}, ""),
        "nan.pth": ({**state, f"{head}.bias": torch.full((7,), torch.nan)}, "--strict"),
        "missing.pth": (dict(list(state.items())[4:]), ""),
        "more.pth": ({**state, "other.weight": torch.ones(3)}, ""),
    }


def _other_containers(inputs: Inputs, state: State) -> None:
    """PyTorch's old format, and safetensors in one file and in two."""
    torch.save(state, inputs.path("pytorch/old.pth"), _use_new_zipfile_serialization=False)
    save_file(state, inputs.path("pytorch/plain.safetensors"), metadata={"format": "pt"})
    parts: dict[str, str] = {}
    for part in range(2):
        names = list(state)[part::2]
        label = f"model-{part + 1:05}-of-00002.safetensors"
        save_file({name: state[name] for name in names}, inputs.path(f"pytorch/{label}"))
        parts |= dict.fromkeys(names, label)
    index = {"metadata": {}, "weight_map": parts}
    inputs.path("pytorch/model.safetensors.index.json").write_text(json.dumps(index))


def source_files(inputs: Inputs) -> None:
    """Files with more in them than weights, as the frameworks themselves write them."""
    _caffe(inputs)
    _caffe2_training(inputs)
    _tensorflow(inputs)
    _onnx_exports(inputs)


def _caffe(inputs: Inputs) -> None:
    outputs = {"out.pth": "native", "out.caffemodel": "", "out.h5": "", "out.onnx": "onnx"}
    for name in (
        "c3d/caffe-v1.1-ucf101net",
        "c3d/caffe-v1.1-resnet18-sports1m",
        "tsn/caffe-bn_inception-flow-ucf101",
    ):
        source, model = name.split("/")
        table = caffe_tables.caffe_tables()[name]
        arrays = {
            blob: np.resize(np.random.default_rng([4, place]).random(99_991, "f4") + 0.5, shape)
            for place, (blob, shape) in enumerate(table.params.items())
        }
        path = f"caffe/{model}.caffemodel"
        inputs.path(path).write_bytes(caffe_files.model(table, arrays, diffs="bn_inception" in model))
        for output, kind in outputs.items():
            target = "native" if kind == "native" else source
            words = f"{source} {{inputs}}/{path} {{out}} --to {target}"
            back = f"{kind or source} {{in}} {{out}} --to {source}"
            inputs.add_both(f"{path} -> {output}", words, output, back, "back.caffemodel")


def _caffe2_training(inputs: Inputs) -> None:
    """A snapshot of a training run in half precision, with the optimizer's values."""
    table = "i3d_r50_nonlocal"
    weights = seeded_weights_zoo.zoo_weights(zoo_tables.nonlocal_blobs(table), 3)
    arrays = {name: value.astype("f2") for name, value in weights.items()}
    momentum = {f"{name}_momentum": arrays[name] for name in zoo_tables.nonlocal_momentum(table)}
    path = "caffe2/training.pkl"
    vmz_files.write_arrays(inputs.path(path), {**arrays, **momentum, "lr": np.array([0.01], "f4")})
    for target in ("native", "pyslowfast", "mmaction", "nonlocal"):
        words = f"nonlocal {{inputs}}/{path} {{out}} --to {target} --variant 8x8"
        back = f"{target} {{in}} {{out}} --to nonlocal{' --variant 8x8' if target == 'nonlocal' else ''}"
        inputs.add_both(f"{path} -> {target}", words, f"out{suffix(target)}", back, "back.pkl")


def _tensorflow(inputs: Inputs) -> None:
    for stream in ("flow", "rgb"):
        path = f"i3d/{stream}.ckpt"
        weights = seeded_weights_i3d.i3d_weights(i3d_tables.variables_of(stream, 7), 5)
        pickle = inputs.path("i3d/x.pkl")
        vmz_files.write_arrays(pickle, weights)
        with open_checkpoint(str(pickle)) as checkpoint:
            write(str(inputs.path(path)), load_layout("i3d"), list(checkpoint.tensors.values()))
        pickle.unlink()
        for target in ("pytorch-i3d", "kinetics_i3d_pytorch", "video_features", "native", "mmaction"):
            words = f"i3d {{inputs}}/{path} {{out}} --to {target}"
            back = f"{target} {{in}} {{out}} --to i3d"
            inputs.add_both(f"{path} -> {target}", words, "out.pth", back, "back.ckpt")


def _onnx_exports(inputs: Inputs) -> None:
    """What Caffe2 exports: ONNX, and init nets with their predict nets."""
    outputs = {"out.pth": "vmz-pt", "out.safetensors": "mmaction", "out.pkl": "vmz", "out.onnx": "vmz"}
    for file in sorted((FIXTURES / "onnx").glob("*.gz")):
        path = f"onnx/{file.stem}"
        inputs.path(path).write_bytes(gzip.decompress(file.read_bytes()))
        command = "onnx" if file.stem.endswith(".onnx") else "vmz"
        for output, target in outputs.items() if "predict" not in file.stem else ():
            words = f"{command} {{inputs}}/{path} {{out}} --to {target}"
            inputs.add(f"{path} -> {output} {target}", words, output)


def means(inputs: Inputs) -> None:
    """Mean cubes in all their forms, alone and in a conversion's record."""
    for path in written(inputs.path("mean/x").parent):
        name = f"mean/{path.name}"
        for output in ("out.npy", "out.npz", "out.binaryproto"):
            words = f"c3d {{inputs}}/{name} {{out}}"
            inputs.add_both(f"{name} -> {output}", words, output, "c3d {in} {out}", f"back{path.suffix}")
    cube = seeded_weights_caffe.mean_cube(7, 16, 128, 171)
    inputs.path("mean/real.binaryproto").write_bytes(caffe_files.blob_v10(cube[None]))
    words = "c3d {inputs}/c3d/c3d-plain.caffemodel {out} --mean {inputs}/mean/real.binaryproto --to mmaction"
    inputs.add_both("c3d --mean", words, "out.pth", "mmaction {in} {out} --to c3d", "back.caffemodel")
