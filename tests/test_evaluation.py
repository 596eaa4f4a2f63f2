"""Scores of one case: several hosts, ignored voxels, lesions that touch or lie at the border."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_textomorph.evaluation import Rules, score_arrays
from nnunet_textomorph.plan import TextoMorphPlans

SPACING = (2.0, 1.0, 1.0)
PLAN = TextoMorphPlans(hosts={"kidney_left": 1, "kidney_right": 2}, tumors={"tumor": 3, "cyst": 4}, organ="kidney")
RULES = Rules(plan=PLAN, known_values=(0, 1, 2, 3, 4, 5), ignore=5, tolerance_mm=2.0, min_overlap=0.0)


def kidneys() -> np.ndarray:
    labels = np.zeros((10, 20, 40), np.int16)
    labels[:, 4:16, 2:14] = 1
    labels[:, 4:16, 26:38] = 2
    return labels


def test_a_tumor_that_bulges_out_is_its_hosts_and_a_false_positive_the_nearest_ones() -> None:
    truth, predicted = kidneys(), kidneys()
    truth[3:6, 8:12, 12:18] = 3  # mostly outside the left kidney
    predicted[3:6, 8:12, 12:16] = 3
    predicted[3:6, 8:12, 23:25] = 3  # beside the right one
    (lesion,), scores = score_arrays(truth, predicted, SPACING, RULES)
    assert (lesion.host, lesion.found, lesion.size) == ("kidney_left", True, "small")
    assert lesion.overlap == pytest.approx(4 / 6)
    everywhere, left, right = scores
    assert [s.host for s in scores] == ["all", "kidney_left", "kidney_right"]
    assert left.dsc == pytest.approx(2 * 48 / (72 + 48))
    assert everywhere.dsc == pytest.approx(2 * 48 / (72 + 72))
    assert right.dsc is None
    assert [s.false_positives for s in scores] == [1, 0, 1]


def test_labels_that_touch_are_two_lesions_and_any_tumor_label_finds_them() -> None:
    truth, predicted = kidneys(), kidneys()
    truth[2:5, 6:9, 4:7], truth[2:5, 6:9, 7:10] = 3, 4
    predicted[2:5, 6:9, 8:10] = 3
    lesions, (everywhere, *_) = score_arrays(truth, predicted, SPACING, RULES)
    assert [(x.tumor, x.found) for x in lesions] == [("tumor", False), ("cyst", True)]
    assert everywhere.false_positives == 0
    strict = RULES.model_copy(update={"min_overlap": 0.7})
    assert not any(x.found for x in score_arrays(truth, predicted, SPACING, strict)[0])


def test_ignored_voxels_count_for_nothing_and_borders_do() -> None:
    truth, predicted = kidneys(), kidneys()
    truth[0, 4:6, 2:4] = 3  # in the first slice
    predicted[0, 4:6, 2:4] = 3
    truth[5:8, 5:8, 30:34] = 5
    predicted[5:8, 5:8, 30:34] = 3
    (lesion,), (everywhere, *_) = score_arrays(truth, predicted, SPACING, RULES)
    assert lesion.found
    assert (everywhere.dsc, everywhere.nsd, everywhere.false_positives) == (1, 1, 0)


def test_without_prediction_a_tumor_scores_nothing_and_without_tumor_nothing_is_scored() -> None:
    truth = kidneys()
    assert score_arrays(truth, truth, SPACING, RULES)[1][0].dsc is None
    truth[3:6, 8:12, 12:18] = 3
    everywhere = score_arrays(truth, kidneys(), SPACING, RULES)[1][0]
    assert (everywhere.dsc, everywhere.nsd) == (0, 0)
