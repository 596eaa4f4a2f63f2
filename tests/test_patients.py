"""patients.csv: what counts as a number, as not stated, and as a band of numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.patients import Patients, read_patients

AGES = ["41", "48", "55", "62", "69", "76"]
BANDS = ["40 to < 50", "50 to < 60", "60 to < 70", "70 to 80"]


def read(path: Path, values: list[str], delimiter: str = ",") -> Patients:
    """The values are one column, ``x``, of as many cases."""
    cases = [f"c{number}" for number in range(len(values))]
    lines = [delimiter.join(row) for row in [("case", "x"), *zip(cases, values, strict=True)]]
    path.write_text("\n".join(lines) + "\n")
    return read_patients(path, ["x"], cases)


@pytest.mark.parametrize(
    "missing", ["", "NA", "N/A", "nan", "NaN", "null", "NULL", "None", "unknown", "-", "?", "#N/A"]
)
def test_a_missing_number_is_not_stated_and_the_others_stay_numbers(tmp_path: Path, missing: str) -> None:
    found = read(tmp_path / "p.csv", [*AGES, missing])
    assert found.order["x"] == [*BANDS, "not stated"]
    assert "c6" not in found.groups["x"]
    few = read(tmp_path / "p.csv", ["40", "40.0", "9", missing])
    assert few.order["x"] == ["9", "40", "not stated"]
    assert few.groups["x"]["c1"] == "40"


def test_among_words_none_and_a_dash_are_answers(tmp_path: Path) -> None:
    found = read(tmp_path / "p.csv", ["none", "mild", "-", "NA", "not stated", "inf"])
    assert found.order["x"] == ["-", "inf", "mild", "none", "not stated"]


def test_a_patient_who_is_not_named_is_the_case(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("case,patient\na,NA\nb,NA\nc,P\nd,P\n")
    assert read_patients(tmp_path / "p.csv", [], "abcd").ids(list("abcd")) == ["a", "b", "P", "P"]


def test_decimal_commas_are_numbers_where_semicolons_part_the_columns(tmp_path: Path) -> None:
    values = ["41,5", "48", "55.5", "62,25", "69,0", "76,125", "NA"]
    assert read(tmp_path / "p.csv", values, ";").order["x"] == [*BANDS, "not stated"]
    with pytest.raises(UserError, match=r"'x': holds numbers, and '41,5' of c0 is none"):
        read(tmp_path / "p.csv", values, "\t")


@pytest.mark.parametrize("odd", ["inf", "-Infinity", "61 y", "1,234,567"])
def test_what_is_no_finite_number_among_numbers_is_refused(tmp_path: Path, odd: str) -> None:
    with pytest.raises(UserError, match=rf"p.csv: column 'x': holds numbers, and '{odd}' of c6 is none"):
        read(tmp_path / "p.csv", [*AGES, odd], "\t")


def test_infinity_is_refused_among_few_numbers_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'inf' of c1"):
        read(tmp_path / "p.csv", ["40", "inf"])


@pytest.mark.parametrize(
    ("values", "bands"),
    [
        (["20200101", "20200230", "20200331", "20200401", "20201231", "20210101"], "20200000 to < 20205000"),
        (["1234567", "2234567", "3234567", "4234567", "5234567", "7234567"], "0 to < 2000000"),
        (["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"], "0 to < 0.2"),
        (["-0.004", "0.001", "0.002", "0.003", "0.004", "0.005"], "-0.005 to < 0"),
    ],
)
def test_bands_are_written_out_and_hold_every_number(tmp_path: Path, values: list[str], bands: str) -> None:
    found = read(tmp_path / "p.csv", values)
    assert found.order["x"][0] == bands
    assert len(found.groups["x"]) == len(values)
    for number, value in enumerate(values):
        low, high = found.groups["x"][f"c{number}"].replace("<", "").split(" to ")
        assert float(low) <= float(value) <= float(high)


def test_columns_have_one_name_each_but_for_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("case;age;age\nc0;1;2\n")
    with pytest.raises(UserError, match="has the column 'age' twice"):
        read_patients(tmp_path / "p.csv", [], ["c0"])
    (tmp_path / "p.csv").write_text("case;age;;\nc0;1;;\n")
    assert read_patients(tmp_path / "p.csv", ["age"], ["c0"]).order == {"age": ["1"]}
