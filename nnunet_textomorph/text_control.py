"""Whether a sampled tumor shows what its text says: read by llm_reports' rules, measured by its describer."""

from __future__ import annotations

import numpy as np

from nnunet_textomorph.contrast_texts import said_of
from nnunet_textomorph.generator.crops import HOST_HU
from nnunet_textomorph.generator.manifest import ManifestLine
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.llm_reports.describer import describe_lesion
from nnunet_textomorph.llm_reports.errors import ReportError

MEASURED = {
    "attenuation": ("hypo", "iso", "hyper"),
    "texture": ("homogeneous", "heterogeneous"),
    "margin": ("well-defined", "ill-defined"),
}
# cystic is a level in HU, and a training window is brightened or darkened
COMPOSITIONS = ("necrotic", "calcified")


def obeys(ct_hu: np.ndarray, mask: np.ndarray, spacing: Spacing, text: str, line: ManifestLine) -> dict[str, bool]:
    """Attenuation, texture, margin and composition, as far as the text says them and they can be measured.

    A ``held_out.Judge``. Of compositions necrosis is judged where it is asked for, and calcium where the text says any.
    A training window has no organ mask: the host is what looks like soft tissue.
    """
    asked, _ = said_of(line, text)
    tissue = (ct_hu > HOST_HU[0]) & (ct_hu < HOST_HU[1]) & ~mask
    try:
        found = describe_lesion(ct_hu, mask, tissue if tissue.any() else ~mask, spacing)
    except ReportError:
        return {}
    verdicts = {
        field: getattr(found, field) == asked[field]
        for field, values in MEASURED.items()
        if asked.get(field) in values and getattr(found, field) is not None
    }
    said = asked.get("composition")
    if found.composition and (said in COMPOSITIONS or (said and found.composition == "calcified")):
        verdicts["composition"] = found.composition == said
    return verdicts
