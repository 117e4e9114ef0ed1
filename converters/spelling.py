"""The word that was perhaps meant."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest_word(word: str, right: Iterable[str], least: float = 0.6) -> str | None:
    """The most similar right word; None where none is similar, by at ``least`` so much of it (0 to 1). The dashes of
    options, which all have, do not count."""
    from difflib import get_close_matches

    bare = {known.lstrip("-"): known for known in right}
    near = get_close_matches(word.lstrip("-"), sorted(bare), 1, least)
    return bare[near[0]] if near else None


def did_you_mean(word: str, right: Iterable[str], least: float = 0.6) -> str:
    """The most similar right word as a hint; empty where none is similar."""
    near = nearest_word(word, right, least)
    return f"did you mean {near!r}?" if near else ""


def did_you_mean_or_list(word: str, right: Iterable[str]) -> str:
    """As `did_you_mean`; where none is similar, the hint names them all in their order."""
    known = list(right)
    return did_you_mean(word, known) or (f"choose one of {', '.join(known)}" if known else "there are none")
