"""The code that scripts/bench.py runs in processes of its own imports what there is."""

from __future__ import annotations

import ast
import importlib
import re

from tests.helpers.paths import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "bench.py"


def test_the_code_in_its_texts_imports_what_there_is() -> None:
    texts = [
        node.value
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = {
        (module, name)
        for text in texts
        for module, name in re.findall(r"from (converters[\w.]*) import (\w+)", text)
    }
    assert ("converters.cli.main", "main") in found
    for module, name in found:
        assert hasattr(importlib.import_module(module), name), (module, name)
