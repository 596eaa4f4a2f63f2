"""Finding phrases: as if every token sequence of the patterns had been written out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_textomorph.llm_reports.lexicon import SKIPPED, Term
from nnunet_textomorph.llm_reports.phrases import Hit, Phrases

TOKENS = ("low", "density", "in", "rim", *sorted(SKIPPED)[:1])
slots = st.tuples(
    st.lists(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=2).map("_".join), min_size=1, max_size=3),
    st.booleans(),
).map(lambda slot: "|".join(slot[0]) + "?" * slot[1])
patterns = st.lists(slots, min_size=1, max_size=3).map(" ".join)
terms = st.builds(Term, st.sampled_from(("say", "mod", "silent")), st.sampled_from(("a", "b")))
tables = st.lists(st.tuples(patterns, terms), min_size=1, max_size=4)


def written_out(pattern: str) -> set[tuple[str, ...]]:
    sequences: set[tuple[str, ...]] = {()}
    for slot in pattern.split():
        options = [tuple(option.split("_")) for option in slot.rstrip("?").split("|")]
        options += [()] if slot.endswith("?") else []
        sequences = {sequence + option for sequence in sequences for option in options}
    return sequences


@settings(max_examples=300, deadline=None)
@given(tables, st.lists(st.sampled_from((*TOKENS, "other")), min_size=1, max_size=7))
def test_phrases_are_those_of_the_table_written_out(table: list[tuple[str, Term]], tokens: list[str]) -> None:
    said: dict[tuple[str, ...], tuple[Term, ...]] = {}
    for pattern, term in table:
        for sequence in written_out(pattern) - {()}:
            before = said.get(sequence, ())
            said[sequence] = (term,) if term.kind == "silent" else before if term in before else (*before, term)
    begun = {sequence[:n] for sequence in said for n in range(1, len(sequence) + 1)}

    def longest(start: int) -> Hit | None:
        best, passed, at = None, (tokens[start],), start + 1
        while passed in begun:
            best = Hit(start, at, said[passed]) if passed in said else best
            while at < len(tokens) and tokens[at] in SKIPPED and (*passed, tokens[at]) not in begun:
                at += 1
            if at == len(tokens):
                break
            passed, at = (*passed, tokens[at]), at + 1
        return best

    expected, start = [], 0
    while start < len(tokens):
        hit = longest(start)
        expected += [hit] if hit else []
        start = hit.end if hit else start + 1
    phrases = Phrases(table)
    assert phrases.find(tokens) == expected
    assert phrases.find(tokens) == expected  # again, where the tokens have been met
    assert all((token in phrases) == ((token,) in begun) for token in TOKENS)
    assert all(phrases.terms(token) == said.get((token,), ()) for token in TOKENS)
