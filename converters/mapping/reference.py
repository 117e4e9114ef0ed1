"""The reference of the tables' words and their JSON schema, from the schema's records: ``docs/tables.md`` and
``docs/tables.schema.json``. ``python -m converters.mapping.reference FOLDER`` writes both (``make reference``).
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from itertools import pairwise
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from converters.record import Record

from . import schema
from .parse import field_types

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE, SCHEMA = "tables.md", "tables.schema.json"

HEAD = """\
# The words of the tables

This page lists every word that a table may have. [The tables](writing-tables.md) shows how to write one; `make tables`
checks all of them. `tables.schema.json` has the same as a JSON schema, for editors. Both are generated from
`converters/mapping/schema.py` by `make reference`.

A layout's file has three parts. A new PyTorch layout needs only the first, *names*. *Storage* says how files keep
tensors if they do not do so as PyTorch does. The third part says what the project's own networks do.
"""

_COLUMNS = """\
## Columns of an index

A value in `[columns.NAME]` has one entry for every stage. An entry is a number, or a list of two: the number of the
first block, and that of all others. Instead of a list, a value may be:

| | |
| --- | --- |
| `{ previous = "out", from = 64 }` | in a stage's first block, the value of the column in the stage before |
| `{ product = "spatial_stride", from = 2 }` | the running product of a column |
| `{ cycle = [[3], [3, 1], ...] }` | the values of a stage, repeated over its blocks |
| `{ at = [[], [1, 3], ...] }` | 1 at these blocks, 0 elsewhere |

## A module of a network

A module is a line `"canonical name" = "kind shape @ grid"`.

* The **kinds** are `conv`, `conv+bias`, `depthwise` (a convolution that some layouts store in another way), `bn`, `fc`
  and `scalar` (a learned factor, without a shape). `conv+bn`, `conv+bias+bn` and `depthwise+bn` are two modules,
  `NAME.conv` and `NAME.bn`.
* The **shape** is that of the weight, in PyTorch's order. It has numbers and placeholders: columns, or sizes that a
  file's tensors show.
* The **grid** gives the size of the output, for counting GFLOPs: by how much the frames have been divided, by how much
  height and width, and, as an optional third number, how much layers without padding have cut off height and width
  before that.

## How a tensor is stored

| | |
| --- | --- |
| `_w` | the module's name and this suffix; `{}` in a suffix stands for the name |
| `_w D H W I O -> O I D H W` | the file's axes, and PyTorch's |
| `_w O I 1* -> O I` | `1` is an extra axis of size one, `1?` one that a file may lack, `1*` any number of them |
| `_w D? H W I O -> O I D? H W` | an axis that only some of the layout's modules have |
| `= 1.0`, `= 1 - eps` | not stored, but always this value |
| `bn{}/0 over bn{}/2` | stored, but still to be divided by a tensor of one number |

The name `"= identity"` says that the layout does not have this batch norm: one that changes nothing takes its place.
"""


def page() -> str:
    """The reference page."""
    parts = [HEAD]
    for title, record in (("A layout", schema.LayoutFile), ("A network", schema.NetworkFile)):
        parts.append(f"## {title}\n\n{record.__doc__}\n")
        for tier, names in _tiers(record):
            parts.append(f"### {tier}\n" if tier else "")
            parts.append(_table(record, names))
        for nested in _nested(record):
            parts.append(f"### {_heading(nested)}\n\n{_about(nested)}\n")
            parts.append(_table(nested, list(nested.fields)))
    return "\n".join(part for part in (*parts, _COLUMNS) if part)


def json_schema() -> dict[str, Any]:
    """A JSON schema of both kinds of table."""
    records = [schema.LayoutFile, schema.NetworkFile]
    every = [*records, *(nested for record in records for nested in _nested(record))]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tables of video-checkpoint-converters",
        "oneOf": [{"$ref": f"#/$defs/{record.__name__}"} for record in records],
        "$defs": {record.__name__: _definition(record) for record in dict.fromkeys(every)},
    }


def _definition(record: type[Record]) -> dict[str, Any]:
    docs, types = _docs(record), _types(record)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in record.fields if not hasattr(record, name)],
        "properties": {
            name.rstrip("_"): {**_json_type(types[name]), "description": docs[name]} for name in record.fields
        },
    }


def _types(record: type[Record]) -> dict[str, Any]:
    types: dict[str, Any] = field_types(record)  # type: ignore[arg-type]  # mypy: a class is not Hashable
    return types


_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _json_type(type_: Any) -> dict[str, Any]:
    origin, arguments = get_origin(type_), get_args(type_)
    if type_ is Any:
        return {}
    if origin is UnionType:
        kinds = [_json_type(argument) for argument in arguments if argument is not type(None)]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if origin is tuple:
        return {"type": "array", "items": _json_type(arguments[0])}
    if origin is not None:
        return {"type": "object", "additionalProperties": _json_type(arguments[1])}
    if issubclass(type_, Record):
        return {"$ref": f"#/$defs/{type_.__name__}"}
    return {"type": _NAMES[type_]}


_WORDS = {str: "string", int: "number", float: "number", bool: "true or false"}


def _words(type_: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(type_), get_args(type_)
    if type_ is Any:
        return "any"
    if origin is UnionType:
        return " or ".join(_words(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        inner = arguments[0]
        if isinstance(inner, type) and issubclass(inner, Record):
            return "rows"
        return f"list of {_words(inner)}s"
    if origin is not None:
        return "table"
    return "table" if issubclass(type_, Record) else _WORDS[type_]


def _table(record: type[Record], names: list[str]) -> str:
    docs, types = _docs(record), _types(record)
    rows = ["| word | | default | |", "| --- | --- | --- | --- |"]
    for name in names:
        default = _default(record, name)
        rows.append(f"| `{name.rstrip('_')}` | {_words(types[name])} | {default} | {docs[name]} |")
    return "\n".join(rows) + "\n"


def _default(record: type[Record], name: str) -> str:
    if not hasattr(record, name):
        return "needed"
    value = getattr(record, name)
    if isinstance(value, Record) or value in ((), "", None) or value == schema.NOTHING:
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _nested(record: type[Record]) -> Iterator[type[Record]]:
    """The records inside a record, in order."""
    for type_ in _types(record).values():
        for inner in (type_, *get_args(type_)):
            if isinstance(inner, type) and issubclass(inner, Record):
                yield inner
                yield from _nested(inner)


def _heading(record: type[Record]) -> str:
    match = re.search(r"``(\[[^`]*\])``", record.__doc__ or "")
    return f"`{match[1]}`" if match else record.__name__


def _about(record: type[Record]) -> str:
    text = " ".join((record.__doc__ or "").split())
    text = re.sub(r"^``\[[^`]*\]``: ", "", text)
    return (text[0].upper() + text[1:]).replace("``", "`")


def _class(record: type[Record]) -> ast.ClassDef:
    with open(schema.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == record.__name__)


def _docs(record: type[Record]) -> dict[str, str]:
    """What the text after each field says."""
    body = _class(record).body
    docs = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            value = text.value.value if isinstance(text.value, ast.Constant) else ""
            docs[ast.unparse(field.target)] = " ".join(str(value).split()).replace("``", "`")
    return docs


def _tiers(record: type[Record]) -> Iterator[tuple[str, list[str]]]:
    """The fields under each comment of a record's class."""
    node = _class(record)
    with open(schema.__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    tier, names = "", list[str]()
    for line in lines[node.lineno : node.end_lineno]:
        if line.startswith("    # "):
            if names:
                yield tier, names
            tier, names = line[6:], []
        elif match := re.match(r"    (\w+): ", line):
            names.append(match[1])
    yield tier, names


def main(arguments: list[str]) -> int:
    """Write both files into a folder."""
    folder = arguments[0] if arguments else "docs"
    with open(os.path.join(folder, PAGE), "w", encoding="utf-8") as file:
        file.write(page())
    with open(os.path.join(folder, SCHEMA), "w", encoding="utf-8") as file:
        file.write(json.dumps(json_schema(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
