"""What the contrastive term's features tell of a tumor, and how far apart texts bring estimates at each noise level.

    python benchmarks/default_training_data.py --data ../shared/data/Dataset901_SoftTissueSarcoma --out DATA \
        --per-real-case 24 --phantoms 8 --per-phantom 8
    python benchmarks/contrast_features.py --data DATA/manifest.jsonl --cache CACHE

The first table: how well linear discriminants tell each descriptor of real latents from pooled features
(cross-validated; balanced accuracy), of the latents and of the decoder's first stage. The second, of the shipped
generator in windows of its training data: distances between one-step estimates under similar and under different texts,
and that of an estimate to the truth, against the distance that the training set's tumors have.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score
from torch import Tensor

from nnunet_textomorph.contrast_texts import contrast_texts
from nnunet_textomorph.generator.config import ContrastConfig
from nnunet_textomorph.generator.contrast import (
    Contrast,
    Features,
    autoencoder_features,
    feature_distance,
    noise_weight,
    tumor_features,
)
from nnunet_textomorph.generator.crops import cache_crops
from nnunet_textomorph.generator.diffusion import estimate_z0, noise_schedule
from nnunet_textomorph.generator.generator import Generator
from nnunet_textomorph.generator.latents import Example, cache_latents
from nnunet_textomorph.generator.manifest import ManifestLine, read_manifest

FIELDS = ("attenuation", "texture", "margin")
POOLED = {"mean": [0], "mean, SD": [0, 1], "mean, SD, around": [0, 1, 2]}
TIMESTEPS = (5, 20, 40, 60, 80, 100, 120, 140, 160, 180, 199)


def accuracies(features: Features, examples: list[Example], lines: dict[str, ManifestLine]) -> None:
    with torch.no_grad():
        found = [
            tumor_features(features, *(x[None].float() for x in (e.z, e.z_healthy, e.mask)))[0].chunk(3)
            for e in examples
        ]
    for name, parts in POOLED.items():
        x = np.stack([torch.cat([pooled[k] for k in parts]).numpy() for pooled in found])
        x = (x - x.mean(0)) / (x.std(0) + 1e-6)
        scores = []
        for field in FIELDS:
            rows = [i for i, e in enumerate(examples) if lines[e.line].descriptors.get(field)]
            truth = [str(lines[examples[i].line].descriptors[field]) for i in rows]
            machine = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
            score = cross_val_score(machine, x[rows], truth, cv=5, scoring="balanced_accuracy").mean()
            scores.append(f"{field} {100 * score:.0f} %")
        print(f"  {name:18s} {x.shape[1]:4d} features: {', '.join(scores)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a manifest")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for crops and latents")
    parser.add_argument("--windows", type=int, default=48, help="of the second table")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    generator = Generator.load()
    autoencoder, denoiser = generator.networks.autoencoder, generator.networks.denoiser
    manifest = read_manifest(args.data)
    lines = {line.id: line for line in manifest}
    crops = cache_crops(manifest, args.cache / "crops", generator.domain)
    noisy = {line.id for line in manifest if line.noisy}
    examples = cache_latents(crops, noisy, autoencoder, generator.domain, args.cache, views=1, seed=0)

    def first_stage(z: Tensor) -> Tensor:
        z = z * autoencoder.latent_sd.view(1, -1, 1, 1, 1) + autoencoder.latent_mean.view(1, -1, 1, 1, 1)
        for block in autoencoder.vqvae.decoder.blocks[: 1 + generator.config.autoencoder.residual_layers]:
            z = block(z)
        return z

    for name, features in (("latents", autoencoder_features), ("the decoder's first stage", first_stage)):
        print(f"{name}, {len(examples)} windows")
        accuracies(features, examples, lines)

    schedule, texts = noise_schedule(generator.config.diffusion), contrast_texts(args.data)
    weights = noise_weight(schedule)
    contrast = Contrast.of_training_set(ContrastConfig(weight=1.0, share=1.0), texts, schedule, examples, lines)
    print("tumors that differ in one descriptor lie apart by")
    print("  " + ", ".join(f"{'/'.join(key)} {value:.2f}" for key, value in sorted(contrast.distances.items())))

    rng = np.random.default_rng(0)
    side = min(e.z.shape[-1] for e in examples)
    chosen = [e for e in examples if e.z.shape[-1] == side][: args.windows]
    own = [str(rng.choice(lines[e.line].texts)) for e in chosen]
    middle = torch.full((len(own),), 100)
    organs = [lines[e.line].organ for e in chosen]
    pairs = contrast.draw(own, organs, middle, [True] * len(own), generator.text_encoder, rng)
    assert pairs is not None
    z, z_healthy, z_plain, mask = (
        torch.stack([getattr(e, name) for e in chosen]).float() for name in ("z", "z_healthy", "z_plain", "mask")
    )
    z0, plain = denoiser.added(z, z_healthy), denoiser.added(z_plain, z_healthy)
    noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(0))
    tokens, token_mask = generator.text_encoder(own)
    print(f"{int(pairs.similar.sum())} similar and {int((~pairs.similar).sum())} different texts of {len(own)} windows")
    print("  t    s     weight  similar  different  to the truth  different / tumors' distance")
    for t in TIMESTEPS:
        at = torch.full((len(own),), t)
        z_t = schedule.add_noise(z0, noise, at)

        def features_of(rows: Tensor, tokens: Tensor, mask_: Tensor, at: Tensor = at, z_t: Tensor = z_t) -> Tensor:
            given = (z_t[rows], at[rows], z_healthy[rows], plain[rows], mask[rows])
            predicted = denoiser(*given, *denoiser.adapter(tokens, mask_))
            made = denoiser.with_tumor(estimate_z0(schedule, z_t[rows], predicted, at[rows]), z_healthy[rows])
            return tumor_features(autoencoder_features, made, z_healthy[rows], mask[rows]) / contrast.sd

        with torch.no_grad():
            ours = features_of(torch.arange(len(own)), tokens, token_mask)
            others = torch.cat(
                [
                    features_of(pairs.rows[i], pairs.tokens[i], pairs.token_mask[i])
                    for i in torch.arange(len(pairs.rows)).split(16)
                ]
            )
            truth = tumor_features(autoencoder_features, z, z_healthy, mask) / contrast.sd
        distance, same = feature_distance(ours[pairs.rows], others), pairs.similar
        ratio = distance[~same].mean() / pairs.apart[~same].mean()
        print(
            f"  {t:3d}  {float(schedule.alphas_cumprod[t].sqrt()):.2f}  {float(weights[t]):.2f}    "
            f"{float(distance[same].mean()):.2f}     {float(distance[~same].mean()):.2f}       "
            f"{float(feature_distance(ours, truth).mean()):.2f}          {float(ratio):.2f}"
        )


if __name__ == "__main__":
    main()
