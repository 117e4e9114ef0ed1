"""Write ``tests/fixtures/onnx``: networks of VMZ as real Caffe2 exports them, by ``caffe2.python.onnx.frontend``.

Runs alone under Python 3.7 with torch 1.8.1 and onnx 1.8.1; ``scripts/README.md`` says how to make that environment.
Nothing of the project is imported: the nets are the op lists of ``tests/data/vmz-tables.json.gz``.

    python scripts/make_onnx_fixtures.py

For each network the ONNX file, for one also what it was exported from, ``predict_net.pb`` and ``init_net.pb``. All
are compressed with gzip, to a hundredth: a blob repeats few values, drawn from its name's checksum.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from caffe2.python.onnx import frontend

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLES = os.path.join(ROOT, "tests", "data", "vmz-tables.json.gz")
OUT = os.path.join(ROOT, "tests", "fixtures", "onnx")
NETWORKS = {"ir-csn-26": (1, 3, 8, 64, 64), "ip-csn-26": (1, 3, 8, 64, 64)}
RAW = ("ir-csn-26",)
PERIOD = 61


def values(name, shape):
    """A blob's values, from its name: batch norms' scales and variances around 1, weights in range over depth."""
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(PERIOD)
    if name.endswith(("_s", "_riv")):
        drawn = 1 + 0.2 * np.tanh(drawn)
    else:
        drawn *= (1.0 / np.prod(shape[1:])) ** 0.5 if name.endswith("_w") else 0.1
    size = int(np.prod(shape))
    return np.resize(drawn.astype(np.float32), size).reshape(shape)


def nets(table, clip):
    """The test net with fixed sizes, and the net that fills the blobs."""
    predict, init = core.Net(table["model"]), caffe2_pb2.NetDef(name="init")
    workspace.ResetWorkspace()
    for blob, shape in table["blobs"].items():
        array = values(blob, shape)
        workspace.FeedBlob(blob, array)
        init.op.extend(
            [core.CreateOperator("GivenTensorFill", [], [blob], shape=shape, values=array.ravel())]
        )
    workspace.FeedBlob("data", np.zeros(clip, np.float32))
    for kind, read, written, args in table["ops"]:
        args = dict(args)
        if kind in ("Conv", "SpatialBN", "MaxPool", "AveragePool"):
            args["order"] = "NCHW"
        if kind in ("SpatialBN", "Dropout"):
            args["is_test"] = 1
        if kind == "AveragePool":
            workspace.RunNetOnce(predict)
            args["kernels"] = list(workspace.FetchBlob(read[0]).shape[2:])
        predict.Proto().op.extend([core.CreateOperator(kind, read, written, **args)])
    proto = predict.Proto()
    proto.external_input.extend(["data", *table["blobs"]])
    proto.external_output.extend([table["output"]])
    return proto, init


def write(name, content):
    """The same bytes at every run."""
    with open(os.path.join(OUT, name + ".gz"), "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(content)


def main():
    os.makedirs(OUT, exist_ok=True)
    with gzip.open(TABLES, "rt", encoding="utf-8") as text:
        tables = json.load(text)
    for name, clip in NETWORKS.items():
        predict, init = nets(tables[name], clip)
        if name in RAW:  # first: the exporter gives values new names in the net itself
            write(name + ".predict_net.pb", predict.SerializeToString())
            write(name + ".init_net.pb", init.SerializeToString())
        float32 = 1  # of onnx.proto
        model = frontend.caffe2_net_to_onnx_model(predict, init, {"data": (float32, clip)})
        write(name + ".onnx", model.SerializeToString())


if __name__ == "__main__":
    main()
