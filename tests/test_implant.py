from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import Domain
from nnunet_textomorph.generator.implant import Implant, implant
from nnunet_textomorph.generator.volumes import Spacing, read_volume

TEXT = "a hypoattenuating mass"
REACH_MM = 4.0  # beyond the tumor's voxels, at most
THICK: Spacing = (3.27, 0.98, 0.98)
DATA = Path(__file__).parents[2] / "shared" / "data"


class Fake:
    """In place of a trained generator: the context without its noise, and a tumor that is ``contrast`` HU off.

    ``edge``: SD in voxels of the tumor's blurred edge; ``specks``: HU of calcifications in one of 50 tumor voxels;
    ``grain``: SD in HU of a texture of single voxels.
    """

    def __init__(
        self,
        contrast: float = 0.0,
        *,
        edge: float = 0.0,
        specks: float = 0.0,
        grain: float = 0.0,
        multiple: int = 16,
        domain: Domain | None = None,
    ) -> None:
        self.contrast = contrast
        self.edge = edge
        self.specks = specks
        self.grain = grain
        self.region_multiple = multiple
        self.domain = domain or Domain()
        self.seen: list[tuple[np.ndarray, np.ndarray, list[str], int, str | None, int | None, float | None]] = []

    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        solver: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        host: np.ndarray | None = None,
    ) -> np.ndarray:
        assert context_hu.shape == mask.shape
        assert context_hu.ndim == 4
        assert mask.dtype == bool
        assert not any(n % self.region_multiple for n in context_hu.shape[1:])
        assert np.isfinite(context_hu).all()
        self.host = host
        self.seen.append((context_hu.copy(), mask.copy(), list(texts), seed, solver, steps, guidance))
        tissue = (context_hu > -100.0) & ~mask
        level = np.array([np.median(c[t]) if t.any() else 40.0 for c, t in zip(context_hu, tissue, strict=True)])
        window = np.clip(context_hu, *self.domain.window_hu)
        smooth = np.stack([ndimage.gaussian_filter(c, 3.0) for c in window])
        flat = np.where(mask, level[:, None, None, None], smooth)
        share = np.stack([ndimage.gaussian_filter(m.astype(np.float32), self.edge) if self.edge else m for m in mask])
        speck = mask & (np.random.default_rng(seed).random(mask.shape) < 0.02)
        grain = self.grain * mask * np.random.default_rng(seed).standard_normal(mask.shape)
        return (flat + self.contrast * share + self.specks * speck + grain).astype(np.float32)


def ball(shape: Sequence[int], spacing: Spacing, centre_mm: Sequence[float], radius_mm: float) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    return sum((g - c) ** 2 for g, c in zip(grid, centre_mm, strict=True)) <= radius_mm**2


def middle(shape: Sequence[int], spacing: Spacing) -> list[float]:
    return [(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)]


def noisy(shape: Sequence[int], spacing: Spacing, rng: np.random.Generator, sd: float = 20.0, blur_mm: float = 0.7):
    """Soft tissue of 50 HU with correlated noise of the given SD."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), [blur_mm / s for s in spacing])
    return (50.0 + sd * noise / noise.std()).astype(np.float32)


def untouched(before: np.ndarray, after: Implant) -> bool:
    """Bit by bit: a comparison of values would let 0.0 pass for -0.0."""
    outside = ~after.changed
    return before[outside].tobytes() == after.ct_hu[outside].tobytes()


def beyond(tumor: np.ndarray, spacing: Spacing) -> np.ndarray:
    return ndimage.distance_transform_edt(~tumor, spacing)


# --- geometry ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 26)] * 3),
    spacing=st.tuples(*[st.floats(0.6, 6.0)] * 3),
    place=st.tuples(*[st.floats(0.0, 1.0)] * 3),
    radius=st.floats(0.1, 20.0),
    seed=st.integers(0, 2**16),
)
def test_any_grid_and_any_place(shape, spacing, place, radius, seed):
    rng = np.random.default_rng(seed)
    ct = rng.normal(50.0, 20.0, shape).astype(np.float32)
    index = tuple(int(p * (n - 1)) for p, n in zip(place, shape, strict=True))
    tumor = ball(shape, spacing, [i * s for i, s in zip(index, spacing, strict=True)], radius)
    given_ct, given_tumor = ct.copy(), tumor.copy()
    made = implant(ct, spacing, tumor, TEXT, Fake(-60.0), rng)

    assert made.ct_hu.shape == made.changed.shape == shape
    assert made.ct_hu.dtype == np.float32
    assert made.changed.dtype == bool
    assert np.isfinite(made.ct_hu).all()
    assert untouched(ct, made)
    assert made.changed[tumor].all()
    assert (beyond(tumor, spacing)[made.changed] <= REACH_MM).all()
    assert ct.tobytes() == given_ct.tobytes()
    assert tumor.tobytes() == given_tumor.tobytes()


@pytest.mark.parametrize(
    "spacing",
    [
        (1.0, 1.0, 1.0),
        THICK,
        (0.5, 0.5, 0.5),
        (5.0, 0.7, 0.7),
        (0.8, 1.4, 1.3),
        (0.8, 2.0, 1.3),
    ],
)
def test_the_tumor_lands_on_its_mask(spacing):
    """Where the generator puts -100 HU under its mask, the CT gets it under the CT's mask, and not beside it."""
    shape = [round(64 / s) for s in spacing]
    tumor = ball(shape, spacing, [24.0, 30.0, 38.0], 11.0)
    made = implant(np.full(shape, 50.0, np.float32), spacing, tumor, TEXT, Fake(-100.0), np.random.default_rng(0))
    core = ndimage.distance_transform_edt(tumor, spacing) > 0.75 + max(spacing)
    assert core.any()
    np.testing.assert_allclose(made.ct_hu[core], -50.0, atol=2.0)
    far = ~tumor & (beyond(tumor, spacing) > max(1.5, 1.1 * max(spacing)))
    np.testing.assert_allclose(made.ct_hu[far], 50.0, atol=3.0)
    # the drop's centre of mass is the mask's: no shift by half a voxel anywhere
    drop = ndimage.center_of_mass(50.0 - made.ct_hu)
    shift = np.subtract(drop, ndimage.center_of_mass(tumor)) * spacing
    assert np.abs(shift).max() < 0.15


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK])
@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (0.0, 1.0, 0.5), (1.0, 1.0, 1.0)])
def test_a_tumor_at_the_edge_of_the_array(spacing, centre):
    shape = (20, 40, 44)
    at = [c * (n - 1) * s for c, n, s in zip(centre, shape, spacing, strict=True)]
    tumor = ball(shape, spacing, at, 12.0)
    ct = noisy(shape, spacing, np.random.default_rng(0))
    made = implant(ct, spacing, tumor, TEXT, Fake(-60.0), np.random.default_rng(1))
    assert untouched(ct, made)
    assert abs(made.ct_hu[ndimage.distance_transform_edt(tumor, spacing) > 4].mean() - (50.0 - 60.0)) < 8.0


def test_a_tumor_that_fills_the_array():
    ct = np.random.default_rng(0).normal(50, 20, (6, 30, 30)).astype(np.float32)
    made = implant(ct, THICK, np.ones(ct.shape, bool), TEXT, Fake(), np.random.default_rng(0))
    assert made.changed.all()
    assert np.isfinite(made.ct_hu).all()


def test_a_tumor_longer_than_the_array_is_thick():
    ct = np.random.default_rng(0).normal(50, 20, (4, 70, 40)).astype(np.float32)
    tumor = np.zeros(ct.shape, bool)
    tumor[:, 3:67, 10:30] = True
    made = implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, Fake(-60.0), np.random.default_rng(0))
    assert untouched(ct, made)
    assert made.changed[:, 0:70, 7:33].mean() > 0.9


@pytest.mark.parametrize(
    "spacing",
    [
        (1.0, 1.0, 1.0),
        THICK,
        (0.8, 0.8, 0.8),
        (0.5, 0.4, 0.4),
    ],
)
def test_a_tumor_of_one_voxel(spacing):
    ct = np.full((40, 40, 40), 50.0, np.float32)
    tumor = np.zeros(ct.shape, bool)
    tumor[20, 20, 20] = True
    fake = Fake(-60.0)
    made = implant(ct, spacing, tumor, TEXT, fake, np.random.default_rng(0))
    assert untouched(ct, made)
    assert 1 <= fake.seen[0][1].sum() <= 2.5**3 * max(8, 2 * np.prod(spacing))  # magnified
    assert made.ct_hu[20, 20, 20] < 45.0


@pytest.mark.parametrize(
    "multiple",
    [8, 16, 32],
)
def test_regions_are_multiples_of_what_the_generator_asks_for(multiple):
    ct = noisy((30, 30, 30), (1.0, 1.0, 1.0), np.random.default_rng(0))
    tumor = ball(ct.shape, (1.0, 1.0, 1.0), [15, 15, 15], 5.0)
    implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, Fake(multiple=multiple), np.random.default_rng(0))


def test_a_generator_on_another_grid():
    spacing: Spacing = (2.0, 1.0, 1.0)
    shape = (40, 70, 70)
    tumor = ball(shape, spacing, [38.0, 33.0, 30.0], 12.0)
    fake = Fake(-100.0, domain=Domain(spacing_mm=(2.0, 1.5, 1.5)))
    made = implant(np.full(shape, 50.0, np.float32), spacing, tumor, TEXT, fake, np.random.default_rng(0))
    voxels = fake.seen[0][1].sum() * 2.0 * 1.5 * 1.5
    assert voxels == pytest.approx(tumor.sum() * 2.0, rel=0.1)
    core = ndimage.distance_transform_edt(tumor, spacing) > 3.0
    np.testing.assert_allclose(made.ct_hu[core], -50.0, atol=2.0)


# --- noise ------------------------------------------------------------------------------------------------------


def fine_sd(ct: np.ndarray, where: np.ndarray, spacing: Spacing) -> float:
    """SD of the differences of in-plane neighbours, over sqrt(2): what a network could tell by smoothness.

    Shares no code with the implant, which measures noise against Gaussian means.
    """
    pairs = [
        ct[:, 1:][where[:, 1:] & where[:, :-1]] - ct[:, :-1][where[:, 1:] & where[:, :-1]],
        ct[..., 1:][where[..., 1:] & where[..., :-1]] - ct[..., :-1][where[..., 1:] & where[..., :-1]],
    ]
    differences = np.concatenate(pairs)
    return float(1.4826 * np.median(np.abs(differences - np.median(differences)))) / np.sqrt(2.0)


def noise_ratio(ct: np.ndarray, made: Implant, tumor: np.ndarray, host: np.ndarray, spacing: Spacing) -> float:
    """High-frequency noise inside an implant over that of the host around it."""
    distance = beyond(tumor, spacing)
    around = host & (distance > REACH_MM) & (distance < 15.0)
    inside = ndimage.distance_transform_edt(tumor, spacing) > min(spacing)
    return fine_sd(made.ct_hu, inside, spacing) / fine_sd(ct, around, spacing)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK, (0.7, 0.7, 0.7), (2.5, 2.2, 2.2)])
@pytest.mark.parametrize(
    ("sd", "fake"),
    [
        pytest.param(8.0, Fake(-50.0, edge=1.0), id="quiet"),
        pytest.param(15.0, Fake(50.0, edge=1.0), id="usual"),
        pytest.param(30.0, Fake(-50.0, edge=1.0), id="noisy"),
        pytest.param(8.0, Fake(-50.0, edge=2.5), id="ill-defined"),
        pytest.param(8.0, Fake(-60.0), id="sharp"),
    ],
)
def test_an_implant_is_as_noisy_as_its_host(spacing, sd, fake):
    rng = np.random.default_rng(0)
    shape = [round(56 / s) for s in spacing]
    ct = noisy(shape, spacing, rng, sd)
    tumor = ball(shape, spacing, middle(shape, spacing), 12.0)
    made = implant(ct, spacing, tumor, TEXT, fake, rng)
    assert 0.7 <= noise_ratio(ct, made, tumor, np.ones(shape, bool), spacing) <= 1.3


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 0.7)])
def test_the_soft_part_of_a_calcified_tumor_is_as_noisy_as_its_host(spacing):
    rng = np.random.default_rng(0)
    shape = [round(56 / s) for s in spacing]
    ct = noisy(shape, spacing, rng, 10.0)
    tumor = ball(shape, spacing, middle(shape, spacing), 12.0)
    made = implant(ct, spacing, tumor, TEXT, Fake(specks=200.0), rng)
    assert 0.7 <= noise_ratio(ct, made, tumor, np.ones(shape, bool), spacing) <= 1.3


def immerkaer(ct: np.ndarray, where: np.ndarray) -> float:
    """Noise over ``where`` by Immerkaer's mask in axial slices, median of magnitudes."""
    mask = np.outer((1.0, -2.0, 1.0), (1.0, -2.0, 1.0))[None]
    return float(np.median(np.abs(ndimage.convolve(ct.astype(np.float64), mask)[where])))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize("grain", [0.0, 8.0])
@pytest.mark.parametrize("blur", [0.5, 0.8])
def test_a_texture_is_no_finer_than_the_hosts_noise(spacing, grain, blur):
    """Neither is noise, where the host's is smooth: its spectrum is measured within a mask, which blurs it."""
    rng = np.random.default_rng(0)
    shape = [round(64 / s) for s in spacing]
    ct = noisy(shape, spacing, rng, 10.0, blur * min(spacing))
    tumor = ball(shape, spacing, middle(shape, spacing), 14.0)
    made = implant(ct, spacing, tumor, TEXT, Fake(-40.0, edge=1.0, grain=grain), rng)
    inside = ndimage.distance_transform_edt(tumor, spacing) > 1.5 * min(spacing)
    around = (beyond(tumor, spacing) > REACH_MM) & (beyond(tumor, spacing) < 15.0)
    assert 0.7 <= immerkaer(made.ct_hu, inside) / immerkaer(ct, around) <= 1.3


@pytest.mark.parametrize(
    "host_is",
    [
        "not given",
        "given",
        "too small",
    ],
)
def test_a_tumor_beside_air_gets_the_noise_of_the_tissue(host_is):
    rng = np.random.default_rng(4)
    spacing: Spacing = (1.0, 1.0, 1.0)
    ct = noisy((60, 60, 60), spacing, rng, 15.0)
    tissue = ball(ct.shape, spacing, [30, 30, 30], 18.0)
    ct[~tissue] = -1000.0
    tumor = ball(ct.shape, spacing, [30, 30, 30], 9.0)
    host = {"not given": None, "given": tissue, "too small": tumor}[host_is]
    made = implant(ct, spacing, tumor, TEXT, Fake(-30.0, edge=1.0), rng, host_mask=host)
    assert 0.7 <= noise_ratio(ct, made, tumor, tissue, spacing) <= 1.3


@pytest.mark.parametrize("radius", [1.5, 2.5, 4.0, 9.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.8, 0.8)])
def test_a_small_tumor_is_made_magnified_and_lands_on_its_mask(radius, spacing):
    """To 12 mm, by 2.5 at most; its context is as smooth as a large one's."""
    shape = [round(60 / s) for s in spacing]
    ct, fake = noisy(shape, spacing, np.random.default_rng(0)), Fake(-60.0)
    tumor = ball(shape, spacing, middle(shape, spacing), radius)
    made = implant(ct, spacing, tumor, TEXT, fake, np.random.default_rng(0))
    context, mask = fake.seen[0][0][0], fake.seen[0][1][0]
    diameter, seen_mm = ((6.0 / np.pi * volume) ** (1 / 3) for volume in (tumor.sum() * np.prod(spacing), mask.sum()))
    assert seen_mm == pytest.approx(diameter * np.clip(12.0 / diameter, 1.0, 2.5), rel=0.13)
    assert ndimage.gaussian_filter(context, 1.5)[~mask].std() < 6.5
    assert (made.ct_hu - ct)[ndimage.binary_erosion(tumor) if radius > 3 else tumor].mean() < -35.0
    assert untouched(ct, made)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.8)])
def test_the_generator_is_told_the_host_on_its_own_grid(spacing):
    shape = [round(60 / s) for s in spacing]
    tumor = ball(shape, spacing, middle(shape, spacing), 8.0)
    host = ball(shape, spacing, middle(shape, spacing), 14.0)
    ct = np.where(host, 80.0, -50.0).astype(np.float32)
    fake = Fake()
    implant(ct, spacing, tumor, TEXT, fake, np.random.default_rng(0), host_mask=host)
    context, mask = fake.seen[0][:2]
    assert fake.host.shape == mask.shape
    assert fake.host.dtype == bool
    assert (fake.host != (context > 15.0)).sum() < 0.05 * fake.host.sum()  # 15 HU: half of the way between both
    implant(ct, spacing, tumor, TEXT, fake, np.random.default_rng(0))
    assert fake.host is None


def test_a_sharp_tumor_in_thick_slices_keeps_most_of_its_edge():
    """What the decoder blurs is not blurred again by a slice of about that thickness; a thicker one still is."""
    steps = {}
    for thickness in (1.0, 2.5, 8.0):
        spacing = (thickness, 1.0, 1.0)
        shape = [round(64 / s) for s in spacing]
        tumor = np.zeros(shape, bool)
        tumor[: shape[0] // 2, 20:44, 20:44] = True
        ct = np.full(shape, 50.0, np.float32)
        made = implant(ct, spacing, tumor, TEXT, Fake(-60.0), np.random.default_rng(0)).ct_hu
        steps[thickness] = made[shape[0] // 2, 32, 32] - made[shape[0] // 2 - 1, 32, 32]
    assert steps[2.5] > 0.9 * steps[1.0]
    assert steps[8.0] < 0.98 * steps[1.0]


def test_the_border_is_neither_smoother_nor_noisier_than_the_tissue_about_it():
    rng = np.random.default_rng(1)
    spacing: Spacing = (1.0, 1.0, 1.0)
    ct = noisy((64, 64, 64), spacing, rng)
    tumor = ball(ct.shape, spacing, [31, 31, 31], 14.0)
    made = implant(ct, spacing, tumor, TEXT, Fake(), rng)
    distance = beyond(tumor, spacing)
    shell = (distance > 1.5) & (distance < REACH_MM)
    assert 0.8 <= fine_sd(made.ct_hu, shell, spacing) / fine_sd(ct, distance > REACH_MM, spacing) <= 1.2


def test_a_host_without_noise_gets_none():
    spacing: Spacing = (1.0, 1.0, 1.0)
    ct = np.full((48, 48, 48), 50.0, np.float32)
    tumor = ball(ct.shape, spacing, [24, 24, 24], 10.0)
    made = implant(ct, spacing, tumor, TEXT, Fake(), np.random.default_rng(0))
    np.testing.assert_allclose(made.ct_hu, 50.0, atol=1.0)


def test_fat_beside_the_tumor_does_not_pass_for_noise_or_level():
    """Half of the surroundings is another tissue; the tumor's noise and level are the host's."""
    rng = np.random.default_rng(2)
    spacing: Spacing = (1.0, 1.0, 1.0)
    ct = noisy((64, 64, 64), spacing, rng, 12.0)
    organ = np.zeros(ct.shape, bool)
    organ[:, :42] = True
    ct[~organ] -= 150.0
    tumor = ball(ct.shape, spacing, [32, 30, 32], 10.0)
    for host in (None, organ):
        made = implant(ct, spacing, tumor, TEXT, Fake(-40.0, edge=1.0), np.random.default_rng(3), host_mask=host)
        core = ndimage.distance_transform_edt(tumor) > 2.0
        assert made.ct_hu[core].mean() == pytest.approx(10.0, abs=6.0)
        assert 0.7 <= noise_ratio(ct, made, tumor, organ, spacing) <= 1.3


def real_cases() -> list:
    """Name, image, mask and the host's label of a few real CT; sts_019 is a quiet one, between fat and bone."""
    sarcoma = DATA / "Dataset901_SoftTissueSarcoma"
    cases = [("abdomen_ct", DATA / "abdomen_ct" / "ct.nii.gz", DATA / "abdomen_ct" / "organs.nii.gz")]
    for name in ("sts_001", "sts_004", "sts_019", "sts_040"):
        cases.append((name, sarcoma / "imagesTr" / f"{name}_0000.nii.gz", sarcoma / "labelsTr" / f"{name}.nii.gz"))
    return [
        pytest.param(
            image,
            mask,
            id=name,
            marks=[pytest.mark.skipif(not image.is_file(), reason=f"{image} is absent")],
        )
        for name, image, mask in cases
    ]


@pytest.mark.parametrize(("image", "mask"), real_cases())
@pytest.mark.parametrize("with_host", [True, False])
def test_an_implant_in_real_ct_is_as_noisy_as_its_host(image, mask, with_host):
    ct, labels = read_volume(image), read_volume(mask, integer=True)
    host, spacing = labels.array == 1, ct.spacing
    rng = np.random.default_rng(0)
    depth = ndimage.distance_transform_edt(ndimage.binary_closing(host), spacing)
    ratios = []
    for index in rng.permutation(np.argwhere(depth > 0.7 * depth.max()))[:3]:
        tumor = ball(host.shape, spacing, index * np.asarray(spacing), 9.0)
        made = implant(
            ct.array, spacing, tumor, TEXT, Fake(-30.0, edge=1.0), rng, host_mask=host if with_host else None
        )
        assert untouched(ct.array, made)
        ratios.append(noise_ratio(ct.array, made, tumor, host, spacing))
    assert 0.7 <= np.median(ratios) <= 1.3, ratios


# --- what else it promises --------------------------------------------------------------------------------------


def scene() -> tuple[np.ndarray, np.ndarray]:
    ct = noisy((40, 40, 40), (1.0, 1.0, 1.0), np.random.default_rng(0))
    return ct, ball(ct.shape, (1.0, 1.0, 1.0), [20, 20, 20], 7.0)


def test_an_implant_depends_on_its_rng_alone():
    ct, tumor = scene()

    def made(seed: int) -> np.ndarray:
        return implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, Fake(), np.random.default_rng(seed)).ct_hu

    np.testing.assert_array_equal(made(0), made(0))
    assert (made(0) != made(1)).any()


def test_the_text_the_options_and_a_drawn_seed_reach_the_generator():
    ct, tumor = scene()
    fake = Fake()
    for seed in (0, 0, 1):
        rng = np.random.default_rng(seed)
        implant(ct, (1.0, 1.0, 1.0), tumor, "a cyst", fake, rng, solver="ddim", steps=5, guidance=1.5)
    implant(ct, (1.0, 1.0, 1.0), tumor, "a cyst", fake, np.random.default_rng(0))
    assert [seen[2] for seen in fake.seen] == [["a cyst"]] * 4
    assert [seen[4:] for seen in fake.seen] == [("ddim", 5, 1.5)] * 3 + [(None, None, None)]
    first, same, other, _ = (seen[3] for seen in fake.seen)
    assert first == same != other


@pytest.mark.parametrize("limits", [(-53.0, 136.0), (30.0, 60.0)])
def test_a_clipped_ct_gets_a_clipped_tumor(limits):
    ct, tumor = scene()
    ct = np.clip(ct, *limits)
    for contrast in (-150.0, 150.0):
        made = implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, Fake(contrast), np.random.default_rng(0), hu_range=limits)
        assert limits[0] <= made.ct_hu.min() <= made.ct_hu.max() <= limits[1]
        assert untouched(ct, made)
    free = implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, Fake(150.0), np.random.default_rng(0))
    assert free.ct_hu.max() > limits[1]


def test_a_small_error_of_level_is_put_right_and_a_large_one_is_not_hidden():
    """The generator's picture may lie a few HU off as a whole; a tumor's own contrast must stay."""

    class Off(Fake):
        def synthesize(self, *args, **options):
            return super().synthesize(*args, **options) + 10.0

    ct, tumor = scene()
    core = ndimage.distance_transform_edt(tumor) > 2.0
    right, off = (
        implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, made(-40.0), np.random.default_rng(0)).ct_hu[core].mean()
        for made in (Fake, Off)
    )
    assert off == pytest.approx(right, abs=0.5)
    assert right == pytest.approx(10.0, abs=6.0)


def test_other_number_types_are_taken():
    ct, tumor = scene()
    whole = np.rint(ct)
    expected = implant(whole, (1.0, 1.0, 1.0), tumor, TEXT, Fake(), np.random.default_rng(0))
    for array, mask in ((whole.astype(np.int16), tumor), (whole.astype(np.float64), tumor.astype(np.uint8))):
        made = implant(array, (1.0, 1.0, 1.0), mask, TEXT, Fake(), np.random.default_rng(0))
        assert made.ct_hu.dtype == np.float32
        np.testing.assert_array_equal(made.ct_hu, expected.ct_hu)


def test_foci_too_far_apart_for_one_region_are_refused():
    mask = np.zeros((40, 50, 60), bool)
    mask[1:3, 1:3, 1:3] = mask[-3:-1, -3:-1, -3:-1] = True
    fake = Fake()
    with pytest.raises(ValueError, match=r"reaches over 380 x 480 x 580 mm.*singly"):
        implant(np.zeros(mask.shape, np.float32), (10.0, 10.0, 10.0), mask, TEXT, fake, np.random.default_rng(0))
    assert not fake.seen


def test_unusable_arguments_are_refused():
    ct, tumor = scene()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="empty"):
        implant(ct, (1.0, 1.0, 1.0), np.zeros_like(tumor), TEXT, Fake(), rng)
    with pytest.raises(ValueError, match="shape"):
        implant(ct, (1.0, 1.0, 1.0), tumor[:-1], TEXT, Fake(), rng)
    with pytest.raises(ValueError, match="shape"):
        implant(ct, (1.0, 1.0, 1.0), tumor, TEXT, Fake(), rng, host_mask=tumor[1:])


@pytest.mark.parametrize(("word", "sign"), [("hypoattenuating", -1.0), ("hyperattenuating", 1.0)])
def test_a_tumor_of_5_mm_of_the_shipped_generator_can_be_seen(word, sign):
    """Magnified; otherwise it is one latent voxel, and its contrast is lost."""
    spacing, shape = (1.0, 1.0, 1.0), (48, 48, 48)
    ct = noisy(shape, spacing, np.random.default_rng(0), sd=5.0)
    tumor = ball(shape, spacing, middle(shape, spacing), 2.5)
    generator = Generator.load()
    text = f"A {word}, homogeneous, well-defined mass in the liver."
    contrasts = [
        float((implant(ct, spacing, tumor, text, generator, np.random.default_rng(seed)).ct_hu - ct)[tumor].mean())
        for seed in range(3)
    ]
    assert sign * np.mean(contrasts) > 15.0
