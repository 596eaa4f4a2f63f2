"""The words of radiology reports and what they say of a lesion: a table, and a matcher that finds them in a text.

A phrase is written as slots divided by spaces. A slot is one token or alternatives divided by ``|``; a slot that ends
in ``?`` may be missing; ``_`` joins the tokens of an alternative that has several: ``low|lower in? density|ct_number``.
Tokens are lower case; hyphens between words divide tokens, so that *well-defined* and *well defined* are one phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from rapidfuzz.distance import DamerauLevenshtein
from rapidfuzz.process import extract as closest


def words(text: str) -> frozenset[str]:
    """The words of a text: a table of many words is easier to read as one line than as a list."""
    return frozenset(text.split())


class Term(NamedTuple):
    """One thing that a phrase says.

    ``kind``: *say* (``name`` is a descriptor, ``value`` its value), *mod* (a word that needs a head: *low*, *sharp*),
    *head* (what a mod speaks of: *attenuation*, *margin*), *lesion*, *organ*, *place*, *other* (a thing that is no
    lesion), or a cue: *negation*, *absent*, *hedge*, ...
    """

    kind: str
    name: str = ""
    value: str = ""


class Hit(NamedTuple):
    """A phrase of the table in a sentence: tokens ``start`` to ``end`` (exclusive) and what they say."""

    start: int
    end: int
    terms: tuple[Term, ...]


# Values that a word says by itself, whatever it stands beside.
SAYINGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("attenuation", "hypo"): (
        "hypo attenuating|attenuated|attenuation|dense|density|densities",
        "hypoattenuating|hypoattenuated|hypoattenuation|hypodense|hypodensity|hypodensities|lucent|hypolucent|lucency",
        "low|lower attenuating|attenuated|dense",
        "less dense|attenuating|radiodense|bright|attenuated",
        "darker|dark|blacker",
        "lower|low|reduced|decreased in attenuation|density",
        "underdense|subdense|radiolucent",
    ),
    ("attenuation", "iso"): (
        "iso attenuating|attenuated|attenuation|dense|density",
        "isoattenuating|isoattenuated|isoattenuation|isodense|isodensity",
        "equally|similarly dense|attenuating|bright|dark",
        "as dense|bright|attenuating|dark as",
        "similar|equal|identical|same in density|attenuation|brightness",
        "not|no distinguishable in attenuation|density",
        "no density|attenuation difference|contrast",
        "no difference in density|attenuation",
        "same brightness",
    ),
    ("attenuation", "hyper"): (
        "hyper attenuating|attenuated|attenuation|dense|density|densities",
        "hyperattenuating|hyperattenuated|hyperattenuation|hyperdense|hyperdensity|hyperdensities",
        "high|higher attenuating|attenuated|dense",
        "more dense|attenuating|bright|attenuated|radiodense",
        "denser|brighter|bright|radiodense|whiter",
        "higher|high|increased|raised in attenuation|density",
    ),
    ("enhancement", "hypo"): (
        "hypo enhancing|enhancement|vascular|vascularity|perfused",
        "hypoenhancing|hypoenhancement|hypovascular|hypovascularity|hypovascularized|hypovascularised|hypoperfused",
        "hypoenhances|underenhancing|under_enhancing|underenhances|poorly_vascularized|poorly_vascular|hypoenhanced",
        "enhancing|enhances|enhance|enhanced less",
    ),
    ("enhancement", "hyper"): (
        "hyper enhancing|enhancement|vascular|vascularity|perfused",
        "hyperenhancing|hyperenhancement|hypervascular|hypervascularity|hypervascularized|hypervascularised",
        "hyperperfused|hyperenhances|richly_vascularized|highly_vascular|hyperenhanced|hyperemic|hyperaemic",
        "enhancing|enhances|enhance|enhanced more",
    ),
    ("enhancement", "arterial"): (
        "aphe",
        "arterially enhancing|hyperenhancing|hypervascular|enhances|enhanced",
        "hyperarterialized|hyperarterialised|hyperarterialization",
        "early_arterial|arterial uptake|blush",
    ),
    ("enhancement", "washout"): (
        "washout|washouts",
        "wash|washes|washed|washing out",
        "losing contrast on? delayed?",
    ),
    ("enhancement", "rim"): (
        "peripherally enhancing|enhances",
        "rim enhances",
        "uptake in? a? ring",
    ),
    ("enhancement", "none"): (
        "nonenhancing|unenhancing|nonenhanced|nonvascular|avascular",
        "non|un enhancing|enhanced|vascular",
        "contrast negative",
    ),
    ("texture", "homogeneous"): (
        "homogeneous|homogenous|homogeneously|homogenously|homogeneity|uniform|uniformly|uniformity|even|evenly",
        "evenness",
        "consistent internal appearance|texture|structure",
        "monotonous",
        "smooth|regular internal? texture|interior",
    ),
    ("texture", "heterogeneous"): (
        "heterogeneous|heterogenous|heterogeneously|heterogenously|heterogeneity|inhomogeneous|inhomogenous",
        "inhomogeneously|inhomogeneity|inhomogeneities|mottled|patchy|patchily|nonuniform|nonhomogeneous",
        "non|not uniform|uniformly|homogeneous|homogenous|even|evenly",
        "uneven|unevenly|unevenness|variegated|speckled|inconsistent|nonuniformly|nonhomogenous|blotchy|spotty",
        "internally irregular",
        "irregular internal? texture|interior|architecture",
        "varying|variable|varied|mixed internal? density|densities|attenuation|attenuations",
        "internal? density|attenuation varies",
    ),
    ("composition", "solid"): ("solid|solidly", "of? soft_tissue|tissue composition|consistency"),
    ("composition", "cystic"): (
        "cystic|fluid_filled|fluid_containing|fluid_content|water_filled|liquid|watery|multicystic|unilocular",
        "filled|distended with fluid|liquid|water",
        "contains|containing|contain fluid|liquid",
        "macrocystic|microcystic|multilocular|multiloculated|polycystic|oligocystic",
        "liquefied",
    ),
    ("composition", "mixed"): (
        "mixed? solid and|/|plus|as_well_as|beside partly? cystic",
        "mixed? solid cystic",
        "mixed? cystic and|/|plus|as_well_as|beside a? partly? solid",
        "mixed? cystic solid",
        "part|partly|partially|half solid and|,? part|partly|partially|half cystic",
        "part|partly|partially|half cystic and|,? part|partly|partially|half solid",
        "partly|partially|part|half|semi cystic|solid",
        "of mixed composition",
        "mixed composition|consistency",
        "semisolid|subsolid",
        "cysts beside|and|with|within solid",
        "both solid and cystic",
        "both cystic and solid",
    ),
    ("composition", "necrotic"): (
        "focus|foci|area|areas of necrosis",
        "necrotic|necrosis|necrotizing|necrotising|necroses|dead_tissue|necrotically",
    ),
    ("composition", "calcified"): (
        "focus|foci|area|areas|flecks|specks of calcification|calcium",
        "calcified|calcification|calcifications|calcium|calcific|chalky|calcareous|partly_calcified",
        "partially_calcified",
    ),
    ("margin", "well-defined"): (
        "well|sharply|clearly|smoothly|distinctly|crisply|nicely|better defined|circumscribed|marginated|demarcated",
        "well|sharply|clearly|smoothly|distinctly|crisply|better delineated|outlined|delimited|bordered|contoured",
        "well|sharply|clearly|distinctly separated|separable|distinguishable|distinguished",
        "circumscribed|demarcated|wellcircumscribed|welldefined|well_encapsulated",
        "clear_cut|clearcut|sharp_edged|smooth_edged|sharp_bordered|smooth_bordered",
        "ends abruptly",
        "smooth_walled",
    ),
    ("margin", "ill-defined"): (
        "ill|poorly|badly|vaguely|unsharply|indistinctly|incompletely|less_well defined|circumscribed|marginated",
        "ill|poorly|badly|vaguely|unsharply|indistinctly|irregularly demarcated|delineated|outlined|delimited",
        "ill|poorly separated|separable|distinguishable",
        "irregularly marginated|bordered|defined",
        "not well|sharply|clearly|smoothly|distinctly defined|circumscribed|marginated|demarcated|delineated",
        "not well|sharply|clearly|distinctly outlined|delimited|separated|separable|visible|distinguishable",
        "no clear|sharp|distinct|clear_cut margin|margins|border|borders|boundary|boundaries|edge|edges|demarcation",
        "without clear|sharp|distinct margin|margins|border|borders|boundary|boundaries|edge|edges|demarcation",
        "indistinct|illdefined|infiltrative|infiltrating|infiltrates|spiculated|blurred|blurry|blurs|blurring",
        "permeative|undemarcated|diffusely_infiltrating|fuzzy|hazy|unsharp|smeared|noncircumscribed",
        "merges|merging|fades|fading|melts gradually|imperceptibly|smoothly? into",
        "non|un circumscribed|demarcated",
    ),
}
# Not said by the word alone: the whole is only in part so, or the word speaks of something else.
SILENT: tuple[str, ...] = (
    "partially|partly|incompletely circumscribed|well_circumscribed|encapsulated|well_defined",
    "thin|thick|thickened|smooth|irregular wall|walled|walls",
    "soft_tissue attenuation|density",
    "soft_tissue component",
    "partial|complete|segmental|excretory uniform",
    "even though|if|so|when",
    "clear cell",
    "solid organ|organs|viscera",
    "cystic duct|artery|fibrosis",
    "medullary|vascular|arterial|aortic|atherosclerotic calcification|calcifications",
    "coarse? parenchymal|pancreatic|ductal calcification|calcifications",
    "vascular_wall|wall calcification",
    "calcium|calcified stone|stones|granuloma|plaque|gallstone|gallstones",
    "arterial phase|portal images|scan|imaging|series|acquisition",
    "early|late arterial phase",
    "low grade",
    "high grade",
    "nonrim|non_rim",
    "low suspicion|risk|probability",
    "high suspicion|risk|probability",
)

DENSITY = "attenuation|density|densities|attenuations"
HEADS: dict[str, tuple[str, ...]] = {
    "attenuation": (
        DENSITY,
        "ct number|numbers|density|value|values",
        "hounsfield unit|units|value|values|number|numbers",
        "attenuation|density|hu value|values|coefficient",
        "brightness",
    ),
    "enhancement": (
        "enhancement|enhancing|enhances|enhance|enhanced|enh|uptake|perfusion|vascularity|opacification|enhancements",
        "contrast enhancement|uptake|enhancing|opacification",
        "uptake of contrast medium|agent|material?",
        "uptake of contrast",
        "takes|take|taking up contrast",
    ),
    "texture": ("texture|interior|architecture|pattern|matrix|inside|makeup|appearance",),
    "margin": (
        "margin|margins|border|borders|edge|edges|contour|contours|outline|outlines|boundary|boundaries|interface",
        "demarcation|delineation|definition|interfaces|delimitation|circumscription",
    ),
}
# What a word says of each head that it can go with. "" takes the word away: it says nothing with that head.
MODIFIERS: dict[str, tuple[dict[str, str], str]] = {
    "low": (
        {"attenuation": "hypo", "enhancement": "hypo"},
        "low|lower|reduced|decreased|diminished|lowered|less|below|depressed|lessened|lowers|smaller|subnormal|minor",
    ),
    "high": (
        {"attenuation": "hyper", "enhancement": "hyper"},
        "high|higher|increased|raised|elevated|greater|more|above|heightened|increase",
    ),
    "same": (
        {"attenuation": "iso"},
        "same|similar|equal|identical|equals|matches|matching|comparable|unchanged|equivalent|match|resembles|resembling|"
        "indistinguishable|like",
    ),
    "sharp": (
        {"margin": "well-defined"},
        "sharp|clear|crisp|clean|distinct|well_seen|abrupt|regular|discrete|definite|neat|sharply|visible",
    ),
    "smooth": ({"margin": "well-defined"}, "smooth"),
    "vague": (
        {"margin": "ill-defined"},
        "unclear|vague|obscure|obscured|ragged|imprecise|soft|diffuse|gradual|shaggy|lost|effaced|invasive|jagged|"
        "ill_seen|poor",
    ),
    "irregular": ({"margin": "ill-defined"}, "irregular|irregularity"),
    "strong": (
        {"enhancement": "hyper"},
        "avid|avidly|strong|strongly|brisk|briskly|vivid|vividly|intense|intensely|marked|markedly|prominent|robust|"
        "pronounced|vigorous|vigorously|prominently|bright|brightly|hyper|exuberant|rich|considerable|brilliant|"
        "intensive|excessive",
    ),
    "weak": (
        {"enhancement": "hypo"},
        "poor|poorly|weak|weakly|scant|scanty|faint|faintly|minimal|minimally|mild|mildly|little|slight|slightly|sparse|"
        "subtle|feeble|limited|low_level|barely|hardly|modest|hypo|meager|meagre|subdued",
    ),
    "arterial": (
        {"enhancement": "arterial"},
        "arterial|arterially|early_arterial|arterial_phase|late_arterial|hepatic_arterial|arterial_dominant",
    ),
    "rim": (
        {"enhancement": "rim", "margin": ""},
        "rim|ring|peripheral|peripherally|circumferential|annular|edge|ringlike|rimlike|ring_like|rim_like|marginal|"
        "circumferentially|ring_shaped|periphery|border_zone|targetoid",
    ),
    "gone": ({"enhancement": "none"}, "absent|lacking|missing|nil"),
}

PATHOLOGY_PHRASES: dict[str, tuple[str, ...]] = {
    "PDAC": (
        "pdac|pdacs|pda",
        "ductal? adenocarcinoma|adenocarcinomas",
        "ductal carcinoma|cancer|adeno_ca",
        "adenocarcinoma of the? pancreas|pancreatic_head|ductal_type",
        "adenocarcinoma of ductal type",
        "pancreatic|pancreas cancer|carcinoma|ca|adeno",
        "cancer|carcinoma of the? pancreas",
    ),
    "PNET": (
        "pnet|pnets|net|nets|pannet|pannets|pan_net|insulinoma|insulinomas|gastrinoma|glucagonoma|vipoma|somatostatinoma",
        "neuroendocrine tumor|tumors|tumour|tumours|neoplasm|neoplasms|carcinoma|lesion",
        "islet cell tumor|tumors|tumour|tumours|neoplasm|adenoma",
        "p|pancreatic net|nets",
        "neuroendocrine",
    ),
    "cyst": (
        "cyst|cysts|cystlet|cystlets|bosniak_cyst",
        "simple|cortical|parapelvic|peripelvic|exophytic|biliary|true cyst|cysts",
    ),
    "metastasis": (
        "metastasis|metastases|metastatic|mets|met|metastatic_deposit|metastatic_deposits|metastatic_disease",
        "metastatic deposit|deposits|spread|disease|lesion|lesions|focus|foci|involvement|implant|implants|nodule",
        "secondary|secondaries",
        "secondary deposit|deposits|lesion|lesions|tumor|tumour|tumors|tumours|malignancy",
    ),
    "HCC": (
        "hcc|hccs|hepatoma|hepatomas",
        "hepatocellular carcinoma|carcinomas|cancer|ca|cancers",
        "fibrolamellar? hepatocellular carcinoma",
        "fibrolamellar carcinoma|hcc",
        "primary liver cancer",
    ),
    "hemangioma": ("hemangioma|hemangiomas|haemangioma|haemangiomas|hemangiomata|haemangiomata",),
    "RCC": (
        "rcc|rccs|ccrcc|prcc|chrcc|hypernephroma",
        "renal cell carcinoma|carcinomas|cancer|ca|cancers",
        "renal|kidney cancer|carcinoma",
    ),
    "sarcoma": (
        "sarcoma|sarcomas|liposarcoma|leiomyosarcoma|angiosarcoma|rhabdomyosarcoma|fibrosarcoma",
        "soft tissue sarcoma|sarcomas",
    ),
    "cholangiocarcinoma": (
        "cholangiocarcinoma|cholangiocarcinomas|cca|icca|ihcc|ccc|cholangiocellular_carcinoma|klatskin_tumor",
        "cholangiocellular carcinoma|cancer",
        "intrahepatic cholangiocarcinoma|cca",
        "bile duct carcinoma|cancer",
    ),
    "IPMN": (
        "ipmn|ipmns|ipmt|bd_ipmn|md_ipmn",
        "intraductal papillary mucinous neoplasm|neoplasms|tumor|tumour|neoplasia",
    ),
    "MCN": (
        "mcn|mcns",
        "mucinous cystic neoplasm|neoplasms|tumor|tumour|lesion",
        "mucinous cystadenoma|cystadenomas|cystadenocarcinoma",
    ),
    "SCA": (
        "sca|scas|scn",
        "serous? cystadenoma|cystadenomas",
        "serous microcystic? adenoma|cystadenoma",
        "serous cystic neoplasm|neoplasms|adenoma|tumor|tumour",
        "microcystic adenoma",
    ),
    "SPN": (
        "spn|spns|spt|sppt|frantz_tumor|frantz_tumour",
        "solid pseudopapillary neoplasm|neoplasms|tumor|tumour|epithelial_neoplasm|epithelial_tumor",
        "solid pseudo papillary neoplasm|tumor|tumour",
        "pseudopapillary neoplasm|tumor|tumour",
    ),
    "pseudocyst": ("pseudocyst|pseudocysts", "pseudo cyst|cysts"),
    "AML": ("aml|amls|angiomyolipoma|angiomyolipomas|angiomyolipomata",),
    "oncocytoma": ("oncocytoma|oncocytomas",),
    "adenoma": (
        "adenoma|adenomas|adenomata|hca",
        "hepatocellular|liver_cell adenoma|adenomas",
    ),
    "FNH": ("fnh|fnhs", "focal nodular hyperplasia"),
    "abscess": ("abscess|abscesses", "pyogenic|amebic|amoebic abscess|abscesses"),
    "UC": (
        "tcc|utuc|urothelial",
        "uc",
        "urothelial|transitional cell? carcinoma|cancer|ca|tumor|tumour|neoplasm",
        "upper_tract urothelial carcinoma",
    ),
    "lymphoma": ("lymphoma|lymphomas|lymphomatous", "lymphomatous infiltration|deposit|deposits|involvement"),
}
COMPOSITION_OF_PATHOLOGY = {"cyst": "cystic"}
ORGAN_OF_PATHOLOGY: dict[str, str] = {
    "PDAC": "pancreas",
    "PNET": "pancreas",
    "IPMN": "pancreas",
    "MCN": "pancreas",
    "SCA": "pancreas",
    "SPN": "pancreas",
    "pseudocyst": "pancreas",
    "HCC": "liver",
    "cholangiocarcinoma": "liver",
    "FNH": "liver",
    "RCC": "kidney",
    "AML": "kidney",
    "oncocytoma": "kidney",
    "UC": "kidney",
}

LESION_NOUNS = (
    "lesion|lesions|mass|masses|tumor|tumors|tumour|tumours|nodule|nodules|focus|foci|neoplasm|neoplasms|growth|growths|"
    "abnormality|abnormalities|finding_of_tumor|malignancy|malignancies|collection|collections|observation|observations|"
    "deposit|deposits|primary|carcinoma|cancer|process_mass|recurrence|incidentaloma|incidentalomas"
)
ORGAN_PHRASES: dict[str, tuple[str, ...]] = {
    "liver": (
        "liver|hepatic|intrahepatic|livers|hepar|subcapsular_liver",
        "hepatic|liver parenchyma|lobe|lobes|dome|tissue",
    ),
    "pancreas": ("pancreas|pancreatic|intrapancreatic|panc|pancreatical", "pancreatic parenchyma|tissue|gland"),
    "kidney": ("kidney|kidneys|renal|intrarenal|nephric", "renal|kidney parenchyma|cortex|tissue"),
    "soft tissue": ("soft tissue|tissues", "muscle|muscles|intramuscular|musculature"),
    "spleen": ("spleen|splenic|intrasplenic",),
    "lung": ("lung|lungs|pulmonary|intrapulmonary",),
    "adrenal gland": ("adrenal|adrenals|suprarenal", "adrenal gland|glands"),
    "bladder": ("bladder", "urinary bladder"),
    "gallbladder": ("gallbladder", "gall bladder"),
    "colon": ("colon|colonic|sigmoid|cecum|caecum|rectum|rectal|rectosigmoid", "sigmoid colon"),
    "stomach": ("stomach|gastric",),
    "small bowel": ("small bowel|intestine", "bowel|duodenum|duodenal|jejunum|jejunal|ileum|ileal|jejunoileal"),
    "esophagus": ("esophagus|oesophagus|esophageal|oesophageal",),
    "brain": ("brain|cerebral",),
    "prostate": ("prostate|prostatic",),
    "uterus": ("uterus|uterine|myometrium|endometrial|endometrium",),
    "ovary": ("ovary|ovaries|ovarian|adnexa|adnexal",),
    "breast": ("breast|breasts|mammary",),
    "bone": (
        "bone|bones|osseous|bony|vertebra|vertebral|rib|ribs|spine|skeleton|skeletal|iliac_bone|sacrum|femur|pelvis_bone",
    ),
    "lymph node": ("node|nodes|nodal|lymphadenopathy|adenopathy", "lymph node|nodes"),
    "thyroid": ("thyroid",),
    "heart": ("heart|cardiac",),
    "peritoneum": ("peritoneum|peritoneal|omentum|omental|mesentery|mesenteric",),
}
NEGATION = (
    "no|not|without|w/o|nor|neither|never|non|lacks|lacking|lack|negative_for|absence_of|lack_of|devoid_of|free_of|"
    "free_from|rather_than|instead_of|absent|fails_to|fail_to|unlike|excluding|denies|neg_for"
)
PSEUDO_NEGATION = (
    "not only",
    "no|not significant|significantly? interval? change|changed|growth|increase",
    "no longer",
    "without interval? change",
    "not|never biopsied|excluded|certain|fully|yet|entirely",
    "can not exclude|be_excluded|rule_out|be_ruled_out",
    "no doubt",
)
POST_NEGATION = (
    "absent|excluded|unlikely|less_likely|ruled_out",
    "not seen|identified|visible|present|demonstrated|detected|evident|shown|found|noted|observed|apparent|appreciated",
    "not visualized|visualised|recognizable|discernible|definable|seen",
)
STOP = "but|however|although|though|which|except|whereas|while|apart_from|yet|aside_from|nevertheless|still|despite"
HEDGE = (
    "possible|possibly|probable|probably|likely|may|might|could|suspected|questionable|equivocal|presumably|presumed"
)

SKIPPED = words(
    "very slightly mildly markedly rather somewhat moderately relatively fairly quite predominantly mostly mainly "
    "subtly the its clearly_ distinctly_ overall entirely almost rather completely fully largely"
)
"""Words that may stand inside any phrase."""

# Words one letter away from a term that are words of their own.
SAFE = words(
    "hematoma haematoma ventral material patient lateral classified ossified opacified marginal arteries density "
    "patents liver lever livers river legion region dose lipoma myeloma lumber lumbar renal venal cystitis "
    "defined refined define contrast contract necrotic nephrotic nephrosis fibrosis cirrhosis stenosis "
    "enhance enhanced hypertrophic atrophic uterine urine patchy patch portal postal venous various central ventricle "
    "segmental rental dental mental fluid fluids equal equally sharply sharp solids sold uniforms "
    "infiltrate infiltrates infiltration inflammatory inflammation reduces reduce primary primarily"
)


def _alternatives(slot: str) -> list[tuple[str, ...]]:
    optional = slot.endswith("?")
    options = [tuple(a.split("_")) for a in slot.rstrip("?").split("|")]
    return [*options, ()] if optional else options


def phrases(pattern: str) -> Iterator[tuple[str, ...]]:
    """Every token sequence that a pattern of the table stands for."""
    for parts in product(*(_alternatives(slot) for slot in pattern.split())):
        yield tuple(token for part in parts for token in part)


def _entries() -> Iterator[tuple[str, Term]]:
    for (field, value), patterns in SAYINGS.items():
        yield from ((p, Term("say", field, value)) for p in patterns)
    for head, patterns in HEADS.items():
        yield from ((p, Term("head", head)) for p in patterns)
    for name, (_, pattern) in MODIFIERS.items():
        yield pattern, Term("mod", name)
    for value, patterns in PATHOLOGY_PHRASES.items():
        yield from ((p, Term("say", "pathology", value)) for p in patterns)
    for organ, patterns in ORGAN_PHRASES.items():
        yield from ((p, Term("organ", organ)) for p in patterns)
    yield "pancreatic|pancreas cancer|carcinoma|ca|adeno", Term("organ", "pancreas")
    yield "cancer|carcinoma of the? pancreas", Term("organ", "pancreas")
    yield "renal|kidney cancer|carcinoma", Term("organ", "kidney")
    yield LESION_NOUNS, Term("lesion")
    yield "neoplastic|tumorous area|areas|tissue", Term("lesion")
    yield NEGATION, Term("negation")
    yield from ((p, Term("pseudo")) for p in PSEUDO_NEGATION)
    yield from ((p, Term("absent")) for p in POST_NEGATION)
    yield STOP, Term("stop")
    yield HEDGE, Term("hedge")
    for fluid in (
        "water|fluid|liquid|fluid_like|cystic|near_water|simple_fluid attenuation|density",
        "fluid equivalent density?",
    ):
        yield fluid, Term("say", "attenuation", "hypo")
        yield fluid, Term("say", "composition", "cystic")


class _Node(dict[str, "_Node"]):
    """A node of the trie of phrases: token to node; ``terms`` where a phrase ends."""

    terms: tuple[Term, ...] = ()


def _trie() -> _Node:
    root = _Node()
    for pattern, term in _entries():
        for phrase in phrases(pattern):
            node = root
            for token in phrase:
                node = node.setdefault(token, _Node())
            if term not in node.terms:
                node.terms = (*node.terms, term)
    for pattern in SILENT:
        for phrase in phrases(pattern):
            node = root
            for token in phrase:
                node = node.setdefault(token, _Node())
            node.terms = (Term("silent"),)
    return root


_ROOT = _trie()


def _tokens_below(node: Mapping[str, _Node]) -> Iterator[str]:
    for token, child in node.items():
        yield token
        yield from _tokens_below(child)


_VOCABULARY = frozenset(_tokens_below(_ROOT)) | SKIPPED
_CORRECTABLE = sorted(w for w in _VOCABULARY - SKIPPED if len(w) >= 5 and w.isalpha())


@lru_cache(maxsize=65_536)
def corrected(word: str) -> str:
    """The term of the table that ``word`` is one letter away from, or the word itself.

    One letter: changed, missing, too many, or two changed about. Where terms that differ are as near (*hypedense*),
    the word is left alone.
    """
    if len(word) < 6 or word in _VOCABULARY or word in SAFE or not word.isalpha():
        return word
    near = closest(word, _CORRECTABLE, scorer=DamerauLevenshtein.distance, score_cutoff=1, limit=3)
    near = [n for n in near if n[0][0] == word[0] or len(word) >= 8]
    if not near or (len(near) > 1 and _differ(near[0][0], near[1][0])):
        return word
    return str(near[0][0])


def _differ(first: str, second: str) -> bool:
    return _ROOT.get(first, _Node()).terms != _ROOT.get(second, _Node()).terms


def find(tokens: Sequence[str]) -> list[Hit]:
    """The phrases of the table in a sentence, longest first at each place, none overlapping."""
    hits = []
    start, n = 0, len(tokens)
    while start < n:
        best_end, terms = _longest(tokens, start)
        if best_end:
            hits.append(Hit(start, best_end, terms))
            start = best_end
        else:
            start += 1
    return hits


def _longest(tokens: Sequence[str], start: int) -> tuple[int, tuple[Term, ...]]:
    node = _ROOT.get(tokens[start])
    best: tuple[int, tuple[Term, ...]] = (0, ())
    at, n = start + 1, len(tokens)
    while node is not None:
        if node.terms:
            best = (at, node.terms)
        while at < n and tokens[at] in SKIPPED and tokens[at] not in node:
            at += 1
        if at >= n:
            break
        node = node.get(tokens[at])
        at += 1
    return best


_SPACING = re.compile(r"[\s\u00a0]+")
_TOKEN = re.compile(r"@\d+|[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[^\sa-z\d]")
_REPLACED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"[\u2018\u2019]", "'"),
        (r"[\u2010-\u2012\u00ad]", "-"),
        (r"[\u2013\u2014]", " - "),
        (r"[\u00d7\u2715]", "x"),
        (r"n't\b", " not"),
        (r"\bcannot\b", "can not"),
        (r"\bw/o\b", "without"),
        (r"\bw/", "with "),
        (r"(?<=[a-z])-(?=[a-z])", " "),
    )
)


def normalized(text: str) -> str:
    """Lower case, with plain apostrophes, dashes and multiplication signs; hyphenated words divided."""
    text = text.lower()
    for pattern, new in _REPLACED:
        text = pattern.sub(new, text)
    return text


def tokens_of(text: str) -> list[str]:
    """The tokens of a normalized sentence, typing errors of one letter in known words corrected."""
    return [corrected(token) for token in _TOKEN.findall(text)]


def names(hits: Iterable[Hit], kind: str) -> list[str]:
    """The names of all terms of a kind."""
    return [term.name for hit in hits for term in hit.terms if term.kind == kind]
