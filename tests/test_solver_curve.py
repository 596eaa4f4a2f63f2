"""``benchmarks/solver_curve.py``: a run broken off goes on, and every setting sees the same implants."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from nnunet_textomorph.generator.config import DiffusionConfig, Domain, GeneratorConfig

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import solver_curve
from unseen import Context


class Fake:
    """A generator of a schedule of 8 steps that is the farther off the fewer steps it takes."""

    domain, region_multiple = Domain(), 16
    config = GeneratorConfig(diffusion=DiffusionConfig(steps=8))
    networks = torch.nn.Identity()

    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        solver: str,
        steps: int,
        guidance: float,
        host: np.ndarray,
    ) -> np.ndarray:
        far_off = 40.0 / steps + (solver == "ddim") + guidance
        return np.where(mask, np.random.default_rng(seed).normal(70.0, 10.0) + far_off, context_hu).astype(np.float32)


@pytest.fixture
def curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict]]:
    """Runs the benchmark in two small places; returns its rows."""
    noise = np.random.default_rng(0).normal(size=(48, 56, 56))
    ct = (70.0 + 60.0 * ndimage.gaussian_filter(noise, 1.0)).astype(np.float32)
    places = [
        Context(n, n, "liver", ct + hu, np.ones(ct.shape, bool), (1.0, 1.0, 1.0)) for n, hu in (("a", 0), ("b", 9))
    ]
    monkeypatch.setattr(solver_curve.Generator, "load", lambda folder: Fake())
    monkeypatch.setattr(solver_curve, "contexts", lambda: places)
    monkeypatch.setattr(solver_curve, "DIAMETERS_MM", (14.0, 18.0))

    def run(*options: str, out: str = "out") -> list[dict]:
        given = ["--out", str(tmp_path / out), "--steps", "2", "--implants", "2"]
        solver_curve.main([*given, "--solvers", "unipc", "ddim", *options])
        return [json.loads(line) for line in (tmp_path / out / "rows.jsonl").read_text().splitlines()]

    return run


def test_a_run_broken_off_goes_on_where_it_was(curve, tmp_path, capsys):
    whole = curve()
    settings = [(r["implant"], r["solver"], r["steps"], r["guidance"]) for r in whole]
    one = [(s, n, g) for s, n in (("unipc", 8), ("unipc", 2), ("ddim", 2)) for g in (1.0, 1.5)]
    assert sorted(settings) == sorted((i, *s) for i in (0, 1) for s in one)
    assert [i for i, *_ in settings] == [0] * 6 + [1] * 6
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert all(f"{s:12s}{n:6d}{g:9g}" in printed for s, n, g in one)

    broken = tmp_path / "broken"
    broken.mkdir()
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines(keepends=True)
    (broken / "rows.jsonl").write_text("".join(lines[:4]) + lines[4][:30])
    again = curve(out="broken")
    assert again[:4] == whole[:4]
    assert [{**row, "cpu_s": 0} for row in again] == [{**row, "cpu_s": 0} for row in whole]
    assert curve(out="broken") == again


def test_a_setting_added_later_is_paired_with_those_that_are_there(curve):
    first = curve()
    later = curve("--steps", "2", "5")
    assert later[: len(first)] == first
    added = later[len(first) :]
    assert {(r["implant"], r["solver"], r["steps"]) for r in added} == {
        (i, s, 5) for i in (0, 1) for s in ("unipc", "ddim")
    }
    for row in added:
        same = next(r for r in first if r["implant"] == row["implant"])
        assert (row["text"], row["context"]) == (same["text"], same["context"])
    assert first[0]["distance_hu"] == 0.0
    nearer = [np.mean([r["distance_hu"] for r in later if (r["solver"], r["steps"]) == ("unipc", n)]) for n in (5, 2)]
    assert 0.0 < nearer[0] < nearer[1]


def test_rows_of_another_run_are_not_mixed_in(curve, capsys):
    rows = curve()
    with pytest.raises(SystemExit):
        curve("--seed", "1")
    assert "give another --out" in capsys.readouterr().err
    assert curve() == rows


def test_won_and_lost_count_the_implants_that_one_of_two_has_right():
    def row(attenuation: str, contrast: float) -> dict:
        asked = {"attenuation": attenuation, "texture": "homogeneous", "margin": "ill-defined"}
        return {
            **asked,
            "contrast_hu": contrast,
            "texture_hu": 0.0,
            "margin_share": 0.1,
            "distance_hu": 2.0,
            "cpu_s": 1.0,
        }

    here = [row("hypo", -40.0), row("hyper", 0.0), row("iso", 0.0), row("hypo", -40.0)]
    there = [row("hypo", 0.0), row("hyper", 50.0), row("iso", 0.0), row("hypo", 0.0)]
    found = solver_curve.summary(here, there)
    assert found["attenuation"] == 75.0
    assert (found["attenuation won"], found["attenuation lost"]) == (2, 1)
    assert (found["texture"], found["texture won"], found["texture lost"]) == (100.0, 0, 0)
    assert (found["hypo"], found["hyper"], found["distance"]) == (-40.0, 0.0, 2.0)
