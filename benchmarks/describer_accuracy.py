"""How often the offline describer agrees with the phantom's truth. Figures are from a phantom, not from patients.

    python benchmarks/describer_accuracy.py [--cases 40] [--seeds 901 902]

The thresholds in ``llm_reports/describer.py`` may be tuned on seed 900; report on other seeds. The margin of an
isoattenuating lesion cannot be seen and does not count; one that the describer leaves open counts as not judged.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict

import numpy as np
from tqdm import tqdm

from nnunet_textomorph.llm_reports.describer import SMALL_MM, describe_lesion, measure
from nnunet_textomorph.phantom import phantom_case


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=40, help="cases per organ")
    parser.add_argument("--seeds", type=int, nargs="+", default=[901, 902])
    parser.add_argument("--organs", nargs="+", default=["liver", "pancreas", "kidney"])
    parser.add_argument("--verbose", action="store_true", help="print the measurements of every lesion")
    args = parser.parse_args()
    right: dict[tuple[str, str], list[bool | None]] = defaultdict(list)
    for seed, organ, index in tqdm(list(itertools.product(args.seeds, args.organs, range(args.cases)))):
        case = phantom_case(organ, seed, index)
        host = (case.labels > 0) & (case.instances == 0)
        for number, lesion in enumerate(case.lesions):
            mask = case.instances == number + 1
            found = describe_lesion(case.ct_hu, mask, host, case.spacing)
            truth = lesion.descriptors
            size = "under 10 mm" if (found.size_mm or 0) < SMALL_MM else "10 mm or more"
            for field in ("attenuation", "texture", "margin", "composition"):
                said, drawn = getattr(found, field), getattr(truth, field)
                if drawn is not None and not (field == "margin" and truth.attenuation == "iso"):
                    right[size, field].append(None if said is None else said == drawn)
            if args.verbose:
                m = measure(case.ct_hu, mask, host, case.spacing)
                values = " ".join(f"{k}={v:.1f}" for k, v in vars(m).items())
                print(organ, truth.attenuation, truth.texture, truth.margin, truth.composition, values)
    for (size, field), hits in sorted(right.items()):
        judged = [hit for hit in hits if hit is not None]
        share = f"{100 * np.mean(judged):5.1f} % right of {len(judged)} judged" if judged else "  none judged"
        print(f"{size:14s} {field:12s} {share}; {len(hits) - len(judged)} of {len(hits)} not judged")


if __name__ == "__main__":
    main()
