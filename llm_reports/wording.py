"""Turns of phrase that say the same, reworded to one before a sentence is read: abbreviations, dashes, ellipses."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
NUMERALS = {word: i + 1 for i, word in enumerate((*_ONES, *_TEENS))}
_TENS = {
    word: 10 * (i + 2)
    for i, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"))
}
_NUMERAL = rf"(?:(?:{'|'.join(_TENS)})(?: (?:{'|'.join(_ONES)})\b)?|{'|'.join(NUMERALS)})"
NUMBER = r"\d+(?:[.,]\d+)?"


def _in_figures(match: re.Match[str]) -> str:
    """*Two point four* as 2.4, *thirty two* as 32."""
    return ".".join(str(_figure(words)) for words in match.group().split(" point "))


def _figure(numeral: str) -> int:
    return sum(NUMERALS.get(word) or _TENS[word] for word in numeral.split())


def _with_half(match: re.Match[str]) -> str:
    """*Two and a half* as 2.5."""
    return f"{_figure(match.group(1))}.5"


def _in_words(match: re.Match[str]) -> str:
    """The phase that so many seconds after the injection are: *at 35 s* is the arterial one."""
    seconds = int(match.group(1) or match.group(2))
    return "in the arterial phase" if 15 <= seconds <= 50 else "in the venous phase" if seconds > 50 else match.group()


def _with_units(match: re.Match[str]) -> str:
    """*12, 15 and 31 mm* with the unit after each number."""
    numbers = re.findall(NUMBER, match.group())
    unit = match.group(1)
    return ", ".join(f"{n} {unit}" for n in numbers[:-1]) + f" and {numbers[-1]} {unit}"


_ROMAN = r"(?:ii|iii|iv[ab]?|vi|vii|viii|v(?= \())"
_AFTER_ROMAN = r"(?:[,:;.] ?| \(\d| (?:and|but)\b|$)"


_EXCEPT_EDGE = (
    r"(?:except|apart from|other than|aside from|save)(?: for| of| at| in| along)?(?: its| the| an?)?(?: \w+)? "
    r"(?=(?:wall|rim|periphery|margin|edge|border)\b)"
)
_HEADS_OF_FORMS = "attenuation|density|enhancement|margins?|borders?|texture|contrast uptake"
_REPLACED: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"[‘’]", "'"),
        (r"tumour", "tumor"),
        (r"\bacquisition(?=s?\b)", "phase"),
        (r"\b(?:ha|hap)(?= phases?\b)", "arterial"),
        (r"\b(?:in|on|during) (?:the )?(?:hap|eap|lap)\b", "in the arterial phase"),
        (r"\bwel(?=[ -](?:defined|circumscribed|demarcated|marginated|delineated))", "well"),
        (r"\bil(?=[ -](?:defined|circumscribed|demarcated|marginated|delineated))", "ill"),
        (r"(?<=lobulated),? (?:but|yet)\b", ""),
        (r"\b((?:its|the) \w+), however, ", r"\1 "),
        (r"\b(circumscribed|demarcated|delineated|marginated) (?=(?:poorly|clearly|well) enhanc)", r"\1, "),
        (r"\bhaem", "hem"),
        (r"\brenal sinus (?=cysts?\b)", "renal parapelvic "),
        (r"\b(?:hyperdense|hyperattenuating) ring\b(?![ -](?:enhanc|like|shaped))", "rim enhancement"),
        (r"\bfrom peripheral nodules\b", "from peripheral nodular enhancement"),
        (r"[- ]sided (?=one\b)", " "),
        (r"\bin (?:the above|that|this|the same|the given) order\b", "respectively"),
        (r"\bof mixed (?:internal )?texture\b", "heterogeneous"),
        # segments without the word: "in IVa", "(VIII)", "VI: 29 mm", "V (11 mm)"
        (r"(?<=\d )\((?=(?:i{1,3}|iv[ab]?|vi{0,3})\))", "(segment "),
        (rf"\bin (?={_ROMAN}{_AFTER_ROMAN})", "in segment "),
        (rf"^(?={_ROMAN}(?:: ?\d| \(\d))", "segment "),
        (rf"(?<=[:,] )(?={_ROMAN} \(\d)", "segment "),
        (r"\b(?:similar|similarly|comparably) (?=(?:low|high) (?:density|attenuation)\b)", ""),
        (r"(?<=[cm]m) / (?=\d+(?:[.,]\d+)? ?[cm]m(?:[.,;)]|$))", ", previously "),
        (r"@", " at "),
        (r" & ", " and "),
        (r"\(([+-])\)", r"\1"),  # "washout (-)"
        (r"[‐-‒\u00ad]", "-"),
        (r"[–—]", " - "),
        (r"-{2,}", " - "),
        (r"[×✕]", "x"),
        (r"\bcan't\b", "can not"),
        (r"\bn't\b|n't\b", " not"),
        (r"\bcannot\b", "can not"),
        (
            r"\b((?:hyper|hypo|de)?vascular|(?:hyper)?arterial|recogn|visual|character|local)is(e[ds]?|ing|able|ation)\b",
            r"\1iz\2",
        ),
        (r"\b(enhanc\w+ (?:(?:in)?homogen\w*ly|heterogen\w*ly|uniformly|evenly)),? but (?=less |weaker )", r"\1 "),
        (r"\b(enhanc(?:es?|ing|ement))(?: \w+ly)?,? but (?=less |weaker |more weakly )", r"\1 "),
        (
            r"\b(?:do(?:es)? not enhance|fails? to enhance|not enhancing) "
            r"(?:to the (?:same )?(?:degree|extent|level) (?:of|as)|as (?:much|strongly|avidly|well) as)\b",
            "enhances less than",
        ),
        (
            r"\b(?:do(?:es)? not (?:show|have|demonstrate)|shows? (?:not|no)|no|not) more than "
            r"(?=(?:minimal|mild|slight|faint|weak|subtle|minor|little) (?:\w+ )?(?:enhancement|uptake))",
            "shows ",
        ),
        (  # "was isodense on the previous CT", "was hypervascular in 2019"; but not "was resected in 2019"
            r"\b(was|were) (?:(?!(?:not|no|and|with|but|\w*(?:resected|removed|treated|ablated|diagnosed|operated)|"
            r"seen|found|noted|described)\b)[a-z-]+ ){1,5}(?=(?:(?:on|in|at) (?:the |an? )?"
            r"(?:previous|prior|last|earlier|old|outside|former|initial|first) "
            r"(?:ct|mri|mr|study|scan|examination|exam|imaging|ultrasound)|in (?:19|20)\d\d|"
            r"(?:on|in|at) (?:the )?(?:ultrasound|us|sonography|mri|mr))\b)",
            r"\1 ",
        ),
        (r"\bnot, (?:as [^,;.]{3,40}|however|though|therefore), ", "not "),
        (r"\b(enhanc(?:es?|ing|ement)),? but (?=(?:only|just|merely)\b)", r"\1 "),
        (
            r"\b(enhancement|uptake) is (?:present|seen|visible|evident|detectable|"
            r"measurable),? but (?:is )?(?:only |just )?"
            r"(?=(?:weak|mild|minimal|slight|faint|poor|low|subtle|less|lower|weaker|poorer|below)\b)",
            r"\1 is ",
        ),
        (r"\b(enhances?),? (?=(?:in|with) a (?:thin |thick |complete |peripheral )?(?:ring|rim)\b)", r"\1 "),
        (
            r"(?<=\w) still (?=(?:irregular|ill|well|sharp|hypo|iso|hyper|blurred|solid|cystic)\b|(?:hypo|iso|"
            r"hyper)\w)",
            " ",
        ),
        (r"\bearly (?:dynamic |vascular |enhancement |angiographic )?phase\b", "arterial phase"),
        (r"\bangiographic phase\b", "arterial phase"),
        (r"\b(hyper\w+|enhanc\w+|uptake) \((?:late |early )?arterial(?: phase)?\)", r"arterial \1"),
        (r"\b(?:pseudo)?capsule[ -]like (?=(?:\w+ )?(?:rim|ring|enhanc))", ""),
        # little enhancement
        (r"\bnot (?:very |all that )?much (?=(?:contrast )?(?:enhancement|uptake)\b)", "little "),
        (r"\b(?:do(?:es)?|did) not enhance (?:very )?much\b(?! more| less)", "enhances little"),
        (
            r"(?<!no )(?<!any )(?<!without )\b(?:an? )?(?:traces?|paucity) of (?=(?:contrast )?(?:enhancement|"
            r"uptake)\b)",
            "faint ",
        ),
        (r"\b(is|are) (?:no|not) more than (?=(?:minimal|mild|slight|faint|weak|subtle|minor|little)\b)", r"\1 "),
        (
            r"\b(enhanc(?:es?|ing|ement))(?: [a-z]+ly)?,? (?:but|and|although|though) (?:does |do )?so (?=more|less)",
            r"\1 ",
        ),
        (
            r"\bto an? (?:far|much|clearly|markedly|considerably|somewhat|slightly|distinctly|significantly) "
            r"(?=(?:smaller|lesser|lower|greater|higher|larger)\b)",
            "to a ",
        ),
        # "the wall of which enhances"
        (r",? the (walls?|rim|periphery|margins?|borders?|edges?) of which ", r", whose \1 "),
        (r"\b(\w+ly),? (?:though|although|albeit|yet|if) (?=\w+ly (?:enhanc|vascular))", r"\1 and "),
        (  # "the gland enhances avidly, the mass only weakly"
            r"\bthe (?:normal |surrounding |adjacent )?(?:gland|pancreas|liver|cortex|parenchyma|kidney) enhances "
            r"[^,;.]{3,30}, (?:but |while |whereas )?(the (?:mass|lesion|tumor|nodule)|it) (?:only |just )?"
            r"(?=(?:weakly|poorly|faintly|less|slightly|minimally|little|more)\b)",
            r"\1 enhances ",
        ),
        (
            r"\((?:vs\.?|versus|relative to|compared (?:to|with)) (?:the )?"
            r"(?:liver|pancreas|kidney|parenchyma|background|cortex|gland)\)",
            "",
        ),
        (
            r"\b(enhancement|uptake),? (?:which|that) is (?:only )?"
            r"(?=(?:\w+ly )?(?:less|lower|weaker|stronger|higher|more|below|above|inferior|greater)\b)",
            r"\1 ",
        ),
        (
            r"\barterial phase (?:images?|series|scans?) (?:show|demonstrate|reveal)s? ",
            "in the arterial phase there is ",
        ),
        # "enhancement is therefore absent"
        (r"\b(is|are|was|were) (?:therefore|thus|hence|however) ", r"\1 "),
        (
            r"\b(enhancement|uptake): (homogeneous|heterogeneous|inhomogeneous|uniform|patchy), ([^.;]+)",
            r"\1: \3, \2",
        ),
        (r"\biris[ -]diaphragm (?:phenomenon|sign|pattern)", "iris diaphragm enhancement"),
        (r"\bnext to no (?=(?:contrast )?(?:enhancement|uptake))", "hardly any "),
        (  # "enhances, though much less than the cortex"
            r"\b((?:takes|picks) up contrast|enhances?|enhancing|enhancement)( \w+ly)?,? "
            r"(?:(?:only|but|and|although|though|albeit) )*(?:(?:much|far|clearly|markedly|considerably) )?"
            r"(?=(?:less|more|weaker|stronger|more weakly) than\b|to a (?:smaller|lesser|lower) )",
            r"\1\2 ",
        ),
        (r"\barterial dominant (?=phase)", "arterial "),
        (
            r"\b(?:h?ap|art)\.? ?: (?=hyper|iso|hypo|avid|bright|strong|enhanc|no\b|marked|intense|brisk|none|wash)",
            "arterial phase: ",
        ),
        (
            r"\b(enhancement|uptake), (?=(?:already|even|mainly|chiefly|predominantly|especially|particularly|"
            r"mostly|maximal|"
            r"most marked|strongest) (?:in|on) the (?:late )?arterial)",
            r"\1 ",
        ),
        (r"\b(hu),? (?:i\.?e\.?|thus|so|hence|=),? (fluid|water)(?=[.,;]|$)", r"\1, \2 density"),
        # "enhances from 35 to 60 HU, thus less than cortex"
        (
            r"\b((?:enhanc(?:es?|ing|ement)|uptake) (?:from|by|of|to) [^,;.]{1,20}hu)(?: only)?, "
            r"(?:(?:thus|therefore|hence|so|i\.?e\.?|which is|but|and thus) )?(?:(?:much|far|clearly|markedly) )?"
            r"(?=(?:less|weaker|more|stronger|lower|higher)\b)",
            r"\1, enhancement ",
        ),
        (r"\b(\d+ ?hu), (?=(?:similar|equal|identical|comparable|lower|higher|less|more) )", r"\1 "),
        # "isodense in all phases except the arterial one, in which it is bright"
        (
            r"\b(?:without|except|but|save)(?: on| in| for)?(?: the)? arterial(?: phase| one)?,? (?:when|where|"
            r"in which|during which) "
            r"it (?:is|becomes|appears|gets|turns) ",
            "; arterially it is ",
        ),
        (r"^contrast(?: behaviou?r| dynamics| pattern| kinetics| characteristics)?:", "enhancement:"),
        (
            r"\b(?:at )?(\d+) ?(?:s|sec|secs|seconds) (?:after|post|following|from)(?: the)?(?: contrast)?(?: medium)? "
            r"injection\b|\bat (\d+) ?(?:s|sec|secs|seconds)\b",
            _in_words,
        ),
        (r"\b(?:is |are )?not (?:followed|accompanied) by (?:any )?", "without "),
        (
            r"\bnor (?:does|do|did|is|are|was|has|have) (?:it|this|they|there|the (?:lesion|mass|nodule|cyst|tumor)) ",
            "nor ",
        ),
        (
            r"\bnor (?:does|do|did) (the (?:\w+ )?(?:liver|pancreas|kidneys?|spleen)) (?:show|contain|have|"
            r"bear)s? (?:an? |any )?",
            r"\1 shows no ",
        ),
        (r"\bnot (?:appear|seem) to ", "not "),
        (r"\b(?:has|have|had) not been (?:seen|shown|found|observed|noted) to ", "does not "),
        (
            r"\bnot (?:considered|deemed|judged)(?: to be| as)? "
            r"(?=(?:of |\w+ly )?(?:hypo|iso|hyper|low|high|cystic|solid|necrotic|calcified|avascular|well|ill|"
            r"rim|enhanc|homog|heterog))",
            "not ",
        ),
        (r"(?<=ly), (?=in the (?:late |early )?arterial phase\b)", " "),
        (r"\bin all (?:likelihood|probability)\b", "probably"),
        (r"\bobservation(?= (?:in|with|measuring|of \d|\())|(?<=[cm]m )observation\b", "lesion"),  # LI-RADS
        (r"\b(?:has|have) gone (?:up |down )?(?=from \d)", "has changed "),
        (  # "no cyst has a thick wall or takes up contrast"
            r"^no (?:cyst|lesion|nodule|mass) (?:(?:has|shows) [^.,;]{3,40} or )?"
            r"(?=(?:enhances?|takes? up|shows? (?:any )?(?:contrast )?(?:enhancement|uptake))\b)",
            "none of them ",
        ),
        (
            r"\bwithout (?:iv |intravenous )?contrast(?: medium| agent)?,? "
            r"(?=(?:\w+ly )?(?:iso|hypo|hyper)(?:dense|atten))",
            "unenhanced ",
        ),
        (r",(?= (?:where|when|in which|during which)\b)", ""),
        # "a washout, which would speak for HCC, is not seen"; but "a mass, which measures 5 cm, is seen"
        (
            r"^((?:(?:an?|the|any) )?\w[\w -]{2,40}), which (?:would|could|might|may) [^,;.]{3,60}, "
            r"(?=(?:is|are|was|were|can|could|cannot)\b)",
            r"\1 ",
        ),
        # "except at its periphery it does not enhance"
        (
            r"^(?:except(?: for| at| in)?|with (?:the )?exception of|apart from|aside from|other than) "
            r"(?:(?:its|the|an?) )?(?:\w+ )?(?:wall|rim|periphery|margin|edge|border),? "
            r"(?:(?:there is no|it (?:shows|has) no|it does not show) (?:\w+ )?(?:enhancement|uptake)|"
            r"(?:it|the lesion|the mass) does not (?:enhance|take up contrast))",
            "rim enhancement",
        ),
        (
            r"(?:^|(?<=, and )|(?<=, but ))no (?:part|portion|area) of (?:it|the (?:lesion|mass|nodule|"
            r"tumor)) (?=enhances|takes up|shows|demonstrates|has)",
            "none of it ",
        ),
        (r"\b(enhancement|uptake) \((?:from )?\d+ ?(?:hu )?(?:to|-) ?\d+ ?hu\)", r"\1"),
        (r"\b(enhancement|uptake), (?=(?:only )?(?:less|lower|weaker|poorer) than\b)", r"\1 "),
        (
            r"\bnothing (?:in|inside|within|of) (?:it|the (?:lesion|mass|cyst|nodule|tumor)) "
            r"(?=enhances|takes up|shows|demonstrates)",
            "none of it ",
        ),
        # "no enhancement except for its wall"
        (rf"\b(?:no|without|does not show|shows no) (?:\w+ )?enhancement,? {_EXCEPT_EDGE}", "rim enhancement of its "),
        (rf"\b(?:does|do) not enhance,? {_EXCEPT_EDGE}", "shows rim enhancement of its "),
        (
            r"\b(no|without) (?:significant|relevant|appreciable|measurable|visible|obvious|real) "
            r"(?=enhancement differences?\b|differences? (?:in|of) enhancement\b)",
            r"\1 ",
        ),
        # the largest is told of with its plural, the next one is a lesion of its own where it has a size
        (r"^(?:the )?(?:second|next) largest(?: one| lesion| nodule)?(?=[ ,:][^;]{0,60}\d ?[cm]m\b)", "another one"),
        (rf"\b({_HEADS_OF_FORMS}) \(([a-z -]{{3,24}})\)(?=:)", r"\2 \1"),  # "attenuation (unenhanced): low"
        (r"\b(it|there|that)'s\b", r"\1 is"),
        (r"'s\b", ""),
        (r"\b(density|attenuation) \(-?\d+ ?(?:-|to)? ?\d* ?hu\)", r"\1"),
        (r"\bw/o\b|\bw\.o\.", "without"),
        (r"\bw/", "with "),
        (r"\bi\.\s?e\.", "ie"),
        (
            rf"\b(?=\d)(?<!\band )(?<!segment )(?<!segments ){NUMBER}(?:, {NUMBER})+,? and {NUMBER} ?(mm|cm)\b",
            _with_units,
        ),
        (r"\b(enhanc(?:es?|ing|ement)) ([^,;.]{0,30}), ie,? (\w+ly)\b", r"\1 \3 \2"),  # "from 30 to 45 HU, i.e. weakly"
        (
            r"(?<![a-z] )\b(?:an?|any) ((?:\w+ ){0,2}(?:mass|lesion|tumor|nodule|metastasis|neoplasm)) "
            r"(?=can not be (?:clearly |definitely )?"
            r"(?:delineated|delimited|demarcated|defined|made out|distinguished|discerned|recogni[sz]ed)\b)",
            r"no \1 ",
        ),  # of a border this would say that it is blurred
        (rf"^({_HEADS_OF_FORMS})(?: pattern)? of ((?:the|this) [^:.]{{3,60}}):(?! (?:none|no|nil|absent))", r"\2: \1:"),
        (r"\b((?:hyper|iso|hypo)(?:dense|attenuating)) (arterial|venous)(?=[,.;]|$)", r"\1 in the \2 phase"),
        # "hyperdense arterially" is a phase's density, "hyperdense, arterially enhancing" is none
        (r"\b(hyper(?:dense|attenuating)|bright) (?=arterially (?:hyper)?enhanc)", r"\1, "),
        (r"\b(not|are|is|criterion|criteria) met\b", r"\1 fulfilled"),  # no metastasis
        (r"\bf/u\b", "follow up of"),
        (r"^(largest|biggest|dominant) (?=(?:lesion|nodule|metastasis|mass|cyst|one)\b)", r"the \1 "),
        (r"\bc/w\b", "consistent with"),
        (r"\b(?:f/)?s/o\b", "suggestive of"),
        (r"\bd/d\b", "ddx"),
        (r"(?<=[a-z])-(?=(?:,| or\b| and\b| to\b))", ""),  # "hypo- or hyperdense"
        (r"(?<=[a-z])-(?=[a-z])", " "),
        (r"\s+", " "),
        (rf"\b({_NUMERAL}) and a half(?= (?:[cm]m\b|(?:milli|centi)met))", _with_half),
        (rf"\b{_NUMERAL}(?: point {_NUMERAL})?(?= (?:[cm]m\b|(?:milli|centi)met))", _in_figures),
    )
)


@lru_cache(maxsize=4096)  # reports repeat themselves, word for word
def normalized(text: str) -> str:
    """Lower case, with plain apostrophes, dashes and multiplication signs; hyphenated words divided."""
    text = text.lower()
    for pattern, new in _REPLACED:
        text = pattern.sub(new, text)
    return text
