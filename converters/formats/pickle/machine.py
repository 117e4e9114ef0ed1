"""Reads a pickle as data: all opcodes of protocols 0 to 5, and nothing in the file is ever executed.

The stream is evaluated, with bounded reads, into None, bool, int, float, str, bytes, list, tuple, dict and objects of
this package. Nothing is imported, looked up or called by name: each name in the stream is looked up in a closed table
that the reader of a format supplies, and stands for a function of that reader. All other names are refused. Strings
of `KEEP` bytes or more stay in the file, as a `Span`. The opcodes are those of Python's ``pickletools``.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from converters.errors import BadInput
from converters.files import CHUNK
from converters.printable import short_name

from .strings import ESCAPED, RAW, RAW_UNICODE, UTF8, ByteArraySpan, PickleError, Span, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from converters.files import SourceFile

KEEP = 256
"""Strings of at least this many bytes stay in the file. Shorter ones are names, or arrays as short as one."""

WALK_LIMIT = 4 << 20
"""Bytes of instructions at most, long strings not counted. A thousand arrays take about 60 KB. A byte of
instructions costs up to 100 bytes of memory, so this bounds memory and time, whatever the file's size."""

_WINDOW = 4096
_MARGIN = 600  # at least so much of the window is ahead of every opcode: short arguments need no check
_LINE = 256  # longest line with a name or a number
_NUMBER = 64  # longest integer, in bytes
_MEMO_LIMIT = 1 << 32  # what LONG_BINPUT can say; larger numbers could be chosen to collide as hashes
_PYTHON_2 = ("__builtin__", "copy_reg", "exceptions", "commands")  # modules of Python 2 alone
_STOP, _BININT1, _BININT2, _BINUNICODE, _BINGET, _BINPUT, _LONG_BINPUT, _MARK, _TUPLE = b".KMXhqr(t"


class Global:
    """What an allowed name stands for.

    ``make`` is called with the arguments of a call; None if the name cannot be called. The arguments may be values of
    any size that the stream stores once and passes to every call, so a call whose time or memory grows with them
    needs a ``cost``: the least number of bytes that such arguments take in the stream. The sum of all costs must not
    exceed the number of bytes read. ``new`` makes what stands for a new instance of a class, from the arguments of its
    making; None for other names.
    """

    __slots__ = ("cost", "make", "name", "new")

    def __init__(
        self,
        name: str,
        make: Callable[[tuple[object, ...]], object] | None = None,
        cost: Callable[[tuple[object, ...]], int] | None = None,
        new: Callable[[tuple[object, ...]], object] | None = None,
    ) -> None:
        self.name = name
        self.make = make
        self.cost = cost
        self.new = new


class Inert:
    """Base class of objects that are made by calls and can be given a state."""

    __slots__ = ()

    def set_state(self, state: object) -> None:
        """Take the state that the stream gives this object. Raises `PickleError`, as it does where there is none to
        take."""
        raise code("a state for a value that has none")

    def made_from(self) -> tuple[object, ...] | None:
        """What it was made from, for a comparison with another one; None where that was not kept."""
        return None


class NamedText(str):
    """A text of a class of its own: the ``name`` of the class."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, text: str) -> NamedText:
        made = super().__new__(cls, text)
        made.name = name
        return made


class NamedBytes(bytes):
    """Bytes of another class than ``bytes``: its ``name``."""

    name: str

    def __new__(cls, name: str, data: bytes) -> NamedBytes:
        made = super().__new__(cls, data)
        made.name = name
        return made


class SetItems(list[object]):
    """A set, as a list: nothing is hashed."""

    __slots__ = ()
    name = "set"


class FrozenSetItems(tuple[object, ...]):
    """A frozen set, as a tuple."""

    __slots__ = ()
    name = "frozenset"


def bytearray_of(data: bytes | Span) -> NamedBytes | Span:
    """What stands for a ``bytearray`` with the contents of ``data``."""
    if isinstance(data, Span):
        return ByteArraySpan(data.offset, data.length, data.coding, data.text)
    return NamedBytes("bytearray", data)


class InertDict(dict[object, object], Inert):
    """A dictionary of a known class in the stream: the ``name`` of the class, and the ``attributes`` of the object.

    Those of a state dict (torch's ``_metadata``) are the versions of its modules.
    """

    __slots__ = ("attributes", "name")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.attributes: object = None

    def set_state(self, state: object) -> None:
        """Take the attributes, unread."""
        self.attributes = state


class Pickle(NamedTuple):
    """A pickle's value and protocol, and the offset at which it ends in the file."""

    value: object
    protocol: int
    end: int


def code(name: str) -> PickleError:
    """The error for what would need code to run."""
    return PickleError(
        f"contains code: {short_name(name)}",
        "nothing was run; weights need no such name, so do not load this file with pickle either",
    )


def unknown(module: str, name: str) -> PickleError:
    """The error for a name that is in no table: a function, or anything of Python itself, is code; a class of a package
    or of a user's own program may be one of plain data."""
    package = module.partition(".")[0]
    is_python = package in sys.stdlib_module_names or package in _PYTHON_2
    if is_python or not name.rpartition(".")[2].lstrip("_")[:1].isupper():
        return code(f"{module}.{name}")
    return PickleError(
        f"contains {short_name(f'{module}.{name}')}, which is not known to be plain data",
        "nothing was run; if you trust the file, load it where this class is defined, and save the weights alone",
    )


def walk(
    file: SourceFile,
    names: Mapping[tuple[str, str], Global],
    *,
    offset: int = 0,
    size: int | None = None,
    persistent: Callable[[object], object] | None = None,
    whole: bool = True,
    refuse: Callable[[str, str], PickleError] = unknown,
) -> Pickle:
    """Evaluate the one pickle that fills ``size`` bytes from ``offset`` (default: the whole file), or with ``whole``
    false the first pickle in them.

    ``names`` is the closed table of allowed names; ``persistent`` turns a persistent id into a value; ``refuse`` makes
    the error for a module and a name in it that are not in the table. Containers may be shared and may contain
    themselves, so a caller must bound how it traverses them. Raises `BadInput`.
    """
    machine = _Machine(file, names, offset, file.size if size is None else offset + size, persistent, refuse)
    try:
        value = machine.run(whole)
        return Pickle(value, machine.protocol, machine.base + machine.pos)
    except PickleError as fault:
        what, hint = fault.what, fault.hint
    except IndexError:
        what, hint = "takes a value from an empty stack", PickleError("").hint
    at = machine.base + machine.pos
    if at > machine.end:  # what was wrong is after the end
        raise file.cut(machine.end, at - machine.end)
    raise BadInput(what, path=file.path, where=f"offset {at:,}", hint=hint)


class _Machine:
    """The state between two opcodes. ``window`` is the file from offset ``base``; its next byte is at ``pos``."""

    __slots__ = (
        "base",
        "end",
        "file",
        "marks",
        "memo",
        "names",
        "persistent",
        "pos",
        "protocol",
        "refuse",
        "safe",
        "skipped",
        "spent",
        "stack",
        "start",
        "window",
    )

    def __init__(
        self,
        file: SourceFile,
        names: Mapping[tuple[str, str], Global],
        start: int,
        end: int,
        persistent: Callable[[object], object] | None,
        refuse: Callable[[str, str], PickleError],
    ) -> None:
        self.file = file
        self.names = names
        self.persistent = persistent
        self.refuse = refuse
        self.start = self.base = start
        self.end = end
        self.window = b""
        self.pos = 0
        self.safe = -1  # beyond this position the window is too short for an opcode
        self.skipped = 0  # bytes of long strings
        self.spent = 0  # costs of calls
        self.stack: list[object] = []  # the values since the last mark
        self.marks: list[list[object]] = []  # the values before each mark
        self.memo: dict[int, object] = {}
        self.protocol = 0

    def run(self, whole: bool) -> object:
        """Evaluate up to the end, which is that of the bytes if ``whole``; the value.

        The commonest opcodes of arrays, shapes and storages are evaluated here, on local variables, to save their
        calls; all others by their function in `_STEPS`.
        """
        steps, memo, marks = _STEPS, self.memo, self.marks
        self.refill()
        if self.window[0] in b"}])":  # containers as only protocol 1 starts them
            self.protocol = 1
        window, pos, safe, stack = self.window, self.pos, self.safe, self.stack
        while True:
            if pos > safe:
                self.pos = pos
                self.refill()
                window, pos, safe = self.window, self.pos, self.safe
            opcode = window[pos]
            pos += 1
            if opcode == _LONG_BINPUT:
                memo[int.from_bytes(window[pos : pos + 4], "little")] = stack[-1]
                pos += 4
            elif opcode == _BININT1:
                stack.append(window[pos])
                pos += 1
            elif opcode == _BINGET and window[pos] in memo:
                stack.append(memo[window[pos]])
                pos += 1
            elif opcode == _MARK:
                marks.append(stack)
                stack = []
            elif opcode == _TUPLE and marks:
                values = tuple(stack)
                stack = marks.pop()
                stack.append(values)
            elif opcode == _BININT2:
                stack.append(window[pos] | window[pos + 1] << 8)
                pos += 2
            elif opcode == _BINUNICODE and not window[pos + 1] | window[pos + 2] | window[pos + 3]:
                start = pos + 4  # shorter than `KEEP`
                self.pos = pos = start + window[pos]
                stack.append(decode(window[start:pos], UTF8))
            elif opcode == _BINPUT:
                memo[window[pos]] = stack[-1]
                pos += 1
            else:
                self.pos, self.stack = pos, stack
                if opcode == _STOP:
                    return self.value(whole)
                steps[opcode](self)
                pos, stack = self.pos, self.stack

    def value(self, whole: bool) -> object:
        """The value left at the end."""
        at = self.base + self.pos
        if at > self.end:
            raise self.file.cut(self.end, at - self.end)
        if whole and at < self.end:
            raise PickleError(f"has {self.end - at:,} more bytes after its end")
        value = self.stack.pop()
        if self.stack or self.marks:
            raise PickleError("ends with values left over")
        return value

    def refill(self) -> None:
        """Move the window to the next opcode. Zeros follow the end of the file, so that every argument can be
        looked at; an argument that reaches into them is found by the next call."""
        at = self.base + self.pos
        if at >= self.end:
            raise self.file.cut(at, 1)
        if at - self.start - self.skipped > WALK_LIMIT:
            raise PickleError(f"has over {WALK_LIMIT:,} bytes of instructions", "no checkpoint has so many")
        length = min(_WINDOW, self.end - at)
        self.window = self.file.read_at(at, length)
        self.safe = length - _MARGIN
        if at + length == self.end:
            self.window += bytes(_MARGIN)
            self.safe = length - 1
        self.base = at
        self.pos = 0

    def number(self, width: int) -> int:
        """An unsigned little-endian argument."""
        at = self.pos
        self.pos = at + width
        return int.from_bytes(self.window[at : at + width], "little")

    def take(self, length: int) -> bytes:
        """The next bytes, at most `_LINE`."""
        at = self.pos
        self.pos = at + length
        return self.window[at : at + length]

    def line(self) -> bytes:
        """A short line, without the line break."""
        at = self.pos
        stop = self.window.find(b"\n", at, at + _LINE)
        if stop < 0:
            self.pos += _LINE
            raise PickleError("has no end of line where there must be one")
        self.pos = stop + 1
        return self.window[at:stop]

    def skip_line(self) -> tuple[int, int]:
        """Pass a line of any length; returns its offset, and its length without the line break."""
        at = self.base + self.pos
        found = self.window.find(b"\n", self.pos)
        if found >= 0:
            stop = self.base + found
        else:
            look, step = self.base + len(self.window), _WINDOW
            while found < 0:
                step = min(step, self.end - look)
                if step <= 0:
                    raise self.file.cut(self.end, 1)
                found = self.file.read_at(look, step).find(b"\n")
                stop = look + found
                look += step
                step = min(2 * step, CHUNK)  # reads at most twice the line
        self.pos = stop + 1 - self.base
        return at, stop - at

    def string(self, length: int, coding: str, text: bool) -> None:
        """Push a string of ``length`` bytes that starts here."""
        if length < KEEP:
            self.stack.append(decode(self.take(length), coding))
            return
        at = self.base + self.pos
        if length > self.end - at:
            raise self.file.cut(at, length)
        self.stack.append(Span(at, length, coding, text))
        self.pos += length
        self.skipped += length

    def look(self, at: int, length: int) -> bytes:
        """Bytes of a line that was passed."""
        start = at - self.base
        if start + length <= len(self.window):
            return self.window[start : start + length]
        return self.file.read_at(at, length)

    def text_line(self, at: int, length: int, coding: str, text: bool) -> None:
        """Push a string whose line was passed."""
        if length < KEEP:
            self.stack.append(decode(self.look(at, length), coding))
        else:
            self.stack.append(Span(at, length, coding, text))
            self.skipped += length

    def charge(self, cost: int) -> None:
        """Refuse calls whose costs exceed the bytes of instructions read so far."""
        self.spent += cost
        if self.spent > self.base + self.pos - self.start - self.skipped:
            raise PickleError("uses the same values in too many calls", "no checkpoint does")

    def to_mark(self) -> list[object]:
        """Pop the values above the last mark."""
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def find(self, module: object, name: object) -> Global:
        """Look up a name in the closed table."""
        if type(module) is not str or type(name) is not str:
            raise PickleError("has a name that is not a short text")
        found = self.names.get((module, name))
        if found is None:
            raise self.refuse(module, name)
        return found


def put(target: object, key: object, value: object) -> None:
    """Set an item of a dictionary in the stream. Raises `PickleError`."""
    if not isinstance(target, dict):
        raise PickleError("sets an item of a value that is not a dictionary")
    kind = type(key)
    if kind is not str and kind is not bytes and not (isinstance(key, int) and abs(key) < 1 << 31):
        from .keys import as_key

        key = as_key(key)
    if key in target:
        from .keys import key_text

        name = short_name(key_text(key))
        raise PickleError(
            f"has the name {name} twice", "only one of the two can be used: save the file with that one"
        )
    target[key] = value


def _damaged(machine: _Machine) -> NoReturn:
    opcode = machine.window[machine.pos - 1]
    raise PickleError(f"has 0x{opcode:02x} where an instruction must be")


def _proto(machine: _Machine) -> None:
    if machine.base + machine.pos != machine.start + 1:
        raise PickleError("names its protocol in the middle")
    machine.protocol = machine.number(1)
    if machine.protocol > 5:
        raise PickleError(f"has pickle protocol {machine.protocol}; 0 to 5 exist")


def _frame(machine: _Machine) -> None:
    length = machine.number(8)
    at = machine.base + machine.pos
    if length > machine.end - at:
        raise machine.file.cut(at, length)


def _none(machine: _Machine) -> None:
    machine.stack.append(None)


def _true(machine: _Machine) -> None:
    machine.stack.append(True)


def _false(machine: _Machine) -> None:
    machine.stack.append(False)


def _parsed(kind: Callable[[bytes], int | float], text: bytes) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise PickleError("has a number that cannot be read") from None


def _int(machine: _Machine) -> None:
    text = machine.line()
    if text in (b"00", b"01"):  # how protocols 0 and 1 write False and True
        machine.stack.append(text == b"01")
    else:
        machine.stack.append(_parsed(int, text))


def _long(machine: _Machine) -> None:
    machine.stack.append(_parsed(int, machine.line().removesuffix(b"L")))


def _float(machine: _Machine) -> None:
    machine.stack.append(_parsed(float, machine.line()))


def _bin_float(machine: _Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


def _bin_int(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


def _bin_int2(machine: _Machine) -> None:
    machine.stack.append(machine.number(2))


def _wide(machine: _Machine, length: int) -> None:
    if length > _NUMBER:
        raise PickleError(f"has a number of {length:,} bytes")
    machine.stack.append(int.from_bytes(machine.take(length), "little", signed=True))


def _long1(machine: _Machine) -> None:
    _wide(machine, machine.number(1))


def _long4(machine: _Machine) -> None:
    _wide(machine, machine.number(4))


def _string(machine: _Machine) -> None:
    at, length = machine.skip_line()
    ends = machine.look(at, 1) + machine.look(at + length - 1, 1) if length > 1 else b""
    if ends not in (b"''", b'""'):
        raise PickleError("has a string without quotes")
    machine.text_line(at + 1, length - 2, ESCAPED, False)


def _unicode(machine: _Machine) -> None:
    at, length = machine.skip_line()
    machine.text_line(at, length, RAW_UNICODE, True)


def _short_bytes(machine: _Machine) -> None:
    start = machine.pos + 1
    machine.pos = start + machine.window[start - 1]
    machine.stack.append(machine.window[start : machine.pos])


def _bytes4(machine: _Machine) -> None:
    machine.string(machine.number(4), RAW, False)


def _bytes8(machine: _Machine) -> None:
    machine.string(machine.number(8), RAW, False)


def _byte_array(machine: _Machine) -> None:
    _bytes8(machine)
    data = machine.stack.pop()
    assert isinstance(data, (bytes, Span))
    machine.stack.append(bytearray_of(data))


def _bin_string(machine: _Machine) -> None:
    length = machine.number(4)
    if length >= 1 << 31:  # the only length that has a sign
        raise PickleError("has a string of negative length")
    machine.string(length, RAW, False)


def _short_text(machine: _Machine) -> None:
    machine.string(machine.number(1), UTF8, True)


def _text4(machine: _Machine) -> None:
    machine.string(machine.number(4), UTF8, True)


def _text8(machine: _Machine) -> None:
    machine.string(machine.number(8), UTF8, True)


def _buffer(machine: _Machine) -> None:
    raise PickleError("keeps its arrays outside the file (out-of-band buffers)", "save it again in one piece")


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.to_mark()


def _pop_mark(machine: _Machine) -> None:
    machine.to_mark()


def _dup(machine: _Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _empty_tuple(machine: _Machine) -> None:
    machine.stack.append(())


def _tuple(machine: _Machine) -> None:
    values = tuple(machine.to_mark())
    machine.stack.append(values)


def _tuple1(machine: _Machine) -> None:
    stack = machine.stack
    stack[-1] = (stack[-1],)


def _tuple2(machine: _Machine) -> None:
    stack = machine.stack
    last = stack.pop()
    stack[-1] = (stack[-1], last)


def _tuple3(machine: _Machine) -> None:
    stack = machine.stack
    last = stack.pop()
    middle = stack.pop()
    stack[-1] = (stack[-1], middle, last)


def _empty_list(machine: _Machine) -> None:
    machine.stack.append([])


def _list(machine: _Machine) -> None:
    values = machine.to_mark()
    machine.stack.append(values)


def _extend(target: object, values: list[object]) -> None:
    if not isinstance(target, list):
        raise PickleError("appends to a value that is not a list")
    target.extend(values)


def _append(machine: _Machine) -> None:
    value = machine.stack.pop()
    _extend(machine.stack[-1], [value])


def _appends(machine: _Machine) -> None:
    values = machine.to_mark()
    _extend(machine.stack[-1], values)


def _empty_dict(machine: _Machine) -> None:
    machine.stack.append({})


def _set_all(target: object, values: list[object]) -> None:
    if len(values) % 2:
        raise PickleError("has a dictionary key without a value")
    for index in range(0, len(values), 2):
        put(target, values[index], values[index + 1])


def _dict(machine: _Machine) -> None:
    made: dict[object, object] = {}
    _set_all(made, machine.to_mark())
    machine.stack.append(made)


def _set_item(machine: _Machine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    put(machine.stack[-1], key, value)


def _set_items(machine: _Machine) -> None:
    values = machine.to_mark()
    _set_all(machine.stack[-1], values)


def _empty_set(machine: _Machine) -> None:
    machine.stack.append(SetItems())


def _frozen_set(machine: _Machine) -> None:
    values = FrozenSetItems(machine.to_mark())
    machine.stack.append(values)


def _memo_get(machine: _Machine, index: int) -> None:
    try:
        machine.stack.append(machine.memo[index])
    except KeyError:
        raise PickleError("recalls a value that it has not stored") from None


def _get(machine: _Machine) -> None:
    _memo_get(machine, int(_parsed(int, machine.line())))


def _bin_get(machine: _Machine) -> None:
    machine.pos += 1
    _memo_get(machine, machine.window[machine.pos - 1])


def _long_bin_get(machine: _Machine) -> None:
    _memo_get(machine, machine.number(4))


def _put(machine: _Machine) -> None:
    index = int(_parsed(int, machine.line()))
    if not 0 <= index < _MEMO_LIMIT:
        raise PickleError("stores a value under an impossible number")
    machine.memo[index] = machine.stack[-1]


def _bin_put(machine: _Machine) -> None:
    machine.memo[machine.window[machine.pos]] = machine.stack[-1]
    machine.pos += 1


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _named_line(machine: _Machine) -> Global:
    module, name = machine.line(), machine.line()
    return machine.find(module.decode("latin-1"), name.decode("latin-1"))


def _global(machine: _Machine) -> None:
    machine.stack.append(_named_line(machine))


def _stack_global(machine: _Machine) -> None:
    name = machine.stack.pop()
    machine.stack.append(machine.find(machine.stack.pop(), name))


def _extension(width: int) -> Callable[[_Machine], None]:
    def refuse(machine: _Machine) -> None:
        raise code(f"extension code {machine.number(width)}")

    return refuse


def _reduce(machine: _Machine) -> None:
    arguments = machine.stack.pop()
    called = machine.stack[-1]
    if type(called) is not Global or type(arguments) is not tuple:
        raise code("a call of a value that is not a function")
    if called.make is None:
        raise code(f"{called.name}(...)")
    if called.cost is not None:
        machine.charge(called.cost(arguments))
    machine.stack[-1] = called.make(arguments)


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if not isinstance(target, Inert):
        raise code("a state for a value that has none")
    target.set_state(state)


def _instance(called: object) -> PickleError:
    """Objects of names that are not classes of the table, and objects built in ways that no checkpoint uses."""
    return code(f"an object of {called.name}" if isinstance(called, Global) else "an object of a value")


def _inst(machine: _Machine) -> None:
    raise _instance(_named_line(machine))


def _obj(machine: _Machine) -> None:
    raise _instance(machine.to_mark()[0])


def _new_obj(machine: _Machine) -> None:
    arguments = machine.stack.pop()
    called = machine.stack[-1]
    if type(called) is not Global or called.new is None or type(arguments) is not tuple:
        raise _instance(called)
    machine.stack[-1] = called.new(arguments)


def _new_obj_ex(machine: _Machine) -> None:
    raise _instance(machine.stack[-3])


def _recall(machine: _Machine, name: object) -> None:
    if machine.persistent is None:
        raise code("a reference to something outside the file")
    machine.stack.append(machine.persistent(name))


def _pers_id(machine: _Machine) -> None:
    _recall(machine, machine.line().decode("latin-1"))


def _bin_pers_id(machine: _Machine) -> None:
    _recall(machine, machine.stack.pop())


def _table() -> tuple[Callable[[_Machine], None], ...]:
    steps: list[Callable[[_Machine], None]] = [_damaged] * 256
    for opcode, step in {
        b"\x80": _proto, b"\x95": _frame,
        b"N": _none, b"\x88": _true, b"\x89": _false,
        b"I": _int, b"L": _long, b"F": _float, b"G": _bin_float, b"J": _bin_int,
        b"M": _bin_int2, b"\x8a": _long1, b"\x8b": _long4,
        b"S": _string, b"T": _bin_string, b"U": _short_bytes, b"C": _short_bytes, b"B": _bytes4,
        b"\x8e": _bytes8, b"\x96": _byte_array,
        b"V": _unicode, b"X": _text4, b"\x8c": _short_text, b"\x8d": _text8,
        b"\x97": _buffer, b"\x98": _buffer,
        b"0": _pop, b"1": _pop_mark, b"2": _dup,
        b")": _empty_tuple, b"t": _tuple, b"\x85": _tuple1, b"\x86": _tuple2, b"\x87": _tuple3,
        b"]": _empty_list, b"l": _list, b"a": _append, b"e": _appends,
        b"}": _empty_dict, b"d": _dict, b"s": _set_item, b"u": _set_items,
        b"\x8f": _empty_set, b"\x90": _appends, b"\x91": _frozen_set,
        b"g": _get, b"h": _bin_get, b"j": _long_bin_get,
        b"p": _put, b"q": _bin_put, b"\x94": _memoize,
        b"c": _global, b"\x93": _stack_global,
        b"\x82": _extension(1), b"\x83": _extension(2), b"\x84": _extension(4),
        b"R": _reduce, b"b": _build, b"i": _inst, b"o": _obj, b"\x81": _new_obj, b"\x92": _new_obj_ex,
        b"P": _pers_id, b"Q": _bin_pers_id,
    }.items():  # fmt: skip
        steps[opcode[0]] = step
    return tuple(steps)


_STEPS = _table()
