"""Text-driven contrastive learning (section III-B, Eq. 2): wordings of one meaning make one tumor, other texts another.

Eq. 2 compares tumors made of different texts by frozen features f. Here a tumor is the one-step estimate of the clean
latents (Eq. 1) at the training step's own noise, so that a pair costs one more pass of the denoiser, with gradients,
instead of sampled loops without any. T_i and T_j share CT, mask, noise and timestep: whatever differs between the two
estimates is the text's doing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from .config import ContrastConfig
from .denoiser import Denoiser
from .diffusion import estimate_z0
from .errors import GeneratorError
from .latents import Example
from .manifest import ManifestLine

VISIBLE = ("attenuation", "enhancement", "texture", "composition", "margin")
"""What a text changes in the image. Host and mask give organ and size."""
MEASURED = 512  # training windows at most on which features are measured
FEWEST = 4  # windows of one look, to say how far its tumors are from another's

Features = Callable[[Tensor], Tensor]
"""f of Eq. 2, frozen: standardized latents (B, C, d, h, w) to feature maps (B, F, d', h', w'), with gradients."""

Look = tuple[str | None, ...]
"""The values of ``VISIBLE``; None: nothing is said."""

Contradiction = tuple[str, str, str]
"""A descriptor and the two values, in alphabetical order, that two texts give it."""


def contrast_config(weight: float, margin: float, share: float) -> ContrastConfig:
    """Raises :class:`GeneratorError` for a value that cannot be."""
    try:
        return ContrastConfig(weight=weight, margin=margin, share=share)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].replace("Input should", "it should")
        raise GeneratorError(f"The contrast's {first['loc'][0]} is {first['input']}; {reason}.") from None


def autoencoder_features(latents: Tensor) -> Tensor:
    """The default f: the autoencoder's encoder E. Eq. 1 estimates E(x) itself, so there is nothing left to compute.

    For a trained nnU-Net's encoder give a function that decodes first,
    ``lambda latents: encoder(autoencoder.decode(latents))[2]``.
    """
    return latents


@dataclass(frozen=True)
class Described:
    """Texts that say the same of a tumor: ``says``, descriptor to value; the ``organ`` that they name ("": none)."""

    says: Mapping[str, str]
    texts: tuple[str, ...]
    organ: str = ""


def visible(descriptors: Mapping[str, object]) -> dict[str, str]:
    """The descriptors that show in the image and are given as words."""
    return {field: str(descriptors[field]) for field in VISIBLE if isinstance(descriptors.get(field), str)}


@dataclass(frozen=True)
class _Meaning:
    organ: str
    look: Look


class ContrastTexts:
    """Similar and different texts for the texts of a manifest.

    ``known`` says what the manifest's texts mean; pairs are drawn among ``others``, or among ``known`` where there are
    none. A text that is given several meanings means what these have in common.
    """

    def __init__(self, known: Iterable[Described], others: Iterable[Described] = ()) -> None:
        known, others = list(known), list(others)
        self._meaning: dict[str, _Meaning] = {}
        for described in [*known, *others]:
            new = _Meaning(described.organ, _look(described.says))
            for text in described.texts:
                self._meaning[text] = _common(self._meaning.get(text, new), new)
        self.texts = tuple(dict.fromkeys(text for described in others or known for text in described.texts))
        self._wordings: dict[_Meaning, list[str]] = {}
        for text in self.texts:
            self._wordings.setdefault(self._meaning[text], []).append(text)
        self._similar: dict[_Meaning, list[str]] = {}
        self._different: dict[_Meaning, list[list[str]]] = {}

    @classmethod
    def of_manifest(cls, lines: Iterable[ManifestLine]) -> ContrastTexts:
        """Each text means what its line's descriptors say, whether or not it says so itself."""
        return cls(Described(visible(line.descriptors), tuple(line.texts), line.organ) for line in lines)

    @property
    def digest(self) -> str:
        """A short hash of all texts to draw from and of what they mean."""
        content = [[text, self._meaning[text].organ, self._meaning[text].look] for text in self.texts]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def similar(self, text: str, organ: str, rng: np.random.Generator) -> str | None:
        """Another wording of what ``text`` says, that names its organ or none; None where there is none.

        ``organ``: the lesion's, for a text that names none.
        """
        meaning = self._of(text, organ)
        if meaning is None:
            return None
        if meaning not in self._similar:
            organs = dict.fromkeys((meaning.organ, ""))
            self._similar[meaning] = [t for o in organs for t in self._wordings.get(_Meaning(o, meaning.look), ())]
        found = self._similar[meaning]
        for start in rng.permutation(len(found))[:2]:
            if found[start] != text:
                return found[start]
        return None

    def different(self, text: str, organ: str, rng: np.random.Generator) -> str | None:
        """A text that contradicts this one in at least one visible descriptor; None where there is none.

        That one says what the other leaves open is no contradiction: both may be of one tumor. It names the same organ
        or none where there is such a text, else any; looks come equally often.
        """
        meaning = self._of(text, organ)
        if meaning is None:
            return None
        if meaning not in self._different:
            against = [m for m in self._wordings if _contradictions(m.look, meaning.look)]
            of_organ = [m for m in against if m.organ in (meaning.organ, "")]
            self._different[meaning] = [self._wordings[m] for m in of_organ or against]
        found = self._different[meaning]
        if not found:
            return None
        texts = found[int(rng.integers(len(found)))]
        return texts[int(rng.integers(len(texts)))]

    def contradictions(self, first: str, second: str) -> tuple[Contradiction, ...]:
        """In which descriptors two known texts contradict each other."""
        return _contradictions(self._meaning[first].look, self._meaning[second].look)

    def check(self, lines: Sequence[ManifestLine]) -> None:
        """Raise :class:`GeneratorError` where no text of the manifest has a different one."""
        rng = np.random.default_rng(0)
        if not any(self.different(text, line.organ, rng) for line in lines for text in line.texts):
            raise GeneratorError(
                f"No text of the manifest has another that contradicts it; give its lines descriptors "
                f"({', '.join(VISIBLE)}) of two values or more, a description bank (--bank), or no contrast "
                "(--contrast-weight 0)."
            )

    def _of(self, text: str, organ: str) -> _Meaning | None:
        """What a text says of the image; None: nothing."""
        meaning = self._meaning.get(text)
        if meaning is None or not any(meaning.look):
            return None
        return _Meaning(meaning.organ or organ, meaning.look)


@dataclass(frozen=True)
class Pairs:
    """P other texts for windows of a batch."""

    rows: Tensor  # (P,) int: which windows
    similar: Tensor  # (P,) bool: whether the other text says the same as the window's own
    apart: Tensor  # (P,) float: by how much its tumor is to differ at least, at a margin of 1; 0 where it is similar
    tokens: Tensor  # (P, L, width), the other texts' embeddings
    token_mask: Tensor  # (P, L)


class Contrast:
    """The term of Eq. 2, ready to be drawn for and computed at each training step.

    ``sd`` (3 F,): of the pooled features over the training set, which they are divided by. ``distances``: between the
    mean features of the training set's tumors that differ in one descriptor.
    """

    def __init__(
        self,
        config: ContrastConfig,
        texts: ContrastTexts,
        schedule: Any,
        sd: Tensor,
        distances: Mapping[Contradiction, float],
        features: Features = autoencoder_features,
    ) -> None:
        self.config, self.texts, self.schedule, self.features = config, texts, schedule, features
        self.sd, self.distances = sd, dict(distances)
        known = list(self.distances.values())
        self._usual = float(np.sqrt(np.mean(np.square(known)))) if known else 1.0
        self._weights, self._open = noise_weight(schedule), open_to_text(schedule)

    @classmethod
    def of_training_set(
        cls,
        config: ContrastConfig,
        texts: ContrastTexts,
        schedule: Any,
        examples: Sequence[Example],
        lines: Mapping[str, ManifestLine],
        features: Features = autoencoder_features,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> Contrast:
        """With features measured on the training set's own tumors, on ``MEASURED`` of its windows at most."""
        order = np.random.default_rng([seed, 6]).permutation(len(examples))[:MEASURED]
        chosen = [examples[int(i)] for i in order]
        with torch.no_grad():
            found = []
            for example in chosen:
                z, z_healthy, mask = (x[None].to(device).float() for x in (example.z, example.z_healthy, example.mask))
                found.append(tumor_features(features, z, z_healthy, mask)[0].cpu())
        pooled = torch.stack(found)
        sd, usual = pooled.std(0, unbiased=False), pooled.abs().mean()
        sd = torch.where(sd > 0.01 * usual, sd, usual + 1e-6)  # of one tumor, or of a feature that none has
        distances = _distances(pooled / sd, [lines[example.line] for example in chosen])
        return cls(config, texts, schedule, sd.to(device), distances, features)

    def draw(
        self,
        given: Sequence[str],
        organs: Sequence[str],
        t: Tensor,
        usable: Sequence[bool],
        embed: Callable[[Sequence[str]], tuple[Tensor, Tensor]],
        rng: np.random.Generator,
    ) -> Pairs | None:
        """Similar and different texts, as far as there are any, for ``config.share`` of a batch; None: there are none.

        ``given``, ``organs``, ``t`` (B,): the windows' own texts, lesions' organs and timesteps; ``usable``: whether
        its own text is read; ``embed``: the text encoder. The windows whose noise level counts most are taken: others
        cost as much.
        """
        weights = self._weights[t]
        wanted = max(1, round(self.config.share * len(given)))
        found: list[tuple[int, bool, float, str]] = []
        for row in sorted((i for i in range(len(given)) if usable[i]), key=lambda i: -float(weights[i])):
            similar = self.texts.similar(given[row], organs[row], rng)
            different = self.texts.different(given[row], organs[row], rng)
            if similar is not None:
                found.append((row, True, 0.0, similar))
            if different is not None:
                found.append((row, False, self.apart(given[row], different), different))
            wanted -= similar is not None or different is not None
            if not wanted:
                break
        if not found:
            return None
        rows, same, apart, others = zip(*found, strict=True)
        tokens, token_mask = embed(others)
        return Pairs(torch.tensor(rows), torch.tensor(same), torch.tensor(apart), tokens, token_mask)

    def apart(self, first: str, second: str) -> float:
        """How far tumors of two contradicting texts lie apart in the training set, descriptors adding up as squares.

        A contradiction that the training set has too few tumors of counts like the usual one.
        """
        against = self.texts.contradictions(first, second)
        return float(np.sqrt(sum(self.distances.get(c, self._usual) ** 2 for c in against)))

    def loss(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        t: Tensor,
        z_healthy: Tensor,
        mask: Tensor,
        own: Tensor,
        other: Tensor,
        pairs: Pairs,
    ) -> tuple[Tensor, Tensor]:
        """Eq. 2 over P pairs, and the distance of each, (P,), to look at.

        ``z_t``, ``z_healthy`` (P, C, d, h, w), ``mask`` (P, 1, d, h, w), ``t`` (P,): of the pairs' windows; ``own`` and
        ``other``, shape of ``z_t``: the denoiser's predictions under the window's text and under the other one.
        """
        first, second = (
            tumor_features(
                self.features,
                denoiser.with_tumor(estimate_z0(self.schedule, z_t, predicted.float(), t), z_healthy),
                z_healthy,
                mask,
            )
            / self.sd
            for predicted in (own, other)
        )
        similar, apart = pairs.similar.to(z_t.device), pairs.apart.to(z_t.device)
        weight, left = self._weights.to(z_t.device)[t], self._open.to(z_t.device)[t]
        distance = feature_distance(first, second)
        loss = contrastive_loss(distance, similar, self.config.margin * apart * left, weight)
        return loss, distance.detach()


def open_to_text(schedule: Any) -> Tensor:
    """How much of the tumor z_t leaves to the text at each timestep: 1 - sqrt(alpha-bar), (T,)."""
    return 1.0 - schedule.alphas_cumprod.sqrt()


def noise_weight(schedule: Any) -> Tensor:
    """How much each timestep counts, (T,), at most 1: s (1 - s)^2 with s = sqrt(alpha-bar), the signal's share of z_t.

    With little noise z_t tells the tumor and no text can change it. With noise alone the estimate is a mean over all
    tumors of a text, without their texture. An estimate from the noise's prediction has its error times 1 / s, its
    square in the loss: there s^2 more.
    """
    left = open_to_text(schedule)
    weight = (1.0 - left) * left**2
    if schedule.config["prediction_type"] == "epsilon":
        weight = weight * (1.0 - left) ** 2
    return weight / weight.max()


def tumor_features(features: Features, z: Tensor, z_healthy: Tensor, mask: Tensor) -> Tensor:
    """What a tumor adds to frozen features, pooled: (B, 3 F).

    ``z``, ``z_healthy``: latents (B, C, d, h, w) with and without the tumor; ``mask`` (B, 1, d, h, w) from
    ``latent_mask``. Pooled are the mean over the tumor, the SD in it and the mean over the latent voxels around it. The
    first tells attenuation; it is blind to texture, which the second tells, and nearly so to margin, which the third
    does (benchmarks/contrast_features.py).
    """
    with torch.no_grad():
        healthy = features(z_healthy)
    added = features(z) - healthy
    share = (mask + 1.0) / 2.0
    around = F.max_pool3d(share, 3, 1, 1) - share
    depth, height, width = added.shape[2:]
    share, around = (F.adaptive_avg_pool3d(weight, (depth, height, width)) for weight in (share, around))
    mean = _mean(added, share)
    spread = _mean((added - mean[:, :, None, None, None]) ** 2, share)
    return torch.cat([mean, (spread + 1e-6).sqrt(), _mean(added, around)], dim=1)


def feature_distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square over features of the difference of (P, F) and (P, F): (P,)."""
    return ((first - second).square().mean(1) + 1e-8).sqrt()


def contrastive_loss(distance: Tensor, similar: Tensor, margin: Tensor, weight: Tensor) -> Tensor:
    """Eq. 2: distance^2 of similar pairs plus max(0, margin - distance)^2 of different ones, each a weighted mean.

    All (P,). The mean is over the number of pairs, not over the sum of weights: where all have a small weight, the
    term is small.
    """
    each = weight * torch.where(similar, distance, (margin - distance).clamp(min=0.0)).square()
    pulled, pushed = ((each * chosen).sum() / chosen.sum().clamp(min=1) for chosen in (similar, ~similar))
    return pulled + pushed


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Of (B, F, d, h, w) with (B, 1, d, h, w): (B, F)."""
    return (values * weight).sum((2, 3, 4)) / weight.sum((2, 3, 4)).clamp(min=0.1)


def _distances(features: Tensor, lines: Sequence[ManifestLine]) -> dict[Contradiction, float]:
    """Between the mean features (N, F) of lines that differ in one descriptor only, without what chance adds.

    All else must be equal: what a margin does to a dark tumor's border it does the other way round to a bright one's.
    """
    rows: dict[Look, list[int]] = {}
    for i, line in enumerate(lines):
        rows.setdefault(_look(visible(line.descriptors)), []).append(i)
    enough = {look: features[of] for look, of in rows.items() if len(of) >= FEWEST}
    squares: dict[Contradiction, list[tuple[float, int]]] = {}
    for (a, first), (b, second) in itertools.combinations(enough.items(), 2):
        against = _contradictions(a, b)
        if len(against) != 1 or sum(x != y for x, y in zip(a, b, strict=True)) != 1:
            continue
        chance = first.var(0).mean() / len(first) + second.var(0).mean() / len(second)
        square = float((first.mean(0) - second.mean(0)).square().mean() - chance)
        squares.setdefault(against[0], []).append((square, min(len(first), len(second))))
    return {
        against: max(0.0, sum(square * n for square, n in found) / sum(n for _, n in found)) ** 0.5
        for against, found in squares.items()
    }


def _look(says: Mapping[str, str]) -> Look:
    return tuple(says.get(field) for field in VISIBLE)


def _contradictions(first: Look, second: Look) -> tuple[Contradiction, ...]:
    compared = zip(VISIBLE, first, second, strict=True)
    return tuple((field, min(a, b), max(a, b)) for field, a, b in compared if a and b and a != b)


def _common(first: _Meaning, second: _Meaning) -> _Meaning:
    look = tuple(a if a == b else None for a, b in zip(first.look, second.look, strict=True))
    return _Meaning(first.organ if first.organ == second.organ else "", look)
