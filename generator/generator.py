"""A trained generator: healthy CT, tumor mask and text in, CT with a tumor out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from .autoencoder import Autoencoder, denormalize, normalize
from .config import SOLVERS, Domain, GeneratorConfig, Sampler, Sampling
from .crops import healthy_context, plain_tumor
from .denoiser import Denoiser, latent_mask
from .errors import GeneratorError
from .folder import DEFAULT_FOLDER, DISTILLED_NAME, read_config, read_weights, write_folder
from .implant import implant
from .latents import weights_hash
from .sampling import sample_latents
from .text_encoder import TextEncoder
from .volumes import Spacing

SHARPEN, SHARPEN_SIGMA_MM = 2.0, 1.5
SHARPEN_WITHIN = 5  # voxels, of the window whose values bound the sharpened ones
LEAST_RANGE_HU = 20.0  # from the lowest to the highest voxel of any CT in HU; normalized intensities have less

Array = TypeVar("Array", np.ndarray, Tensor)


class Generator:
    """Autoencoder, denoiser and text encoder of one generator folder, ready to sample. Not changed by sampling.

    ``bfloat16``: whether the networks sample in it; by default on CPUs that multiply in it (Intel AMX, AVX512-BF16 of
    AMD Zen 4 and later), where it is about twice as fast (benchmarks/generator_speed.py) and rounds a tumor otherwise
    than another CPU does. Elsewhere on CPUs it is emulated, and far slower.
    """

    def __init__(self, config: GeneratorConfig, device: str | torch.device = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self.bfloat16 = self.device.type == "cpu" and _multiplies_bfloat16()
        self.networks = build(config).to(self.device).eval().requires_grad_(False)
        self.distilled = distilled_denoiser(self.networks.denoiser) if config.distilled else None
        assert config.text is not None
        self.text_encoder = TextEncoder(config.text, self.device)

    @classmethod
    def load(cls, folder: Path | str | None = None, device: str | torch.device = "cpu") -> Generator:
        """Load a generator folder; None for the one that ships with the package.

        Raises :class:`GeneratorError` when a file is missing, truncated, of another version or unfit.
        """
        path = DEFAULT_FOLDER if folder is None else Path(folder)
        config = read_config(path)
        if config.denoiser is None or config.text is None:
            raise GeneratorError(f"{path}: holds an autoencoder only; train diffusion on it first.")
        generator = cls(config, device)
        generator.text_encoder.check()
        read_weights(path, generator.networks)
        if generator.distilled is not None:
            read_weights(path, own_parts(generator.distilled), DISTILLED_NAME)
        return generator

    @classmethod
    def untrained(cls, config: GeneratorConfig, seed: int = 0) -> Generator:
        """Random weights, for tests."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config)

    @property
    def domain(self) -> Domain:
        return self.config.domain

    @property
    def region_multiple(self) -> int:
        """What a region's sides, in voxels, have to be multiples of: latent factor and the denoiser's halvings."""
        return region_multiple(self.config)

    @cached_property
    def weights_hash(self) -> str:
        """A short hash of the networks' weights."""
        if self.distilled is None:
            return weights_hash(self.networks)
        return weights_hash(nn.ModuleList([self.networks, own_parts(self.distilled)]))

    def save(self, folder: Path) -> None:
        """Write a generator folder."""
        write_folder(folder, self.config, self.networks, self.distilled and own_parts(self.distilled))

    def implant(
        self,
        ct_hu: Array,
        spacing_mm: Sequence[float],
        tumor_mask: np.ndarray | Tensor,
        text: str,
        *,
        host_mask: np.ndarray | Tensor | None = None,
        solver: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
    ) -> Array:
        """Put a tumor that ``text`` describes into a CT, at the voxels of ``tumor_mask``.

        Arrays are NumPy's or torch's, of one shape (D, H, W) = (z, y, x), without a channel or batch axis; z runs along
        the patient's length. The CT given is not changed.

        Args:
            ct_hu: CT in HU, of any real number type, not normalized; any spacing, not smaller than the tumor.
            spacing_mm: size of a voxel in mm, (z, y, x).
            tumor_mask: where the tumor is to be: bool, or any type whose voxels other than 0 count. It may touch the
                array's edge.
            text: the description, as in a report; name the organ in it.
            host_mask: the organ that the tumor lies in, as ``tumor_mask``: the tissue whose level "isoattenuating"
                means and whose noise the tumor gets. None: what looks like the tissue around the tumor.
            solver, steps, guidance: of the sampling; without any of them the distilled denoiser makes the tumor, where
                the generator has one.
            seed: of everything random; the same arguments give the same tumor.

        Returns:
            The CT in HU with the tumor in it, float32 (D, H, W): an array for an array; for a tensor, a tensor on its
            device (a MONAI ``MetaTensor`` keeps its metadata). Voxels farther than 4 mm from the mask are as given.

        Raises:
            GeneratorError: shapes that differ, an empty mask, a spacing that cannot be, intensities that are no HU, NaN
                around the tumor, a text without a word, steps, guidance or a seed that cannot be.
        """
        ct = _array(ct_hu)
        if ct.size and float(ct.max()) - float(ct.min()) < LEAST_RANGE_HU:
            raise GeneratorError(
                f"The CT's voxels lie between {ct.min():g} and {ct.max():g}; give HU, not normalized intensities."
            )
        if seed < 0:
            raise GeneratorError(f"The seed is {seed}; give 0 or more.")
        made = implant(
            ct,
            _spacing(spacing_mm),
            _array(tumor_mask) != 0,
            text,
            self,
            np.random.default_rng(seed),
            solver=solver,
            steps=steps,
            guidance=guidance,
            host_mask=None if host_mask is None else _array(host_mask) != 0,
        ).ct_hu
        if isinstance(ct_hu, Tensor):
            return ct_hu.detach().to(torch.float32, copy=True).copy_(torch.from_numpy(made))
        return made

    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        solver: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        host: np.ndarray | None = None,
    ) -> np.ndarray:
        """Make a tumor of each text in each region.

        Args:
            context_hu: CT in HU, float (B, D, H, W), at ``domain.spacing_mm``, sides multiples of ``region_multiple``.
                Its voxels under the mask are not looked at (see ``crops.healthy_context``).
            mask: the tumors' voxels, bool (B, D, H, W).
            texts: B descriptions.
            seed: of the noise; the same arguments give the same tumor.
            solver: ``ddpm`` (ancestral), ``ddim``, ``dpmsolver++`` (2M) or ``unipc``; None for the generator's default.
            steps, guidance: of the solver; None for the generator's defaults. Without any of the three the distilled
                denoiser makes the tumors, where the generator has one (``GeneratorConfig.sampling_of``).
            host: the organs' voxels, bool (B, D, H, W), whose level "isoattenuating" means; None: the tissue around.

        Returns:
            float32 HU (B, D, H, W): the whole region as the generator sees it, smooth; to put it into a CT without
            seams and with its noise is the caller's part.

        Raises:
            GeneratorError: shapes that differ or are no multiple, NaN in the CT, a text without a word, an unknown
                solver, too many steps.
        """
        sampling = chosen_sampling(self.config, solver, steps, guidance)
        check_regions(self.config, context_hu, mask, host, texts)
        healthy = healthy_regions(context_hu, mask, host, self.domain)
        return sharpened(self.sampled(healthy, mask, texts, seed, sampling), self.domain)

    @torch.inference_mode()
    def sampled(
        self,
        healthy: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        seed: int | Sequence[int],
        sampling: Sampling,
    ) -> np.ndarray:
        """The middle part of :meth:`synthesize`, on the generator's device: of regions from :func:`healthy_regions`.

        ``seed``: of all the noise; or B seeds, which give each region the noise that it would have alone. Returns
        float32 HU (B, D, H, W) as decoded, for :func:`sharpened`.
        """
        distilled = self.distilled if sampling.solver == "distilled" else None
        with self._precision():
            z_healthy, z_plain, share = encoded_regions(self.networks.autoencoder, healthy, mask, self.domain)
        seeds = [seed] if isinstance(seed, int) else list(seed)
        sources = [torch.Generator().manual_seed(each) for each in seeds]
        size = (len(z_healthy) // len(sources), *z_healthy.shape[1:])
        noise = torch.cat([torch.randn(size, generator=source) for source in sources]).to(self.device)
        tokens, token_mask = self.text_encoder(texts)
        with self._precision():
            z = sample_latents(
                distilled or self.networks.denoiser,
                self.config.diffusion,
                z_healthy,
                z_plain,
                share,
                tokens.to(self.device),
                token_mask.to(self.device),
                noise,
                source=sources[0] if len(sources) == 1 else sources,
                **sampling.model_dump(),
            )
        return self._images(z)

    def decoded(self, z: torch.Tensor) -> np.ndarray:
        """float32 HU (B, D, H, W) of standardized latents (B, C, d, h, w), sharpened."""
        return sharpened(self._images(z), self.domain)

    def _images(self, z: torch.Tensor) -> np.ndarray:
        with self._precision():
            decoded = self.networks.autoencoder.decode(z)[:, 0].float()
        return denormalize(decoded, self.domain).cpu().numpy()

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def encoded_regions(
    autoencoder: Autoencoder, healthy: np.ndarray, mask: np.ndarray, domain: Domain
) -> tuple[Tensor, Tensor, Tensor]:
    """What a denoiser sees of regions (B, D, H, W): float32 latents of the healthy CT and of it with a plain tumor,
    both (B, C, d, h, w), and the mask at their size (B, 1, d, h, w); on the autoencoder's device.

    ``healthy``: from :func:`healthy_regions`.
    """
    device = next(autoencoder.parameters()).device
    plain = [plain_tumor(ct, tumor) for ct, tumor in zip(healthy, mask.astype(bool), strict=True)]
    images = normalize(torch.from_numpy(np.stack([*healthy, *plain])), domain)
    z_healthy, z_plain = autoencoder.encode(images[:, None].to(device)).float().chunk(2)
    m = torch.from_numpy(np.ascontiguousarray(mask)).to(device, torch.float32)[:, None]
    return z_healthy, z_plain, latent_mask(m, domain.latent_factor)


def region_multiple(config: GeneratorConfig) -> int:
    """What a region's sides, in voxels, have to be multiples of."""
    assert config.denoiser is not None
    return config.domain.latent_factor * 2 ** (len(config.denoiser.channels) - 1)


def chosen_sampling(
    config: GeneratorConfig, solver: Sampler | None, steps: int | None, guidance: float | None
) -> Sampling:
    """``GeneratorConfig.sampling_of``; :class:`GeneratorError` for what cannot be sampled with."""
    if solver not in (None, "distilled", *SOLVERS):
        raise GeneratorError(f"The solver {solver!r} is unknown; give {', '.join(SOLVERS[:-1])} or {SOLVERS[-1]}.")
    if solver == "distilled" and config.distilled is None:
        raise GeneratorError(f"This generator has no distilled denoiser; give {', '.join(SOLVERS)} as solver.")
    sampling = config.sampling_of(solver, steps, guidance)
    if solver == "distilled" and (steps not in (None, sampling.steps) or guidance not in (None, sampling.guidance)):
        raise GeneratorError(
            f"The distilled denoiser takes its own {sampling.steps} steps, without guidance; leave steps and guidance "
            "out, or give another solver."
        )
    if not 1 <= sampling.steps <= config.diffusion.steps:
        raise GeneratorError(f"{sampling.steps} steps cannot be sampled; give 1 to {config.diffusion.steps}.")
    if not (math.isfinite(sampling.guidance) and sampling.guidance >= 0):
        raise GeneratorError(f"A guidance of {sampling.guidance} cannot be; give 0 or more.")
    return sampling


def healthy_regions(context_hu: np.ndarray, mask: np.ndarray, host: np.ndarray | None, domain: Domain) -> np.ndarray:
    """What the generator sees of regions, float32 HU (B, D, H, W); arguments as of :meth:`Generator.synthesize`."""
    hosts = [None] * len(mask) if host is None else host.astype(bool)
    return np.stack(
        [
            healthy_context(ct.astype(np.float32), tumor, domain, noisy=True, host=organ)
            for ct, tumor, organ in zip(context_hu, mask.astype(bool), hosts, strict=True)
        ]
    )


def check_regions(
    config: GeneratorConfig,
    context_hu: np.ndarray,
    mask: np.ndarray,
    host: np.ndarray | None,
    texts: Sequence[str],
) -> None:
    """Raise :class:`GeneratorError` for what :meth:`Generator.synthesize` cannot do."""
    if context_hu.ndim != 4 or context_hu.shape != mask.shape or len(texts) != len(context_hu):
        raise GeneratorError(
            f"CT {context_hu.shape}, mask {mask.shape} and {len(texts)} texts do not belong together; "
            "give two arrays (B, D, H, W) and B texts."
        )
    if host is not None and host.shape != mask.shape:
        raise GeneratorError(f"The host {host.shape} is not of the mask's shape {mask.shape}.")
    if any(n % region_multiple(config) for n in context_hu.shape[1:]):
        raise GeneratorError(
            f"The region {context_hu.shape[1:]} must have sides that {region_multiple(config)} divides."
        )
    if not np.isfinite(context_hu).all():
        raise GeneratorError("The CT contains NaN or infinite voxels; repair the image first.")
    if not all(map(has_words, texts)):
        raise GeneratorError("A text is empty; describe the tumor in words.")


def _multiplies_bfloat16() -> bool:
    """Whether this CPU has Intel AMX or AVX512-BF16; torch does not tell it in public."""
    told = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return any(supported() for supported in told if supported is not None)


def _array(given: np.ndarray | Tensor) -> np.ndarray:
    """NumPy's view or copy; bfloat16, which NumPy lacks, as float32."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        return (given.float() if given.is_floating_point() else given).numpy()
    return np.asarray(given)


def _spacing(given: Sequence[float]) -> Spacing:
    lengths = [float(s) for s in np.ravel(given)]
    if len(lengths) != 3 or not all(0 < s < math.inf for s in lengths):
        raise GeneratorError(f"The spacing is {lengths}; give three lengths above 0 mm, (z, y, x).")
    z, y, x = lengths
    return z, y, x


def has_words(text: str) -> bool:
    """Whether a text says anything: a dash or a full stop does not."""
    return any(character.isalpha() for character in text)


def sharpened(images: np.ndarray, domain: Domain) -> np.ndarray:
    """Undo the decoder's blur in part, by an unsharp mask; (B, D, H, W).

    A sharpened voxel stays within the values of its window of 5 voxels: an unsharp mask alone draws a rim along sharp
    borders that no text asked for.
    """
    sigma = [SHARPEN_SIGMA_MM / s for s in domain.spacing_mm]
    return np.stack([_within_neighbours(x + SHARPEN * (x - ndimage.gaussian_filter(x, sigma)), x) for x in images])


def _within_neighbours(sharp: np.ndarray, blurred: np.ndarray) -> np.ndarray:
    low, high = (extreme(blurred, SHARPEN_WITHIN) for extreme in (ndimage.minimum_filter, ndimage.maximum_filter))
    return np.clip(sharp, low, high)


def distilled_denoiser(teacher: Denoiser) -> Denoiser:
    """A second denoiser, with a copy of the first one's weights, that reads texts by the first one's adapter."""
    student = copy.deepcopy(teacher)
    student.adapter, student.tumor_sd = teacher.adapter, teacher.tumor_sd
    return student


def own_parts(student: Denoiser) -> nn.ModuleDict:
    """What a distilled denoiser does not share with its teacher: the content of ``distilled.safetensors``."""
    return nn.ModuleDict({"unet": student.unet, "voxelwise": student.voxelwise})


class Networks(nn.Module):
    """The autoencoder and the denoiser, as ``model.safetensors`` names them."""

    def __init__(self, autoencoder: Autoencoder, denoiser: Denoiser) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.denoiser = denoiser


def build(config: GeneratorConfig) -> Networks:
    """The untrained networks of a configuration."""
    if config.denoiser is None or config.text is None:
        raise GeneratorError("This folder holds an autoencoder only; train diffusion on it first.")
    return Networks(Autoencoder(config.autoencoder), Denoiser(config.denoiser, config.autoencoder, config.text))


def load_autoencoder(folder: Path | str) -> tuple[GeneratorConfig, Autoencoder]:
    """The autoencoder of a folder that ``train autoencoder`` wrote, or of a whole generator's."""
    path = Path(folder)
    config = read_config(path)
    if config.denoiser is not None:
        networks = build(config)
        read_weights(path, networks)
        autoencoder = networks.autoencoder
    else:
        autoencoder = Autoencoder(config.autoencoder)
        read_weights(path, autoencoder)
    return config, autoencoder.eval().requires_grad_(False)
