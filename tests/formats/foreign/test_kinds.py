"""Every kind of file that is not read here is called by its name, with what to do; nobody else's file is."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import BadInput
from converters.formats.foreign.kinds import KINDS
from converters.formats.foreign.signs import Evidence
from converters.formats.open import open_checkpoint
from tests.helpers.caffe_files import message, number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 90000000\n"


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"content of " + name.encode())
    return out.getvalue()


def torch7(*, integers: str = "<i", name: bytes = b"nn.Sequential", first: int = 4) -> bytes:
    words = (b"V 1", name)
    return b"".join(
        [struct.pack(integers, first), struct.pack(integers, 1)]
        + [struct.pack(integers, len(word)) + word for word in words]
        + [struct.pack(integers, 3)] * 9
    )


def mat4() -> bytes:
    return struct.pack("<5i", 0, 3, 2, 0, 2) + b"w\0" + bytes(48)


def graph_node(name: bytes, op: bytes) -> bytes:
    return message(
        1, message(1, name), message(2, op), message(5, message(1, b"dtype"), message(2, number(6, 1)))
    )


PARAMETER = message(
    1, message(1, b"conv1.weight"), message(2, number(1, 64) + number(1, 3) + message(2, b"Float32"))
)
W = np.ones((3, 2), np.float32)
PDMODEL = message(1, number(1, 0), number(2, (1 << 64) - 1), message(3, message(1, b"x")))
LOD = bytes(4) + bytes(8) + bytes(4) + struct.pack("<i", 6) + b"\x08\x05\x10\x03\x10\x02" + bytes(24)
CORE = message(2, message(1, message(1, b"image"), message(3, b"\x2a\0")), message(10, message(1, b"y")))

FILES: dict[str, tuple[str, dict[str, bytes]]] = {
    "torch.distributed.checkpoint": (
        "dcp_to_torch",
        {
            "__0_0.distcp": b"PK\x03\x04" + bytes(40),
            "shard": zipped("archive/data.pkl", "archive/data/0")
            + zipped("archive/data.pkl", "archive/data/0"),
            ".metadata": b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\nq\x00)\x81q\x01.",
            "metadata4": b"\x80\x04\x8c\x27torch.distributed.checkpoint.metadata\x94\x8c\x08Metadata\x94\x93.",
        },
    ),
    "torch.export": (
        r"torch.export.load\('",
        {
            "a.pt2": zipped(
                "a/data/weights/weight_0", "a/models/model.json", "a/archive_format", "a/byteorder"
            ),
            "old.pt2": zipped("serialized_exported_program.json", "serialized_state_dict.pt", "version"),
            "compiled": zipped("m/archive_format", "m/data/aotinductor/model/x.so"),
        },
    ),
    "torch.package": (
        "PackageImporter",
        {
            "p.pt": zipped(
                "p/.data/0.storage", "p/model/model.pkl", "p/.data/extern_modules", "p/.data/version"
            ),
            "old.pt": zipped("old/.data/extern_modules", "old/model/model.pkl", "old/resnet.py"),
            "newer": zipped("x/.data/python_version", "x/byteorder"),
        },
    ),
    "TorchServe": ("model.pth", {"m.mar": zipped("handler.py", "model.pth", "MAR-INF/MANIFEST.json")}),
    "ExecuTorch": (
        "exported from",
        {
            "m.pte": b"\x24\0\0\0ET12" + bytes(60),
            "m": b"\x1c\0\0\0ET13" + bytes(60),
            "h": b"\x20\0\0\0eh00" + bytes(9),
        },
    ),
    "PyTorch Mobile": ("exported from", {"m.ptl": b"\x20\0\0\0PTMF" + bytes(60)}),
    "Torch7": (
        "torchfile",
        {
            "c3d.t7": torch7(),
            "long.t7": torch7(integers="<q"),
            "tensor.t7": torch7(name=b"torch.FloatTensor"),
            "table.t7": struct.pack("<iiiii", 3, 1, 2, 2, 5)
            + b"model"
            + torch7(name=b"cudnn.SpatialConvolution"),
            "names.t7": struct.pack("<5i", 3, 1, 1, 2, 5) + b"model" + struct.pack("<id", 1, 3.0),
            "number.t7": struct.pack("<id", 1, 3.0),
            "longs.t7": struct.pack("<iqi", 4, 1, 3) + b"V 1",
            "ascii.t7": b"4\n1\n3\nV 1\n13\nnn.Sequential\n3\n2\n",
        },
    ),
    "fingerprint": (
        "name the folder",
        {
            "fingerprint.pb": b"".join(number(at, 0xF000_0000_0000_0000 + at) for at in range(1, 6))
            + message(6, number(1, 1)),
            "with-a-uuid": b"".join(number(at, 1 << 62) for at in (1, 2, 3, 4))
            + message(6, number(1, 2))
            + message(7, b"71ab34"),
            "short.pb": b"".join(number(at, 77 << 50) for at in (1, 2, 3)),
        },
    ),
    "GraphDef": (
        "frozen from",
        {
            "frozen.pb": graph_node(b"input", b"Placeholder") + graph_node(b"w", b"Const"),
            "scopes.pb": graph_node(b"RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w", b"Const"),
            "long.pb": graph_node(b"a/" * 60 + b"w", b"VariableV2"),
            "graph.pbtxt": b'node {\n  name: "input"\n  op: "Placeholder"\n}\n',
        },
    ),
    "Keras' part": (
        "name the folder",
        {"keras_metadata.pb": message(1, number(2, 1), message(3, b"_tf_keras_model"))},
    ),
    "MindSpore": (
        "mindspore",
        {
            "resnet.ckpt": PARAMETER * 2,
            "scalar.ckpt": message(
                1, message(1, b"step"), message(2, message(2, b"Int32") + message(3, b"\1"))
            ),
            "packed.ckpt": message(
                1, message(1, b"w"), message(2, message(1, b"\x02\x03") + message(2, b"Float16"))
            ),
        },
    ),
    "TensorBoard": (
        "another file",
        {"events.out": struct.pack("<QI", 24, 7) + b"\t" + bytes(8) + b"\x1a\x0dbrain.Event:2"},
    ),
    "TensorFlow Lite": (
        "made from",
        {
            "m.tflite": b"\x1c\0\0\0TFL3" + bytes(60),
            "m": b" \0\0\0TFL3" + bytes(60),
            "m.bin": b"\x18\0\0\0TFL3x",
        },
    ),
    "Keras model": (
        "name model.weights.h5",
        {
            "m.keras": zipped("metadata.json", "config.json", "model.weights.h5"),
            "m.zip": zipped("config.json", "metadata.json", "assets/", "model.weights.h5"),
        },
    ),
    "MXNet network": (
        ".params",
        {"m-symbol.json": b'{\n  "nodes": [\n    {\n      "op": "null", "name": "data"}]}'},
    ),
    "inference model of PaddlePaddle": (
        "exported from",
        {
            "m.pdmodel": PDMODEL,
            "__model__": PDMODEL + PDMODEL,
            "inference.json": b'{"base_code":{"magic":"pir","trainable":true,"version":4},"program":{}}',
            "m.pdiparams.info": pickle.dumps({"linear_0.w_0": {"structured_name": "fc.weight"}}, 2),
        },
    ),
    "tensors of PaddlePaddle": (
        "exported from",
        {"m.pdiparams": LOD, "fc_0.w_0": LOD, "__params__": LOD, "binary.pdparams": LOD},
    ),
    "GGUF": (
        "made from",
        {"m.gguf": b"GGUF\3\0\0\0" + bytes(60), "old.bin": b"lmgg" + bytes(60), "m": b"tjgg\1\0\0\0"},
    ),
    "Core ML": (
        "made from",
        {
            "m.mlmodel": number(1, 4) + CORE + message(500, message(1, b"x")),
            "renamed": number(1, 1) + CORE + message(303, b""),
            "program": number(1, 8) + CORE + message(502, b""),
        },
    ),
    "MATLAB": (
        "scipy.io.loadmat",
        {
            "v5.mat": b"MATLAB 5.0 MAT-file Platform: posix".ljust(124) + b"\0\1IM" + bytes(80),
            "big.mat": b"MATLAB 5.0 MAT-file, Platform: SOL2".ljust(124) + b"\1\0MI" + bytes(80),
            "octave": b"written by GNU Octave".ljust(124) + b"\0\1IM" + bytes(80),
            "v4.mat": mat4(),
        },
    ),
    "TensorRT": (
        "built from",
        {
            "m.engine": b"ftrt" + bytes(60),
            "m.trt": b"ptrt" + bytes(60),
            "yolo.engine": struct.pack("<I", 60)
            + b'{"description": "a model", "author": "x"}'
            + b"ftrt"
            + bytes(9),
        },
    ),
    "ncnn": (
        "made from",
        {
            "m.param": b"7767517\n75 83\nInput data 0 1 data\n",
            "windows.param": b"7767517\r\n75 83\r\n",
            "m.param.bin": struct.pack("<3i", 7767517, 75, 83),
        },
    ),
    "OpenVINO": (
        "made from",
        {
            "m.xml": b'<?xml version="1.0"?>\n<net name="resnet" version="11">\n<layers>',
            "plain.xml": b'<net name="resnet" version="10">',
            "bom.xml": b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><net name="x">',
        },
    ),
    "PMML": (
        "checkpoint is needed",
        {"m.pmml": b'<?xml version="1.0"?><PMML version="4.4">', "m": b"<PMML>"},
    ),
    "darknet": (
        "darknet",
        {
            "yolov3.weights": struct.pack("<3iq", 0, 2, 0, 32013312) + bytes(40),
            "renamed.bin": struct.pack("<3iq", 0, 2, 5, 32013312) + W.tobytes(),
            "old.weights": struct.pack("<4i", 0, 1, 0, 100) + W.tobytes(),
            "darknet53.conv.74": struct.pack("<3iq", 0, 2, 0, 0) + W.tobytes(),
        },
    ),
    "joblib": (
        "joblib.load",
        {
            "m.joblib": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x13joblib.numpy_pickle\x94\x8c\x11NumpyArrayWrapper.",
            "m.pkl": zlib.compress(b"\x80\x03cjoblib.numpy_pickle\n"),
            "old.pkl": b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n.",
        },
    ),
    "graph of a TensorFlow SavedModel": (
        "saved_model.pb",
        {
            "renamed.pb": number(1, 1) + message(2, message(1, message(2, message(1, message(1, b"AddV2"))))),
            "tags.pb": number(1, 1) + message(2, message(1, message(4, b"serve") + message(5, b"1.15.0"))),
        },
    ),
    "compiled library": ("made from", {"m.so": b"\x7fELF\2\1\1" + bytes(60)}),
    "Deeplearning4j": (
        "HDF5",
        {"m.zip": zipped("configuration.json", "coefficients.bin", "updaterState.bin")},
    ),
    "ONNX Runtime": ("made from", {"m.ort": b"\x20\0\0\0ORTM" + bytes(60)}),
    "ONNX model as text": (
        r"onnx\.save",
        {
            "m.textproto": b'ir_version: 8\nproducer_name: "pytorch"\n',
            "m.onnxtxt": b'<\n   ir_version: 8,\n   opset_import: ["" : 17]\n>\nmain (float[N] x) => (float[N] y) {}',
            "m.json": b'{"irVersion": "8", "graph": {}}',
        },
    ),
    "CNTK": (
        "as ONNX",
        {
            "m.dnn": "BCN\0BVersion\0".encode("utf-16-le"),
            "m.model": number(1, 1) + message(2, message(1, b"primitive_functions")),
        },
    ),
    "for a device": (
        "made from",
        {"m.rknn": b"RKNN\0\0\0\0", "m.om": b"IMOD\0", "m.mnn": b"\x20\0\0\0\x1c\0\0\0"},
    ),
    "of R": ("HDF5", {"m.rdata": b"RDX3\nX\n\0\0", "m": b"RDA2\nA\n"}),
    "index of a checkpoint": (
        r"NAME\.index\.json",
        {
            "m.json": json.dumps(
                {"metadata": {"total_size": 4}, "weight_map": {"w": "a.safetensors"}}
            ).encode()
        },
    ),
    "DeepSpeed's last step": (
        "name the folder",
        {"latest": b"global_step10", "latest_universal": b"global_step2_universal\n"},
    ),
    "server's error message": (
        "fetch the file again",
        {
            "a.pth": b'{"error": "Repository not found"}',
            "b.pth": b'{"message":"Not Found","documentation_url":"https://docs"}\n',
            "c.pth": b'{"detail": "Authentication credentials were not provided."}',
            "s3.pth": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
            "d.pth": b"404: Not Found",
            "e.pth": b"Entry not found",
            "f.pth": b"Access denied\n",
        },
    ),
    "JSON": (
        "another file",
        {
            "config.json": b'{"architectures": ["X"]}',
            "log.json": b'{"lr": 1}\n{"lr": 2}\n',
            "a.pth": b'{"lr": 0.1}',
        },
    ),
    "an unfinished download": (
        "let the download finish",
        {"m.pth.part": zipped("a")[:40], "m.crdownload": b"PK\3\4", "m.pth.aria2": b"\0\1\0\0"},
    ),
    "zeros": ("fetch the file again", {"m.pth": bytes(4096), "m.bin": bytes(700) + b"\1" * 600}),
    "a video": (
        "convert classify NETWORK",
        {
            "m.mp4": b"\0\0\0\x20ftypisom" + bytes(64),
            "m.pth": b"\x1aE\xdf\xa3" + bytes(64),
            "m.avi": b"RIFF\x10\0\0\0AVI LIST" + bytes(64),
        },
    ),
    "encrypted": (
        "decrypt it",
        {"m.enc": b"Salted__" + bytes(range(64)), "m.age": b"age-encryption.org/v1\n-> X"},
    ),
    "zlib": (
        "decompress it",
        {"m.pth": zlib.compress(b"x" * 99), "m": zlib.compress(b"y" * 99, 9), "fast": zlib.compress(b"z", 1)},
    ),
    "lz4": ("decompress it", {"m.pth": b"\x04\x22\x4d\x18" + bytes(range(60))}),
    "an archive": (
        "unpack it and name release/i3d.pth",
        {"m.zip": zipped("README.md", "release/i3d.pth"), "m.pth": zipped("release/i3d.pth")},
    ),
}

FOLDERS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "folder of torch.distributed.checkpoint": (
        "dcp_to_torch",
        {
            "dcp": [".metadata", "__0_0.distcp", "__1_0.distcp"],
            "half of one": [".metadata"],
            "without its index": ["__0_0.distcp", "__1_0.distcp"],
            "lightning": [".metadata", "__0_0.distcp", "meta.pt"],
            "accelerate": [
                "pytorch_model_fsdp_0/.metadata",
                "pytorch_model_fsdp_0/__0_0.distcp",
                "optimizer.bin",
            ],
            "megatron": ["common.pt", "metadata.json", "__0_0.distcp"],
        },
    ),
    "DeepSpeed": (
        r"zero_to_fp32",
        {
            "run": ["zero_to_fp32.py", "latest", "global_step10/mp_rank_00_model_states.pt"],
            "inner": ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"],
            "trainer": [
                "config.json",
                "training_args.bin",
                "zero_to_fp32.py",
                "global_step5/x_optim_states.pt",
            ],
            "no-script": ["latest", "global_step10/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"],
        },
    ),
    "Hugging Face": (
        "name the file with the weights",
        {
            "safe": ["config.json", "model.safetensors", "README.md"],
            "bin": ["config.json", "pytorch_model.bin"],
            "diffusers": ["model_index.json", "unet/diffusion_pytorch_model.safetensors"],
            "adapter": ["adapter_config.json", "adapter_model.safetensors"],
            "trainer": [
                "config.json",
                "optimizer.pt",
                "pytorch_model.bin",
                "rng_state.pth",
                "training_args.bin",
            ],
            "trainer of DeepSpeed": ["config.json", "global_step5/a", "model.safetensors", "zero_to_fp32.py"],
        },
    ),
    "folder with several checkpoints": (
        r"name one of those in .*: a\.pth, b\.pt",
        {"two": ["a.pth", "b.pt"], "and more": ["a.pth", "b.pt", "optimizer.pt", "log.txt"]},
    ),
    "without their index": (
        r"model-00001-of-00002.*model-00002-of-00002",
        {
            "safe": ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            "bin": ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
        },
    ),
    "libraries, without weights": (
        "fetch the weights",
        {"diffusers": ["model_index.json"], "settings": ["config.json", "README.md"]},
    ),
    "Hugging Face cache": (
        "snapshots/0a1b$",
        {"models--org--name": ["refs/main", "blobs/0f", "snapshots/0a1b/x"]},
    ),
    "checkpoint in parts": (
        r"index\.json$",
        {
            "safe": ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            "bin": ["config.json", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
            "alone": ["model.safetensors.index.json"],
        },
    ),
    "Orbax": (
        r"orbax\.checkpoint",
        {
            "new": [
                "_CHECKPOINT_METADATA",
                "_METADATA",
                "manifest.ocdbt",
                "ocdbt.process_0/manifest.ocdbt",
                "d/a",
            ],
            "step": ["_CHECKPOINT_METADATA", "default/_METADATA", "default/manifest.ocdbt"],
            "manager": ["3/_CHECKPOINT_METADATA", "3/default/manifest.ocdbt", "4/_CHECKPOINT_METADATA"],
            "deeper": ["100/state/_METADATA", "200/state/_METADATA"],
            "run": ["checkpoints/100/state/_METADATA"],
            "old": ["checkpoint", "_METADATA", "params.Dense_0.kernel/.zarray"],
        },
    ),
    "Zarr": (
        "zarr",
        {"a": [".zgroup", "w/.zarray"], "v3": ["zarr.json", "w/zarr.json"], "b": ["w/.zarray", "w/0.0"]},
    ),
    "Core ML": (
        "made from",
        {
            "m.mlpackage": ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"],
            "m.mlmodelc": ["coremldata.bin", "model.mil", "weights/weight.bin"],
            "old.mlmodelc": ["model.espresso.net", "model.espresso.weights"],
        },
    ),
    "MLflow": (
        r"name the file",
        {
            "m": ["MLmodel", "data/model.pth", "conda.yaml"],
            "artifacts": ["MLmodel", "data/pickle_module_info.txt", "requirements.txt"],
            "state": ["MLmodel", "state_dict.pth"],
        },
    ),
    "TensorFlow.js": (
        "tensorflowjs_converter",
        {"m": ["model.json", "group1-shard1of4.bin", "group1-shard2of4.bin"]},
    ),
    "PaddlePaddle": (
        r"\.pdparams",
        {
            "m": ["__model__", "fc_0.w_0"],
            "n": ["inference.pdmodel", "inference.pdiparams"],
            "o": ["__model__", "__params__"],
        },
    ),
    "PyTorch file that was unpacked": (
        "zip -0",
        {"archive": ["data.pkl", "version", "data/0", "byteorder"], "old": ["data.pkl", "version", "data/0"]},
    ),
    "torchsnapshot": ("state_dict", {"m": [".snapshot_metadata", "0/app/w"]}),
    "is a folder, not a checkpoint": (
        "name the file inside",
        {
            "run": ["args.json", "checkpoints/last.ckpt", "train.log"],
            "lightning": ["version_0/checkpoints/epoch=1.ckpt", "version_0/hparams.yaml"],
            "flat": ["model_best.pth.tar", "log.txt"],
            "caffe": ["c3d.caffemodel", "c3d.prototxt"],
        },
    ),
}

CASES = [(kind, name) for kind, (_, files) in FILES.items() for name in files]
FOLDER_CASES = [(kind, name) for kind, (_, folders) in FOLDERS.items() for name in folders]


def refusal(path: Path) -> str:
    """What is said of a file: one line."""
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text.replace(str(path), path.name)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_files(kind: str, name: str, tmp_path: Path) -> None:
    advice, files = FILES[kind]
    path = tmp_path / name
    path.write_bytes(files[name])
    text = refusal(path)
    assert kind in text
    assert re.search(advice, text)


@pytest.mark.parametrize(("kind", "name"), FOLDER_CASES)
def test_folders(kind: str, name: str, tmp_path: Path) -> None:
    advice, folders = FOLDERS[kind]
    folder = tmp_path / name
    for inner in folders[name]:
        (folder / inner).parent.mkdir(parents=True, exist_ok=True)
        (folder / inner).write_bytes(b"x")
    text = refusal(folder)
    assert kind in text
    assert re.search(advice, text)


@pytest.mark.parametrize(
    ("name", "beside", "kind"), [("m.bin", "m.param", "ncnn"), ("m.bin", "m.xml", "OpenVINO")]
)
def test_weights_without_a_sign_by_what_lies_beside(
    name: str, beside: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / beside).write_bytes(b"x")
    (tmp_path / name).write_bytes(b"\xff\x01" * 80)
    assert f"holds the weights of an {kind} network" in refusal(tmp_path / name)


def lay_a_folder(folder: Path) -> Path:
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    (folder / "config.json").write_bytes(b"{}")
    return folder


def lay_an_index(folder: Path) -> Path:
    index = {"weight_map": {"w": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00001.safetensors").write_bytes(POINTER)
    return folder / "model.safetensors.index.json"


def lay_a_bundle(folder: Path) -> Path:
    (folder / "model.ckpt.index").write_bytes(POINTER)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(POINTER)
    return folder / "model.ckpt"


def lay_a_saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(POINTER)
    (folder / "variables" / "variables.index").write_bytes(POINTER)
    return folder


def lay_a_file(folder: Path) -> Path:
    (folder / "m.pth").write_bytes(POINTER)
    return folder / "m.pth"


@pytest.mark.parametrize("lay", [lay_a_file, lay_a_folder, lay_an_index, lay_a_bundle, lay_a_saved_model])
def test_git_lfs_pointers_are_found_in_sets_and_folders(lay: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match="is a git-lfs pointer, not a checkpoint: run 'git lfs pull'"
    ) as caught:
        open_checkpoint(str(lay(tmp_path)))
    assert (tmp_path / caught.value.path).read_bytes() == POINTER


def test_the_weights_are_named_not_the_optimizer(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (
        "optimizer.pt",
        "rng_state_0.pth",
        "scaler.pt",
        "scheduler.pt",
        "training_args.bin",
        "zoo.pth",
    ):
        (folder / name).write_bytes(b"x")
    assert "name the file inside: run/zoo.pth" in refusal(folder)
    (folder / "config.json").write_bytes(b"{}")
    assert "name the file with the weights: run/zoo.pth" in refusal(folder)


def test_several_tensorflow_checkpoints_in_a_folder_are_named(tmp_path: Path) -> None:
    for name in ("a.index", "b.index", "more.pth"):
        (tmp_path / name).write_bytes(b"x")
    assert "holds 2 checkpoints: name one of a, b" in refusal(tmp_path)


def test_every_kind_of_the_table_is_tried_here() -> None:
    """And its texts say what to do, on one line, with names that exist."""
    named = " ".join([*FILES, *FOLDERS]).lower()
    for kind in KINDS:
        words = dict.fromkeys(("path", "folder", "name", "parent", "tag", "found", "inner"), "x")
        text = f"{kind.what} {kind.hint}".format_map(words)
        assert text.isprintable()
        assert kind.hint
        assert kind.what.startswith(("is ", "holds ", "begins "))
        assert any(name in text.lower() for name in map(str.lower, [*FILES, *FOLDERS])), (named, text)


@pytest.mark.parametrize("fields", [(2, 3), (5,)])
def test_a_fingerprint_without_the_fields_that_are_zero(fields: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.pb"
    path.write_bytes(b"".join(number(field, 1 << 62) for field in fields) + b"\x32\0")
    assert "is the fingerprint of a TensorFlow SavedModel" in refusal(path)


@pytest.mark.parametrize("script", [True, False])
def test_a_step_of_deepspeed_is_converted_from_its_parent(script: bool, tmp_path: Path) -> None:
    step = tmp_path / "global_step10"
    step.mkdir()
    (step / "mp_rank_00_model_states.pt").write_bytes(b"x")
    if script:
        (tmp_path / "zero_to_fp32.py").write_bytes(b"x")
    else:
        (step / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"x")
    tool = f"{tmp_path}/zero_to_fp32.py" if script else "-m deepspeed.utils.zero_to_fp32"
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(step))
    assert caught.value.hint.endswith(f"python {tool} {tmp_path} OUT.pth --tag global_step10")


def folder_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("names", "opened", "wanted"),
    [
        (["s/mp_rank_00_model_states.pt"], "", "name the file inside: {}/s/mp_rank_00_model_states.pt"),
        (["s/mp_rank_00_model_states.pt"], "s", "name the file inside: {}/s/mp_rank_00_model_states.pt"),
        (["s/zero_pp_rank_0_mp_rank_00_model_states.pt"], "", "zero_to_fp32 {} OUT.pth --tag s"),
        (["latest", "s/zero_pp_rank_0_mp_rank_00_model_states.pt"], "", "zero_to_fp32 {} OUT.pth"),
        (
            ["s/mp_rank_00_model_states.pt", "s/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"],
            "s/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
            "give its folder, {}/s, to see how to make one file of it",
        ),
    ],
)
def test_parts_of_deepspeed(names: list[str], opened: str, wanted: str, tmp_path: Path) -> None:
    path = folder_of(tmp_path, *names) / opened
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(path))
    assert caught.value.hint.endswith(wanted.format(tmp_path))


def test_all_checkpoints_of_a_run_are_named(tmp_path: Path) -> None:
    run = "version_{}/checkpoints/epoch={}-step=10.ckpt"
    folder = folder_of(tmp_path / "logs", *(run.format(one, one) for one in (0, 1)), "version_0/hparams.yaml")
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(folder))
    assert all(run.format(one, one) in caught.value.hint for one in (0, 1))


def test_paths_in_commands_are_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "my run; $x"
    folder.mkdir()
    (folder / "__0_0.distcp").write_bytes(b"x")
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(folder))
    assert f"dcp_to_torch '{folder}' OUT.pth" in caught.value.hint


def test_evidence_is_bounded(tmp_path: Path) -> None:
    for number_ in range(200):
        (tmp_path / f"{number_:03}").mkdir()
        (tmp_path / f"{number_:03}" / "x").write_bytes(b"")
    entries = Evidence(str(tmp_path)).entries
    assert len(entries) == 250
    missing = Evidence(str(tmp_path / "none"))
    assert (missing.entries, missing.members, missing.head, missing.size) == ((), (), b"", 0)


def test_damaged_archives_have_no_members(tmp_path: Path) -> None:
    whole = zipped("a/data.pkl", "a/version")
    for cut in range(0, len(whole), 7):
        (tmp_path / "f").write_bytes(whole[:cut])
        assert Evidence(str(tmp_path / "f")).members in ((), ("a/data.pkl", "a/version"))
    (tmp_path / "f").write_bytes(b"PK" + bytes(30) + b"PK\5\6" + b"\xff" * 18)
    assert Evidence(str(tmp_path / "f")).members == ()
