"""The solvers against what is known in closed form: data of one Gaussian, and a denoiser that knows the answer."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from nnunet_textomorph.cli import main
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import (
    SOLVERS,
    DiffusionConfig,
    GeneratorConfig,
    Prediction,
    SamplingConfig,
    Solver,
)
from nnunet_textomorph.generator.diffusion import build_solver, noise_schedule, target
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.sampling import sample_latents

TYPES: tuple[Prediction, ...] = ("v_prediction", "epsilon")
MEAN, SD = 4.0, 0.6  # far from the noise's 0 and 1: a chain that starts or ends elsewhere than it says shows it


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return tiny.generator(tiny.write_encoder(tmp_path_factory.mktemp("text") / "encoder"))


# --- denoisers that are right ------------------------------------------------------------------------------------


class Deaf:
    """In place of a text adapter: every text says nothing."""

    def __call__(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return tokens, tokens[:, 0]

    def nothing(self, number: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(number, 1, 8), torch.zeros(number, 8)


class Perfect:
    """In place of a trained denoiser: the expected clean latents are known."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.schedule = noise_schedule(config)
        self.adapter = Deaf()

    def expected(self, z: Tensor, alpha_bar: Tensor) -> Tensor:
        raise NotImplementedError

    def added(self, z: Tensor, z_healthy: Tensor) -> Tensor:
        return (z - z_healthy) / 3.0

    def with_tumor(self, z0: Tensor, z_healthy: Tensor) -> Tensor:
        return z_healthy + 3.0 * z0

    def __call__(self, z: Tensor, t: Tensor, *_conditions: Tensor) -> Tensor:
        alpha_bar = self.schedule.alphas_cumprod.to(z.dtype)[t].view(-1, 1, 1, 1, 1)
        z0 = self.expected(z, alpha_bar)
        noise = (z - alpha_bar.sqrt() * z0) / (1 - alpha_bar).sqrt()
        return target(self.schedule, z0, noise, t)


class Oracle(Perfect):
    """Knows what the tumor adds."""

    def __init__(self, config: DiffusionConfig, z0: Tensor) -> None:
        super().__init__(config)
        self.z0 = z0

    def expected(self, z: Tensor, alpha_bar: Tensor) -> Tensor:
        return self.z0.repeat(len(z) // len(self.z0), 1, 1, 1, 1)


def share(alpha_bar):
    """Of how far z_t is off its mean, what the mean of z0 given z_t moves by; tensors or numbers."""
    return SD**2 * alpha_bar**0.5 / (SD**2 * alpha_bar + 1 - alpha_bar)


class Gaussian(Perfect):
    """Every latent is drawn from N(MEAN, SD^2): the mean of z0 given z_t is linear in z_t."""

    def expected(self, z: Tensor, alpha_bar: Tensor) -> Tensor:
        return MEAN + share(alpha_bar) * (z - alpha_bar.sqrt() * MEAN)


def sampled(
    denoiser: Perfect,
    config: DiffusionConfig,
    noise: Tensor,
    solver: Solver,
    steps: int,
    guidance: float = 1.0,
    z_healthy: Tensor | None = None,
    mask: float = -1.0,  # no tumor anywhere: its level is told otherwise (see below)
) -> Tensor:
    healthy = torch.zeros_like(noise) if z_healthy is None else z_healthy
    return sample_latents(
        denoiser,  # type: ignore[arg-type]
        config,
        healthy,
        healthy,
        torch.full_like(noise[:, :1], mask),
        torch.zeros(len(noise), 1, 8),
        torch.ones(len(noise), 1, dtype=torch.bool),
        noise,
        source=torch.Generator().manual_seed(1),
        solver=solver,
        steps=steps,
        guidance=guidance,
    )


def gaussian(solver: Solver, prediction_type: Prediction, steps: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """(noise, what a solver makes of it), of the Gaussian's latents."""
    config = DiffusionConfig(prediction_type=prediction_type)
    noise = torch.randn(2, 4, size, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return noise, sampled(Gaussian(config), config, noise, solver, steps) / 3.0


class Leaky(Perfect):
    """Takes the mean of pure noise for a sign of the tumor's level."""

    def expected(self, z: Tensor, alpha_bar: Tensor) -> Tensor:
        return MEAN + 2.0 * z.mean((2, 3, 4), keepdim=True) + SD * z


def test_pure_noise_tells_the_tumors_texture_and_not_its_level() -> None:
    config = DiffusionConfig()
    noise = torch.randn(2, 4, 6, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    outside, inside = (sampled(Leaky(config), config, noise, "unipc", 1, mask=mask) / 3.0 for mask in (-1.0, 1.0))
    assert (outside.mean((2, 3, 4)) - MEAN).abs().min() > 0.5
    torch.testing.assert_close(inside.mean((2, 3, 4)), torch.full((2, 4), MEAN, dtype=torch.float64), rtol=0, atol=1e-2)
    torch.testing.assert_close(inside.std((2, 3, 4)), outside.std((2, 3, 4)))
    half = sampled(Leaky(config), config, noise, "unipc", 1, mask=0.0) / 3.0  # half a tumor, half of the correction
    torch.testing.assert_close(half, (inside + outside) / 2.0)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("prediction_type", TYPES)
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 29, 199, 200])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_solver_ends_at_the_latents_that_a_perfect_denoiser_knows(solver, prediction_type, steps, guidance):
    config = DiffusionConfig(prediction_type=prediction_type)
    source = torch.Generator().manual_seed(steps)
    z0, noise, z_healthy = (torch.randn(2, 4, 3, 4, 5, generator=source, dtype=torch.float64) for _ in range(3))
    found = sampled(Oracle(config, z0), config, noise, solver, steps, guidance, z_healthy)
    torch.testing.assert_close(found, z_healthy + 3.0 * z0, rtol=0, atol=1.5e-2)


# 30 and 15 do not divide the schedule's 200
@pytest.mark.parametrize(
    ("solver", "steps", "tolerance"),
    [
        ("ddim", 200, 0.03),
        ("dpmsolver++", 200, 0.002),
        ("dpmsolver++", 30, 0.01),
        ("unipc", 200, 0.002),
        ("unipc", 30, 0.005),
        ("unipc", 15, 0.01),
    ],
)
@pytest.mark.parametrize("prediction_type", TYPES)
def test_a_deterministic_solver_moves_the_noise_as_the_flow_does(solver, steps, tolerance, prediction_type):
    """The probability flow of Gaussian data keeps how many SD a latent is off its mean, at any noise level."""
    noise, found = gaussian(solver, prediction_type, steps)
    last = float(noise_schedule(DiffusionConfig()).alphas_cumprod[-1])
    flown = MEAN + SD * (noise - math.sqrt(last) * MEAN) / math.sqrt(SD**2 * last + 1 - last)
    torch.testing.assert_close(found, flown, rtol=0, atol=tolerance)


def levels(steps: int) -> list[float]:
    """Alpha-bar at every step of an even spacing that begins with the noisiest, and 1, where the chain ends."""
    schedule = noise_schedule(DiffusionConfig()).alphas_cumprod.tolist()
    return [schedule[round(200 - i * 200 / steps) - 1] for i in range(steps)] + [1.0]


@pytest.mark.parametrize("prediction_type", TYPES)
@pytest.mark.parametrize("steps", [4, 6, 15, 120])
def test_ddim_makes_the_steps_of_its_definition(steps, prediction_type):
    """z_next = sqrt(a_next) z0 + sqrt(1 - a_next) noise, both as estimated."""
    noise, found = gaussian("ddim", prediction_type, steps)
    at = levels(steps)
    z = noise
    for now, following in pairwise(at):
        z0 = MEAN + share(now) * (z - now**0.5 * MEAN)
        z = following**0.5 * z0 + (1 - following) ** 0.5 * (z - now**0.5 * z0) / (1 - now) ** 0.5
    torch.testing.assert_close(found, z, rtol=0, atol=1e-3)


@pytest.mark.parametrize("prediction_type", TYPES)
@pytest.mark.parametrize("steps", [6, 15, 200])
def test_ancestral_sampling_has_the_law_of_its_chain(steps, prediction_type):
    """Mean and SD over many latents; in 200 steps they are those of the data, in few the SD is known to be less."""
    _, found = gaussian("ddpm", prediction_type, steps, size=24)
    at = levels(steps)
    mean, variance = 0.0, 1.0
    for now, following in pairwise(at):
        kept = now / following  # alpha of the step, and q(z_next | z_t, z0) of it
        of_z0 = following**0.5 * (1 - kept) / (1 - now)
        of_z = kept**0.5 * (1 - following) / (1 - now)
        mean = of_z0 * (MEAN + share(now) * (mean - now**0.5 * MEAN)) + of_z * mean
        variance = (of_z0 * share(now) + of_z) ** 2 * variance + (1 - following) / (1 - now) * (1 - kept)
    assert float(found.mean()) == pytest.approx(mean, abs=0.01)
    assert float(found.std()) == pytest.approx(variance**0.5, rel=0.01)
    if steps == 200:
        assert (mean, variance**0.5) == (pytest.approx(MEAN, abs=0.01), pytest.approx(SD, rel=0.03))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_takes_the_asked_steps_from_the_noisiest_on(solver):
    """Any number of them: diffusers' own spacing adds a timestep -1 to 29, 199 and ten others."""
    for steps in range(1, 201):
        timesteps = build_solver(solver, DiffusionConfig(), steps).timesteps
        assert len(timesteps) == steps
        assert timesteps[0] == 199
        assert 0 <= timesteps[-1] <= 200 / steps - 0.5
        assert all(timesteps.diff() < 0)
        assert all((timesteps.diff() + 200 / steps).abs() < 1.001)


# --- through the public doors ------------------------------------------------------------------------------------


def sample(generator: Generator, solver: str | None, seed: int = 0, steps: int = 3) -> np.ndarray:
    context = np.random.default_rng(0).normal(50.0, 20.0, (1, 16, 16, 16)).astype(np.float32)
    mask = np.zeros(context.shape, bool)
    mask[:, 5:11, 5:11, 5:11] = True
    return generator.synthesize(
        context,
        mask,
        ["a hypoattenuating mass"],
        seed=seed,
        solver=solver,  # type: ignore[arg-type]
        steps=steps,
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_seed_alone_decides_what_a_solver_draws(generator, solver):
    made = sample(generator, solver)
    state = torch.manual_seed(123).get_state()
    np.testing.assert_array_equal(sample(generator, solver), made)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.abs(sample(generator, solver, seed=1) - made).max() > 1.0


def test_the_solvers_differ(generator):
    made = [sample(generator, solver) for solver in SOLVERS]
    for i, one in enumerate(made):
        assert all(np.abs(one - other).max() > 0.1 for other in made[:i])


def test_an_unknown_solver_is_refused_in_one_line(generator):
    with pytest.raises(GeneratorError) as caught:
        sample(generator, "euler")
    assert str(caught.value) == "The solver 'euler' is unknown; give ddpm, ddim, dpmsolver++ or unipc."


def edit_sampling(folder: Path, **sampling: object) -> None:
    content = json.loads((folder / "generator.json").read_text())
    (folder / "generator.json").write_text(json.dumps({**content, "sampling": sampling}))


def test_a_folder_older_than_the_choice_samples_by_unipc(generator, tmp_path):
    generator.save(tmp_path / "old")
    edit_sampling(tmp_path / "old", steps=3, guidance=1.5)
    loaded = Generator.load(tmp_path / "old")
    assert loaded.config.sampling == SamplingConfig(solver="unipc", steps=3, guidance=1.5)
    np.testing.assert_array_equal(sample(loaded, None), sample(loaded, "unipc"))


def test_a_folders_own_solver_is_the_default(generator, tmp_path):
    config: GeneratorConfig = generator.config
    other = Generator(config.model_copy(update={"sampling": SamplingConfig(solver="ddim")}))
    other.networks.load_state_dict(generator.networks.state_dict())
    other.save(tmp_path / "other")
    loaded = Generator.load(tmp_path / "other")
    np.testing.assert_array_equal(sample(loaded, None), sample(loaded, "ddim"))


def test_a_folder_with_an_unknown_solver_is_refused_in_one_line(generator, tmp_path):
    generator.save(tmp_path / "odd")
    edit_sampling(tmp_path / "odd", solver="euler")
    with pytest.raises(GeneratorError) as caught:
        Generator.load(tmp_path / "odd")
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(tmp_path / "odd" / "generator.json"), "sampling.solver", *SOLVERS):
        assert part in message


def test_the_command_line_offers_every_solver():
    (option,) = (p for p in main.commands["synthesize"].params if p.name == "solver")
    assert set(option.type.choices) == set(SOLVERS)
