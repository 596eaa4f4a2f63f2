"""The transform: what it changes, what it leaves, and that its counters tell."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from scipy import ndimage

from nnunet_textomorph.counters import EpochSummary, InjectionCounters, merged
from nnunet_textomorph.generator.config import Domain
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.trainer_mixin import TextoMorphMixin
from nnunet_textomorph.transform import CurrentCase, TextoMorphTransform, TrainingStopped

INTENSITIES = {"mean": 50.0, "std": 30.0, "percentile_00_5": -53.0, "percentile_99_5": 136.0}
SPACING = (2.0, 1.0, 1.0)


class Bright:
    """A generator whose tumors are always 60 HU above the mean of what is around them."""

    domain = Domain()
    region_multiple = 16

    def synthesize(
        self, context_hu: np.ndarray, mask: np.ndarray, texts: Sequence[str], *, seed: int, **_settings: object
    ) -> np.ndarray:
        smooth = ndimage.gaussian_filter(context_hu, (0, 2, 2, 2))
        return np.where(mask, context_hu[~mask].mean() + 60.0, smooth).astype(np.float32)


class Broken(Bright):
    """Every ``period``-th tumor has a voxel that is no number."""

    def __init__(self, period: int = 1) -> None:
        self.period, self.made = period, 0

    def synthesize(self, context_hu: np.ndarray, *args: object, **settings: object) -> np.ndarray:
        made = super().synthesize(context_hu, *args, **settings)  # type: ignore[arg-type]
        self.made += 1
        return np.where(self.made % self.period == 0, np.nan, made)


class Gone(Bright):
    def synthesize(self, *args: object, **settings: object) -> np.ndarray:
        raise GeneratorError("The generator is gone.")


def make(
    probability: float = 1.0, folder: Path | None = None, method: str | None = None, generator: Bright | None = None
) -> TextoMorphTransform:
    plan = TextoMorphPlans(
        hosts={"liver": 1}, tumors={"tumor": 2}, organ="liver", probability=probability, largest_mm=25.0
    )
    counters = InjectionCounters(["tumor"], method)
    return TextoMorphTransform(plan, SPACING, INTENSITIES, counters, generator or Bright(), preview_folder=folder)


def patch(seed: int = 0) -> dict[str, torch.Tensor]:
    """A normalized patch with host in the middle, background around and -1 at one side."""
    rng = np.random.default_rng(seed)
    hu = np.clip(rng.normal(60.0, 15.0, (1, 32, 64, 64)), -53.0, 136.0)
    segmentation = np.zeros((1, 32, 64, 64), np.int16)
    segmentation[:, 2:30, 4:60, 4:60] = 1
    segmentation[:, :, :, 62:] = -1
    image = ((hu - 50.0) / 30.0).astype(np.float32)
    return {"image": torch.from_numpy(image), "segmentation": torch.from_numpy(segmentation)}


@pytest.mark.parametrize("seed", range(6))
def test_nnunets_crop_keeps_every_tumor(seed: int) -> None:
    """nnU-Net's spatial transform keeps the middle of what was loaded; tumors put elsewhere would be lost."""
    kept = (10, 16, 16)
    plan = make().plan.model_copy(update={"largest_mm": 9.0})
    ours = TextoMorphTransform(plan, SPACING, INTENSITIES, InjectionCounters(["tumor"]), Bright(), kept)
    crop = SpatialTransform(kept, 0, False, p_elastic_deform=0, p_rotation=0, p_scaling=0)
    np.random.seed(seed)
    done = ComposeTransforms([ours, crop])(**patch(seed))
    assert done["segmentation"].shape[1:] == kept
    assert ours.counters.take().total == 1
    assert (done["segmentation"] == 2).any()


def test_the_trainer_gives_its_patch_size_to_the_transform(tmp_path: Path) -> None:
    class Plain:
        """As much of nnU-Net's trainer as makes transforms."""

        configuration_manager = SimpleNamespace(spacing=[2.0, 1.0, 1.0])
        plans_manager = SimpleNamespace(foreground_intensity_properties_per_channel={"0": INTENSITIES})
        output_folder, local_rank = str(tmp_path), 0

        def get_training_transforms(self, patch_size: Sequence[int], *rest: object) -> ComposeTransforms:
            assert (tuple(patch_size), rest) == ((16, 24, 24), ("others",))
            return ComposeTransforms([])

    class Trainer(TextoMorphMixin, Plain):
        _textomorph_plan, _textomorph_counters = make().plan, InjectionCounters(["tumor"])
        _textomorph_sources, _textomorph_case, _textomorph_synthesis = make().sources, CurrentCase(), Bright()

    ours = Trainer().get_training_transforms(np.array([16, 24, 24]), "others").transforms[0]
    assert (ours.patch_size, ours.spacing) == ([16, 24, 24], SPACING)


def test_tumor_voxels_are_brighter_and_labelled_and_the_rest_is_bit_identical() -> None:
    np.random.seed(1)
    given = patch()
    before = {k: v.clone() for k, v in given.items()}
    after = make()(**given)
    tumor = (after["segmentation"] == 2) & (before["segmentation"] != 2)
    changed = after["image"] != before["image"]
    assert tumor.any()
    contrast = 30.0 * (after["image"][tumor].mean() - before["image"][before["segmentation"] == 1].mean())
    assert 45 < float(contrast) < 75
    reach = ndimage.distance_transform_edt(~tumor[0].numpy(), SPACING)
    assert reach[changed[0].numpy()].max() <= 4.0
    assert torch.equal(after["segmentation"][~tumor], before["segmentation"][~tumor])
    assert (after["image"].dtype, after["segmentation"].dtype) == (torch.float32, torch.int16)
    limits = [(INTENSITIES[k] - 50.0) / 30.0 for k in ("percentile_00_5", "percentile_99_5")]
    assert limits[0] - 1e-5 <= float(after["image"].min())
    assert float(after["image"].max()) <= limits[1] + 1e-5
    assert torch.equal(given["image"], before["image"]), "the patch given was written to"


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8)])
def test_real_tumors_keep_every_voxel(spacing: tuple[float, float, float]) -> None:
    """Neither a tumor nor the border in which it is blended reaches them."""
    plan = make().plan.model_copy(update={"largest_mm": 14.0})
    transform = TextoMorphTransform(plan, spacing, INTENSITIES, InjectionCounters(["tumor"]), Bright())
    np.random.seed(0)
    for seed in range(15):
        given = patch(seed)
        given["segmentation"][:, 8:24, 20:40, 20:40] = 2
        after = transform(**{k: v.clone() for k, v in given.items()})
        real = given["segmentation"] == 2
        assert torch.equal(after["image"][real], given["image"][real])
        assert torch.equal(after["segmentation"][real], given["segmentation"][real])
    assert transform.counters.take().total > 5


def test_the_same_numpy_seed_gives_the_same_tumor_and_another_another() -> None:
    images = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        images.append(make()(**patch())["image"])
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_counters_tell_injections_and_lack_of_room_and_begin_anew() -> None:
    np.random.seed(0)
    transform = make()
    transform(**patch())
    empty = patch()
    empty["segmentation"][:] = 0
    after = transform(**empty)
    assert torch.equal(after["image"], patch()["image"])
    told = transform.counters.take()
    assert told.injected[("random", "tumor")] == told.total == 1
    assert (told.patches, told.no_room, told.rejected, told.share) == (2, 1, 0, 0.5)
    assert 0 < told.percentile(50) <= told.percentile(95)
    assert "1 tumors injected (random tumor 1), in 50 % of 2 patches, 1 attempts found no room" in told.line()
    again = transform.counters.take()
    assert (again.total, again.patches, again.no_room, again.seconds) == (0, 0, 0, ())


def test_ranks_are_added_up() -> None:
    one = EpochSummary(4, {("random", "a"): 1, ("targeted", "a"): 0}, 1, 0, (0.5,))
    other = EpochSummary(6, {("random", "a"): 2, ("targeted", "a"): 2}, 0, 1, (0.1, 0.3))
    both = merged([one, other])
    assert (both.patches, both.total, both.share, both.no_room, both.rejected) == (10, 5, 0.5, 1, 1)
    assert both.percentile(50) == 0.3
    assert both.values()["textomorph_injected_random"] == 3


def test_a_single_implant_that_is_not_finite_leaves_the_patch_as_it_was() -> None:
    np.random.seed(0)
    transform = make(generator=Broken(period=30))
    transform.generator.made = 28  # type: ignore[attr-defined]
    transform(**patch())
    after = transform(**patch())
    assert torch.equal(after["image"], patch()["image"])
    assert torch.equal(after["segmentation"], patch()["segmentation"])
    told = transform.counters.take()
    assert (told.total, told.rejected) == (1, 1)


def test_many_implants_that_are_not_finite_stop_training() -> None:
    np.random.seed(0)
    transform = make(generator=Broken())
    for _ in range(19):  # so few say nothing
        transform(**patch())
    with pytest.raises(TrainingStopped):
        transform(**patch())
    assert "not finite" in str(transform.counters.failure())
    assert transform.counters.take().rejected == 20


def test_a_patch_that_is_not_finite_gets_no_tumor() -> None:
    np.random.seed(0)
    transform = make()
    given = patch()
    given["image"][0, 16, 32, 32] = np.nan
    transform(**given)
    told = transform.counters.take()
    assert (told.total, told.rejected) == (0, 1)


def test_a_generator_that_fails_stops_training_and_says_why() -> None:
    np.random.seed(0)
    transform = make(generator=Gone())
    with pytest.raises(TrainingStopped, match="gone"):
        transform(**patch())
    assert transform.counters.failure() == "The generator is gone."


def test_probability_zero_changes_nothing() -> None:
    transform = make(0.0)
    after = transform(**patch())
    assert torch.equal(after["image"], patch()["image"])
    assert transform.counters.take().total == 0


def test_only_the_first_few_patches_are_pictured(tmp_path: Path) -> None:
    np.random.seed(0)
    transform = make(folder=tmp_path / "previews")
    for i in range(6):
        transform(**patch(i))
    assert sorted(p.name for p in (tmp_path / "previews").iterdir()) == [f"injected_{i}.png" for i in range(4)]


def test_voxels_outside_the_image_keep_minus_one() -> None:
    np.random.seed(2)
    given = patch()
    given["segmentation"][:, :, :, 40:] = -1
    transform = make()
    for _ in range(5):
        after = transform(**{k: v.clone() for k, v in given.items()})
        assert (after["segmentation"][:, :, :, 40:] == -1).all()


def _work(transform: TextoMorphTransform, seed: int) -> None:
    torch.set_num_threads(1)  # as nnU-Net does in its workers: OpenMP does not survive a fork
    np.random.seed(seed)
    transform(**patch())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_share_the_counters(method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} does not exist on this platform")
    context = multiprocessing.get_context(method)
    transform = make(method=method)
    workers = [context.Process(target=_work, args=(transform, seed)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)  # a spawned one imports torch, on a machine that others use too
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert transform.counters.take().total == 2


def test_a_plan_survives_pickling() -> None:
    plan = make().plan
    assert pickle.loads(pickle.dumps(plan)) == plan
