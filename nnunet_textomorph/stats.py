"""What a reviewer asks for: intervals over patients, and paired tests with correction for their number."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000
LEVEL = 95.0  # per cent of the intervals
FEWEST_PATIENTS = 3  # of a bootstrap interval: resamples of one or two say nothing of others


def patient_draws(patients: Sequence[Hashable], resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each patient is in each bootstrap resample: int (resamples, patients), patients in order of appearance.

    The same for every method, so that differences between methods are paired.
    """
    number = len(dict.fromkeys(patients))
    return np.random.default_rng(seed).multinomial(number, np.full(number, 1 / max(number, 1)), resamples)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], draws: np.ndarray
) -> tuple[float, float] | None:
    """Percentile interval of sum(numerators) / sum(denominators) over resampled patients.

    None where fewer than three have a denominator.
    A mean over cases is the ratio of a patient's sum to his number of cases, a sensitivity that of his found lesions to
    his lesions. Resamples without a denominator are left out.
    """
    if np.count_nonzero(denominators) < FEWEST_PATIENTS:
        return None
    top, bottom = draws @ np.asarray(numerators, float), draws @ np.asarray(denominators, float)
    return _interval(top[bottom > 0] / bottom[bottom > 0])


def difference_interval(
    first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]], draws: np.ndarray
) -> tuple[float, float] | None:
    """As :func:`ratio_interval`, of the second method's ratio minus the first's on the same resamples."""
    if min(np.count_nonzero(denominators) for _, denominators in (first, second)) < FEWEST_PATIENTS:
        return None
    (a, an), (b, bn) = ([draws @ np.asarray(x, float) for x in pair] for pair in (first, second))
    both = (an > 0) & (bn > 0)
    return _interval(b[both] / bn[both] - a[both] / an[both])


def bootstrap_interval(
    groups: Sequence[Hashable], statistic: Callable[[np.ndarray], float], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of ``statistic`` of the indices of rows, groups (patients) drawn with replacement.

    For statistics that are no ratio. Resamples for which it is NaN are left out. None for fewer than three groups.
    """
    names = list(dict.fromkeys(groups))
    if len(names) < FEWEST_PATIENTS:
        return None
    rows = {name: np.flatnonzero([g == name for g in groups]) for name in names}
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        chosen = rng.integers(len(names), size=len(names))
        values.append(statistic(np.concatenate([rows[names[i]] for i in chosen])))
    return _interval(np.asarray(values)[~np.isnan(values)])


def wilson_interval(hits: int, number: int) -> tuple[float, float] | None:
    """Wilson's interval of a proportion; None without observations."""
    if not number:
        return None
    found = stats.binomtest(hits, number).proportion_ci(LEVEL / 100, method="wilson")
    return float(found.low), float(found.high)


def auc(scores: Sequence[float] | np.ndarray, positive: Sequence[bool] | np.ndarray) -> float | None:
    """Area under the ROC curve: how often a positive scores higher than a negative, ties half; None without both.

    By the ranks' sum, as Mann and Whitney's U: a bootstrap takes thousands, and sklearn's takes 30 times as long.
    """
    which = np.asarray(positive, bool)
    number, others = int(which.sum()), int((~which).sum())
    if not number or not others:
        return None
    ranks = stats.rankdata(np.asarray(scores, float))
    return float((ranks[which].sum() - number * (number + 1) / 2) / (number * others))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float | None:
    """Exact two-sided McNemar test of paired hits; None without pairs, 1 where no pair differs."""
    if not len(first):
        return None
    gained, lost = gained_and_lost(first, second)
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def gained_and_lost(first: Sequence[bool], second: Sequence[bool]) -> tuple[int, int]:
    """How many of paired hits only the second has, and only the first."""
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    return int((~a & b).sum()), int((a & ~b).sum())


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided Wilcoxon signed-rank test of paired values; None without pairs, 1 where all are equal."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    kept = ~(np.isnan(a) | np.isnan(b))
    difference = b[kept] - a[kept]
    if not len(difference):
        return None
    return float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; a test that could not be made (None) counts for nothing."""
    known = [(p, i) for i, p in enumerate(p_values) if p is not None]
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[i] = highest
    return corrected


def _interval(values: np.ndarray) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = np.percentile(values, [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)
