"""The words of radiology reports and what they say of a lesion: a table.

A phrase is written as slots divided by spaces. A slot is one token or alternatives divided by ``|``; a slot that ends
in ``?`` may be missing; ``_`` joins the tokens of an alternative that has several: ``low|lower in? density|ct_number``.
Tokens are lower case; hyphens between words divide tokens, so that *well-defined* and *well defined* are one phrase.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HOSTS = ("liver", "pancreas", "kidney")


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


# Values that a word says by itself, whatever it stands beside.
SAYINGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("attenuation", "hypo"): (
        "hypo attenuating|attenuated|attenuation|dense|density|densities",
        "hypoattenuating|hypoattenuated|hypoattenuation|hypodense|hypodensity|hypodensities|lucent|hypolucent|lucency",
        "low|lower attenuating|attenuated|dense",
        "less dense|attenuating|radiodense|bright|attenuated",
        "attenuates|attenuating|attenuate less",
        "hypo to|relative_to|compared_to|compared_with|versus liver|pancreas|kidney|parenchyma|background|cortex",
        "darker|dark|blacker",
        "is|lies below|under that of",
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
        "iso to|relative_to|compared_to|compared_with|versus liver|pancreas|kidney|parenchyma|background|cortex",
    ),
    ("attenuation", "hyper"): (
        "hyper attenuating|attenuated|attenuation|dense|density|densities",
        "hyperattenuating|hyperattenuated|hyperattenuation|hyperdense|hyperdensity|hyperdensities",
        "high|higher attenuating|attenuated|dense",
        "more dense|attenuating|bright|attenuated|radiodense",
        "denser|brighter|bright|radiodense|whiter",
        "higher|high|increased|raised in attenuation|density",
        "attenuates|attenuating|attenuate more",
        "hyper to|relative_to|compared_to|compared_with|versus liver|pancreas|kidney|parenchyma|background|cortex",
    ),
    ("enhancement", "hypo"): (
        "hypo enhancing|enhancement|vascular|vascularity|perfused",
        "hypoenhancing|hypoenhancement|hypovascular|hypovascularity|hypovascularized|hypovascularised|hypoperfused",
        "hypoenh|hypovasc",
        "hypoenhances|underenhancing|under_enhancing|underenhances|poorly_vascularized|poorly_vascular|hypoenhanced",
        "enhancing|enhances|enhance|enhanced less",
    ),
    ("enhancement", "hyper"): (
        "hyper enhancing|enhancement|vascular|vascularity|perfused",
        "hyperenhancing|hyperenhancement|hypervascular|hypervascularity|hypervascularized|hypervascularised",
        "hyperenh|hypervasc",
        "lights|lighting|light up",
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
        "bright|enhancing|hypervascular rim",
        "enhancing thick|thickened? irregular? wall|walls|periphery",
        "thick|thickened irregular? enhancing wall|walls",
        "wall enhancement",
        "wall enhances",
        "uptake in? a? ring",
    ),
    ("enhancement", "none"): (
        "nonenh",
        "nonenhancing|unenhancing|nonenhanced|nonvascular|avascular",
        "non|un enhancing|enhanced|vascular",
        "contrast negative",
        "no change|difference with|after|following|post contrast",
        "unchanged with|after|following|on|post contrast",
    ),
    ("texture", "homogeneous"): (
        "homog|homogen",
        "homogeneous|homogenous|homogeneously|homogenously|homogeneity|uniform|uniformly|uniformity|evenly",
        "evenness",
        "consistent internal appearance|texture|structure",
        "monotonous",
        "hardly|barely|scarcely any heterogeneity|inhomogeneity|unevenness",
        "smooth|regular internal? texture|interior",
    ),
    ("texture", "heterogeneous"): (
        "heterog|inhomog|heterogen|inhomogen",
        "heterogeneous|heterogenous|heterogeneously|heterogenously|heterogeneity|inhomogeneous|inhomogenous",
        "inhomogeneously|inhomogeneity|inhomogeneities|mottled|patchy|patchily|nonuniform|nonhomogeneous",
        "non|not uniform|uniformly|homogeneous|homogenous|evenly",
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
        "composed of multiple|many|numerous|innumerable? tiny|small? cysts",
        "tiny cysts",
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
        "fluid and|/ solid component|components|part|parts|portion|portions",
        "cysts beside|and|with|within solid",
        "both solid and cystic",
        "both cystic and solid",
    ),
    ("composition", "necrotic"): (
        "focus|foci|area|areas of necrosis",
        "partly|partially necrotic ,|and? partly|partially solid",
        "partly|partially solid ,|and? partly|partially necrotic",
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
        "smooth|smoothly",
    ),
    ("margin", "ill-defined"): (
        "ill|poorly|badly|vaguely|unsharply|indistinctly|incompletely|less_well defined|circumscribed|marginated",
        "diffusely marginated|defined",
        "ill|poorly|badly|vaguely|unsharply|indistinctly|irregularly demarcated|delineated|outlined|delimited",
        "ill|poorly separated|separable|distinguishable",
        "irregularly marginated|bordered|defined",
        "not well|sharply|clearly|smoothly|distinctly defined|circumscribed|marginated|demarcated|delineated",
        "not well|sharply|clearly|distinctly outlined|delimited|separated|separable|visible|distinguishable",
        "no clear|sharp|distinct|clear_cut margin|margins|border|borders|boundary|boundaries|edge|edges|demarcation",
        "without clear|sharp|distinct margin|margins|border|borders|boundary|boundaries|edge|edges|demarcation",
        "indistinct|illdefined|infiltrative|infiltrating|infiltrates|spiculated|blurred|blurry|blurs|blurring",
        "infiltrative|infiltrating|invasive growth",
        "infiltrative|infiltrating growth pattern",
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
    "similar|same|comparable attenuation|density to|as that_of? muscle|soft_tissue|blood|vessels|aorta|fat|spleen",
    "fat|fatty containing|poor|attenuation|density|component|components|content|tissue",
    "whether? solid or cystic",
    "whether? cystic or solid",
    "air|gas|calcific|fatty|hemorrhagic|hyperemic foci|focus",
    "foci|focus|pockets of air|gas|fat|hemorrhage|haemorrhage",
    "smooth muscle",
    "low grade",
    "slow|interval|rapid|some growth",
    "growth pattern|rate",
    "high grade",
    "nonrim|non_rim",
    "low suspicion|risk|probability",
    "attenuation|density similar|equal|close|comparable to that_of? muscle|soft_tissue|blood|vessels|aorta|fat|spleen",
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
        "low|lower|reduced|decreased|diminished|lowered|less|below|depressed|lessened|lowers|smaller|subnormal|minor|hypo",
    ),
    "high": (
        {"attenuation": "hyper", "enhancement": "hyper"},
        "high|higher|increased|raised|elevated|greater|more|above|heightened|increase|hyper",
    ),
    "same": (
        {"attenuation": "iso"},
        "same|similar|equal|identical|equals|matches|matching|comparable|unchanged|equivalent|match|resembles|resembling|"
        "indistinguishable|like|iso",
    ),
    "sharp": (
        {"margin": "well-defined"},
        "sharp|clear|crisp|clean|distinct|well_seen|abrupt|regular|discrete|definite|neat|sharply|visible",
    ),
    "smooth": ({"margin": "well-defined"}, "smooth"),
    "vague": (
        {"margin": "ill-defined"},
        "unclear|vague|obscure|obscured|ragged|imprecise|soft|diffuse|gradual|shaggy|lost|effaced|invasive|jagged|"
        "ill_seen|poor|less_distinct|less_sharp|less_clear|less_well_seen",
    ),
    "even": ({"texture": "homogeneous"}, "even"),
    "irregular": ({"margin": "ill-defined"}, "irregular|irregularity"),
    "strong": (
        {"enhancement": "hyper"},
        "avid|avidly|strong|strongly|brisk|briskly|vivid|vividly|intense|intensely|marked|markedly|prominent|robust|"
        "pronounced|vigorous|vigorously|prominently|bright|brightly|exuberant|rich|considerable|brilliant|"
        "intensive|excessive",
    ),
    "weak": (
        {"enhancement": "hypo"},
        "poor|poorly|weak|weakly|scant|scanty|faint|faintly|minimal|minimally|mild|mildly|little|slight|slightly|sparse|"
        "subtle|feeble|limited|low_level|barely|hardly|modest|meager|meagre|subdued",
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
    "gone": ({"enhancement": "none"}, "absent|lacking|missing|nil|none"),
}

PATHOLOGY_PHRASES: dict[str, tuple[str, ...]] = {
    "PDAC": (
        "pdac|pdacs|pda|adenoca",
        "ductal? adenocarcinoma|adenocarcinomas",
        "ductal carcinoma|cancer|adeno_ca",
        "adenocarcinoma of the? pancreas|pancreatic_head|ductal_type",
        "adenocarcinoma of ductal type",
        "pancreatic|pancreas cancer|carcinoma|ca|adeno",
        "cancer|carcinoma of? the? pancreas",
        "cancer|carcinoma of? the? pancreatic? head|body|tail of the? pancreas",
        "cancer|carcinoma of the? pancreatic head|body|tail",
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
        "clear|chromophobe|papillary cell? renal? cell? carcinoma|carcinomas|rcc|rccs",
        "papillary|chromophobe|clear_cell renal tumor|neoplasm",
        "renal|kidney cancer|carcinoma",
    ),
    "sarcoma": ("sarcoma|sarcomas|liposarcoma|leiomyosarcoma|angiosarcoma|rhabdomyosarcoma|fibrosarcoma",),
    "cholangiocarcinoma": (
        "cholangiocarcinoma|cholangiocarcinomas|cca|icca|ihcc|ccc|cholangiocellular_carcinoma|klatskin_tumor",
        "cholangiocellular carcinoma|cancer",
        "klatskin",
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
        "spn|spns|spen|spens|spt|sppt|frantz_tumor|frantz_tumour",
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
NODULE_IN_WALL = "nodule in the wall"
"""Not a value of a descriptor: it makes a cystic lesion a mixed one."""

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
    "abnormality|abnormalities|malignancy|malignancies|collection|collections|observation|observations|"
    "deposit|deposits|primary|carcinoma|cancer|recurrence|incidentaloma|incidentalomas"
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
    "retroperitoneum": ("retroperitoneum|retroperitoneal",),
    "heart": ("heart|cardiac",),
    "peritoneum": ("peritoneum|peritoneal|omentum|omental|mesentery|mesenteric",),
}
OTHER_THINGS: tuple[str, ...] = (
    "duct|ducts|cbd|mpd|chd|wirsung|vein|veins|artery|arteries|aorta|ivc|smv|sma|vessel|vessels|trunk|vena_cava",
    "hepatic|renal|splenic|pancreatic|pulmonary|adrenal|gastric|portal vein|veins|artery|arteries|trunk|vessel|vessels",
    "hepatic|renal|splenic|pancreatic|liver hilum|flexure|fossa|capsule|insufficiency|function|failure|transplant",
    "hepatic|renal|splenic|pancreatic|liver congestion|steatosis|cirrhosis|fat|impression|contour|surface|atrophy",
    "hepatic|renal|pancreatic|liver pedicle|protocol|phase|stone|stones|calculus|calculi|colic|enzymes",
    "bile|biliary|pancreatic|main_pancreatic|common_bile|common_hepatic|hepatic|main|upstream|side duct|ducts|tree",
    "side|main|branch branch|branches",
    "stone|stones|calculus|calculi|nephrolithiasis|cholelithiasis|urolithiasis|gallstone|gallstones|sludge|concrement",
    "thrombus|thrombosis|thrombi|tumor_thrombus|tumour_thrombus|embolism|embolus|emboli",
    "stent|stents|catheter|drain|clip|clips|coil|coils|tube|needle",
    "hydronephrosis|hydroureter|ascites|effusion|effusions|hernia|hernias|diverticulum|diverticula|diverticulosis",
    "free|peripancreatic|perihepatic|perirenal|perinephric|pelvic|pleural fluid",
    "granuloma|granulomas|fibroid|fibroids|leiomyoma|leiomyomas|myoma|myomas|polyp|polyps|goiter|lipoma|lipomas",
    "aneurysm|aneurysms|pseudoaneurysm|varix|varices|shunt|shunts|collateral|collaterals",
    "laceration|lacerations|contusion|fracture|fractures|infarct|infarcts|infarction|hematoma|hematomas|haematoma",
    "tumor|tumour thrombus",
    "calyx|calyces|collecting_system|ureter|ureters|nephrogram|nephrograms|pyelonephritis",
    "accessory_spleen|splenule|splenules|accessory_spleens|ablation_zone|ablation_defect|resection_cavity",
    "resection|ablation margin|margins|cavity|zone|defect|site|bed",
    "mass effect",
    "satellite|daughter nodules|lesions|foci",
    "walled_off necrosis|necroses",
    "slice|slices|section_thickness|collimation|reconstruction|increment|thickness",
    "pleura|pericardium|diaphragm|spine|fascia",
)
STATES = (
    "scar|scars|scarring|capsule|pseudocapsule|septa|septum|septae|septation|septations|wall|walls|steatosis|cirrhosis|"
    "fibrosis|pancreatitis|parenchyma|gland|stranding|fat|edema|oedema|congestion|atrophy|sinus_fat"
)
"""Other things that have no size."""

NOT_A_LESION: tuple[str, ...] = (
    "focal? fatty fat|sparing|infiltration|change|deposition|steatosis",
    "focal fat|steatosis|sparing",
    "partial volume averaging|effect|artifact|artefact",
    "partial voluming|volume",
    "volume averaging",
    "perfusion anomaly|abnormality|alteration|difference|artifact|phenomenon|change|changes|defect|effect",
    "transient hepatic attenuation difference|differences",
    "thad|thid|pseudolesion|pseudolesions|artifact|artefact|artifacts|artefacts|pseudomass|pseudotumor|artifactual",
    "flow|motion|beam_hardening|streak artifact|artefact",
    "unopacified bowel",
    "hypertrophied? column|columns of bertin",
    "dromedary hump",
    "arterioportal|arterio_portal shunt|shunts|shunting",
)
SITE_PHRASES: dict[str, tuple[str, ...]] = {
    "liver": (
        "hepatectomy|hemihepatectomy|hepatobiliary|trisegmentectomy|bisegmentectomy",
        "bilobar|caudate|periportal|couinaud",
        "segment|segments|seg|segs|segm 1|2|3|4|4a|4b|5|6|7|8|i|ii|iii|iv|iva|ivb|v|vi|vii|viii",
        "s1|s2|s3|s4|s4a|s4b|s5|s6|s7|s8",
        "left|right lobe",
        "left lateral section|segment|sector",
        "right|left anterior|posterior|medial section|sector",
    ),
    "pancreas": ("uncinate|pancreatectomy|whipple|pancreaticoduodenectomy", "uncinate process"),
    "kidney": (
        "upper|lower|mid|middle|superior|inferior pole",
        "nephrectomy|nephrectomies|interpolar|midpole|parapelvic|peripelvic",
        "upper|mid|middle|lower third",
    ),
    "lung": (
        "left|right upper|lower|middle lobe",
        "rul|rml|rll|lul|lll|subpleural|lingula|perifissural",
        "upper|lower|middle lobe",
    ),
}

DIAGNOSIS_BEFORE: tuple[str, ...] = (
    "consistent|compatible|concordant|in_keeping|keeping with",
    "suspicious|concerning|worrisome|diagnostic|pathognomonic|suggestive|indicative|typical|characteristic for|of",
    "typical|classic|classical|characteristic|suspicious|worrisome",
    "suspicion|impression|diagnosis|appearance|appearances|features|picture|those of",
    "suggests|suggest|suggesting|favor|favour|favors|favours|favoring|favouring|favored|favoured|indicates|indicating",
    "represents|representing|represent|reflecting|reflects|reflect|corresponds_to|corresponding_to|correspond_to",
    "likely|probable|probably|possible|possibly|presumed|presumably|suspected|suspect|suspecting",
    "differential|ddx|dd|dx|diagnosis|differentials",
    "versus|vs|or",
    "maybe|perhaps|therefore|ie|namely|called|termed|considered|judged|consider",
    "regarded|interpreted|read as",
    "may|might|could|must|will|would|should be|represent",
    "this|it|lesion|mass is|was a|an|the",
    "thought|felt|believed|considered|assumed|proven|known to be",
    "raising|raises|raise concern|suspicion for|of",
    "proven|confirmed",
)
DIAGNOSIS_AFTER: tuple[str, ...] = (
    "likely|possible|probable|favored|favoured|suspected|considered|assumed|presumed|conceivable|probably",
    "can not be excluded|ruled_out",
    "leading|first|main|top|primary consideration|diagnosis|possibility",
    "has|have to be assumed|considered",
    "to be assumed|considered|favored|favoured|excluded|ruled_out",
    "should|must|needs|need be excluded|ruled_out",
)
HISTORY: tuple[str, ...] = (
    "history|hx of|for",
    "after|following|post|prior|previous resection|ablation|rfa|mwa|tace|embolization|sbrt|treatment|surgery of? for?",
    "prior|previous resection|nephrectomy|surgery|treatment for",
    "hepatectomy|hemihepatectomy|pancreatectomy|whipple|segmentectomy|lobectomy|duodenopancreatectomy of|for",
    "rfa|mwa|tace|tae|sbrt|radioembolization|thermoablation of|for",
    "once|formerly|previously queried|suspected|labelled|labeled|diagnosed|described as|to_be",
    "h / o",
    "rule|ruling out",
    "r / o",
    "evaluate|evaluation|assess|assessment|surveillance|screening|workup|work_up|staging|follow_up for|of",
    "evaluate|assess|staging",
    "status post",
    "s / p",
    "post resection|ablation",
    "resection|ablation|nephrectomy|enucleation|embolization|embolisation|removal of|for",
    "query|question_of",
    "treated|operated|resected|referred|presenting|presents|presented for|with",
    "man|woman|male|female|patient with",
    "in the context|setting of",
    "context|setting of",
    "risk of|for",
    "previously|formerly|initially|earlier considered|interpreted|characterized|thought|called|felt as?",
    "clinically suspected",
)
GONE: tuple[str, ...] = (
    "no longer seen|visible|identified|present|demonstrated|detectable|appreciated|evident|apparent",
    "no longer visualized|visualised|appreciable|discernible|recognizable|recognisable|measurable|found|noted|there",
    "not seen|visible|found|identified|present anymore|any_more",
    "has|have resolved|disappeared|vanished|regressed_completely|been_resected|been_removed|been_ablated",
    "resolved|disappeared|vanished",
    "no correlate|corresponding|correlation",
    "complete resolution|regression|disappearance",
    "completely resolved|regressed|disappeared",
)
DOUBT: tuple[str, ...] = (
    "questionable|equivocal|doubtful|questionably",
    "is|are|remains not|never certain|definite|proven",
    "is|are|remains uncertain|questionable|doubtful|equivocal",
    "can|could|may not confidently|definitely|entirely|completely? exclude",
    "difficult|hard|impossible to exclude",
    "can|could not be? confidently|definitely|entirely|completely? excluded|exclude",
    "not|never be? excluded",
    "can|could not rule out",
    "can|could not be ruled out",
    "suspicion|suggestion|possibility|question of a?",
    "possible|potential|suspected",
)
NEGATION = (
    "no|not|without|nor|neither|never|non|lacks|lacking|lack|negative_for|absence_of|lack_of|devoid_of|free_of|none|"
    "free_from|rather_than|instead_of|absent|fails_to|fail_to|unlike|anything_but|far_from|hardly_any|barely_any|"
    "by_no_means|unlikely|unlikely_to_be|unlikely_to_represent|inconsistent_with|incompatible_with|"
    "argues_against|speaks_against|argue_against|speak_against|evidence_against|no_longer|against|excluding|denies|neg_for|nothing"
)
PSEUDO_NEGATION: tuple[str, ...] = (
    "not only|just|merely",
    "no|not|without significant|significantly|relevant|interval? change|changed|growth|increase|progression",
    "no|not|without change|changed|growth|increase|progression|enlargement|alteration|evolution",
    "can|could not be assessed|evaluated|determined|characterized|characterised|judged|measured|quantified",
    "not|never biopsied|certain|fully|yet|entirely|assessed|assessable|evaluable|further|known|able",
    "not be? excluded",
    "can|could not exclude|be_excluded|rule_out|be_ruled_out",
    "should|must|needs|need|to be excluded|ruled_out",
    "to be excluded|ruled_out",
    "no doubt|lack",
    "not without",
    "no follow up",
    "without doubt",
)
POST_NEGATION: tuple[str, ...] = (
    "absent|excluded|unlikely|ruled_out",
    "less likely|probable",
    "improbable|not_likely|not_probable",
    "not seen|identified|visible|present|demonstrated|detected|evident|shown|found|noted|observed|apparent|appreciated",
    "not visualized|visualised|recognizable|discernible|definable|confirmed|reproduced|reproducible|substantiated",
    "not favored|favoured|suspected|considered|likely",
)
STOP = (
    "but|however|although|though|which|except|whereas|while|apart_from|yet|aside_from|other_than|besides|"
    "nevertheless|still|despite|because|therefore|thus|hence|who|otherwise"
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


def content() -> Iterator[tuple[str, Term]]:
    """Patterns of words that speak of lesions, organs and other things, and what they say."""
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
    for organ, patterns in SITE_PHRASES.items():
        yield from ((p, Term("site", organ)) for p in patterns)
    yield "pancreatic|pancreas cancer|carcinoma|ca|adeno", Term("organ", "pancreas")
    yield "cancer|carcinoma of? the? pancreas", Term("organ", "pancreas")
    yield "cancer|carcinoma of? the? pancreatic? head|body|tail of the? pancreas", Term("organ", "pancreas")
    yield "cancer|carcinoma of the? pancreatic head|body|tail", Term("organ", "pancreas")
    yield "renal|kidney cancer|carcinoma", Term("organ", "kidney")
    yield "renal sinus fat?", Term("other")
    yield "renal sinus fat?", Term("site", "kidney")
    yield "neoplastic|tumorous area|areas|tissue", Term("lesion")
    yield "bulky|abnormal|recurrent tissue|soft_tissue", Term("lesion")
    yield (
        "sol|sols|space_occupying_lesion|formation|formations|tumefaction|neoplasia|neoformation|spot|spots",
        Term("lesion"),
    )
    yield "the gland", Term("other", "state")
    yield "the gland", Term("site", "pancreas")
    yield "expansile|expansive|space_occupying|neoplastic|tumorous|malignant process", Term("lesion")
    yield "cystic structure|structures|formation", Term("say", "composition", "cystic")
    yield "cystic structure|structures|formation", Term("lesion")
    yield "hypodensity|hypodensities|lucency|hyperdensity|hyperdensities|hypoattenuation", Term("lesion")
    yield "area|areas|region|regions|zone|zones", Term("area")
    yield "mural nodule|nodules|nodularity|component|components", Term("say", "composition", NODULE_IN_WALL)
    inner = "enhancing|solid|internal|small? nodule|nodules|nodularity|component|components"
    yield f"septa|septations|septum|wall|walls and|or|with a? {inner}", Term("say", "composition", NODULE_IN_WALL)
    yield (
        "solid|enhancing nodule|nodules within|inside the|its? cyst|lesion|wall|it",
        Term("say", "composition", NODULE_IN_WALL),
    )
    for fluid in (
        "water|fluid|liquid|fluid_like|water_like|cystic|near_water|simple_fluid attenuation|density|densities",
        "fluid|water equivalent density?",
        "attenuation|density like|of|similar_to|close_to|near|equal_to|equivalent_to water|fluid|simple_fluid",
    ):
        yield fluid, Term("say", "attenuation", "hypo")
        yield fluid, Term("say", "composition", "cystic")
    yield LESION_NOUNS, Term("lesion")
    yield from ((p, Term("other")) for p in OTHER_THINGS)
    yield STATES, Term("other", "state")
    yield from ((p, Term("artifact")) for p in NOT_A_LESION)
    yield from ((p, Term("silent")) for p in SILENT)


def cues() -> Iterator[tuple[str, Term]]:
    """Patterns of words that say how the rest is meant: negated, doubted, past, a diagnosis."""
    yield NEGATION, Term("negation")
    yield STOP, Term("stop")
    for kind, patterns in (
        ("pseudo", PSEUDO_NEGATION),
        ("absent", POST_NEGATION),
        ("diagnosis", DIAGNOSIS_BEFORE),
        ("diagnosis after", DIAGNOSIS_AFTER),
        ("history", HISTORY),
        ("gone", GONE),
        ("doubt", DOUBT),
    ):
        yield from ((p, Term(kind)) for p in patterns)
