"""Which cosine do true rewordings reach, and what does the cosine alone let through? The threshold of an encoder.

    python benchmarks/calibrate_cosine.py [--encoder NAME_OR_FOLDER] [--plot docs/cosine_roc.png]

Pairs: ``llm_reports/data/calibration_pairs.jsonl``, written by hand; every off-topic text is also set against every
source. The threshold is the highest (in steps of 0.01) that keeps 99 % of the rewordings: the descriptors catch what is
changed, so the cosine has to catch only what has nothing to do with the source, and must not cost rewordings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import trapezoid

from nnunet_textomorph import llm_reports
from nnunet_textomorph.llm_reports.encoders import cosines, local_encoder

PAIRS = Path(llm_reports.__file__).parent / "data" / "calibration_pairs.jsonl"
KEEP = 0.99
CHANGED = ("flip", "negation", "invention", "loss")


def calibration_pairs() -> list[dict[str, str]]:
    return [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def threshold_that_keeps(rewordings: np.ndarray, share: float) -> float:
    """The highest step of 0.01 that at least ``share`` of the rewordings reach."""
    steps = np.arange(-100, 101) / 100
    return float(max(step for step in steps if (rewordings >= step).mean() >= share))


def roc(rewordings: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, share of the others kept, share of rewordings kept), from strict to lenient."""
    steps = np.concatenate([[np.inf], np.sort(np.concatenate([rewordings, others]))[::-1]])
    return steps, (others >= steps[:, None]).mean(1), (rewordings >= steps[:, None]).mean(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", help="a Hugging Face id or a folder; the packaged MiniLM by default")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    pairs = calibration_pairs()
    encoder = local_encoder(args.encoder, threshold=0.0)
    found = np.array(cosines(encoder([p["source"] for p in pairs]), encoder([p["text"] for p in pairs])))
    kinds = np.array([p["kind"] for p in pairs])
    of = {kind: found[kinds == kind] for kind in ("rewording", *CHANGED, "off-topic")}
    sources, strangers = {p["source"] for p in pairs}, {p["text"] for p in pairs if p["kind"] == "off-topic"}
    crossed = (encoder(sorted(sources)) @ encoder(sorted(strangers)).T).ravel()
    changed = np.concatenate([of[kind] for kind in CHANGED])
    others = np.concatenate([changed, of["off-topic"]])
    steps, let_through, kept = roc(of["rewording"], others)
    best = float(steps[np.argmax(kept - let_through)])
    chosen = threshold_that_keeps(of["rewording"], KEEP)
    area = float(trapezoid(kept, let_through))
    print(f"encoder {encoder.name}: threshold {chosen:.2f}; area under the ROC of the cosine alone {area:.2f}\n")
    groups = {**of, "off-topic x every source": crossed}
    print("| kept by the cosine alone | " + " | ".join(f"{kind} ({len(x)})" for kind, x in groups.items()) + " |")
    print("|---" * (len(groups) + 1) + "|")
    for name, at in (
        (f"{chosen:.2f} (chosen)", chosen),
        (f"{best:.2f} (best alone)", best),
        ("0.90 (the paper's)", 0.9),
    ):
        print(f"| from {name} | " + " | ".join(f"{100 * (x >= at).mean():.0f} %" for x in groups.values()) + " |")
    if args.plot:
        curves = {"all others": others, "one fact changed": changed, "off topic": of["off-topic"]}
        _plot(args.plot, encoder.name, of["rewording"], curves, chosen)


def _plot(path: Path, name: str, rewordings: np.ndarray, others: dict[str, np.ndarray], chosen: float) -> None:
    figure, axis = plt.subplots(figsize=(4.5, 4.5))
    for label, values in others.items():
        _, let_through, kept = roc(rewordings, values)
        axis.plot(let_through, kept, label=f"rewordings against {label}: {trapezoid(kept, let_through):.2f}")
        axis.plot((values >= chosen).mean(), (rewordings >= chosen).mean(), "k.")
    axis.plot([0, 1], [0, 1], ":", color="grey")
    axis.set(xlabel="wrong texts kept", ylabel="rewordings kept", title=f"cosine alone, {name} (dots: {chosen:.2f})")
    axis.legend(loc="center", bbox_to_anchor=(0.43, 0.75), fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
