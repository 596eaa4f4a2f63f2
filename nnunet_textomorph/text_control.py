"""Whether a sampled tumor shows what its text says: read by llm_reports' rules, measured by its describer."""

from __future__ import annotations

import numpy as np

from nnunet_textomorph.contrast_texts import said_of
from nnunet_textomorph.generator.crops import HOST_HU
from nnunet_textomorph.generator.manifest import ManifestLine
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.llm_reports.describer import describe_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.errors import ReportError
from nnunet_textomorph.llm_reports.extraction import read_description

MEASURED = {
    "attenuation": ("hypo", "iso", "hyper"),
    "texture": ("homogeneous", "heterogeneous"),
    "margin": ("well-defined", "ill-defined"),
}
SEEN_COMPOSITIONS = ("necrotic", "calcified")  # not cystic, a level in HU: a training window is brightened or darkened


def obeys(ct_hu: np.ndarray, mask: np.ndarray, spacing: Spacing, text: str, line: ManifestLine) -> dict[str, bool]:
    """Attenuation, texture and margin, as far as the text says them and they can be measured: a ``held_out.Judge``.

    A training window has no organ mask: the host is what looks like soft tissue.
    """
    return _verdicts(_measured(ct_hu, mask, spacing), said_of(line, text)[0])


def obeys_in_composition_too(
    ct_hu: np.ndarray, mask: np.ndarray, spacing: Spacing, text: str, line: ManifestLine
) -> dict[str, bool]:
    """:func:`obeys`, and where a text says one composition: that it is seen, or for others that no calcium is.

    With it a teacher's tumors are chosen; where the window is clipped below 180 HU, calcium cannot be seen. Of tumors
    that are to be calcified texture is not judged: their specks count as texture, in drawn ones too.
    """
    found, asked = _measured(ct_hu, mask, spacing), said_of(line, text)[0]
    verdicts, said, reading = _verdicts(found, asked), asked.get("composition"), read_description(text)
    several = reading is not None and any(field == "composition" for field, _ in reading.also)  # "a calcified cyst"
    if found is not None and found.composition and said and not several:
        as_said = found.composition == said if said in SEEN_COMPOSITIONS else found.composition != "calcified"
        verdicts["composition"] = as_said
    if said == "calcified":
        verdicts.pop("texture", None)
    return verdicts


def _measured(ct_hu: np.ndarray, mask: np.ndarray, spacing: Spacing) -> Descriptors | None:
    tissue = (ct_hu > HOST_HU[0]) & (ct_hu < HOST_HU[1]) & ~mask
    try:
        return describe_lesion(ct_hu, mask, tissue if tissue.any() else ~mask, spacing)
    except ReportError:
        return None


def _verdicts(found: Descriptors | None, asked: dict[str, str]) -> dict[str, bool]:
    return {
        field: getattr(found, field) == asked[field]
        for field, values in MEASURED.items()
        if asked.get(field) in values and getattr(found, field, None) is not None
    }
