"""What the preparation of texts and the contrastive term do: the same generator, trained on other texts.

    python benchmarks/default_training_data.py --data ../shared/data/Dataset901_SoftTissueSarcoma --out DATA
    python benchmarks/ablations.py --data DATA/manifest.jsonl --out DIR [--lines 800] [--steps 300] [--arms NAME ...]

One command trains every arm and writes DIR/table.md; given again it goes on where it was. All arms see the same crops
for as many steps, from the same seed, with the shipped generator's autoencoder and an untrained denoiser; latents are
encoded once. Of each lesion a report is written (``phantom_reports``, fragments that leave out part of what is known
and speak of other organs, short enough for the text encoder), and that is all the arms know of its looks:

    reported            the report as it is (the paper without section III-A)
    reported, taught    the same, and the descriptors that the offline rules read in it teach the text adapter
    extracted           the description of what the rules read in it, and those descriptors
    variants            that description and wordings of it, and those descriptors (section III-A)
    contrast            the same, and the term of Eq. 2 (section III-B)

Measured in CT and phantoms that no training saw (``unseen.py``), the same for all arms:

    text control        share of implants whose attenuation, texture and margin are as asked, by the rulers of
                        ``text_control.py``, for the canonical description and for prompts of another writer
    diversity           same context, mask and text, other noise: SD over the noise
    distance of texts   same context, mask and noise, other texts: mean distance over all pairs of twelve looks
    distance to drawn   from the tumor to one drawn there with the descriptors that were asked for

The last three are in features of the frozen autoencoder, pooled as Eq. 2 has it and divided by their SD over drawn
lesions; diversity in HU as well. The row ``drawn`` has the same figures of drawn lesions, those that a perfect
generator would have.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from solver_curve import draw_case, right
from text_control import FIELDS, asked_for, measure
from tqdm import tqdm
from unseen import Context, contexts, place

from nnunet_textomorph.contrast_texts import contrast_texts
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.autoencoder import normalize
from nnunet_textomorph.generator.config import ContrastConfig, Domain, Sampling
from nnunet_textomorph.generator.contrast import autoencoder_features, feature_distance, tumor_features
from nnunet_textomorph.generator.crops import without_noise
from nnunet_textomorph.generator.denoiser import latent_mask
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER
from nnunet_textomorph.generator.generator import healthy_regions, sharpened
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.train_diffusion import train_diffusion
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.extraction import extract_lesions
from nnunet_textomorph.llm_reports.phrasing import describe
from nnunet_textomorph.llm_reports.variants import vary_offline
from nnunet_textomorph.phantom_reports import Finding, write_report

MOST_WORDS = 40  # of a report: the text encoder reads 64 tokens
PLACES = {
    "liver": tuple(f"segment {n}" for n in range(2, 9)),
    "pancreas": ("head", "body", "tail"),
    "kidney": ("left kidney, upper pole", "left kidney, lower pole", "right kidney, upper pole", "right kidney"),
    "soft tissue": ("soft tissue of the left thigh", "soft tissue of the right thigh", "soft tissue of the left calf"),
}
SMALL_MM = (14.0, 22.0)  # of the grid of looks: a region of 48 mm
CONTROL_MM = (20.0, 28.0)  # of the implants whose text control is judged: mostly regions of 48 mm too
PROMPTS = ("canonical", "fresh")

Line = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """``texts``: of :func:`texts_of`; ``taught``: whether the manifest tells the descriptors that were read."""

    texts: str
    taught: bool
    contrast: bool = False


ARMS = {
    "reported": Arm("reported", taught=False),
    "extracted": Arm("extracted", taught=True),
    "variants": Arm("variants", taught=True),
    "contrast": Arm("variants", taught=True, contrast=True),
    "reported, taught": Arm("reported", taught=True),
}


def chosen_lines(manifest: Path, number: int, seed: int) -> list[Line]:
    """Some of a manifest's lines, in random order, with absolute paths."""
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    order = np.random.default_rng([seed, 11]).permutation(len(lines))[:number]
    paths = ("image", "mask")
    return [{**lines[i], **{p: str(manifest.parent.resolve() / lines[i][p]) for p in paths}} for i in order]


def reported(line: Line, rng: np.random.Generator) -> tuple[str, Descriptors]:
    """A report of a line's lesion, and what the offline rules read in it: at least the organ."""
    d, organ = Descriptors.model_validate(line["descriptors"]), line["organ"]
    report = ""
    while not report or len(report.split()) > MOST_WORDS:
        report, _ = write_report(organ, [Finding(d, str(rng.choice(PLACES[organ])))], rng)
    found = [lesion.descriptors for lesion in extract_lesions(report, organ) if not lesion.uncertain]
    return report, (found or [Descriptors(organ=organ)])[0]


def texts_of(kind: str, report: str, read: Descriptors, variants: int, seed: int) -> list[str]:
    if kind == "reported":
        return [report]
    described = [describe(read)]
    return described if kind == "extracted" else described + vary_offline(read, variants, seed=seed, encoder=None)


def arm_lines(arm: Arm, lines: Sequence[Line], variants: int, seed: int) -> Iterator[Line]:
    """The arm's manifest. Every arm reads the same report of a lesion."""
    for number, line in enumerate(lines):
        report, read = reported(line, np.random.default_rng([seed, 12, number]))
        yield {
            **line,
            "texts": texts_of(arm.texts, report, read, variants, seed + number),
            "descriptors": read.model_dump(exclude_none=True) if arm.taught else {},
        }


def train(name: str, lines: Sequence[Line], args: argparse.Namespace) -> None:
    """Train an arm, or go on with it."""
    arm, folder = ARMS[name], args.out / name.replace(", ", "-")
    manifest = args.out / f"{folder.name}.jsonl"
    given = [json.dumps(line) for line in arm_lines(arm, lines, args.variants, args.seed)]
    manifest.write_text("\n".join(given) + "\n", encoding="utf-8")
    contrast = ContrastConfig(weight=args.contrast_weight) if arm.contrast else None
    train_diffusion(
        manifest,
        DEFAULT_FOLDER,
        folder,
        steps=args.steps,
        batch=args.batch,
        learning_rate=args.learning_rate,
        text_steps=args.text_steps,
        seed=args.seed,
        resume=(folder / "checkpoint").exists(),
        cache=args.out / "cache",
        mixed_precision=args.mixed_precision,
        sheet_every=args.steps,
        contrast=contrast,
        contrast_texts=contrast_texts(manifest, progress=False) if contrast else None,
    )


def control(generator: Generator, sampling: Sampling, implants: int, places: Sequence[Context]) -> Iterator[Line]:
    """What is measured of each implant, by prompt: canonical, and of another writer."""
    for index in tqdm(range(implants), desc="text control"):
        case = draw_case(index, places, "fresh", 0, CONTROL_MM)
        context = case.context
        for prompt, text in zip(PROMPTS, (describe(case.asked), case.text), strict=True):
            made = implant(
                context.ct_hu,
                context.spacing,
                case.mask,
                text,
                generator,
                np.random.default_rng(case.noise_seed),
                host_mask=context.host,
                **sampling.model_dump(),
            ).ct_hu
            found = measure(context.ct_hu, made, case.mask, context.host, context.spacing)
            asked = {field: getattr(case.asked, field) for field in FIELDS}
            yield {"prompt": prompt, "source": context.source, **asked, **asdict(found)}


@dataclass(frozen=True)
class Region:
    """What an implant hands to its generator, at the generator's spacing: (D, H, W)."""

    ct_hu: np.ndarray
    mask: np.ndarray
    host: np.ndarray
    organ: str


class _Recorder:
    """In a generator's place: keeps the region that it was handed."""

    domain, region_multiple = Domain(), 16

    def synthesize(
        self, context_hu: np.ndarray, mask: np.ndarray, texts: Sequence[str], *, host: np.ndarray, **_settings: object
    ) -> np.ndarray:
        self.seen = (context_hu[0], mask[0], host[0])
        return context_hu.copy()


def regions(number: int, places: Sequence[Context], seed: int = 1) -> list[Region]:
    """Regions of 48 mm for small tumors, from ``number`` contexts spread over ``places``."""
    found = []
    for i in range(number):
        context, rng = places[i * len(places) // number], np.random.default_rng([seed, i])
        mask = None
        while mask is None:
            mask = place(context, float(rng.uniform(*SMALL_MM)), rng)
        recorder = _Recorder()
        implant(context.ct_hu, context.spacing, mask, "mass", recorder, rng, host_mask=context.host)
        found.append(Region(*recorder.seen, context.organ))
    return found


@torch.inference_mode()
def features_of(generator: Generator, images: np.ndarray, healthy: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """Pooled features (B, F) of what tumors add: images and healthy contexts in HU and masks, (B, D, H, W)."""
    both = normalize(torch.from_numpy(np.concatenate([images, healthy])).float(), generator.domain)[:, None]
    z, z_healthy = generator.networks.autoencoder.encode(both).chunk(2)
    share = latent_mask(torch.from_numpy(mask).float()[:, None], generator.domain.latent_factor)
    return tumor_features(autoencoder_features, z, z_healthy, share)


def grid(
    generator: Generator, sampling: Sampling | None, places: Sequence[Region], seeds: int
) -> tuple[torch.Tensor, float]:
    """Features (regions, looks, seeds, F) of tumors, and their voxels' SD over the noise in HU.

    ``sampling`` None: of drawn lesions, encoded and decoded as a tumor of the generator is.
    """
    features, variances = [], []
    for number, region in enumerate(tqdm(places, desc="looks")):
        looks = asked_for(12, [region.organ] * 12, np.random.default_rng(0))
        mask = np.repeat(region.mask[None], len(looks), 0)
        healthy = healthy_regions(region.ct_hu[None], region.mask[None], region.host[None], generator.domain)
        many = np.repeat(healthy, len(looks), 0)
        images = []
        for seed in range(seeds):
            if sampling is None:
                painted = np.stack([drawn(region, d, [number, k, seed]) for k, d in enumerate(looks)])
                images.append(autoencoded(generator, painted))
            else:
                noise = [1000 * number + seed] * len(looks)  # the same for all texts
                made = generator.sampled(many, mask, [describe(d) for d in looks], noise, sampling)
                images.append(sharpened(made, generator.domain))
        features.append(torch.stack([features_of(generator, of, many, mask) for of in images], 1))
        variances.append(np.stack(images)[..., region.mask].var(0, ddof=1).mean())
    return torch.stack(features), float(np.sqrt(np.mean(variances)))


def drawn(region: Region, asked: Descriptors, seed: Sequence[int]) -> np.ndarray:
    smooth = without_noise(region.ct_hu.astype(np.float32), Domain())
    solid = asked.model_copy(update={"composition": "solid"})
    rng = np.random.default_rng([7, *seed])
    return render_lesion(smooth, region.mask, (1.0, 1.0, 1.0), solid, rng, noise_mm=0.0, host=region.host)


@torch.inference_mode()
def autoencoded(generator: Generator, images: np.ndarray) -> np.ndarray:
    """HU (B, D, H, W) as the autoencoder gives them back."""
    given = normalize(torch.from_numpy(images).float(), generator.domain)[:, None]
    return generator.decoded(generator.networks.autoencoder.encode(given))


def distances(features: torch.Tensor, truth: torch.Tensor, sd: torch.Tensor) -> dict[str, float]:
    """Diversity, distance of texts and distance to drawn lesions of (regions, looks, seeds, F), in units of ``sd``.

    ``truth``: drawn lesions' features; against themselves, those of the next seed are taken.
    """
    own, other = features / sd, truth / sd
    if features is truth:
        other = other.roll(1, 2)
    apart = [
        feature_distance(own[:, a].flatten(0, 1), own[:, b].flatten(0, 1))
        for a, b in itertools.combinations(range(own.shape[1]), 2)
    ]
    return {
        "diversity": float(own.var(2).mean().sqrt()),
        "texts": float(torch.cat(apart).mean()),
        "to_drawn": float(feature_distance(own.flatten(0, 2), other.flatten(0, 2)).mean()),
    }


def accuracy(rows: Sequence[Line], field: str, prompt: str) -> tuple[float, int]:
    """Per cent right, and of how many."""
    judged = [right(row, field) for row in rows if row["prompt"] == prompt]
    hits = [bool(hit) for hit in judged if hit is not None]
    return 100 * float(np.mean(hits)), len(hits)


def table(results: dict[str, Line]) -> str:
    """Markdown: a row per arm."""
    control = [f"{field}, {prompt}" for prompt in PROMPTS for field in FIELDS]
    named = ["SD over noise, HU", "SD over noise", "distance of texts", "distance to drawn"]
    lines = ["| arm | " + " | ".join([*control, *named]) + " |", "|---" * (len(control) + len(named) + 1) + "|"]
    for name, found in results.items():
        cells = [name]
        for prompt, field in itertools.product(PROMPTS, FIELDS):
            rows = found.get("rows")
            cells.append("{:.0f} % of {}".format(*accuracy(rows, field, prompt)) if rows else "")
        cells += [f"{found['noise_hu']:.1f}", *(f"{found[key]:.2f}" for key in ("diversity", "texts", "to_drawn"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a manifest with descriptors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--lines", type=int, default=800, help="of the manifest")
    parser.add_argument("--variants", type=int, default=7, help="of a description, beside itself")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--text-steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--contrast-weight", type=float, default=0.1)
    parser.add_argument("--mixed-precision", choices=["no", "bf16"], default="no")
    parser.add_argument("--implants", type=int, default=36, help="of each of the two prompts")
    parser.add_argument("--regions", type=int, default=4)
    parser.add_argument("--noises", type=int, default=2, help="per region and look")
    parser.add_argument("--sampling-steps", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    lines = chosen_lines(args.data, args.lines, args.seed)
    places = contexts()
    small = regions(args.regions, places)
    truth, truth_hu = grid(Generator.load(), None, small, args.noises)
    sd = truth.flatten(0, 2).std(0)
    results: dict[str, Line] = {"drawn": {"noise_hu": truth_hu, **distances(truth, truth, sd)}}
    for name in args.arms:
        kept = args.out / f"{name.replace(', ', '-')}.json"
        if not kept.is_file():
            train(name, lines, args)
            generator = Generator.load(args.out / name.replace(", ", "-"))
            generator.bfloat16 = args.mixed_precision == "bf16"
            sampling = generator.config.sampling_of(steps=args.sampling_steps)
            features, noise_hu = grid(generator, sampling, small, args.noises)
            found: Line = {"noise_hu": noise_hu, **distances(features, truth, sd)}
            found["rows"] = list(control(generator, sampling, args.implants, places))
            kept.write_text(json.dumps(found), encoding="utf-8")
        results[name] = json.loads(kept.read_text(encoding="utf-8"))
        (args.out / "table.md").write_text(table(results), encoding="utf-8")
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
