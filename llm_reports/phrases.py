"""Finding the phrases of ``lexicon``'s table in the tokens of a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from .lexicon import SKIPPED, Term


class Hit(NamedTuple):
    """A phrase of the table in a sentence: tokens ``start`` to ``end`` (exclusive) and what they say."""

    start: int
    end: int
    terms: tuple[Term, ...]

    def has(self, *kinds: str) -> bool:
        # asked some fifty times a sentence: a generator takes twice as long
        for term in self.terms:  # noqa: SIM110
            if term.kind in kinds:
                return True
        return False

    def name(self, kind: str) -> str | None:
        return next((t.name for t in self.terms if t.kind == kind), None)


class _Place(NamedTuple):
    """A place in a pattern: before ``slot``, when ``rest`` of an alternative of the slot before has been passed."""

    pattern: int
    slot: int
    rest: tuple[str, ...]


class Phrases:
    """The phrases that a table of patterns stands for (``lexicon`` tells how they are written), to be found.

    Written out they are half a million sequences of tokens, of which sentences meet few: where some tokens lead to is
    worked out when they first occur.
    """

    def __init__(self, entries: Iterable[tuple[str, Term]]) -> None:
        read = [([_alternatives(slot) for slot in pattern.split()], term) for pattern, term in entries]
        self._slots = [slots for slots, _ in read]
        self._terms = [term for _, term in read]
        self._nodes: dict[tuple[_Place, ...], _Node] = {}
        self._root = self.node([_Place(pattern, 0, ()) for pattern in range(len(read))])

    def __contains__(self, token: str) -> bool:
        """Whether a phrase begins with ``token``."""
        return self._root.leads_on(token)

    def terms(self, token: str) -> tuple[Term, ...]:
        """What ``token`` says alone."""
        node = self._root[token]
        return () if node is None else node.terms

    def find(self, tokens: Sequence[str]) -> list[Hit]:
        """The phrases in a sentence: from the left, the longest at each place, none overlapping."""
        hits = []
        start, n = 0, len(tokens)
        while start < n:
            end, terms = self._longest(tokens, start)
            if end:
                hits.append(Hit(start, end, terms))
            start = end or start + 1
        return hits

    def _longest(self, tokens: Sequence[str], start: int) -> tuple[int, tuple[Term, ...]]:
        node = self._root[tokens[start]]
        best: tuple[int, tuple[Term, ...]] = (0, ())
        at, n = start + 1, len(tokens)
        while node is not None:
            if node.terms:
                best = (at, node.terms)
            while at < n and tokens[at] in SKIPPED and not node.leads_on(tokens[at]):
                at += 1
            if at >= n:
                break
            node = node[tokens[at]]
            at += 1
        return best

    def node(self, places: Iterable[_Place]) -> _Node:
        """The node of some places; one for all sequences of tokens that lead to the same."""
        key = tuple(dict.fromkeys(places))
        if key not in self._nodes:
            self._nodes[key] = _Node(self, key)
        return self._nodes[key]

    def said_at(self, places: Iterable[_Place]) -> tuple[Term, ...]:
        """What the patterns say that end at one of ``places``."""
        said: tuple[Term, ...] = ()
        for term in (self._terms[place.pattern] for place in places):
            if term.kind == "silent":
                said = (term,)
            elif term not in said:
                said = (*said, term)
        return said

    def after(self, place: _Place) -> Iterator[tuple[str | None, _Place]]:
        """The tokens that a pattern goes on with, and where each leads; None: it may end here."""
        if place.rest:
            yield place.rest[0], place._replace(rest=place.rest[1:])
            return
        slots = self._slots[place.pattern]
        if place.slot == len(slots):
            yield None, place
            return
        for option in slots[place.slot]:
            next_place = _Place(place.pattern, place.slot + 1, option[1:])
            if option:
                yield option[0], next_place
            else:
                yield from self.after(next_place)


class _Node(dict[str, "_Node"]):
    """Where some tokens lead to: ``terms`` where a phrase ends there; by token the next node, or None."""

    def __init__(self, phrases: Phrases, places: Iterable[_Place]) -> None:
        super().__init__()
        self._phrases = phrases
        self._following: dict[str, list[_Place]] = {}
        ended = []
        for place in places:
            for token, next_place in phrases.after(place):
                if token is None:
                    ended.append(next_place)
                else:
                    self._following.setdefault(token, []).append(next_place)
        self.terms = phrases.said_at(ended)

    def __missing__(self, token: str) -> _Node | None:
        if token not in self._following:
            return None
        self[token] = self._phrases.node(self._following[token])
        return self[token]

    def leads_on(self, token: str) -> bool:
        """Whether a phrase goes on with ``token``."""
        return token in self._following


@cache
def _alternatives(slot: str) -> tuple[tuple[str, ...], ...]:
    """The token sequences that a slot stands for."""
    options = tuple(tuple(option.split("_")) for option in slot.rstrip("?").split("|"))
    return (*options, ()) if slot.endswith("?") else options


def vocabulary(entries: Iterable[tuple[str, Term]]) -> set[str]:
    """Every token of the patterns of a table."""
    slots = {slot for pattern, _ in entries for slot in pattern.split()}
    return {token for slot in slots for option in _alternatives(slot) for token in option}
