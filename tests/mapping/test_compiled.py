"""The compiled form of a table is the table, and counts only while the TOML and the code are those it was made from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from converters.mapping import compiled, schema, table_files
from converters.mapping.compile import from_toml, write_compiled
from converters.mapping.layout_tables import load_layout
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

TABLES = [("networks", name) for name in table_files.network_names()]
TABLES += [("layouts", name) for name in table_files.layout_names()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the tables with their compiled forms."""
    found = tmp_path_factory.mktemp("compiled") / "mappings"
    shutil.copytree(REPOSITORY / "mappings", found, ignore=shutil.ignore_patterns("compiled"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_files, "ROOT", str(found))
        assert write_compiled() == len(TABLES)
    return found


@pytest.mark.parametrize(("sort", "name"), TABLES)
def test_the_compiled_form_is_the_table(sort, name, folder):
    text = (folder / sort / f"{name}.toml").read_bytes()
    found = compiled.read_compiled(str(folder), sort, name, text)
    assert found is not None
    assert found == from_toml(sort, name)[0]
    json.loads((folder / "compiled" / f"{sort}-{name}.json").read_bytes())


def test_an_edited_table_is_read_from_its_toml(folder, tmp_path, monkeypatch):
    copy = tmp_path / "mappings"
    shutil.copytree(folder, copy)
    path = copy / "layouts" / "vmz-pt.toml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("VMZ's PyTorch port", "Edited"), encoding="utf-8"
    )
    monkeypatch.setattr(table_files, "ROOT", str(copy))
    assert load_layout("vmz-pt").title == "Edited"
    text = (copy / "layouts" / "ig65m-pytorch.toml").read_bytes()  # its names are vmz-pt's
    assert compiled.read_compiled(str(copy), "layouts", "ig65m-pytorch", text) is None
    assert compiled.read_compiled(str(copy), "layouts", "tsn", (copy / "layouts" / "tsn.toml").read_bytes())


@pytest.mark.parametrize("wrong", ["", "{}", "[1]", '{"key": 1, "reads": [], "table": {}}', "\xff"])
def test_a_damaged_compiled_form_does_not_count(wrong, folder, tmp_path, monkeypatch):
    copy = tmp_path / "mappings"
    shutil.copytree(folder, copy)
    (copy / "compiled" / "layouts-tsn.json").write_bytes(wrong.encode("latin-1"))
    monkeypatch.setattr(table_files, "ROOT", str(copy))
    assert load_layout("tsn").title == "TSN in Caffe"


def test_a_compiled_table_loads_without_the_parser(folder):
    code = (
        "import sys; from converters.mapping import layout_tables, table_files; "
        "table_files.ROOT = sys.argv[1]; "
        "assert len(layout_tables.readable_layouts()) == len(table_files.layout_names()) > 20; "
        "slow = {'tomllib', 'difflib', 'inspect', 'dataclasses', 'converters.mapping.parse', 'pickle'}; "
        "print(sorted(slow & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_record_is_frozen_and_built_by_keyword():
    row = schema.Support(variants=("a",))
    assert row == schema.Support(variants=("a",), note="")
    assert row != row.replace(note="b")
    with pytest.raises(AttributeError, match="frozen"):
        row.note = "b"
    with pytest.raises(TypeError, match="lacks 'variants'"):
        schema.Support()
    with pytest.raises(TypeError, match="has no 'notes'"):
        schema.Support(variants=("a",), notes="b")
