"""Prompts in wordings that the training grammar cannot produce, to test text control with.

The sentences are written by hand and share no code with ``llm_reports.phrasing``. Every sentence holds words that the
grammar does not know at all (``tests/test_phrasing.py`` checks this), and for each value two thirds or more of its
wordings are unknown to the grammar as well.
"""

from __future__ import annotations

from nnunet_textomorph.llm_reports.descriptors import Descriptors

# Per value: wordings that stand before a noun or after "is", and noun phrases that stand after "with".
ADJECTIVES: dict[str, dict[str, tuple[str, ...]]] = {
    "attenuation": {
        "hypo": ("low attenuating", "hypodense", "darker-than-normal", "lower-attenuation"),
        "iso": ("isoattenuated", "isodense", "equally dense", "same-attenuation"),
        "hyper": ("high attenuating", "hyperdense", "brighter-than-normal", "higher-attenuation"),
    },
    "texture": {
        "homogeneous": ("homogenous", "homogeneous", "evenly textured", "internally uniform"),
        "heterogeneous": ("unevenly textured", "heterogeneous", "variegated", "internally irregular"),
    },
    "composition": {
        "solid": ("fully solid", "solid"),
        "cystic": ("fluid-containing", "cystic"),
        "mixed": ("half-solid half-cystic", "mixed cystic and solid"),
        "necrotic": ("necrotizing", "necrotic"),
        "calcified": ("chalky", "calcified"),
    },
    "margin": {
        "well-defined": ("clearly demarcated", "well-defined", "well-delineated", "sharply outlined"),
        "ill-defined": ("vaguely demarcated", "ill-defined", "poorly delineated", "ill-marginated"),
    },
    "enhancement": {
        "hypo": ("underenhancing", "hypoenhancing"),
        "hyper": ("vividly enhancing", "hyperenhancing"),
        "arterial": ("early-arterial enhancing", "arterially enhancing"),
        "washout": ("late-washout", "washing-out"),
        "rim": ("edge-enhancing", "rim-enhancing"),
        "none": ("contrast-negative", "non-enhancing"),
    },
}
FEATURES: dict[str, dict[str, tuple[str, ...]]] = {
    "attenuation": {
        "hypo": (
            "hypodensity",
            "a lower CT number than the tissue next to it",
            "lower Hounsfield values than its host",
            "low attenuation",
        ),
        "iso": (
            "isodensity",
            "the same CT number as the tissue next to it",
            "Hounsfield values equal to those of its host",
            "the same attenuation as its host",
        ),
        "hyper": (
            "hyperdensity",
            "a higher CT number than the tissue next to it",
            "higher Hounsfield values than its host",
            "high attenuation",
        ),
    },
    "texture": {
        "homogeneous": (
            "a consistent internal appearance",
            "uniformity of its inside",
            "an even makeup",
            "a homogeneous texture",
        ),
        "heterogeneous": (
            "an inconsistent internal appearance",
            "marked unevenness of its inside",
            "a speckled makeup",
            "a heterogeneous texture",
        ),
    },
    "composition": {
        "solid": ("solid tissue only", "a solid makeup"),
        "cystic": ("watery content", "a cystic makeup"),
        "mixed": ("cysts beside solid tissue", "a cystic as well as a solid part"),
        "necrotic": ("dead tissue in its middle", "a necrotic middle"),
        "calcified": ("chalky flecks", "calcium flecks"),
    },
    "margin": {
        "well-defined": ("a clear-cut margin", "distinct borders", "a crisp boundary", "well-defined margins"),
        "ill-defined": ("a fuzzy margin", "unclear borders", "a smeared boundary", "ill-defined margins"),
    },
    "enhancement": {
        "hypo": ("scant uptake of contrast", "reduced contrast uptake"),
        "hyper": ("brisk uptake of contrast", "raised contrast uptake"),
        "arterial": ("uptake of contrast in the arterial phase", "early arterial uptake"),
        "washout": ("later washout of contrast medium", "washout afterwards"),
        "rim": ("uptake of contrast along its rim only", "contrast uptake in a ring"),
        "none": ("no uptake of contrast", "no contrast uptake whatsoever"),
    },
}
PATHOLOGY: dict[str, str] = {
    "PDAC": "adenocarcinoma of ductal type (PDAC)",
    "PNET": "a neuroendocrine neoplasm (PNET)",
    "cyst": "a cyst",
    "metastasis": "metastatic spread",
    "HCC": "hepatocellular cancer (HCC)",
    "hemangioma": "a hemangioma",
    "RCC": "renal cell cancer (RCC)",
    "sarcoma": "a sarcoma",
    "cholangiocarcinoma": "bile duct cancer (cholangiocarcinoma)",
    "IPMN": "an intraductal papillary mucinous tumor (IPMN)",
    "MCN": "a mucinous cystic tumor (MCN)",
    "SCA": "a serous cystic adenoma (SCA)",
    "SPN": "a solid pseudopapillary tumor (SPN)",
    "pseudocyst": "a pseudocyst",
    "AML": "an angiomyolipoma (AML)",
    "oncocytoma": "an oncocytoma",
    "adenoma": "an adenoma",
    "FNH": "focal nodular hyperplasia (FNH)",
    "abscess": "an abscess",
    "UC": "urothelial cancer (UC)",
    "lymphoma": "a lymphoma",
}

# {a}: adjectives and noun with article, {the}: the same with "the", {in}: the place, {with}: noun phrases,
# {size} and {dx}: clauses of their own, each possibly empty.
_NOUNS = ("abnormality", "growth", "finding", "neoplastic area")
_TEMPLATES = (
    "The radiologist describes {a}{in}{with}.{size}{dx}",
    "Please draw {a}{in}{with}.{size}{dx}",
    "On this scan one recognizes {a}{in}{with}.{size}{dx}",
    "After review of all slices: {a}{in}{with}.{size}{dx}",
    "Known patient, follow-up. Again visible: {a}{in}{with}.{size}{dx}",
    "What catches the eye is {a}{in}{with}.{size}{dx}",
    "My reading would be {a}{in}{with}.{size}{dx}",
    "Incidentally discovered {noun}{in}: {words}{with}.{size}{dx}",
    "Question of tumor growth: yes, {a}{in}{with}.{size}{dx}",
    "Referring doctor asks about {the}{in}{with}.{size}{dx}",
)
_FIELDS = ("attenuation", "texture", "margin", "composition", "enhancement")


def held_out_prompts(d: Descriptors) -> list[str]:
    """Forty distinct prompts that state every descriptor of ``d`` that is set, none of which the grammar can produce.

    Fewer when ``d`` states so little that wordings repeat. The order and the texts are always the same.
    """
    prompts = [_prompt(d, template, variant) for variant in range(4) for template in range(len(_TEMPLATES))]
    return list(dict.fromkeys(prompts))


def _prompt(d: Descriptors, template: int, variant: int) -> str:
    adjectives, features = [], []
    for position, field in enumerate(_FIELDS):
        value = getattr(d, field)
        if value is None:
            continue
        as_feature = (template + variant + position) % 2 == 0
        forms = (FEATURES if as_feature else ADJECTIVES)[field][value]
        wording = forms[(template // 2 + variant + position) % len(forms)]
        (features if as_feature else adjectives).append(wording)
    noun = _NOUNS[(template + variant) % len(_NOUNS)]
    words = ", ".join(adjectives)
    head = f"{words} {noun}".strip()
    text = _TEMPLATES[template]
    if not adjectives:
        text = text.replace("{in}: {words}", "{in}")
    place = f" located in the {d.organ.replace('_', ' ')}" if d.organ else ""
    size = ""
    if d.size_mm is not None:
        mm = max(1, round(d.size_mm))
        size = f" Greatest extent roughly {mm} mm." if variant % 2 else f" It spans about {mm / 10:.1f} cm."
    diagnosis = f" I favor {PATHOLOGY[d.pathology]}." if d.pathology else ""
    return (
        text.replace("{a}", f"{'an' if head[0] in 'aeiou' else 'a'} {head}")
        .replace("{the}", f"the {head}")
        .replace("{noun}", noun)
        .replace("{words}", words)
        .replace("{in}", place)
        .replace("{with}", f" with {' and '.join(features)}" if features else "")
        .replace("{size}", size)
        .replace("{dx}", diagnosis)
    )
