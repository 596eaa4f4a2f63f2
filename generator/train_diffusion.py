"""Training the text-conditional latent diffusion (section III-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast, set_seed
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .autoencoder import Autoencoder, denormalize
from .checkpoints import check_settings, load_checkpoint, prepare_out, save_checkpoint, start_accelerator
from .config import ContrastConfig, DenoiserConfig, DiffusionConfig, GeneratorConfig, Prediction, SamplingConfig
from .contrast import Contrast, ContrastTexts, Features, Pairs, autoencoder_features
from .denoiser import Denoiser, far_from_tumor
from .diffusion import noise_schedule
from .divergence import LossWatch, watched_loss
from .errors import GeneratorError
from .folder import write_folder
from .generator import Generator, Networks, load_autoencoder
from .held_out import HeldOut, Judge, Seen, best_seen, check_apart, with_seen
from .latents import TextTable, weights_hash
from .manifest import ManifestLine, digest, read_manifest, tell_skipped
from .parallel import ahead
from .sampling import sample_latents
from .sheets import save_sheet
from .text_encoder import text_config
from .training_set import (
    Batch,
    TrainingSet,
    Windows,
    check_rare_weight,
    draw_windows,
    near_tumor,
    noised,
    rare_weights,
    stacked,
    training_set,
    windows_loss,
)

VOXELWISE_PER_TEXT_STEP = 3  # steps in which the voxelwise path learns alone, for each of the adapter's
STEPS, LEARNING_RATE = 50_000, 3e-4
FINETUNE_STEPS, FINETUNE_RATE = 2_000, 1e-4
ATTENTION = ("attention", "time_emb", "adapter.", "voxelwise.time", "voxelwise.mix")  # parts of parameters' names
LOG_EVERY = 20  # steps
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


@dataclass(frozen=True)
class _Start:
    """What training begins with. ``base``: the generator that is fine-tuned, None for an untrained denoiser."""

    config: GeneratorConfig
    vqgan: Autoencoder
    base: Generator | None


def train_diffusion(
    manifest: Path,
    autoencoder: Path | None,
    out: Path,
    *,
    finetune: Path | None = None,
    only_attention: bool = False,
    rare_weight: float = 0.0,
    steps: int | None = None,
    batch: int = 8,
    accumulate: int = 1,
    learning_rate: float | None = None,
    seed: int = 0,
    resume: bool = False,
    cache: Path | None = None,
    mixed_precision: str = "no",
    text_encoder: str | None = None,
    prediction_type: Prediction | None = None,
    denoiser: DenoiserConfig | None = None,
    views: int = 1,
    text_steps: int = 800,
    ema_decay: float = 0.999,
    checkpoint_every: int = 200,
    sheet_every: int = 500,
    workers: int = 0,
    skip_bad: bool = False,
    validation: Path | None = None,
    judge: Judge | None = None,
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
    prepare them (0: this one). ``skip_bad``: go on without the lines that cannot be used, and list them.
    ``accumulate``: batches of ``batch`` windows, per process, whose gradients make one step. ``contrast``: the term of
    Eq. 2, off by default; ``contrast_texts``: what the manifest's texts say and what to contrast them with, None: the
    manifest's texts, which say their lines' descriptors; ``features``: f of Eq. 2, which a resumed run has to be given
    again.

    ``finetune``: a generator's folder to go on from, instead of ``autoencoder``; networks, text encoder and the scale
    of what tumors add are its own. The adapter knows words already: in ``text_steps`` only what reads descriptors off
    it is learned, and the voxelwise path joins at once. ``only_attention``: of the denoiser only attention, and what
    time and text reach it by, is trained. ``rare_weight``: how much more voxels far from their tumor's mean count
    (``training_set.rare_weights``). By default ``STEPS`` and ``LEARNING_RATE``, fine-tuning ``FINETUNE_STEPS``
    and ``FINETUNE_RATE``.

    ``validation``: a manifest of held-out CT, looked at with every sample sheet and at the end (``held_out``), with
    ``judge`` on sampled tumors; the best generator so far is in ``out / "best"``.

    The folder holds the moving average of the weights. Everything random at a step follows from (seed, step, part),
    parts being the batches of all processes: 2 processes do what one does that accumulates 2 batches. The noise of a
    seed is another on a GPU. Raises :class:`GeneratorError` for unusable data or folders, and for a loss that is no
    number or runs away.
    """
    usual_steps, usual_rate = (STEPS, LEARNING_RATE) if finetune is None else (FINETUNE_STEPS, FINETUNE_RATE)
    steps = usual_steps if steps is None else steps
    learning_rate = usual_rate if learning_rate is None else learning_rate
    numbers = {"steps": steps, "batch": batch, "accumulate": accumulate, "views": views}
    check_settings(seed, mixed_precision, learning_rate=learning_rate, **numbers)
    check_rare_weight(rare_weight)
    skipped: list[str] | None = [] if skip_bad else None
    lines = read_manifest(manifest, skipped)
    held_out_lines = [] if validation is None else read_manifest(validation, skipped)
    if validation is not None:
        check_apart(lines, held_out_lines, validation)
    start = _start(autoencoder, finetune, text_encoder, prediction_type, denoiser)
    if only_attention and start.base is None:
        raise GeneratorError("--only-attention is for a trained denoiser; give --finetune a generator's folder.")
    accelerator = start_accelerator(out, mixed_precision)
    facts: dict[str, Any] = {"batch": batch, "batches_per_step": accumulate * accelerator.num_processes}
    facts |= {"learning_rate": learning_rate, "seed": seed, "views": views}
    others = None
    if contrast is not None and contrast.weight:
        others = contrast_texts or ContrastTexts.of_manifest(lines)
        others.check(lines)
        facts["contrast"] = {**contrast.model_dump(), "texts": others.digest}
        if features is not autoencoder_features:
            facts["contrast"]["features"] = _named(features)
    if rare_weight:
        facts["rare_weight"] = rare_weight
    if start.base is not None:
        facts["finetuned"] = {"trained": "attention" if only_attention else "all", "base": _record(start.base)}
    config = start.config
    assert config.text is not None
    assert config.denoiser is not None
    run = {
        "contrast": None,
        "finetuned": None,
        **facts,
        "mixed_precision": mixed_precision,
        "manifest": digest(lines),
        "validation": None if validation is None else digest(held_out_lines),
        "prediction_type": config.diffusion.prediction_type,
        "autoencoder": weights_hash(start.vqgan),
        "text": config.text.model_dump(mode="json"),
        "denoiser": config.denoiser.model_dump(mode="json"),
    }
    resumed = prepare_out(out, resume, run)
    accelerator.init_trackers("diffusion")
    progress = progress and accelerator.is_main_process
    vqgan = start.vqgan.to(accelerator.device)
    with accelerator.main_process_first():
        more = () if others is None else others.texts
        prepared = (vqgan, config, cache or out)
        bfloat16 = mixed_precision == "bf16"
        examples = training_set(lines, more, *prepared, views, seed, workers, progress, skipped, bfloat16=bfloat16)
        held_out = None
        if validation is not None:
            unseen = training_set(held_out_lines, (), *prepared, 1, seed, workers, progress, skipped, bfloat16=bfloat16)
            held_out = HeldOut(unseen, judge, seed)
    if accelerator.is_main_process:
        tell_skipped(skipped)
    # of the folder that the autoencoder comes from nothing else is part of this generator
    trained_before = {} if start.base is not None else {k: v for k, v in config.training.items() if k == "autoencoder"}
    config = config.model_copy(
        update={
            "training": {**trained_before, "diffusion": {"steps": steps, **facts, "cases": len(examples.lines)}},
            "data": data or ("" if start.base is None else config.data),
            "licence": licence or ("" if start.base is None else config.licence),
        }
    )

    set_seed(seed)
    network = _network(start, examples, only_attention)
    taught = [parameter for parameter in network.parameters() if parameter.requires_grad]
    average = EMAModel(network.parameters(), decay=ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    optimizer = torch.optim.AdamW(taught, learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
    network, optimizer = accelerator.prepare(network, optimizer)
    watch = LossWatch(out, partial(accelerator.reduce, reduction="mean"))
    accelerator.register_for_checkpointing(average, watch)
    done = load_checkpoint(accelerator, out, steps) if resumed else 0
    average.to(accelerator.device)  # after the checkpoint, which comes back on the CPU
    schedule = noise_schedule(config.diffusion)
    plain = accelerator.unwrap_model(network)

    if not done and text_steps:
        _teach_words(plain, examples, text_steps, seed, progress, heads_only=start.base is not None)
        if start.base is None:
            _teach_voxelwise(plain, examples, VOXELWISE_PER_TEXT_STEP * text_steps, 2 * batch, schedule, seed, progress)
        for value in plain.state_dict().values():
            broadcast(value)  # GPUs do not add up in the same order
    term = None
    if contrast is not None and others is not None:
        term = Contrast.of_training_set(
            contrast, others, schedule, examples.cached, examples.lines, features, seed=seed, device=accelerator.device
        )

    def draw(of: tuple[int, int]) -> tuple[Windows, Pairs | None]:
        given = draw_windows(examples, batch, config.diffusion.steps, np.random.default_rng([seed, 1, *of]))
        # of another stream, so that everything else is drawn as without contrast
        rng = np.random.default_rng([seed, 5, *of])
        return given, None if term is None else _pairs(term, given, examples.texts, rng)

    def publish(step: int) -> None:
        if accelerator.is_main_process:
            seen = _publish(out, step, plain, average, vqgan, config, examples, held_out, seed)
            if seen is not None:
                numbers = {"held_out_loss": seen.loss, "text_control": seen.text_control}
                accelerator.log({name: value for name, value in numbers.items() if value is not None}, step=step)
                bar.write(str(seen))

    parts = range(accelerator.process_index, accumulate * accelerator.num_processes, accelerator.num_processes)
    windows = ahead(draw, [(step, part) for step in range(done, steps) for part in parts])
    bar = tqdm(range(done, steps), initial=done, total=steps, desc="diffusion", disable=not progress)
    if done and done % sheet_every == 0 and done != steps:
        publish(done)  # the run may have been killed before it did
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(step, steps)
        optimizer.zero_grad()
        told: list[dict[str, Tensor]] = []
        for left in reversed(range(accumulate)):
            given, pairs = next(windows)
            torch.manual_seed(given.noise_seed + 1)  # of the adapter's dropout; the noise has a source of its own
            with accelerator.no_sync(network) if left else nullcontext():
                with accelerator.autocast():
                    drawn = noised(given, plain.denoiser, schedule)
                    total, losses = _losses(network, plain, drawn, pairs, term, rare_weight)
                accelerator.backward(total / accumulate)
            told.append(losses)
        norm = accelerator.clip_grad_norm_(taught, 1.0)
        optimizer.step()
        average.step(network.parameters())
        means = {name: torch.stack([losses[name] for losses in told if name in losses]) for name in told[0]}
        watch.add(watched_loss(means["total"].mean(), norm, mixed_precision))

        last = step + 1 == steps
        checkpoint = last or (step + 1) % checkpoint_every == 0 or (step + 1) % sheet_every == 0
        if step % LOG_EVERY == 0 or checkpoint:
            watch.look(step)
        if step % LOG_EVERY == 0:
            logged = {name: float(value.nanmean()) for name, value in means.items()}
            for name in ("loss", "words"):  # of all processes
                logged[name] = float(accelerator.reduce(means[name].mean(), "mean"))
            accelerator.log(logged, step=step)
            bar.set_postfix_str(f"loss {logged['loss']:.3f}, words {100 * logged['right']:.0f} %")
        if checkpoint:
            save_checkpoint(accelerator, out, step + 1)
        if (step + 1) % sheet_every == 0 and not last:
            publish(step + 1)
    publish(steps)
    accelerator.end_training()
    return out


def _start(
    autoencoder: Path | None,
    finetune: Path | None,
    text_encoder: str | None,
    prediction_type: Prediction | None,
    denoiser: DenoiserConfig | None,
) -> _Start:
    if finetune is None:
        if autoencoder is None:
            raise GeneratorError("Diffusion needs an autoencoder; give --autoencoder a folder, or --finetune one.")
        base, vqgan = load_autoencoder(autoencoder)
        fresh = {
            "text": text_config(text_encoder),
            "denoiser": denoiser or DenoiserConfig(),
            "diffusion": DiffusionConfig(prediction_type=prediction_type or "v_prediction"),
            "sampling": SamplingConfig(),  # not that of the day when the autoencoder was trained
            "distilled": None,
        }
        return _Start(base.model_copy(update=fresh), vqgan, None)
    own = {"autoencoder": autoencoder, "text-encoder": text_encoder, "prediction-type": prediction_type}
    for name, given in own.items():
        if given is not None:
            raise GeneratorError(f"{finetune}: has a {name.replace('-', ' ')} of its own; leave out --{name}.")
    if denoiser is not None:
        raise GeneratorError(f"{finetune}: has a denoiser of its own; give no other one.")
    generator = Generator.load(finetune)
    # what was distilled from the denoiser as it is would not follow it
    return _Start(generator.config.model_copy(update={"distilled": None}), generator.networks.autoencoder, generator)


def _named(features: Features) -> str:
    """What tells one f from another: a network's weights, a function's name."""
    if isinstance(features, nn.Module):
        return weights_hash(features)
    return f"{getattr(features, '__module__', '')}.{getattr(features, '__qualname__', type(features).__qualname__)}"


def _record(base: Generator) -> dict[str, Any]:
    """What a fine-tuned generator's folder says of its base."""
    config = base.config
    return {
        "weights": base.weights_hash,
        "training": config.training,
        "data": config.data,
        "licence": config.licence,
    }


def _network(start: _Start, examples: TrainingSet, only_attention: bool) -> Trained:
    config = start.config
    if start.base is not None:
        network = Trained(start.base.networks.denoiser.train().requires_grad_(True), examples.words)
        if only_attention:
            for name, parameter in network.denoiser.named_parameters():
                parameter.requires_grad_(any(part in name for part in ATTENTION))
        return network
    assert config.text is not None
    assert config.denoiser is not None
    network = Trained(Denoiser(config.denoiser, config.autoencoder, config.text), examples.words)
    network.denoiser.tumor_sd.copy_(_tumor_sd(examples))
    return network


def _losses(
    network: nn.Module,
    plain: Trained,
    drawn: Batch,
    pairs: Pairs | None,
    term: Contrast | None,
    rare_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What is optimized, and what of it is told. ``network``: ``plain`` as accelerate wraps it."""
    predicted, said = network(*_seen(drawn, pairs))
    own, other = predicted[: len(drawn.t)], predicted[len(drawn.t) :]
    loss = windows_loss(own, drawn.target, drawn.mask, rare_weights(drawn.z0, drawn.mask, rare_weight))
    words, right = plain.heads.loss(said[: len(drawn.t)], drawn.lines)
    total, told = loss + WORDS_WEIGHT * words, {"loss": loss, "words": words, "right": right}
    if term is not None and pairs is not None:
        of = pairs.rows.to(own.device)
        windows_of = (drawn.z_t[of], drawn.t[of], drawn.z_healthy[of], drawn.mask[of])
        contrasted, distance = term.loss(plain.denoiser, *windows_of, own[of], other, pairs)
        total = total + term.config.weight * contrasted
        told |= {"contrast": contrasted, **_apart(distance, pairs)}
    return total, {name: value.detach() for name, value in {**told, "total": total}.items()}


def _publish(
    out: Path,
    step: int,
    network: Trained,
    average: EMAModel,
    vqgan: Autoencoder,
    config: GeneratorConfig,
    examples: TrainingSet,
    held_out: HeldOut | None,
    seed: int,
) -> Seen | None:
    """Write the generator folder and a sample sheet, both of the averaged weights; and look at held-out tumors."""
    average.store(network.parameters())
    average.copy_to(network.parameters())
    network.eval()
    networks, seen = Networks(vqgan, network.denoiser), None
    config = _of_step(config, step)
    if held_out is not None:
        seen = held_out.look(step, networks, config)
        config = with_seen(config, seen)
        if seen.better_than(best_seen(out / "best")):
            write_folder(out / "best", config, networks)
    write_folder(out, config, networks)
    shown = examples if held_out is None else held_out.examples
    _sheet(out / "sheets" / f"diffusion-{step:06d}.png", network.denoiser, vqgan, config, shown, seed)
    network.train()
    average.restore(network.parameters())
    return seen


def _of_step(config: GeneratorConfig, step: int) -> GeneratorConfig:
    """A generator's record with the number of steps after which it is written, which may not be the last."""
    diffusion = {**config.training["diffusion"], "steps": step}
    return config.model_copy(update={"training": {**config.training, "diffusion": diffusion}})


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


def _apart(distance: Tensor, pairs: Pairs) -> dict[str, Tensor]:
    """Mean distances (P,) of similar and of different pairs, where there are any."""
    named = {"similar": pairs.similar, "different": ~pairs.similar}
    return {name: distance[chosen.to(distance.device)].mean() for name, chosen in named.items() if chosen.any()}


def _teach_words(
    network: Trained, examples: TrainingSet, steps: int, seed: int, progress: bool, *, heads_only: bool
) -> None:
    """Let the text adapter learn the descriptors before the denoiser listens to it.

    ``heads_only``: of an adapter that knows them only what reads them off it, which a generator's folder lacks.
    """
    if not examples.words:
        return
    adapter = [] if heads_only else [*network.denoiser.adapter.parameters()]
    taught = [*adapter, *network.heads.parameters()]
    device = network.denoiser.tumor_sd.device
    optimizer = torch.optim.AdamW(taught, 1e-3)
    lines = list(examples.lines.values())
    bar = tqdm(range(steps), desc="words", disable=not progress)
    for step in bar:
        rng = np.random.default_rng([seed, 2, step])
        optimizer.param_groups[0]["lr"] = 1e-3 * rate(step, steps)
        drawn = [lines[int(i)] for i in rng.integers(0, len(lines), 64)]
        tokens, mask = examples.texts([str(rng.choice(line.texts)) for line in drawn])
        with torch.set_grad_enabled(not heads_only):
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
