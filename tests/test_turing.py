"""The reader study: blinded, answered in a browser, scored."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from test_radiomics import BALL, synthesized
from tiny_nnunet import SHAPE, TinyNnUNet

from nnunet_textomorph.cli import main
from nnunet_textomorph.generator.volumes import read_volume
from nnunet_textomorph.tumors import Scan, tumors_of
from nnunet_textomorph.turing import shown_region

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SCRIPT = """
<script>
addEventListener("load", async () => {
  const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const pause = () => new Promise((done) => setTimeout(done, 20));
  const errors = [];
  addEventListener("error", (e) => errors.push(e.message));
  addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
  document.getElementById("reader").value = 'A "B", C';
  document.querySelector("form").requestSubmit();
  const seen = [];
  for (let i = 0; i < items.length; i++) {
    while (!shown || seen.includes(shown.item.id)) await pause();
    seen.push(shown.item.id);
    const canvas = document.querySelectorAll("canvas")[0];
    const before = place[0];
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 1, cancelable: true, bubbles: true }));
    if (place[0] !== before + 1) errors.push("the wheel does not scroll");
    press("2");
    if (level !== 60) errors.push("the preset does not change the window");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    if (new Set(data).size < 10) errors.push("the plane is empty");
    press(hu_is_dark() ? "s" : "r");
  }
  function hu_is_dark() { return items.indexOf(shown.item) % 2; }
  await pause();
  if (document.getElementById("done").hidden) errors.push("the end is not shown");
  const kept = JSON.parse(localStorage.getItem(store.key()));
  if (Object.keys(kept.answers).length !== items.length) errors.push("progress is not kept");
  document.documentElement.innerHTML = "<pre id=errors></pre><pre id=csv></pre>";
  document.getElementById("errors").textContent = JSON.stringify(errors);
  document.getElementById("csv").textContent = csv();
});
</script>
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two real tumors, and three of each of two methods in one CT."""
    dataset = TinyNnUNet(tmp_path / "nnunet")
    for name, value in dataset.environment.items():
        monkeypatch.setenv(name, value)
    dataset.add(0, "secretcase", [BALL, ((12, 30, 38), 7.0, 2)], [])
    for method in ("wizardry", "trickery"):
        for i in range(3):
            synthesized(tmp_path / method / f"madeup{i}", f"/ct/secretct_{i}_0000.nii.gz", 8.0, i)
    options = ["turing", "--synthetic", *(f"{m}={tmp_path / m}" for m in ("wizardry", "trickery"))]
    done = CliRunner().invoke(main, [*options, "--real", str(dataset.raw), "--out", str(tmp_path / "study")])
    assert done.exit_code == 0, done.output
    return tmp_path / "study"


def key_of(study: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((study / "key.csv").open()))


def answered(study: Path, reader: str, right: int) -> Path:
    """A file in which the first ``right`` items of the key are told rightly and the others wrongly."""
    path = study.parent / f"{reader}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["study", "reader", "item", "answer", "seconds", "position"])
        for number, row in enumerate(key_of(study)):
            real = (row["method"] == "real") == (number < right)
            writer.writerow([row["study"], reader, row["item"], "real" if real else "synthetic", 3.5, number + 1])
    return path


def test_the_page_holds_every_tumor_and_no_hint(study: Path) -> None:
    key = key_of(study)
    assert sorted(row["method"] for row in key) == ["real"] * 2 + ["trickery"] * 3 + ["wizardry"] * 3
    (page,) = (study / "for_readers").iterdir()
    text = page.read_text()
    for hint in ("wizardry", "trickery", "madeup", "secretcase", "secretct", "request.json", str(study.parent)):
        assert hint not in text
    assert not re.search(r'(src|href)="', text)  # nothing from elsewhere
    content = json.loads(re.search(r'<script id="study"[^>]*>(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert {item["id"] for item in content["items"]} == {row["item"] for row in key}
    assert {tuple(sorted(item)) for item in content["items"]} == {("id", "organ", "shape", "spacing")}
    for item in content["items"]:
        packed = re.search(rf'id="v{item["id"]}">([^<]*)<', text)
        assert packed
        raw = zlib.decompress(base64.b64decode(packed[1]))
        assert len(raw) == 2 * np.prod(item["shape"])
        low, high = np.frombuffer(raw, np.uint8).reshape(2, -1).astype(np.uint16)
        hu = (low | (high << 8)).astype(np.uint16).view(np.int16).reshape(item["shape"])
        middle = tuple(n // 2 for n in item["shape"])
        assert 20 < hu[middle] < 80  # the tumor is in the middle
        assert min(n * s for n, s in zip(item["shape"], item["spacing"], strict=True)) > 75


def test_neither_names_nor_order_follow_from_the_seed(study: Path, tmp_path: Path) -> None:
    """Who knows the program and its usual seed could else work out which are real."""
    options = ["turing", "--synthetic", *(f"{m}={tmp_path / m}" for m in ("wizardry", "trickery"))]
    (real,) = (tmp_path / "nnunet").glob("*raw*/Dataset*")
    done = CliRunner().invoke(main, [*options, "--real", str(real), "--out", str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    first, second = key_of(study), key_of(tmp_path / "again")
    assert sorted((row["method"], row["name"]) for row in first) == sorted((r["method"], r["name"]) for r in second)
    assert first[0]["study"] != second[0]["study"]
    assert not {row["item"] for row in first} & {row["item"] for row in second}
    orders = {tuple(shown(folder)) for folder in (study, tmp_path / "again")}
    for i in range(4):  # one in 40,320 that two are alike
        more = tmp_path / f"more{i}"
        assert CliRunner().invoke(main, [*options, "--real", str(real), "--out", str(more)]).exit_code == 0
        orders.add(tuple(shown(more)))
    assert len(orders) > 4


def shown(study: Path) -> list[str]:
    """The tumors' names in the page's order."""
    text = (study / "for_readers" / "study.html").read_text()
    content = json.loads(re.search(r'<script id="study"[^>]*>(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    names = {row["item"]: row["method"] + row["name"] for row in key_of(study)}
    return [names[item["id"]] for item in content["items"]]


def test_an_organ_of_one_kind_is_left_out_and_spelling_tells_nothing(tmp_path: Path) -> None:
    folders = []
    for name, case in (("one", "a"), ("two", "b")):
        folders.append(TinyNnUNet(tmp_path / name, name=f"Dataset98{len(folders)}_{name}"))
        folders[-1].add(0, case, [BALL], [])
    for i, organ in enumerate(("Liver", "the liver", "kidney")):
        synthesized(tmp_path / "m" / f"t{i}", f"/ct/{i}.nii.gz", 8.0, i, organ)
    options = ["turing", "--synthetic", f"m={tmp_path / 'm'}", "--real", *(str(folder.raw) for folder in folders)]
    done = CliRunner().invoke(main, [*options, "--out", str(tmp_path / "study")])
    assert done.exit_code == 0, done.output
    assert "kidney: all tumors are synthetic" in done.output
    key = key_of(tmp_path / "study")
    assert {row["organ"] for row in key} == {"liver"}
    assert sorted(row["name"] for row in key) == ["Dataset980_one_a_0", "Dataset981_two_b_0", "t0", "t1"]


def test_what_is_shown_is_turned_to_the_patient_and_cut_about_the_tumor(tmp_path: Path) -> None:
    ct = np.full(SHAPE, -100.0)
    ct[6, 10, 20] = 300
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:8, 9:12, 19:22] = 1
    for name, array in (("image", ct.astype(np.int16)), ("label", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.5, 1.5, 3.0))
        image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, -1))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    scan = Scan("m", "n", "p", "liver", "ct", tmp_path / "image.nii.gz", tmp_path / "label.nii.gz", (1,), True)
    (tumor,) = tumors_of(scan)
    shown, spacing = shown_region(tumor)
    assert np.argwhere(shown == 300).tolist() == [[n // 2 for n in shown.shape]]
    assert spacing == pytest.approx((3.0, 1.5, 1.5))
    whole = read_volume(tmp_path / "image.nii.gz").array
    # the CT ends sooner on one side; after turning, air lies on the other
    assert (whole.shape[2] - 1 - 20, 20) == (35, 20)
    air = (shown == -1024).all(axis=(0, 1))
    assert air[-1]
    assert not air[0]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_whole_study_is_answered_in_a_browser_and_scored(study: Path, tmp_path: Path) -> None:
    page = study / "for_readers" / "study.html"
    driven = tmp_path / "driven.html"
    driven.write_text(page.read_text().replace("</body>", SCRIPT + "</body>"))
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command += ["--virtual-time-budget=60000", "--dump-dom", driven.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    errors = re.search(r'<pre id="errors">(.*?)</pre>', done.stdout, re.S)
    assert errors, done.stdout[-500:]
    assert json.loads(html.unescape(errors[1])) == []
    answers = html.unescape(re.search(r'<pre id="csv">(.*?)</pre>', done.stdout, re.S)[1])  # type: ignore[index]
    (tmp_path / "answers.csv").write_text(answers)
    assert len(answers.splitlines()) == 1 + len(key_of(study))
    options = [
        "turing",
        "score",
        str(study / "key.csv"),
        str(tmp_path / "answers.csv"),
        "--out",
        str(tmp_path / "scores"),
    ]
    scored = CliRunner().invoke(main, options)
    assert scored.exit_code == 0, scored.output
    assert 'A "B", C' in (tmp_path / "scores" / "turing.md").read_text()


def test_rates_and_agreement(study: Path, tmp_path: Path) -> None:
    files = [answered(study, "anna", 8), answered(study, "ben", 4)]
    out = tmp_path / "scores"
    done = CliRunner().invoke(main, ["turing", "score", str(study / "key.csv"), *map(str, files), "--out", str(out)])
    assert done.exit_code == 0, done.output
    rates = {(r["reader"], r["group"], r["value"]): r for r in csv.DictReader((out / "rates.csv").open())}
    assert float(rates["anna", "all", "all"]["rate"]) == 1
    assert float(rates["ben", "all", "all"]["rate"]) == 0.5
    assert float(rates["all", "all", "all"]["rate"]) == 0.75
    assert rates["anna", "size", "large"]["rate"] == ""
    assert sum(int(rates["anna", "method", m]["answers"]) for m in ("real", "wizardry", "trickery")) == 8
    (pair,) = csv.DictReader((out / "agreement.csv").open())
    assert float(pair["same"]) == 0.5
    key = key_of(study)
    a = [row["method"] == "real" for row in key]
    b = [value == (number < 4) for number, value in enumerate(a)]
    chance = np.mean(a) * np.mean(b) + (1 - np.mean(a)) * (1 - np.mean(b))
    assert float(pair["kappa"]) == pytest.approx((0.5 - chance) / (1 - chance))


def test_answers_that_do_not_belong_are_named(study: Path, tmp_path: Path) -> None:
    good = answered(study, "anna", 8).read_text()
    first = key_of(study)[0]
    cases = (
        (good.replace(first["study"], "other"), "of the study"),
        (good.replace(first["item"], "nobody"), "not in the key"),
        (good.replace(",synthetic,", ",fake,", 1), "'fake'"),
        (good + good.splitlines()[1] + "\n", "answered twice"),
        (good.replace("anna", "eve", 1), "another reader"),
        (good.replace("anna", "all"), "rename the reader"),
        ("study,reader\n", "no column"),
        ("study,reader,item,answer\n", "no answer"),
    )
    for content, sentence in cases:
        bad = tmp_path / "bad.csv"
        bad.write_text(content)
        done = CliRunner().invoke(
            main, ["turing", "score", str(study / "key.csv"), str(bad), "--out", str(tmp_path / "scores")]
        )
        assert done.exit_code == 2, sentence
        assert sentence in " ".join(done.output.split())
    twice = [str(study.parent / "anna.csv")] * 2
    done = CliRunner().invoke(main, ["turing", "score", str(study / "key.csv"), *twice, "--out", str(tmp_path / "s")])
    assert done.exit_code == 2
    assert "another file already" in done.output
    done = CliRunner().invoke(main, ["turing", "--out", str(tmp_path / "s")])
    assert done.exit_code == 2
    assert "--synthetic" in done.output
    assert not (tmp_path / "s").exists()
