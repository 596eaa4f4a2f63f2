"""Wordings that the shipped generator is trained on beside those of the grammar: radiologists do not speak grammar.

Written by hand, broad in synonyms, so that the text adapter meets the neighbourhood of each meaning and not one word
for it. They share no wording with ``held_out_prompts.py`` but plain terms of the field (``tests/test_phrasing.py``).
``broad()`` adds those of broad_wordings.json, which the adapter is taught last (``teach_wordings.py``).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from nnunet_textomorph.llm_reports.descriptors import Descriptors

# Per value: words before a noun or after "is"; noun phrases after "with"; whole clauses.
Words = dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]]
WORDS: Words = {
    "attenuation": {
        "hypo": (
            ("hypoattenuating", "hypodense", "low-density", "dark", "lucent", "less dense", "reduced-density", "dim"),
            (
                "reduced density",
                "fewer HU than the organ",
                "a dark appearance",
                "diminished attenuation",
                "HU below the parenchyma",
            ),
            (
                "it is darker than the organ around it",
                "its density falls below the parenchyma",
                "it stands out as dark",
            ),
        ),
        "iso": (
            ("isoattenuating", "isodense", "of equal density", "density-matched", "barely distinguishable in density"),
            ("no density difference", "HU like those of the organ", "unaltered density", "the organ's own attenuation"),
            ("it has the density of the parenchyma", "it is as bright as the organ", "it does not differ in density"),
        ),
        "hyper": (
            ("hyperattenuating", "hyperdense", "high-density", "bright", "denser", "increased-density", "dense"),
            (
                "raised density",
                "more HU than the organ",
                "a bright appearance",
                "elevated attenuation",
                "HU above the parenchyma",
            ),
            (
                "it is brighter than the organ around it",
                "its density exceeds the parenchyma",
                "it stands out as bright",
            ),
        ),
    },
    "texture": {
        "homogeneous": (
            (
                "homogeneous",
                "uniform",
                "even",
                "monotonous",
                "featureless",
                "bland",
                "smooth-textured",
                "consistent in density",
                "of one density throughout",
                "internally even",
                "texturally uniform",
                "regular inside",
                "unvaried",
            ),
            (
                "an even interior",
                "no internal structure",
                "a bland matrix",
                "the same density all through",
                "no internal variation",
                "a featureless inside",
                "a regular internal pattern",
                "consistent density",
                "uniform content",
                "homogeneity",
            ),
            (
                "its inside looks the same everywhere",
                "the density does not vary within it",
                "no internal variation is seen",
                "it is of one even density",
                "the interior is plain",
                "its content is uniform",
                "the inner texture is regular",
            ),
        ),
        "heterogeneous": (
            (
                "heterogeneous",
                "inhomogeneous",
                "uneven",
                "nonhomogeneous",
                "blotchy",
                "dappled",
                "coarse",
                "marbled",
                "grainy",
                "of mixed density",
                "of variable density",
                "streaky",
                "internally uneven",
                "texturally mixed",
                "irregular inside",
                "varied",
            ),
            (
                "an uneven interior",
                "a complex internal structure",
                "a coarse matrix",
                "densities that change from place to place",
                "internal variation",
                "a chaotic inside",
                "an irregular internal pattern",
                "variable density",
                "mixed content",
                "blotchy areas",
                "heterogeneity",
                "dark and bright foci inside",
            ),
            (
                "its inside looks different from place to place",
                "the density varies within it",
                "internal variation is seen",
                "it is of uneven density",
                "the interior is complex",
                "its content is mixed",
                "the inner texture is irregular",
            ),
        ),
    },
    "margin": {
        "well-defined": (
            (
                "well-defined",
                "well-circumscribed",
                "sharp-edged",
                "crisply edged",
                "discrete",
                "clear-cut",
                "distinct",
                "well-marginated",
                "cleanly bordered",
                "sharply bounded",
                "neatly bordered",
                "definite",
            ),
            (
                "clean edges",
                "sharp borders",
                "a distinct boundary",
                "a definite contour",
                "a clear-cut edge",
                "crisp limits",
                "a sharp transition to the organ",
                "an abrupt edge",
                "easily traced borders",
                "clear limits",
            ),
            (
                "its boundary is distinct",
                "one sees exactly where it ends",
                "the edge is clear-cut",
                "the transition is abrupt",
                "its limits are easily traced",
                "the contour is definite",
            ),
        ),
        "ill-defined": (
            (
                "ill-defined",
                "poorly circumscribed",
                "fuzzy",
                "smudged",
                "vague",
                "diffuse",
                "blurry-edged",
                "indefinite",
                "poorly marginated",
                "unclear at its border",
                "vaguely bordered",
                "obscurely bounded",
                "infiltrating",
                "invading",
            ),
            (
                "fuzzy edges",
                "unsharp borders",
                "an unclear boundary",
                "a vague contour",
                "a smudged edge",
                "obscure limits",
                "a gradual transition to the organ",
                "fading edges",
                "borders that cannot be traced",
                "diffuse limits",
            ),
            (
                "its boundary is unclear",
                "one cannot see where it ends",
                "the edge is fuzzy",
                "the transition is gradual",
                "its limits cannot be traced",
                "the contour is vague",
                "it fades into the organ",
            ),
        ),
    },
    "composition": {
        "solid": (
            ("solid", "soft-tissue", "solid-looking"),
            ("solid tissue", "soft-tissue content"),
            ("it consists of solid tissue",),
        ),
        "cystic": (
            ("cystic", "fluid", "water-like", "liquid"),
            ("fluid inside", "liquid content"),
            ("it holds fluid", "it is a fluid collection"),
        ),
        "mixed": (
            ("mixed solid and cystic", "part cystic", "solid-cystic"),
            ("solid tissue beside fluid", "cystic parts in solid tissue"),
            ("solid and cystic parts lie side by side",),
        ),
        "necrotic": (
            ("necrotic", "centrally necrotic", "centrally broken down"),
            ("a dead center", "necrosis inside", "central breakdown"),
            ("its middle has died off", "necrosis is seen inside"),
        ),
        "calcified": (
            ("calcified", "calcium-bearing", "partly calcified"),
            ("calcium inside", "calcific specks", "calcific foci"),
            ("calcium is seen inside", "it carries calcific foci"),
        ),
    },
}
NOUNS = ("lesion", "lesion", "mass", "tumor", "nodule", "abnormality", "focus", "finding")
OPENINGS = (
    "There is",
    "One sees",
    "New:",
    "Finding:",
    "Noted:",
    "We report",
    "Demonstrated is",
    "Visible is",
    "",
    "",
    "Large field of view shows",
    "On this CT,",
)
PLACES = ("in the {o}", "of the {o}", "within the {o}", "inside the {o}", "arising from the {o}", "lying in the {o}")
SIZES = ("{mm} mm", "about {mm} mm", "{cm} cm", "approximately {cm} cm", "{mm} mm wide", "{cm} cm large")
DIAGNOSES = ("likely {p}", "{p} favored", "probably {p}", "in line with {p}", "concerning for {p}")


BROAD_OPENINGS = (
    *OPENINGS,
    "Make",
    "Generate",
    "Add",
    "I want",
    "Put in",
    "Insert",
    "Show me",
    "CT:",
    "Here:",
    "We find",
)
BROAD_NOUNS = (*NOUNS, "tumour", "neoplasm", "lump", "spot", "process", "area", "structure", "formation", "growth")


@cache
def broad() -> Words:
    """``WORDS`` and, per value, some hundred more."""
    more = json.loads(Path(__file__).with_name("broad_wordings.json").read_text(encoding="utf-8"))
    return {
        field: {
            value: tuple((*known, *added) for known, added in zip(kinds, more[field][value], strict=True))
            for value, kinds in values.items()
        }
        for field, values in WORDS.items()
    }


def worded(
    d: Descriptors,
    rng: np.random.Generator,
    words: Words = WORDS,
    openings: tuple[str, ...] = OPENINGS,
    nouns: tuple[str, ...] = NOUNS,
) -> str:
    """One wording that states all of ``d`` that it has words for; the same ``rng`` gives the same text."""

    def one(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    before, features, clauses = [], [], []
    for field in rng.permutation(list(WORDS)).tolist():
        value = getattr(d, field)
        if value is None:
            continue
        adjectives, phrases, sentences = words[field][value]
        kind = rng.random()
        if kind < 0.45 and len(before) < 2:
            before.append(one(adjectives))
        elif kind < 0.75:
            features.append(one(phrases))
        elif kind < 0.9:
            clauses.append(one(sentences))
        else:
            clauses.append(f"{one(('it is', 'it appears', 'it looks', 'the lesion is'))} {one(adjectives)}")
    head = f"{' '.join(before)} {one(nouns)}".strip()
    text = f"{one(openings)} {'an' if head[0] in 'aeiou' else 'a'} {head}".strip()
    if d.organ:
        text += " " + one(PLACES).replace("{o}", d.organ)
    if features:
        text += f" {one(('with', 'with', 'showing', 'that has', 'of'))} {' and '.join(features)}"
    if d.size_mm is not None:
        size = one(SIZES).replace("{mm}", str(round(d.size_mm))).replace("{cm}", f"{d.size_mm / 10:.1f}")
        text += one((f", {size}", f"; size {size}", f" ({size})"))
    if d.pathology:
        text += f", {one(DIAGNOSES).replace('{p}', d.pathology)}"
    joint = one((". ", "; ", ". "))
    text = joint.join([text, *clauses]) + one((".", ""))
    text = text.replace("{o}", d.organ or "organ")
    text = text[:1].upper() + text[1:]
    return text.lower() if rng.random() < 0.1 else text
