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


EDGES = (
    "margin|margins|border|borders|edge|edges|contour|contours|outline|outlines|boundary|boundaries|interface|interfaces|"
    "demarcation|marginate|margination|delineation|definition|delimitation|circumscription|limit|limits|transition|separation|bounds|confines"
)
# How an edge is drawn: the words of *well-defined* and of its opposite, each of which goes with each participle.
CLEARLY = (
    "well|sharply|clearly|smoothly|distinctly|crisply|nicely|better|precisely|neatly|cleanly|exactly|finely|easily|"
    "readily"
)
VAGUELY = (
    "ill|poorly|badly|vaguely|unsharply|indistinctly|incompletely|unclearly|imprecisely|inadequately|insufficiently"
)
DRAWN = (
    "defined|defin|def|circumscribed|marginated|margined|demarcated|delineated|outlined|delimited|bordered|contoured|"
    "bounded|limited|separated|separable|distinguishable|distinguished|definable|delineable|delimitable"
)
# What a lesion is compared with, and how contrast medium comes and goes.
TISSUE = "liver|pancreas|kidney|parenchyma|background|cortex|gland"
TAKES_UP = "takes|take|taking|took|picks|pick|picking|soaks|soak|soaking|sucks|suck up"
CONTRAST = "contrast|contrast_medium|contrast_agent|contrast_material|contrast_media|dye"
ITS_EDGE = (
    "edge|edges|periphery|margin|margins|border|borders|rim|wall|walls|circumference|perimeter|contour|contours|fringe"
)
LOSES = "loses|losing|lose|lost|gives_up|giving_up|gave_up|releases|releasing|clears|clearing|drops|dropping"
SINKS = "drops|dropped|dropping|falls|fallen|fell|falling|declines|declined|sinks|sank|sunk|decreases|decreased"
HAS = "shows|show|showing|displays|demonstrates|has|having|with"
BEFORE_CONTRAST = "unenhanced|native|plain|precontrast|noncontrast|pre_contrast|non_contrast|ncct|nect"
NO_MORE_THAN = "1|2|3|4|5|6|7|8|9|10"
# Values that a word says by itself, whatever it stands beside.
SAYINGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("attenuation", "hypo"): (
        "hypo attenuating|attenuated|attenuation|dense|density|densities",
        "hypoattenuating|hypoattenuated|hypoattenuation|hypodense|hypodensity|hypodensities|lucent|hypolucent|lucency",
        "low|lower|poorly|weakly attenuating|attenuated|dense",
        "less dense|attenuating|radiodense|bright|attenuated|opaque|radiopaque",
        "not reach|attain|achieve the? density|attenuation of",
        "attenuates|attenuating|attenuate less|lower",
        "hypo to|relative_to|compared_to|compared_with|versus liver|pancreas|kidney|parenchyma|background|cortex",
        "darker|dark|blacker",
        "is|lies below|under that of",
        "lower|low|reduced|decreased in attenuation|density",
        "underdense|subdense|radiolucent",
        "delayed|late|venous|portal hypodensity|hypoattenuation",
        "less density|attenuation than",
        "attenuation|density|value|values inferior to",
        "inferior attenuation|density",
        "hypodense|hypoattenuating|low_density|low_attenuation|dark|darker|black defect|defects",
        "dimmer|hypodensely|hypodensive|hypoabsorbing|hypodensic|hypoatt|hypoattn|hypoatten",
        "low|lower|reduced|decreased hu",
        f"hu lower|less than the? surrounding|adjacent|normal? {TISSUE}",
        "not as? dense|bright|radiodense as",
        f"not as bright|dense as the? {TISSUE}",
        "shows|show|showing|seen|stands|standing|stand up|out dark",
        "hypo to isodense|isoattenuating",
        "lda|ldas",
        f"hypo on|in|at? the? pv|pvp|portal|venous|delayed|late|nephrographic|parenchymal|{BEFORE_CONTRAST}",
    ),
    ("attenuation", "iso"): (
        "iso attenuating|attenuated|attenuation|dense|density",
        "isoattenuating|isoattenuated|isoattenuation|isodense|isodensity",
        "equally|similarly dense|attenuating|bright|dark",
        "as dense|bright|attenuating|dark as",
        "similar|equal|identical|same in density|attenuation|brightness",
        "not|no distinguishable in attenuation|density",
        "no density|attenuation difference|contrast",
        "no|without difference in|of density|attenuation",
        "not differ|different|differing|stand_out|stick_out in|by density|attenuation",
        f"density|attenuation corresponds|corresponding|correspond to that_of? the? surrounding|adjacent|"
        f"normal? {TISSUE}",
        f"corresponds|corresponding|correspond to that of the? surrounding|adjacent|normal? {TISSUE}",
        f"blends|blending|merges|merging with|into the? surrounding|adjacent|normal? {TISSUE} in density|attenuation",
        f"has|have|having|with the density|attenuation of the? surrounding|adjacent|normal|neighboring? {TISSUE}",
        "can|could? not be? differentiated|distinguished|distinguishable|separated|separable|discernible|told|"
        "delineated|"
        f"delimited from the? surrounding|adjacent|normal? {TISSUE} in|by its? density|attenuation",
        f"not differ|different|distinguishable from the? surrounding|adjacent|normal? {TISSUE} in density|attenuation",
        "same brightness",
        "attenuation|density does|is? not differ|different|distinguishable from that_of? the? surrounding|normal? "
        f"{TISSUE}",
        f"of the density|attenuation of the? surrounding|normal? {TISSUE}",
        "of liver|hepatic|parenchymal|cortical|renal density|attenuation",
        "fades|fading|fade|returns|returning to liver|parenchymal|background density|attenuation",
        f"fades|fading|fade|returns|returning to the? density|attenuation|level of the? {TISSUE}",
        "isodensely|isodensive|isoatt|isoattn|isoatten",
        f"equal|equals|identical|equivalent to? the? surrounding|adjacent|normal? {TISSUE} "
        "afterwards|later|thereafter|before|natively",
        f"no|without difference|contrast to|from|with the? surrounding|adjacent|normal? {TISSUE}",
        f"equilibrates|equilibrate|equilibrating with|to the? surrounding|adjacent|normal? {TISSUE}",
        f"can|could? not be? told|differentiated|distinguished|distinguishable|separated|separable|discernible "
        f"from the? surrounding|adjacent|normal? {TISSUE} in|on|at the? {BEFORE_CONTRAST}",
        "indistinguishable from the? surrounding|normal? liver|pancreas|kidney|parenchyma|gland|cortex",
        "parallels|parallel|paralleling|approximates|approximating|approaches the? surrounding|adjacent|normal? "
        f"{TISSUE} in density|attenuation",
        f"attenuation|density close|near to that_of? the? surrounding|adjacent|normal? {TISSUE}",
        "attenuation|density approximates|approximating|approaches that_of? the? surrounding|adjacent|normal? "
        f"{TISSUE}",
        "iso -? to hypodense|hypoattenuating|hyperdense|hyperattenuating",
        f"iso on|in|at? the? pv|pvp|portal|venous|delayed|late|nephrographic|parenchymal|{BEFORE_CONTRAST}",
        "iso to|relative_to|compared_to|compared_with|versus liver|pancreas|kidney|parenchyma|background|cortex",
    ),
    ("attenuation", "hyper"): (
        "hyper attenuating|attenuated|attenuation|dense|density|densities",
        "hyperattenuating|hyperattenuated|hyperattenuation|hyperdense|hyperdensity|hyperdensities",
        "high|higher|highly|strongly attenuating|attenuated|dense",
        "more dense|attenuating|bright|attenuated|radiodense|opaque|radiopaque",
        "denser|brighter|brightest|bright|radiodense|whiter",
        f"hu higher than the? surrounding|adjacent|normal? {TISSUE}",
        "dense to|relative_to|compared_to|compared_with|in_relation_to|against|as_compared_to|as_compared_with",
        f"dense in|on|at the? {BEFORE_CONTRAST}",
        "dense precontrast|natively|spontaneously|before_contrast|without_contrast",
        "spontaneously|intrinsically|natively|inherently dense",
        "attenuation|density|value|values superior to",
        "superior attenuation|density",
        "hyperdensely|hyperdensive|hyperabsorbing|hyperdensic|hyperatt|hyperattn|hyperatten",
        "high|higher|raised|increased|elevated hu",
        "attenuating|dense more than",
        "higher|high|increased|raised in attenuation|density",
        "attenuates|attenuating|attenuate more|higher",
        "hyper to|relative_to|compared_to|compared_with|versus liver|pancreas|kidney|parenchyma|background|cortex",
        f"hyper on|in|at? the? {BEFORE_CONTRAST}",
    ),
    ("enhancement", "hypo"): (
        "hypo enhancing|enhancement|vascular|vascularity|perfused",
        "hypoenhancing|hypoenhancement|hypovascular|hypovascularity|hypovascularized|hypovascularised|hypoperfused",
        "hypoenh|hypovasc|hypovascularization|hypovascularisation|hypoperfusion",
        "hypoenhances|underenhancing|under_enhancing|under_enhances|underenhances|poorly_vascularized|poorly_vascular|hypoenhanced",
        "enhancing|enhances|enhance|enhanced less",
        "enhancement|uptake lags|lagging|trails behind",
        "lags|lagging behind",
        "poor|low|scarce|deficient in? vascularization|vascularisation|vascularity|vessels",
        "inferior enhancement|uptake|vascularity|perfusion",
        "underperfused|undervascularized|underenhancement",
        f"less|lower {CONTRAST} in? it|them? than",
        "low_grade|low_level contrast? enhancement|uptake",
        "less|worse vascular|vascularized|vascularised|perfused",
        "discrete|discreet|meagre|shy contrast? enhancement|uptake|enrichment",
        "hardly|barely|scarcely any contrast? enhancement|uptake|vascularity|perfusion",
        "poorly|scarcely|sparsely|weakly|little vascularized|vascularised|vascular|perfused",
    ),
    ("enhancement", "hyper"): (
        "hyper enhancing|enhancement|vascular|vascularity|perfused",
        "hyperenhancing|hyperenhancement|hypervascular|hypervascularity|hypervascularized|hypervascularised",
        "hyperenh|hypervasc|hypervascularization|hypervascularisation|hyperperfusion",
        "lights|lighting|light up",
        "hyperperfused|hyperenhances|richly_vascularized|highly_vascular|hyperenhanced|hyperemic|hyperaemic",
        "enhancing|enhances|enhance|enhanced more",
        "rich|abundant in? vessels|vascularization|vascularisation|vascularity|vascular_supply",
        "high_grade contrast? enhancement|uptake",
        "highly|heavily enhancing|enhanced|avid",
        "very|extremely|exceedingly|extensively vascular|vascularized|perfused",
        "more vascular|vascularized|vascularised|perfused",
        "dense|densely contrast? accumulation|uptake|enhancement|enhancing|staining|opacification",
        "flashes|flashing|shines|flushes|glows|glowing|brightens|brightened|brightening",
        "richly|abundantly|well supplied with|by vessels|blood",
        "enhances|enhance well",
        "well enhancing|enhanced",
        "rich|good blood supply",
        f"more|higher {CONTRAST} in? it|them? than",
        "enhancement|uptake|enhances|enhancing|enhanced + + +?",
        "good|excellent contrast? enhancement|uptake|vascularity|vascularization",
        "richly|highly|strongly|well|heavily vascularized|vascularised|vascular|perfused",
    ),
    ("enhancement", "arterial"): (
        "arterial_phase positive",
        "only|solely|exclusively visible|seen|detectable|appreciable|conspicuous in|on|"
        "during the? arterial phase|images",
        "arterial|ap|hap|art : hyper|hyperdense|hyperattenuating|bright",
        "arterial|art phase? :? + +?",
        "visible|seen|detectable|appreciable|conspicuous in|on|during the? arterial phase|images only|"
        "exclusively|alone",
        "hyper on|in|at? the? arterial|ap|hap|art",
        "stronger|more_strongly|more_intensely|more_avidly in|on|during the? arterial phase",
        "bright|brighter early|arterially",
        "arterially bright|brighter|hyperdense|hyperattenuating",
        "hyperdense|hyperattenuating|bright arterially",
        "bright|brightest|conspicuous|visible in|on? the? ap",
        "ap|hap|arterial bright",
        "hyperenh|hyperenhancing|hyperenhancement|hypervascular|hyperenhances in|on? art",
        "early? arterial|early capillary|flash? filling|fill_in|opacification",
        "stands|stand|standing out brightly|clearly|markedly? in|on|during the? arterial|early",
        "aphe|wash_in|washin|arterialized|arterialised|arterialization|arterialisation",
        "visible|seen|detectable|appreciable|conspicuous only|exclusively|solely arterially",
        "only be? seen|visible|detected|identified|appreciated|delineated in|on|during the? arterial phase|images",
        "visible|seen|detectable|appreciable|conspicuous only|exclusively|solely in|on the? arterial phase|images",
        "brightens|brightening|enhances|fills early",
        "avid|intense|vivid in|on|during the? early|late? arterial phase|images|series",
        "fills|filling rapidly|promptly|quickly|immediately|completely|homogeneously in|on|during the? late? arterial "
        "phase?",
        "arterial hyperdense|hyperattenuating|bright",
        "arterially enhancing|hyperenhancing|hypervascular|enhances|enhanced",
        "hyperarterialized|hyperarterialised|hyperarterialization",
        "early_arterial|arterial uptake|blush|hypervascularity|hypervascularization|flush",
        "hyperenhancing|hyperenhancement|enhancing|enhancement|hypervascular|bright|hyperdense|hyperattenuating in|on? "
        "the? ap|hap",
        "enhances|enhance|enhancing|enhancement|uptake in|on|during the? late? arterial phase images|imaging|"
        "scan|series",
        "ap|hap hyperenh|hyperenhancing|hyperenhancement|enhancing|enhancement|hypervascular|hyperdense",
    ),
    ("enhancement", "washout"): (
        "washout|washouts",
        "nonperipheral|non_peripheral washout",
        "wash|washes|washed|washing it|contrast? out",
        "wo : yes|present",
        "wo +|present|seen|yes",
        "deenhancement|deenhances|deenhance|deenhancing",
        "de enhancement|enhances|enhance|enhancing",
        f"{LOSES} its|the|all|some? {CONTRAST}|enhancement|hyperenhancement|brightness",
        f"loss|release|clearance of {CONTRAST}|enhancement|hyperenhancement",
        "contrast|enhancement loss|clearance|release",
        f"{LOSES} density|attenuation again|faster|quicker|rapidly|quickly|earlier|early|thereafter",
        f"{LOSES} it again|rapidly|quickly|early|later|thereafter|fast",
        f"{SINKS} below|under the|that_of_the? {TISSUE}|hepatic|parenchymal|cortical density|attenuation|level?",
        f"{SINKS} below|under the? surrounding|adjacent|background|normal? {TISSUE}",
        f"{SINKS} below|under it|them",
        "can|could|does|do|did not hold|retain|keep on_to|onto? it|them|the|its? contrast?",
        "aphe and|with|, wo",
        "wo in|on|at the? pvp|pv|portal|venous|delayed|late|dp",
        f"fades|fading|faded thereafter|later|afterwards|then? below|under|to_below|to_less_than the|that_of_the? "
        f"{TISSUE}|it",
        f"retains|retaining|retained|holds|keeps less {CONTRAST}",
        f"{CONTRAST} has|is|had been? gone|left|disappeared|vanished|drained|cleared",
        f"{CONTRAST} leaves|left the? {TISSUE}|it|them|lesion|mass|nodule|tumor",
        "fast|rapid|quick in ,|and|/? fast|rapid|quick out",
        "contrast is? lost",
        "rapid|quick|fast|early|prompt|delayed|late|subsequent clearance",
        "clears|clearing rapidly|quickly|early",
        "wash|washes|washed|washing away",
        "enhancement|contrast drop_off|fall_off|fade_out|run_off",
        "drop_off|fall_off|fade_out|run_off of|in enhancement|contrast",
    ),
    ("enhancement", "rim"): (
        "peripherally enhancing|enhances",
        "rim enhances",
        "rim aphe",
        "aphe :? present|yes ,? rim",
        "bright|brighter|enhancing|hypervascular|hyperemic|hyperaemic|thick|hyperenhancing|vascular|"
        "vascularized|vascularised irregular|nodular|outer? rim|rind|ring|halo",
        "hypervascular|hyperemic|hyperaemic|hyperenhancing margin|margins|border|edge|periphery|"
        "wall|walls|shell|capsule",
        "bright|brighter|vascular|hyperdense|contrast_enhancing|enhancing outer? periphery|circumference|zone|"
        "layer|mantle",
        "rim|ring|rind|shell|border of vascular|vascularized|enhancing|viable|perfused tissue|parenchyma|tumor",
        f"{HAS} a thin|thick|thickened|faint|subtle|irregular|bright|peripheral|complete|incomplete? peripheral? "
        "rim|ring|halo",
        "rim|ring +",
        "enhances|enhance|enhancing|enhancement|filling from the? outside|periphery|edge|edges|margin|margins",
        "discontinuous|interrupted globular|nodular enhancement|uptake",
        f"ring|rim|rings|rims|rind|halo|collar|band|shell of enhancement|hyperenhancement|hypervascularity|{CONTRAST}",
        "peripheral nodular|globular|discontinuous? filling|fill_in",
        f"{ITS_EDGE} with marked|strong|intense|avid|thin|slight|clear? contrast? enhancement|uptake",
        "nodular|globular|discontinuous peripheral filling",
        "centripetal|centripetally progressive|gradual|slow? contrast? filling|fill_in|fill|fills|enhancement|"
        "opacification",
        f"enhancement starts|starting|begins|beginning|commences at|from|in the|its {ITS_EDGE}",
        f"{CONTRAST} enters|entering|spreads it? from the|its {ITS_EDGE}",
        "filling|fill|fills|enhances|enhancing in? centripetally",
        "rim|rims|periphery|edge|circumference is|are|appears|becomes bright|brighter|hypervascular|"
        "hyperperfused|enhanced",
        "fills|fill|filling in|up? from the? periphery|edge|edges|outside|margin|margins|rim|border|borders",
        "contrast? enhancing|perfused|vascularized|vascularised|opacified|viable thin|thick|"
        "thickened? irregular|nodular? "
        "wall|walls|rind|periphery|margin|margins|border|borders|edge|edges|shell",
        "thick|thickened irregular|nodular? enhancing wall|walls|margin|periphery|shell",
        f"globular|nodular? contrast puddling|pooling|puddles|pools|lakes at|along|in|around its|the {ITS_EDGE}",
        f"{CONTRAST} is|are|was|were? found|seen|visible|noted|present|taken_up only? at|along|in|around its|the "
        f"{ITS_EDGE}",
        f"at|along|in its|the {ITS_EDGE} enhances|enhance",
        f"fills|fill|filled|filling with {CONTRAST} from the|its? {ITS_EDGE}|outside",
        "puddling|puddles|pooling of contrast|enhancement? at? its? edge|edges|periphery|margin|margins?",
        "peripheral|peripherally nodular|globular? contrast? puddling|puddles|pooling|lakes|pools",
        f"peripheral|marginal nodules|globules|puddles|pools|lakes of {CONTRAST}|enhancement",
        f"contrast? enhancement|enhancing|enhances|uptake of|at|along|around|in|within|confined_to|limited_to|"
        f"restricted_to|"
        f"only_at|only_in its|the? outer|thick|thickened|thin|irregular? {ITS_EDGE}",
        f"nodules|globules|puddles|pools|lakes of {CONTRAST}|enhancement at|along|in|around its|the? {ITS_EDGE}",
        f"{CONTRAST} pools|puddles|collects|accumulates only? at|along|in|around its|the? {ITS_EDGE}",
        "rim|ring|rind|shell|mantle|band|halo|layer of avidly|strongly? enhancing|hyperenhancing|hypervascular|"
        "vascularized",
        "wall|mural|border|edge|margin|boundary contrast? enhancement|uptake",
        "wall enhances",
        "uptake in? a? ring",
        "outer|peripheral part|parts|portion|portions|zone|rind enhances|enhance|enhancing",
    ),
    ("enhancement", "none"): (
        "nonenh",
        "post_contrast|postcontrast hu|density|attenuation same|unchanged|identical",
        "enhancement|uptake :? 0",
        f"enhancement|uptake after? contrast? amounts to only? {NO_MORE_THAN} hu|hounsfield",
        "nonenhancing|unenhancing|nonenhanced|nonvascular|avascular",
        "non|un|not enhancing|enhanced|vascular|vascularized|vascularised|perfused",
        "enhancement|enhances|enhancing|uptake in|on|at|during no phase|phases|series",
        "contrast negative",
        "enhancement|uptake - none|nil|absent|no",
        "not|non|un opacified|opacifying|opacify|opacifies",
        "devoid|void of internal? vascularity|flow|perfusion|contrast",
        "no|without internal vascularity|vessels|perfusion|flow",
        "devascularized|devascularised|unvascularized|unvascularised|unperfused|nonperfused",
        "no|without|not significant|relevant? density|attenuation|hu? change|changes|changing|changed|"
        "difference|increase|modification|alteration|variation "
        "with|after|following|post contrast|injection|postcontrast",
        "no|without significant|relevant? change|difference|increase|rise|modification|alteration|variation in|of "
        "density|attenuation|hu "
        "with|after|following|post contrast|injection|postcontrast",
        "increase|increases|rise|rises|difference|change|increment|enhancement|enhances|enhancing|enhance of|by? "
        f"less_than|under|below|< {NO_MORE_THAN}|15|20 hu|hounsfield",
        "increase|increases|rise|rises|difference|change|increment|enhancement|enhances|enhancing|enhance of|by? "
        f"only|just {NO_MORE_THAN}|15 hu|hounsfield",
        f"by|of {NO_MORE_THAN} hu|hounsfield only",
        f"enhancement|uptake of|: only? {NO_MORE_THAN} hu|hounsfield",
        f"increase|rise|delta : {NO_MORE_THAN} hu|hounsfield",
        f"enhances|enhancing|enhance|rises|increases by {NO_MORE_THAN} hu|hounsfield only?",
        "no|without significant|relevant|measurable|appreciable? increase|rise in|of density|attenuation|hu",
        "no|without increase|rise|difference|change|enhancement of|above|beyond|over|exceeding? more_than|over|>? "
        "5|10|15|20 hu|hounsfield",
        "remains|remain|remaining|stays|appears unenhanced",
        "no|without contrast? enhancement|uptake of|in the? wall|walls|septa|septations and|or|nor|"
        "/ the? content|contents|"
        "septa|septations|lumen|wall|interior",
        "contrast? enhancement|uptake of|in the? wall|walls|septa|septations and|or|/ the? content|contents|septa|"
        "septations|lumen|wall|interior : none|no|absent",
        "density|attenuation|hu is|was|stays|remains? the? same|unchanged|identical|constant on|in|at? "
        "pre|before|native|unenhanced and|as_well_as after|post|postcontrast|enhanced contrast?",
        "no|without difference|change between the? unenhanced|native|pre|plain|precontrast images|"
        "scan? and the? enhanced|"
        "post|postcontrast|venous",
        "no|without significant|relevant|measurable|appreciable? hu|density|attenuation increase|rise",
        "below|under|beneath the? threshold for|of enhancement",
        "not reach|reaching|exceed|exceeding|meet|pass the? threshold for|of enhancement",
        "no|without contrast? enhancing tissue|tumor|residue|portion|portions|areas|area left|remaining|remains|"
        "anymore|"
        "any_more",
        "has|have lost its|their|all|any contrast? enhancement|vascularity|perfusion|uptake",
        f"{CONTRAST} does|do|did? not alter|change|affect|raise|increase its|the density|attenuation",
        "density|attenuation|hu|values stays|remains|is the? same|unchanged|constant|identical|stable on|in|through|"
        "throughout|over|across all|both|every phases|phase|series",
        "same|unchanged|constant|identical|stable density|attenuation|hu on|in|through|throughout|over|across "
        "all|both|every phases|phase|series",
        "density|attenuation|hu|values does|do|did? not|never change|rise|increase|vary|differ|changed|changing|rising",
        "no|without significant|relevant? change|difference|variation in|of density|attenuation|"
        "hu between? the? phases",
        "inert to|after|following|on|post contrast|injection",
        "neither|no|without arterial nor|or portal? venous|portal|delayed|late phase? enhancement|uptake",
        f"{TAKES_UP} no {CONTRAST}",
        f"takes|take|absorbs|accumulates|captures no {CONTRAST}",
        f"no {CONTRAST} enters|reaches|fills|accumulates",
        "not light|lighting up",
        "unchanged|constant|stable in? density|attenuation? with|after|following|on|post contrast|injection|"
        "postcontrast",
        "without|no contrast? uptake|take_up|opacification|vascularization|vascularisation|perfusion",
    ),
    ("texture", "homogeneous"): (
        "hom|homog|homogen",
        "homogeneous|homogenous|homogeneously|homogenously|homogeneity|uniform|uniformly|uniformity|evenly",
        "evenness",
        "consistent internal appearance|texture|structure",
        "monotonous",
        "hardly|barely|scarcely|no|without any? heterogeneity|inhomogeneity|unevenness",
        "smooth|regular internal? texture|interior",
    ),
    ("texture", "heterogeneous"): (
        "het|hetero|heterog|inhomog|heterogen|inhomogen",
        "heterogeneous|heterogenous|heterogeneously|heterogenously|heterogeneity|inhomogeneous|inhomogenous",
        "inhomogeneously|inhomogeneity|inhomogeneities|mottled|patchy|patchily|nonuniform|nonhomogeneous",
        "mosaic|marbled",
        "non|not uniform|uniformly|homogeneous|homogenous|evenly",
        "uneven|unevenly|unevenness|variegated|speckled|inconsistent|nonuniformly|nonhomogenous|blotchy|spotty",
        "internally irregular",
        "irregular internal? texture|interior|architecture",
        "varying|variable|varied|mixed internal? density|densities|attenuation|attenuations",
        "internal? density|attenuation varies",
        "density|attenuation is|appears mixed|variable|varied|inconstant",
    ),
    ("composition", "solid"): (
        "solid|solidly|tissular|parenchymatous",
        "of? soft_tissue|tissue composition|consistency",
        "consists|consisting|composed|made|made_up of soft_tissue|solid_tissue",
    ),
    ("composition", "cystic"): (
        "cystic|fluid_filled|fluid_containing|fluid_content|water_filled|liquid|watery|multicystic|unilocular",
        "filled|distended with fluid|liquid|water",
        "content|contents|interior of_which? is|are|being clear|serous|simple|purely? fluid|liquid|watery|water",
        "fluid|liquid|watery|serous content|contents|interior",
        "contains|containing|contain clear|simple|serous|proteinaceous|some? fluid|liquid",
        "composed|consists|consisting|made|made_up of fluid|liquid|water",
        "macrocystic|microcystic|multilocular|multiloculated|polycystic|oligocystic",
        "fluid_like|water_like|liquid_like|liquefied|cyst_like|cystlike",
        "composed of multiple|many|numerous|innumerable? tiny|small? cysts",
        "follows|following|parallels fluid|water",
        "bosniak",
        "of|with innumerable|numerous|multiple|many? tiny cysts",
        "microcyst|microcysts",
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
        "not purely|exclusively|wholly|entirely cystic|solid",
        "mixed composition|consistency",
        "semisolid|subsolid|solidocystic|cystosolid|solido_cystic|cysto_solid",
        "fluid|liquid and|/|with|plus solid component|components|part|parts|portion|portions|vegetations|areas",
        "solid and|/|with|plus fluid|liquid component|components|part|parts|portion|portions|elements|areas",
        "cysts beside|and|with|within solid",
        "both solid and cystic",
        "both cystic and solid",
        "with|has|contains|contain|shows a? cystic areas|degeneration|portions",
        "with|has|contains|contain|shows|and|, a? cystic center|centre|core",
    ),
    ("composition", "necrotic"): (
        "focus|foci|area|areas of necrosis",
        "partly|partially necrotic ,|and? partly|partially solid",
        "partly|partially solid ,|and? partly|partially necrotic",
        "necrotic|necrosis|necrotizing|necrotising|necroses|dead_tissue|necrotically|colliquation|"
        "colliquated|colliquative",
        "dead|liquefied|devitalized|devitalised|liquefying center|centre|core|interior",
        "center|centre|core is|has|appears|been? liquefied|dead|devitalized|liquefying",
        "central|internal|centrally liquefaction|devitalization|liquefied",
        "liquefied|liquefaction centrally",
        "liquefied|liquefaction in|at|of the|its? center|centre|core|middle",
        "tumor|tumoral|intratumoral necrosis",
    ),
    ("composition", "calcified"): (
        "focus|foci|area|areas|flecks|specks of calcification|calcium",
        "calcified|calcification|calcifications|calcium|calcific|chalky|calcareous|partly_calcified",
        "partially_calcified",
        "calcified wall|walls|capsule|shell|septa",
        "calcific|calcium foci|focus|flecks|specks|deposits|deposit",
    ),
    ("margin", "well-defined"): (
        f"{CLEARLY} {DRAWN}",
        "well|sharply|clearly|smoothly confined|contained|edged|marked",
        "circumscribed|demarcated|wellcircumscribed|welldefined|well_encapsulated|wd|wellmarginated|welldemarcated",
        f"{DRAWN} sharply|clearly|distinctly|smoothly|neatly|well",
        "set_off|set_apart sharply|clearly|distinctly|well",
        "sharply|clearly|well set_off|set_apart",
        "clear_cut|clearcut|sharp_edged|smooth_edged|sharp_bordered|smooth_bordered",
        "ends abruptly",
        "smooth wall|walls|walled",
        "smooth|smoothly",
    ),
    ("margin", "ill-defined"): (
        f"{VAGUELY} {DRAWN}",
        f"{DRAWN} poorly|badly|vaguely|unsharply|indistinctly|inadequately",
        "less_well|diffusely|irregularly defined|circumscribed|marginated|demarcated|delineated|outlined|"
        "delimited|bordered",
        f"can|could? not be? {CLEARLY} {DRAWN}|visible|marked",
        "can|could not be delimited|delineated|demarcated|outlined|circumscribed",
        "no clear|sharp|distinct|clear_cut margin|margins|border|borders|boundary|boundaries|edge|edges|demarcation",
        "without clear|sharp|distinct margin|margins|border|borders|boundary|boundaries|edge|edges|demarcation",
        "indistinct|illdefined|infiltrative|infiltrating|infiltrates|spiculated|blurred|blurry|blurs|blurring",
        "infiltrative|infiltrating|invasive growth",
        "grows|growing|spreads|spreading diffusely|infiltratively|irregularly into|in the? "
        f"surrounding|adjacent|normal? {TISSUE}",
        "infiltrative|infiltrating growth pattern",
        "infiltratively|permeatively|permeative|undemarcated|undefined|undelimited|illmarginated|diffusely_infiltrating|fuzzy|hazy|unsharp|smeared|noncircumscribed",
        "merges|merging|fades|fading|melts|melting|blends|blending gradually|imperceptibly|smoothly|seamlessly? into",
        "passes|passing|transitions|transitioning|grades|shades gradually|imperceptibly|smoothly into",
        "merges|merging|blends|blending gradually|imperceptibly|seamlessly with",
        "non|un circumscribed|demarcated",
        "blend|blends|blending|merge|merges with|into the? surrounding|normal? parenchyma|gland|liver|kidney|pancreas",
        f"{EDGES} poorly|barely|hardly|scarcely|badly visible|seen|perceptible|discernible|recognizable",
        "hard|difficult|impossible to separate|discern|distinguish from the? "
        f"adjacent|surrounding|neighboring|normal? {TISSUE}",
        "hard|difficult|impossible to delimit|delineate|demarcate|outline",
        f"{EDGES} is|are? not visible|discernible|definable|recognizable|traceable|perceptible|delineable|identifiable",
        "no|without|lacks|lacking|lack_of|absence_of a|any|the? clear|sharp|distinct|definite|definable|identifiable|"
        f"discernible|recognizable|well_defined|smooth|crisp|precise|visible|clearly_defined {EDGES}",
    ),
}
# Not said by the word alone: the whole is only in part so, or the word speaks of something else.
SILENT: tuple[str, ...] = (
    "partially|partly|incompletely circumscribed|well_circumscribed|encapsulated|well_defined",
    "thin|thick|thickened|irregular wall|walled|walls",
    "soft_tissue attenuation|density",
    "soft_tissue component",
    "partial|complete|segmental|excretory uniform",
    "even though|if|so|when",
    "clear cell",
    "solid organ|organs|viscera",
    "smooth|smoothly stenosis|stricture|narrowing|tapering|tapered|narrowed|dilatation",
    "less|more dense|bright|attenuating|hypodense|hyperdense than before|previously|earlier|formerly",
    "threshold|tumor growth",
    "secondary signs|changes|dilatation",
    "delayed|late hyperattenuation|hyperdensity|hyperenhancement",
    "growth n|rate|pattern",
    "biliary|hepatobiliary cystadenoma|cystadenocarcinoma",
    "even in|on|after|at|before",
    "abrupt|sharp duct|ductal? cutoff|cut_off|narrowing|stricture|termination|interruption",
    "fat|fatty|lipid|gas|air rich|laden|bearing|free|dominant|predominant",
    "hypodense|isodense|hyperdense|isoattenuating|hyperattenuating to|with|as the? vessels|blood|aorta|blood_pool",
    "fat|fatty|iron|lipiodol|contrast deposit|deposits|deposition",
    "cystic duct|artery|fibrosis",
    "medullary|vascular|arterial|aortic|atherosclerotic calcification|calcifications",
    "coarse? parenchymal|pancreatic|ductal calcification|calcifications",
    "vascular_wall|wall calcification",
    "calcium|calcified stone|stones|granuloma|plaque|gallstone|gallstones",
    "arterial phase|portal images|scan|imaging|series|acquisition",
    "unchanged|stable|constant in density|attenuation",
    "as bright|dense|dark|attenuating as the? blood|blood_pool|aorta|vessels|vena_cava|ivc|veins|arteries|portal_vein|"
    "spleen|muscle",
    "slow|slowly|progressive|gradual|delayed|late wash_in|washin",
    "wash_in|washin in|on|at the? late|delayed|venous",
    "perilesional|perifocal|surrounding|adjacent hyperemia|hyperaemia|hyperenhancement|enhancement|hypervascularity",
    "loss|disappearance|resolution of the? former|previous? enhancing? rim|ring|halo",
    "loss|disappearance|resolution of the? former|previous|prior arterial|rim|ring|peripheral? "
    "enhancement|hyperenhancement|washout|hypervascularity",
    "similar|same|comparable attenuation|density to|as that_of? muscle|soft_tissue|blood|vessels|aorta|fat|spleen",
    "fat|fatty containing|poor|attenuation|density|component|components|content|tissue",
    "whether? solid or cystic",
    "whether? cystic or solid",
    "air|gas|fatty|hemorrhagic|hyperemic foci|focus",
    "foci|focus|pockets of air|gas|fat|hemorrhage|haemorrhage",
    "smooth muscle",
    "low grade",
    "no|without enhancement difference|differences",
    "not distinguishable|different|differing|distinguished by|in its? enhancement",
    "no|without difference|differences in|of enhancement",
    "peripheral washout",
    "aortic|vessel|vascular|duct|ductal wall|walls contrast? enhances|enhance|enhancement|uptake",
    "washout : peripheral",
    "no|without enhancement different|differing|distinct from|to",
    "fat|muscle|blood like",
    "fat|fatty|muscle|blood|vessel|bone equivalent|isodense|equal|like density|densities|attenuation|values?",
    "isodense|isoattenuating|isodensity|iso with|to|as the? blood_pool|blood|vessels|aorta|muscle|spleen|bowel",
    "hyperdense|hypodense|high_density|low_density blood|hemorrhage|clot|clots|bleeding|fat|gas",
    "slow|interval|rapid|some growth",
    "growth pattern|rate",
    "high grade",
    "nonrim|non_rim",
    "low suspicion|risk|probability",
    "attenuation|density similar|equal|close|comparable to that_of? muscle|soft_tissue|blood|vessels|aorta|fat|spleen",
    "high suspicion|risk|probability",
)

DENSITY = "attenuation|density|densities|attenuations|atten|attn|dens"
HEADS: dict[str, tuple[str, ...]] = {
    "attenuation": (
        DENSITY,
        "ct number|numbers|density|value|values",
        "hounsfield unit|units|value|values|number|numbers",
        "attenuation|density|hu value|values|coefficient",
        "brightness|radiodensity",
    ),
    "enhancement": (
        "enhancement|enhancing|enhances|enhance|enhanced|enh|uptake|perfusion|vascularity|opacification|enhancements",
        "contrasting|contrasted|contrastation",
        "vascularization|vascularisation",
        "blood supply|flow",
        "contrast medium|agent|material? enhancement|uptake|enhancing|opacification|take_up|absorption|"
        "fixation|captation",
        f"uptake|absorption|accumulation|fixation|captation of {CONTRAST}",
        f"{TAKES_UP} any? {CONTRAST}",
        "stains|stain|staining|stained|opacify|opacifies|opacifying|opacified",
        "enriching|enriches|enrich|enriched|enrichment",
        "contrast absorbing|taking|accumulating|enriching",
        "increase|rise in|of density|attenuation|hu after|with|on|following|post contrast|injection",
        "density|attenuation increase|rise after|with|on|following|post contrast|injection",
        "density|attenuation|hu rises|increases",
        "blush|blushing|blushes",
        f"fills|fill|filling with {CONTRAST}",
        "contrast blush|filling|accumulation|staining|inflow|influx|impregnation",
        f"takes|take|absorbs|absorb|accumulates|accumulate|captures|capture|imbibes|imbibe|uptakes {CONTRAST}",
    ),
    "texture": (
        "texture|interior|architecture|pattern|matrix|inside|makeup|appearance|structure|content|contents",
        "enhancement|enhancing|enhances|enhance|enhanced|uptake",
    ),
    "margin": (EDGES,),
}
# What a word says of each head that it can go with. "" takes the word away: it says nothing with that head.
MODIFIERS: dict[str, tuple[dict[str, str], str]] = {
    "low": (
        {"attenuation": "hypo", "enhancement": "hypo"},
        "low|lower|reduced|decreased|decrease|diminished|lowered|less|below|depressed|lessened|lowers|smaller|subnormal|minor|hypo|lesser|"
        "poor|to_a_lesser_degree|to_a_lesser_extent|to_a_smaller_degree|to_a_smaller_extent",
    ),
    "high": (
        {"attenuation": "hyper", "enhancement": "hyper"},
        "high|higher|increased|raised|elevated|greater|more|above|heightened|increase|hyper|exceeds|"
        "exceeding|surpasses|surpassing|in_excess_of|to_a_greater_degree|to_a_greater_extent|to_a_higher_degree",
    ),
    "dense": ({"attenuation": "hyper"}, "dense"),
    "same": (
        {"attenuation": "iso"},
        "same|similar|equal|identical|equals|matches|matching|comparable|unchanged|equivalent|match|resembles|resembling|"
        "indistinguishable|like|iso",
    ),
    "sharp": (
        {"margin": "well-defined"},
        "sharp|clear|crisp|clean|distinct|encapsulated|well_seen|abrupt|regular|discrete|definite|neat|sharply|visible|"
        "well_marked|precise|exact|unequivocal|unambiguous|well_visible|clearly_visible",
    ),
    "smooth": ({"margin": "well-defined"}, "smooth|even|good"),
    "vague": (
        {"margin": "ill-defined"},
        "unclear|vague|obscure|obscured|ragged|imprecise|soft|diffuse|gradual|shaggy|lost|effaced|invasive|jagged|"
        "ill_seen|poor|less_distinct|less_sharp|less_clear|less_well_seen|frayed|feathery|unsharp|"
        "indefinite|foggy|cloudy|woolly|smudged|smudgy|spiky|faint|unclean|blunt|nebulous|tapering",
    ),
    "even": ({"texture": "homogeneous"}, "even"),
    "irregular": ({"margin": "ill-defined"}, "irregular|irregularity|irregularly|uneven|serrated"),
    "strong": (
        {"enhancement": "hyper"},
        "avid|avidly|strong|strongly|brisk|briskly|vivid|vividly|intense|intensely|marked|markedly|prominent|robust|"
        "pronounced|vigorous|vigorously|prominently|bright|brightly|exuberant|rich|considerable|brilliant|"
        "conspicuously|stronger|substantial|substantially|richly|abundantly|powerfully|vehemently|tremendously|hugely|intenser|intensive|excessive|florid|floridly|striking|strikingly|abundant|copious|powerful|massive|massively|lively|dramatic|dramatically|amply|impressively|"
        "profuse|profusely|energetic|energetically|eagerly|keenly|fierce|fiercely",
    ),
    "weak": (
        {"enhancement": "hypo"},
        "poor|poorly|weak|weakly|deficient|scant|scanty|faint|faintly|minimal|minimally|mild|mildly|little|slight|slightly|sparse|modestly|sparsely|subtly|meagrely|scarcely|discreetly|discretely|"
        "subtle|feeble|limited|low_level|barely|hardly|modest|meager|meagre|subdued|"
        "weaker|poorer|fainter|slighter|milder|scarce|scarcely|sluggish|muted|tenuous|low_grade|scantily|feebly|dimly|timid|"
        "timidly|lightly|reluctant|reluctantly|insufficient|insufficiently|blunted|tepid|moderately_less",
    ),
    "arterial": (
        {"enhancement": "arterial"},
        "arterial|arterially|early|early_arterial|arterial_phase|late_arterial|late_arterial_phase|early_arterial_phase|"
        "hepatic_arterial|arterial_dominant",
    ),
    "rim": (
        {"enhancement": "rim", "margin": ""},
        "rim|ring|peripheral|peripherally|periferal|periferic|peripheric|circumferential|annular|edge|ringlike|rimlike|ring_like|rim_like|marginal|"
        "circumferentially|ring_shaped|periphery|border_zone|targetoid|halo|halo_like|iris_diaphragm|perimeter|perimetral|cockade|cockade_like|target|target_like|corona|crown|"
        "shell_like|crescentic|ring_type|rim_type|garland_like|wreath_like|circular|bulls_eye|bull_eye|doughnut",
    ),
    "gone": ({"enhancement": "none"}, "absent|lacking|missing|nil|none|zero"),
}

# Phrases that go with a head as a modifier does.
MODIFIER_PHRASES: dict[str, tuple[str, ...]] = {
    "low": (
        "under|beneath that of",
        "inferior to",
        "short of that_of",
        "not|never reach|reaches|reaching|attain|attains|match|matches|equal|equals that_of|the_level_of",
    ),
    "weak": (
        "to a? small|minor|slight|limited|low|modest|minimal degree|extent",
        f"less {MODIFIERS['strong'][1]}",
        "with less|lower|little|reduced intensity|avidity|vigor",
    ),
    "strong": (
        "with greater|high|more|higher intensity|avidity|vigor",
        "to a? high|great|large|considerable|marked degree|extent",
        "faster|quicker|earlier|sooner and stronger|more",
    ),
    "sharp": (
        "clearly|well|sharply|easily|readily traced|traceable|followed|seen|recognizable|discernible|"
        "perceptible|visible|"
        "made_out|identified|recognized|delineated",
        "easy to trace|define|delineate|see|make_out|determine",
    ),
    "vague": (
        # with an adverb, or with a verb that only borders have: "necrosis is not seen" denies the necrosis
        "can|could? not be? clearly|precisely|exactly|reliably|sharply|well|easily|fully determined|defined|traced|"
        "seen|delineated|made_out|recognized|established|identified|delimited|discerned|followed|distinguished|visible",
        "can|could? not be? determined|defined|traced|delineated|made_out|delimited|followed precisely|clearly|"
        "exactly?",
        "hard|difficult|impossible to trace|define|delineate|see|make_out|determine|follow|recognize|identify|discern",
        "loss of",
        "poorly|barely|hardly|scarcely|badly|incompletely visible|seen|perceptible|discernible|recognizable|traceable",
    ),
    "rim": (
        "in a thin|thick|complete|peripheral? ring|rim|ring_pattern|rim_pattern",
        "at|along|around|on its|the periphery|edge|edges|circumference|rim|outside",
        "confined|limited|restricted to its|the? periphery|edge|edges|margin|margins|rim|wall",
        f"only|exclusively|solely at|in|along|around its|the? {ITS_EDGE}",
        "from its|the? periphery|edge|edges|margin|margins|rim|outside inward|inwards|to_the_center|towards_the_center",
    ),
}

PANCREATIC_CANCER = (
    "pancreatic|pancreas head|body|tail? cancer|carcinoma|ca|adeno|adenoca",
    "cancer|carcinoma|ca|adenocarcinoma of? the? pancreas",
    "cancer|carcinoma|ca|adenocarcinoma of? the? pancreatic? head|neck|body|tail of? the? pancreas",
    "cancer|carcinoma|ca|adenocarcinoma of the? pancreatic head|neck|body|tail",
)

PATHOLOGY_PHRASES: dict[str, tuple[str, ...]] = {
    "PDAC": (
        "pdac|pdacs|pda|adenoca",
        "ductal? adenocarcinoma|adenocarcinomas",
        "ductal carcinoma|cancer|adeno_ca",
        "adenocarcinoma of the? pancreas|pancreatic_head|ductal_type",
        "adenocarcinoma|carcinoma|cancer of ductal type|origin",
        *PANCREATIC_CANCER,
    ),
    "PNET": (
        "pnet|pnets|net|nets|pannet|pannets|pan_net|insulinoma|insulinomas|gastrinoma|glucagonoma|vipoma|somatostatinoma",
        "neuroendocrine tumor|tumors|tumour|tumours|neoplasm|neoplasms|carcinoma|lesion",
        "islet cell tumor|tumors|tumour|tumours|neoplasm|adenoma",
        "p|pancreatic net|nets|nen|nens",
        "nen|nens|pannen|carcinoid",
        "islet cell carcinoma",
        "endocrine tumor|neoplasm",
        "neuroendocrine",
        "neuro endocrine tumor|tumors|tumour|neoplasm|carcinoma?",
        "gep net|nen",
    ),
    "cyst": (
        "cyst|cysts|cystlet|cystlets|bosniak_cyst",
        "simple|cortical|parapelvic|peripelvic|exophytic|biliary|true cyst|cysts",
        "polycystic liver|kidney|hepatic|renal disease",
    ),
    "metastasis": (
        "metastasis|metastases|metastatic|mets|met|metastatic_deposit|metastatic_deposits|metastatic_disease",
        "metastatic deposit|deposits|spread|disease|lesion|lesions|focus|foci|involvement|implant|implants|nodule",
        "secondary|secondaries|filia|filiae|metastasized|metastasised",
        "deposit|deposits|crlm|crlms",
        "tumor|neoplastic|malignant deposit|deposits",
        "secondary deposit|deposits|lesion|lesions|tumor|tumour|tumors|tumours|malignancy",
    ),
    "HCC": (
        "hcc|hccs|hepatoma|hepatomas|hepatocarcinoma|hepatocarcinomas",
        "hepatocellular carcinoma|carcinomas|cancer|ca|cancers",
        "hepato cellular carcinoma",
        "fibrolamellar? hepatocellular carcinoma",
        "fibrolamellar carcinoma|hcc",
        "primary? liver|hepatic cell? carcinoma|cancer",
    ),
    "hemangioma": (
        "hemang|hemangiomatous|angioma|angiomas|cavernoma|hemangioma|hemangiomas|haemangioma|haemangiomas|hemangiomata|haemangiomata",
    ),
    "RCC": (
        "rcc|rccs|ccrcc|prcc|chrcc|hypernephroma",
        "renal cell carcinoma|carcinomas|cancer|ca|cancers",
        "clear|chromophobe|papillary cell? renal? cell? carcinoma|carcinomas|rcc|rccs|cancer",
        "papillary|chromophobe|clear_cell renal? tumor|neoplasm",
        "papillary|chromophobe|clear_cell type|subtype|variant",
        "collecting_duct|medullary|sarcomatoid renal? cell? carcinoma",
        "cystic renal carcinoma",
        "renal cell",
        "renal|kidney adenocarcinoma|clear_cell_carcinoma",
        "grawitz tumor",
        "renal|kidney cancer|carcinoma",
    ),
    "sarcoma": (
        "sarcoma|sarcomas|sarcomatous|leiomyosarcomas|liposarcomas|liposarcoma|leiomyosarcoma|angiosarcoma|rhabdomyosarcoma|fibrosarcoma",
    ),
    "cholangiocarcinoma": (
        "cholangiocarcinoma|cholangiocarcinomas|cca|icca|ihcc|ccc|cholangiocellular_carcinoma|klatskin_tumor",
        "cholangiocellular carcinoma|cancer?",
        "klatskin",
        "intrahepatic cholangiocarcinoma|cca",
        "bile_duct|biliary|cholangio carcinoma|cancer|ca|adenocarcinoma",
    ),
    "IPMN": (
        "ipmn|ipmns|ipmt|bd_ipmn|md_ipmn|ipnm|impn",
        "branch|side|main|mixed duct|branch? type? ipmn|ipmns",
        "intraductal papillary mucinous neoplasm|neoplasms|tumor|tumour|neoplasia|lesion|carcinoma",
    ),
    "MCN": (
        "mcn|mcns",
        "mucinous cystic neoplasm|neoplasms|tumor|tumour|lesion|adenoma",
        "mucinous cystadenoma|cystadenomas|cystadenocarcinoma",
        "mucinous cyst|cysts",
    ),
    "SCA": (
        "sca|scas|scn",
        "serous? cystadenoma|cystadenomas",
        "serous microcystic? adenoma|cystadenoma",
        "serous cystic|microcystic|oligocystic neoplasm|neoplasms|adenoma|tumor|tumour|lesion",
        "microcystic adenoma",
    ),
    "SPN": (
        "spn|spns|spen|spens|spt|sppt|frantz_tumor|frantz_tumour",
        "solid pseudopapillary neoplasm|neoplasms|tumor|tumour|epithelial_neoplasm|epithelial_tumor",
        "solid pseudo papillary neoplasm|tumor|tumour",
        "pseudopapillary neoplasm|tumor|tumour",
        "solid and? papillary epithelial? neoplasm|tumor",
        "papillary cystic neoplasm|tumor",
    ),
    "pseudocyst": ("pseudocyst|pseudocysts", "pseudo cyst|cysts"),
    "AML": ("aml|amls|angiomyolipoma|angiomyolipomas|angiomyolipomata|angio_myolipoma|angiolipoma",),
    "oncocytoma": ("oncocytoma|oncocytomas", "oncocytic neoplasm|tumor|lesion|adenoma"),
    "adenoma": (
        "adenoma|adenomas|adenomata|hca|adenomatosis",
        "hepatocellular|liver_cell adenoma|adenomas",
    ),
    "FNH": ("fnh|fnhs", "focal nodular hyperplasia"),
    "abscess": (
        "abscess|abscesses|microabscess|microabscesses|abscessation",
        "pyogenic|amebic|amoebic abscess|abscesses",
    ),
    "UC": (
        "tcc|utuc|urothelial",
        "uc",
        "urothelial|transitional cell? carcinoma|cancer|ca|tumor|tumour|neoplasm",
        "upper_tract urothelial carcinoma",
        "renal pelvis|pelvic carcinoma|cancer|tumor",
        "carcinoma|cancer of the? renal pelvis",
    ),
    "lymphoma": (
        "dlbcl|nhl|ptld|lymphoproliferative|lymphoma|lymphomas|lymphomatous",
        "lymphomatous infiltration|deposit|deposits|involvement",
    ),
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
    "primary|carcinoma|cancer|recurrence|incidentaloma|incidentalomas"
)
ORGAN_PHRASES: dict[str, tuple[str, ...]] = {
    "liver": (
        "liver|hepatic|intrahepatic|livers|hepar|subcapsular_liver|liv",
        "hepatic|liver parenchyma|lobe|lobes|dome|tissue",
    ),
    "pancreas": ("pancreas|pancreatic|intrapancreatic|panc|pancreatical", "pancreatic parenchyma|tissue|gland"),
    "kidney": (
        "kidney|kidneys|renal|intrarenal|nephric|kidn|kid|kids|kidny|rk|lk",
        "renal|kidney parenchyma|cortex|tissue",
    ),
    "subcutis": ("subcutaneous|subcutis",),
    "soft tissue": ("soft tissue|tissues", "muscle|muscles|intramuscular|musculature"),
    "spleen": ("spleen|splenic|intrasplenic",),
    "lung": ("lung|lungs|pulmonary|intrapulmonary",),
    "adrenal gland": ("adrenal|adrenals|suprarenal", "adrenal gland|glands"),
    "bladder": ("bladder", "urinary bladder"),
    "gallbladder": ("gallbladder", "gall bladder"),
    "colon": (
        "colon|colonic|sigmoid|cecum|caecum|cecal|caecal|rectum|rectal|rectosigmoid",
        "sigmoid|hepatic|splenic colon|flexure",
    ),
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
    "hepatic|renal|splenic|pancreatic|liver hilum|fossa|capsule|insufficiency|function|failure|transplant",
    "hepatic|renal|splenic|pancreatic|liver congestion|steatosis|cirrhosis|fat|impression|contour|surface|atrophy",
    "hepatic|renal|pancreatic|liver pedicle|protocol|phase|stone|stones|calculus|calculi|colic|enzymes",
    "bile|biliary|pancreatic|main_pancreatic|common_bile|common_hepatic|hepatic|main|upstream|side duct|ducts|tree",
    "side|main|branch branch|branches",
    "stone|stones|calculus|calculi|nephrolithiasis|cholelithiasis|urolithiasis|gallstone|gallstones|sludge|concrement",
    "thrombus|thrombosis|thrombi|tumor_thrombus|tumour_thrombus|embolism|embolus|emboli",
    "stent|stents|catheter|drain|clip|clips|coil|coils|tube|needle",
    "hydronephrosis|hydroureter|ascites|effusion|effusions|hernia|hernias|diverticulum|diverticula|diverticulosis",
    "free|peripancreatic|perihepatic|perirenal|perinephric|pelvic|pleural fluid collection|collections?",
    "filling_defect|filling_defects in|of|within the? left|right? portal|renal|splenic|hepatic? vein|veins|ivc",
    "granuloma|granulomas|fibroid|fibroids|leiomyoma|leiomyomas|myoma|myomas|polyp|polyps|goiter|lipoma|lipomas",
    "aneurysm|aneurysms|pseudoaneurysm|varix|varices|shunt|shunts|collateral|collaterals",
    "laceration|lacerations|contusion|fracture|fractures|infarct|infarcts|infarction|hematoma|hematomas|haematoma",
    "tumor|tumour thrombus",
    "tumor|tumour|thrombus in|within|inside|of the? left|right|main? portal|renal|hepatic|splenic? vein|veins|ivc|cava",
    "calyx|calyces|collecting_system|ureter|ureters|nephrogram|nephrograms|pyelonephritis",
    "accessory_spleen|splenule|splenules|accessory_spleens|ablation_zone|ablation_defect|resection_cavity",
    "resection|ablation margin|margins|cavity|zone|defect|site|bed",
    "mass effect",
    "regenerative|regeneration nodule|nodules",
    "wedge_shaped hypodense|nonenhancing|low_density|hypoenhancing? hypodensity|hypodensities|area|areas|defect",
    "wedge_shaped defects",
    "satellite|daughter nodules|lesions|foci",
    "walled_off necrosis|necroses",
    "slice|slices|section_thickness|collimation|reconstruction|increment|thickness",
    "pleura|pericardium|diaphragm|spine|fascia",
    "defect|defects",
    "fluid around|along|adjacent|surrounding|beside|between",
    "celiac|coeliac|common_hepatic trunk|axis|artery?",
)
STATES = (
    "scar|scars|scarring|capsule|pseudocapsule|septa|septum|septae|septation|septations|wall|walls|steatosis|cirrhosis|"
    "fibrosis|pancreatitis|parenchyma|gland|cortex|medulla|stranding|fat|edema|oedema|congestion|atrophy|sinus_fat"
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
    "arterioportal|arterio_portal|vascular|ap|intrahepatic shunt|shunts|shunting",
    "corresponds|correspond|corresponding to a? normal? vessel|vessels|lobulation|cleft|fissure",
)
NOT_A_TUMOR = words(
    "pancreatitis pyelonephritis nephritis hematoma haematoma hematomas infarct infarction infarcts laceration "
    "contusion aneurysm pseudoaneurysm"
)
"""Things that are no lesion where one is said to be what a lesion is: *represents focal pancreatitis*."""
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
    "pancreas": ("hop|uncinate|pancreatectomy|whipple|pancreaticoduodenectomy", "uncinate process"),
    "kidney": (
        "upper|lower|mid|middle|superior|inferior pole",
        "nephrectomy|nephrectomies|interpolar|midpole|parapelvic|peripelvic|kub",
        "upper|mid|middle|lower third",
    ),
    "lung": (
        "left|right upper|lower|middle lobe",
        "rul|rml|rll|lul|lll|subpleural|lingula|perifissural",
        "upper|lower|middle lobe",
    ),
}

DIAGNOSIS_BEFORE: tuple[str, ...] = (
    "consistent|compatible|concordant|in_keeping|keeping|in_relation with",
    "suspicious|concerning|worrisome|diagnostic|pathognomonic|suggestive|indicative|typical|characteristic for|of",
    "typical|classic|classical|characteristic|suspicious|worrisome",
    "suspicion|impression|diagnosis|appearance|appearances|features|picture|those|signal|signs|aspect|morphology|"
    "characteristics|properties|criteria of",
    "looks|look like",
    "fits|fit|fitting|matches|matching|evocative|reminiscent with|of?",
    "points|pointing|point to|towards|toward",
    "meets|meet|fulfils|fulfills|fulfil|fulfill the? imaging|diagnostic? criteria for|of",
    "in favor|favour|line|accordance|agreement of|with",
    "argues|speaks|argue|speak for",
    "can|could not be? reliably|clearly|safely|confidently? differentiated|distinguished|distinguishable from",
    "suggests|suggest|suggesting|favor|favour|favors|favours|favoring|favouring|favored|favoured|indicates|indicating",
    "represents|representing|represent|reflecting|reflects|reflect|corresponds_to|corresponding_to|correspond_to",
    "likely|probable|probably|possible|possibly|presumed|presumably|suspected|suspect|suspecting",
    "differential|ddx|dd|dx|diagnosis|differentials",
    "versus|vs|or",
    "maybe|perhaps|therefore|ie|namely|called|termed|considered|judged|consider",
    "regarded|interpreted|read as",
    "may|might|could|must|will|would|should be|represent",
    "this|it|lesion|mass is|was a|an|the",
    "query",
    "thought|felt|believed|considered|assumed|proven|known to be",
    "raising|raises|raise concern|suspicion for|of",
    "proven|confirmed",
    "histology|histologically|biopsy|cytology of|showed|shows|revealed|yielded|confirmed|confirms|:? a|an?",
)
DIAGNOSIS_AFTER: tuple[str, ...] = (
    "likely|possible|probable|favored|favoured|suspected|considered|assumed|presumed|conceivable|probably",
    "can not be excluded|ruled_out",
    "leading|first|main|top|primary consideration|diagnosis|possibility",
    "has|have to be assumed|considered",
    "to be assumed|considered|favored|favoured|excluded|ruled_out",
    "should|must|needs|need be excluded|ruled_out|considered|suspected|assumed|thought_of",
    "comes to mind",
    "would|could|may|might fit|match",
    "more likely|probable|plausible",
)
HISTORY: tuple[str, ...] = (
    "history|hx of|for",
    "after|following|post|prior|previous resection|ablation|rfa|mwa|tace|embolization|sbrt|treatment|surgery of? for?",
    "prior|previous resection|nephrectomy|surgery|treatment for",
    "hepatectomy|hemihepatectomy|pancreatectomy|whipple|segmentectomy|lobectomy|duodenopancreatectomy|nephrectomy "
    "procedure|operation|surgery? of|for",
    "rfa|mwa|tace|tae|sbrt|radioembolization|thermoablation of|for",
    "ct|scan|study|mdct for a|an|right|left|suspected|known|renal|liver|hepatic|pancreatic|kidney|unclear",
    "characterization|characterisation|investigation|clarification of",
    "once|formerly|previously queried|suspected|labelled|labeled|diagnosed|described as|to_be",
    "h / o",
    "rule|ruling out",
    "search|searched|looked|screened for",
    "r / o",
    "evaluate|evaluation|assess|assessment|surveillance|screening|workup|work_up|staging|follow_up for|of",
    "evaluate|assess|staging",
    "status post",
    "s / p",
    "post resection|ablation",
    "resection|ablation|nephrectomy|enucleation|embolization|embolisation|removal left|right? of|for",
    "query|question_of",
    "treated|operated|resected|referred|presenting|presents|presented for|with",
    "man|woman|male|female|patient with",
    "given|considering a|the? known|primary|underlying|lung|breast|colon|colorectal|rectal|gastric|bronchial|thyroid",
    "in the context|setting of",
    "context|setting of",
    "risk of|for",
    "previously|formerly|initially|earlier considered|interpreted|characterized|thought|called|felt as?",
    "clinically suspected",
)
GONE: tuple[str, ...] = (
    "no longer seen|visible|identified|present|demonstrated|detectable|appreciated|evident|apparent|demonstrable|"
    "existent|delineable|perceptible|traceable|shown|observed|depicted",
    "no longer visualized|visualised|appreciable|discernible|recognizable|recognisable|measurable|found|noted|there",
    "not seen|visible|found|identified|present anymore|any_more",
    "has|have resolved|disappeared|vanished|regressed_completely|been_resected|been_removed|been_ablated",
    "resolved|disappeared|vanished",
    "lesion|metastasis|met|nodule|mass|cyst|is|are|has|have gone",
    "no corresponding lesion|mass|abnormality|finding|focus|nodule",
    "no ct|clear|definite|corresponding|sonographic|morphological? correlate|correlation|counterpart|"
    "equivalent|substrate",
    "complete resolution|regression|disappearance",
    "interval? resolution|disappearance of",
    "no longer be? found|seen|identified|detected|delineated|visualized|demonstrated|recognized|made_out|shown",
    "has|have cleared|gone|completely_regressed",
    "no|without viable|vital|residual|active tumor|activity|disease",
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
    "no|not|without|nor|neither|never|non|lacks|lacking|lack|missing|negative_for|absence_of|lack_of|devoid_of|free_of|clear_of|none|"
    "free_from|rather_than|instead_of|absent|fails_to|fail_to|unlike|anything_but|far_from|hardly_any|barely_any|"
    "by_no_means|unlikely|unlikely_to_be|unlikely_to_represent|inconsistent_with|incompatible_with|"
    "argues_against|speaks_against|excludes|rules_out|argue_against|speak_against|evidence_against|no_longer|less_likely|minus_any|"
    "contrary_to|in_contrast_to|as_opposed_to|opposed_to|can_hardly_be|could_hardly_be|"
    "not_found_to_be|not_shown_to_be|not_thought_to_be|not_thought_to_represent|not_felt_to_be|not_believed_to_be|can_not_be_seen_to|could_not_be_seen_to|not_seen_to|not_observed_to|"
    "can_not_distinguish_between|can_not_differentiate_between|could_not_distinguish_between|"
    "atypical_for|atypical_of|untypical_for|untypical_of|uncharacteristic_of|against|excluding|denies|neg_for|nothing"
)
PSEUDO_NEGATION: tuple[str, ...] = (
    "can|could not be? reliably|clearly|safely|confidently? differentiated|distinguished|distinguishable from",
    "can|could not reliably|clearly|safely|confidently? distinguish|differentiate|discriminate",
    "not only|just|merely",
    "no|not|without significant|significantly|relevant|interval? change|changed|growth|increase|progression",
    "no|not|without change|changed|growth|increase|progression|enlargement|alteration|evolution",
    f"against the|a fatty|steatotic|normal|surrounding|adjacent? {TISSUE}",
    "can|could not be assessed|evaluated|determined|characterized|characterised|judged|measured|quantified",
    "not|never biopsied|certain|fully|yet|entirely|assessed|assessable|evaluable|further|known|able",
    "not be? excluded",
    "can|could not be decided|said|told|stated|established|judged|distinguished|determined|differentiated whether|if",
    "not clear|certain|known|decided whether|if",
    "can|could not exclude|be_excluded|rule_out|be_ruled_out",
    "should|must|needs|need|to be excluded|ruled_out",
    "to be excluded|ruled_out",
    "no doubt|lack",
    "not without",
    "no follow up",
    "without doubt",
)
POST_NEGATION: tuple[str, ...] = (
    "has|have|had not been? seen|identified|observed|found|noted|demonstrated|detected|shown|visualized|confirmed",
    "looked|searched for but|and not found|seen|identified|present|detected",
    "has|have not appeared|occurred|emerged|arisen",
    "looked|searched|sought for? in vain",
    "sought but|and not found|seen|identified",
    ": negative|neg",
    "can|could not be seen|identified|demonstrated|detected|shown|found|appreciated|discerned|recognized|recognised|"
    "visualized|visualised|confirmed|established|elicited|reproduced|verified|substantiated|found_again",
    "absent|excluded|unlikely|ruled_out",
    "is|are lacking|missing|nil",
    "less likely|probable",
    "improbable|not_likely|not_probable|out_of_the_question|out_of_question|not_met|not_fulfilled|not_satisfied",
    "not detectable|measurable|demonstrable|observable|perceptible|noticeable|appreciable|recordable|provable",
    "still? not seen|identified|visible|present|demonstrated|detected|evident|shown|found|noted|observed|apparent|"
    "appreciated",
    "not visualized|visualised|recognizable|discernible|definable|confirmed|reproduced|reproducible|substantiated",
    "not favored|favoured|suspected|considered|likely",
    "are not delineated|depicted",
)
STOP = (
    "but|however|although|though|which|except|whereas|while|apart_from|yet|aside_from|other_than|besides|"
    "nevertheless|still|despite|because|therefore|thus|hence|who|otherwise|due_to|owing_to|"
    "with_the_exception_of|with_exception_of|save_for"
)

SKIPPED = words(
    "very slightly mildly markedly rather somewhat moderately relatively fairly quite predominantly mostly mainly "
    "subtly the its clearly_ distinctly_ overall entirely almost rather nearly practically "
    "virtually essentially completely fully largely"
)
"""Words that may stand inside any phrase."""

# Words one letter away from a term that are words of their own.
SAFE = words(
    "formed discretely reached breaches larger demonstrate display teaching "
    "angular arteries atrophic bearings bedside blinding bonded cancel capture central chance chances charge charges "
    "cirrhosis classified cleaning closed closer compete concent confusion consent contract contrast convent coronal "
    "course cystitis defeat define defined deflect degeneration degenerative density dental detect detects difficulty "
    "dose effects elevate emerging enhance enhanced equal equally expensive extend fellow fellows fibrosis filing "
    "filming flowered fluid fluids flushing former framed functions glowing grapes haematoma harrowing hematoma "
    "humorous hypertrophic identity imaged imagine imperceptible incense increments infection infiltrate infiltrates "
    "infiltration inflammation inflammatory infraction infrarenal insert invert junction lateral latest lather latter "
    "legion lessons letter levels lever lipoma literal liver livers locking loculation logging losses lumbar lumber "
    "maceration marble marginal marker market matched material maternal measurably median medical meeting mental "
    "minima misses modularity motions multilobulated myeloma myxoma nearly necrotic nephrosis nephrotic neuroses "
    "neurotic opacified opacities opacity ossified pacified packing pancreatin parsing passed passively patch patchy "
    "patents patient phrase phrases plague plural portal postal potion precess primacy primarily primary profess "
    "protection prowess recital reduce reduces refined region rejection relations relatives released reliable renal "
    "rental resemble retain retaining retains revitalization righting rigorous river rugged sample secant segmental "
    "serious serves shaded shapes shared sharp sharply sheared sighting simply sliced smelling sold solids sorely "
    "spaced spaces spades speculated spelling sports spring stairs staple stenosis stores strain strand strands "
    "strays striding stunting suction supine talking taming taxing thirds thorough tracer traces trains traits trials "
    "trough tutors uniforms urine uterine various venal venous ventral ventrally ventricle verses visceral visibly "
    "waller wasted watching wearer weekly whites willed wished writer"
)


def content() -> Iterator[tuple[str, Term]]:
    """Patterns of words that speak of lesions, organs and other things, and what they say."""
    for (field, value), patterns in SAYINGS.items():
        yield from ((p, Term("say", field, value)) for p in patterns)
    for head, patterns in HEADS.items():
        yield from ((p, Term("head", head)) for p in patterns)
    for name, (_, pattern) in MODIFIERS.items():
        yield pattern, Term("mod", name)
    for name, patterns in MODIFIER_PHRASES.items():
        yield from ((p, Term("mod", name)) for p in patterns)
    for value, patterns in PATHOLOGY_PHRASES.items():
        yield from ((p, Term("say", "pathology", value)) for p in patterns)
    for organ, patterns in ORGAN_PHRASES.items():
        yield from ((p, Term("organ", organ)) for p in patterns)
    for organ, patterns in SITE_PHRASES.items():
        yield from ((p, Term("site", organ)) for p in patterns)
    yield from ((p, Term("organ", "pancreas")) for p in PANCREATIC_CANCER)
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
    yield "tumorous|mass_like|masslike|tumor_like enlargement|thickening|bulge|swelling", Term("lesion")
    yield "a satellite lesion|nodule|focus?", Term("lesion")
    yield "filling defect|defects", Term("lesion")
    for kind in (Term("lesion"), Term("say", "composition", "cystic")):
        yield "fluid|liquid structure|formation|lesion|mass|area|nodule", kind
    yield "expansile|expansive|space_occupying|neoplastic|tumorous|malignant process", Term("lesion")
    yield "cystic structure|structures|formation", Term("say", "composition", "cystic")
    yield "cystic structure|structures|formation", Term("lesion")
    yield "hypodensity|hypodensities|lucency|hyperdensity|hyperdensities|hypoattenuation", Term("lesion")
    yield "area|areas|region|regions|zone|zones|fullness|prominence", Term("area")
    yield "mural nodule|nodules|nodularity|component|components", Term("say", "composition", NODULE_IN_WALL)
    inner = "enhancing|solid|internal|small? nodule|nodules|nodularity|component|components"
    yield f"septa|septations|septum|wall|walls and|or|with a? {inner}", Term("say", "composition", NODULE_IN_WALL)
    yield (
        "mural|papillary|solid|nodular|soft_tissue|enhancing? vegetation|vegetations|projections|projection|"
        "excrescence|excrescences|protrusion|protrusions",
        Term("say", "composition", NODULE_IN_WALL),
    )
    yield (
        "solid|enhancing nodule|nodules within|inside the|its? cyst|lesion|wall|it",
        Term("say", "composition", NODULE_IN_WALL),
    )
    weak, strong = MODIFIERS["weak"][1], MODIFIERS["strong"][1]
    for value, amount in (
        ("hypo", f"less|hardly_any|barely_any|scarcely_any|{weak}"),
        ("hyper", f"more|much|a_lot_of|plenty_of|{strong}"),
    ):
        adverbs = "|".join(word for word in amount.split("|") if word.endswith("ly"))
        yield f"{TAKES_UP} only? {amount} {CONTRAST}", Term("say", "enhancement", value)
        yield f"{TAKES_UP} only? {adverbs}", Term("say", "enhancement", value)
        yield f"{adverbs} vascularized|vascularised|perfused|vascular", Term("say", "enhancement", value)
    for fluid in (
        "water|fluid|liquid|fluid_like|water_like|cystic|near_water|simple_fluid attenuation|density|densities",
        "fluid|water equivalent density?",
        "attenuation|density like|of|similar_to|close_to|near|equal_to|equivalent_to water|fluid|simple_fluid",
        "attenuation|density|hu value|values of|like|near water|fluid",
        "water|fluid|liquid isodense|isoattenuating|dense|equivalent|hu",
        "isodense|isoattenuating|iso to|with simple? water|fluid|bile|csf",
        "water|fluid|liquid value|values",
        "attenuation|density|values|value|hu values|value? is|are|was|were that_of|those_of simple? water|fluid",
        "attenuation|density|densities|hu equals|equal|matches|corresponds|corresponding|identical|same|similar to|as? "
        "that_of? simple? water|fluid",
        "consistent|compatible|in_keeping|in_line|in_accordance with simple? fluid|water",
    ):
        yield fluid, Term("say", "attenuation", "hypo")
        yield fluid, Term("say", "composition", "cystic")
    iso_with_content = "isodense|isoattenuating|iso with fluid|liquid content|contents"  # and not "isodense with fluid"
    yield iso_with_content, Term("say", "attenuation", "iso")
    yield iso_with_content, Term("say", "composition", "cystic")
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
