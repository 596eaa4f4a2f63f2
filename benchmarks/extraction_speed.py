"""How fast the offline extractor is: reports and descriptions per second, one process, on generated phantom reports.

python benchmarks/extraction_speed.py [--reports 2000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.extraction import extract_lesions, read_description
from nnunet_textomorph.llm_reports.phrasing import rephrase
from nnunet_textomorph.phantom_reports import ADJECTIVES, WORDS, Finding, write_report

LOCATIONS = {
    "liver": [f"segment {i}" for i in range(2, 9)],
    "pancreas": ["head", "neck", "body", "tail"],
    "kidney": [f"{side} kidney, {pole} pole" for side in ("left", "right") for pole in ("upper", "lower")],
}


def finding(organ: str, location: str, rng: np.random.Generator) -> Finding:
    """A lesion with random descriptors."""
    values = {name: str(rng.choice(list(WORDS[name]))) for name in (*ADJECTIVES, "enhancement", "pathology")}
    size_mm = float(rng.integers(4, 90))
    return Finding(Descriptors.model_validate({"organ": organ, "size_mm": size_mm, **values}), location)


def reports(n: int, rng: np.random.Generator) -> list[str]:
    """Reports of patients with up to three lesions in one organ."""
    texts = []
    for _ in range(n):
        organ = str(rng.choice(list(LOCATIONS)))
        places = rng.permutation(LOCATIONS[organ])[: rng.integers(0, 4)]
        texts.append(write_report(organ, [finding(organ, str(place), rng) for place in places], rng)[0])
    return texts


def timed(name: str, texts: list[str], read: Callable[[str], object]) -> None:
    """Print how fast ``read`` goes through the texts, by processor time: other programs do not count."""
    start = time.process_time()
    for text in texts:
        read(text)
    seconds = time.process_time() - start
    print(f"{name}: {len(texts) / seconds:.0f} per second, {1000 * seconds / len(texts):.2f} ms each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=2000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    timed("extract_lesions", reports(args.reports, rng), extract_lesions)
    descriptions = [rephrase(finding("liver", "", rng).descriptors, rng) for _ in range(args.reports)]
    timed("read_description", descriptions, read_description)


if __name__ == "__main__":
    main()
