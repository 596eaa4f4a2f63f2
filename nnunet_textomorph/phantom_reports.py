"""Radiology reports for phantom patients: free text written from the true descriptors of the drawn lesions.

The wordings are varied, some reports are fragments that leave out part of what is known, and every report also says
things that are not about the lesion: findings of other organs, and negations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_textomorph.llm_reports.descriptors import Descriptors

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "attenuation": {
        "hypo": ("hypoattenuating", "hypodense", "low-attenuation", "low-density"),
        "iso": ("isoattenuating", "isodense"),
        "hyper": ("hyperattenuating", "hyperdense", "high-attenuation"),
    },
    "texture": {
        "homogeneous": ("homogeneous", "uniform"),
        "heterogeneous": ("heterogeneous", "inhomogeneous"),
    },
    "composition": {
        "solid": ("solid",),
        "cystic": ("cystic",),
        "mixed": ("mixed solid and cystic", "partly cystic"),
        "necrotic": ("centrally necrotic", "necrotic"),
        "calcified": ("calcified", "partly calcified"),
    },
    "margin": {
        "well-defined": ("well-defined", "well-circumscribed", "sharply marginated"),
        "ill-defined": ("ill-defined", "poorly defined", "poorly marginated"),
    },
    "enhancement": {
        "hypo": ("hypoenhancing", "with reduced enhancement"),
        "hyper": ("hyperenhancing", "with avid enhancement"),
        "arterial": ("with arterial hyperenhancement",),
        "washout": ("with washout in the portal venous phase", "with portal venous washout"),
        "rim": ("rim-enhancing",),
        "none": ("without enhancement", "nonenhancing"),
    },
    "pathology": {
        "PDAC": ("pancreatic ductal adenocarcinoma", "PDAC", "ductal adenocarcinoma"),
        "PNET": ("pancreatic neuroendocrine tumor", "PNET"),
        "cyst": ("cyst",),
        "metastasis": ("metastasis",),
        "HCC": ("hepatocellular carcinoma", "HCC"),
        "hemangioma": ("hemangioma",),
        "RCC": ("renal cell carcinoma", "RCC"),
        "sarcoma": ("sarcoma", "soft-tissue sarcoma"),
    },
}

ADJECTIVES = ("margin", "attenuation", "texture", "composition")

OTHER_ORGANS: dict[str, tuple[str, ...]] = {
    "liver": (
        "The liver is normal in size and contour.",
        "Liver: mild steatosis, no focal lesion.",
        "No focal hepatic lesion.",
        "Homogeneous hepatic parenchyma, no biliary dilatation.",
    ),
    "pancreas": (
        "The pancreas is unremarkable, no ductal dilatation.",
        "Pancreas: age-appropriate fatty atrophy, no mass.",
        "No pancreatic mass.",
    ),
    "kidney": (
        "Both kidneys enhance symmetrically, no hydronephrosis.",
        "Kidneys: no solid mass, no stones.",
        "No renal mass.",
    ),
    "spleen": (
        "The spleen is not enlarged.",
        "Spleen homogeneous, 11 cm.",
        "Tiny calcified splenic granuloma.",
    ),
    "other": (
        "No ascites.",
        "No enlarged lymph nodes.",
        "No free air.",
        "Adrenal glands unremarkable.",
        "Gallbladder without stones.",
        "Mild atherosclerosis of the abdominal aorta.",
        "Degenerative changes of the lumbar spine.",
        "Lung bases clear.",
        "No pleural effusion.",
        "Small sliding hiatal hernia.",
    ),
}
NEGATIONS = {
    "liver": ("No biliary obstruction.", "Portal vein patent, no thrombus.", "No further hepatic lesion is seen."),
    "pancreas": ("No vascular encasement.", "No peripancreatic fluid.", "The main pancreatic duct is not dilated."),
    "kidney": ("No renal vein thrombus.", "No hydronephrosis.", "No perirenal infiltration."),
    "soft tissue": ("No erosion of bone.", "No vascular encasement.", "No infiltration of the skin."),
}
HEALTHY = {
    "liver": ("No focal hepatic lesion.", "The liver shows no mass and no cyst.", "Liver without focal abnormality."),
    "pancreas": ("No pancreatic mass or cyst.", "The pancreas is normal, no solid lesion.", "Pancreas unremarkable."),
    "kidney": ("No renal mass or cyst.", "Both kidneys without focal lesion.", "Kidneys normal, no tumor."),
}


@dataclass(frozen=True)
class Finding:
    """One lesion as a report sees it: its descriptors and where it lies, in words ("segment 7", "head", ...)."""

    descriptors: Descriptors
    location: str


def write_report(
    organ: str, findings: Sequence[Finding], rng: np.random.Generator
) -> tuple[str, list[tuple[str, ...]]]:
    """A report in free text, and for each finding the names of the descriptors that it states.

    ``organ``: liver, pancreas or kidney. No finding gives a report of a healthy organ; with one, ``organ`` may be soft
    tissue as well.
    """
    short = rng.random() < 0.3
    sentences, stated = [], []
    for finding in findings:
        told = _told(finding.descriptors, short, rng)
        stated.append(tuple(told))
        sentences.append(_sentence(finding, told, short, rng))
    if not findings:
        sentences.append(_pick(HEALTHY[organ], rng))

    others = [name for name in OTHER_ORGANS if name not in (organ, "other")]
    around = [_pick(OTHER_ORGANS[str(name)], rng) for name in rng.permutation(others)[: 1 if short else 3]]
    around += [str(s) for s in rng.permutation(OTHER_ORGANS["other"])[: int(rng.integers(0, 2 if short else 4))]]
    if findings and rng.random() < 0.7:
        sentences.append(_pick(NEGATIONS[organ], rng))
    before = int(rng.integers(0, len(around) + 1))
    body = [*around[:before], *sentences, *around[before:]]
    if short:
        return " ".join(body), stated
    head = _pick(
        ("CT abdomen, portal venous phase.", "Contrast-enhanced CT of the upper abdomen.", "CT abdomen with contrast."),
        rng,
    )
    text = f"{head} FINDINGS: {' '.join(body)}"
    if rng.random() < 0.6:
        text += f" IMPRESSION: {_impression(organ, findings, stated, rng)}"
    return text, stated


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return str(options[int(rng.integers(len(options)))])


def _told(d: Descriptors, short: bool, rng: np.random.Generator) -> list[str]:
    """Names of the descriptors that the report states; a fragment leaves some out, never all."""
    known = [name for name in (*ADJECTIVES, "enhancement", "pathology", "size_mm") if getattr(d, name) is not None]
    kept = [name for name in known if rng.random() > (0.3 if short else 0.06)]
    return kept if set(kept) & {"attenuation", "composition", "pathology"} else [*kept, "attenuation"]


def _size(size_mm: float, rng: np.random.Generator) -> str:
    return f"{size_mm:.0f} mm" if size_mm < 10 or rng.random() < 0.5 else f"{size_mm / 10:.1f} cm"


def _sentence(finding: Finding, told: Sequence[str], short: bool, rng: np.random.Generator) -> str:
    d = finding.descriptors
    words = {n: _pick(WORDS[n][getattr(d, n)], rng) for n in told if n != "size_mm"}
    adjectives = [words[str(n)] for n in rng.permutation(ADJECTIVES) if n in words]
    noun = _pick(("lesion", "mass", "focus") if (d.size_mm or 30) < 30 else ("lesion", "mass"), rng)
    enhancing = words.get("enhancement", "")
    if enhancing and not enhancing.startswith("with"):
        adjectives.append(enhancing)
        enhancing = ""
    lesion = (
        f"{', '.join(adjectives)} {noun}".strip() if rng.random() < 0.4 else f"{' '.join(adjectives)} {noun}".strip()
    )
    after = f" {enhancing}" if enhancing else ""
    place = _place(d.organ or "", finding.location, rng)
    size = _size(d.size_mm, rng) if d.size_mm is not None and "size_mm" in told else ""
    suspected = (
        f"{_pick(('suspicious for', 'consistent with', 'compatible with'), rng)} {_noun(words.get('pathology'))}"
    )
    suspected = suspected if "pathology" in words else ""
    if short:
        parts = [f"{place}: {lesion}{after}", size, suspected]
        return ", ".join(p for p in parts if p).capitalize() + "."
    measure = f", measuring {size}" if size and rng.random() < 0.5 else ""
    lead = f"{size} " if size and not measure else ""
    text = _pick(
        (
            f"{_article(lead + lesion)} {lead}{lesion}{after} is seen in the {place}{measure}",
            f"In the {place} there is {_article(lead + lesion).lower()} {lead}{lesion}{after}{measure}",
            f"{place.capitalize()} with {_article(lead + lesion).lower()} {lead}{lesion}{after}{measure}",
        ),
        rng,
    )
    return f"{text}, {suspected}." if suspected else f"{text}."


def _noun(pathology: str | None) -> str:
    return f"{_article(pathology).lower()} {pathology}" if pathology else ""


def _article(phrase: str) -> str:
    """A or An. Abbreviations and numbers go by how they are spoken."""
    first = phrase.split(" ", 1)[0].strip(",")
    if first[:1].isdigit():
        return "An" if first.startswith("8") or first in ("11", "18") else "A"
    if first.isupper():
        return "An" if first[0] in "AEFHILMNORSX" else "A"
    return "An" if first[:1].lower() in "aeiou" and not first.startswith("uni") else "A"


def _place(organ: str, location: str, rng: np.random.Generator) -> str:
    if organ == "pancreas":
        return _pick((f"pancreatic {location}", f"{location} of the pancreas"), rng)
    if organ in ("kidney", "soft tissue"):
        return location  # "left kidney, upper pole"
    return _pick((f"liver {location}", f"hepatic {location}", f"{location} of the liver"), rng)


def _impression(
    organ: str, findings: Sequence[Finding], stated: Sequence[Sequence[str]], rng: np.random.Generator
) -> str:
    if not findings:
        return _pick(("No acute finding.", "Normal study.", f"No evidence of a {organ} tumor."), rng)
    named = [
        _pick(WORDS["pathology"][f.descriptors.pathology], rng)
        for f, told in zip(findings, stated, strict=True)
        if f.descriptors.pathology and "pathology" in told
    ]
    if not named:
        return _pick(("Findings as described.", f"Lesion of the {organ} as described, recommend follow-up."), rng)
    return f"Findings suggest {' and '.join(dict.fromkeys(_noun(n) for n in named))}."
