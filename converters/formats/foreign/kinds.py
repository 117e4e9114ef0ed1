"""The kinds of files and folders that people take for checkpoints, or that hold weights which are not read here.

One table: signs, what it is, what to do. A kind goes when a reader for it comes. The first kind whose signs are there
is meant, so what is special stands before what is general. Sources of the signs are the formats' own writers.
"""

from __future__ import annotations

from typing import NamedTuple

from .signs import (
    Above,
    Beside,
    Entries,
    Entry,
    Head,
    Joined,
    Member,
    Name,
    NoEntry,
    NoMember,
    Sign,
    Whole,
    Within,
)


class Kind(NamedTuple):
    """A kind: ``what`` it is, as an error says it, and a ``hint`` what to do. It is recognised if all signs of one of
    the sets in ``signs`` are there. In the texts ``{path}``, ``{folder}`` and ``{name}`` stand for the file, its
    folder and its name, ``{parent}`` and ``{tag}`` for the folder around a folder and its quoted name there,
    ``{found}`` and ``{inner}`` for the name that the signs found and the folder in front of it."""

    what: str
    hint: str
    signs: tuple[tuple[Sign, ...], ...]


_VARINT = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_BESIDE = r"optimi[sz]er|scheduler|training_args|rng_state|scaler|random_states|trainer|.*optim_states"
_CHECKPOINT = (
    rf"(?i)(?!(?:.*/)?(?:{_BESIDE})[^/]*$)(?!.*(?:data|constants|bytecode|attributes)\.pkl$)"
    r".*\.(pth|pt|pth\.tar|ckpt|pyth|bin|safetensors|pkl|caffemodel|npz|h5|onnx)"
)
"""The names of checkpoints, but not of what training code saves beside them, nor of what is inside them."""

_CONFIG = r"(config|model_index|adapter_config)\.json"
_DEEPSPEED = r"((bf16_)?zero_pp_rank_\d+_mp_rank_\d+_(optim|model)|mp_rank_\d+_model)_states\.pt"
_OTHER_WEIGHTS = r".*\.(index|meta|msgpack)|.*\.json\.gz"
_NO_INDEX = Name(r"^(?!.*\.index\.json$)")

POINTER = Kind(
    "is a git-lfs pointer, not a checkpoint", "run 'git lfs pull' to get the file itself", signs=()
)
"""Looked for first, also inside a folder and among the files of a set."""

_PYTORCH = (
    Kind(
        "is a folder of torch.distributed.checkpoint without .metadata, which says where its tensors are",
        "copy .metadata from where it was saved, and make one file of it: "
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} OUT.pth",
        signs=((Entry(r"[^/]+\.distcp"), NoEntry(r"\.metadata")),),
    ),
    Kind(
        "is a folder of torch.distributed.checkpoint, which is not read",
        "make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} OUT.pth",
        signs=((Entry(r"[^/]+\.distcp"),), (Entry(r"\.metadata"), NoEntry(r".*\.safetensors"))),
    ),
    Kind(
        "holds a folder of torch.distributed.checkpoint, which is not read",
        "make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path}/{inner} OUT.pth",
        signs=((Entry(r"[^/]+/[^/]+\.distcp"),),),
    ),
    Kind(
        "is part of a folder of torch.distributed.checkpoint, which is not read",
        "make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} OUT.pth",
        signs=(
            (Name(r"\.distcp$"),),
            (Head(rb"\x80[\x02-\x05].{0,80}torch\.distributed\.checkpoint\.metadata"),),
            (Joined(), Member(r"[^/]+/data\.pkl"), NoMember(r"[^/]+/data/1")),  # each has one tensor
        ),
    ),
    Kind(
        "is a program of torch.export, which is not read",
        "in PyTorch: torch.save(torch.export.load('{name}').state_dict, 'OUT.pth')",
        signs=(
            (Member(r"([^/]+/)?serialized_exported_program\.json"),),
            (Member(r"[^/]+/archive_format"), Member(r"[^/]+/(models/.+\.json|data/.+)")),
        ),
    ),
    Kind(
        "is a package of torch.package, which holds code",
        "if you trust it, load the model with torch.package.PackageImporter, and save its state_dict() with torch.save",
        signs=((Member(r"[^/]+/\.data/(extern_modules|python_version)"),),),
    ),
    Kind(
        "is a TorchServe archive, which holds code",
        "unpack it as a zip file; the checkpoint is {found} or beside it",
        signs=(
            (Member(_CHECKPOINT), Member(r"MAR-INF/MANIFEST\.json")),
            (Member(r"MAR-INF/MANIFEST\.json"),),
        ),
    ),
    Kind(
        "is an ExecuTorch program, whose weights are compiled into it",
        "convert the checkpoint that it was exported from",
        signs=((Head(rb".{4}(ET\d\d|eh00)"),), (Head(rb".{8}eh\d\d.{0,24}ET\d\d"),)),
    ),
    Kind(
        "is a PyTorch Mobile program in flatbuffers, which is not read",
        "convert the checkpoint that it was exported from",
        signs=((Head(rb".{4}PTMF"),),),
    ),
    Kind(
        "is a folder of torchsnapshot, which is not read",
        "restore it with torchsnapshot, and save the state_dict() with torch.save",
        signs=((Entry(r"\.snapshot_metadata"),),),
    ),
    Kind(
        "is a Torch7 file, of the Lua Torch before PyTorch, which is not read",
        "read it with the Python package torchfile (or torch.utils.serialization.load_lua of PyTorch 0.4), and save "
        "its weights as a state dict",
        signs=(
            (
                Within(
                    rb"\A[\x03\x04]\0{3}(?:\0{4})?[\x01-\xff].{3,160}?V 1.{4,12}?"
                    rb"(nn|torch|cudnn|cunn|inn|nngraph|tds)\."
                ),
            ),
            (Name(r"\.(t7|t7b|net)$"), Head(rb"[\x00-\x08]\0{3}|[0-8]\n")),
            (Head(rb"\x04\0{3}.{4}(?:\0{4})?\x03\0{3}(?:\0{4})?V 1"),),
            (
                Head(
                    rb"\x03\0{3}(?:\0{4})?.{3}\0(?:\0{4})?.{3}\0\x02\0{3}(?:\0{4})?[\x01-\x60]\0{3}(?:\0{4})?[ -~]"
                ),
            ),
            (Within(rb"\A[34]\n\d+\n.{0,160}?V 1\n\d+\n(nn|torch|cudnn|cunn|inn|nngraph|tds)\."),),
        ),
    ),
)

_FOLDERS = (
    Kind(
        "is a model of MLflow",
        "name the file inside: {folder}/{found}",
        signs=((Entry(_CHECKPOINT), Entry(r"MLmodel")),),
    ),
    Kind(
        "is a model of MLflow without a file of a known kind",
        "name the file that `flavors` in its MLmodel names",
        signs=((Entry(r"MLmodel"),),),
    ),
    Kind(
        "is a PyTorch file that was unpacked, as browsers do with zip files",
        "pack it again, without compression: cd {folder}/.. && zip -0 -r OUT.pth {name}",
        signs=((Entry(r"data\.pkl"), Entry(r"version"), Entry(r"data/\d+")),),
    ),
    Kind(
        "is a folder with a checkpoint in parts",
        "name its index: {folder}/{found}",
        signs=((Entry(r"[^/]+\.index\.json"),),),
    ),
    Kind(
        "is a folder with parts of a checkpoint, without their index",
        "fetch the .index.json too, and name it; the parts are {found}",
        signs=((Entries(r"(?:[^/]+/)?[^/]+-\d{5}-of-\d{5}\.(safetensors|bin)"),),),
    ),
    Kind(
        "is a folder of Hugging Face's libraries",
        "name the file with the weights: {folder}/{found}",
        signs=(
            (Entry(r"[^/]+\.safetensors"), Entry(_CONFIG)),
            (Entry(rf"(?!{_BESIDE})[^/]*\.(bin|h5|msgpack|ckpt|pth|pt)"), Entry(_CONFIG)),
            (Entry(rf"[^/]+/(?!{_BESIDE})[^/]*\.(safetensors|bin)"), Entry(_CONFIG)),
        ),
    ),
    Kind(
        "is a folder of the Hugging Face cache",
        "name the file in {folder}/{found}",
        signs=((Entry(r"snapshots/[^/]+"), Entry(r"refs|blobs")),),
    ),
    Kind(
        "is a folder of DeepSpeed, whose weights are in parts",
        "make one file of it: python {path}/zero_to_fp32.py {path} OUT.pth",
        signs=((Entry(r"zero_to_fp32\.py"),),),
    ),
    Kind(
        "holds a folder of DeepSpeed, whose weights are in parts",
        "make one file of it: python {path}/{found} {path}/{inner} OUT.pth",
        signs=((Entry(r"[^/]+/zero_to_fp32\.py"),),),
    ),
    Kind(
        "is one step in a folder of DeepSpeed, whose weights are in parts",
        "make one file of it: python {parent}/zero_to_fp32.py {parent} OUT.pth --tag {tag}",
        signs=((Above("zero_to_fp32.py"), Entry(_DEEPSPEED)),),
    ),
    Kind(
        "is a folder of DeepSpeed, with its weights in one file",
        "name the file inside: {folder}/{found}",
        signs=(
            (
                Entry(r"([^/]+/)?mp_rank_00_model_states\.pt"),
                NoEntry(r".*optim_states\.pt|.*mp_rank_(?!00)\d+_model_states\.pt"),
            ),
        ),
    ),
    Kind(
        "is one step in a folder of DeepSpeed, whose weights are in parts",
        "make one file of it: python -m deepspeed.utils.zero_to_fp32 {parent} OUT.pth --tag {tag}",
        signs=((Entry(_DEEPSPEED),),),
    ),
    Kind(
        "is a folder of DeepSpeed, whose weights are in parts",
        "make one file of it: python -m deepspeed.utils.zero_to_fp32 {path} OUT.pth",
        signs=((Entry(r"latest"), Entry(rf"[^/]+/{_DEEPSPEED}")),),
    ),
    Kind(
        "is a folder of DeepSpeed, whose weights are in parts",
        "make one file of it: python -m deepspeed.utils.zero_to_fp32 {path} OUT.pth --tag {inner}",
        signs=((Entry(rf"[^/]+/{_DEEPSPEED}"),),),
    ),
    Kind(
        "is part of a folder of DeepSpeed, whose weights are in parts",
        "give its folder, {folder}, to see how to make one file of it",
        signs=((Name(r"^(bf16_)?zero_pp_rank_\d+_mp_rank_\d+_(optim|model)_states\.pt$"),),),
    ),
    Kind(
        "is a checkpoint of Orbax, as JAX and Flax write it, which is not read",
        "restore the folder with orbax.checkpoint, and write flax.serialization.to_bytes of it to a .msgpack",
        signs=(
            (Name(r"^(manifest\.ocdbt|_checkpoint_metadata|_metadata)$"),),
            (Entry(r"([^/]+/)?(_CHECKPOINT_METADATA|manifest\.ocdbt|ocdbt\.process_\d+)"),),
            (Entry(r"([^/]+/)?_METADATA"), Entry(r"([^/]+/)?(d|_sharding|array_metadatas|checkpoint)")),
            (Entry(r"([^/]+/){1,3}_(METADATA|CHECKPOINT_METADATA)"),),
        ),
    ),
    Kind(
        "is a folder of Zarr arrays, which are not read",
        "read them with the Python package zarr, and save them with numpy.savez",
        signs=((Entry(r"([^/]+/)?(\.zarray|\.zgroup|zarr\.json)"),),),
    ),
    Kind(
        "is a Core ML package, which is not read",
        "convert the checkpoint that it was made from",
        signs=(
            (Entry(r"Data/com\.apple\.CoreML"),),
            (Entry(r"coremldata\.bin"),),
            (Entry(r"model\.espresso\..*"),),
        ),
    ),
    Kind(
        "is a model of TensorFlow.js, which is not read",
        "convert it back with tensorflowjs_converter, and convert the result here",
        signs=((Entry(r"group\d+-shard\d+of\d+(\.bin)?"),), (Within(rb'"weightsManifest"'),)),
    ),
    Kind(
        "is an inference model of PaddlePaddle, which is not read",
        "convert the .pdparams that it was exported from",
        signs=((Entry(r"__model__"),), (Entry(r"[^/]+\.(pdmodel|pdiparams)"),)),
    ),
    Kind(
        "is a folder with several checkpoints",
        "name one of those in {folder}: {found}",
        signs=((Entries(_CHECKPOINT, least=2), NoEntry(r".*\.(index|meta)|.*-of-\d{5}")),),
    ),
    Kind(
        "is a folder, not a checkpoint",
        "name the file inside: {folder}/{found}",
        signs=((Entry(_CHECKPOINT), NoEntry(r".*\.(index|meta)|.*-of-\d{5}")),),
    ),
    Kind(
        "is a folder of Hugging Face's libraries, without weights",
        "fetch the weights too: the .safetensors or .bin files that belong to its {found}",
        signs=((Entry(_CONFIG), NoEntry(_CHECKPOINT), NoEntry(_OTHER_WEIGHTS)),),
    ),
)

_TENSORFLOW = (
    Kind(
        "is the fingerprint of a TensorFlow SavedModel, without weights",
        "name the folder that it is in",
        signs=(
            (Whole(rb"(?:[\x08\x10\x18\x20\x28]%s){2,5}(?:\x32.{2,40}?)?(?:\x3a.{1,64})?" % _VARINT),),
            (Name(r"^fingerprint\.pb$"), Head(rb"[\x08\x10\x18\x20\x28]|\Z")),
        ),
    ),
    Kind(
        "is Keras' part of a TensorFlow SavedModel, without weights",
        "name the folder that it is in",
        signs=((Name(r"^keras_metadata\.pb$"),), (Head(rb"\n%s(?:.{0,40})_tf_keras_" % _VARINT),)),
    ),
    Kind(
        "is a checkpoint of MindSpore, which is not read",
        "load it with mindspore.load_checkpoint, and save the arrays with numpy.savez",
        signs=(
            (
                Head(
                    rb"\n%s\n[\x01-\x7f][\w.:/-]+\x12%s(?:\x08%s|\n%s.{1,40}?)*\x12[\x03-\x10](?:Float|Int|UInt|BFloat|Bool)"
                    % ((_VARINT,) * 4)
                ),
            ),
        ),
    ),
    Kind(
        "is a TensorFlow graph (GraphDef), which holds its weights as constants, if at all",
        "convert the checkpoint that it was frozen from: the folder with its .index and .data files",
        signs=(
            (Head(rb"\n%s\n[\x01-\x7f][\w.\\/:>+-]+\x12[\x01-\x40][A-Z_][A-Za-z0-9_>]+" % _VARINT),),
            (Head(rb"(?:\s|#[^\n]*\n)*node\s*\{\s*name\s*:\s*\"[^\"\n]*\"\s*op\s*:"),),
        ),
    ),
    Kind(
        "is the graph of a TensorFlow SavedModel, without weights",
        "rename it to saved_model.pb, and name the folder with it and with variables/",
        signs=((Head(rb"\x08\x01\x12%s\n%s[\x12\x1a\x22\x2a\x32]" % (_VARINT, _VARINT)),),),
    ),
    Kind(
        "is a log of TensorBoard, without weights",
        "the checkpoint is another file of the training",
        signs=((Head(rb".{8,40}brain\.Event:\d"),),),
    ),
    Kind(
        "is a TensorFlow Lite model, which is not read",
        "convert the checkpoint or the SavedModel that it was made from",
        signs=((Head(rb".{4}TFL\d"),),),
    ),
    Kind(
        "is a Keras model (.keras), which is not read as it is",
        "unpack it as a zip file and name {found}",
        signs=((Member(r"model\.weights\.(h5|npz)"), Member(r"(config|metadata)\.json")),),
    ),
)

_JAX_AND_OTHERS = (
    Kind(
        "is the description of an MXNet network, without weights",
        "the weights are in the .params file beside it",
        signs=((Head(rb'\s*\{\s*"nodes"\s*:\s*\['), Within(rb'"op"\s*:')),),
    ),
    Kind(
        "is a program of an inference model of PaddlePaddle, without weights",
        "convert the .pdparams beside it, or the one that it was exported from",
        signs=(
            (Head(rb"\n%s\x08\0\x10\xff{9}\x01" % _VARINT),),
            (Head(rb'\s*\{\s*"base_code"\s*:\s*\{\s*"magic"\s*:\s*"pir"'),),
            (Name(r"\.pdmodel$"),),
        ),
    ),
    Kind(
        "holds tensors of PaddlePaddle one after the other, without their names, as in an inference model",
        "convert the .pdparams that it was exported from",
        signs=(
            (Head(rb"\0{4}(?:\0{8}){1,2}\0{0,4}[\x02-\x40]\0{3}\x08[\x00-\x20]\x10"),),
            (Name(r"\.pdiparams$"),),
        ),
    ),
    Kind(
        "is a table of names of an inference model of PaddlePaddle, without weights",
        "convert the .pdparams that the model was exported from",
        signs=((Name(r"(\.pdiparams|__params__)\.info$"),),),
    ),
    Kind(
        "is a GGUF file, of llama.cpp, which is not read",
        "convert the checkpoint that it was made from",
        signs=((Head(rb"GGUF"),), (Head(rb"(?:lmgg|fmgg|tjgg|algg)"),)),
    ),
    Kind(
        "is a Core ML model, which is not read",
        "convert the checkpoint that it was made from",
        signs=(
            (Head(rb"\x08[\x01-\x14]\x12%s\n%s\n[\x01-\x7f][ -~]" % (_VARINT, _VARINT)),),
            (Name(r"\.mlmodel$"),),
        ),
    ),
    Kind(
        "is a MATLAB file of version 4 to 7, which is not read",
        "in Python: numpy.savez('OUT.npz', **{{name: value for name, value in scipy.io.loadmat('{name}').items() "
        "if name[0] != '_'}})",
        signs=(
            (Head(rb"MATLAB 5\.0 MAT-file"),),
            (Head(rb".{124}(?:\x00\x01IM|\x01\x00MI)"),),
            (Head(rb"[\x00-\x34]\0{3}.{8}[\x00\x01]\0{3}[\x01-\x40]\0{3}[A-Za-z]\w*\0"),),
        ),
    ),
    Kind(
        "is a TensorRT engine, whose weights are compiled into it",
        "convert the checkpoint that it was built from",
        signs=(
            (Head(rb"[pf]trt"),),
            (Head(rb".{4}\{\"(?:description|author|date)\".*"), Name(r"\.(engine|trt|plan)$")),
        ),
    ),
    Kind(
        "is the description of an ncnn network, without weights",
        "ncnn fuses layers when it converts: take the checkpoint that it was made from",
        signs=((Head(rb"7767517\r?\n"),), (Head(rb"\xdd\x85\x76\x00"),)),
    ),
    Kind(
        "holds the weights of an ncnn network, without their names",
        "ncnn fuses layers when it converts: take the checkpoint that it was made from",
        signs=((Beside(".param"), Name(r"\.bin$")),),
    ),
    Kind(
        "is a network of OpenVINO, without weights",
        "OpenVINO fuses layers when it converts: take the checkpoint that it was made from",
        signs=((Head(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,200}?\?>)?\s*<net\s"),),),
    ),
    Kind(
        "holds the weights of an OpenVINO network, without their names",
        "OpenVINO fuses layers when it converts: take the checkpoint that it was made from",
        signs=((Beside(".xml"), Name(r"\.bin$")),),
    ),
    Kind(
        "is a PMML file, which describes no such network",
        "a checkpoint is needed",
        signs=((Head(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,200}?\?>)?\s*<PMML\b"),),),
    ),
    Kind(
        "holds weights of darknet, without names, which are not read",
        "load them with the network's .cfg in a PyTorch port of darknet, and save the state_dict() with torch.save",
        signs=(
            (Head(rb"\0{4}\x02\0{3}[\0\x05]\0{3}.{4}\0{4}"),),
            (Head(rb"\0{4}[\x01\x02]\0{3}[\0\x05]\0{3}"), Name(r"\.weights$|darknet|yolo|\.conv\.\d+$")),
        ),
    ),
    Kind(
        "is a file of joblib, a pickle that may hold code",
        "if you trust it, load it with joblib.load, and save the arrays with numpy.savez",
        signs=(
            (Head(rb"\x80[\x02-\x05]"), Within(rb"joblib\.numpy_pickle")),
            (Head(rb"ZF0x|x[\x01\x5e\x9c\xda]"), Name(r"\.(joblib|pkl|pickle|z|gz)$|joblib")),
            (Name(r"\.joblib$"),),
        ),
    ),
    Kind(
        "is a model in ONNX Runtime's own format (.ort), which is not read",
        "convert the .onnx that it was made from",
        signs=((Head(rb".{4}ORTM"),),),
    ),
    Kind(
        "is an ONNX model as text, which is not read",
        "write it as .onnx: onnx.save(onnx.load('{name}'), 'OUT.onnx')",
        signs=(
            (Head(rb"\s*(?:ir_version\s*:|<\s*ir_version\s*:)"),),
            (Head(rb"\s*\{\s*\"(?:irVersion|producerName)\"\s*:"),),
        ),
    ),
    Kind(
        "is a CNTK model, which is not read",
        "export it with CNTK as ONNX",
        signs=(
            (Head(rb"B\0C\0N\0\0\0"),),
            (Head(rb"\x08\x01\x12"), Within(rb"CompositeFunction|primitive_functions")),
        ),
    ),
    Kind(
        "is a compiled model for a device, which is not read",
        "convert the checkpoint that it was made from",
        signs=((Head(rb"RKNN"),), (Head(rb"IMOD"),), (Name(r"\.(rknn|om|hef|dlc|nb|mnn)$"),)),
    ),
    Kind(
        "is a compiled library, whose weights are part of a program",
        "convert the checkpoint that it was made from",
        signs=((Head(rb"\x7fELF"),),),
    ),
    Kind(
        "is a model of Deeplearning4j, which is not read",
        "load it there, and save its parameters as .npy or in HDF5",
        signs=((Member(r"coefficients\.bin"), Member(r"configuration\.json")),),
    ),
    Kind(
        "is a file of R, which is not read",
        "save the arrays with R's RcppCNPy as .npy, or in HDF5",
        signs=((Head(rb"RD[AX]\d\n"),),),
    ),
)

_NO_CHECKPOINTS = (
    Kind(
        "is the index of a checkpoint in parts, under another name",
        "rename it to NAME.index.json, and put the parts beside it",
        signs=((Head(rb"\s*\{"), Within(rb'"weight_map"\s*:'), _NO_INDEX),),
    ),
    Kind(
        "is the name of DeepSpeed's last step, without weights",
        "name the folder that it is in",
        signs=((Name(r"^latest(_universal)?$"), Whole(rb"[\w.-]{1,80}\s*")),),
    ),
    Kind(
        "is a server's error message, not a checkpoint",
        "the download failed: look at its text, and fetch the file again",
        signs=(
            (Whole(rb"\s*\{\s*\"(?:error|errors|message|detail|msg|status|code|errorCode)\"\s*:.*\}\s*"),),
            (Head(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,200}?\?>)?\s*<Error>"),),
            (
                Whole(
                    rb"(?i)\s*(?:[45]\d\d[: ].{0,80}|(?:entry |repository |file |page )?not found.{0,80}|"
                    rb"(?:access |permission )(?:is )?denied.{0,80}|forbidden|unauthorized|"
                    rb"invalid (?:username|credentials).{0,120}|too many requests.{0,80}|rate limit.{0,80})\s*"
                ),
            ),
        ),
    ),
    Kind(
        "is JSON, not a checkpoint",
        "it may be settings or a log; the weights are in another file",
        signs=(
            (Head(rb"\s*[\[{]\s*(?:[\[{\"]|[\]}]\s*\Z)"), Name(r"(?<!\.index)\.json$")),
            (Whole(rb"\s*\{\s*\"[^\0]*\}\s*"), _NO_INDEX),
        ),
    ),
    Kind(
        "is an unfinished download",
        "let the download finish, or fetch the file again",
        signs=((Name(r"\.(part|partial|crdownload|download|aria2|incomplete|tmp\.\d+)$"),),),
    ),
    Kind(
        "begins with nothing but zeros: a download reserved its space and did not fill it",
        "fetch the file again",
        signs=((Head(rb"\0{512}"),),),
    ),
    Kind(
        "is a video, not a checkpoint",
        "to see what it shows, name a network first: convert classify NETWORK {path}",
        signs=(
            (Head(rb".{4}ftyp(?!hei|mif|msf|avi)"),),
            (Head(rb"\x1aE\xdf\xa3"),),
            (Head(rb"RIFF.{4}AVI "),),
        ),
    ),
    Kind(
        "is encrypted",
        "decrypt it first",
        signs=((Head(rb"Salted__|age-encryption\.org/"),), (Head(rb"-----BEGIN PGP MESSAGE"),)),
    ),
    Kind(
        "is compressed with zlib",
        "decompress it first",
        signs=((Head(rb"x[\x01\x9c\xda]"),),),
    ),
    Kind("is compressed with lz4", "decompress it first", signs=((Head(rb"\x04\x22M\x18"),),)),
    Kind(
        "is an archive with the checkpoint in it",
        "unpack it and name {found}",
        signs=((Member(_CHECKPOINT),),),
    ),
)

KINDS: tuple[Kind, ...] = (*_PYTORCH, *_TENSORFLOW, *_JAX_AND_OTHERS, *_FOLDERS, *_NO_CHECKPOINTS)
"""In the order in which they are tried."""
