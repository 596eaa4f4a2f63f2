"""Training the 3D VQGAN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .autoencoder import Autoencoder, denormalize, normalize
from .checkpoints import check_settings, load_checkpoint, prepare_out, save_checkpoint, start_accelerator
from .config import Domain, GeneratorConfig
from .crops import SHIFT, SIDES, Crop, cache_crops, load_crop, random_window
from .divergence import LossWatch, watched_loss
from .errors import GeneratorError
from .folder import write_folder
from .manifest import digest, read_manifest, tell_skipped
from .parallel import mapped
from .sheets import save_sheet

CONTINUOUS_SHARE = 0.15  # of all steps, at the start, without codebook: codes that follow a moving encoder die
ADVERSARIAL_START = 0.35  # of all steps: a discriminator that begins with the network outruns it
ADVERSARIAL_WEIGHT = 0.02
QUANTIZED_SHARE = 0.5  # of the images of a batch; the decoder meets latents with and without codebook
REVIVE_EVERY = 50
DEAD_CODE = 0.05  # mean uses per step below which a code is moved to a latent that occurs


def train_autoencoder(
    manifest: Path,
    out: Path,
    *,
    steps: int = 20_000,
    batch: int = 4,
    crop: int = 48,
    learning_rate: float = 4e-4,
    seed: int = 0,
    resume: bool = False,
    cache: Path | None = None,
    mixed_precision: str = "no",
    config: GeneratorConfig | None = None,
    checkpoint_every: int = 200,
    sheet_every: int = 500,
    workers: int = 0,
    skip_bad: bool = False,
    progress: bool = True,
) -> Path:
    """Train on crops around the manifest's tumors and write a generator folder that holds the autoencoder only.

    ``cache``: where prepared crops are kept, to be shared with ``train_diffusion``; ``out`` by default. ``batch``
    crops of ``crop``³ voxels per step and process, prepared by ``workers`` processes (0: by this one). Losses:
    absolute error at three scales, commitment, and from ``ADVERSARIAL_START`` on a patch discriminator (3D VQGAN; no
    perceptual network, which would have to be downloaded). ``skip_bad``: go on without the lines that cannot be used,
    and list them. Everything random at a step follows from (seed, step,
    process), so a resumed run equals one that was never interrupted. Raises :class:`GeneratorError` for unusable data,
    an ``out`` that holds something else, or an error that runs away.
    """
    config = config or GeneratorConfig()
    check_settings(seed, mixed_precision, steps=steps, batch=batch, learning_rate=learning_rate)
    if crop % 4 or not 16 <= crop <= SIDES[0] + 2 * SHIFT:
        raise GeneratorError(
            f"A crop of {crop} voxels cannot be; give a multiple of 4 from 16 to {SIDES[0] + 2 * SHIFT}."
        )
    skipped: list[str] | None = [] if skip_bad else None
    lines = read_manifest(manifest, skipped)
    accelerator = start_accelerator(out, mixed_precision)
    facts = {"batch": batch, "crop": crop, "learning_rate": learning_rate, "seed": seed}
    facts["processes"] = accelerator.num_processes
    run = {**facts, "mixed_precision": mixed_precision, "manifest": digest(lines)}
    run |= {"autoencoder": config.autoencoder.model_dump(mode="json")}
    resumed = prepare_out(out, resume, run)
    accelerator.init_trackers("autoencoder")
    progress = progress and accelerator.is_main_process
    with accelerator.main_process_first():
        crops = cache_crops(
            lines, (cache or out) / "crops", config.domain, workers=workers, skipped=skipped, progress=progress
        )
    if accelerator.is_main_process:
        tell_skipped(skipped)

    set_seed(seed)
    network = Autoencoder(config.autoencoder)
    discriminator = PatchDiscriminator(
        spatial_dims=3, channels=32, in_channels=1, num_layers_d=2, norm="INSTANCE", kernel_size=4
    )
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    optimizer_d = torch.optim.AdamW(discriminator.parameters(), learning_rate / 2, betas=(0.5, 0.99))
    network, discriminator, optimizer, optimizer_d = accelerator.prepare(network, discriminator, optimizer, optimizer_d)
    watch = LossWatch(out, partial(accelerator.reduce, reduction="mean"))
    accelerator.register_for_checkpointing(watch)
    done = load_checkpoint(accelerator, out, steps) if resumed else 0
    adversary = PatchAdversarialLoss(criterion="least_squares")
    plain = accelerator.unwrap_model(network)

    draw = partial(_batch, crops=crops, batch=batch, crop=crop, domain=config.domain)
    seeds = [(seed, step, accelerator.process_index) for step in range(done, steps)]
    drawn = mapped(draw, seeds, workers)
    bar = tqdm(range(done, steps), initial=done, total=steps, desc="autoencoder", disable=not progress)
    for step, images in zip(bar, drawn, strict=True):
        _set_rate(optimizer, learning_rate * _warmup_cosine(step, steps))
        images = images.to(accelerator.device)
        quantized = step >= CONTINUOUS_SHARE * steps
        if quantized and (step % REVIVE_EVERY == 0 or step - 1 < CONTINUOUS_SHARE * steps):
            rng = np.random.default_rng([seed, step, accelerator.process_index, 1])
            _revive_codes(plain, images, rng, everything=step - 1 < CONTINUOUS_SHARE * steps)
        adversarial = step >= ADVERSARIAL_START * steps

        output, commitment = network(images, round(QUANTIZED_SHARE * batch) if quantized else 0)
        error = F.l1_loss(output, images)
        loss = error + _pooled_error(output, images) + commitment
        if adversarial:
            discriminator.requires_grad_(False)
            judged = discriminator(output)[-1]
            loss = loss + ADVERSARIAL_WEIGHT * adversary(judged, target_is_real=True, for_discriminator=False)
        optimizer.zero_grad()
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        watched = watched_loss(loss, norm, mixed_precision)
        if adversarial:
            discriminator.requires_grad_(True)
            judged = _train_discriminator(accelerator, discriminator, optimizer_d, adversary, images, output.detach())
            watched = watched + 0.0 * judged  # the checkpoint holds the discriminator too
        watch.add(watched)

        last = step + 1 == steps
        if step % 10 == 0 or (step + 1) % checkpoint_every == 0 or last:
            watch.look(step)
        if step % 10 == 0:
            hu = float(error.detach()) * (config.domain.window_hu[1] - config.domain.window_hu[0]) / 2
            accelerator.log({"error_hu": hu, "commitment": float(commitment.detach())}, step=step)
            bar.set_postfix_str(f"error {hu:.1f} HU")
        if (step + 1) % checkpoint_every == 0 or last:
            save_checkpoint(accelerator, out, step + 1)
        if accelerator.is_main_process and ((step + 1) % sheet_every == 0 or last):
            _sheet(out / "sheets" / f"autoencoder-{step + 1:06d}.png", images, output, config.domain)

    if accelerator.is_main_process:
        _standardize(plain, mapped(partial(draw, batch=4), [(seed, i, 0, 2) for i in range(64)], workers))
        training = {"autoencoder": {"steps": steps, **facts, "crops": len(crops)}}
        write_folder(out, config.model_copy(update={"training": training}), plain)
    accelerator.end_training()
    return out


def _batch(seed: Sequence[int], crops: list[Crop], batch: int, crop: int, domain: Domain) -> Tensor:
    """Random windows (B, 1, D, H, W) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    windows = [random_window(*load_crop(crops[int(i)].path), rng, crop)[0] for i in rng.integers(0, len(crops), batch)]
    return normalize(torch.from_numpy(np.stack(windows)[:, None]), domain)


def _pooled_error(output: Tensor, images: Tensor) -> Tensor:
    """Absolute error of 2 and 4 mm means: below the noise, what a lesion's level and texture are made of."""
    return sum(
        (F.l1_loss(F.avg_pool3d(output, k), F.avg_pool3d(images, k)) for k in (2, 4)), start=output.new_zeros(())
    )


def _train_discriminator(
    accelerator: Accelerator,
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    adversary: PatchAdversarialLoss,
    real: Tensor,
    fake: Tensor,
) -> Tensor:
    """One step; returned is its loss."""
    loss_fake = adversary(discriminator(fake)[-1], target_is_real=False, for_discriminator=True)
    loss_real = adversary(discriminator(real)[-1], target_is_real=True, for_discriminator=True)
    optimizer.zero_grad()
    loss = 0.5 * (loss_fake + loss_real)
    accelerator.backward(loss)
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def _revive_codes(network: Autoencoder, images: Tensor, rng: np.random.Generator, *, everything: bool) -> None:
    """Move codes that no latent uses (or, at the start, all) to latents of this batch."""
    quantizer = network.vqvae.quantizer.quantizer
    z = network.vqvae.encode(images).movedim(1, -1).reshape(-1, quantizer.embedding_dim)
    dead = torch.ones_like(quantizer.ema_cluster_size, dtype=torch.bool)
    if not everything:
        dead = quantizer.ema_cluster_size < DEAD_CODE
    number = int(dead.sum())
    picks = z[torch.from_numpy(rng.integers(0, len(z), number)).to(z.device)].to(quantizer.ema_w.dtype)
    quantizer.embedding.weight.data[dead] = picks
    quantizer.ema_w[dead] = picks
    quantizer.ema_cluster_size[dead] = 1.0


@torch.no_grad()
def _standardize(network: Autoencoder, batches: Iterable[Tensor]) -> None:
    """Measure the latents' mean and SD per channel, on batches of images (B, 1, D, H, W) in [-1, 1]."""
    device = network.latent_mean.device
    z = torch.cat([network.vqvae.encode(images.to(device)) for images in batches])
    network.latent_mean.copy_(z.mean(dim=(0, 2, 3, 4)))
    network.latent_sd.copy_(z.std(dim=(0, 2, 3, 4)))


def _sheet(path: Path, images: Tensor, output: Tensor, domain: Domain) -> None:
    rows = []
    for image, made in zip(images[:4], output[:4], strict=True):
        before, after = (denormalize(x.detach()[0].float().cpu(), domain).numpy() for x in (image, made))
        rows.append({"CT": before, "reconstruction": after, "difference": after - before})
    save_sheet(path, rows, domain.window_hu)


def _warmup_cosine(step: int, steps: int, warmup: int = 50) -> float:
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1.0 + float(np.cos(np.pi * step / steps))))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
