"""Record what real Caffe2 computes for the VMZ networks, from seeded weights, as small ``.npz`` goldens.

Runs alone under Python 3.7 with torch 1.8.1, which holds a complete Caffe2; ``scripts/README.md`` says how to
make that environment. Nothing of the project is imported: the networks are the op lists of
``tests/data/vmz-tables.json.gz``, so that neither the project's mappings nor its PyTorch networks can agree
with a golden by sharing a mistake with it.

    python scripts/record/record_caffe2.py                       record every golden
    python scripts/record/record_caffe2.py --only r3d-18         one of them (repeatable)
    python scripts/record/record_caffe2.py --list                names, shapes, seeds; runs nothing
    python scripts/record/record_caffe2.py --check FILE.npz ...  run the same again and compare

The keys of a file and the recipe of weights and inputs are described in ``tests/goldens/caffe2/README.md``.
"""

from __future__ import annotations

import os

# One thread: the same order of additions on any number of cores. Read when the libraries load.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import gzip
import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from recording import (
    CLOSE,
    DATA,
    GOLDENS,
    check_all,
    chosen,
    command_line,
    difference,
    little_endian,
    load_npz,
    print_list,
    record_all,
    sha256,
    statistics,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = os.path.join(DATA, "vmz-tables.json.gz")
OUT = os.path.join(GOLDENS, "caffe2")
RECIPE = "vmz-golden-1"
PRODUCER = "Caffe2 of torch 1.8.1, CPU, float32, one thread; op list of the table"
LOGMELS = (100, 40)
SAMPLES = 64
DEEP = 16
"""With more residual blocks than this the last scale of each is damped by 0.1, not 0.2."""

Table = dict
"""One network of the tables: flags, blobs, ops, variants, output."""

Op = list
"""[type, inputs, outputs, args], as in the tables."""


class Spec(NamedTuple):
    """One golden: a table, the flags that depart from it, the clip and the seeds."""

    name: str
    table: str
    variant: str
    clip: tuple[int, ...]
    weight_seed: int
    input_seed: int

    def line(self) -> str:
        """What ``--list`` says of it."""
        clip = "x".join(map(str, self.clip))
        return f"{clip:16s} {self.weight_seed:5d} {self.input_seed:6d}  {self.variant}"


POOL1 = "crop_size=224,use_pool1=1"
NO_POOL1 = "crop_size=112,use_pool1=0"
SLOW_STEM = "clip_length=32,conv1_temporal_kernel=5,conv1_temporal_stride=2"

# (table, variant, tail of the file's name, clip). Odd sizes on purpose: padding and strides go wrong there.
# New rows go to the end, the seeds are counted.
NETWORKS = (
    ("r2plus1d-18", "", "", (2, 3, 8, 79, 93)),
    ("r2plus1d-18", POOL1, "_pool1", (1, 3, 8, 111, 97)),
    ("r2plus1d-18", SLOW_STEM, "_stem5", (1, 3, 16, 85, 77)),
    ("r2plus1d-34", "", "", (1, 3, 8, 91, 82)),
    ("r2plus1d-34", "", "_clip4", (2, 3, 4, 83, 95)),
    ("r2plus1d-34", "num_channels=2", "_flow", (1, 2, 16, 75, 89)),
    ("r2plus1d-34", "num_labels=487", "_487", (1, 3, 8, 101, 87)),
    ("r2plus1d-50", "", "", (1, 3, 8, 81, 95)),
    ("r2plus1d-101", "", "", (1, 3, 8, 77, 85)),
    ("r2plus1d-152", "", "", (1, 3, 16, 83, 71)),
    ("r2plus1d-152", "num_labels=359", "_359", (1, 3, 8, 73, 87)),
    ("r3d-18", "", "", (2, 3, 8, 94, 81)),
    ("r3d-18", POOL1, "_pool1", (1, 3, 16, 107, 95)),
    ("r3d-34", "", "", (1, 3, 16, 87, 79)),
    ("r3d-34", SLOW_STEM, "_stem5", (1, 3, 16, 73, 91)),
    ("r3d-101", "", "", (1, 3, 8, 81, 77)),
    ("r3d-152", "", "", (1, 3, 8, 79, 83)),
    ("ir-csn-26", "", "", (2, 3, 8, 109, 101)),
    ("ir-csn-50", "use_pool1=0", "_nopool1", (1, 3, 8, 67, 59)),
    ("ir-csn-101", "", "", (1, 3, 8, 103, 111)),
    ("ir-csn-152", "", "", (1, 3, 8, 97, 105)),
    ("ir-csn-152", "num_labels=487", "_487", (1, 3, 16, 93, 99)),
    ("ip-csn-26", "use_pool1=0", "_nopool1", (1, 3, 8, 61, 69)),
    ("ip-csn-101", "", "", (1, 3, 8, 107, 99)),
    ("ip-csn-152", "", "", (1, 3, 8, 101, 109)),
    ("ip-csn-152", "num_labels=359", "_359", (2, 3, 4, 95, 103)),
    ("mc2-18", "", "", (1, 3, 8, 85, 97)),
    ("mc3-18", "", "", (2, 3, 8, 83, 79)),
    ("mc4-18", "", "", (1, 3, 8, 89, 93)),
    ("mc5-18", "", "", (1, 3, 8, 77, 99)),
    ("rmc2-18", "", "", (1, 3, 8, 95, 83)),
    ("rmc3-18", "", "", (1, 3, 16, 81, 75)),
    ("rmc4-18", "", "", (1, 3, 8, 99, 87)),
    ("rmc5-18", "", "", (2, 3, 8, 82, 91)),
    ("r2d-18", "", "", (2, 3, 8, 93, 85)),
    ("r2d-18", "clip_length=16", "_clip16", (1, 3, 16, 87, 95)),
    ("r2df-18", "", "", (1, 3, 8, 91, 78)),
    ("c3d", "", "", (1, 3, 17, 99, 110)),
    ("c3d", "num_labels=487", "_487", (1, 3, 16, 109, 97)),
    ("a_resnet-18", "", "", (2, 1, *LOGMELS)),
    ("a_resnet-50", "", "", (1, 1, *LOGMELS)),
    ("av_resnet-r2plus1d-18", "", "", (1, 3, 8, 101, 95)),
    ("av_resnet-ir-csn-50", "", "", (2, 3, 8, 99, 107)),
    ("av_resnet-r3d-18", "g_blend=1", "_gblend", (1, 3, 8, 105, 93)),
    ("av_resnet-ip-csn-50", NO_POOL1, "_nopool1", (1, 3, 8, 63, 71)),
)


def specs() -> list[Spec]:
    """Every golden, in the order they are recorded."""
    rows = [
        Spec(table + tail, table, variant, clip, 6100 + i, 9100 + i)
        for i, (table, variant, tail, clip) in enumerate(NETWORKS)
    ]
    rows.append(Spec("demo_ir-csn-152", "ir-csn-152", "", (1, 3, 16, 112, 112), 2019, 20190))
    return rows


def read_tables(path: str) -> dict[str, Table]:
    """The op tables by name: one gzip'ed JSON object, or a folder of ``<name>.json``."""
    if os.path.isdir(path):
        tables = {}
        for file in sorted(os.listdir(path)):
            if file.endswith(".json"):
                with open(os.path.join(path, file), encoding="utf-8") as text:
                    tables[file[: -len(".json")]] = json.load(text)
        return tables
    with gzip.open(path, "rt", encoding="utf-8") as text:
        return json.load(text)


def apply_variant(table: Table, variant: str) -> Table:
    """The table with the flags of ``variant`` (a key of its ``variants``, or several joined with ``;``)."""
    out = dict(table, flags=dict(table["flags"]), blobs=dict(table["blobs"]), ops=list(table["ops"]))
    for key in filter(None, variant.split(";")):
        change = table["variants"][key]
        for item in key.split(","):
            flag, value = item.split("=")
            out["flags"][flag] = int(value)
        gone = set(change.get("blobs_gone", ()))
        out["blobs"] = {name: shape for name, shape in out["blobs"].items() if name not in gone}
        out["blobs"].update(change.get("blobs_changed", {}))
        ops = [op for op in out["ops"] if not gone.intersection(op[1])]
        for op in change.get("ops_changed", ()):
            _place(ops, op)
        labels = out["flags"]["num_labels"]
        out["output"] = f"last_out_L{labels}"
        out["ops"] = _without_dead(ops, out["blobs"], out["flags"])
    return out


def _place(ops: list[Op], new: Op) -> None:
    """Put an op in the place of the one with the same output, else right after what it reads."""
    for i, op in enumerate(ops):
        if op[2][0] == new[2][0] and op[0] != "Relu":
            ops[i] = new
            return
    at = 0
    for i, op in enumerate(ops):
        if set(op[2]).intersection(new[1]):
            at = i + 1
    ops.insert(at, new)


def _without_dead(ops: list[Op], blobs: dict[str, list[int]], flags: dict[str, int]) -> list[Op]:
    """Leave out what no logits depend on any more (the stem's pool without ``use_pool1``)."""
    needed = {"last_out_L{}".format(flags["num_labels"])}
    if flags.get("g_blend"):
        needed |= {"a_" + name for name in needed} | {"v_" + name for name in needed}
    kept = []
    for op in reversed(ops):
        if needed.intersection(op[2]):
            needed.update(op[1])
            kept.append(op)
    missing = set(blobs) - needed
    if missing:
        raise SystemExit(f"record_caffe2: blobs that no op reads: {sorted(missing)}")
    return kept[::-1]


def damping(names: list[str]) -> dict[str, float]:
    """Scale blobs of the last batch norm of each residual block, and the factor each is damped with."""
    last: dict[tuple[str, int], int] = {}
    for name in names:
        found = re.match(r"((?:[av]_)?)comp_(\d+)_spatbn_(\d+)_s$", name)
        if found:
            block = (found.group(1), int(found.group(2)))
            last[block] = max(last.get(block, 0), int(found.group(3)))
    factor = 0.1 if len(last) > DEEP else 0.2
    return {f"{prefix}comp_{b}_spatbn_{j}_s": factor for (prefix, b), j in last.items()}


def weights(blobs: dict[str, list[int]], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Every blob with its float32 values, in sorted name order, all from one stream (recipe vmz-golden-1)."""
    stream = np.random.RandomState(seed)
    damp = damping(list(blobs))
    for name in sorted(blobs):
        shape = tuple(blobs[name])
        if name.endswith("_w"):
            gain = 1.0 if len(shape) == 2 else 2.0
            value = stream.standard_normal(shape) * np.sqrt(gain / np.prod(shape[1:]))
        elif name.endswith("_riv"):
            value = stream.uniform(0.5, 1.5, shape)
        elif name.endswith("_s"):
            value = stream.uniform(0.5, 1.5, shape) * damp.get(name, 1.0)
        elif name.endswith(("_b", "_rm")):
            value = stream.standard_normal(shape) * 0.1
        else:
            raise SystemExit("record_caffe2: a blob of no known kind: " + name)
        yield name, value.astype(np.float32)


def inputs(spec: Spec, ops: list[Op]) -> dict[str, np.ndarray]:
    """The network's inputs: ``data``, and where an op reads them ``logmels``, the next draw of the stream."""
    stream = np.random.RandomState(spec.input_seed)
    values = {"data": stream.standard_normal(spec.clip).astype(np.float32)}
    if any("logmels" in op[1] for op in ops):
        values["logmels"] = stream.standard_normal((spec.clip[0], 1, *LOGMELS)).astype(np.float32)
    return values


def is_block(op: Op, output: str) -> bool:
    """Whether the golden holds this op's output: stems, residual sums, pools, hidden and further heads."""
    kind, read, (name, *_), args = op
    if kind in ("Sum", "AveragePool"):
        return True
    if kind == "FC":
        return name != output
    if kind == "MaxPool":
        return "pads" not in args  # the stem's pool is the only padded one
    if kind == "Conv":
        return len(read) == 3 and name.endswith("conv1")  # the audio stem, a bare convolution
    return kind == "SpatialBN" and name.endswith("conv1_spatbn_relu")


def run_caffe2(table: Table, values: dict[str, np.ndarray], seed: int) -> str:
    """Run the op list in real Caffe2, in one workspace, and leave all blobs there.

    The final average pool gets the size of what is left at it as its kernel. Returns the weights' sha256.
    """
    from caffe2.python import core, workspace

    workspace.ResetWorkspace()
    for name, value in values.items():
        workspace.FeedBlob(name, value)
    digest = hashlib.sha256()
    for name, value in weights(table["blobs"], seed):
        digest.update(name.encode("ascii") + b"\0" + little_endian(value))
        workspace.FeedBlob(name, value)
    net = core.Net("part")
    for kind, read, written, args in table["ops"]:
        args = dict(args)
        if kind in ("Conv", "SpatialBN", "MaxPool", "AveragePool"):
            args["order"] = "NCHW"
        if kind in ("SpatialBN", "Dropout"):
            args["is_test"] = 1
        if kind == "AveragePool":
            workspace.RunNetOnce(net)
            net = core.Net("part")
            args["kernels"] = list(workspace.FetchBlob(read[0]).shape[2:])
        net.Proto().op.extend([core.CreateOperator(kind, read, written, **args)])
    workspace.RunNetOnce(net)
    return digest.hexdigest()


def sample(shape: tuple[int, ...]) -> np.ndarray:
    """Sorted positions in a flattened blob, a function of its size alone: equal rows compress away."""
    size = int(np.prod(shape))
    return np.sort(np.random.RandomState(size).randint(0, size, SAMPLES)).astype(np.int32)


def record(spec: Spec, tables: dict[str, Table], index: np.ndarray | None = None) -> dict[str, Any]:
    """Run one network and return its golden, key by key. ``index`` overrides the positions of the samples."""
    from caffe2.python import workspace

    table = apply_variant(tables[spec.table], spec.variant)
    values = inputs(spec, table["ops"])
    weights_sha256 = run_caffe2(table, values, spec.weight_seed)
    golden: dict[str, Any] = {
        "recipe": RECIPE,
        "producer": PRODUCER,
        "table": spec.table,
        "model": table["model"],
        "depth": table["depth"],
        "flags": json.dumps(dict(table["flags"], clip_length=_frames(table, spec)), sort_keys=True),
        "variant": spec.variant,
        "weight_seed": spec.weight_seed,
        "input_seed": spec.input_seed,
        "input_shape": np.array(spec.clip, np.int64),
        "output": table["output"],
        "weights_sha256": weights_sha256,
        "input_sha256": sha256(values["data"]),
        "logits": workspace.FetchBlob(table["output"]),
    }
    if "logmels" in values:
        golden["logmels_shape"] = np.array(values["logmels"].shape, np.int64)
        golden["logmels_sha256"] = sha256(values["logmels"])
    golden.update(blocks([op[2][0] for op in table["ops"] if is_block(op, table["output"])], index))
    workspace.ResetWorkspace()
    return golden


def _frames(table: Table, spec: Spec) -> int:
    return spec.clip[2] if len(spec.clip) == 5 else table["flags"]["clip_length"]


def blocks(names: list[str], index: np.ndarray | None) -> dict[str, Any]:
    """Shapes, statistics and samples of the named blobs of the workspace."""
    from caffe2.python import workspace

    shapes, stats, places, picked = [], [], [], []
    for i, name in enumerate(names):
        blob = workspace.FetchBlob(name)
        shapes.append(list(blob.shape))
        stats.append(statistics(blob))
        places.append(sample(blob.shape) if index is None else index[i])
        picked.append(blob.ravel()[places[-1]])
    return {
        "blocks": np.array(names),
        "block_shapes": json.dumps(shapes),
        "block_stats": np.array(stats, np.float64),
        "block_index": np.stack(places),
        "block_values": np.stack(picked).astype(np.float32),
    }


def check(path: str, tables: dict[str, Table]) -> bool:
    """Record again what a golden holds and print how far the two are apart. False where they differ.

    Takes any file of recipe ``vmz-golden-1``, also one recorded by someone else from VMZ's own builders.
    """
    want = load_npz(path)
    name = os.path.basename(str(want["table"]))
    spec = Spec(
        os.path.basename(path),
        name[: -len(".json")] if name.endswith(".json") else name,
        str(want.get("variant", "")),
        tuple(int(n) for n in want["input_shape"]),
        int(want["weight_seed"]),
        int(want["input_seed"]),
    )
    got = record(spec, tables, want["block_index"])
    exact = ["output", "block_shapes", "weights_sha256", "input_sha256"]
    exact += [key for key in ("logmels_sha256",) if key in want]
    faults = [key for key in exact if str(got[key]) != str(want[key])]
    if list(got["blocks"]) != list(want["blocks"]):
        faults.append("blocks")
    if faults:
        print(f"{spec.name:30s} DIFFERS in {', '.join(faults)}")
        return False
    peak = np.abs(want["block_stats"][:, 2:4]).max(axis=1, keepdims=True)
    logits = difference(got["logits"], want["logits"], np.abs(want["logits"]).max())
    stats = difference(got["block_stats"], want["block_stats"], want["block_stats"][:, 4:])
    values = difference(got["block_values"], want["block_values"], peak)
    same = max(logits, stats, values) <= CLOSE
    verdict = "same" if same else "DIFFERS"
    print(f"{spec.name:30s} logits {logits:.1e}  statistics {stats:.1e}  samples {values:.1e}  {verdict}")
    return same


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, OUT)
    parser.add_argument("--tables", default=TABLES, help="op tables: a .json.gz, or a folder of .json files")
    options = parser.parse_args()
    known = {spec.name: spec for spec in specs()}
    names = chosen(parser, options, known)
    if options.list:
        return print_list({name: spec.line() for name, spec in known.items()}, names)
    tables = read_tables(options.tables)

    from caffe2.python import workspace

    workspace.GlobalInit(["caffe2", "--caffe2_log_level=3"])
    if options.check:
        return check_all(options.check, lambda path: check(path, tables))
    return record_all(names, lambda name: record(known[name], tables), options.out)


if __name__ == "__main__":
    sys.exit(main())
