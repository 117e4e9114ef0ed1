"""The support table: it follows from the tables, and every file of the zoos is in it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from converters.mapping.layout_tables import load_layout
from converters.mapping.releases import releases
from tests.helpers.paths import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "support.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("support_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script):
    assert script.SUPPORT.read_text(encoding="utf-8") == script.text(), "run make reference"


NOT_SAID = ("sports1m_audioset_ip_csn_152.pkl", "ig_audioset_ip_csn_152.pkl")
"""Files of VMZ whose page does not say whether they hold the audio half."""


def test_every_file_of_the_zoos_is_there_and_supported(script):
    page = script.SUPPORT.read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for file in releases():
        cells = rows[file.file].split(" | ")
        if file.why_not:
            assert cells[-1] == f"none: {file.why_not} |"
            continue
        without = file.file in NOT_SAID
        assert without or cells[-1].startswith(("exact: ", "eps: ", "settings: ", "differs: ")), file.file
        assert without or f"`{file.network}`" in cells[1]
        assert cells[6].startswith(f"`{file.layout}`")


def test_the_page_says_what_was_measured(script):
    """A cell in full, for each kind of answer."""
    known = script.networks()
    tables = [
        load_layout(name) for name in ("mmaction", "mmaction2", "pytorchvideo", "torchvision", "vmz-pt")
    ]

    def cell(variant: str, source: str) -> str:
        return script.layouts_cell(known.get(variant), load_layout(source), tables)

    assert cell("ir-csn-152", "vmz") == "exact: `mmaction`, `mmaction2`, `vmz-pt`; eps: `pytorchvideo`"
    assert cell("r2plus1d-34", "vmz") == "exact: `vmz-pt`; settings: `mmaction`"
    assert cell("c3d-plain", "mmaction") == "differs: `mmaction2`"
    assert cell("c3d-plain", "mmaction2") == "differs: `mmaction`"
    assert cell("r3d-18", "vmz") == "exact: `mmaction`, `vmz-pt`; eps: `torchvision`"
    assert cell("no-such-network", "vmz") == "-"
    assert cell("x3d-m", "slowfast") == "settings: `mmaction2`; partly: `pytorchvideo`"
    tables = [load_layout(name) for name in ("detectron", "native", "nonlocal-affine")]
    assert cell("i3d-r50", "nonlocal") == "exact: `native`; partly: `nonlocal-affine`"
    assert cell("i3d-r50", "nonlocal-affine") == "exact: `native`"
    assert cell("resnet2d-50", "torchvision") == "exact: `native`; partly: `detectron`"
