"""How right a classifier was: sensitivity, PPV, intervals, AUC, and the rule for patients."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nnunet_textomorph.classification_results import (
    Result,
    metrics,
    metrics_table,
    patient_result,
    write_results,
)
from nnunet_textomorph.classifier_cases import class_names, find_lesions
from nnunet_textomorph.classifier_loader import synthetic_shares
from nnunet_textomorph.plan import infer_plan
from nnunet_textomorph.stats import auc
from nnunet_textomorph.stats import wilson_interval as wilson

CLASSES, MALIGNANT = ("PDAC", "PNET", "cyst"), ("PDAC", "PNET")


def result(true: str | None, *shares: float, case: str = "a") -> Result:
    return Result(case, 0, shares or None, true, (0.0, 0.0, 0.0), 10.0)


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    assert wilson(0, 0) is None
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson(0, 20) == pytest.approx((0.0, 0.161), abs=1e-3)
    assert wilson(20, 20) == pytest.approx((0.839, 1.0), abs=1e-3)


def test_auc_counts_ties_half() -> None:
    assert auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == 0.75
    assert auc([0.5, 0.5], [True, False]) == 0.5
    assert auc([0.5], [True]) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60))
def test_auc_is_scikit_learns(judged: list[tuple[int, bool]]) -> None:
    scores, positive = [score / 9 for score, _ in judged], [truly for _, truly in judged]
    if len(set(positive)) == 2:
        assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


def test_metrics_per_class_and_of_malignant_against_benign() -> None:
    results = [
        result("PDAC", 0.8, 0.1, 0.1),
        result("PDAC", 0.1, 0.8, 0.1),  # wrong class, but malignant
        result("PNET", 0.1, 0.2, 0.7),
        result("cyst", 0.1, 0.2, 0.7),
        result("cyst"),  # nothing found
        result("normal", 0.9, 0.05, 0.05),
        result(None, 0.9, 0.05, 0.05),
    ]
    found = metrics(results, CLASSES, MALIGNANT)
    assert found["number"] == 6
    assert found["confusion_matrix"]["counts"] == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]]
    assert found["classes"]["PDAC"]["sensitivity"] == 0.5
    assert found["classes"]["PDAC"]["ppv"] == 0.5
    assert found["groups"]["malignant"]["sensitivity"] == pytest.approx(2 / 3)
    assert found["groups"]["malignant"]["ppv"] == pytest.approx(2 / 3)
    assert found["groups"]["benign"] == found["groups"]["benign"] | {"right": 1, "number": 2, "predicted": 2}
    assert found["groups"]["malignant"]["auc"] == pytest.approx(2.5 / 3)
    assert found["macro_sensitivity"] == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert "66.7 %" in metrics_table(found)


def test_a_patient_has_the_class_of_the_most_malignant_lesion() -> None:
    cyst = Result("a", 0, (0.1, 0.1, 0.8), "cyst", diameter_mm=40.0)
    small = Result("a", 1, (0.5, 0.2, 0.3), "PDAC", diameter_mm=8.0)
    assert patient_result("a", [cyst, small], CLASSES, MALIGNANT) == Result("a", None, (0.5, 0.2, 0.3), "PDAC")
    assert patient_result("a", [small, cyst], CLASSES, ()).probabilities == cyst.probabilities
    empty = patient_result("a", [], CLASSES, MALIGNANT)
    assert empty.probabilities is None
    assert empty.predicted(CLASSES) is None
    assert patient_result("a", [], CLASSES, MALIGNANT, without_lesion=[0, 0, 1]).predicted(CLASSES) == "cyst"


def test_results_are_written(tmp_path: Path) -> None:
    lesions = [result("PDAC", 0.8, 0.1, 0.1), result("cyst", 0.1, 0.2, 0.7, case="b")]
    patients = [patient_result(x.case, [x], CLASSES, MALIGNANT) for x in lesions] + [Result("c", None, None, "PNET")]
    write_results(tmp_path, lesions, patients, CLASSES, MALIGNANT, None, {"fold": "0"})
    content = json.loads((tmp_path / "classification.json").read_text())
    assert content["patient_metrics"]["classes"]["PNET"]["sensitivity"] == 0
    assert content["patients"][2]["probabilities"] is None
    rows = list(csv.DictReader((tmp_path / "classification.csv").open()))
    assert [(r["level"], r["case"], r["predicted"], r["p_PDAC"]) for r in rows][:1] == [
        ("patient", "a", "PDAC", "0.8000")
    ]
    assert (tmp_path / "confusion_matrix.png").stat().st_size > 1000
    assert len(list(tmp_path.iterdir())) == 3
    drawn = (tmp_path / "confusion_matrix.png").read_bytes()
    with matplotlib.rc_context({"font.size": 40, "axes.grid": True}):  # what nnU-Net's progress.png leaves behind
        write_results(tmp_path, lesions, patients, CLASSES, MALIGNANT, None, {"fold": "0"})
    assert (tmp_path / "confusion_matrix.png").read_bytes() == drawn
    write_results(tmp_path, [Result("a", 0, (1.0, 0.0, 0.0))], [], CLASSES, MALIGNANT, None, {})
    assert not (tmp_path / "confusion_matrix.png").exists()  # of cases whose classes are not known now


@pytest.mark.parametrize(
    ("names", "malignant"),
    [
        (["benign tumor", "malignant tumor"], ["malignant tumor"]),
        (["pseudotumor", "non-malignant", "HCC"], ["HCC"]),
        (["mucinous cystadenocarcinoma", "serous cyst", "PanNET"], ["mucinous cystadenocarcinoma", "PanNET"]),
        (["ccRCC", "pRCC", "oncocytoma", "GIST", "hemangioma"], ["ccRCC", "pRCC", "GIST"]),
        (["tumor", "cyst"], ["tumor"]),
    ],
)
def test_classes_are_malignant_by_their_names(names: list[str], malignant: list[str]) -> None:
    labels = {"background": 0, "organ": 1} | {name: value for value, name in enumerate(names, 2)}
    plan = infer_plan({"channel_names": {"0": "CT"}, "labels": labels}, host_labels=["organ"], tumor_labels=names)
    assert list(class_names(plan, None, "here").malignant) == malignant


def test_rarer_classes_get_more_synthetic_examples() -> None:
    assert synthetic_shares([20, 20, 20], 0.5) == [0.5] * 3
    shares = synthetic_shares([30, 10, 0], 0.5)
    assert shares[0] < 0.5 < shares[1] < shares[2] == 1
    assert synthetic_shares([30, 0], 0.0) == [0, 0]
    assert synthetic_shares([30, 1], 1.0) == [1, 1]
    assert synthetic_shares([30, 1], 0.5, [1.0, 0.0]) == [pytest.approx(2 / 3), 0]


def test_lesions_are_connected_whatever_their_labels() -> None:
    labels = np.zeros((12, 20, 20), np.int8)
    labels[2:6, 2:8, 2:8] = 2
    labels[2:6, 2:8, 8:10] = 3
    labels[8:11, 12:16, 12:16] = 4
    labels[0, 0, 19] = 2  # a speck
    first, second = find_lesions(labels, [2, 3, 4], (2.0, 1.0, 1.0))
    assert (first.label, first.pure, first.box) == (2, 0.75, ((2, 6), (2, 8), (2, 10)))
    assert labels[first.centre] in (2, 3)
    assert (second.label, second.pure) == (4, 1.0)
    assert second.diameter_mm == pytest.approx((6 / np.pi * 48 * 2) ** (1 / 3), abs=0.01)
