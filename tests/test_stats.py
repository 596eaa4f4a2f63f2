"""Intervals and tests against values that are known or worked out otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from nnunet_textomorph.stats import (
    bootstrap_interval,
    difference_interval,
    gained_and_lost,
    holm,
    mcnemar,
    patient_draws,
    ratio_interval,
    wilcoxon,
    wilson_interval,
)


def test_holm_steps_down_and_never_falls() -> None:
    # worked by hand: 4 x 0.01, 3 x 0.015, 2 x 0.03, then no less than the one before
    assert holm([0.01, 0.04, 0.03, 0.015]) == pytest.approx([0.04, 0.06, 0.06, 0.045])
    assert holm([None, 0.5, 0.9]) == [None, 1.0, 1.0]


def test_mcnemar_counts_only_what_differs() -> None:
    first, second = [True] * 50 + [False] * 9 + [True], [True] * 50 + [True] * 9 + [False]
    assert mcnemar(first, second) == pytest.approx(2 * binom.cdf(1, 10, 0.5))
    assert mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([], []) is None
    assert gained_and_lost(first, second) == (9, 1)


def test_wilcoxon_of_equal_and_of_missing_values() -> None:
    assert wilcoxon([0.5, 0.6], [0.5, 0.6]) == 1.0
    assert wilcoxon([np.nan], [0.5]) is None
    low = np.linspace(0.1, 0.5, 12)
    assert (wilcoxon(low, low + 0.1 + 0.01 * np.arange(12)) or 1) == pytest.approx(2 / 2**12)


def test_intervals_are_over_patients_not_over_cases() -> None:
    cases = np.r_[np.zeros(20), np.ones(20)]
    three = patient_draws(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    assert ratio_interval([0.0, 0.0, 20.0], [20, 20, 20], three) == (0.0, 1.0)
    low, high = ratio_interval(cases, np.ones(40), patient_draws(range(40))) or (0, 0)
    assert 0.3 < low < 0.4
    assert 0.6 < high < 0.7
    assert ratio_interval([0, 0, 0], [0, 0, 0], three) is None
    same = bootstrap_interval(list(range(40)), lambda rows: float(cases[rows].mean()))
    assert same == pytest.approx((low, high), abs=0.06)


def test_fewer_than_three_patients_have_no_interval() -> None:
    draws = patient_draws(range(5))
    two, three = [2, 1, 0, 0, 0], [2, 1, 1, 0, 0]  # lesions of each patient
    assert ratio_interval([1, 1, 0, 0, 0], two, draws) is None
    assert ratio_interval([1, 1, 0, 0, 0], three, draws) is not None
    assert difference_interval(([1, 1, 0, 0, 0], three), ([1, 1, 0, 0, 0], two), draws) is None
    assert bootstrap_interval([0, 0, 1, 1], lambda rows: float(rows.mean())) is None


def test_a_difference_is_paired() -> None:
    values = np.random.default_rng(0).random(30)
    ones, draws = np.ones(30), patient_draws(range(30))
    found = difference_interval((values, ones), (values + 0.1, ones), draws)
    assert found == pytest.approx((0.1, 0.1))


def test_wilson() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 0) is None
