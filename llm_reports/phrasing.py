"""From descriptors to words: one canonical description, and a grammar of other wordings (paper section III-A).

``describe`` is the canonical sentence. ``rephrase`` draws one of very many wordings that state every descriptor that
is set, and no other. Every wording is text written here; nothing is learned and nothing leaves the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .descriptors import Descriptors


class Wording(NamedTuple):
    """How one value of one descriptor can be said. ``{ref}`` stands for the tissue around the lesion."""

    adjectives: tuple[str, ...]
    """Before the noun, or after "is": *a hypodense lesion*."""
    predicates: tuple[str, ...]
    """After "is", or behind the noun: *lesion, darker than the surrounding liver*."""
    features: tuple[str, ...]
    """Noun phrases after "with": *with indistinct borders*."""
    clauses: tuple[str, ...]
    """Whole clauses: *its borders are indistinct*."""


def _edges(adjectives: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Features and clauses about the lesion's edge, for words that describe an edge."""
    nouns = ("margins", "borders", "edges", "contours")
    features = tuple(f"{a} {n}" for a in adjectives for n in nouns)
    clauses = tuple(f"{article} {n} are {a}" for a in adjectives for n in nouns for article in ("the", "its"))
    return features, clauses


_WELL_EDGES = _edges(("well-defined", "sharp", "clear", "smooth", "crisp", "sharply defined", "smooth and clear"))
_ILL_EDGES = _edges(
    (
        "ill-defined",
        "poorly defined",
        "indistinct",
        "blurred",
        "hazy",
        "infiltrative",
        "unsharp",
        "irregular and blurred",
    )
)

WORDINGS: dict[str, dict[str, Wording]] = {
    "attenuation": {
        "hypo": Wording(
            ("hypoattenuating", "hypodense", "low-density", "low-attenuation"),
            (
                "hypoattenuating to {ref}",
                "hypodense to {ref}",
                "hypodense relative to {ref}",
                "hypoattenuating compared with {ref}",
                "darker than {ref}",
                "less dense than {ref}",
                "less attenuating than {ref}",
                "lower in attenuation than {ref}",
                "lower in density than {ref}",
                "of reduced attenuation",
                "of reduced density",
                "of low attenuation",
                "of low density",
                "of decreased attenuation",
            ),
            (
                "low attenuation",
                "low density",
                "reduced attenuation",
                "decreased attenuation",
                "decreased density",
                "attenuation below that of {ref}",
                "lower density than {ref}",
                "lower attenuation than {ref}",
            ),
            (
                "its attenuation is lower than that of {ref}",
                "its density is below that of {ref}",
                "the attenuation is low",
                "the density is reduced",
                "the density is low compared with {ref}",
                "it appears dark against {ref}",
                "it appears darker than {ref}",
            ),
        ),
        "iso": Wording(
            ("isoattenuating", "isodense"),
            (
                "isoattenuating to {ref}",
                "isodense to {ref}",
                "isodense relative to {ref}",
                "isoattenuating compared with {ref}",
                "of similar density to {ref}",
                "of similar attenuation to {ref}",
                "of the same density as {ref}",
                "of the same attenuation as {ref}",
                "of equal attenuation to {ref}",
                "equal in density to {ref}",
                "equal in attenuation to {ref}",
                "similar in density to {ref}",
                "as dense as {ref}",
            ),
            (
                "the same attenuation as {ref}",
                "the same density as {ref}",
                "attenuation similar to that of {ref}",
                "attenuation equal to that of {ref}",
                "density similar to {ref}",
                "unchanged attenuation compared with {ref}",
            ),
            (
                "its attenuation equals that of {ref}",
                "its density is similar to that of {ref}",
                "the attenuation is the same as that of {ref}",
                "the density matches {ref}",
                "it shows no density difference from {ref}",
            ),
        ),
        "hyper": Wording(
            ("hyperattenuating", "hyperdense", "high-density", "high-attenuation"),
            (
                "hyperattenuating to {ref}",
                "hyperdense to {ref}",
                "hyperdense relative to {ref}",
                "hyperattenuating compared with {ref}",
                "brighter than {ref}",
                "denser than {ref}",
                "more attenuating than {ref}",
                "higher in attenuation than {ref}",
                "higher in density than {ref}",
                "of increased attenuation",
                "of increased density",
                "of high attenuation",
                "of high density",
                "of raised attenuation",
            ),
            (
                "high attenuation",
                "high density",
                "increased attenuation",
                "raised attenuation",
                "increased density",
                "attenuation above that of {ref}",
                "higher density than {ref}",
                "higher attenuation than {ref}",
            ),
            (
                "its attenuation is higher than that of {ref}",
                "its density is above that of {ref}",
                "the attenuation is high",
                "the density is increased",
                "the density is high compared with {ref}",
                "it appears bright against {ref}",
                "it appears brighter than {ref}",
            ),
        ),
    },
    "texture": {
        "homogeneous": Wording(
            ("homogeneous", "uniform", "homogeneous-appearing", "evenly attenuating"),
            (
                "homogeneous in texture",
                "uniform in texture",
                "uniform throughout",
                "homogeneous throughout",
                "of uniform texture",
                "of homogeneous texture",
                "of even internal texture",
                "uniform in appearance",
            ),
            (
                "a homogeneous texture",
                "a uniform texture",
                "uniform internal texture",
                "homogeneous internal architecture",
                "a homogeneous interior",
                "a uniform interior",
                "an even internal pattern",
            ),
            (
                "the texture is homogeneous",
                "its texture is uniform",
                "the interior is homogeneous",
                "its interior is uniform",
                "it looks uniform throughout",
                "its internal texture is even",
                "it appears homogeneous",
            ),
        ),
        "heterogeneous": Wording(
            ("heterogeneous", "inhomogeneous", "mottled", "patchy", "non-uniform", "heterogeneous-appearing"),
            (
                "heterogeneous in texture",
                "inhomogeneous in texture",
                "mottled in appearance",
                "heterogeneous throughout",
                "of heterogeneous texture",
                "of inhomogeneous texture",
                "of non-uniform internal density",
                "of varying internal density",
                "patchy in texture",
            ),
            (
                "a heterogeneous texture",
                "an inhomogeneous texture",
                "a mottled texture",
                "patchy internal texture",
                "heterogeneous internal architecture",
                "a heterogeneous interior",
                "a mottled interior",
                "varying internal density",
                "internal heterogeneity",
            ),
            (
                "the texture is heterogeneous",
                "its texture is inhomogeneous",
                "the interior is heterogeneous",
                "its interior is mottled",
                "it looks patchy inside",
                "the internal density varies",
                "its internal texture is patchy",
                "it appears heterogeneous",
            ),
        ),
    },
    "composition": {
        "solid": Wording(
            ("solid", "solid-appearing"),
            ("solid in composition", "solid throughout"),
            ("a solid composition", "a solid consistency"),
            ("it is solid", "the composition is solid", "it appears solid"),
        ),
        "cystic": Wording(
            ("cystic", "fluid-filled", "cystic-appearing"),
            ("cystic in composition", "filled with fluid", "of cystic composition"),
            ("a cystic composition", "fluid content", "cystic content"),
            ("it is cystic", "it is filled with fluid", "it contains fluid", "the composition is cystic"),
        ),
        "mixed": Wording(
            ("mixed solid-cystic", "solid-cystic", "part-solid part-cystic", "partly cystic"),
            ("of mixed composition", "partly solid and partly cystic", "mixed solid and cystic"),
            ("solid and cystic components", "both solid and cystic parts", "a mixed solid and cystic composition"),
            (
                "it has solid and cystic components",
                "it is partly solid and partly cystic",
                "the composition is mixed, solid and cystic",
            ),
        ),
        "necrotic": Wording(
            ("necrotic", "centrally necrotic"),
            ("necrotic in its center", "necrotic in composition"),
            ("central necrosis", "a necrotic core", "a necrotic center", "internal necrosis"),
            ("it has a necrotic core", "the center is necrotic", "there is central necrosis", "its core is necrotic"),
        ),
        "calcified": Wording(
            ("calcified", "partly calcified"),
            ("calcified in part", "containing calcium"),
            ("calcifications", "internal calcification", "calcified components", "foci of calcification"),
            ("it contains calcifications", "calcification is present", "it is calcified in part"),
        ),
    },
    "margin": {
        "well-defined": Wording(
            (
                "well-defined",
                "well-circumscribed",
                "circumscribed",
                "sharply marginated",
                "sharply defined",
                "smoothly marginated",
            ),
            (
                "well defined",
                "well circumscribed",
                "sharply defined at its edge",
                "clearly separated from {ref}",
                "sharply separated from {ref}",
            ),
            (
                *_WELL_EDGES[0],
                "a well-defined margin",
                "a sharp margin",
                "a crisp edge",
                "a smooth clear border",
                "a sharp outline",
                "a sharp interface with {ref}",
            ),
            (
                *_WELL_EDGES[1],
                "it is well circumscribed",
                "it is sharply marginated",
                "it is sharply separated from {ref}",
                "it ends abruptly against {ref}",
            ),
        ),
        "ill-defined": Wording(
            (
                "ill-defined",
                "poorly defined",
                "poorly marginated",
                "poorly circumscribed",
                "indistinct",
                "infiltrative",
            ),
            (
                "ill defined",
                "poorly defined at its edge",
                "poorly separated from {ref}",
                "blurring into {ref}",
                "merging gradually into {ref}",
            ),
            (
                *_ILL_EDGES[0],
                "an ill-defined margin",
                "an indistinct margin",
                "a blurred edge",
                "a hazy border",
                "a blurred outline",
                "an indistinct interface with {ref}",
            ),
            (
                *_ILL_EDGES[1],
                "it is poorly circumscribed",
                "it is poorly marginated",
                "it blurs into {ref}",
                "it merges gradually into {ref}",
            ),
        ),
    },
    "enhancement": {
        "hypo": Wording(
            ("hypoenhancing", "poorly enhancing", "hypovascular", "weakly enhancing"),
            ("hypoenhancing after contrast", "enhancing less than {ref}", "hypovascular after contrast"),
            ("poor enhancement", "weak enhancement", "less enhancement than {ref}", "hypoenhancement"),
            ("it enhances less than {ref}", "the enhancement is weak", "it enhances poorly"),
        ),
        "hyper": Wording(
            ("hyperenhancing", "avidly enhancing", "hypervascular", "strongly enhancing"),
            ("hyperenhancing after contrast", "enhancing more than {ref}", "hypervascular after contrast"),
            ("avid enhancement", "strong enhancement", "more enhancement than {ref}", "hyperenhancement"),
            ("it enhances more than {ref}", "the enhancement is avid", "it enhances avidly"),
        ),
        "arterial": Wording(
            ("arterially enhancing", "arterial-phase enhancing"),
            ("enhancing in the arterial phase", "enhancing early in the arterial phase"),
            ("arterial phase enhancement", "arterial enhancement", "enhancement in the arterial phase"),
            ("it enhances in the arterial phase", "arterial enhancement is present"),
        ),
        "washout": Wording(
            ("washing-out",),
            ("washing out on later phases", "losing contrast on delayed phases by washout"),
            ("washout", "delayed washout", "portal venous washout", "washout on delayed images"),
            ("it washes out on delayed images", "washout is present", "it shows washout"),
        ),
        "rim": Wording(
            ("rim-enhancing", "peripherally enhancing", "ring-enhancing"),
            ("enhancing at its rim", "enhancing peripherally"),
            ("rim enhancement", "peripheral enhancement", "an enhancing rim", "ring enhancement"),
            ("its rim enhances", "only the rim enhances", "peripheral enhancement is present"),
        ),
        "none": Wording(
            ("non-enhancing", "unenhancing"),
            ("not enhancing", "without enhancement", "free of enhancement"),
            ("no enhancement", "no contrast enhancement", "absent enhancement"),
            ("it does not enhance", "there is no enhancement", "enhancement is absent"),
        ),
    },
}

# A name that holds an organ's name (pancreatic ductal adenocarcinoma) is said only when the organ is that one.
PATHOLOGIES: dict[str, tuple[str, ...]] = {
    "PDAC": ("PDAC", "ductal adenocarcinoma"),
    "PNET": ("PNET", "neuroendocrine tumor", "neuroendocrine neoplasm"),
    "cyst": ("cyst",),
    "metastasis": ("metastasis", "metastatic deposit", "secondary deposit"),
    "HCC": ("HCC", "hepatocellular carcinoma"),
    "hemangioma": ("hemangioma", "haemangioma"),
    "RCC": ("RCC", "renal cell carcinoma"),
    "sarcoma": ("sarcoma",),
    "cholangiocarcinoma": ("cholangiocarcinoma", "cholangiocellular carcinoma"),
    "IPMN": ("IPMN", "intraductal papillary mucinous neoplasm"),
    "MCN": ("MCN", "mucinous cystadenoma"),
    "SCA": ("SCA", "serous cystadenoma"),
    "SPN": ("SPN", "Frantz tumor"),
    "pseudocyst": ("pseudocyst",),
    "AML": ("AML", "angiomyolipoma"),
    "oncocytoma": ("oncocytoma",),
    "adenoma": ("adenoma",),
    "FNH": ("FNH", "focal nodular hyperplasia"),
    "abscess": ("abscess",),
    "UC": ("urothelial carcinoma", "transitional cell carcinoma"),
    "lymphoma": ("lymphoma",),
}
_COUNTABLE = ("cyst", "metastasis", "hemangioma", "pseudocyst", "oncocytoma", "adenoma", "abscess")
"""Pathologies that take an article: *consistent with a cyst*, but *consistent with HCC*."""
_PATHOLOGIES_OF_ORGAN: dict[tuple[str, str], tuple[str, ...]] = {
    ("PDAC", "pancreas"): ("pancreatic ductal adenocarcinoma",),
    ("PNET", "pancreas"): ("pancreatic neuroendocrine tumor",),
    ("metastasis", "liver"): ("liver metastasis", "hepatic metastasis"),
    ("sarcoma", "soft tissue"): ("soft-tissue sarcoma",),
}


class Organ(NamedTuple):
    """How an organ is said: after "in", before the noun, and as the tissue that a lesion is compared with."""

    places: tuple[str, ...]
    adjectives: tuple[str, ...]
    references: tuple[str, ...]


_PARENCHYMA = ("the surrounding parenchyma", "the adjacent parenchyma", "the background parenchyma")
ORGANS: dict[str, Organ] = {
    "liver": Organ(
        ("the liver", "the hepatic parenchyma", "the liver parenchyma"),
        ("hepatic", "liver"),
        ("the surrounding liver", "the normal liver", "the adjacent liver parenchyma", *_PARENCHYMA),
    ),
    "pancreas": Organ(
        ("the pancreas", "the pancreatic parenchyma"),
        ("pancreatic",),
        ("the surrounding pancreas", "the normal pancreas", "the adjacent pancreatic tissue", *_PARENCHYMA),
    ),
    "kidney": Organ(
        ("the kidney", "the renal parenchyma"),
        ("renal", "kidney"),
        ("the surrounding kidney", "the normal kidney", "the adjacent renal parenchyma", *_PARENCHYMA),
    ),
    "soft tissue": Organ(
        ("the soft tissue", "the soft tissues", "the muscle"),
        ("soft-tissue", "intramuscular"),
        ("the surrounding muscle", "the adjacent muscle", "the surrounding soft tissue", "the normal muscle"),
    ),
    "spleen": Organ(("the spleen",), ("splenic",), ("the surrounding spleen", *_PARENCHYMA)),
    "lung": Organ(("the lung",), ("pulmonary", "lung"), ("the surrounding lung", *_PARENCHYMA)),
}
_NO_ORGAN = Organ((), (), ("the surrounding tissue", "the adjacent tissue", "the background", "its surroundings"))

_FRAMES = (
    "There is {np}",
    "{np}",
    "CT shows {np}",
    "Imaging demonstrates {np}",
    "Note is made of {np}",
    "We see {np}",
    "Findings: {np}",
    "Impression: {np}",
    "Conclusion: {np}",
    "Evidence of {np}",
    "{np} is seen",
    "{np} is present",
    "{np} is identified",
    "{np} is noted",
)
_ORGAN_FRAMES = (
    "{place} contains {np}",
    "{place} shows {np}",
    "{place} harbors {np}",
    "In {place} there is {np}",
    "Within {place}, {np} is seen",
    "In {place}, {np}",
    "{place}: {np}",
)
_LABELS: dict[str, tuple[str, ...]] = {
    "organ": ("location", "organ", "site"),
    "attenuation": ("attenuation", "density"),
    "enhancement": ("enhancement", "contrast behavior"),
    "texture": ("texture", "internal texture"),
    "composition": ("composition", "structure"),
    "margin": ("margin", "margins", "border"),
    "pathology": ("impression", "diagnosis", "pathology"),
    "size_mm": ("size", "diameter", "longest diameter"),
}
_BEFORE_DIAGNOSIS = (
    "consistent with",
    "compatible with",
    "in keeping with",
    "most likely",
    "suggestive of",
    "suspicious for",
    "typical of",
    "representing",
)
_DIAGNOSIS_SENTENCES = (
    "Findings are consistent with {p}",
    "This is compatible with {p}",
    "The appearance suggests {p}",
    "Diagnosis: {p}",
    "Impression: {p}",
    "The most likely diagnosis is {p}",
)
_SIZE_TAILS = ("measuring {s}", "{s} in longest diameter", "{s} in diameter", "{s} in size", "{s} across", "up to {s}")
_SIZE_CLAUSES = ("it measures {s}", "the longest diameter is {s}", "its diameter is {s}", "the size is {s}")
_CONNECTORS = ("with", "with", "showing", "demonstrating", "having")
_IMPRESSIONS = ("Impression: ", "Impression: 1. ", "Conclusion: ", "Summary: ", "Opinion: ", "1. ", "In summary, ")
_ROMAN = ("0", "I", "II", "III", "IV", "V", "VI", "VII", "VIII")


def _organ(name: str) -> tuple[str, Organ]:
    """The organ's plain name and wordings; any other organ is said by its own name."""
    key = " ".join(name.replace("_", " ").lower().split())
    key = {"kidneys": "kidney", "soft tissues": "soft tissue"}.get(key, key)
    if key not in ORGANS:
        return key, Organ((f"the {key}",), (key,), (f"the surrounding {key}", "the surrounding tissue"))
    return key, ORGANS[key]


def _located(key: str, organ: Organ, location: str | None) -> Organ:
    """The organ's wordings with a part of it: "segment 7", "head", "left upper pole"; the tissue around stays."""
    if not location or not organ.places:
        return organ
    place, adjective, part = f"the {key}", organ.adjectives[0], " ".join(location.split())
    kind, _, number = part.partition(" ")
    if kind == "segment":
        digit = number.rstrip("ab")
        roman = _ROMAN[int(digit)] + number[len(digit) :] if digit in "12345678" and digit else number
        places = tuple(f"segment {n} of {place}" for n in (number, roman))
        adjectives = tuple(f"{a} segment {n}" for a in organ.adjectives for n in (number, roman))
        return Organ((*places, *adjectives), adjectives, organ.references)
    side, _, rest = part.partition(" ") if part.split()[0] in ("left", "right") else ("", "", part)
    if side and key == "kidney":  # there are two
        whole = f"the {side} {key}"
        inside = (f"the {rest} of {whole}", f"the {side} {adjective} {rest}") if rest else (whole,)
        return Organ(inside, (f"{side} {adjective} {rest}".strip(),), organ.references)
    named = f"{side} {adjective} {rest}".strip()
    return Organ((f"the {part} of {place}", f"the {named}"), (named,), organ.references)


def _names_organ(pathology: str) -> bool:
    return any(a in pathology for a in ("liver", "hepatic", "pancreatic", "soft-tissue"))


def _article(words: str) -> str:
    """ "a" or "an" as the words that follow are spoken."""
    first = words.split(maxsplit=1)[0].lower()
    if first[0].isdigit():
        number = first.split("-")[0]
        return "an" if number[0] == "8" or number in ("11", "18") else "a"
    if first in ("hcc", "rcc", "mcn", "sca", "spn", "fnh"):
        return "an"
    if first.startswith(("uni", "uro")):
        return "a"
    return "an" if first[0] in "aeiou" else "a"


def whole_mm(size_mm: float) -> int:
    """The size as texts state it: whole millimetres, at least one."""
    return max(1, round(size_mm))


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(items: Sequence[str], last: str = " and ") -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + last + items[-1]


def describe(d: Descriptors) -> str:
    """The canonical one-sentence description: always the same words for the same descriptors.

    >>> describe(Descriptors(organ="liver", attenuation="hypo", margin="ill-defined", size_mm=31.8))
    'A 32 mm hypoattenuating lesion in the liver with ill-defined margins.'
    """
    words = [f"{whole_mm(d.size_mm)} mm"] if d.size_mm is not None else []
    values = [(field, getattr(d, field)) for field in ("attenuation", "texture", "composition")]
    words.append(", ".join(WORDINGS[field][value].adjectives[0] for field, value in values if value is not None))
    words.append("lesion")
    phrase = " ".join(word for word in words if word)
    text = f"{_article(phrase)} {phrase}"
    if d.organ:
        text += f" in {_organ(d.organ)[1].places[0]}"
    features = [WORDINGS["enhancement"][d.enhancement].features[0]] if d.enhancement else []
    if d.margin:
        features.append(WORDINGS["margin"][d.margin].features[0])
    if features:
        text += f" with {_listed(features)}"
    if d.pathology:
        name = PATHOLOGIES[d.pathology][0]
        text += f", consistent with {f'{_article(name)} {name}' if d.pathology in _COUNTABLE else name}"
    return _capitalized(text) + "."


class _Draw:
    """Fast draws from a numpy generator (``Generator.choice`` is too slow for this)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._next: Callable[[], float] = iter(rng.random(160).tolist()).__next__

    def chance(self, probability: float) -> bool:
        return self._next() < probability

    def one(self, items: Sequence[str]) -> str:
        return items[int(self._next() * len(items))]

    def index(self, n: int) -> int:
        return int(self._next() * n)

    def shuffle(self, items: list[str]) -> None:
        for i in range(len(items) - 1, 0, -1):
            j = int(self._next() * (i + 1))
            items[i], items[j] = items[j], items[i]


class _Lesion:
    """The values to state, with the wordings that go with them."""

    def __init__(self, d: Descriptors, draw: _Draw, location: str | None = None) -> None:
        self.draw = draw
        key, organ = _organ(d.organ) if d.organ else ("", _NO_ORGAN)
        self.organ = _located(key, organ, location)
        self.located = bool(location)
        self.reference = draw.one(self.organ.references)
        self.size_mm = d.size_mm
        self.values: list[tuple[str, Wording]] = []
        for field, wordings in WORDINGS.items():
            value = getattr(d, field)
            if value is not None:
                self.values.append((field, wordings[value]))
        self.pathology = ""
        if d.pathology:
            names = PATHOLOGIES[d.pathology] + _PATHOLOGIES_OF_ORGAN.get((d.pathology, key), ())
            self.pathology = draw.one(names)
        self.diagnosis = self.pathology
        if d.pathology in _COUNTABLE:
            self.diagnosis = f"{_article(self.pathology)} {self.pathology}"
        self.nouns = self._nouns(d)

    @staticmethod
    def _nouns(d: Descriptors) -> tuple[str, ...]:
        """Nouns that add nothing: no 80 mm nodule, no 8 mm mass, no cyst called a tumor."""
        nouns = ["lesion", "lesion"]
        if d.size_mm is None or d.size_mm <= 30:
            nouns += ["nodule", "focus"]
        if d.size_mm is None or d.size_mm >= 15:
            nouns.append("mass")
        if d.pathology != "cyst" and d.composition != "cystic":
            nouns += ["tumor", "tumour"]
        return tuple(nouns)

    def say(self, forms: Sequence[str]) -> str:
        return self.draw.one(forms).replace("{ref}", self.reference)

    def size(self, hyphen: bool = False) -> str:
        """The size in mm or cm; with a hyphen before a noun, sometimes."""
        assert self.size_mm is not None
        mm = whole_mm(self.size_mm)
        joint = "-" if hyphen and self.draw.chance(0.3) else " "
        if self.draw.chance(0.5):
            return f"{mm}{joint}mm"
        centimetres = f"{mm // 10}" if mm % 10 == 0 and self.draw.chance(0.5) else f"{mm / 10:.1f}"
        return f"{centimetres}{joint}cm"


def _form_list(lesion: _Lesion) -> str:
    """*Location: liver; attenuation: low; margin: indistinct*."""
    draw = lesion.draw
    items = []
    if lesion.organ.places:
        items.append(f"{draw.one(_LABELS['organ'])}: {draw.one(lesion.organ.places).removeprefix('the ')}")
    for field, wording in lesion.values:
        forms = wording.adjectives if draw.chance(0.7) else wording.predicates
        items.append(f"{draw.one(_LABELS[field])}: {lesion.say(forms)}")
    if lesion.size_mm is not None:
        items.append(f"{draw.one(_LABELS['size_mm'])}: {lesion.size()}")
    if lesion.pathology:
        items.append(f"{draw.one(_LABELS['pathology'])}: {lesion.pathology}")
    draw.shuffle(items)
    noun = draw.one(("", "", f"{_capitalized(draw.one(lesion.nouns))}. ", f"{_capitalized(draw.one(lesion.nouns))} - "))
    if not items:
        return _capitalized(draw.one(lesion.nouns)) + "."
    if draw.chance(0.4):
        return noun + ". ".join(_capitalized(item) for item in items) + "."
    return noun + _capitalized(draw.one(("; ", ", ", " | ")).join(items))


def _head(lesion: _Lesion, premodifiers: list[str], organ_adjective: bool, noun: str) -> str:
    """Premodifiers, organ and noun, without article."""
    words = (", " if lesion.draw.chance(0.6) else " ").join(premodifiers)
    parts = [words] if words else []
    if organ_adjective:
        parts.append(lesion.draw.one(lesion.organ.adjectives))
    return " ".join([*parts, noun])


def _telegram(lesion: _Lesion) -> str:
    """*Hypodense hepatic lesion, 3.2 cm, indistinct margins, patchy texture*."""
    draw = lesion.draw
    premodifiers: list[str] = []
    items: list[str] = []
    for _, wording in lesion.values:
        if len(premodifiers) < 2 and draw.chance(0.4):
            premodifiers.append(lesion.say(wording.adjectives))
        else:
            forms = (wording.adjectives, wording.predicates, wording.features)[draw.index(3)]
            items.append(lesion.say(forms))
    if lesion.size_mm is not None:
        items.append(lesion.size())
    draw.shuffle(premodifiers)
    draw.shuffle(items)
    noun, colon = draw.one(lesion.nouns), False
    organ_adjective = bool(lesion.organ.places)
    if lesion.organ.places and draw.chance(0.4):
        organ_adjective, colon = False, True
    if lesion.pathology:
        stated = f"{draw.one(_BEFORE_DIAGNOSIS)} {lesion.diagnosis}"
        items.append(lesion.pathology if draw.chance(0.2) else stated)
    text = _head(lesion, premodifiers, organ_adjective, noun)
    if colon:
        text = f"{draw.one(lesion.organ.places).removeprefix('the ')}: {text}"
    separator = draw.one((", ", ", ", "; ", ". ", " - "))
    if separator == ". ":
        items = [_capitalized(item) for item in items]
    text = _capitalized(separator.join([text, *items]))
    return text + draw.one(("", ".")) if separator != ". " else text + "."


def _sentences(lesion: _Lesion) -> str:
    """A full sentence in one of many frames, and what it leaves out in one or more that follow."""
    draw = lesion.draw
    premodifiers: list[str] = []
    tails: list[str] = []
    features: list[str] = []
    clauses: list[str] = []
    places = lesion.organ.places

    most_clauses = draw.index(3)
    for _, wording in lesion.values:
        kind = draw.index(8)
        if kind < 4 and len(premodifiers) < 3:
            premodifiers.append(lesion.say(wording.adjectives))
        elif kind == 4 and not tails:
            tails.append(lesion.say(wording.predicates))
        elif kind == 5 and len(clauses) < most_clauses:
            clauses.append(lesion.say(wording.clauses))
        else:
            features.append(lesion.say(wording.features))
    draw.shuffle(premodifiers)
    draw.shuffle(features)

    head_is_pathology = bool(lesion.pathology) and draw.chance(0.25)
    noun = lesion.pathology if head_is_pathology else draw.one(lesion.nouns)

    organ_adjective, place, frame = False, "", ""
    if places:
        how = draw.index(3)
        named = head_is_pathology and _names_organ(noun)
        if how == 0 and not named:
            organ_adjective = True
        elif how == 1:
            frame = draw.one(_ORGAN_FRAMES).replace("{place}", draw.one(places))
        else:
            place = f"{draw.one(('in', 'within', 'of'))} {draw.one(places)}"

    if lesion.size_mm is not None:
        how = draw.index(4)
        if how < 2:
            premodifiers.insert(0, lesion.size(hyphen=True))
        elif how == 2:
            tails.insert(0, draw.one(_SIZE_TAILS).replace("{s}", lesion.size()))
        else:
            clauses.insert(draw.index(len(clauses) + 1), draw.one(_SIZE_CLAUSES).replace("{s}", lesion.size()))

    head = _head_with_size(lesion, premodifiers, organ_adjective, noun)
    phrase = f"{_article(head)} {head}"
    if place:
        phrase += f" {place}"

    frame = frame or draw.one(_FRAMES)
    text = frame.replace("{np}", phrase)
    if features:
        text += f"{draw.one((' ', ', '))}{draw.one(_CONNECTORS)} {_listed(features)}"
    for tail in tails:
        text += f", {tail}"
    last = ""
    if lesion.pathology and not head_is_pathology:
        if clauses and draw.chance(0.5):
            last = draw.one(_DIAGNOSIS_SENTENCES).replace("{p}", lesion.diagnosis)
        else:
            text += f", {draw.one(_BEFORE_DIAGNOSIS)} {lesion.diagnosis}"
    return _joined(lesion, text, clauses, last)


def _head_with_size(lesion: _Lesion, premodifiers: list[str], organ_adjective: bool, noun: str) -> str:
    """The head with a leading size set off by a space, never by a comma."""
    if premodifiers and premodifiers[0][0].isdigit():
        rest = _head(lesion, premodifiers[1:], organ_adjective, noun)
        return f"{premodifiers[0]} {rest}"
    return _head(lesion, premodifiers, organ_adjective, noun)


def _joined(lesion: _Lesion, text: str, clauses: list[str], last: str) -> str:
    """The main sentence and the clauses, as sentences of their own or joined to each other."""
    draw = lesion.draw
    sentences = [_capitalized(text)]
    if len(clauses) > 1 and draw.chance(0.5):
        clauses = [_listed(clauses, ", and ")]
    sentences += [_capitalized(clause) for clause in clauses]
    if last:
        sentences.append(last)
    if len(sentences) == 2 and not last and draw.chance(0.3):
        return f"{sentences[0]}; {clauses[0]}."
    return ". ".join(sentences) + "."


def _subject_first(lesion: _Lesion) -> str:
    """*The hepatic lesion is hypodense, its margins are hazy and the texture is patchy*."""
    draw = lesion.draw
    noun = draw.one(lesion.nouns)
    places = lesion.organ.places
    subject = noun
    if places:
        subject = f"{draw.one(lesion.organ.adjectives)} {noun}" if draw.chance(0.5) else f"{noun} in {draw.one(places)}"
    predicates, clauses = [], []
    for _, wording in lesion.values:
        if draw.chance(0.6):
            predicates.append(lesion.say(wording.adjectives if draw.chance(0.6) else wording.predicates))
        else:
            clauses.append(lesion.say(wording.clauses))
    if lesion.size_mm is not None:
        clauses.append(draw.one(_SIZE_CLAUSES).replace("{s}", lesion.size()))
    draw.shuffle(predicates)
    draw.shuffle(clauses)
    if predicates:
        text = f"{draw.one(('The', 'This'))} {subject} {draw.one(('is', 'is', 'appears'))} {_listed(predicates)}"
    else:
        text = f"{draw.one(('There is', 'CT shows', 'We see'))} {_article(subject)} {subject}"
    last = draw.one(_DIAGNOSIS_SENTENCES).replace("{p}", lesion.diagnosis) if lesion.pathology else ""
    return _joined(lesion, text, clauses, last)


def _impression(lesion: _Lesion) -> str:
    """*Impression: 1. Metastasis of the liver, 3.2 cm, hypodense, hazy borders*: what it is comes first."""
    draw = lesion.draw
    opening = draw.one(_IMPRESSIONS)
    adjectives: list[str] = []
    features: list[str] = []
    for _, wording in lesion.values:
        if len(adjectives) < 3 and draw.chance(0.5):
            adjectives.append(lesion.say(wording.adjectives))
        else:
            features.append(lesion.say(wording.features))
    draw.shuffle(adjectives)
    draw.shuffle(features)
    size = [lesion.size()] if lesion.size_mm is not None else []
    place = f" {draw.one(('in', 'of', 'within'))} {draw.one(lesion.organ.places)}" if lesion.organ.places else ""
    full = opening.startswith("In ")  # a sentence wants its article
    if lesion.pathology and draw.chance(0.6):
        place = "" if _names_organ(lesion.pathology) and not lesion.located else place
        head = (lesion.diagnosis if full else draw.one(("", "", "likely ")) + lesion.pathology) + place
        text = draw.one((", ", ", ", ": ")).join([head, ", ".join(size + adjectives)]) if size + adjectives else head
        last = ""
    else:
        organ_adjective = bool(place) and draw.chance(0.5)
        head = _head(lesion, adjectives, organ_adjective, draw.one(lesion.nouns)) + ("" if organ_adjective else place)
        head = f"{_article(head)} {head}" if full else head
        text = ", ".join([head, *size])
        last = f"{draw.one((', ', '; '))}{draw.one(_BEFORE_DIAGNOSIS)} {lesion.diagnosis}" if lesion.pathology else ""
    if features:
        text += f" with {_listed(features)}" if draw.chance(0.6) else f", {', '.join(features)}"
    return opening + (text if full else _capitalized(text)) + last + "."


def rephrase(d: Descriptors, rng: np.random.Generator, location: str | None = None) -> str:
    """One random wording that states every descriptor of ``d`` that is set, and no other.

    Sizes are stated in whole millimetres, as mm or cm. ``location``: the part of the organ, as reports are read
    ("segment 7", "head", "left upper pole"). The same ``rng`` state gives the same text.
    """
    draw = _Draw(rng)
    lesion = _Lesion(d, draw, location)
    style = draw.index(20)
    if style < 9:
        text = _sentences(lesion)
    elif style < 12:
        text = _telegram(lesion)
    elif style < 15:
        text = _subject_first(lesion)
    elif style < 18:
        text = _impression(lesion)
    else:
        text = _form_list(lesion)
    case = draw.index(20)
    if case == 0:
        return text.upper()
    return text.lower() if case == 1 else text
