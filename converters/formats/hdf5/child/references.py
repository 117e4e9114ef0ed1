"""What the references in an HDF5 file refer to, so that those of two files can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.formats.other_value import LIST

from .rows import row
from .values import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .rows import Row

_BLOCKS = 10_000  # blocks or points of a region that are compared


class Targets:
    """Names what references refer to, by the first of all paths that lead there. ``found`` are all objects of the open
    file ``root`` with their paths."""

    def __init__(self, h5py: Any, root: Any, found: Iterable[tuple[str, Any]]) -> None:
        self._h5py = h5py
        self._root = root
        self._paths: dict[object, str] = {self._address(root): ""}
        for path, one in found:
            if hasattr(one, "id"):  # a link has none
                self._paths.setdefault(self._address(one), path)

    def parts(self, values: Any) -> Iterator[Row]:
        """The elements of an array with references, or the one value that h5py gave, each by its place."""
        flat = values.reshape(-1).tolist() if hasattr(values, "reshape") else [values]
        for number, element in enumerate(flat):
            yield {"path": f"[{number}]", **self._described(element)}

    def _described(self, element: Any) -> Row:
        if isinstance(element, self._h5py.h5r.Reference):
            return self._reference(element)
        if isinstance(element, (tuple, list)) or hasattr(element, "tolist"):
            inner = element if isinstance(element, (tuple, list)) else element.reshape(-1).tolist()
            parts = [{"path": f"[{number}]", **self._described(one)} for number, one in enumerate(inner)]
            return row(LIST, parts=parts)
        return row(type(element).__name__, value=repr(element))

    def _reference(self, reference: Any) -> Row:
        """A reference by its target's path, and by the places in it; opaque where nothing in the file has a path."""
        if not reference:
            return row("reference to nothing")
        try:
            path = self._paths.get(self._address(self._root[reference]))
            region = isinstance(reference, self._h5py.h5r.RegionReference)
            places = self._places(reference) if region else ""
        except ERRORS:
            path = places = None
        if path is None or places is None:
            return row("reference", opaque=True)
        return row("reference", value=f"/{path}{places}")

    def _places(self, reference: Any) -> str | None:
        """The blocks or points of a region; None where they are too many."""
        h5s = self._h5py.h5s
        space = self._h5py.h5r.get_region(reference, self._root.id)
        kind = space.get_select_type()
        if kind == h5s.SEL_HYPERSLABS:
            few = space.get_select_hyper_nblocks() <= _BLOCKS
            found = space.get_select_hyper_blocklist().tolist() if few else None
        elif kind == h5s.SEL_POINTS:
            few = space.get_select_elem_npoints() <= _BLOCKS
            found = space.get_select_elem_pointlist().tolist() if few else None
        else:
            return " all" if kind == h5s.SEL_ALL else " none"
        return None if found is None else f" {found} of {space.shape}"

    def _address(self, found: Any) -> object:
        info = self._h5py.h5o.get_info(found.id)
        return info.fileno, info.addr
