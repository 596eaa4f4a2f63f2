from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor

from nnunet_textomorph.generator import text_encoder
from nnunet_textomorph.generator.autoencoder import Autoencoder, denormalize, nearest_codes, normalize
from nnunet_textomorph.generator.config import DiffusionConfig, Domain, GeneratorConfig, Prediction, TextConfig
from nnunet_textomorph.generator.crops import healthy_context
from nnunet_textomorph.generator.denoiser import Denoiser, VoxelwisePath, places
from nnunet_textomorph.generator.diffusion import estimate_z0, noise_schedule, target
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.folder import write_folder
from nnunet_textomorph.generator.generator import Generator, load_autoencoder, sharpened
from nnunet_textomorph.generator.sampling import sample_latents
from nnunet_textomorph.generator.text_encoder import TextEncoder, text_config

SHORT = "a hypoattenuating mass"
LONG = "a large hyperattenuating mass with ill defined margins in the liver with a well defined homogeneous margin"
TYPES: tuple[Prediction, ...] = ("v_prediction", "epsilon")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_encoder(tmp_path_factory.mktemp("text") / "encoder")


@pytest.fixture(scope="module")
def generator(encoder: Path) -> Generator:
    return tiny.generator(encoder)


@pytest.fixture
def folder(generator: Generator, tmp_path: Path) -> Path:
    generator.save(tmp_path / "saved")
    return tmp_path / "saved"


def region(batch: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Soft tissue with noise, and a box of a tumor in it, in a region with three different sides."""
    one = np.random.default_rng(seed).normal(50.0, 20.0, (16, 32, 48)).astype(np.float32)
    mask = np.zeros(one.shape, bool)
    mask[5:10, 8:20, 20:34] = True
    return np.stack([one] * batch), np.stack([mask] * batch)


def sample(generator: Generator, text: str = SHORT, *, seed: int = 0, **options) -> np.ndarray:
    return generator.synthesize(*region(), [text], seed=seed, **{"steps": 3, **options})


def refuses(folder: Path) -> str:
    """The one line that tells why a folder cannot be used."""
    with pytest.raises(GeneratorError) as caught:
        Generator.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


# --- sampling through the public door ---------------------------------------------------------------------------


def test_a_sample_has_the_shape_of_its_region_and_stays_in_the_window(generator):
    made = sample(generator)
    low, high = generator.domain.window_hu
    assert made.shape == (1, 16, 32, 48)
    assert made.dtype == np.float32
    assert low <= made.min() < made.max() <= high


def test_sharpening_makes_a_border_steeper_and_draws_no_rim_along_it():
    domain = Domain()
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 9
    blurred = ndimage.gaussian_filter(np.where(ball, -60.0, 40.0).astype(np.float32), 1.0)
    sharp = sharpened(blurred[None], domain)[0]
    assert np.abs(np.where(ball, -60, 40) - sharp).mean() < 0.7 * np.abs(np.where(ball, -60, 40) - blurred).mean()
    assert sharp.min() >= blurred.min()
    assert sharp.max() <= blurred.max()
    assert np.allclose(sharp[18:22, 18:22, 18:22], -60, atol=0.5)


def test_a_sample_depends_on_seed_text_mask_and_context_alone(generator):
    made = sample(generator)
    torch.manual_seed(123)
    np.testing.assert_array_equal(sample(generator), made)
    context, mask = region()
    assert np.abs(sample(generator, seed=1) - made).max() > 1.0
    assert np.abs(sample(generator, LONG) - made).max() > 0.1
    assert np.abs(generator.synthesize(context, ~mask, [SHORT], seed=0, steps=3) - made).max() > 1.0
    assert np.abs(generator.synthesize(context + 50.0, mask, [SHORT], seed=0, steps=3) - made).max() > 0.1


def test_sampling_leaves_the_callers_arrays_and_torchs_random_state_as_they_are(generator):
    context, mask = region()
    state = torch.get_rng_state()
    generator.synthesize(context, mask, [SHORT], seed=0, steps=1)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(context, region()[0])
    np.testing.assert_array_equal(mask, region()[1])


def test_what_lies_under_the_mask_is_not_looked_at(generator):
    context, mask = region()
    context[mask] = 240.0
    np.testing.assert_array_equal(generator.synthesize(context, mask, [SHORT], seed=0, steps=3), sample(generator))


def test_the_hosts_own_level_counts_where_a_host_is_given(generator):
    """A band of organ between others: its level, and not that of what else is beside the tumor."""
    context, mask = region()
    context[:] = 0.0
    host = np.zeros_like(mask)
    host[:, :, 12:20] = True
    context[host] = 150.0
    made = generator.synthesize(context, mask, [SHORT], seed=0, steps=3, host=host)
    assert np.abs(made - generator.synthesize(context, mask, [SHORT], seed=0, steps=3)).max() > 1.0
    with pytest.raises(GeneratorError, match="not of the mask's shape"):
        generator.synthesize(context, mask, [SHORT], seed=0, steps=3, host=host[:, 1:])


def test_a_text_gives_the_same_tumor_alone_and_beside_a_longer_text(generator):
    both = generator.synthesize(*region(2), [SHORT, LONG], seed=0, steps=3)
    np.testing.assert_allclose(both[0], sample(generator)[0], atol=0.01)


def test_steps_and_guidance_default_to_the_generators_own(generator):
    own = generator.config.sampling
    given_ = sample(generator, steps=own.steps, guidance=own.guidance)
    np.testing.assert_array_equal(sample(generator, steps=None, guidance=None), given_)
    assert np.abs(sample(generator, steps=own.steps, guidance=own.guidance + 1.0) - given_).max() > 0.1
    assert np.abs(sample(generator, steps=own.steps + 1, guidance=own.guidance) - given_).max() > 0.1


def test_guidance_zero_ignores_the_text_and_one_does_not(generator):
    np.testing.assert_allclose(sample(generator, SHORT, guidance=0.0), sample(generator, LONG, guidance=0.0), atol=1e-3)
    assert np.abs(sample(generator, SHORT, guidance=1.0) - sample(generator, LONG, guidance=1.0)).max() > 0.05


def test_guidance_exaggerates_what_the_text_says_but_the_level(generator):
    """One step is linear in the prediction, so but for the level guidance 2 is twice that of 1 less that of 0."""
    networks, config = generator.networks, generator.config
    z_healthy = torch.randn(1, tiny.AUTOENCODER.latent_channels, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    tokens, token_mask = generator.text_encoder([LONG])
    mask = -torch.ones(1, 1, 4, 4, 4)
    mask[..., 1:, :, :], mask[..., 1, :, :] = 1.0, 0.0  # all tumor, and a layer that half is

    def at(guidance: float) -> Tensor:
        return sample_latents(
            networks.denoiser,
            config.diffusion,
            z_healthy,
            z_healthy + 1.0,
            mask,
            tokens,
            token_mask,
            torch.ones_like(z_healthy),
            source=torch.Generator(),
            solver="ddpm",
            steps=1,
            guidance=guidance,
        )

    told = at(1.0) - at(0.0)
    weight = ((mask + 1.0) / 2.0) ** 4  # deep in the tumor
    level = (told * weight).sum((2, 3, 4), keepdim=True) / weight.sum()
    torch.testing.assert_close(at(2.0), at(1.0) + told - (mask + 1.0) / 2.0 * level, rtol=1e-4, atol=1e-4)
    assert level.abs().max() > 1e-3
    torch.testing.assert_close(at(0.5), at(0.0) + 0.5 * told, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("context_shape", "mask_shape", "texts", "says"),
    [
        ((1, 16, 16, 20), (1, 16, 16, 20), [SHORT], "16"),
        ((16, 16, 16), (16, 16, 16), [SHORT], "belong together"),
        ((1, 16, 16, 16), (1, 16, 16, 32), [SHORT], "belong together"),
        ((2, 16, 16, 16), (2, 16, 16, 16), [SHORT], "1 texts"),
        ((1, 16, 16, 16), (1, 16, 16, 16), [""], "empty"),
        ((1, 16, 16, 16), (1, 16, 16, 16), [" \n"], "empty"),
    ],
)
def test_unusable_arguments_are_refused(generator, context_shape, mask_shape, texts, says):
    with pytest.raises(GeneratorError, match=says):
        generator.synthesize(np.zeros(context_shape, np.float32), np.zeros(mask_shape, bool), texts, seed=0)


@pytest.mark.parametrize("steps", [-1, 0, 201])
def test_a_number_of_steps_that_the_schedule_does_not_have_is_refused(generator, steps):
    with pytest.raises(GeneratorError, match="steps"):
        sample(generator, steps=steps)


# --- generator folders ------------------------------------------------------------------------------------------


def test_a_saved_generator_is_loaded_the_same(generator, folder, tmp_path):
    assert sorted(path.name for path in folder.iterdir()) == ["generator.json", "model.safetensors"]
    loaded = Generator.load(str(folder))
    loaded.bfloat16 = False
    assert loaded.config == generator.config
    made = sample(loaded)
    np.testing.assert_allclose(made, sample(generator), atol=0.5)  # weights are kept in half precision
    loaded.save(tmp_path / "again")
    again = Generator.load(tmp_path / "again")
    again.bfloat16 = False
    np.testing.assert_array_equal(sample(again), made)


def test_half_precision_changes_a_tumor_by_little(generator, monkeypatch):
    """Where the CPU has matrix units for bfloat16; elsewhere the same, slowly."""
    exact = sample(generator)
    monkeypatch.setattr(generator, "bfloat16", True)
    rounded = sample(generator)
    assert rounded.dtype == np.float32
    assert 0.0 < np.abs(rounded - exact).mean() < 0.1 * exact.std()


@pytest.mark.parametrize("able", [None, "amx_tile", "avx512_bf16"])
def test_half_precision_is_used_where_the_cpu_multiplies_in_it(encoder, monkeypatch, able):
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name == able, raising=False)
    assert Generator.untrained(tiny.config(encoder)).bfloat16 == (able is not None)


def test_untrained_generators_differ_by_seed_alone(encoder):
    config = tiny.config(encoder)
    first, same, other = (Generator.untrained(config, seed).networks.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_no_folder(tmp_path):
    assert "no such folder" in refuses(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["generator.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert f"{folder / name}: is missing" in refuses(folder)


@pytest.mark.parametrize("name", ["generator.json", "model.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_named(folder, name, share):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * share)])
    message = refuses(folder)
    assert str(folder / name) in message
    assert "truncated" in message


def test_weights_that_are_no_numbers_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    name = next(n for n, value in weights.items() if value.is_floating_point() and value.ndim > 1)
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors")
    assert f"{name!r} holds NaN" in refuses(folder)


def test_a_config_that_is_not_text_is_named(folder):
    (folder / "generator.json").write_bytes(b"\x80\x04\x95\xff")
    assert str(folder / "generator.json") in refuses(folder)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "generator.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused(folder, version):
    edit(folder, format_version=version)
    message = refuses(folder)
    assert f"version {version}" in message
    assert "1" in message


def test_a_config_that_is_no_object_is_refused(folder):
    (folder / "generator.json").write_text("[1]")
    assert "version" in refuses(folder)


def test_an_unknown_key_is_named(folder):
    edit(folder, windw_hu=[-175, 250])
    assert "windw_hu" in refuses(folder)


def test_an_unknown_key_within_a_part_is_named(folder):
    domain = Domain().model_dump() | {"spacings": 1}
    edit(folder, domain=domain)
    assert "domain.spacings" in refuses(folder)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("sampling", "steps", 0),
        ("sampling", "guidance", -1.0),
        ("domain", "latent_factor", 8),
        ("diffusion", "prediction_type", "sample"),
        ("domain", "spacing_mm", [1.0, 0.0, 1.0]),
        ("domain", "window_hu", [250.0, -175.0]),
        ("denoiser", "channels", [48, 48]),
        ("denoiser", "attention", [True]),
        ("denoiser", "head_channels", 0),
    ],
)
def test_a_value_that_cannot_be_is_refused(folder, part, key, value):
    content = json.loads((folder / "generator.json").read_text())
    edit(folder, **{part: content[part] | {key: value}})
    assert key in refuses(folder)


def test_weights_of_other_shapes_are_refused(folder):
    content = json.loads((folder / "generator.json").read_text())
    edit(folder, autoencoder=content["autoencoder"] | {"codebook_size": 64})
    message = refuses(folder)
    assert "shape" in message
    assert "64" in message


def test_weights_that_lack_a_layer_are_refused(folder):
    content = json.loads((folder / "generator.json").read_text())
    edit(folder, autoencoder=content["autoencoder"] | {"residual_layers": 2})
    assert "does not belong" in refuses(folder)


def test_an_autoencoder_alone_is_no_generator_but_loads_as_one(generator, tmp_path):
    autoencoder = generator.networks.autoencoder
    alone = tmp_path / "alone"
    write_folder(alone, GeneratorConfig(autoencoder=tiny.AUTOENCODER), autoencoder)
    assert "autoencoder only" in refuses(alone)
    generator.save(tmp_path / "whole")
    image = torch.rand(1, 1, 16, 16, 32) * 2 - 1
    latents = []
    for folder in (alone, tmp_path / "whole"):
        config, loaded = load_autoencoder(folder)
        assert config.autoencoder == tiny.AUTOENCODER
        latents.append(loaded.encode(image))
        assert latents[-1].shape == (1, tiny.AUTOENCODER.latent_channels, 4, 4, 8)
    assert torch.equal(*latents)
    torch.testing.assert_close(latents[0], autoencoder.encode(image), rtol=0.02, atol=0.02)


def test_a_failed_save_leaves_no_folder_that_loads(generator, tmp_path, monkeypatch):
    """Killed between the two files: what was there before stays, and a new folder is not taken for a whole one."""
    monkeypatch.setattr(type(generator.config), "model_dump_json", _fail)
    with pytest.raises(RuntimeError, match="disk full"):
        generator.save(tmp_path / "new")
    refuses(tmp_path / "new")


def _fail(*_args: object, **_options: object) -> str:
    raise RuntimeError("disk full")


# --- the text encoder -------------------------------------------------------------------------------------------


def test_padding_changes_neither_tokens_nor_their_mask(encoder):
    config = tiny.config(encoder).text
    alone, _ = TextEncoder(config)([SHORT])
    both, mask = TextEncoder(config)([SHORT, LONG])
    assert mask.sum(1).tolist() == [len(SHORT.split()) + 2, len(LONG.split()) + 2]  # with the two ends
    torch.testing.assert_close(both[:1, : alone.shape[1]], alone, rtol=1e-4, atol=1e-5)


def test_the_adapter_does_not_look_at_padding(generator):
    adapter = generator.networks.denoiser.adapter
    tokens, mask = generator.text_encoder([SHORT])
    longer = torch.cat([tokens, torch.full_like(tokens, 9.0)], 1)
    for alone, padded in zip(
        adapter(tokens, mask), adapter(longer, torch.cat([mask, torch.zeros_like(mask)], 1)), strict=True
    ):
        torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


def test_a_small_cache_gives_the_same_embeddings(encoder):
    config = tiny.config(encoder).text
    texts = [SHORT, LONG, "a mass", "the liver", SHORT]
    torch.testing.assert_close(TextEncoder(config, keep=2)(texts), TextEncoder(config)(texts))


def test_a_text_that_is_cut_is_named_and_one_that_just_fits_is_not(encoder):
    config = tiny.config(encoder).text
    exact = config.model_copy(update={"max_tokens": len(LONG.split()) + 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TextEncoder(exact)([LONG])
    with pytest.warns(UserWarning, match="read up to token 5 only"):
        tokens, _ = TextEncoder(config.model_copy(update={"max_tokens": 5}))([SHORT, LONG])
    assert tokens.shape[1] == 5


def test_other_weights_of_the_text_encoder_are_refused(folder, tmp_path):
    content = json.loads((folder / "generator.json").read_text())
    other = tiny.write_encoder(tmp_path / "other", seed=1)
    edit(folder, text=content["text"] | {"encoder": str(other)})
    with pytest.raises(GeneratorError, match="other weights") as caught:
        sample(Generator.load(folder))
    assert str(other) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
    ],
)
def test_an_unusable_encoder_folder_is_named(tmp_path, name):
    folder = tiny.write_encoder(tmp_path / "encoder")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(GeneratorError, match="cannot be loaded") as caught:
        TextEncoder(TextConfig(encoder=str(folder), width=tiny.WIDTH))([SHORT])
    assert str(folder) in str(caught.value)


def test_the_packaged_encoder_is_checked_and_read(monkeypatch):
    config = text_config()
    assert (config.width, config.sha256) == (384, text_encoder.PACKAGED_SHA256)
    tokens, mask = TextEncoder(config)(["A hypoattenuating, ill-defined mass.", "Mass."])
    assert tokens.shape[::2] == (2, 384)
    assert mask[1].sum() < mask[0].sum()
    monkeypatch.setattr(text_encoder, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(GeneratorError, match="sha256"):
        text_config()


def test_an_encoder_folder_gives_its_width_and_hash(encoder):
    config = text_config(str(encoder))
    assert (config.encoder, config.width) == (str(encoder), tiny.WIDTH)
    assert config.sha256 == tiny.sha256(encoder / "model.safetensors")


# --- the autoencoder --------------------------------------------------------------------------------------------


def test_hu_to_the_networks_range_and_back():
    hu = torch.linspace(-1000.0, 1000.0, 2001)
    image = normalize(hu, Domain())
    assert (float(image.min()), float(image.max())) == pytest.approx((-1.0, 1.0), abs=1e-5)
    torch.testing.assert_close(denormalize(image, Domain()), hu.clamp(-175.0, 250.0), rtol=0, atol=1e-3)


def test_standardized_latents_decode_as_before(generator):
    """Other means and SDs of the latents change their numbers, not what they stand for."""
    config = GeneratorConfig(autoencoder=tiny.AUTOENCODER)
    plain, scaled = Autoencoder(config.autoencoder).eval(), Autoencoder(config.autoencoder).eval()
    scaled.load_state_dict(plain.state_dict())
    scaled.latent_mean += 0.3
    scaled.latent_sd *= 2.0
    image = torch.rand(1, 1, 16, 16, 16) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(scaled.encode(image), (plain.encode(image) - 0.3) / 2.0)
        for quantize in (False, True):
            there_and_back = scaled.decode(scaled.encode(image), quantize=quantize)
            torch.testing.assert_close(there_and_back, plain.decode(plain.encode(image), quantize=quantize))


def test_nearest_codes_are_nearest():
    codebook = torch.tensor([[0.0, 0.0], [1.0, 1.0], [4.0, -4.0]])
    z = torch.tensor([[0.4, 0.4], [0.6, 0.6], [3.0, -9.0]]).T.reshape(1, 2, 3, 1, 1)
    expected = codebook[[0, 1, 2]].T.reshape(1, 2, 3, 1, 1)
    assert torch.equal(nearest_codes(z, codebook), expected)


# --- diffusion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction_type", TYPES)
def test_alpha_bar_falls_from_nearly_one_to_nearly_zero(prediction_type):
    alpha_bar = noise_schedule(DiffusionConfig(prediction_type=prediction_type)).alphas_cumprod
    assert alpha_bar.shape == (200,)
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar[0] > 0.999
    assert 0 < alpha_bar[-1] < 1e-6


@settings(deadline=None, max_examples=60)
@given(
    t=st.lists(st.integers(0, 199), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
    size=st.floats(0.1, 5.0),
    prediction_type=st.sampled_from(TYPES),
)
def test_eq_1_recovers_the_clean_latents_from_the_true_target(t, seed, size, prediction_type):
    schedule = noise_schedule(DiffusionConfig(prediction_type=prediction_type))
    source = torch.Generator().manual_seed(seed)
    z0, noise = (torch.randn(len(t), 4, 2, 3, 4, generator=source, dtype=torch.float64) for _ in range(2))
    z0, steps = z0 * size, torch.tensor(t)
    z_t = schedule.add_noise(z0, noise, steps)
    found = estimate_z0(schedule, z_t, target(schedule, z0, noise, steps), steps)
    # the schedule is in single precision, and epsilon's 1 / sqrt(alpha-bar) reaches 4,000
    torch.testing.assert_close(found, z0, rtol=1e-5, atol=1e-5 if prediction_type == "v_prediction" else 2e-3)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_gradients_reach_the_prediction_through_eq_1(prediction_type):
    schedule = noise_schedule(DiffusionConfig(prediction_type=prediction_type))
    prediction = torch.zeros(2, 4, 2, 2, 2, requires_grad=True)
    estimate_z0(schedule, torch.ones_like(prediction), prediction, torch.tensor([3, 150])).sum().backward()
    assert prediction.grad is not None
    assert (prediction.grad.abs() > 0.01).all()


def test_what_a_tumor_adds_is_undone():
    denoiser = Denoiser(tiny.DENOISER, tiny.AUTOENCODER, TextConfig(width=tiny.WIDTH))
    z, z_healthy = torch.randn(2, 1, tiny.AUTOENCODER.latent_channels, 4, 4, 4)
    denoiser.tumor_sd.copy_(torch.linspace(0.1, 3.0, len(denoiser.tumor_sd)))
    assert not torch.allclose(denoiser.added(z, z_healthy), z - z_healthy)
    torch.testing.assert_close(denoiser.with_tumor(denoiser.added(z, z_healthy), z_healthy), z)


def test_the_voxelwise_path_asks_no_neighbour():
    """A voxel of z_t away from the tumor changes the answer there alone; one in it is felt through the tumor's mean."""
    torch.manual_seed(0)
    path = VoxelwisePath(channels=2, text_width=16)
    torch.nn.init.normal_(path.maps.weight)
    mask = -torch.ones(1, 1, 8, 8, 8)
    mask[..., 4:7, 4:7, 4:7] = 1.0
    z_t, z_healthy, plain = torch.randn(3, 1, 2, 8, 8, 8)
    given = (torch.tensor([50]), z_healthy, plain, mask, torch.randn(1, 16))

    def changed_by(voxel: tuple[int, int, int]) -> int:
        other = z_t.clone()
        other[(0, slice(None), *voxel)] += 1.0
        return int(((path(other, *given) - path(z_t, *given)).abs() > 1e-6).any(dim=1).sum())

    with torch.no_grad():
        assert changed_by((1, 1, 1)) == 1
        assert changed_by((5, 5, 5)) == 8**3


def test_the_denoiser_does_not_see_what_lies_beside_the_tumor():
    """In a training CT that is where an ill-defined tumor has left its trace."""
    torch.manual_seed(0)
    denoiser = Denoiser(tiny.DENOISER, tiny.AUTOENCODER, TextConfig(width=tiny.WIDTH)).eval()
    for part in (denoiser.voxelwise.maps, denoiser.unet.out[-1].conv):
        torch.nn.init.normal_(part.weight)
    mask = -torch.ones(1, 1, 8, 8, 8)
    mask[..., 1:3, 1:3, 1:3] = 1.0
    latent = (1, tiny.AUTOENCODER.latent_channels, 8, 8, 8)
    z_t, plain, z_healthy = torch.randn(3, *latent)
    context, pooled = denoiser.adapter(torch.randn(1, 3, tiny.WIDTH), torch.ones(1, 3, dtype=torch.bool))

    def answer(voxel: tuple[int, int, int]) -> Tensor:
        other = z_healthy.clone()
        other[(0, slice(None), *voxel)] += 1.0
        return denoiser(z_t, torch.tensor([50]), other, plain, mask, context, pooled)

    with torch.no_grad():
        torch.testing.assert_close(answer((4, 4, 4)), answer((1, 1, 1)), rtol=0, atol=0)
        assert (answer((5, 5, 5)) - answer((1, 1, 1))).abs().max() > 1e-3


def test_places_tell_a_tumors_depth_from_its_border():
    share = torch.zeros(1, 1, 8, 8, 8)
    share[..., 1:6, 1:6, 1:6] = 1.0
    anywhere, inside, beside, deep, around, whole = places(share)[0]
    assert anywhere.min() == 1.0
    torch.testing.assert_close(inside, share[0, 0])
    torch.testing.assert_close(whole, share[0, 0])
    assert (beside.sum(), deep.sum()) == (7**3, 3**3)
    assert (around[3, 3, 3], around[7, 7, 7]) == (1.0, 0.0)
    assert 0.0 < around[0, 3, 3] < around[1, 3, 3] < 1.0


@pytest.mark.parametrize("host_hu", [35.0, 110.0])
def test_the_healthy_context_has_the_hosts_level_where_the_tumor_is(host_hu):
    """Whatever the tumor's voxels hold, and whatever fat lies beside it."""
    ct = np.full((40, 40, 40), host_hu, np.float32)
    ct[:, :, 26:] = -100.0
    mask = np.zeros(ct.shape, bool)
    mask[14:26, 14:26, 16:27] = True
    for tumor_hu in (-60.0, host_hu, 200.0):
        context = healthy_context(np.where(mask, tumor_hu, ct), mask, Domain())
        np.testing.assert_array_equal(context, np.where(mask, host_hu, ct))


def test_the_healthy_context_has_the_organs_level_where_more_of_another_tissue_is_beside_the_tumor():
    """A small pancreas in fat: what is beside its tumor is mostly the blurred edge between them."""
    ct = np.full((40, 40, 40), -20.0, np.float32)
    organ = np.zeros(ct.shape, bool)
    organ[:, 16:24, 12:28] = True
    ct[organ] = 100.0
    mask = np.zeros(ct.shape, bool)
    mask[15:25, 16:24, 15:25] = True
    assert healthy_context(ct, mask, Domain())[mask].max() == -20.0
    assert healthy_context(ct, mask, Domain(), host=organ)[mask].min() == 100.0
    too_little = organ & ~mask
    too_little[:, :, :27] = too_little[:20] = too_little[23:] = False
    assert healthy_context(ct, mask, Domain(), host=too_little)[mask].max() == -20.0


def test_the_tumor_is_not_smoothed_into_a_noisy_healthy_context():
    rng = np.random.default_rng(0)
    ct = rng.normal(50.0, 20.0, (40, 40, 40)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[15:25, 15:25, 15:25] = True
    one, other = (healthy_context(np.where(mask, hu, ct), mask, Domain(), noisy=True) for hu in (-100.0, 200.0))
    np.testing.assert_array_equal(one, other)
    assert one[~mask].std() < 0.3 * ct[~mask].std()


def shipped_tumors(texts: list[str], seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The shipped generator's tumors of each text in one context of 70 HU, and the distance from their middle in mm."""
    generator = Generator.load()
    rng = np.random.default_rng(seed)
    context = ndimage.gaussian_filter(rng.normal(70.0, 30.0, (48, 48, 48)), 1.0).astype(np.float32)[None]
    radius = np.sqrt(((np.indices(context.shape[1:]) - 23.5) ** 2).sum(axis=0))
    mask = (radius < 13.0)[None]
    return [generator.synthesize(context, mask, [text], seed=seed)[0] for text in texts], radius


@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_generator_hears_the_attenuation(seed):
    """Of one context, mask and noise, the text alone makes the tumor darker or brighter than its host."""
    texts = ["A hypoattenuating mass in the liver.", "A hyperattenuating mass in the liver."]
    (dark, bright), radius = shipped_tumors(texts, seed)
    assert dark[radius < 13.0].mean() < 70.0 - 20.0
    assert bright[radius < 13.0].mean() > 70.0 + 20.0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_generator_hears_the_texture(seed):
    texts = [f"A hypoattenuating, {texture} mass in the liver." for texture in ("homogeneous", "heterogeneous")]
    (even, uneven), radius = shipped_tumors(texts, seed)
    assert uneven[radius < 9.0].std() > 1.25 * even[radius < 9.0].std()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_generator_hears_the_margin(seed):
    """The share of the contrast that is reached at the rim."""
    texts = [
        f"A hypoattenuating mass with {margin} margins in the liver." for margin in ("well-defined", "ill-defined")
    ]
    tumors, radius = shipped_tumors(texts, seed)
    rim, deep = (radius > 10.5) & (radius < 13.0), radius < 8.0
    sharp, blurred = ((np.median(ct[rim]) - 70.0) / (np.median(ct[deep]) - 70.0) for ct in tumors)
    assert blurred < sharp - 0.1


def test_the_healthy_context_of_a_window_without_host_is_what_there_is():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 5:15, 5:15] = True
    assert (healthy_context(np.full(mask.shape, -700.0, np.float32), mask, Domain()) == -700.0).all()
    assert np.isfinite(healthy_context(np.zeros(mask.shape, np.float32), np.ones_like(mask), Domain())).all()
