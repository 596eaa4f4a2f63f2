"""Many distinct wordings of one description, each checked (paper section III-A: N = 100), without a language model."""

from __future__ import annotations

import re

import numpy as np

from .descriptors import Descriptors
from .encoders import Encoder
from .phrasing import describe, rephrase
from .validation import Pair, validate_texts

TRIES = 30
"""Texts drawn per variant wanted, before a description is taken to have no more."""


def distinct_key(text: str) -> str:
    """What two texts share that differ in case, spacing and punctuation only."""
    return re.sub(r"[\W_]+", "", text.casefold())


def vary_offline(
    descriptors: Descriptors, n: int = 100, *, seed: int, encoder: Encoder | None, location: str | None = None
) -> list[str]:
    """Up to ``n`` wordings of ``describe(descriptors)``, not itself among them: distinct (:func:`distinct_key`), valid.

    Fewer where ``TRIES * n`` draws of the grammar give no more: never a repeat, never an unchecked text. ``location``:
    see :func:`~.phrasing.rephrase`. The same arguments give the same list. Without an encoder only the descriptors are
    checked: of the grammar's own texts the cosine rejects next to none, but takes most of the time.
    """
    source = describe(descriptors)
    rng = np.random.default_rng(seed)
    seen = {distinct_key(source)}
    kept: list[str] = []
    tries = 0
    while len(kept) < n and tries < TRIES * n:
        fresh: list[str] = []
        while len(fresh) < n - len(kept) and tries < TRIES * n:
            tries += 1
            text = rephrase(descriptors, rng, location)
            key = distinct_key(text)
            if key not in seen:
                seen.add(key)
                fresh.append(text)
        verdicts = validate_texts((Pair(source, text, descriptors) for text in fresh), encoder)
        kept += [text for text, verdict in zip(fresh, verdicts, strict=True) if verdict.kept]
    return kept
