"""What leaves the machine: which hosts are not this machine, and reports without what identifies a person.

De-identification errs towards removing. A capitalized word stays only where the clinical library philter-lite (Norgeot
et al., npj Digit. Med. 3, 57, 2020) has it among its 195,000 words that are no names, or where radiology uses it; its
240,000 names decide where a word is both. Dates, numbers and addresses go by their form. No rule finds every
identifier: whoever sends reports to somebody else answers for what they hold.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from .encoders import Encoder
from .errors import ReportError


class Span(NamedTuple):
    """Characters ``start`` to ``end`` (exclusive), and what stands there."""

    start: int
    end: int
    kind: str


def host_of(url: str) -> str:
    """The host that an endpoint's address names. Raises :class:`ReportError` for what is no http address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ReportError(f"{url!r} is no address of an endpoint; give one such as http://localhost:8000/v1.")
    return parts.hostname


def is_this_machine(url: str) -> bool:
    """Whether an endpoint's address is a loopback one, so that nothing leaves the machine."""
    host = host_of(url)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def warning(url: str, deidentified: bool) -> str | None:
    """What the user must read before anything is sent to ``url``; None where nothing leaves the machine."""
    if is_this_machine(url):
        return None
    host = host_of(url)
    plain = " The connection is NOT ENCRYPTED (http)." if urlsplit(url).scheme == "http" else ""
    if deidentified:
        return (
            f"WARNING: report texts go to {host}, which is not this machine. Names, dates, numbers and addresses are "
            f"removed first, but no rule finds all of them.{plain}"
        )
    return (
        f"WARNING: REPORT TEXTS GO TO {host.upper()} UNCHANGED, WITH EVERY NAME, DATE AND NUMBER IN THEM, because of "
        f"--no-deidentify. Stop now (Ctrl-C) unless {host} may see patient data.{plain}"
    )


def deidentify(text: str) -> str:
    """The text without names, dates, numbers of records and telephones, ages over 89, addresses.

    ``[NAME]``, ``[DATE]``, ``[AGE]``, ``[NUMBER]``, ``[PLACE]``, ``[CONTACT]`` stand for what was there. Measurements,
    segments, grades and series stay.
    """
    text = unicodedata.normalize("NFC", text)
    kept = bytearray(len(text))
    for pattern in _MEASURES:
        for found in pattern.finditer(text):
            kept[found.start() : found.end()] = b"\1" * (found.end() - found.start())
    spans = [*_patterns(text, kept), *_names(text)]
    return _replaced(text, spans)


class DeidentifiedEncoder:
    """An encoder that gets texts without what identifies a person."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.threshold = encoder.name, encoder.threshold
        self._encoder = encoder

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return self._encoder([deidentify(text) for text in texts])


def _replaced(text: str, spans: Iterable[Span]) -> str:
    parts, end = [], 0
    for span in _merged(text, spans):
        parts += [text[end : span.start], f"[{span.kind}]"]
        end = span.end
    return "".join(parts) + text[end:]


def _merged(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Spans in order, those that overlap or follow each other with hardly anything between as one."""
    last: Span | None = None
    for span in sorted(spans, key=lambda s: (s.start, s.kind == "CONTACT")):  # what may be a date is one
        between = text[last.end : span.start] if last is not None else "x"
        if last is not None and (span.start <= last.end or (span.kind == last.kind and not between.strip(" ,.-'’^_"))):
            last = Span(last.start, max(last.end, span.end), last.kind)
        else:
            if last is not None:
                yield last
            last = span
    if last is not None:
        yield last


# --- numbers, dates, addresses -----------------------------------------------------------------------------------

_NUMBER = r"\d+(?:[.,]\d+)?"
_UNITS = (
    r"mm/s|mm|cm[23²³]?|HU|m[Ll]/s|m[Ll]|cc|%|kVp?|mAs?|mGy\S*|mSv|m?g/dL|ng/mL|U/mL|[µm]mol/L|Fr|French|G(?= )|m?kg|"
    r"mg|degrees?|°|minutes?|min|seconds?|sec|s(?![a-z])|hours?|h(?![a-z])|days?|weeks?|months?|fold"
)
_MEASURES = tuple(
    re.compile(p)
    for p in (
        rf"(?<![\w./-]){_NUMBER}(?:\s*(?:x|X|×|\*|by|-|–|to|and|/)\s*{_NUMBER}){{0,3}}\s*(?:{_UNITS})(?![A-Za-z])",
        rf"(?<![\w./-]){_NUMBER}(?:\s*[x×]\s*{_NUMBER}){{1,2}}(?![\w/])",
        r"(?i)\b(?:series|ser|se|images?|img|im|slices?)[ .:#]*\d{1,4}(?:\s*[-–]\s*\d{1,4})?(?![\w./-]\w)",
        r"(?i)\b(?:segments?|segs?|sg|grade|type|stage|score|category|class|level|bosniak|rads)[ .:-]*"
        r"\d[a-d]?(?:\s*[-/,]\s*\d[a-d]?)*(?:\s+(?:and|or|to)\s+\d[a-d]?)?(?![\w./-]\w)",
    )
)

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_D, _M, _Y = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:(?:19|20)\d\d|['’]?\d\d)"
_CLOCK = r"(?:[T ,]*(?:at )?\d{1,2}:\d\d(?::\d\d)?Z?(?:\s?[ap]\.?m\.?)?)?"
_WHEN = (
    r"(?:on|of|from|since|dated?|to|with|seen|until|till|before|after|by|study|exam|CT|MRI|comparison)[:\s]+(?:the\s+)?"
)
_CAP = r"[^\W\d_a-z][^\W\d_]*(?:['’][^\W\d_]+)?"
_STREET = (
    r"(?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|way|court|ct|place|pl|square|sq|terrace|close|"
    r"crescent|highway|hwy|parkway|pkwy)"
)
_FACILITY = (
    r"(?:Hospitals?|Clinics?|Infirmary|(?:Medical|Health) Cent(?:er|re)|Healthcare|Klinik|Klinikum|"
    r"Universitätsklinikum|Universitätsspital|Krankenhaus|Spital|Hôpital|Ospedale|Institute|Manor|"
    r"Nursing Home|Hospice|Surgery|Practice|Praxis|General|Foundation Trust|University)"
)
_EXTENSION = r"(?:\s*(?:ext|x|extension)\.?\s*\d+)?"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("CONTACT", r"[\w.%+-]{1,64}@[\w.-]+|(?i:https?://|www\.)\S+"),
        ("DATE", rf"\b(?:19|20)\d\d([./-]){_M}\1{_D}\b{_CLOCK}"),
        ("DATE", rf"(?<![\d./-])(?:{_D}([./-]){_M}\1|{_M}([./-]){_D}\2){_Y}\b(?![./-]\d){_CLOCK}"),
        ("DATE", rf"(?<![\d./-]){_M}[/.](?:19|20)\d\d\b"),
        ("DATE", rf"(?<![\d./-]){_D}\.\s?{_M}\.(?!\d)"),
        ("DATE", rf"(?i)\b{_WHEN}(?P<private>\d{{1,2}}/\d{{1,2}})(?![\w/]|\.\d)"),
        ("DATE", rf"(?i)(?<!\w){_D}(?:st|nd|rd|th)?[ .-]*(?:of )?{_MONTH}(?:[ ,.-]*{_Y})?\b"),
        ("DATE", rf"(?i)\b{_MONTH}[ .-]*{_D}(?:st|nd|rd|th)?(?:,? *(?:19|20)\d\d)?\b(?!\s*(?:mm|cm|x|to\b))"),
        ("DATE", rf"(?i)\b{_MONTH}(?: of)?[ ,.-]*(?:19|20)\d\d\b"),
        ("AGE", r"(?i)\bage(?:d|:)?\s*(?:of )?(?:9\d|1[0-2]\d)\b(?!\.\d|\s*(?:mm|cm|HU|%))"),
        ("AGE", r"(?i)(?<![\d./-])(?:9\d|1[0-2]\d)[ -]*(?:years?|yrs?|y\.?\s?/?o\b\.?|y\b)(?:[ -]*olds?)?(?: of age)?"),
        ("AGE", r"\b(?:9\d|1[0-2]\d)\s?[MFmf]\b(?!\w)"),
        ("AGE", r"(?i)\bninet(?:y|ies)(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?\b"),
        ("AGE", r"(?i)\b(?:(?:a|one) )?hundred(?:[ -]and[ -]\w+)?[ -]years?\b|\b(?:nonagenarian|centenarian)\b"),
        (
            "CONTACT",
            r"(?i)\b(?:tel|telephone|phone|fax|cell|mobile|pager|bleep|ext|extension|contact|call|at|under|on|dial)\b"
            rf"[.:# ]*(?:no\.?|number)?\s*(?P<private>\(?\+?\d[\d ().\-/]{{2,}}\d{_EXTENSION})"
            r"(?![\w.]*\s*(?:mm|cm|HU|%))",
        ),
        ("CONTACT", rf"(?<![\w.-])(?:\+\d|\(\d|0\d|\d{{3}})\d*(?:\)?[ .\-/]\(?\d{{2,}})*{_EXTENSION}\b"),
        ("PLACE", rf"\b\d{{1,5}}[a-zA-Z]?,? (?:{_CAP}[ -]){{1,3}}(?i:{_STREET})\b\.?"),
        ("PLACE", r"(?i)\b[^\W\d_]+(?:straße|strasse|str\.|weg|platz|allee|gasse|ring)\s+\d+\s?[a-z]?\b"),
        ("PLACE", rf"\b[A-Z]{{1,2}}\d[A-Z\d]? \d[A-Z]{{2}}\b|\b\d{{4,5}} (?={_CAP})(?!(?:HU|CT|MRI|U)\b)"),
        (
            "PLACE",
            rf"(?:\b(?:St|Mt|{_CAP})\.?[ -](?:{_CAP}[ -]){{0,4}})?\b(?:{_FACILITY}|{_FACILITY.upper()})\b"
            rf"(?: (?:of )?{_CAP}){{0,4}}(?:, {_CAP}(?: {_CAP}){{0,2}})?",
        ),
        (
            "NUMBER",
            r"(?i)\b(?:MRN|PID|accession|acc|patient id|id|ssn|case|chart|record|lot|ref|serial|licen[cs]e|passport|"
            r"member|group|job|gmc|nhs|insurance|account)\b[^\w\n]*(?:no\b\.?|number\b|nr\b\.?|#)?[:.# ]*"
            r"(?P<private>(?=[\w-]*\d)[\w-]{3,})",
        ),
        ("NUMBER", r"(?<![\d.])\d{5,}(?![\d.]*\s*(?:mm|U/mL|ng/mL|HU))"),
    )
)
_JOINED = re.compile(r"[A-Za-z0-9]+(?:[-/._^][A-Za-z0-9]+)*")
_RANGE = re.compile(r"\d{1,3}-\d{1,3}|[\d.]+|[A-Za-z]+-?\d{1,3}|\d{1,4}[A-Za-z]{0,4}")


def _patterns(text: str, kept: bytearray) -> Iterator[Span]:
    for kind, pattern in _PATTERNS:
        for found in pattern.finditer(text):
            start, end = found.span("private" if "private" in pattern.groupindex else 0)
            if _is_private(kind, found, pattern) and (kind == "AGE" or not any(kept[start:end])):
                yield Span(start, end, kind)
    for found in _JOINED.finditer(text):  # a code: at least four digits among letters or hyphens
        digits = sum(c.isdigit() for c in found[0])
        if digits >= 4 and not _RANGE.fullmatch(found[0]) and not any(kept[slice(*found.span())]):
            yield Span(found.start(), found.end(), "NUMBER")


def _is_private(kind: str, found: re.Match[str], pattern: re.Pattern[str]) -> bool:
    """Of telephone numbers only those that are long enough: three digits behind a word that names one, else seven."""
    if kind != "CONTACT" or "@" in found[0] or "/" in found[0][:8]:
        return True
    return sum(c.isdigit() for c in found[0]) >= (3 if "private" in pattern.groupindex else 7)


# --- names -------------------------------------------------------------------------------------------------------


@cache
def _library() -> tuple[frozenset[str], frozenset[str]]:
    """philter-lite's names, and its words that are no names."""
    from philter_lite.filters import filter_db

    words = filter_db.set_db
    return frozenset((*words["firstnames"], *words["lastnames"])), frozenset(words["nonames"])


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_EPONYMS = _set(
    """
    achilles adamkiewicz agatston ann arantius arbor atlanta balthazar barcelona bartholin bellini bertin bismuth
    bochdalek borrmann bosniak bouveret budd burkitt calot cantlie caroli castleman chiari child chilaiditi clavien
    cloquet couinaud courvoisier cowden crohn deauville denonvilliers dindo doppler edmondson fallopian fanconi frantz
    fraumeni fuhrman fukuoka gaucher gerota gleason glisson grawitz hartmann heister hippel hodgkin hounsfield jeghers
    kaposi kasabach kerckring klatskin krukenberg kupffer kyoto langerhans lieberkuhn lindau lugano luschka meckel meigs
    milan mirizzi morgagni morison nabothian nissen oddi paget pancoast peutz peyer phrygian puestow pugh recist riedel
    rokitansky roux santorini schmorl spigelian stauffer steiner takayasu tanaka tarlov todani treitz trousseau valsalva
    vater virchow von whipple wilms winslow wirsung wirsungianus zenker zollinger
    omnipaque visipaque ultravist isovue optiray iomeron imeron xenetix accupaque gadovist dotarem magnevist eovist
    primovist lipiodol buscopan iohexol iopamidol iomeprol siemens philips toshiba canon revolution somatom aquilion
    lirads pirads folfirinox tace
    """
)
_GIVEN = _set("may june april august will mark grace rose hope faith joy summer dawn art bill bob rich frank")
_PARTICLES = _set("van von der den de del della di da dos du la le el al bin bint ibn ben ter ten zu st ni nic mac")
_LABELS = (
    r"patient(?:'s)?(?: name)?|name|pt|physician|radiologist|attending|resident|attg|fellow|consultant|surgeon|"
    r"provider|technologist|oncologist|urologist|gp|read by|dictated by|transcribed by|signed(?: by)?|reported by|"
    r"reviewed by|approved by|verified by|interpreted by|requested by|ordered by|referred by|cc|attn|attention|"
    r"addressed to"
)
_TITLE = re.compile(  # behind it, any capitalized word is a name
    r"(?<!\w)(?:(?:Drs?|Doctor|doctor|Prof|Professor|Mr|Mrs|Ms|Miss|Mx|Mme|Mlle|Madame|Monsieur|Herrn?|Frau|Señora?|Sra?|"
    r"Familie|Family|Sir|Lady|[Nn]urse|[Bb]aby (?:[Bb]oy|[Gg]irl)|husband|wife|son|daughter|mother|father|brother|"
    r"sister|niece|nephew)\b\.?,?\s+)+(?:med\.?\s+|habil\.?\s+)*"
)
_LABEL = re.compile(rf"(?i:(?<!\w)(?:{_LABELS}))\s*(?:[:=(]|\bis\b)\s*(?:(?:Drs?|Prof|Mr|Mrs|Ms)\b\.?\s+)*")
_TITLE_IN_ANY_CASE = re.compile(r"(?i:(?<!\w)(?:drs?|mr|mrs|ms|miss|prof|patient:|name:))\.?\s+")
_BEFORE = re.compile(
    r"(?i:(?<!\w)(?:by|with|to|signed|attn\.?|informed|notified|called|call|contacted|ref|patient|from|under))[ :.,]\s?"
)
_DEGREE = re.compile(
    r"(?=,?\s+(?:M\.?D\.?|D\.?O\.|DO|Ph\.?D\.?|R\.?N\.?|FRCR|FRCPC|FFR|FACR|MBBS|MBChB|NP|PA-C|MSc|DNP|Consultant)(?![a-z]))"
)
_MEDICAL = re.compile(
    r"(?:hypo|hyper|iso|hetero|hetr|homo|peri|intra|inter|extra|sub|supra|infra|pre|post|non|un|mult|micro|macro|pseudo|"
    r"poly|hepat|pancreat|neph|reno|chol|duoden|gastr|enter|col[io]|splen|aden|angio|vascul|lymph|lipo|cyst|carcin|"
    r"sarco|pneumo|side|re|de|calc|calyc|opac|atten|enhanc)[a-z]{3,}"
)
_AFTER_EPONYM = re.compile(
    r"(?:['’]s)?(?:[ -][^\W\d_]+)?[ -](?:disease|syndrome|sign|score|grade|grading|classification|criteria|type|class|"
    r"stage|tumou?r|lymphoma|procedure|operation|anastomosis|fascia|capsule|pouch|ducts?|node|nodule|cysts?|ligament|"
    r"line|segment|hernia|fistula|lesion|complex|reaction|index|ratio|guidelines?|consensus|cells?|loop|valve|catheter|"
    r"stent|space)\b"
)
_NOT_A_NAME = _set("male female unknown none not see same no and the with history age sex id")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_GAP = re.compile(r" |-|, ?|\^|_|['’]")
_GAP_AT_INITIAL = re.compile(r" |-|, ?|\^|_|['’]|\. ?|\.-")


class _Word(NamedTuple):
    start: int
    end: int
    text: str
    capital: bool
    named: bool  # the library lists it as a name
    known: bool  # and as a word that is none, or radiology uses it
    sure: bool  # a name by itself, whatever stands around it


def _names(text: str) -> Iterator[Span]:
    words = [_word(text, found) for found in _WORD.finditer(text)]
    taken = {i for i, word in enumerate(words) if word.sure and not _AFTER_EPONYM.match(text, word.end)}
    taken |= _seeded(text, words)
    taken = _grown(text, words, taken)
    again = {words[i].text for i in taken if len(words[i].text) > 2 and words[i].capital}
    taken |= {i for i, word in enumerate(words) if word.text in again}
    for i in taken:
        yield Span(words[i].start, words[i].end, "NAME")


def _word(text: str, found: re.Match[str]) -> _Word:
    start, end = found.span()
    word = re.sub(r"['’]s$|['’]$", "", found[0])
    end = start + len(word)
    plain = _folded(word)
    names, others = _library()
    capital = word[0].isupper()
    eponym = plain in _EPONYMS or bool(re.fullmatch(r"[IVX]+[a-cF]?", word))
    named = plain in names and not eponym
    known = eponym or plain in others or _american(plain) in others or (not named and bool(_MEDICAL.fullmatch(plain)))
    short = word.isupper() and len(word) <= (3 if named else 4)
    letters = short or re.fullmatch(r"[A-Z]{2,}[a-z]{1,3}", word) is not None  # SMA, CTDIvol
    return _Word(start, end, word, capital, named, known, capital and not known and not letters and len(word) > 1)


def _american(word: str) -> str:
    return word.replace("haem", "hem").replace("oed", "ed").replace("tumour", "tumor").replace("centre", "center")


def _folded(word: str) -> str:
    """Lower case, without accents, apostrophes and other marks: as the library's lists are written."""
    lower = word.lower().replace("ß", "ss").replace("ı", "i").replace("ł", "l").replace("ø", "o")
    return "".join(c for c in unicodedata.normalize("NFKD", lower) if c.isalpha())


def _seeded(text: str, words: list[_Word]) -> set[int]:
    """Words that are names because of what stands before or behind them."""
    starts = {word.start: i for i, word in enumerate(words)}
    ends = {word.end: i for i, word in enumerate(words)}

    def behind(pattern: re.Pattern[str]) -> Iterator[tuple[int, bool]]:
        """The word behind each match, and whether particles (*van der*) stand between."""
        for found in pattern.finditer(text):
            first = i = starts.get(found.end(), len(words))
            while i < len(words) - 1 and words[i].text in _PARTICLES:
                i += 1
            if i < len(words):
                yield i, i > first

    seeds = {i for pattern in (_TITLE, _LABEL) for i, _ in behind(pattern) if words[i].capital}
    seeds |= {ends[found.start()] for found in _DEGREE.finditer(text) if found.start() in ends}
    for i, particle in behind(_TITLE_IN_ANY_CASE):
        if words[i].named and (words[i].capital or particle or not words[i].known):
            seeds.add(i)
    for i, particle in behind(_BEFORE):
        if words[i].text.lower() in _EPONYMS:
            continue
        if words[i].capital and (particle or (words[i].named and not words[i].text.isupper())):
            seeds.add(i)
    return {i for i in seeds if words[i].text.lower() not in _NOT_A_NAME}


def _grown(text: str, words: list[_Word], taken: set[int]) -> set[int]:
    """Names with the names, initials and particles that stand beside them."""
    grown, fresh = set(taken), list(taken)
    while fresh:
        i = fresh.pop()
        for j in (i - 1, i + 1):
            if 0 <= j < len(words) and j not in grown and _joins(text, words, i, j, grown):
                grown.add(j)
                fresh.append(j)
    return grown


def _joins(text: str, words: list[_Word], i: int, j: int, grown: set[int]) -> bool:
    """Whether word ``j``, beside word ``i`` of a name, belongs to that name."""
    name, word = words[i], words[j]
    gap = text[min(name.end, word.end) : max(name.start, word.start)]
    lower = word.text.lower()
    if not (_GAP_AT_INITIAL if 1 in (len(name.text), len(word.text)) else _GAP).fullmatch(gap):
        return False
    if lower in _PARTICLES:
        k = 2 * j - i
        return 0 <= k < len(words) and (k in grown or words[k].capital) and abs(words[k].start - word.start) < 30
    if lower in _EPONYMS or not (word.capital or (word.named and not word.known)):
        return False
    if len(word.text) == 1 or lower in ("jr", "sr") or gap in ("-", "^", "_", "'", "’"):
        return True
    if len(name.text) == 1 and j > i and not word.text.isupper():
        return True  # behind an initial
    return word.named or (gap == " " and lower in _GIVEN)
