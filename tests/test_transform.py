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

from nnunet_textomorph import transform as module
from nnunet_textomorph.generator.config import Domain
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.trainer_mixin import TextoMorphMixin
from nnunet_textomorph.transform import InjectionCounters, TextoMorphTransform

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


@pytest.fixture(autouse=True)
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_generator", lambda folder: Bright())
    monkeypatch.setattr(module, "_generators", {})


def make(probability: float = 1.0, folder: Path | None = None, method: str | None = None) -> TextoMorphTransform:
    plan = TextoMorphPlans(
        hosts={"liver": 1}, tumors={"tumor": 2}, organ="liver", probability=probability, largest_mm=25.0
    )
    return TextoMorphTransform(plan, SPACING, INTENSITIES, InjectionCounters(method), preview_folder=folder)


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
    ours = TextoMorphTransform(plan, SPACING, INTENSITIES, InjectionCounters(), kept)
    crop = SpatialTransform(kept, 0, False, p_elastic_deform=0, p_rotation=0, p_scaling=0)
    np.random.seed(seed)
    done = ComposeTransforms([ours, crop])(**patch(seed))
    assert done["segmentation"].shape[1:] == kept
    assert ours.counters.take()[0] == 1
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
        _textomorph_plan, _textomorph_counters = make().plan, InjectionCounters()
        _textomorph_sources, _textomorph_case = make().sources, module.CurrentCase()

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
    injected, no_room, seconds = transform.counters.take()
    assert (injected, no_room) == (1, 1)
    assert seconds > 0
    assert transform.counters.take() == (0, 0, 0.0)


def test_probability_zero_changes_nothing() -> None:
    transform = make(0.0)
    after = transform(**patch())
    assert torch.equal(after["image"], patch()["image"])
    assert transform.counters.take() == (0, 0, 0.0)


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
    module.load_generator = lambda folder: Bright()  # type: ignore[assignment,return-value]
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
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert transform.counters.take()[0] == 2


def test_a_plan_survives_pickling() -> None:
    plan = make().plan
    assert pickle.loads(pickle.dumps(plan)) == plan
