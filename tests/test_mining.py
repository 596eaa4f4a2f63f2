"""Mining: which lesions a baseline missed, what is kept of them, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_nnunet import SPACING, TinyNnUNet, ball, label_map, write

from nnunet_textomorph import mining
from nnunet_textomorph.cli import main
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.mining import mine
from nnunet_textomorph.missed import load_missed
from nnunet_textomorph.shapes import equivalent_diameter

A, B, C = ((6, 14, 16), 9.0, 2), ((12, 30, 38), 7.0, 2), ((9, 36, 10), 6.0, 2)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyNnUNet:
    """Two folds; case_1 lacks lesion B and has a false positive, case_2 lacks A, case_3 is healthy."""
    made = TinyNnUNet(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.add(0, "case_1", [A, B], [A, C])
    made.add(1, "case_2", [A], [])
    made.add(1, "case_3", [], [])
    return made


def test_missed_lesions_are_kept_with_their_masks_words_and_pictures(dataset: TinyNnUNet) -> None:
    mined = mine("985")
    assert mined.folder == dataset.preprocessed / "TextoMorphMissed"
    bank = load_missed(mined.folder / "missed.json")
    assert bank == mined.bank
    assert not bank.external
    first, second = bank.lesions
    assert (first.case, first.fold, first.tumor, first.host, first.overlap) == ("case_1", 0, "tumor", "liver", 0)
    assert (second.case, second.fold) == ("case_2", 1)
    mask, spacing = first.mask.array(), first.mask.spacing
    assert spacing == SPACING
    assert mask.sum() == ball(*B[:2]).sum()
    assert first.diameter_mm == pytest.approx(equivalent_diameter(mask, spacing), abs=0.01)
    np.testing.assert_allclose(first.centroid, B[0], atol=0.1)
    assert first.descriptors.attenuation == "hypo"
    assert "hypo" in first.description or "low" in first.description
    assert len(first.variants) > 5
    assert sorted(p.name for p in (mined.folder / "pictures").iterdir()) == ["case_1_0.png", "case_2_0.png"]
    total = mined.summary[-1]
    assert (total.lesions, total.found, total.missed, total.false_positives) == (3, 1, 2, 1)
    rows = list(csv.DictReader((mined.folder / "false_positives.csv").open()))
    assert [(row["case"], row["fold"]) for row in rows] == [("case_1", "0")]
    assert not list(dataset.preprocessed.glob(".partial*"))


def test_the_command_prints_the_table_and_names_folds_without_validation(dataset: TinyNnUNet) -> None:
    (dataset.validation(0) / "summary.json").unlink()
    done = CliRunner().invoke(main, ["mine", "985", "-c", "3d_fullres", "--trainer", "nnUNetTrainer"])
    assert done.exit_code == 0, done.output
    assert "folds 0" in done.output
    assert "sensitivity" in done.output
    assert "1 missed lesions" in done.output
