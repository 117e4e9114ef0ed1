"""The reference of the tables' words is that of the schema, and the tables follow the JSON schema."""

from __future__ import annotations

import json
import tomllib

from converters.mapping import reference, schema
from converters.record import Record
from tests.helpers.paths import REPOSITORY

DOCS = REPOSITORY / "docs"


def test_the_page_and_the_json_schema_are_current():
    assert (DOCS / reference.PAGE).read_text(encoding="utf-8") == reference.page(), "run make reference"
    assert json.loads((DOCS / reference.SCHEMA).read_text(encoding="utf-8")) == reference.json_schema()


def test_every_word_is_explained():
    for record in vars(schema).values():
        if isinstance(record, type) and issubclass(record, Record) and record.__name__.endswith("File"):
            docs = reference._docs(record)
            assert {*docs} == {*record.fields}
            assert all(text.endswith((".", "`", ")")) for text in docs.values())


def test_the_tables_have_the_words_of_the_json_schema():
    defined = reference.json_schema()["$defs"]
    for sort, name in (("layouts", "LayoutFile"), ("networks", "NetworkFile")):
        for path in (REPOSITORY / "mappings" / sort).glob("*.toml"):
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
            assert {*raw} <= {*defined[name]["properties"]}
            assert {*defined[name]["required"]} <= {*raw}
