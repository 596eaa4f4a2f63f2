"""How often the offline describer agrees with the phantom's truth. Figures are from a phantom, not from patients.

    python benchmarks/describer_accuracy.py [--cases 40] [--seed 901]

The thresholds in ``llm_reports/describer.py`` may be tuned on seed 900; report on another seed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

from nnunet_textomorph.llm_reports.describer import SMALL_MM, describe_lesion, measure
from nnunet_textomorph.phantom import phantom_case


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=40, help="cases per organ")
    parser.add_argument("--seed", type=int, default=901)
    parser.add_argument("--organs", nargs="+", default=["liver", "pancreas", "kidney"])
    parser.add_argument("--verbose", action="store_true", help="print the measurements of every lesion")
    args = parser.parse_args()
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for organ in args.organs:
        for index in range(args.cases):
            case = phantom_case(organ, args.seed, index)
            host = (case.labels > 0) & (case.instances == 0)
            for number, lesion in enumerate(case.lesions):
                mask = case.instances == number + 1
                found = describe_lesion(case.ct_hu, mask, host, case.spacing)
                truth = lesion.descriptors
                size = "under 10 mm" if (found.size_mm or 0) < SMALL_MM else "10 mm or more"
                for field in ("attenuation", "texture", "margin", "composition"):
                    said = getattr(found, field)
                    if said is None:
                        right[size, f"{field} not judged"].append(True)
                    elif getattr(truth, field) is not None:
                        right[size, field].append(said == getattr(truth, field))
                if args.verbose:
                    m = measure(case.ct_hu, mask, host, case.spacing)
                    values = " ".join(f"{k}={v:.1f}" for k, v in vars(m).items())
                    print(organ, truth.attenuation, truth.texture, truth.margin, truth.composition, values)
    for (size, field), hits in sorted(right.items()):
        print(f"{size:14s} {field:24s} {100 * np.mean(hits):5.1f} %  of {len(hits)} lesions")


if __name__ == "__main__":
    main()
