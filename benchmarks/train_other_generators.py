"""Train the generators that other papers' methods need weights for: LeFusion and a conditional GAN.

    python benchmarks/train_other_generators.py lefusion cgan --data MANIFEST.jsonl --out RUNS --steps N

The manifest is the shipped generator's (``default_training_data.py``). ``RUNS/lefusion.safetensors`` and
``RUNS/cgan.safetensors`` belong into ``nnunet_textomorph/data``, with the ``.json`` of facts beside each. Given again
after an interruption, the command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from monai.losses import PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import ndimage
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nnunet_textomorph.cgan import CHANNELS, FARTHEST, LOOK, LOOKS, NOISES, UNIT_HU, Painter, looks, masked_out, reach
from nnunet_textomorph.generator.checkpoints import (
    check_settings,
    load_checkpoint,
    prepare_out,
    save_checkpoint,
    start_accelerator,
)
from nnunet_textomorph.generator.config import Domain
from nnunet_textomorph.generator.crops import (
    HOST_HU,
    HOST_SHELL_MM,
    SHIFT,
    SIDES,
    Crop,
    cache_crops,
    load_crop,
    random_window,
    without_noise,
)
from nnunet_textomorph.generator.diffusion import noise_schedule
from nnunet_textomorph.generator.divergence import LossWatch, watched_loss
from nnunet_textomorph.generator.files import replacing
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER
from nnunet_textomorph.generator.generator import load_autoencoder
from nnunet_textomorph.generator.latents import CachedExamples, Example, cache_latents, save_tensors, weights_hash
from nnunet_textomorph.generator.manifest import ManifestLine, digest, read_manifest
from nnunet_textomorph.generator.train_diffusion import rate
from nnunet_textomorph.generator.training_set import (
    Windows,
    draw_examples,
    noised,
    stacked,
    weighted_mean,
)
from nnunet_textomorph.lefusion import CLUSTERS, LesionDenoiser, lefusion_config, lesion_region

LICENCE = "Apache-2.0; attribution of the CT data as named under data (CC BY 3.0)"
QUANTILES = np.linspace(0.05, 0.95, 16)  # of a lesion's histogram
LOG_SECONDS = 30.0
EMA_DECAY = 0.999
GAN_EMA_DECAY = 0.995
TUMOR, HOST = 1, 2  # labels of a GAN's window
GAN_SIDES = (40, 56)  # voxels of its windows: of the smallest crops, and of the others, whose tumors are seen in part
LOOKS_OF_EACH = 4
OTHER_TISSUE = 0.6  # units from the host's level
WEIGHTS = {"adversarial": 1.0, "features": 5.0, "look": 2.0, "coarse": 5.0}  # of the painter's losses
ADVERSARIAL = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)


class Pace:
    """Says when it is time for a checkpoint, and tells the losses now and then."""

    def __init__(self, name: str, steps: int, every_s: float) -> None:
        self.name, self.steps, self.every_s = name, steps, every_s
        self.saved = self.told = time.monotonic()
        self.losses: list[dict[str, float]] = []

    def tell(self, step: int, losses: dict[str, Tensor]) -> None:
        """After ``step`` steps."""
        self.losses.append({name: float(value) for name, value in losses.items()})
        if step < self.steps and time.monotonic() - self.told < LOG_SECONDS:
            return
        means = {name: np.mean([losses[name] for losses in self.losses]) for name in losses}
        told = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        pace = (time.monotonic() - self.told) / len(self.losses)
        print(f"{self.name} {step}/{self.steps}: {told} ({pace:.2f} s a step)", flush=True)
        self.told, self.losses = time.monotonic(), []

    def due(self, step: int) -> bool:
        """Whether to save after ``step`` steps."""
        if step < self.steps and time.monotonic() - self.saved < self.every_s:
            return False
        self.saved = time.monotonic()
        return True


class Run:
    """A training of ``name`` in ``out``: averaged weights, checkpoints, the files beside ``out``, and the log.

    ``facts``: what a resumed run must share with its beginning.
    """

    def __init__(self, name: str, out: Path, facts: dict[str, Any], args: argparse.Namespace) -> None:
        self.name, self.out, self.facts, self.args = name, out, facts, args
        self.resumed = prepare_out(out, True, facts)
        self.accelerator = start_accelerator(out, args.mixed_precision)
        self.watch = LossWatch(out, lambda losses: losses)
        self.pace = Pace(name, args.steps, args.checkpoint_seconds)
        set_seed(args.seed)

    def prepare(self, network: nn.Module, decay: float, *others: Any) -> tuple[Any, ...]:
        """``network``, whose weights are averaged, and the other networks and optimizers, on the device."""
        self.network = network
        self.average = EMAModel(network.parameters(), decay=decay, use_ema_warmup=True, power=0.75, foreach=True)
        ready: tuple[Any, ...] = self.accelerator.prepare(network, *others)
        self.average.to(self.accelerator.device)
        self.accelerator.register_for_checkpointing(self.average, self.watch)
        return ready

    def steps(self, *optimizers: torch.optim.Optimizer) -> Iterator[int]:
        """The steps that are left, from 0, each at its learning rate."""
        done = load_checkpoint(self.accelerator, self.out, self.args.steps) if self.resumed else 0
        for step in range(done, self.args.steps):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = self.args.learning_rate * rate(step, self.args.steps)
            yield step

    def optimize(self, optimizer: torch.optim.Optimizer, loss: Tensor, most: float) -> None:
        """A step of the averaged network, its gradient's norm at ``most``."""
        optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), most)
        optimizer.step()
        self.average.step(self.network.parameters())
        self.watch.add(watched_loss(loss, norm, self.args.mixed_precision))

    def finish(self, step: int, losses: dict[str, Tensor], shipped: nn.Module) -> None:
        """Tell the losses of ``step``; when it is time, a checkpoint and the averaged weights of ``shipped``."""
        self.pace.tell(step + 1, {name: value.detach() for name, value in losses.items()})
        if not self.pace.due(step + 1):
            return
        self.watch.look(step)
        save_checkpoint(self.accelerator, self.out, step + 1)
        self.average.store(self.network.parameters())
        self.average.copy_to(self.network.parameters())
        told = {"steps": step + 1, "mixed_precision": self.args.mixed_precision}
        told |= {"data": self.args.data_note, "licence": LICENCE}
        write_weights(self.out.parent, self.name, shipped, {**told, **self.facts})
        self.average.restore(self.network.parameters())


def chosen_lines(manifest: Path, most: int | None, seed: int) -> list[ManifestLine]:
    """The manifest's lines, or ``most`` of them drawn at random: those of fewer are among those of more."""
    lines = read_manifest(manifest)
    order = np.random.default_rng([seed, 11]).permutation(len(lines))
    return [lines[int(i)] for i in order[:most]]


def write_weights(out: Path, name: str, network: nn.Module, facts: dict[str, Any]) -> None:
    """``name``.safetensors, in half precision, and what is to be known of it in ``name``.json."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    with replacing(out / f"{name}.safetensors") as temporary:
        save_file(half, temporary, metadata={"format": "pt"})
    with replacing(out / f"{name}.json") as temporary:
        told = {**facts, "sha256": sha256(out / f"{name}.safetensors")}
        temporary.write_text(json.dumps(told, indent=2) + "\n")


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# LeFusion


def relative_quantiles(crop: Crop) -> np.ndarray:
    """Of a lesion's HU against the tissue 2 to 10 mm around it: its histogram, as (16,) quantiles.

    The distance between two lesions' quantiles is that of Wasserstein between their histograms.
    """
    ct, mask = load_crop(crop.path)
    near = ndimage.binary_dilation(mask, iterations=10) & ~ndimage.binary_dilation(mask, iterations=2)
    tissue = near & (ct > -30.0) & (ct < 220.0)
    level = np.median(ct[tissue] if tissue.any() else ct[~mask])
    return np.quantile(ct[mask] - level, QUANTILES)


def histogram_clusters(crops: Sequence[Crop], seed: int) -> tuple[dict[str, int], Tensor]:
    """The cluster of each line's lesion, and the clusters' frequencies (``CLUSTERS``,), from dark to bright."""
    by_line = {crop.line: relative_quantiles(crop) for crop in tqdm(crops, desc="histograms", mininterval=30)}
    values = np.stack(list(by_line.values()))
    number = min(CLUSTERS, len(np.unique(values, axis=0)))
    fitted = KMeans(number, n_init=4, random_state=seed).fit(values)
    rank = np.argsort(np.argsort(fitted.cluster_centers_.mean(1)))
    found = rank[fitted.labels_]
    centres = fitted.cluster_centers_[np.argsort(rank)]
    counts = np.bincount(found, minlength=CLUSTERS)
    for count, centre in zip(counts, centres, strict=False):
        print(f"cluster of {count} lesions: {centre[0]:.0f} to {centre[-1]:.0f} HU, median {np.median(centre):.0f}")
    named = {line: int(cluster) for line, cluster in zip(by_line, found, strict=True)}
    return named, torch.from_numpy(counts / counts.sum()).float()


def tumor_sd(cached: CachedExamples) -> Tensor:
    """Root mean square, per latent channel, of what lesions add where they are diffused: (C,)."""
    power, voxels = torch.zeros(()), torch.zeros(())
    for example in cached:
        inside = lesion_region(example.mask.float()[None])[0]
        power = power + ((example.z.float() - example.z_healthy.float()) ** 2 * inside).sum(dim=(1, 2, 3))
        voxels = voxels + inside.sum()
    return (power / voxels).sqrt().clamp(min=1e-3)


def lesion_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error (B, C, d, h, w) in the lesion only, of a latent mask (B, 1, d, h, w): section 3 of the paper."""
    return weighted_mean((predicted.float() - target) ** 2, lesion_region(mask)).mean()


class Trained(nn.Module):
    """The denoiser with its clusters, as one call, so that accelerate wraps one network."""

    def __init__(self, denoiser: LesionDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, z_t: Tensor, t: Tensor, z_healthy: Tensor, plain: Tensor, mask: Tensor, of: Tensor) -> Tensor:
        predicted: Tensor = self.denoiser(z_t, t, z_healthy, plain, mask, *self.denoiser.clusters(of))
        return predicted


def lesion_windows(chosen: Sequence[Example], steps: int, rng: np.random.Generator) -> Windows:
    """Windows without texts, at timesteps of ``steps``."""
    number = len(chosen)
    return Windows(
        latents=stacked(chosen),
        tokens=torch.zeros(number, 1, 1),
        token_mask=torch.ones(number, 1, dtype=torch.bool),
        t=torch.from_numpy(rng.integers(0, steps, number)),
        drop=torch.zeros(number, dtype=torch.bool),
        noise_seed=int(rng.integers(2**62)),
        lines=[],
        said=[],
    )


def train_lefusion(lines: list[ManifestLine], out: Path, cache: Path, args: argparse.Namespace) -> None:
    """Section 3 of the paper: the noise's loss, in the lesion only."""
    config = lefusion_config()
    assert config.denoiser is not None
    vqgan = load_autoencoder(DEFAULT_FOLDER)[1]
    facts = {"batch": args.batch, "learning_rate": args.learning_rate, "seed": args.seed, "views": args.views}
    facts |= {"manifest": digest(lines), "lines": len(lines), "network": config.denoiser.model_dump(mode="json")}
    run = Run("lefusion", out, {**facts, "autoencoder": weights_hash(vqgan)}, args)
    crops = cache_crops(lines, cache / "crops", config.domain)
    noisy = {line.id for line in lines if line.noisy}
    cached = cache_latents(crops, noisy, vqgan, config.domain, cache, views=args.views, seed=args.seed)
    cluster, frequency = histogram_clusters(crops, args.seed)
    plain = Trained(LesionDenoiser(config))
    denoiser = plain.denoiser
    denoiser.tumor_sd.copy_(tumor_sd(cached))
    denoiser.clusters.frequency.copy_(frequency)
    optimizer = torch.optim.AdamW(plain.parameters(), args.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
    network, optimizer = run.prepare(plain, EMA_DECAY, optimizer)
    schedule, buckets = noise_schedule(config.diffusion), cached.by_size()
    for step in run.steps(optimizer):
        rng = np.random.default_rng([args.seed, 1, step])
        chosen = draw_examples(buckets, args.batch, rng)
        drawn = noised(lesion_windows(chosen, config.diffusion.steps, rng), denoiser, schedule)
        of = torch.tensor([cluster[example.line] for example in chosen], device=drawn.t.device)
        with run.accelerator.autocast():
            predicted = network(drawn.z_t, drawn.t, drawn.z_healthy, drawn.plain, drawn.mask, of)
        loss = lesion_loss(predicted, drawn.target, drawn.mask)
        run.optimize(optimizer, loss, 1.0)
        run.finish(step, {"loss": loss}, denoiser)


# the conditional GAN


def prepared(crop: Crop, noisy: bool, domain: Domain, folder: Path) -> Path:
    """A crop as the GAN is to see it, cached: ``ct`` int16 HU without noise and ``labels``, uint8 (S, S, S).

    Labels: ``TUMOR``, and ``HOST`` for the tissue that the host's level is taken from.
    """
    path = folder / f"{crop.path.stem}.safetensors"
    if not path.is_file():
        ct, mask = load_crop(crop.path)
        ct = without_noise(ct, domain) if noisy else ct
        outside = ndimage.distance_transform_edt(~mask, domain.spacing_mm)
        tissue = (ct > HOST_HU[0]) & (ct < HOST_HU[1])
        host = tissue & (outside > HOST_SHELL_MM[0]) & (outside < HOST_SHELL_MM[1])
        labels = np.where(mask, TUMOR, np.where(host, HOST, 0)).astype(np.uint8)
        save_tensors(path, {"ct": torch.from_numpy(np.rint(ct).astype(np.int16)), "labels": torch.from_numpy(labels)})
    return path


def gan_window(path: Path, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(CT relative to the host's level, in units of ``UNIT_HU``; mask) of a random window, both (side, side, side)."""
    arrays = load_file(path)
    margin = (arrays["ct"].shape[0] - side) // 2 - SHIFT
    middle = (slice(margin, -margin or None),) * 3  # so that the tumor is seen
    ct, labels = random_window(arrays["ct"][middle].float().numpy(), arrays["labels"][middle].numpy(), rng, side)
    tumor, host = labels == TUMOR, labels == HOST
    level = np.median(ct[host] if host.any() else ct[~tumor] if not tumor.all() else ct)
    return ((ct - level) / UNIT_HU).astype(np.float32), tumor.astype(np.float32)


def gan_batch(buckets: dict[int, list[Path]], batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(CT, mask), both (B, 1, D, H, W), of windows of one side; larger windows come in smaller batches."""
    sides = sorted(buckets)
    sizes = [max(1, round(batch * (sides[0] / side) ** 3)) for side in sides]
    shares = np.array([len(buckets[side]) / size for side, size in zip(sides, sizes, strict=True)])
    chosen = int(rng.choice(len(sides), p=shares / shares.sum()))
    bucket = buckets[sides[chosen]]
    windows = [gan_window(bucket[int(rng.integers(len(bucket)))], sides[chosen], rng) for _ in range(sizes[chosen])]
    ct, mask = (torch.from_numpy(np.stack(arrays))[:, None] for arrays in zip(*windows, strict=True))
    return ct, mask


def real_tumor(ct: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(surroundings, what the tumor adds to them, where that is seen) of windows; all (B, 1, D, H, W).

    Beside the mask, what is far from the host's level is other tissue, not the tumor's margin.
    """
    seen = torch.maximum(mask, (ct.abs() < OTHER_TISSUE).to(mask.dtype))
    surroundings = masked_out(ct, mask)
    added = (ct.clamp(-FARTHEST, FARTHEST) - surroundings) * reach(mask) * seen
    return surroundings, added, seen


def measured_looks(buckets: dict[int, list[Path]], seed: int) -> Tensor:
    """Looks of training windows, (LOOKS, LOOK); of few lesions several windows, and these more than once."""
    rng = np.random.default_rng([seed, 2])
    most = min(LOOKS, LOOKS_OF_EACH * sum(map(len, buckets.values())))
    found: list[Tensor] = []
    while len(found) < most:
        ct, mask = gan_batch(buckets, 4, rng)
        _, added, seen = real_tumor(ct, mask)
        found += looks(added, mask, seen)[mask.flatten(1).sum(1) > 0]
    return torch.stack([found[number % most] for number in range(LOOKS)])


def judged(surroundings: Tensor, added: Tensor, mask: Tensor, look: Tensor, painter: Painter) -> Tensor:
    """What the discriminator sees: image, mask, and the look as constant images."""
    told = ((look - painter.look_mean) / painter.look_sd)[:, :, None, None, None]
    return torch.cat([surroundings + added, mask, told.expand(-1, -1, *mask.shape[2:])], dim=1)


def coarse(added: Tensor) -> Tensor:
    """An image as means of 8 voxels' side."""
    return F.avg_pool3d(added, 8)


def gan_buckets(lines: list[ManifestLine], cache: Path) -> dict[int, list[Path]]:
    """The prepared crops of a manifest's lines, by the side of their windows."""
    domain, noisy, folder = Domain(), {line.id for line in lines if line.noisy}, cache / "gan"
    folder.mkdir(parents=True, exist_ok=True)
    buckets: dict[int, list[Path]] = {}
    for crop in tqdm(cache_crops(lines, cache / "crops", domain), desc="windows", mininterval=30):
        path = prepared(crop, crop.line in noisy, domain, folder)
        with safe_open(path, "pt") as content:
            smallest = content.get_slice("ct").get_shape()[0] == SIDES[0] + 2 * SHIFT
        buckets.setdefault(GAN_SIDES[0] if smallest else GAN_SIDES[1], []).append(path)
    return buckets


def new_painter(buckets: dict[int, list[Path]], seed: int) -> Painter:
    """An untrained one, with the training's looks."""
    painter, known = Painter(), measured_looks(buckets, seed)
    painter.known.copy_(known)
    painter.look_mean.copy_(known.mean(0))
    painter.look_sd.copy_(known.std(0).clamp(min=1e-3))
    return painter


def painter_losses(
    painted: Tensor, added: Tensor, look_error: Tensor, on_made: list[Tensor], on_real: list[Tensor], mask: Tensor
) -> dict[str, Tensor]:
    """What the painter is to lessen, each before its weight.

    ``painted`` and ``added``: what tumors add, made and real; ``look_error``: of the looks, in SD; ``on_made`` and
    ``on_real``: the discriminator's features, last its verdicts.
    """
    pairs = zip(on_made[:-1], on_real[:-1], strict=True)
    near = coarse(reach(mask)).sum().clamp(min=1e-3)
    return {
        "adversarial": ADVERSARIAL(on_made[-1].float(), True, False),
        "features": torch.stack([(made.float() - real.detach().float()).abs().mean() for made, real in pairs]).mean(),
        "look": look_error.abs().mean(),
        "coarse": (coarse(painted) - coarse(added)).abs().sum() / near,
    }


def train_cgan(lines: list[ManifestLine], out: Path, cache: Path, args: argparse.Namespace) -> None:
    """Section 3 of pix2pix, with least squares (Mao et al., ICCV 2017) and the terms that the module ``cgan`` names."""
    facts = {"batch": args.batch, "learning_rate": args.learning_rate, "seed": args.seed}
    facts |= {"manifest": digest(lines), "lines": len(lines), "channels": list(CHANNELS)}
    run = Run("cgan", out, facts, args)
    buckets = gan_buckets(lines, cache)
    plain = Painter() if run.resumed else new_painter(buckets, args.seed)  # a checkpoint holds the looks too
    judge = PatchDiscriminator(3, 32, 2 + LOOK, num_layers_d=2, norm="INSTANCE")
    adams = [torch.optim.Adam(n.parameters(), args.learning_rate, betas=(0.5, 0.99)) for n in (plain, judge)]
    painter, judge, paints, judges = run.prepare(plain, GAN_EMA_DECAY, judge, *adams)
    device, autocast = run.accelerator.device, run.accelerator.autocast
    for step in run.steps(paints, judges):
        rng = np.random.default_rng([args.seed, 1, step])
        ct, mask = (given.to(device) for given in gan_batch(buckets, args.batch, rng))
        surroundings, added, seen = real_tumor(ct, mask)
        look = looks(added, mask, seen)
        source = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(len(ct), NOISES, *(n // 2 for n in ct.shape[2:]), generator=source).to(device)
        with autocast():
            painted = painter(surroundings, mask, look, noise) * seen
            real, made = (judged(surroundings, tumor, mask, look, plain) for tumor in (added, painted))
            on_real, on_made = judge(real), judge(made.detach())
        right_on_real = ADVERSARIAL(on_real[-1].float(), True, True)
        judge_loss = (right_on_real + ADVERSARIAL(on_made[-1].float(), False, True)) / 2.0
        judges.zero_grad()
        run.accelerator.backward(judge_loss)
        judges.step()
        with autocast():
            on_made = judge(made)
        look_error = (looks(painted, mask, seen) - look) / plain.look_sd
        losses = painter_losses(painted, added, look_error, on_made, on_real, mask)
        run.optimize(paints, torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum(), 10.0)
        run.finish(step, {**losses, "judge": judge_loss}, plain)


TRAINERS = {"lefusion": (train_lefusion, 16, 1e-3), "cgan": (train_cgan, 4, 4e-4)}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: see the file's beginning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="+", choices=sorted(TRAINERS))
    parser.add_argument("--data", type=Path, required=True, help="the manifest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where crops and latents are kept; OUT/cache by default")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, help="windows of the smallest size; by default 16 (lefusion), 4 (cgan)")
    parser.add_argument("--learning-rate", type=float, help="by default 1e-3 (lefusion), 4e-4 (cgan)")
    parser.add_argument("--lines", type=int, help="train on so many of the manifest's lines, drawn at random")
    parser.add_argument("--views", type=int, default=1, help="random windows of each lesion")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default the GPU where there is one")
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--checkpoint-seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-note", default="", help="the data's origin, for the facts beside the weights")
    args = parser.parse_args(arguments)
    if args.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    args.out.mkdir(parents=True, exist_ok=True)
    lines = chosen_lines(args.data, args.lines, args.seed)
    batch, learning_rate = args.batch, args.learning_rate
    for name in args.generators:
        train, usual_batch, usual_rate = TRAINERS[name]
        args.batch, args.learning_rate = batch or usual_batch, learning_rate or usual_rate
        check_settings(args.seed, args.mixed_precision, steps=args.steps, batch=args.batch, views=args.views)
        train(lines, args.out / name, args.cache or args.out / "cache", args)


if __name__ == "__main__":
    main()
