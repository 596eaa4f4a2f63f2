"""Write the shipped description bank, nnunet_textomorph/data/descriptions.jsonl.

python benchmarks/description_bank.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import describe, rephrase

OUT = Path(__file__).resolve().parents[1] / "nnunet_textomorph" / "data" / "descriptions.jsonl"
VARIANTS = 6
SOLID = [
    {"attenuation": a, "texture": t, "margin": m}
    for a, t, m in itertools.product(
        ("hypo", "hyper"), ("homogeneous", "heterogeneous"), ("well-defined", "ill-defined")
    )
]
FAINT = [{"attenuation": "iso", "texture": "heterogeneous", "margin": m} for m in ("well-defined", "ill-defined")]
OTHERS = [
    {"attenuation": "hypo", "texture": "homogeneous", "margin": "well-defined", "composition": "cystic"},
    {"attenuation": "hypo", "texture": "heterogeneous", "margin": "ill-defined", "composition": "necrotic"},
    {"attenuation": "hypo", "texture": "heterogeneous", "margin": "well-defined", "composition": "mixed"},
    {"attenuation": "hyper", "texture": "heterogeneous", "margin": "well-defined", "composition": "calcified"},
]
PANCREAS = [
    *(
        {"attenuation": "hypo", "texture": t, "margin": "ill-defined", "pathology": "PDAC"}
        for t in ("homogeneous", "heterogeneous")
    ),
    {"attenuation": "iso", "texture": "heterogeneous", "margin": "ill-defined", "pathology": "PDAC"},
    *(
        {"attenuation": "hyper", "texture": t, "margin": "well-defined", "pathology": "PNET"}
        for t in ("homogeneous", "heterogeneous")
    ),
    {
        "attenuation": "hypo",
        "texture": "homogeneous",
        "margin": "well-defined",
        "composition": "cystic",
        "pathology": "cyst",
    },
    {
        "attenuation": "hypo",
        "texture": "heterogeneous",
        "margin": "well-defined",
        "composition": "mixed",
        "pathology": "cyst",
    },
]
BANK = {
    "liver": SOLID + FAINT + OTHERS,
    "kidney": SOLID + FAINT + OTHERS,
    "soft tissue": SOLID + FAINT + OTHERS,
    "pancreas": PANCREAS,
    "any": SOLID + FAINT + OTHERS,
}


def main() -> None:
    rng = np.random.default_rng(0)
    lines = []
    for organ, looks in BANK.items():
        for values in looks:
            d = Descriptors.model_validate({**values, "organ": None if organ == "any" else organ})
            variants: list[str] = []
            while len(variants) < VARIANTS:
                text = rephrase(d, rng)
                variants += [text] if text not in variants else []
            content = {
                "organ": organ,
                "descriptors": d.model_dump(exclude_none=True),
                "description": describe(d),
                "variants": variants,
            }
            lines.append(json.dumps(content))
    OUT.write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} descriptions in {OUT}")


if __name__ == "__main__":
    main()
