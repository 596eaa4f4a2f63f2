"""What the trainers draw tumors from: nothing of the validation cases, the missed lesions, the rare classes."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5
from tiny_nnunet import TinyNnUNet, ball, label_map, write

from nnunet_textomorph import trainer_mixin
from nnunet_textomorph import transform as transform_module
from nnunet_textomorph.implant import Implant
from nnunet_textomorph.mining import mine
from nnunet_textomorph.missed import load_missed, save_missed
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, infer_plan, save_plan
from nnunet_textomorph.trainer_mixin import TextoMorphMixin

CASES = ("case_1", "case_2", "case_3", "case_4")
TRAINERS = Path(__file__).parents[1] / "trainers"


class Targeted(TextoMorphMixin, nnUNetTrainer):
    textomorph_mix = {"targeted": 1.0}  # noqa: RUF012


class ClassSpecific(TextoMorphMixin, nnUNetTrainer):
    textomorph_mix = {"class_specific": 1.0}  # noqa: RUF012


class Injected(list[tuple[str, str | None, np.ndarray]]):
    """Text, host case and mask of every tumor that was asked for."""


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyNnUNet:
    """Four cases in two folds, each with one tumor, of another size, that its fold's baseline missed."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr(trainer_mixin, "load_generator", lambda folder: None)
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
        case = sys._getframe(1).f_locals["self"].case.name
        noted.append((text, case, mask))
        return Implant(hu, mask)

    monkeypatch.setattr(transform_module, "implant", implant)
    monkeypatch.setattr(transform_module, "_generator", lambda folder: None)
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
    assert all(text != case for text, case, _ in injected)
    assert {case for _, case, _ in injected} == set(dataset.splits[0]["train"])
    assert any((batch["target"][0] == 2).any() for batch in batches)
