"""Training the text-conditional latent diffusion (section III-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .autoencoder import Autoencoder, denormalize
from .checkpoints import check_settings, load_checkpoint, prepare_out, save_checkpoint
from .config import ContrastConfig, DenoiserConfig, DiffusionConfig, GeneratorConfig, Prediction, SamplingConfig
from .contrast import Contrast, ContrastTexts, Features, Pairs, autoencoder_features
from .denoiser import Denoiser, far_from_tumor
from .diffusion import noise_schedule
from .folder import write_folder
from .generator import Networks, load_autoencoder
from .latents import TextTable, weights_hash
from .manifest import ManifestLine, read_manifest
from .parallel import ahead
from .sampling import sample_latents
from .sheets import save_sheet
from .text_encoder import text_config
from .training_set import (
    Batch,
    TrainingSet,
    Windows,
    draw_windows,
    near_tumor,
    noised,
    stacked,
    training_set,
    windows_loss,
)

VOXELWISE_PER_TEXT_STEP = 3  # steps in which the voxelwise path learns alone, for each of the adapter's
WORDS_WEIGHT = 0.2  # of the descriptor classification beside the denoising loss


class WordHeads(nn.Module):
    """What the pooled text says of each descriptor; only training needs it."""

    def __init__(self, width: int, words: dict[str, list[str]]) -> None:
        super().__init__()
        self.words = words
        self.heads = nn.ModuleDict({field: nn.Linear(width, len(values)) for field, values in words.items()})

    def loss(self, pooled: Tensor, lines: Sequence[ManifestLine]) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy over the lines that give a descriptor, and the share told right (NaN: none gives one)."""
        losses, right = [pooled.sum() * 0.0], []
        for field, values in self.words.items():
            rows = [i for i, line in enumerate(lines) if line.descriptors.get(field) in values]
            said = self.heads[field](pooled)
            losses[0] = losses[0] + said.sum() * 0.0  # several processes demand that every head is part of the loss
            if rows:
                truth = torch.tensor([values.index(str(lines[i].descriptors[field])) for i in rows]).to(pooled.device)
                scores = said[rows]
                losses.append(F.cross_entropy(scores, truth))
                right.append((scores.argmax(1) == truth).float().mean())
        share = torch.stack(right).mean() if right else pooled.new_tensor(math.nan)
        return torch.stack(losses).sum() / max(1, len(losses) - 1), share


class Trained(nn.Module):
    """All that is optimized, as one network, so that accelerate wraps one."""

    def __init__(self, denoiser: Denoiser, words: dict[str, list[str]]) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.heads = WordHeads(denoiser.adapter.pooled.out_features, words)

    def forward(
        self,
        z_t: Tensor,
        t: Tensor,
        z_healthy: Tensor,
        plain: Tensor,
        mask: Tensor,
        tokens: Tensor,
        token_mask: Tensor,
        drop: Tensor,
    ) -> tuple[Tensor, Tensor]:
        context, said = self.denoiser.adapter(tokens, token_mask)
        context = torch.where(drop[:, None, None], self.denoiser.adapter.null_context, context)
        pooled = torch.where(drop[:, None], self.denoiser.adapter.null_pooled, said)
        return self.denoiser(z_t, t, z_healthy, plain, mask, context, pooled), said


def train_diffusion(
    manifest: Path,
    autoencoder: Path,
    out: Path,
    *,
    steps: int = 50_000,
    batch: int = 8,
    learning_rate: float = 3e-4,
    seed: int = 0,
    resume: bool = False,
    cache: Path | None = None,
    mixed_precision: str = "no",
    text_encoder: str | None = None,
    prediction_type: Prediction = "v_prediction",
    denoiser: DenoiserConfig | None = None,
    views: int = 1,
    text_steps: int = 800,
    ema_decay: float = 0.999,
    checkpoint_every: int = 200,
    sheet_every: int = 500,
    workers: int = 0,
    data: str = "",
    licence: str = "",
    contrast: ContrastConfig | None = None,
    contrast_texts: ContrastTexts | None = None,
    features: Features = autoencoder_features,
    progress: bool = True,
) -> Path:
    """Train on a manifest's tumors, on the latents of a trained autoencoder, and write a whole generator folder.

    ``autoencoder``: a folder that ``train_autoencoder`` wrote (or a generator's). ``views``: random windows of each
    tumor whose latents are cached. ``text_steps``: steps in which the text adapter alone learns the manifest's
    descriptors; ``VOXELWISE_PER_TEXT_STEP`` times as many of the voxelwise path follow, before the U-Net joins.
    ``cache``: where crops, latents and text embeddings are kept, ``out`` by default; ``workers``: processes that
    prepare them (0: this one). ``contrast``: the term of Eq. 2, off by default; ``contrast_texts``: what the manifest's
    texts say and what to contrast them with, None: the manifest's texts, which say their lines' descriptors;
    ``features``: f of Eq. 2, which a resumed run has to be given again.

    The folder holds the moving average of the weights. Everything random at a step follows from (seed, step, process)
    but the adapter's dropout, whose generator's state is in the checkpoint; the noise of a seed is another on a GPU.
    Raises :class:`GeneratorError` for unusable data or folders.
    """
    check_settings(steps, batch, learning_rate, mixed_precision)
    lines = read_manifest(manifest)
    base, vqgan = load_autoencoder(autoencoder)
    text, layout = text_config(text_encoder), denoiser or DenoiserConfig()
    facts: dict[str, Any] = {"batch": batch, "learning_rate": learning_rate, "seed": seed}
    others = None
    if contrast is not None and contrast.weight:
        others = contrast_texts or ContrastTexts.of_manifest(lines)
        others.check(lines)
        facts["contrast"] = {**contrast.model_dump(), "texts": others.digest}
    run = {
        "contrast": None,
        **facts,
        "prediction_type": prediction_type,
        "autoencoder": weights_hash(vqgan),
        "text": text.model_dump(mode="json"),
        "denoiser": layout.model_dump(mode="json"),
    }
    resumed = prepare_out(out, resume, run)
    accelerator = Accelerator(mixed_precision=mixed_precision, log_with="tensorboard", project_dir=str(out))
    accelerator.init_trackers("diffusion")
    config = base.model_copy(
        update={
            "text": text,
            "denoiser": layout,
            "diffusion": DiffusionConfig(prediction_type=prediction_type),
            "sampling": SamplingConfig(),  # not that of the day when the autoencoder was trained
            "training": {**base.training, "diffusion": {"steps": steps, **facts}},
            "data": data,
            "licence": licence,
        }
    )
    with accelerator.main_process_first():
        vqgan = vqgan.to(accelerator.device)
        more = () if others is None else others.texts
        examples = training_set(lines, more, vqgan, config, cache or out, views, seed, workers, progress)

    assert config.text is not None
    assert config.denoiser is not None
    set_seed(seed)
    network = Trained(Denoiser(config.denoiser, config.autoencoder, config.text), examples.words)
    network.denoiser.tumor_sd.copy_(_tumor_sd(examples))
    average = EMAModel(network.parameters(), decay=ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
    network, optimizer = accelerator.prepare(network, optimizer)
    accelerator.register_for_checkpointing(average)
    done = load_checkpoint(accelerator, out) if resumed else 0
    average.to(accelerator.device)  # after the checkpoint, which comes back on the CPU
    schedule = noise_schedule(config.diffusion)
    plain = accelerator.unwrap_model(network)

    if not done and text_steps:
        _teach_words(plain, examples, text_steps, seed, progress)
        _teach_voxelwise(plain, examples, VOXELWISE_PER_TEXT_STEP * text_steps, 2 * batch, schedule, seed, progress)
    schedule_steps = config.diffusion.steps
    term = None
    if contrast is not None and others is not None:
        term = Contrast.of_training_set(
            contrast, others, schedule, examples.cached, examples.lines, features, seed=seed, device=accelerator.device
        )

    def draw(step: int) -> tuple[Windows, Pairs | None]:
        rng = np.random.default_rng([seed, 1, step, accelerator.process_index])
        given = draw_windows(examples, batch, schedule_steps, rng)
        # of another stream, so that everything else is drawn as without contrast
        rng = np.random.default_rng([seed, 5, step, accelerator.process_index])
        return given, None if term is None else _pairs(term, given, examples.texts, rng)

    windows = ahead(draw, range(done, steps))
    bar = tqdm(range(done, steps), initial=done, total=steps, desc="diffusion", disable=not progress)
    for step, (given, pairs) in zip(bar, windows, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(step, steps)
        drawn = noised(given, plain.denoiser, schedule)
        with accelerator.autocast():
            predicted, said = network(*_seen(drawn, pairs))
            own, other = predicted[: len(drawn.t)], predicted[len(drawn.t) :]
            loss = windows_loss(own, drawn.target, drawn.mask)
            words, right = plain.heads.loss(said[: len(drawn.t)], drawn.lines)
            total = loss + WORDS_WEIGHT * words
            if term is not None and pairs is not None:
                of = pairs.rows.to(own.device)
                windows_of = (drawn.z_t[of], drawn.t[of], drawn.z_healthy[of], drawn.mask[of])
                contrasted, distance = term.loss(plain.denoiser, *windows_of, own[of], other, pairs)
                total = total + term.config.weight * contrasted
        optimizer.zero_grad()
        accelerator.backward(total)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.step(network.parameters())

        if step % 20 == 0:
            logged = {"loss": float(loss.detach()), "words": float(words.detach()), "right": float(right)}
            if pairs is not None:
                logged |= {"contrast": float(contrasted.detach()), **_apart(distance, pairs)}
            accelerator.log(logged, step=step)
            bar.set_postfix_str(f"loss {logged['loss']:.3f}, words {100 * logged['right']:.0f} %")
        last = step + 1 == steps
        if (step + 1) % checkpoint_every == 0 or last:
            save_checkpoint(accelerator, out, step + 1)
        if accelerator.is_main_process and (step + 1) % sheet_every == 0 and not last:
            _publish(out, step + 1, plain, average, vqgan, config, examples, seed)
    if accelerator.is_main_process:
        _publish(out, steps, plain, average, vqgan, config, examples, seed)
    accelerator.end_training()
    return out


def _publish(
    out: Path,
    step: int,
    network: Trained,
    average: EMAModel,
    vqgan: Autoencoder,
    config: GeneratorConfig,
    examples: TrainingSet,
    seed: int,
) -> None:
    """Write the generator folder and a sample sheet, both of the averaged weights."""
    average.store(network.parameters())
    average.copy_to(network.parameters())
    network.eval()
    write_folder(out, config, Networks(vqgan, network.denoiser))
    _sheet(out / "sheets" / f"diffusion-{step:06d}.png", network.denoiser, vqgan, config, examples, seed)
    network.train()
    average.restore(network.parameters())


def _tumor_sd(examples: TrainingSet) -> Tensor:
    """Root mean square, per latent channel, of what tumors add in and beside them: (C,)."""
    power, voxels = torch.zeros(()), torch.zeros(())
    for example in examples.cached:
        near = near_tumor(example.mask.float()[None])[0]
        power = power + ((example.z.float() - example.z_healthy.float()) ** 2 * near).sum(dim=(1, 2, 3))
        voxels = voxels + near.sum()
    return (power / voxels).sqrt().clamp(min=1e-3)


def _pairs(term: Contrast, given: Windows, texts: TextTable, rng: np.random.Generator) -> Pairs | None:
    organs = [line.organ for line in given.lines]
    return term.draw(given.said, organs, given.t, (~given.drop).tolist(), texts, rng)


def _seen(drawn: Batch, pairs: Pairs | None) -> tuple[Tensor, ...]:
    """What the network is given: the batch, and behind it its contrasted windows once more with each other text.

    In one pass, as several processes demand.
    """
    windows = (drawn.z_t, drawn.t, drawn.z_healthy, drawn.plain, drawn.mask)
    texts = (drawn.tokens, drawn.token_mask, drawn.drop)
    if pairs is None:
        return (*windows, *texts)
    device = drawn.t.device
    rows, tokens, token_mask = (given.to(device) for given in (pairs.rows, pairs.tokens, pairs.token_mask))
    length = max(tokens.shape[1], drawn.tokens.shape[1])
    both = [F.pad(given, (0, 0, 0, length - given.shape[1])) for given in (drawn.tokens, tokens)]
    masks = [F.pad(given, (0, length - given.shape[1])) for given in (drawn.token_mask, token_mask)]
    drop = torch.cat([drawn.drop, torch.zeros_like(rows, dtype=torch.bool)])
    repeated = [torch.cat([given, given[rows]]) for given in windows]
    return (*repeated, torch.cat(both), torch.cat(masks), drop)


def _apart(distance: Tensor, pairs: Pairs) -> dict[str, float]:
    """Mean distances (P,) of similar and of different pairs, where there are any."""
    named = {"similar": pairs.similar, "different": ~pairs.similar}
    return {name: float(distance.cpu()[chosen].mean()) for name, chosen in named.items() if chosen.any()}


def _teach_words(network: Trained, examples: TrainingSet, steps: int, seed: int, progress: bool) -> None:
    """Let the text adapter learn the descriptors before the denoiser listens to it."""
    if not examples.words:
        return
    taught = [*network.denoiser.adapter.parameters(), *network.heads.parameters()]
    device = network.denoiser.tumor_sd.device
    optimizer = torch.optim.AdamW(taught, 1e-3)
    lines = list(examples.lines.values())
    bar = tqdm(range(steps), desc="words", disable=not progress)
    for step in bar:
        rng = np.random.default_rng([seed, 2, step])
        optimizer.param_groups[0]["lr"] = 1e-3 * rate(step, steps)
        drawn = [lines[int(i)] for i in rng.integers(0, len(lines), 64)]
        tokens, mask = examples.texts([str(rng.choice(line.texts)) for line in drawn])
        _, pooled = network.denoiser.adapter(tokens.to(device), mask.to(device))
        loss, right = network.heads.loss(pooled, drawn)
        _update(optimizer, loss, taught)
        if step % 20 == 0:
            bar.set_postfix_str(f"{100 * float(right):.0f} % right")


def _teach_voxelwise(
    network: Trained, examples: TrainingSet, steps: int, batch: int, schedule: Any, seed: int, progress: bool
) -> None:
    """Let the voxelwise path learn to denoise alone: a step costs a tenth of the U-Net's.

    The adapter stays as it is: at this rate it would forget the words.
    """
    denoiser = network.denoiser
    taught = list(denoiser.voxelwise.parameters())
    optimizer = torch.optim.AdamW(taught, 2e-3)
    schedule_steps = schedule.config["num_train_timesteps"]

    def draw(step: int) -> Windows:
        return draw_windows(examples, batch, schedule_steps, np.random.default_rng([seed, 4, step]))

    windows = ahead(draw, range(steps))
    bar = tqdm(range(steps), desc="voxelwise path", disable=not progress)
    for step, given in zip(bar, windows, strict=True):
        optimizer.param_groups[0]["lr"] = 2e-3 * rate(step, steps)
        drawn = noised(given, denoiser, schedule)
        with torch.no_grad():
            _, pooled = denoiser.adapter(drawn.tokens, drawn.token_mask, drawn.drop)
        z_far = far_from_tumor(drawn.z_healthy, drawn.mask)
        predicted = denoiser.voxelwise(drawn.z_t, drawn.t, z_far, drawn.plain, drawn.mask, pooled)
        loss = windows_loss(predicted, drawn.target, drawn.mask)
        _update(optimizer, loss, taught)
        if step % 20 == 0:
            bar.set_postfix_str(f"loss {float(loss.detach()):.3f}")


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


@torch.no_grad()
def _sheet(
    path: Path,
    denoiser: Denoiser,
    vqgan: Autoencoder,
    config: GeneratorConfig,
    examples: TrainingSet,
    seed: int,
    number: int = 6,
) -> None:
    """The same tumors and texts at every point of training: healthy context, sample and truth."""
    rng = np.random.default_rng([seed, 3])
    bucket = max(examples.buckets, key=len)
    chosen = [bucket[int(i)] for i in rng.integers(0, len(bucket), number)]
    texts = [examples.lines[e.line].texts[0] for e in chosen]
    device = next(denoiser.parameters()).device
    z, z_healthy, z_plain, mask = (latents.to(device).float() for latents in stacked(chosen))
    tokens, token_mask = examples.texts(texts)
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(z.shape, generator=source).to(device)
    sampled = sample_latents(
        denoiser,
        config.diffusion,
        z_healthy,
        z_plain,
        mask,
        tokens.to(device),
        token_mask.to(device),
        noise,
        source=source,
        solver=config.sampling.solver,
        steps=config.sampling.steps,
        guidance=config.sampling.guidance,
    )
    rows = []
    decoded = [denormalize(vqgan.decode(x)[:, 0], config.domain).cpu().numpy() for x in (z_healthy, sampled, z)]
    for healthy, made, truth in zip(*decoded, strict=True):
        rows.append({"healthy context": healthy, "sample": made, "truth": truth})
    save_sheet(path, rows, config.domain.window_hu, texts)


def rate(step: int, steps: int, warmup: int = 100) -> float:
    """Warm-up, a long plateau, then a linear fall over the last third."""
    return min(1.0, (step + 1) / warmup, max(0.01, (steps - step) / (steps / 3)))
