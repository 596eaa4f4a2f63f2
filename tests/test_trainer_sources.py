"""What the trainers draw tumors from: nothing of the validation cases, the missed lesions, the rare classes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from tiny_nnunet import INTENSITIES, SPACING, TinyNnUNet, label_map, write

from nnunet_textomorph import generators, trainer_mixin
from nnunet_textomorph import transform as transform_module
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import Implant
from nnunet_textomorph.mining import mine
from nnunet_textomorph.missed import load_missed, save_missed
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, infer_plan, save_plan
from nnunet_textomorph.synthesis import InWorkers
from nnunet_textomorph.trainer_mixin import TextoMorphMixin

PANCREAS: dict[str, int | list[int]] = {"background": 0, "pancreas": 1, "PDAC": 2, "PNET": 3, "cyst": 4}
CASES = ("case_1", "case_2", "case_3", "case_4")
TRAINERS = Path(__file__).parents[1] / "trainers"


class Targeted(TextoMorphMixin, nnUNetTrainerNoDA):
    textomorph_mix = {"targeted": 1.0}  # noqa: RUF012


class ClassSpecific(TextoMorphMixin, nnUNetTrainerNoDA):
    textomorph_mix = {"class_specific": 1.0}  # noqa: RUF012


class Injected(list[tuple[str, str | None, np.ndarray]]):
    """Text, host case and mask of every tumor that was asked for; and ``patches``, the CT (D, H, W) in HU of each."""

    def __init__(self) -> None:
        super().__init__()
        self.patches: list[np.ndarray] = []


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyNnUNet:
    """Four cases in two folds, each with one tumor, of another size, that its fold's baseline missed."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr(trainer_mixin, "load_generator", lambda folder: None)
    monkeypatch.setattr(TextoMorphMixin, "_start_synthesis", lambda trainer, generator: None)
    return build(TinyNnUNet(tmp_path), monkeypatch)


def build(made: TinyNnUNet, monkeypatch: pytest.MonkeyPatch, values: Sequence[int] = (2, 2, 2, 2)) -> TinyNnUNet:
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    for i, (case, value) in enumerate(zip(CASES, values, strict=True)):
        made.add(i % 2, case, [((9, 16 + 4 * i, 16), 4.0 + i, value)], [])
    made.preprocess()
    return made


@pytest.fixture
def injected(monkeypatch: pytest.MonkeyPatch) -> Injected:
    """Implants are noted instead of made."""
    noted = Injected()

    def implant(hu: np.ndarray, spacing: object, mask: np.ndarray, text: str, *_: object, **__: object) -> Implant:
        case = sys._getframe(1).f_locals["self"].case.name  # the transform's
        noted.append((text, case, mask))
        noted.patches.append(hu)
        return Implant(hu, mask)

    monkeypatch.setattr(transform_module, "implant", implant)
    return noted


def plan(dataset: TinyNnUNet, **changes: object) -> None:
    made = infer_plan(dataset.dataset_json)
    save_plan(
        TextoMorphPlans(**{**made.model_dump(), "probability": 1.0, "largest_mm": 20.0, **changes}),
        dataset.preprocessed / FILE_NAME,
    )


def trainer(dataset: TinyNnUNet, kind: type = Targeted, fold: int | str = 0) -> Any:
    plans = {**dataset.plans, "continue_training": False}
    return kind(plans, "3d_fullres", fold, dataset.dataset_json, torch.device("cpu"))


def load(dataset: TinyNnUNet, kind: type = Targeted, fold: int | str = 0, batches: int = 10) -> Any:
    np.random.seed(0)
    made = trainer(dataset, kind, fold)
    made.initialize()
    loader, _ = made.get_dataloaders()
    return [next(loader) for _ in range(batches)]


def case_of(patch: np.ndarray, dataset: TinyNnUNet) -> str:
    """The training case that a patch was cut from, by its noise."""
    some = patch[8, 16, 10:20]
    for case in CASES:
        data = np.load(dataset.preprocessed / "nnUNetPlans_3d_fullres" / f"{case}.npz")["data"][0]
        hu = data * INTENSITIES["std"] + INTENSITIES["mean"]
        if (np.abs(np.lib.stride_tricks.sliding_window_view(hu, 10, axis=2) - some) < 0.1).all(axis=-1).any():
            return case
    raise AssertionError("a patch of no case")


def canaries(dataset: TinyNnUNet) -> None:
    """Give every missed lesion a text that names its case."""
    path = mine("985").folder / "missed.json"
    bank = load_missed(path)
    marked = [lesion.model_copy(update={"description": lesion.case, "variants": ()}) for lesion in bank.lesions]
    assert sorted(lesion.case for lesion in marked) == sorted(CASES)
    save_missed(bank.model_copy(update={"lesions": tuple(marked)}), path)


def test_no_lesion_of_a_validation_case_reaches_training(dataset: TinyNnUNet, injected: Injected) -> None:
    """The canary: each lesion says where it comes from. Without the filter, case_1 and case_3 turn up in fold 0."""
    plan(dataset)
    canaries(dataset)
    for fold in (0, 1):
        injected.clear()
        load(dataset, fold=fold)
        training, validation = (set(dataset.splits[fold][part]) for part in ("train", "val"))
        told = {text for text, _, _ in injected}
        assert told == training
        assert not told & validation


def test_a_lesion_is_put_into_another_case_and_not_onto_a_tumor(dataset: TinyNnUNet, injected: Injected) -> None:
    plan(dataset)
    canaries(dataset)
    batches = load(dataset, batches=15)
    assert len(injected) > 15
    hosts = [case_of(patch, dataset) for patch in injected.patches]
    assert [case for _, case, _ in injected] == hosts
    assert all(text != host for (text, _, _), host in zip(injected, hosts, strict=True))
    assert {case for _, case, _ in injected} == set(dataset.splits[0]["train"])
    assert any((batch["target"][0] == 2).any() for batch in batches)


def test_a_mined_lesion_is_synthesized_into_a_batch(dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, with the shipped generator."""
    made = InWorkers(None, Generator.load())
    monkeypatch.setattr(TextoMorphMixin, "_start_synthesis", lambda trainer, generator: made)
    plan(dataset, steps=1)
    mine("985")
    (batch,) = load(dataset, batches=1)
    assert (batch["target"][0] == 2).sum() > 0
    assert torch.isfinite(batch["data"]).all()


def test_a_trainer_of_ones_own_and_all_augmentation(dataset: TinyNnUNet, injected: Injected) -> None:
    class Mine(TextoMorphMixin, nnUNetTrainerDA5):
        textomorph_mix = {"targeted": 1.0}  # noqa: RUF012

    plan(dataset)
    canaries(dataset)
    load(dataset, Mine, batches=2)
    assert injected


def test_missed_lesions_keep_their_size_in_transposed_anisotropic_patches(
    tmp_path: Path, dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch, injected: Injected
) -> None:
    turned = build(TinyNnUNet(tmp_path / "turned", transpose_forward=[1, 0, 2]), monkeypatch)
    # a slab: 3 mm along nnU-Net's first axis, 20 mm along the others
    slab = np.zeros((20, 48, 56), bool)
    slab[9, 17:31, 17:31] = True
    labels = label_map([])
    labels[slab] = 2
    for folder in (turned.gt, turned.raw / "labelsTr"):
        write(folder / "case_2.nii.gz", labels)
    turned.summarize(1)
    plan(turned)
    mine("985")
    load(turned, batches=8)
    masks = [mask for _, case, mask in injected if case == "case_4"]  # all of case_2's slab
    assert masks
    for mask in masks:
        voxels = np.argwhere(mask)
        extent = (np.ptp(voxels, axis=0) + 1) * np.array(SPACING)[[1, 0, 2]]
        assert extent[1] < 0.75 * min(extent[0], extent[2])
        assert 0.6 < mask.sum() * np.prod(SPACING) / (slab.sum() * np.prod(SPACING)) < 1.6


def test_rare_classes_are_drawn_more_often_and_bear_their_label_and_words(
    tmp_path: Path, dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch, injected: Injected
) -> None:
    made = TinyNnUNet(tmp_path / "classes", labels=PANCREAS)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    for i in range(3):
        made.add(0, f"train_{i}", [((9, 12, 12), 4.0, 2), ((9, 30, 30), 4.5, 2), ((9, 12, 36), 5.0, 2)], [])
    made.add(0, "train_3", [((9, 20, 20), 9.0, 3)], [])
    made.add(1, "held_back", [((9, 20, 20), 6.0, 4)], [])
    made.preprocess()
    plan(made, class_weights={"PDAC": 1.0, "PNET": 1.0})
    load(made, ClassSpecific, 1, 20)
    labels = Counter("PDAC" if "PDAC" in text or "adenocarcinoma" in text else "PNET" for text, _, _ in injected)
    assert 0.25 < labels["PDAC"] / len(injected) < 0.75

    injected.clear()
    plan(made)  # inverse frequency: 9 PDAC, 1 PNET, no cyst in the fold's training cases
    made_trainer = trainer(made, ClassSpecific, 1)
    made_trainer.initialize()
    loader, _ = made_trainer.get_dataloaders()
    written = Counter(int(v) for _ in range(20) for v in np.unique(next(loader)["target"][0].numpy()))
    sizes = [np.cbrt(6 / np.pi * mask.sum() * np.prod(SPACING)) for _, _, mask in injected]
    assert written[4] > written[2] / 3
    assert 7 < np.median(sizes) < 22
    log = Path(made_trainer.log_file).read_text()
    assert "PDAC 9 lesions, drawn 5 %; PNET 1 lesions, drawn 47 %; cyst 0 lesions, drawn 47 %" in log


def refused(dataset: TinyNnUNet, capsys: pytest.CaptureFixture[str], kind: type = Targeted, fold: int = 0) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        load(dataset, kind, fold)
    assert stopped.value.code == 2
    return capsys.readouterr().out.splitlines()[-1]


def test_banks_that_do_not_fit_end_training_in_a_sentence(
    dataset: TinyNnUNet, injected: Injected, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(dataset)
    assert "textomorph mine" in refused(dataset, capsys)  # there is none
    path = mine("985").folder / "missed.json"
    bank = load_missed(path)
    plan(dataset, missed=str(path.parent))
    assert "missed.json itself" in refused(dataset, capsys)
    plan(dataset)

    save_missed(bank.model_copy(update={"dataset": "Dataset001_Other"}), path)
    assert "Dataset001_Other" in refused(dataset, capsys)
    save_missed(bank.model_copy(update={"lesions": ()}), path)
    assert "no missed lesion" in refused(dataset, capsys)
    held_back = tuple(x for x in bank.lesions if x.case in dataset.splits[0]["val"])
    save_missed(bank.model_copy(update={"lesions": held_back}), path)
    assert "2 of this fold's validation cases" in refused(dataset, capsys)
    save_missed(
        bank.model_copy(update={"lesions": tuple(x.model_copy(update={"tumor": "HCC"}) for x in bank.lesions)}), path
    )
    assert "'HCC'" in refused(dataset, capsys)
    path.write_text(bank.model_dump_json().replace('"voxels":"', '"voxels":"AAAA'))
    assert "damaged" in refused(dataset, capsys)

    save_missed(bank, path)
    write(dataset.gt / "case_2.nii.gz", label_map([((5, 20, 20), 6.0, 2)]))
    assert "case_2.nii.gz changed since" in refused(dataset, capsys)
    load(dataset, fold=1, batches=1)  # does not use case_2


def test_lesions_of_another_set_are_put_in_and_the_log_warns(
    dataset: TinyNnUNet, injected: Injected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {name: tmp_path / name for name in ("predictions", "images", "labels")}
    for folder in folders.values():
        folder.mkdir()
    labels = label_map([((9, 20, 20), 5.0, 2)])
    write(folders["predictions"] / "new.nii.gz", label_map([]))
    write(folders["labels"] / "new.nii.gz", labels)
    write(folders["images"] / "new_0000.nii.gz", (100.0 * (labels == 1)).astype(np.int16))
    plan(dataset)
    mine("985", **folders)
    load(dataset, batches=2)
    assert injected
    told = capsys.readouterr().out
    assert "1 of 1 missed lesions kept" in told
    assert "WARNING: the missed lesions are of another set" in told


def test_a_class_without_descriptions_is_named(
    tmp_path: Path, dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels: dict[str, int | list[int]] = {"background": 0, "liver": 1, "HCC": 2, "hemangioma": 3}
    made = build(TinyNnUNet(tmp_path / "classes", labels=labels), monkeypatch)
    plan(made)
    assert "'HCC'" in refused(made, capsys, ClassSpecific)
    plan(made, class_weights={"cyst": 1.0})
    assert "class_weights: 'cyst' is none of HCC" in refused(made, capsys, ClassSpecific)


def test_validation_alone_needs_no_bank(dataset: TinyNnUNet) -> None:
    plan(dataset)
    trainer(dataset).initialize()


@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        ("nnUNetTrainerTextoMorph", None),
        ("nnUNetTrainerTextoMorphRandom_1epoch", 1),
        ("nnUNetTrainerTextoMorphTargeted", None),
        ("nnUNetTrainerTextoMorphClassSpecific_250epochs", 250),
    ],
)
def test_nnunet_finds_the_trainers_of_any_length(
    dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch, name: str, epochs: int | None
) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))
    found = recursive_find_trainer_class_by_name(name)
    plan(dataset, epochs=7)
    made = trainer(dataset, found)
    made.initialize()
    assert made.num_epochs == (epochs or 7)
    assert f"{name}__nnUNetPlans" in made.output_folder
    with pytest.raises(RuntimeError, match="Could not find"):
        recursive_find_trainer_class_by_name("nnUNetTrainerTextoMorphOther_5epochs")


def test_any_registered_generator_has_a_trainer_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package's too."""
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))
    entry = EntryPoint("theirs", "nnunet_textomorph.other_generators:SynTumor", generators.GROUP)
    monkeypatch.setattr(generators, "_registered", lambda: {"theirs": entry})
    for name in (
        "nnUNetTrainerTextoMorphGenerator_theirs",
        "nnUNetTrainerTextoMorphGenerator_theirs_3epochs_5iterations",
    ):
        found = recursive_find_trainer_class_by_name(name)
        assert (found.__name__, found.textomorph_generator, found.textomorph_mix) == (name, "theirs", {"random": 1.0})
    with pytest.raises(RuntimeError, match="Could not find"):
        recursive_find_trainer_class_by_name("nnUNetTrainerTextoMorphGenerator_nobodys")
