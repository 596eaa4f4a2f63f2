"""A training step with contrastive learning against one without, and against the paper's way, in one run.

    python benchmarks/contrast_step_time.py [--batch 8] [--share 0.25] [--steps 8] [--repeats 5] [--threads 2] [--tiny]

Both steps are measured as ``train_diffusion`` runs them, without and with the term in turns, on drawn balls in windows
of 48 mm, with the shipped generator's networks (``--tiny``: narrower ones instead). The paper makes the tumors that
Eq. 2 compares by sampled loops of 200 calls of the denoiser, two (T_i, T_j) or three (T'_i too), without gradients.
Here one such call is measured, on the windows that ours contrasts and on the whole batch, and multiplied: the loops
themselves are not run. Every window of ours gets a similar and a different text: as many tumors as three loops make.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from nnunet_textomorph.generator.config import ContrastConfig, DenoiserConfig
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER
from nnunet_textomorph.generator.generator import Generator
from nnunet_textomorph.generator.sampling import sample_latents
from nnunet_textomorph.generator.train_diffusion import train_diffusion
from nnunet_textomorph.generator.volumes import Volume, write_volume

LOOP = 200  # calls of the denoiser
SIDE = 12  # latent voxels of a window
CASES, RADIUS_MM = 8, 8
TEXTS = {
    "hypo": ["A hypoattenuating mass in the liver.", "A hepatic lesion of low density."],
    "hyper": ["A hyperattenuating mass in the liver.", "A hepatic lesion of high density."],
}


def write_balls(folder: Path) -> Path:
    """A manifest of noise with dark and bright balls in it."""
    lines = []
    for number in range(CASES):
        attenuation, rng = list(TEXTS)[number % 2], np.random.default_rng(number)
        z, y, x = np.ogrid[:64, :64, :64]
        ball = (z - 32) ** 2 + (y - 32) ** 2 + (x - 32) ** 2 < RADIUS_MM**2
        ct = rng.normal(60.0, 12.0, ball.shape) + ball * (-45.0 if attenuation == "hypo" else 55.0)
        volume = Volume(ct.astype(np.float32), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
        write_volume(folder / f"ct{number}.nii", volume)
        write_volume(folder / f"mask{number}.nii", volume.with_array(ball.astype(np.int16)))
        lines.append(
            {
                "id": str(number),
                "image": f"ct{number}.nii",
                "mask": f"mask{number}.nii",
                "tumor_label": 1,
                "organ": "liver",
                "texts": TEXTS[attenuation],
                "descriptors": {"attenuation": attenuation},
            }
        )
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "manifest.jsonl"


def step_seconds(manifest: Path, out: Path, contrast: ContrastConfig | None, args: argparse.Namespace) -> float:
    """Of a training step, but of the first two; median."""
    ends: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    layout = DenoiserConfig(channels=(32, 32), attention=(False, True)) if args.tiny else None
    try:
        train_diffusion(
            manifest,
            DEFAULT_FOLDER,
            out,
            steps=args.steps + 2,
            batch=args.batch,
            text_steps=0,
            checkpoint_every=10**9,
            cache=manifest.parent,
            denoiser=layout,
            contrast=contrast,
            progress=False,
        )
    finally:
        hook.remove()
    return float(np.median(np.diff(ends)[1:]))


def call_seconds(generator: Generator, windows: int) -> float:
    """One call of the denoiser, with an ancestral step, without gradients and without guidance."""
    config, denoiser = generator.config, generator.networks.denoiser
    shape = (windows, config.autoencoder.latent_channels, SIDE, SIDE, SIDE)
    healthy, plain, noise = torch.randn(3, *shape).unbind()
    mask = torch.zeros(windows, 1, SIDE, SIDE, SIDE)
    tokens, token_mask = generator.text_encoder(TEXTS["hypo"][:1] * windows)
    source = torch.Generator().manual_seed(0)

    def seconds(steps: int) -> float:
        start = time.perf_counter()
        given = (healthy, plain, mask, tokens, token_mask, noise)
        sample_latents(denoiser, config.diffusion, *given, source=source, solver="ddpm", steps=steps, guidance=1.0)
        return time.perf_counter() - start

    seconds(2)
    return float(np.median([(seconds(9) - seconds(1)) / 8 for _ in range(3)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=8, help="measured, of each training")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    contrast = ContrastConfig(weight=0.1, share=args.share)
    chosen = max(1, round(args.share * args.batch))
    seconds: dict[str | int, list[float]] = {"without": [], "with": [], chosen: [], args.batch: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_balls(folder)
        for repeat in range(args.repeats):  # in turns: what else the machine does changes
            off, on = folder / f"without{repeat}", folder / f"with{repeat}"
            seconds["without"].append(step_seconds(manifest, off, None, args))
            seconds["with"].append(step_seconds(manifest, on, contrast, args))
            generator = Generator.load(on)
            for windows in dict.fromkeys((chosen, args.batch)):
                seconds[windows].append(call_seconds(generator, windows))
    without, ours = np.array(seconds["without"]), np.array(seconds["with"])
    print(f"{args.threads} threads, batch {args.batch}, 48 mm, {args.repeats} turns of {args.steps} steps, medians")
    print(f"without contrast: {np.median(without):.3f} s a step")
    times = np.median(ours / without)
    print(f"with contrast, {chosen} of {args.batch} windows: {np.median(ours):.3f} s, {times:.2f} times as long")
    for windows in dict.fromkeys((chosen, args.batch)):
        call = np.array(seconds[windows])
        for loops in (2, 3):
            paper = without + loops * LOOP * call
            print(
                f"the paper's way, {loops} loops of {LOOP} calls on {windows} windows (extrapolated from "
                f"{np.median(call):.3f} s a call): {np.median(paper):.1f} s, {np.median(paper / without):.0f} times as "
                f"long, {np.median(paper / ours):.0f} times ours"
            )


if __name__ == "__main__":
    main()
