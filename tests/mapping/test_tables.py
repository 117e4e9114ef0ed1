"""One test over every mapping: each table is a bijection, covers the real names, and comes back exactly."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.conversion.plan import make_plan
from converters.conversion.provenance import (
    alternative_names,
    describe_origin,
    read_original,
    restore_data,
    undo_operations,
)
from converters.conversion.row import Undo
from converters.errors import Refused
from converters.files import CHUNK
from converters.inspection.support_table import holding_layouts, support_table
from converters.mapping import table_files
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.names import CannotHold, families, left_out, tensor_slots
from converters.mapping.network_info import network_info
from converters.mapping.network_tables import load_network
from converters.mapping.parse import TableError
from converters.mapping.storage import DIVISOR, parse_stored
from converters.mapping.table_files import layout_names, network_names
from converters.mapping.tensor_counts import TensorCounter
from converters.mapping.variants import (
    config,
    is_detector,
    modules,
    multiply_adds,
    own_eps,
    shapes,
    variants,
)
from converters.networks import NetworkSpec, build
from converters.tensor import Tensor
from tests.helpers import canonical_names, layout_weights, selection
from tests.helpers.multiply_adds import count_macs
from tests.helpers.paths import REPOSITORY
from tests.helpers.upstream_tables import vmz_tables

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = [table for table in map(load_layout, layout_names()) if table.format != "pytorch"]
SIZES = {"classes": 359, "channels": 3, "activities": 358, "offsets": 716}
AVA_CLASSES = 80


def sizes_of(one) -> dict[str, int]:
    return {
        **SIZES,
        "classes": AVA_CLASSES if is_detector(one) else SIZES["classes"],
        **{name: one.values.get(name, [3])[0] for name in ("stem_t", "lateral_t")},
    }


def every_variant():
    return [one for family in network_names() for one in variants(family)]


def every_mapping():
    """Every layout with every variant that it says it holds."""
    for name in layout_names():
        layout = load_layout(name)
        for family in families(layout):
            for one in variants(family):
                if not layout.support_for(one.name).unsupported:
                    yield pytest.param(layout, one, id=f"{name}-{one.name}")


@dataclass(frozen=True)
class Constant:
    """Data that says which tensor it is, without taking memory."""

    value: bytes
    times: int

    def chunks(self):
        for start in range(0, self.times * 4, CHUNK):
            yield memoryview(self.value * (min(CHUNK, self.times * 4 - start) // 4))


def file_of(layout, one, *, optional: bool = False) -> dict[str, Tensor]:
    """A file's tensors as ``layout`` names them, each filled with a value of its own."""
    sizes = sizes_of(one)
    present = dict.fromkeys(("blending",), optional)
    out = {}
    numbers: dict[str, int] = {}
    for entry in tensor_slots(layout, one, sizes, present):
        number = numbers.setdefault(entry.canonical, len(numbers) + 1)
        if not entry.name:
            continue
        canonical = tuple(size if isinstance(size, int) else sizes[size] for size in entry.shape)
        shape = entry.stored.full(entry.stored.bare(canonical))
        value = np.float32(number if entry.leaf != "running_var" else number * 1e-5).tobytes()
        out[entry.name] = Tensor(entry.name, "float32", shape, Constant(value, int(np.prod(shape))))
    return out


@pytest.mark.parametrize(
    ("layout", "one"),
    selection.one_of_each(
        every_mapping(),
        lambda layout, one: {(layout.name, kind) for kind in selection.kinds(one)},
        lambda layout, one: selection.parameters_of(one.name),
    ),
)
def test_every_mapping_is_a_bijection_and_comes_back_exactly(layout, one):
    sizes, present = sizes_of(one), {"blending": False}
    rows = [row for row in tensor_slots(layout, one, sizes, present) if row.leaf != DIVISOR]
    assert max(Counter(row.name for row in rows if row.name).values()) == 1
    further = layout.further_names(one.name)
    own = [row for row in rows if further is None or further.first(row.name) == row.name]
    assert max(Counter(row.canonical for row in own).values()) == 1
    assert {row.canonical for row in own} == {row.canonical for row in rows}
    expected = {
        f"{module.name}.{leaf}": shape
        for module in modules(one)
        if not module.optional
        for leaf, shape in shapes(module, sizes)
    }
    assert {row.canonical for row in rows} == set(expected)
    stored = [row.name for row in tensor_slots(layout, one, sizes, present) if row.name]
    assert len(further.firsts(stored) if further else stored) == TensorCounter(layout).count(one)

    named = (table for table in FOREIGN if one.family in table.modules)
    source = next(
        (
            table
            for table in named
            if not layout_weights.fixes_other_settings(table, layout, one)
            and not layout_weights.fixes_other_settings(layout, table, one)
        ),
        layout,
    )
    if layout in FOREIGN or source.support_for(one.name).unsupported or left_out(layout, one):
        source = layout
    tensors = file_of(source, one)
    there = match_file(source, tensors, variant=one.name if is_detector(one) else None)
    if there.variant.name != one.name:  # names and shapes are those of several networks
        assert one.name in (*there.choices, *there.also)
        there = match_file(source, tensors, variant=one.name)
    info = network_info(there, None)
    of_layout = own_eps(layout, one)
    eps = info.bn_eps if of_layout is None else of_layout
    plan = make_plan(there, tensors, layout, info, eps=eps)
    read = Counter(row.source for row in plan.rows if row.source is not None)
    divisors = {row.divisor.name for row in plan.rows if row.divisor}
    second = {other for _, other in plan.equal}
    times = Counter(row.canonical for row in rows if row.name)
    canonical = {there.file_name(slot): slot.canonical for slot in there.slots if slot.name}
    assert read + Counter(divisors) == Counter(
        {name: times.get(canonical[name], 1) for name in tensors if name not in second}
    )
    middle = {row.target: row.tensor(tensors) for row in plan.rows}
    assert len(middle) == len(plan.rows)
    record = {
        "restore": restore_data(plan, tensors),
        "origin": describe_origin(there, tensors, plan, info.bn_eps, {}, None),
        "network": {"settings": {"bn_eps": eps}},
    }

    back = match_file(layout, middle, variant=one.name)
    undo = undo_operations(record, middle)
    own = network_info(back, None)
    plan_back = make_plan(
        back,
        middle,
        source,
        info if undo or layout.identity else own,  # a record tells native the source's settings
        eps=info.bn_eps,
        undo=Undo(undo, own.settings),
        original=read_original(record, source.name),
    )
    again = {row.target: row.tensor(middle) for row in plan_back.rows if row.dtype != "int64"}
    assert set(again) == set(tensors)
    for name, tensor in tensors.items():
        assert (again[name].shape, again[name].dtype) == (tensor.shape, tensor.dtype)
        assert next(again[name].data.chunks()) == next(tensor.data.chunks()), name


@pytest.mark.parametrize(
    "name",
    selection.one_of_each(sorted(vmz_tables()), selection.kinds_by_name, selection.parameters_of),
)
def test_vmz_covers_the_real_blobs(name):
    """Names, shapes and meaning equal those of the nets that VMZ's own builders make, in every variant."""
    table = vmz_tables()[name]
    for made in (table, *(table.variant(change) for change in table.variants)):
        tensors = {
            blob: Tensor(blob, "float32", shape, Constant(b"\0" * 4, 0)) for blob, shape in made.blobs.items()
        }
        found = match_file(load_layout("vmz"), tensors)
        assert found.variant.name == name
        assert found.sizes["classes"] == made.flags["num_labels"]
        assert {entry.name: entry.canonical for entry in found.slots} == canonical_names.vmz_names(made)


def test_layouts_refuse_what_they_cannot_hold():
    table = vmz_tables()["r2plus1d-34"]
    tensors = {blob: Tensor(blob, "float32", shape, Constant(b"", 0)) for blob, shape in table.blobs.items()}
    found = match_file(load_layout("vmz"), tensors)
    info = network_info(found, None)
    for target, reason in (("mmaction2", "83 middle channels"), ("torchvision", "depth 18")):
        with pytest.raises(Refused, match=reason):
            make_plan(found, tensors, load_layout(target), info, eps=1e-3)


ALONE = {
    "r2plus1d-mmaction2-34": "mmaction2",
    "r2plus1d-pytorchvideo-50": "pytorchvideo",
    "ip-csn-mmaction-152": "mmaction",
    "ip-csn-mmaction2-152": "mmaction2",
    "ssn-bn-inception": "mmaction",
}


@pytest.mark.parametrize("name", selection.first_of(ALONE))
def test_what_one_project_alone_builds_goes_nowhere_else(name):
    (one,) = (one for one in every_variant() if one.name == name)
    layouts, refusing = holding_layouts(one)
    assert set(layouts) == {ALONE[name], "native"}
    assert all(refusing.values())
    (support,) = (row for row in support_table() if row.variant == name)
    assert support.sources == ()
    layout = load_layout(ALONE[name])
    tensors = file_of(layout, one)
    found = match_file(layout, tensors)
    for other in refusing:
        with pytest.raises(Refused, match=r"cannot hold|has no"):
            make_plan(found, tensors, load_layout(other), network_info(found, None), eps=1e-3)


@pytest.mark.parametrize(
    "one",
    selection.one_of_each(every_variant(), selection.kinds, lambda one: selection.parameters_of(one.name)),
    ids=lambda one: one.name,
)
def test_networks_have_the_tables_tensors(one):
    """The reference network of every variant has exactly the canonical names and shapes, and our count of its
    multiply-adds is that of its convolutions and matrices as they run."""
    sizes = sizes_of(one)
    optional = {name for module in modules(one) if module.optional for name in (module.name,)}
    wanted = {
        f"{module.name}.{leaf}": shape
        for module in modules(one)
        if module.name not in optional
        for leaf, shape in shapes(module, sizes)
    }
    model = build(NetworkSpec(one.family, one.name, wanted, {**config(one), "bn_eps": 1e-3}))
    state = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert state == wanted
    assert list(state) == list(wanted)
    clip = (sizes["stem_t"], 64, 64) if one.values.get("stem_spans_clip") else (16, 64, 64)
    if one.family in ("c3d", "c3d_bn"):
        clip = (16, 112, 112)
    if one.family == "resnet2d_audio":
        clip = (100, 40)
    if one.family == "i3d":
        clip = (16, 224, 224)
    if one.family == "inception_v3":
        clip = (1 if one.name.startswith("tsn") else 9, 299, 307)
    if one.family in ("bn_inception", "resnet2d", "resnet_vd", "tsm", "inception_v1", "vgg"):  # a frame's
        clip = (9 if one.name.startswith("ssn") else 1, 224, 224)
    shape = (1, 3 if len(clip) == 3 else 1, *clip)
    inputs = (shape, (1, 1, 100, 40)) if one.family == "audiovisual" else (shape,)
    if not is_detector(one):  # detectors take regions
        assert multiply_adds(one, sizes, clip) == count_macs(model, *inputs)


def test_middle_channels_follow_the_formula():
    """floor(27 in out / (9 in + 3 out)) of each factorised convolution: Tran et al. 2018, section 3.5."""
    for one in variants("resnet3d"):
        if one.values["type"] != "r2plus1d":
            continue
        found = {module.name: module.shape for module in modules(one) if module.kind == "conv"}
        for name, shape in found.items():
            if not name.endswith("middle.conv") or name.startswith("stem"):
                continue
            middle, before = shape[0], shape[1]
            after = found[name.replace("middle.conv", "conv")][0]
            assert middle == 27 * before * after // (9 * before + 3 * after)


def faulty():
    table = vmz_tables()["r3d-18"]
    return {
        blob: Tensor(blob, "float32", shape, Constant(b"\0" * 4, 0)) for blob, shape in table.blobs.items()
    }


def test_all_faults_are_reported_at_once_with_the_nearest_name():
    tensors = faulty()
    del tensors["comp_3_conv_2_w"]
    tensors["comp_3_conv_2_v"] = Tensor("comp_3_conv_2_v", "float32", (128, 128, 3, 3, 3), Constant(b"", 0))
    tensors["comp_4_conv_1_w"] = Tensor("comp_4_conv_1_w", "float32", (256, 128, 3, 3, 1), Constant(b"", 0))
    tensors["comp_5_spatbn_1_s"] = Tensor("comp_5_spatbn_1_s", "int64", (256,), Constant(b"", 0))
    with pytest.raises(Refused, match=r"R3D-18") as caught:
        match_file(load_layout("vmz"), tensors, path="x.pkl")
    faults = caught.value.faults
    assert "missing: comp_3_conv_2_w (nearest: comp_3_conv_2_v)" in faults
    assert "unused: comp_3_conv_2_v (nearest: comp_3_conv_2_w)" in faults
    assert "shape: comp_4_conv_1_w (256x128x3x3x1, wanted 256x128x3x3x3)" in faults
    assert "dtype: comp_5_spatbn_1_s (int64, but must be of a floating-point type)" in faults
    assert len(faults) == 4
    assert caught.value.exit_code == 1


def test_class_number_in_the_name_must_agree_with_the_weight():
    tensors = faulty()
    tensors["last_out_L400_w"] = Tensor("last_out_L400_w", "float32", (399, 512), Constant(b"", 0))
    with pytest.raises(Refused) as caught:
        match_file(load_layout("vmz"), tensors)
    assert "shape: last_out_L400_w (399x512, wanted 400x512)" in caught.value.faults


def test_a_foreign_network_is_refused_as_such():
    tensors = {f"blob{i}": Tensor(f"blob{i}", "float32", (2, 2), Constant(b"", 0)) for i in range(40)}
    with pytest.raises(Refused, match="not a video network that VMZ"):
        match_file(load_layout("vmz"), tensors)
    with pytest.raises(Refused, match="not a video network that VMZ"):
        match_file(load_layout("vmz"), {})


def test_scopes_and_solver_state():
    tensors = {f"gpu_0/{name}": tensor for name, tensor in faulty().items()}
    momentum = {f"{name}_momentum": tensor for name, tensor in tensors.items()}
    found = match_file(load_layout("vmz"), {**tensors, **momentum}, ["lr", "gpu_0/model_iter"])
    assert found.prefix == "gpu_0/"
    assert set(found.dropped) == {*momentum, "lr", "gpu_0/model_iter"}
    with pytest.raises(Refused) as caught:  # a weight outside the scope is not taken for one inside
        match_file(load_layout("vmz"), {**tensors, "conv1_w": faulty()["conv1_w"]})
    assert any(fault.startswith("unused: conv1_w") for fault in caught.value.faults)
    with pytest.raises(Refused) as caught:
        match_file(load_layout("vmz"), tensors, ["epoch"])
    assert any(fault.startswith("unused: epoch") for fault in caught.value.faults)


def test_variances_that_would_turn_negative_are_refused():
    layout = load_layout("torchvision")
    one = next(one for one in variants("resnet3d") if one.name == "r3d-18")
    tensors = file_of(layout, one)
    found = match_file(layout, tensors)
    info = network_info(found, None)
    assert info.bn_eps == 1e-5
    plan = make_plan(found, tensors, load_layout("vmz-pt"), info, eps=1e-3)
    with pytest.raises(Refused, match="negative"):
        [row.tensor(tensors).tobytes() for row in plan.rows if row.operations]


def test_rounding_is_recorded_where_a_variance_is_small():
    one = next(one for one in variants("resnet3d") if one.name == "r3d-18")
    vmz = load_layout("vmz")
    tensors = file_of(vmz, one)
    found = match_file(vmz, tensors)
    plan = make_plan(found, tensors, load_layout("torchvision"), network_info(found, None), eps=1e-5)
    kept = restore_data(plan, tensors)["variance"]
    assert kept["shift"] == 1e-3 - 1e-5
    assert kept["steps"]  # a variance of 1e-5 loses bits to the shift
    for name, text in kept["steps"].items():
        size = next(row for row in plan.rows if row.target == name).shape[0]
        assert len(zlib.decompress(base64.b85decode(text))) == size * 4


BROKEN = {
    "an unknown word": ("family = 'bad'", "famly = 1\nfamily = 'bad'"),
    "a key twice": ("family = 'bad'", "family = 'bad'\nfamily = 'bad'"),
    "an unknown kind": ("conv 4 3", "convolution 4 3"),
    "a size of zero": ("conv 4 3", "conv 0 3"),
    "no shape": ("conv 4 3", "conv"),
    "a depth without a row": ("depths = [18]", "depths = [18, 19]"),
    "a condition on no part": ("stem = { projected = 1 }", "steem = { projected = 1 }"),
    "a name that is not the file's": ("family = 'bad'", "family = 'good'"),
}
GOOD = """
family = 'bad'
[depths]
18 = {}
[types]
a = { title = 'A', depths = [18] }
[variant]
name = '{type}-{depth}'
parts = ['stem']
[parts.stem]
'stem' = 'conv 4 3'
[where]
stem = { projected = 1 }
"""


def table(folder: Path, monkeypatch: pytest.MonkeyPatch, sort: str, text: str) -> None:
    """A folder with one table, called bad."""
    (folder / sort).mkdir(parents=True)
    if sort == "layouts":
        (folder / "networks").symlink_to(REPOSITORY / "mappings" / "networks")
    (folder / sort / "bad.toml").write_text(text)
    monkeypatch.setattr(table_files, "ROOT", str(folder))


@pytest.mark.parametrize("fault", BROKEN)
def test_tables_that_break_the_grammar_are_refused(fault, tmp_path, monkeypatch):
    table(tmp_path / "good", monkeypatch, "networks", GOOD)
    load_network("bad")
    before, after = BROKEN[fault]
    assert before in GOOD
    table(tmp_path / "bad", monkeypatch, "networks", GOOD.replace(before, after))
    with pytest.raises(TableError):
        load_network("bad")


def test_layouts_without_a_module_cannot_hold_it():
    ip = next(one for one in variants("resnet3d") if one.name == "ip-csn-50")
    torchvision = load_layout("torchvision")
    assert torchvision.support_for("ip-csn-50").unsupported
    with pytest.raises(CannotHold, match=r"conv2\.middle"):
        list(tensor_slots(torchvision, ip, sizes_of(ip), {}))


GOOD_LAYOUT = """
title = 'Good'
format = 'caffe'
prefixes = ['', '*/']
[parameters]
conv = { weight = '/0', bias = '/1 1* C -> C' }
bn = { weight = '/0 1 C 1* -> C', bias = '/1', running_mean = '/2', running_var = '/3' }
fc = { weight = '/0 1* O I -> O I', bias = '/1' }
[modules.c3d]
'fc6' = ['fc6', 'fc6-1']
[[supports]]
variants = ['*']
unsupported = 'it has one layer'
"""
BROKEN_LAYOUT = {
    "one name in a list": ("['fc6', 'fc6-1']", "['fc6']"),
    "a name twice": ("['fc6', 'fc6-1']", "['fc6', 'fc6']"),
    "a placeholder among several names": ("'fc6-1'", "'fc{n}'"),
    "a name that is none": ("'fc6-1'", "6"),
    "a star within a prefix": ("'*/'", "'a/*/'"),
    "another layout that is none": ("title =", "models_from = 'bad'\ntitle ="),
    "ones between axes": ("1* O I -> O I", "O 1 I -> O I"),
    "two divisors": ("'/2', running_var = '/3'", "'/2 over /4', running_var = '/3 over /5'"),
    "no divisor": ("'/3'", "'/3 over '"),
    "any number of ones twice": ("1* C -> C", "1* 1* C -> C"),
    "an axis that is not there": ("1* O I -> O I", "1* O I -> O I K"),
}


@pytest.mark.parametrize("fault", BROKEN_LAYOUT)
def test_layouts_that_break_the_grammar_are_refused(fault, tmp_path, monkeypatch):
    table(tmp_path / "good", monkeypatch, "layouts", GOOD_LAYOUT)
    load_layout("bad")
    before, after = BROKEN_LAYOUT[fault]
    assert before in GOOD_LAYOUT
    table(tmp_path / "bad", monkeypatch, "layouts", GOOD_LAYOUT.replace(before, after))
    with pytest.raises(TableError):
        load_layout("bad")


@pytest.mark.parametrize(
    ("leaf", "shape", "rank", "plain"),
    [
        ("vector", (7,), 1, (7,)),
        ("vector", (1, 1, 7), 1, (7,)),
        ("vector", (7, 1), 1, None),
        ("vector", (1,), 1, (1,)),
        ("norm", (1, 7), 1, (7,)),
        ("norm", (1, 7, 1, 1), 1, (7,)),
        ("norm", (1, 1, 1, 1), 1, (1,)),
        ("norm", (7,), 1, None),
        ("norm", (1, 1, 7), 1, None),
        ("five", (1, 1, 1, 1, 7), 1, (7,)),
        ("five", (7,), 1, None),
        ("perhaps", (1, 1, 1, 1, 7), 1, (7,)),
        ("perhaps", (1, 1, 7), 1, (7,)),
        ("perhaps", (7,), 1, (7,)),
        ("perhaps", (1, 1, 1, 1, 1, 7), 1, None),
        ("perhaps", (7, 1), 1, None),
        ("matrix", (1, 1, 4, 7), 2, (4, 7)),
        ("matrix", (2, 1, 4, 7), 2, None),
        ("matrix", (7,), 2, None),
    ],
)
def test_further_axes_of_size_one(leaf, shape, rank, plain):
    text = {
        "vector": "/1 1* C -> C",
        "norm": "/1 1 C 1* -> C",
        "five": "/1 1 1 1 1 C -> C",
        "perhaps": "/1 1? 1? 1? 1? C -> C",
        "matrix": "/0 1* O I -> O I",
    }[leaf]
    parsed = parse_stored(text, 1e-5)
    assert parsed.plain(shape, rank) == plain
    written = {
        "vector": (7,),
        "norm": (1, 7),
        "five": (1, 1, 1, 1, 7),
        "perhaps": (1, 1, 1, 1, 7),
        "matrix": (4, 7),
    }[leaf]
    assert parsed.full((4, 7) if leaf == "matrix" else (7,)) == written


def chainer_file(*prefixes: str) -> dict[str, Tensor]:
    layout = load_layout("c3d-chainer")
    one = next(one for one in variants("c3d") if one.name == "c3d-plain")
    tensors = file_of(layout, one)
    return {prefix + name: tensor for prefix in prefixes for name, tensor in tensors.items()}


def test_any_prefix_is_a_scope_but_only_one():
    layout = load_layout("c3d-chainer")
    for prefix in ("", "predictor/", "updater/model:main/predictor/", "0/"):
        assert match_file(layout, chainer_file(prefix)).prefix == prefix
    with pytest.raises(Refused) as caught:
        match_file(layout, chainer_file("a/", "b/"))
    assert sum(fault.startswith("unused: b/") for fault in caught.value.faults) == 22


def test_each_module_has_the_name_that_the_file_has():
    layout = load_layout("c3d")
    one = next(one for one in variants("c3d") if one.name == "c3d-plain")
    tensors = file_of(layout, one)
    for renamed in ((), ("fc6",), ("fc6", "fc7", "fc8"), ("fc8",)):
        names = {
            name.replace("/", "-1/") if name.split("/")[0] in renamed else name: tensor
            for name, tensor in tensors.items()
        }
        names = {name: tensor._replace(name=name) for name, tensor in names.items()}
        there = match_file(layout, names)
        assert {entry.name for entry in there.slots} == set(names)
        keys = {"fc8": "head"}
        assert alternative_names(there) == {keys.get(name, name): f"{name}-1" for name in renamed}
        target = load_layout("mmaction")
        plan = make_plan(there, names, target, network_info(there, None), eps=1e-5)
        middle = {row.target: row.tensor(names) for row in plan.rows}
        record = {"origin": describe_origin(there, names, plan, 1e-5, {}, None)}
        back = match_file(target, middle)
        again = make_plan(
            back, middle, layout, network_info(back, None), eps=1e-5, original=read_original(record, "c3d")
        )
        assert {row.target for row in again.rows} == set(names)
    lying = {"origin": {**record["origin"], "names": {"fc6": "../fc6", "head": "fc8-1"}}}
    again = make_plan(
        back, middle, layout, network_info(back, None), eps=1e-5, original=read_original(lying, "c3d")
    )
    assert {"fc6/0", "fc7/0", "fc8-1/0"} <= {row.target for row in again.rows}
