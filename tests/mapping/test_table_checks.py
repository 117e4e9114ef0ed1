"""A slip in a table is one sentence that names file, line, key and the nearest right word, and breaks nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from converters import convert
from converters.cli.main import main
from converters.errors import ConverterError
from converters.mapping import table_files
from converters.mapping.check import all_faults, faults
from converters.mapping.expand import expand_groups
from converters.mapping.layout_tables import load_layout
from converters.mapping.network_tables import load_network
from converters.mapping.parse import Fault, TableError, line_of
from converters.mapping.readable_networks import network_errors, readable_networks
from converters.mapping.table_files import layout_names, network_names
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Slip:
    """``before`` becomes ``after`` in a table; ``key`` and ``right`` are what the sentence must have."""

    before: str
    after: str
    key: str
    right: str
    sort: str = "layouts"
    name: str = "mmaction2"


SLIPS = {
    "module": Slip('"fc{6,7}" = ', '"fcc{6,7}" = ', "modules.c3d.fcc{6,7}", "'fc6'"),
    "family": Slip("[modules.slowfast]", "[modules.slowfst]", "modules.slowfst", "'slowfast'"),
    "part": Slip(
        "in.ip-bottleneck]", "in.ip-bottlenek]", "modules.resnet3d.in.ip-bottlenek", "'ip-bottleneck'"
    ),
    "placeholder": Slip(
        'conv2.middle.conv" = "backbone.layer{s}.{b}.conv2.0"',
        'conv2.middle.conv" = "backbone.layer{s}.{bb}.conv2.0"',
        "modules.resnet3d.in.ip-bare-bottleneck.layer{s}.{b}.conv2.middle.conv",
        "'b'",
    ),
    "glob": Slip(
        '["r2plus1d-mmaction2-34"]', '["r2plus1d-mmacton2-34"]', "variants", "'r2plus1d-mmaction2-34'"
    ),
    "key": Slip('container = "mmcv"', 'contaner = "mmcv"', "contaner", "'container'"),
    "value": Slip('format = "pytorch"', 'format = "pytorh"', "format", "'pytorch'"),
    "kind": Slip(
        '"fc6" = "fc 4096 8192"', '"fc6" = "fcc 4096 8192"', "parts.dense.fc6", "'fc'", "networks", "c3d"
    ),
    "doubled name": Slip(
        '"fc{6,7}" = "backbone.fc{6,7}"', '"fc{6,7}" = "backbone.fc6"', "modules.c3d.fc{6,7}", "fc6.weight"
    ),
    "unreachable row": Slip(
        'variants = ["slowonly-r*"]\nsettings',
        'variants = ["slowonly-ava-*"]\nsettings',
        "supports[10].variants",
        "before row 9",
    ),
    "unknown setting": Slip(
        "settings = { alpha = 8 }", "settings = { alpa = 8 }", "settings.alpa", "'alpha'"
    ),
    "default of a row": Slip(
        'default_targets = ["torchvision"]',
        'default_targets = ["torchvison"]',
        "default_targets",
        "'torchvision'",
        name="gluoncv",
    ),
    "word of an order": Slip(
        'resnet3d = ["downsample"]',
        'resnet3d = ["downsampel"]',
        "order.resnet3d",
        "'downsample'",
        name="gluoncv",
    ),
    "word of a setting": Slip(
        'slow_frames = ["appended", "appended-64"]',
        'slow_frames = ["apended", "appended-64"]',
        "given.slow_frames",
        "'appended'",
        "networks",
        "slowfast",
    ),
    "wrong rank of axes": Slip(
        "/conv_3d/w D H W I O -> O I D H W",
        "/conv_3d/w H W I O -> O I H W",
        "parameters.conv.weight",
        "has 5",
        name="i3d",
    ),
}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tables, in place of the real ones."""
    folder = tmp_path / "mappings"
    shutil.copytree(REPOSITORY / "mappings", folder)
    monkeypatch.setattr(table_files, "ROOT", str(folder))
    return folder


def plant(tables: Path, slip: Slip) -> Path:
    path = tables / slip.sort / f"{slip.name}.toml"
    text = path.read_text(encoding="utf-8")
    assert slip.before in text
    path.write_text(text.replace(slip.before, slip.after, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", SLIPS)
def test_a_slip_is_one_sentence_with_file_line_key_and_the_right_word(kind, tables):
    slip = SLIPS[kind]
    path = plant(tables, slip)
    text = path.read_text(encoding="utf-8")
    (error,) = faults(slip.sort, slip.name)
    sentence = str(error)
    changed = next(
        number
        for number, (old, new) in enumerate(
            zip(text.replace(slip.after, slip.before, 1).splitlines(), text.splitlines(), strict=True), 1
        )
        if old != new
    )
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    assert f"(line {changed}, " in sentence
    assert slip.key in sentence
    assert slip.right in sentence
    load = load_layout if slip.sort == "layouts" else load_network
    with pytest.raises(TableError) as caught:
        load(slip.name)
    assert str(caught.value) == sentence


def test_the_tables_are_as_they_should_be():
    done = subprocess.run(
        [sys.executable, "-m", "converters.mapping.check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{len(layout_names())} layouts" in done.stdout
    assert all_faults() == []


@pytest.mark.parametrize("kind", [kind for kind, slip in SLIPS.items() if slip.sort == "layouts"])
def test_a_broken_layout_breaks_no_others(kind, tables, r2d, tmp_path, capsys):
    slip = SLIPS[kind]
    plant(tables, slip)
    assert main(["models"]) == 0
    assert f"{slip.name}.toml" in capsys.readouterr().err
    convert(r2d, tmp_path / "out.pth", to="vmz-pt")
    convert(tmp_path / "out.pth", tmp_path / "again.pth", to="native")
    with pytest.raises(ConverterError, match=f"{slip.name}.toml"):
        convert(r2d, tmp_path / "other.pth", to=slip.name)


NETWORK_SLIPS = {
    "kind": SLIPS["kind"],
    "part": Slip('dense = "dense"', 'dense = "dens"', "types.c3d-plain", "'dense'", "networks", "c3d"),
    "column": Slip("title =", "titel =", "variant", "'title'", "networks", "c3d"),
    "no TOML": Slip("[variant]", "[variant", "", "is not valid TOML", "networks", "c3d"),
    "doubled module": Slip('"fc7" = ', '"fc6" = ', "", "is not valid TOML", "networks", "c3d"),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("kind", "part") else pytest.mark.full)
        for kind in NETWORK_SLIPS
    ],
)
def test_a_broken_network_breaks_no_others(kind, tables, r2d, tmp_path, capsys):
    slip = NETWORK_SLIPS[kind]
    path = plant(tables, slip)
    assert main(["models"]) == 0
    printed = capsys.readouterr()
    assert "c3d-plain" not in printed.out
    assert "ir-csn-152" in printed.out
    assert f"warning: {path}: " in printed.err
    assert slip.key in printed.err
    assert slip.right in printed.err
    convert(r2d, tmp_path / "out.pth", to="vmz-pt")
    convert(tmp_path / "out.pth", tmp_path / "again.pth", to="native")


def test_a_network_that_composes_a_broken_one_is_broken_too(tables):
    path = tables / "networks" / "resnet3d.toml"
    path.write_text("[variant]\n", encoding="utf-8")
    assert readable_networks(network_names()) == [
        name for name in network_names() if name not in ("resnet3d", "audiovisual")
    ]
    assert [str(error).startswith(f"{path}: ") for error in network_errors()] == [True]


@pytest.mark.parametrize("through", ["audiovisual", "c3d"])
def test_a_network_that_composes_itself_is_broken(through, tables):
    path = tables / "networks" / "audiovisual.toml"
    text = path.read_text(encoding="utf-8").replace('network = "resnet3d"', f'network = "{through}"')
    path.write_text(text, encoding="utf-8")
    if through == "c3d":
        other = tables / "networks" / "c3d.toml"
        other.write_text(
            other.read_text(encoding="utf-8") + '[compose]\nvideo = { network = "audiovisual" }\n',
            encoding="utf-8",
        )
    assert readable_networks(network_names()) == [
        name for name in network_names() if name not in ("audiovisual", through)
    ]
    assert "(line " in str(network_errors()[0])


def test_a_broken_network_is_named_where_its_file_is_not_recognised(tables, r2d, tmp_path):
    path = tables / "networks" / "resnet3d.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[variant]", "[varient]", 1), encoding="utf-8")
    line = text[: text.index("[variant]")].count("\n") + 1
    with pytest.raises(ConverterError) as caught:
        convert(r2d, tmp_path / "out.pth", to="mmaction2")
    assert f"{path}: unknown key 'varient'" in str(caught.value)
    assert f"(line {line}, " in str(caught.value)
    assert not (tmp_path / "out.pth").exists()


def test_tables_that_refer_to_each_other_are_refused(tables):
    for name, other in (("vmz-pt", "torchvision"), ("torchvision", "vmz-pt")):
        path = tables / "layouts" / f"{name}.toml"
        path.write_text(f'models_from = "{other}"\n{path.read_text(encoding="utf-8")}', encoding="utf-8")
    with pytest.raises(TableError, match="refers back to this table"):
        load_layout("vmz-pt")


def test_groups_stand_for_several_names():
    lines = dict(expand_groups((), "{slow,fast}.conv{1,2,3}.{conv,bn}", "{,t_}{a,b,c}{,_bn}"))
    assert lines["slow.conv2.conv"] == "b"
    assert lines["fast.conv3.bn"] == "t_c_bn"
    assert len(lines) == 12
    assert dict(expand_groups((), "a.{conv,bn}", "x")) == {"a.conv": "x", "a.bn": "x"}
    assert dict(expand_groups((), "l{s}", "r{s}")) == {"l{s}": "r{s}"}
    for left, right in (("a", "{x,y}"), ("{a,b}.{conv,bn}", "{x,y}"), ("{a,b}", "{x,y,z}")):
        with pytest.raises(Fault, match="goes with"):
            list(expand_groups((), left, right))


def test_a_line_is_found_by_its_key():
    text = "a = 1\n[b]\nc = 2\n'd.e' = 3\n[[f]]\ng = 1\n[[f]]\ng = { h = 2 }\n"
    assert [
        line_of(text, key)
        for key in (
            ("a",),
            ("b",),
            ("b", "c"),
            ("b", "d.e"),
            ("f", 0, "g"),
            ("f", 1, "g", "h"),
            ("f", 1, "x"),
        )
    ] == [1, 2, 3, 4, 6, 8, 7]
