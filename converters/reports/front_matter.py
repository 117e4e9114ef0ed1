"""YAML front matter, as model hubs read it, with the optional package PyYAML (the extra ``[publish]``)."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError
from converters.extras import install_hint

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def front_matter(data: Mapping[str, Any]) -> str:
    """Plain data as YAML between two lines of dashes.

    Every text but a plain word is in double quotes, on one line and in ASCII, so none of it can be a line of dashes, a
    tag or a comment. Raises `ConverterError` without PyYAML.
    """
    yaml = load_yaml()
    body: str = yaml.dump(
        dict(data), Dumper=_dumper(yaml), sort_keys=False, allow_unicode=False, width=sys.maxsize
    )
    return f"---\n{body}---"


def load_yaml() -> Any:
    """The package PyYAML. Raises `ConverterError` where it is not installed."""
    try:
        return import_module("yaml")
    except ImportError:
        raise ConverterError(
            "a model card needs the package PyYAML",
            hint=install_hint("publish"),
        ) from None


def _dumper(yaml: Any) -> Any:
    """A dumper of plain data in block style, with lists on one line and no references between equal parts."""

    def text(dumper: Any, value: str) -> Any:
        style = None if _WORD.fullmatch(value) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def sequence(dumper: Any, value: Any) -> Any:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)

    def mapping(dumper: Any, value: Any) -> Any:
        return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=False)

    dumper: Any = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    for kind, represent in ((str, text), (list, sequence), (tuple, sequence), (dict, mapping)):
        dumper.add_representer(kind, represent)
    return dumper
