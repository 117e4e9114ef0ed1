"""The options of a conversion, defined once: for Python, the command line and manifests.

The classes are frozen records, built by keyword.
"""

# No postponed annotations here: the options' texts are read from the annotations.
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from converters.record import Record


class Text(NamedTuple):
    """How an option is explained: its help, what stands for its value, and the word on the command line that gives one
    item, for an option that is given several times."""

    help: str
    metavar: str = ""
    item: str = ""


class ReadOptions(Record):
    """How an input is read."""

    entry: Annotated[
        str | None,
        Text(
            "the state dict in a PyTorch file, such as ema_state_dict, or the averages in a TensorFlow checkpoint, "
            "such as ExponentialMovingAverage, or in a Flax file, such as ema_params",
            "PATH",
        ),
    ] = None
    checksum: Annotated[bool, Text("do not verify the input's own checksums")] = True
    sha256: Annotated[bool, Text("record the input's SHA-256 in the provenance (slow)")] = False


class NetworkOptions(Record):
    """What cannot be inferred from the tensors of the input."""

    variant: Annotated[str | None, Text("the network or model, if names and shapes fit several", "NAME")] = (
        None
    )
    head: Annotated[
        str | None, Text("name of the classifier layer, if it differs from the layout's", "NAME")
    ] = None
    backbone: Annotated[bool, Text("leave the classifier out")] = False
    drop: Annotated[
        tuple[str, ...],
        Text("leave out the tensors that a pattern matches, such as 'criterion.*'", "GLOB", "drop"),
    ] = ()
    settings: Annotated[
        Mapping[str, Any],
        Text(
            "a setting of the source's network: pool1=on, stem_stride=2, bn_eps=1e-3 ...", "NAME=VALUE", "set"
        ),
    ] = MappingProxyType({})
    inverse_std: Annotated[
        bool, Text("the source stores inverse standard deviations instead of variances (TSN, early 2016)")
    ] = False
    mean: Annotated[
        str | None, Text("the mean cube that belongs to the weights, for the provenance", "FILE")
    ] = None
    labels: Annotated[str | None, Text("the classes' names, for the output: one a line, or JSON", "FILE")] = (
        None
    )


class WriteOptions(Record):
    """How an output is written. With ``checksums`` the result has those of both files."""

    force: Annotated[bool, Text("replace an existing output")] = False
    dry_run: Annotated[bool, Text("plan and report; read no tensor data, write nothing")] = False
    check: Annotated[bool, Text("read the output back and compare every tensor")] = False
    wrap: Annotated[bool, Text("wrap the state dict as the layout's project saves it")] = False
    dtype: Annotated[str | None, Text("cast to float32, float16, bfloat16 or float64", "DTYPE")] = None
    strict: Annotated[bool, Text("refuse NaN and Inf")] = False
    progress: Callable[[int, int], None] | None = None
    checksums: bool = False


class MappingFile(NamedTuple):
    """A mapping file and how to read it: ``reverse`` from right to left, ``accept_unsure`` with the rows that nobody
    has confirmed."""

    path: str
    reverse: bool
    accept_unsure: bool


class Request(Record):
    """All that is asked of a conversion: which file into which, from which layout (None: the one that is recognised) to
    which (None: the default), and how. A ``mapping`` stands for both layouts."""

    input: str
    output: str
    source: str | None = None
    to: str | None = None
    read: ReadOptions = ReadOptions()
    network: NetworkOptions = NetworkOptions()
    write: WriteOptions = WriteOptions()
    mapping: MappingFile | None = None


VERIFY_OPTIONS = ("entry", "variant", "head", "drop", "settings", "inverse_std")
"""The options that verifying a conversion takes too."""


class Option(Record):
    """One field of these classes. ``type`` is bool, str, tuple or Mapping; an ``optional`` one may be None."""

    name: str
    type: Any
    optional: bool
    default: Any
    text: Text


def options_of(options: type[Record]) -> list[Option]:
    """The fields of an options class that have a text, in order."""
    listed = []
    for name, annotation in options.__annotations__.items():
        if (texts := getattr(annotation, "__metadata__", None)) is None:
            continue
        types = getattr(annotation.__origin__, "__args__", (annotation.__origin__,))
        generic = getattr(annotation.__origin__, "__origin__", None)
        if generic in (Mapping, tuple):
            types = (generic,)
        default = getattr(options, name)
        listed.append(
            Option(name=name, type=types[0], optional=type(None) in types, default=default, text=texts[0])
        )
    return listed


def require_types(request: Request) -> None:
    """Raise `TypeError` for a name or a mapping that is something else. Flags may be whatever is true or false."""
    named: list[tuple[str, Any, Any]] = [("source", request.source, str), ("to", request.to, str)]
    for options in (request.read, request.network, request.write):
        named += [(each.name, getattr(options, each.name), each.type) for each in options_of(type(options))]
    for name, value, wanted in named:
        if wanted in (str, Mapping) and value is not None and not isinstance(value, wanted):
            what = "a string" if wanted is str else "a mapping of names to values"
            raise TypeError(f"{name} must be {what}, not {type(value).__name__}")
