"""What a report says of one lesion, as data (DESIGN: *descriptors*)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Attenuation = Literal["hypo", "iso", "hyper"]
Enhancement = Literal["hypo", "hyper", "arterial", "washout", "rim", "none"]
Texture = Literal["homogeneous", "heterogeneous"]
Composition = Literal["solid", "cystic", "mixed", "necrotic", "calcified"]
Margin = Literal["well-defined", "ill-defined"]
Pathology = Literal[
    "PDAC",
    "PNET",
    "cyst",
    "metastasis",
    "HCC",
    "hemangioma",
    "RCC",
    "sarcoma",
    "cholangiocarcinoma",
    "IPMN",
    "MCN",
    "SCA",
    "SPN",
    "pseudocyst",
    "AML",
    "oncocytoma",
    "adenoma",
    "FNH",
    "abscess",
    "UC",
    "lymphoma",
]


class Descriptors(BaseModel):
    """What is said of one lesion. Every field may be absent (``None``: nothing is said).

    ``attenuation`` is relative to the host organ; ``size_mm`` is the longest diameter in millimetres.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    organ: str | None = None
    attenuation: Attenuation | None = None
    enhancement: Enhancement | None = None
    texture: Texture | None = None
    composition: Composition | None = None
    margin: Margin | None = None
    pathology: Pathology | None = None
    size_mm: float | None = Field(default=None, gt=0, le=500)
