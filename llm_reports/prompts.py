"""What a language model is asked, and the shape of its answer.

The heart of it is the paper's instruction (section III-A): of a fragmentary report, state what it says of the tumor,
and nothing that it does not say. The answers' shapes are sent as JSON schemas in which every field is required, as
endpoints with structured output want it; an answer that leaves a field out is read as if it were null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .client import Message
from .descriptors import Attenuation, Composition, Enhancement, Margin, Pathology, Texture

Shape = TypeVar("Shape", bound=BaseModel)


def _all_required(schema: dict[str, Any]) -> None:
    schema["required"] = list(schema["properties"])
    for content in schema["properties"].values():
        content.pop("default", None)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=_all_required)


class LesionAnswer(_Answer):
    """One lesion as the model read it. ``quotes``: the passages of the report that it was read from."""

    quotes: list[str]
    organ: Literal["liver", "pancreas", "kidney"]
    attenuation: Attenuation | None = None
    enhancement: Enhancement | None = None
    texture: Texture | None = None
    composition: Composition | None = None
    margin: Margin | None = None
    pathology: Pathology | None = None
    size_mm: float | None = Field(default=None, allow_inf_nan=False)


class ExtractionAnswer(_Answer):
    """All lesions of a report; none: an empty list."""

    lesions: list[LesionAnswer]


class VariantsAnswer(_Answer):
    """Wordings of one description."""

    variants: list[str]


class ViewsAnswer(_Answer):
    """What a model sees of one lesion in three views."""

    attenuation: Attenuation | None = None
    texture: Texture | None = None
    composition: Composition | None = None
    margin: Margin | None = None
    size_mm: float | None = Field(default=None, allow_inf_nan=False)


class UnusableError(ValueError):
    """An answer that is not what was asked for; the message says why."""


def read_answer(text: str, shape: type[Shape]) -> Shape:
    """The first JSON object in a model's text that has the wanted shape, whatever stands around it.

    Raises :class:`UnusableError` if there is none.
    """
    decoder, reason = json.JSONDecoder(), "no JSON object in it"
    start = text.find("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(text, start)
            return shape.model_validate(found)
        except json.JSONDecodeError:
            reason = reason if "field" in reason else "broken JSON"
        except (ValidationError, RecursionError) as error:
            fault = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deep"}
            where = ".".join(str(part) for part in fault["loc"])
            reason = f"field {where!r}: {str(fault['msg']).lower()}"
        start = text.find("{", start + 1)
    raise UnusableError(reason)


EXTRACT = """\
You read reports of abdominal CT. A report is often a fragment: it says some things about a tumor and leaves out others.
For each lesion of the liver, the pancreas or the kidneys that the report affirms, write down what the report itself
says of it: its attenuation against the organ, its enhancement, texture, composition, margin, the diagnosis that it is
suspected to be, and its longest present diameter in millimetres.

Invent nothing. What the report does not say is null, even where it would be likely. What the report denies ("no
calcification", "without washout") is null too. A lesion that is only possible ("cannot exclude a small lesion"), one
that has gone, one of another organ, and the history or question of the referral are no lesions. Findings and impression
that speak of the same lesion are one lesion. "quotes" are the words of the report about that lesion, copied exactly.

Values:
attenuation: hypo (hypodense, low density, darker) | iso | hyper
enhancement: hypo (hypovascular, poor) | hyper (avid, hypervascular) | arterial | washout (or both) | rim | none
texture: homogeneous (uniform) | heterogeneous (mottled, patchy)
composition: solid | cystic (fluid) | mixed (solid and cystic) | necrotic | calcified; of several, the first of mixed,
necrotic, cystic, calcified, solid
margin: well-defined (sharp, smooth, circumscribed) | ill-defined (indistinct, infiltrative, irregular)
pathology: one of the schema's names, where the report names or suspects it

Answer with one JSON object and nothing else: {"lesions": [{"quotes": [...], "organ": ..., "attenuation": ...,
"enhancement": ..., "texture": ..., "composition": ..., "margin": ..., "pathology": ..., "size_mm": ...}]}"""

EXTRACT_EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Liver: ill-defined hypodense mass in segment 6, 3.1 x 2.4 cm, no calcification. Small cyst in segment 2, "
        "8 mm. Spleen normal. IMPRESSION: Segment 6 mass, suspicious for metastasis.",
        '{"lesions": [{"quotes": ["ill-defined hypodense mass in segment 6, 3.1 x 2.4 cm, no calcification", '
        '"Segment 6 mass, suspicious for metastasis"], "organ": "liver", "attenuation": "hypo", "enhancement": null, '
        '"texture": null, "composition": null, "margin": "ill-defined", "pathology": "metastasis", "size_mm": 31}, '
        '{"quotes": ["Small cyst in segment 2, 8 mm"], "organ": "liver", "attenuation": null, "enhancement": null, '
        '"texture": null, "composition": "cystic", "margin": null, "pathology": "cyst", "size_mm": 8}]}',
    ),
    (
        "History of renal cell carcinoma. No focal hepatic lesion. Both kidneys enhance symmetrically, no mass. "
        "Pancreas unremarkable.",
        '{"lesions": []}',
    ),
    (
        "Heterogeneous solid mass of the left kidney, 52 mm, enhancing avidly.",
        '{"lesions": [{"quotes": ["Heterogeneous solid mass of the left kidney, 52 mm, enhancing avidly"], '
        '"organ": "kidney", "attenuation": null, "enhancement": "hyper", "texture": "heterogeneous", '
        '"composition": "solid", "margin": null, "pathology": null, "size_mm": 52}]}',
    ),
)

VARY = """\
You reword descriptions of tumors for a training set. Every wording says exactly what the description says: the same
organ, attenuation, enhancement, texture, composition, margin, diagnosis and size where they are stated. Add nothing,
leave nothing out, weaken nothing, deny nothing. Let the wordings differ in everything else: sentence structure, order,
synonyms (hypodense, low-attenuation, darker than the liver), style (telegraphic note, full sentences, impression), and
how the organ is named (liver, hepatic). No two may be alike.

Answer with one JSON object and nothing else: {"variants": ["...", "..."]}"""

VARY_EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Description: A well-defined hyperattenuating lesion in the pancreas, 18 mm.\nWrite 4 wordings.",
        '{"variants": ["Pancreas: sharply marginated hyperdense lesion, 18 mm.", '
        '"There is an 18 mm lesion in the pancreas that is brighter than the parenchyma and has clear borders.", '
        '"Pancreatic lesion of high attenuation measuring 1.8 cm, well circumscribed.", '
        '"The pancreatic lesion measures 18 mm, is denser than its surroundings and has well-defined margins."]}',
    ),
)

VIEW = """\
You look at one tumor in three CT views through its middle: axial, coronal and sagittal, soft-tissue window. The contour
outlines it; the bar is 20 mm long. Say what you see: attenuation against the organ around it (hypo: darker, iso, hyper:
brighter), texture (homogeneous | heterogeneous), composition (solid | cystic | mixed | necrotic | calcified), margin
(well-defined | ill-defined) and the longest diameter in millimetres, by the bar. What you cannot see is null. Do not
guess a diagnosis.

Answer with one JSON object and nothing else: {"attenuation": ..., "texture": ..., "composition": ..., "margin": ...,
"size_mm": ...}"""

VIEW_EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "(Example without pictures: a round area in the liver, evenly darker than it, water-like, with a crisp edge, "
        "as wide as one and a half bars.)",
        '{"attenuation": "hypo", "texture": "homogeneous", "composition": "cystic", "margin": "well-defined", '
        '"size_mm": 30}',
    ),
    (
        "(Example without pictures: a patchy mass in the kidney, brighter than it in places, fading into it, with a "
        "dark center, as wide as three bars.)",
        '{"attenuation": "hyper", "texture": "heterogeneous", "composition": "necrotic", "margin": "ill-defined", '
        '"size_mm": 60}',
    ),
)


def extraction_messages(report: str) -> list[Message]:
    """The prompt for one report, which must hold nothing that may not be sent."""
    return [*_opening(EXTRACT, EXTRACT_EXAMPLES), _user(report)]


STYLES = (
    "",
    " Make them telegraphic notes.",
    " Make them full sentences that begin with the organ.",
    " Make them impressions of a report.",
    " Give each property a clause of its own.",
)


def variant_messages(description: str, n: int, avoid: Sequence[str] = (), turn: int = 0) -> list[Message]:
    """The prompt for ``n`` wordings; ``avoid``: some that are there already; each ``turn`` asks for another style."""
    text = f"Description: {description}\nWrite {n} wordings.{STYLES[turn % len(STYLES)]}"
    if avoid:
        text += " None of these again:\n" + "\n".join(f"- {a}" for a in avoid)
    return [*_opening(VARY, VARY_EXAMPLES), _user(text)]


def view_messages(organ: str | None, images: Sequence[str]) -> list[Message]:
    """The prompt for three views, given as data URLs of PNG."""
    text = f"The tumor lies in the {organ}." if organ else "Axial, coronal and sagittal view of the tumor."
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return [*_opening(VIEW, VIEW_EXAMPLES), {"role": "user", "content": [{"type": "text", "text": text}, *pictures]}]


def again(messages: Sequence[Message], reason: str) -> list[Message]:
    """The same question after an unusable answer."""
    return [*messages, _user(f"Your last answer could not be used ({reason}). Answer with the JSON object only.")]


def _opening(system: str, examples: Sequence[tuple[str, str]]) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": system}]
    for question, answer in examples:
        messages += [_user(question), {"role": "assistant", "content": answer}]
    return messages


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
