"""Distilling the guided sampler into a second denoiser that takes a few steps without guidance.

The teacher's trajectories, from noise to a tumor, are computed once. The student learns to go from each point that it
will stop at to the next one in a single step of DDIM, in the manner of progressive distillation (Salimans and Ho 2022),
but from all of the teacher's steps to the few at once. What the teacher needs many calls for (two a step for guidance
(Meng et al. 2023), more for the noisiest steps, see ``sampling``) then is in the student's weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoints import USUAL, check_settings, load_checkpoint, prepare_out, save_checkpoint, start_accelerator
from .config import DiffusionConfig, DistilledConfig
from .denoiser import Denoiser
from .diffusion import noise_schedule, sampling_timesteps
from .divergence import LossWatch, watched_loss
from .errors import GeneratorError
from .folder import write_folder
from .generator import Generator, distilled_denoiser, own_parts
from .held_out import Judge
from .latents import CachedWindow, save_tensors, weights_hash, window_voxels
from .manifest import ManifestLine, digest, read_manifest, tell_skipped
from .parallel import ahead
from .sampling import mean_within, trajectory
from .train_diffusion import rate
from .training_set import (
    TrainingSet,
    check_rare_weight,
    draw_examples,
    near_tumor,
    rare_weights,
    stacked,
    training_set,
    weighted_mean,
    windows_loss,
)

TRAJECTORY_VERSION = 2  # raised when the teacher samples otherwise than before
JUDGE_VERSION = 2  # raised when text_control judges otherwise than before
FINER = 3  # of the teacher's steps for each of the student's
KEPT_BACK = 0.05  # of the trajectories, to see what the student makes of noise that it was not trained on


@dataclass(frozen=True)
class Trajectories:
    """B windows: ``z`` (S + 1, B, C, d, h, w), from noise to z0, at the student's S timesteps and the end.

    ``z_healthy``, ``plain``, ``mask``, ``context`` and ``pooled``: what the denoiser is given with them.
    """

    z: Tensor
    z_healthy: Tensor
    plain: Tensor
    mask: Tensor
    context: Tensor
    pooled: Tensor

    @property
    def given(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.z_healthy, self.plain, self.mask, self.context, self.pooled


def train_distillation(
    manifest: Path,
    generator: Path | None,
    out: Path,
    *,
    sampling_steps: int = 4,
    trajectories: int = 3000,
    candidates: int = 1,
    also: Sequence[Path] = (),
    judge: Judge | None = None,
    rare_weight: float = 0.0,
    steps: int = 3000,
    batch: int = 16,
    learning_rate: float = 3e-4,
    seed: int = 0,
    resume: bool = False,
    cache: Path | None = None,
    mixed_precision: str = "no",
    ema_decay: float = 0.999,
    checkpoint_every: int = 200,
    workers: int = 0,
    skip_bad: bool = False,
    progress: bool = True,
) -> Path:
    """Distil a generator on a manifest's windows and texts, and write it with its second denoiser.

    ``generator``: a folder, None for the shipped one; ``sampling_steps``: of the student; ``trajectories``: of the
    teacher, each from its own noise, of a random window and the text of another one (``manifest``'s); ``candidates``:
    noises that it is tried from, at most, until the tumor is what ``judge`` reads in its text, so that the student
    learns what the teacher can do rather than what it mostly does; ``also``: generators with the same autoencoder that
    make the candidates in turn with the teacher, which makes the first, so that each may know what the others do not
    and the student learns it from all; ``rare_weight``: how much more voxels far from their tumor's mean count in the
    loss (``training_set.rare_weights``); ``cache``: where crops, latents, text embeddings and
    trajectories are kept, ``out`` by default. ``workers``: processes that prepare crops and latents. ``skip_bad``: go
    on without the lines that cannot be used, and list them. Adapter and autoencoder stay as they are.

    Raises :class:`GeneratorError` for unusable data or folders, for a generator that predicts epsilon, for several
    candidates without a judge, and for generators in ``also`` that do not fit the teacher or are never asked.
    """
    numbers = {"steps": steps, "batch": batch, "trajectories": trajectories, "candidates": candidates}
    check_settings(seed, mixed_precision, learning_rate=learning_rate, **numbers)
    check_rare_weight(rare_weight)
    if candidates > 1 and judge is None:
        raise GeneratorError(f"candidates is {candidates}, which needs a judge to choose by; give one.")
    skipped: list[str] | None = [] if skip_bad else None
    lines = read_manifest(manifest, skipped)
    teacher = Generator.load(generator)
    if teacher.config.diffusion.prediction_type != "v_prediction":
        raise GeneratorError("Only a generator that predicts v can be distilled; train diffusion with v_prediction.")
    if not 1 <= sampling_steps * FINER <= teacher.config.diffusion.steps:
        raise GeneratorError(f"{sampling_steps} steps cannot be distilled; give 1 to 66, better 4.")
    facts: dict[str, Any] = {
        "steps": sampling_steps,
        "trajectories": trajectories,
        "batch": batch,
        "learning_rate": learning_rate,
    }
    teachers = [teacher, *(_fitting(folder, teacher) for folder in also)]
    if len(teachers) > candidates:
        raise GeneratorError(f"{len(teachers)} generators cannot share {candidates} candidates; give as many or more.")
    others = [weights_hash(other.networks) for other in teachers[1:]]
    choices = {"candidates": candidates, "also": others, "rare_weight": rare_weight}
    facts |= {name: value for name, value in choices.items() if value != USUAL[name]}
    accelerator = start_accelerator(out, mixed_precision)
    facts |= {"processes": accelerator.num_processes}
    run: dict[str, Any] = {
        **facts,
        "mixed_precision": mixed_precision,
        "seed": seed,
        "generator": weights_hash(teacher.networks),
        "manifest": digest(lines),
    }
    resumed = prepare_out(out, resume, run)
    accelerator.init_trackers("distillation")
    progress = progress and accelerator.is_main_process
    for each in teachers:
        each.networks.to(accelerator.device)
    with accelerator.main_process_first():
        vqgan, folder = teacher.networks.autoencoder, cache or out
        prepared = (vqgan, teacher.config, folder, 1, seed, workers, progress, skipped)
        examples = training_set(lines, (), *prepared, bfloat16=mixed_precision == "bf16")
    if accelerator.is_main_process:
        tell_skipped(skipped)
    drawn_from = (sampling_steps, batch, seed, candidates)
    folder = folder / f"trajectories-{_of_trajectories(teachers, examples, *drawn_from)}"
    number = max(2, round(trajectories / batch))
    files = cache_trajectories(teachers, examples, folder, number, *drawn_from, judge, accelerator, progress)
    kept = max(1, round(KEPT_BACK * len(files)))
    taught, unseen = files[:-kept], files[-kept:]

    set_seed(seed)
    student = distilled_denoiser(teacher.networks.denoiser)
    learned = own_parts(student).train().requires_grad_(True)
    average = EMAModel(learned.parameters(), decay=ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    optimizer = torch.optim.AdamW(learned.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
    network, optimizer = accelerator.prepare(student, optimizer)
    watch = LossWatch(out, partial(accelerator.reduce, reduction="mean"))
    accelerator.register_for_checkpointing(average, watch)
    done = load_checkpoint(accelerator, out, steps) if resumed else 0
    average.to(accelerator.device)

    def draw(step: int) -> tuple[Trajectories, Tensor]:
        rng = np.random.default_rng([seed, 1, step, accelerator.process_index])
        drawn = read_trajectories(taught[int(rng.integers(len(taught)))])
        return drawn, torch.from_numpy(rng.integers(0, sampling_steps, drawn.z.shape[1]))

    def publish(step: int) -> None:
        if accelerator.is_main_process:
            error, level = _publish(out, teacher, student, learned, average, unseen, sampling_steps, facts)
            accelerator.log({"error": error, "level": level}, step=step)
            bar.write(f"{step} steps: unseen noise: error {error:.3f}, of the level {level:.3f} of the tumor's SD")

    bar = tqdm(range(done, steps), initial=done, total=steps, desc="distillation", disable=not progress)
    for step, (drawn, at) in zip(bar, ahead(draw, range(done, steps)), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(step, steps)
        drawn, at = _on(drawn, accelerator.device), at.to(accelerator.device)
        z_t, t, target = step_targets(drawn, at, teacher.config.diffusion, sampling_steps)
        with accelerator.autocast():
            predicted = network(z_t, t, *drawn.given)
            loss = windows_loss(predicted, target, drawn.mask, rare_weights(drawn.z[-1], drawn.mask, rare_weight))
        optimizer.zero_grad()
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(learned.parameters(), 1.0)
        optimizer.step()
        average.step(learned.parameters())
        watch.add(watched_loss(loss, norm, mixed_precision))
        last = step + 1 == steps
        if step % 20 == 0 or (step + 1) % checkpoint_every == 0 or last:
            watch.look(step)
        if step % 20 == 0:
            accelerator.log({"loss": float(loss.detach())}, step=step)
            bar.set_postfix_str(f"loss {float(loss.detach()):.4f}")
        if (step + 1) % checkpoint_every == 0 or last:
            save_checkpoint(accelerator, out, step + 1)
            if not last:
                publish(step + 1)
    publish(steps)  # also where a run is resumed that was killed before it did
    accelerator.end_training()
    return out


def _fitting(folder: Path, teacher: Generator) -> Generator:
    """A further generator, whose latents, texts and tumors mean the same as the teacher's."""
    other = Generator.load(folder)
    theirs, ours = (
        (each.config.domain, each.config.text, each.config.diffusion.prediction_type) for each in (other, teacher)
    )
    same = weights_hash(other.networks.autoencoder) == weights_hash(teacher.networks.autoencoder)
    scales = other.networks.denoiser.tumor_sd, teacher.networks.denoiser.tumor_sd
    if theirs != ours or not same or not torch.equal(*scales):
        raise GeneratorError(f"{folder}: does not fit the generator that is distilled; give one fine-tuned from it.")
    return other


def _of_trajectories(
    teachers: Sequence[Generator], examples: TrainingSet, sampling_steps: int, batch: int, seed: int, candidates: int
) -> str:
    """Changes with whatever trajectories depend on, so that those of another run are never used."""
    facts = [f"{weights_hash(each.networks)} {each.config.sampling.model_dump_json()}" for each in teachers]
    facts += [digest(examples.lines.values()), *(crop.path.stem for crop in examples.crops)]
    facts += [str(number) for number in (TRAJECTORY_VERSION, sampling_steps, batch, seed)]
    facts += [f"{candidates} {JUDGE_VERSION}"] if candidates > 1 else []
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:16]


def cache_trajectories(
    teachers: Sequence[Generator],
    examples: TrainingSet,
    folder: Path,
    number: int,
    sampling_steps: int,
    batch: int,
    seed: int,
    candidates: int,
    judge: Judge | None,
    accelerator: Accelerator,
    progress: bool = True,
) -> list[Path]:
    """Sample ``number`` batches of trajectories, or keep what an earlier run has left; each process its share."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:06d}.safetensors" for i in range(number)]
    mine = [(i, file) for i, file in enumerate(files) if i % accelerator.num_processes == accelerator.process_index]
    missing = [(i, file) for i, file in mine if not file.is_file()]
    hidden = not (progress and accelerator.is_main_process)
    bar = tqdm(missing, total=len(mine), initial=len(mine) - len(missing), desc="trajectories", disable=hidden)
    for i, file in bar:
        asked = _asked(teachers[0], examples, batch, np.random.default_rng([seed, 6, i]))
        best = _sampled(teachers[0], asked, range(len(asked.texts)), sampling_steps, accelerator)
        if judge is not None and candidates > 1:
            best, share = _most_obedient(best, teachers, asked, sampling_steps, candidates, judge, accelerator)
            bar.set_postfix_str(f"{100 * share:.0f} % as asked")
        save_tensors(file, {name: value.half().cpu().contiguous() for name, value in vars(best).items()})
    accelerator.wait_for_everyone()
    return files


def read_trajectories(file: Path) -> Trajectories:
    """What :func:`cache_trajectories` wrote, float32."""
    return Trajectories(**{name: value.float() for name, value in load_file(file).items()})


@dataclass(frozen=True)
class _Asked:
    """B windows and what they are asked for; ``latents``: z_healthy, plain and mask, as in Trajectories."""

    windows: list[CachedWindow]
    lines: list[ManifestLine]  # whose texts they are
    texts: list[str]
    latents: tuple[Tensor, Tensor, Tensor]
    tokens: tuple[Tensor, Tensor]
    source: torch.Generator  # of the noise


@torch.no_grad()
def _asked(teacher: Generator, examples: TrainingSet, batch: int, rng: np.random.Generator) -> _Asked:
    denoiser = teacher.networks.denoiser
    device = denoiser.tumor_sd.device
    chosen = draw_examples(examples.buckets, batch, rng)
    all_lines = list(examples.lines.values())
    lines = [all_lines[int(i)] for i in rng.integers(0, len(all_lines), len(chosen))]
    texts = [str(rng.choice(line.texts)) for line in lines]
    _, z_healthy, z_plain, mask = (latents.to(device).float() for latents in stacked(chosen))
    tokens, token_mask = (part.to(device) for part in examples.texts(texts))
    source = torch.Generator().manual_seed(int(rng.integers(2**62)))
    latents = (z_healthy, denoiser.added(z_plain, z_healthy), mask)
    return _Asked([example.window for example in chosen], lines, texts, latents, (tokens, token_mask), source)


@torch.no_grad()
def _sampled(
    teacher: Generator, asked: _Asked, rows: Sequence[int], sampling_steps: int, accelerator: Accelerator
) -> Trajectories:
    """The teacher's, of some of the windows."""
    config = teacher.config
    z_healthy, plain, mask, *tokens = (value[list(rows)] for value in (*asked.latents, *asked.tokens))
    context, pooled = teacher.networks.denoiser.adapter(*tokens)
    noise = torch.randn(z_healthy.shape, generator=asked.source).to(z_healthy.device)
    points = trajectory(
        teacher.networks.denoiser,
        config.diffusion,
        z_healthy,
        plain,
        mask,
        context,
        pooled,
        noise,
        source=asked.source,
        solver=config.sampling.solver,
        steps=FINER * sampling_steps,
        guidance=config.sampling.guidance,
    )
    with accelerator.autocast():
        z = torch.stack([point for i, point in enumerate(points) if i % FINER == 0])
    return Trajectories(z, z_healthy, plain, mask, context, pooled)


def _most_obedient(
    first: Trajectories,
    teachers: Sequence[Generator],
    asked: _Asked,
    sampling_steps: int,
    candidates: int,
    judge: Judge,
    accelerator: Accelerator,
) -> tuple[Trajectories, float]:
    """Of each window the first of ``candidates`` trajectories that ends in what its text says, or the nearest to that.

    The teachers take turns; ``first`` is the first one's, whose reading of the texts the student shares. Also returns
    the mean share of the judged descriptors that are as asked.
    """
    z = first.z.clone()
    masks = [window_voxels(window.crop, window.view, window.seed)[1] for window in asked.windows]
    shares = _as_asked(first, teachers[0], asked, masks, range(len(masks)), judge)
    for number in range(1, candidates):
        rows = [int(row) for row in np.flatnonzero(shares < 1.0)]
        if not rows:
            break
        teacher = teachers[number % len(teachers)]
        again = _sampled(teacher, asked, rows, sampling_steps, accelerator)
        for i, share in enumerate(_as_asked(again, teacher, asked, masks, rows, judge)):
            if share > shares[rows[i]]:
                z[:, rows[i]], shares[rows[i]] = again.z[:, i], share
    return Trajectories(z, *first.given), float(shares.mean())


@torch.inference_mode()
def _as_asked(
    sampled: Trajectories,
    teacher: Generator,
    asked: _Asked,
    masks: Sequence[np.ndarray],
    rows: Sequence[int],
    judge: Judge,
) -> np.ndarray:
    """(R,): of each tumor the share of the judged descriptors that are as its text says; 1 where none is judged."""
    denoiser, spacing = teacher.networks.denoiser, teacher.domain.spacing_mm
    tumors = teacher.decoded(denoiser.with_tumor(sampled.z[-1].float(), sampled.z_healthy))
    shares = []
    for ct, row in zip(tumors, rows, strict=True):
        verdicts = judge(ct, masks[row], spacing, asked.texts[row], asked.lines[row])
        shares.append(np.mean(list(verdicts.values())) if verdicts else 1.0)
    return np.array(shares)


def step_targets(
    drawn: Trajectories, at: Tensor, config: DiffusionConfig, sampling_steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """For the point ``at`` (B,) of each trajectory: z_t, t (B,), and the v with which DDIM goes to the next point.

    With z = a z0 + s e and v = a e - s z0, DDIM goes to a' z0 + s' e = (a a' + s s') z + (a s' - s a') v.
    """
    steps = torch.tensor(sampling_timesteps(config, sampling_steps), device=at.device)
    alpha_bar = noise_schedule(config).alphas_cumprod.to(at.device)
    alpha_bar = torch.cat([alpha_bar[steps], alpha_bar.new_ones(1)])
    a, s = (x.sqrt().view(-1, 1, 1, 1, 1) for x in (alpha_bar, 1.0 - alpha_bar))
    rows = torch.arange(len(at), device=at.device)
    here, there = drawn.z[at, rows], drawn.z[at + 1, rows]
    a_here, s_here, a_there, s_there = a[at], s[at], a[at + 1], s[at + 1]
    v = (there - (a_here * a_there + s_here * s_there) * here) / (a_here * s_there - s_here * a_there)
    return here, steps[at], v


def _publish(
    out: Path,
    teacher: Generator,
    student: Denoiser,
    learned: nn.ModuleDict,
    average: EMAModel,
    unseen: Sequence[Path],
    sampling_steps: int,
    facts: dict[str, Any],
) -> tuple[float, float]:
    """Write the generator with the averaged student; returns the student's errors on trajectories it was not taught."""
    average.store(learned.parameters())
    average.copy_to(learned.parameters())
    student.eval()
    config = teacher.config.model_copy(
        update={
            "distilled": DistilledConfig(steps=sampling_steps),
            "training": {**teacher.config.training, "distillation": facts},
        }
    )
    write_folder(out, config, teacher.networks, learned)
    found = student_errors(student, config.diffusion, sampling_steps, unseen)
    student.train()
    average.restore(learned.parameters())
    return found


@torch.no_grad()
def student_errors(
    student: Denoiser, config: DiffusionConfig, sampling_steps: int, files: Sequence[Path]
) -> tuple[float, float]:
    """Root mean square difference of the student's z0 from the teacher's in and beside the tumor, of voxels and of the
    tumor's mean; from the same noise, in SDs of what tumors add."""
    errors, levels = [], []
    for file in files:
        drawn = _on(read_trajectories(file), student.tumor_sd.device)
        source = torch.Generator()
        settings: dict[str, Any] = {"solver": "distilled", "steps": sampling_steps, "guidance": 1.0}
        *_, z0 = trajectory(student, config, *drawn.given, drawn.z[0], source=source, **settings)
        difference, share = z0 - drawn.z[-1], (drawn.mask + 1.0) / 2.0
        errors.append(weighted_mean(difference**2, near_tumor(drawn.mask)))
        levels.append((mean_within(difference, share) ** 2).mean(dim=(1, 2, 3, 4)))
    return float(torch.cat(errors).mean().sqrt()), float(torch.cat(levels).mean().sqrt())


def _on(drawn: Trajectories, device: torch.device) -> Trajectories:
    return Trajectories(**{name: value.to(device) for name, value in vars(drawn).items()})
