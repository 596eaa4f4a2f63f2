"""Held-out tumors, looked at while diffusion trains: the denoising loss, and whether sampled ones obey their texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from .config import GeneratorConfig
from .crops import load_crop, random_window
from .diffusion import noise_schedule
from .errors import GeneratorError
from .folder import CONFIG_NAME, read_config
from .generator import Generator, Networks
from .manifest import ManifestLine
from .training_set import TrainingSet, Windows, noised, stacked, windows_loss
from .volumes import Spacing

MOST = 32  # held-out tumors that are looked at
NOISE = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of the schedule's steps at which the loss is measured
TOGETHER = 8  # regions sampled at once

Judge = Callable[[np.ndarray, np.ndarray, Spacing, str, ManifestLine], Mapping[str, bool]]
"""Of a sampled tumor: CT in HU and mask (D, H, W), voxel size in mm, the text that asked for it and its manifest line;
descriptor -> whether the tumor shows what the text says. Descriptors that cannot be judged are left out."""


class Seen(BaseModel):
    """What was seen of ``tumors`` held-out tumors after ``step`` steps.

    ``loss``: of denoising; ``text_control``: share of ``judged`` descriptors of sampled tumors that are as their texts
    say, null where none was judged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    tumors: int
    loss: float
    text_control: float | None = None
    judged: int = 0

    def better_than(self, other: Seen | None) -> bool:
        """More text control, or as much at a lower loss."""
        return other is None or (self.text_control or 0.0, -self.loss) > (other.text_control or 0.0, -other.loss)

    def __str__(self) -> str:
        told = f"{self.step} steps: held-out loss {self.loss:.3f}"
        if self.text_control is None:
            return told
        return f"{told}, text control {100 * self.text_control:.0f} % of {self.judged}"


class HeldOut:
    """Up to ``MOST`` held-out tumors, each with one of its texts and its own noise, the same at every look."""

    def __init__(self, examples: TrainingSet, judge: Judge | None, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        self.examples, self.judge, self.seed = examples, judge, seed
        self._chosen = sorted(int(i) for i in rng.permutation(len(examples.cached))[:MOST])
        self._texts = [str(rng.choice(examples.lines[examples.crops[i].line].texts)) for i in self._chosen]

    def look(self, step: int, networks: Networks, config: GeneratorConfig) -> Seen:
        """At networks in evaluation mode."""
        loss, verdicts = self._loss(networks, config), self._verdicts(networks, config)
        share = sum(verdicts) / len(verdicts) if verdicts else None
        return Seen(step=step, tumors=len(self._chosen), loss=loss, text_control=share, judged=len(verdicts))

    @torch.no_grad()
    def _loss(self, networks: Networks, config: GeneratorConfig) -> float:
        denoiser, schedule = networks.denoiser, noise_schedule(config.diffusion)
        losses = []
        for number, (index, text) in enumerate(zip(self._chosen, self._texts, strict=True)):
            example = self.examples.cached[index]
            tokens, token_mask = self.examples.texts([text])
            for share in NOISE:
                given = Windows(
                    latents=stacked([example]),
                    tokens=tokens,
                    token_mask=token_mask,
                    t=torch.tensor([round(share * config.diffusion.steps)]),
                    drop=torch.tensor([False]),
                    noise_seed=number,
                    lines=[],
                    said=[text],
                )
                drawn = noised(given, denoiser, schedule)
                context = denoiser.adapter(drawn.tokens, drawn.token_mask)
                predicted = denoiser(drawn.z_t, drawn.t, drawn.z_healthy, drawn.plain, drawn.mask, *context)
                losses.append(float(windows_loss(predicted, drawn.target, drawn.mask)))
        return float(np.mean(losses))

    def _verdicts(self, networks: Networks, config: GeneratorConfig) -> list[bool]:
        """On each judged descriptor of each tumor, sampled as the generator's folder would."""
        if self.judge is None:
            return []
        generator = Generator(config, next(networks.parameters()).device)
        generator.networks.load_state_dict(networks.state_dict())
        by_shape: dict[tuple[int, ...], list[tuple[int, np.ndarray, np.ndarray]]] = {}
        for number, index in enumerate(self._chosen):
            ct, mask = random_window(
                *load_crop(self.examples.crops[index].path), np.random.default_rng([self.seed, 8, index])
            )
            by_shape.setdefault(ct.shape, []).append((number, ct, mask))
        verdicts: list[bool] = []
        for regions in by_shape.values():
            for start in range(0, len(regions), TOGETHER):
                numbers, cts, masks = zip(*regions[start : start + TOGETHER], strict=True)
                texts = [self._texts[number] for number in numbers]
                made = generator.synthesize(np.stack(cts), np.stack(masks), texts, seed=numbers[0])
                for number, ct, mask, text in zip(numbers, made, masks, texts, strict=True):
                    line = self.examples.lines[self.examples.crops[self._chosen[number]].line]
                    verdicts += self.judge(ct, mask, config.domain.spacing_mm, text, line).values()
        return verdicts


def check_apart(training: list[ManifestLine], held_out: list[ManifestLine], manifest: Path) -> None:
    """Raise :class:`GeneratorError` for a held-out CT that is trained on."""
    trained = {line.image.resolve() for line in training}
    for line in held_out:
        if line.image.resolve() in trained:
            raise GeneratorError(
                f"{manifest}: line {line.id!r}: {line.image} is in the training manifest too; hold it out of one."
            )


def best_seen(folder: Path) -> Seen | None:
    """What was seen of the generator in ``folder``, the best so far; None: there is none yet."""
    if not (folder / CONFIG_NAME).is_file():
        return None
    return Seen.model_validate(read_config(folder).training["validation"])


def with_seen(config: GeneratorConfig, seen: Seen) -> GeneratorConfig:
    """A generator's record with what was seen of it."""
    training: dict[str, Any] = {**config.training, "validation": seen.model_dump()}
    return config.model_copy(update={"training": training})
