"""How well the offline extractor reads hand-written reports: precision, recall and F1 per descriptor.

    python benchmarks/extraction_accuracy.py tests/data/reports/development.jsonl [--verbose]
    python benchmarks/extraction_accuracy.py tests/data/reports/test.jsonl tests/data/reports/test2.jsonl

Each line of a file: ``{"id", "report", "lesions": [{"organ": ..., "attenuation": ..., ...}], "tags": [...]}``.
Extracted lesions are matched to true ones within a report, one to one, so that most descriptors are equal.

*False statements*: over the reports tagged ``negation`` and those without a lesion, how often the extractor states
what the truth does not: a value of a descriptor that the true lesion lacks, or a lesion too many. Each counts, whether
or not a negation caused it; the denominator is the number of negating words in the reports.

*Negation errors*, where NAME_negated.jsonl lies beside NAME.jsonl: how many of the negated statements listed there were
read as affirmed. One is if the extractor states of a lesion of that organ (``null``: of any) the negated value, which
the truth does not have, or, where a lesion is negated, a lesion too many there; and if it no longer does when the words
of the statement are taken out of the report. "Does not enhance" is read as affirmed by *hyper*, *arterial*, *rim* and
*washout*; a lesion of no organ counts for all of them. Lines:
``{"id", "negated": [{"quote", "organ", "field", "value"}]}``; the field ``lesion`` has no value.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from nnunet_textomorph.llm_reports.extraction import extract_lesions

FIELDS = ("organ", "attenuation", "enhancement", "texture", "composition", "margin", "pathology", "size_mm")
_NEGATION = re.compile(
    r"\b(?:no|not|without|absent|absence|neither|nor|never|lacks?|cannot|non-?\w+)\b|\bw/o\b", re.IGNORECASE
)

ENHANCING = ("hyper", "arterial", "rim", "washout")

Lesion = Mapping[str, Any]
Told = tuple[str | None, str, Any]  # organ, field (``lesion``: one too many) and value


@dataclass
class Tally:
    """Counts of right, invented and missed statements."""

    true: int = 0
    false: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        return self.true / (self.true + self.false) if self.true + self.false else 1.0

    @property
    def recall(self) -> float:
        return self.true / (self.true + self.missed) if self.true + self.missed else 1.0

    @property
    def f1(self) -> float:
        return (
            2 * self.true / (2 * self.true + self.false + self.missed) if self.true + self.false + self.missed else 1.0
        )


@dataclass
class Accuracy:
    """What comparing extracted with true lesions gave, over all reports."""

    fields: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in FIELDS})
    lesions: Tally = field(default_factory=Tally)
    negations: int = 0
    negation_errors: int = 0
    negated: int = 0
    misread: list[str] = field(default_factory=list)  # those that were read as affirmed
    reports: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def negation_error_rate(self) -> float:
        return self.negation_errors / max(1, self.negations)


def same(name: str, first: Any, second: Any) -> bool:
    """Whether two values of a descriptor are equal; sizes within half a millimetre."""
    if name == "size_mm" and first is not None and second is not None:
        return abs(first - second) <= 0.5
    return bool(first == second)


def matched(true: Sequence[Lesion], found: Sequence[Lesion]) -> list[tuple[int, int]]:
    """The one-to-one assignment of true to extracted lesions with most equal descriptors."""
    if not true or not found:
        return []
    equal = np.array([[sum(same(n, t.get(n), f.get(n)) for n in FIELDS) for f in found] for t in true])
    rows, columns = linear_sum_assignment(-equal)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def measure(
    lines: Sequence[Mapping[str, Any]], negated: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> Accuracy:
    """The extractor's accuracy on reports with known lesions; ``negated``: by report, what it negates."""
    result = Accuracy()
    for line in lines:
        false = _compare(result, line)
        for statement in (negated or {}).get(line["id"], ()):
            result.negated += 1
            if _affirmed(line, statement, false):
                result.misread.append(f"{line['id']}: {statement['quote']}")
    return result


def _affirmed(line: Mapping[str, Any], statement: Mapping[str, Any], false: Sequence[Told]) -> bool:
    if not any(affirms(told, statement) for told in false):
        return False
    without = {**line, "report": line["report"].replace(statement["quote"], "")}
    left = _compare(Accuracy(), without)
    return sum(affirms(told, statement) for told in left) < sum(affirms(told, statement) for told in false)


def affirms(told: Told, statement: Mapping[str, Any]) -> bool:
    """Whether a false statement (organ, field, value) says what a negated one denies."""
    organ, name, value = told
    if (organ and statement["organ"] not in (None, organ)) or name != statement["field"]:
        return False
    if (name, statement["value"]) == ("enhancement", "hyper"):
        return value in ENHANCING
    return bool(value == statement["value"])


def _compare(result: Accuracy, line: Mapping[str, Any]) -> list[Told]:
    """Count, and return what was stated falsely."""
    found = [x.descriptors.model_dump() for x in extract_lesions(line["report"]) if not x.uncertain]
    true: Sequence[Lesion] = line["lesions"]
    counts_negation = "negation" in line.get("tags", ()) or not true
    invented = 0
    false: list[Told] = []
    pairs = matched(true, found)
    problems = []
    for i, j in pairs:
        for name in FIELDS:
            want, got = true[i].get(name), found[j].get(name)
            tally = result.fields[name]
            if want is not None and same(name, want, got):
                tally.true += 1
                continue
            tally.missed += want is not None
            tally.false += got is not None
            if got is not None:
                false.append((found[j].get("organ"), name, got))
            invented += want is None and got is not None
            if want is not None or got is not None:
                problems.append(f"lesion {i}: {name} is {want}, read as {got}")
    for i in set(range(len(true))) - {i for i, _ in pairs}:
        problems.append(f"lesion {i} missed: {dict(true[i])}")
        result.lesions.missed += 1
        for name in FIELDS:
            result.fields[name].missed += true[i].get(name) is not None
    for j in set(range(len(found))) - {j for _, j in pairs}:
        problems.append(f"lesion invented: { {k: v for k, v in found[j].items() if v is not None} }")
        result.lesions.false += 1
        invented += 1
        organ = found[j].get("organ")
        false += [(organ, "lesion", None), *((organ, n, found[j][n]) for n in FIELDS if found[j].get(n) is not None)]
        for name in FIELDS:
            result.fields[name].false += found[j].get(name) is not None
    result.lesions.true += len(pairs)
    result.reports += 1
    if counts_negation:
        result.negations += len(_NEGATION.findall(line["report"]))
        result.negation_errors += invented
    if problems:
        result.errors.append("\n    ".join([f"{line['id']}: {line['report']}", *problems]))
    return false


def read_truth(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of reports with their true lesions."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, nargs="+")
    parser.add_argument("--verbose", action="store_true", help="list every error")
    args = parser.parse_args()
    listed = [path.with_name(f"{path.stem}_negated.jsonl") for path in args.truth]
    negated = {line["id"]: line["negated"] for path in listed if path.is_file() for line in read_truth(path)}
    result = measure([line for path in args.truth for line in read_truth(path)], negated)
    if args.verbose:
        print("\n".join(result.errors), "\n")
        print("read as affirmed:", *(result.misread or ["none"]), sep="\n    ")
    print(f"{'':12s} precision  recall      F1   n")
    for name, tally in [("lesion", result.lesions), *result.fields.items()]:
        n = tally.true + tally.missed
        print(f"{name:12s} {tally.precision:9.3f} {tally.recall:7.3f} {tally.f1:7.3f} {n:4d}")
    if result.negated:
        share = 100 * len(result.misread) / result.negated
        print(f"negation errors: {len(result.misread)} of {result.negated} negated statements ({share:.1f} %)")
    print(
        f"false statements in reports with negations: {result.negation_errors}, beside {result.negations} negating "
        f"words ({100 * result.negation_error_rate:.1f} %); reports without any error: "
        f"{result.reports - len(result.errors)} of {result.reports}"
    )


if __name__ == "__main__":
    main()
