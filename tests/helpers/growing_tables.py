"""Manifests, mapping files, records and results whose size is a number."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROW = '[[convert]]\nsource = "vmz"\ninput = "{}.pkl"\nto = "mmaction2"\noutput = "{}.pth"\n'


def manifest_rows(n: int) -> str:
    return "".join(ROW.format(i, i) for i in range(n))


def manifest_rows_and_a_fault(n: int) -> str:
    return manifest_rows(n) + ROW.format("a", "b") + "inptu = 1\n"


def manifest_long_array(n: int) -> str:
    numbers = ", ".join(["1"] * n)
    return ROW.format("a", "b").replace('to = "mmaction2"', f"to = [{numbers}]")


def manifest_nested_array(n: int) -> str:
    return f"convert = {'[' * n}{']' * n}\n"


def manifest_arrays_of_tables(n: int) -> str:
    return 'convert = [["convert"]' + ', ["convert"]' * n + "]\n"


def manifest_long_inline_rows(n: int) -> str:
    rows = ", ".join(f'{{source = "vmz", input = "{i}", to = "x", output = "{i}"}}' for i in range(n))
    return f"convert = [{rows}]\n"


def manifest_settings(n: int) -> str:
    return ROW.format("a", "b") + "[convert.settings]\n" + "".join(f"k{i} = {i}\n" for i in range(n))


def manifest_dotted_key(n: int) -> str:
    return ROW.format("a", "b") + "settings" + ".a" * n + " = 1\n"


def manifest_hashes(n: int) -> str:
    return ROW.format("a", "b") + "hash = [" + ", ".join(['"00000000"'] * n) + "]\n"


def manifest_long_text(n: int) -> str:
    return ROW.format("a" * 100 * n, "b")


def manifest_placeholders(n: int) -> str:
    return ROW.format("a", "{stem}" * n)


HEAD = '[from]\nformat = "caffe2-pickle"\n[to]\nformat = "pytorch"\n'


def mapping_rows(n: int) -> str:
    return HEAD + "[tensors]\n" + "".join(f'"a{i}_w" = "b{i}.weight"\n' for i in range(n))


def mapping_values(n: int) -> str:
    values = " ".join(str(i) for i in range(n))
    return (
        HEAD + f'[index.block]\nn = "{values}"\nm = "{values}"\n[tensors]\n"a_{{n}}_w" = "b.{{m}}.weight"\n'
    )


def mapping_indexes(n: int) -> str:
    keys = "".join(f'i{i} = "0-1"\n' for i in range(n))
    return HEAD + f'[index.block]\n{keys}[tensors]\n"a_{{i0}}_w" = "b.{{i1}}.weight"\n'


def mapping_long_name(n: int) -> str:
    return HEAD + f'[tensors]\n"{"a." * n}w" = "{"b." * n}weight"\n'


def mapping_axes(n: int) -> str:
    axes = " ".join(f"A{i}" for i in range(n))
    return HEAD + f'[tensors]\n"a" = {{ to = "b", axes = "{axes} -> {axes}" }}\n'


def mapping_dropped(n: int) -> str:
    patterns = ", ".join(f'"a{i}*b*c"' for i in range(n))
    return HEAD.replace("[to]", f"drop = [{patterns}]\n[to]") + '[tensors]\n"a" = "b"\n'


def mapping_constants(n: int) -> str:
    rows = "".join(f'"c{i}" = {{ value = 1.0, like = "b" }}\n' for i in range(n))
    return HEAD + '[tensors]\n"a" = "b"\n[to.constants]\n' + rows


def record_of_tensors(n: int) -> str:
    return json.dumps({"source": {"crc32": {f"a{i}": "00000000" for i in range(n)}}, "notes": ["x"] * n})


def record_nested(n: int) -> str:
    return '{"a":[' * n + "1" + "]}" * n


def record_digits(n: int) -> str:
    return '{"a": ' + "7" * 10 * n + "}"


def _result(state: str = "converted", **changed: object) -> str:
    """A whole result, as the file of results has it after the checksum."""
    row: dict[str, object] = {"task": "a", "spec": "b", "tool": "c", "seconds": 1.0, "state": state}
    if state != "failed":
        row |= {
            "input": {"crc32": "d", "size": 1, "version": ""},
            "output": {"files": [["a.pth", 1, "e"]], "version": ""},
            "mapping": {"source": "vmz", "target": "mmaction2", "network": "f", "sha256": "g"},
            "bytes": 1,
            "notes": [],
            "text": "",
        }
    return json.dumps(row | changed, sort_keys=True, separators=(",", ":"))


def result_nested(n: int) -> str:
    nested: object = 1
    for _ in range(n):
        nested = {"a": [nested]}
    return _result(release={"b": nested})


def result_fields(n: int) -> str:
    return _result(release={f"k{i}": [i] for i in range(n)})


def result_files(n: int) -> str:
    return _result(output={"files": [[f"{i}.pth", i, "0"] for i in range(n)], "version": ""})


def result_notes(n: int) -> str:
    return _result(notes=[f"note {i}" for i in range(n)])


def result_faults(n: int) -> str:
    return _result("failed", error={"text": "x", "faults": [f"fault {i}" for i in range(n)]})


def result_digits(n: int) -> str:
    return _result(seconds=1.0, release={"a": int("7" * n)})


TABLES: dict[str, Callable[[int], str]] = {
    name: function
    for name, function in list(globals().items())
    if name.partition("_")[0] in ("manifest", "mapping", "record", "result")
}
