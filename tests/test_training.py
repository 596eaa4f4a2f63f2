from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from nnunet_textomorph.generator import latents as latents_module
from nnunet_textomorph.generator import train_autoencoder as autoencoder_module
from nnunet_textomorph.generator import train_diffusion as diffusion_module
from nnunet_textomorph.generator.autoencoder import Autoencoder, normalize
from nnunet_textomorph.generator.config import ContrastConfig, Domain, GeneratorConfig
from nnunet_textomorph.generator.contrast import ContrastTexts, Described
from nnunet_textomorph.generator.crops import (
    LEVEL_HU,
    PLAIN_HU,
    SHIFT,
    cache_crops,
    load_crop,
    plain_tumor,
    random_window,
    window_side,
)
from nnunet_textomorph.generator.denoiser import latent_mask
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.folder import read_config
from nnunet_textomorph.generator.generator import Generator, load_autoencoder
from nnunet_textomorph.generator.latents import cache_latents, cache_texts
from nnunet_textomorph.generator.manifest import read_manifest
from nnunet_textomorph.generator.text_encoder import TextEncoder
from nnunet_textomorph.generator.train_autoencoder import train_autoencoder
from nnunet_textomorph.generator.train_diffusion import WordHeads, train_diffusion
from nnunet_textomorph.generator.training_set import rare_weights, windows_loss
from nnunet_textomorph.generator.volumes import Volume, write_volume

STEPS = 6  # far enough for the codebook and the discriminator to have joined
KILLED_AT = 5  # the step in which the tests' runs are killed; the last checkpoint is that of step 4
RATE = 0.02  # so high that a step which is left out, or taken with another optimizer, shows in the weights
TUMOR = 2
TEXTS = {"hypo": ["a hypoattenuating mass", "a large hypoattenuating mass"], "hyper": ["a hyperattenuating mass"]}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_encoder(tmp_path_factory.mktemp("text") / "encoder")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def write_data(folder: Path) -> Path:
    """Three small noisy CT with a ball of a tumor each, darker or brighter as their texts say."""
    lines = []
    for number, attenuation in enumerate(["hypo", "hyper", "hypo"]):
        rng = np.random.default_rng(number)
        spacing = [(1.0, 1.0, 1.0), (2.5, 1.0, 1.0), (1.5, 1.5, 1.5)][number]
        shape = [round(n / s) for n, s in zip((40, 44, 48), spacing, strict=True)]
        grid = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
        tumor = (grid[0] - 20) ** 2 + (grid[1] - 22) ** 2 + (grid[2] - 24) ** 2 < 8.0**2
        ct = 50.0 + rng.normal(0, 10, shape) + tumor * (-50.0 if attenuation == "hypo" else 60.0)
        direction = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
        volume = Volume(ct.astype(np.float32), spacing, (0.0, 0.0, 0.0), direction)
        write_volume(folder / f"ct{number}.nii.gz", volume)
        write_volume(folder / f"mask{number}.nii.gz", volume.with_array(np.where(tumor, TUMOR, 1).astype(np.int16)))
        lines.append(
            {
                "id": f"case{number}",
                "image": f"ct{number}.nii.gz",
                "mask": f"mask{number}.nii.gz",
                "tumor_label": TUMOR,
                "host_label": 1,
                "organ": "liver",
                "texts": TEXTS[attenuation],
                "descriptors": {"attenuation": attenuation, "size_mm": 16.0, "margin": None},
            }
        )
    return write_manifest(folder / "manifest.jsonl", lines)


def write_manifest(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def entries(manifest: Path, **changes: object) -> list[dict]:
    """A manifest's lines with absolute paths, the second with ``changes``."""
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line |= {key: str(manifest.parent / line[key]) for key in ("image", "mask")}
    lines[1] |= changes
    return lines


def autoencoder_run(manifest: Path, out: Path, **options) -> Path:
    given = {"steps": STEPS, "batch": 2, "crop": 16, "learning_rate": RATE, "checkpoint_every": 2, "progress": False}
    return train_autoencoder(
        manifest, out, **{**given, "config": GeneratorConfig(autoencoder=tiny.AUTOENCODER), **options}
    )


Run = Callable[..., Path]


@pytest.fixture(scope="module")
def autoencoder(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return autoencoder_run(manifest, tmp_path_factory.mktemp("trained") / "autoencoder")


@pytest.fixture(scope="module")
def diffusion_run(autoencoder: Path, encoder: Path) -> Run:
    def run(manifest: Path, out: Path, **options) -> Path:
        given = {"steps": STEPS, "batch": 2, "checkpoint_every": 2, "text_steps": 3, "denoiser": tiny.DENOISER}
        given |= {"learning_rate": RATE, "text_encoder": str(encoder), "progress": False}
        return train_diffusion(manifest, options.pop("autoencoder", autoencoder), out, **{**given, **options})

    return run


@pytest.fixture(scope="module")
def diffusion(manifest: Path, diffusion_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_run(manifest, tmp_path_factory.mktemp("trained") / "diffusion")


@pytest.fixture(params=["autoencoder", "diffusion"])
def part(request: pytest.FixtureRequest, diffusion_run: Run) -> tuple[str, Run, Path]:
    """(name, how to train it, a folder where that was done without interruption)."""
    run = autoencoder_run if request.param == "autoencoder" else diffusion_run
    return request.param, run, request.getfixturevalue(request.param)


def killed(run: Run, manifest: Path, out: Path, at: int) -> None:
    """Start a run of ``STEPS`` and raise KeyboardInterrupt when the learning rate of step ``at`` is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((autoencoder_module, "_warmup_cosine"), (diffusion_module, "rate")):
            patch.setattr(module, name, killed_at(at, STEPS, getattr(module, name)))
        with pytest.raises(KeyboardInterrupt):
            run(manifest, out)


def killed_at(at: int, of: int, rate: Callable[[int, int], float]) -> Callable[[int, int], float]:
    """A learning rate that raises KeyboardInterrupt at step ``at`` of ``of``."""

    def dying(step: int, steps: int) -> float:
        if (step, steps) == (at, of):  # what is taught before has other numbers of steps
            raise KeyboardInterrupt
        return rate(step, steps)

    return dying


def same_weights(first: Path, second: Path) -> bool:
    a, b = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def times(folder: Path, pattern: str) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob(pattern))}


# --- what a run writes ------------------------------------------------------------------------------------------


def test_a_trained_autoencoder_is_written_and_loads(autoencoder):
    config, network = load_autoencoder(autoencoder)
    assert config.denoiser is None
    assert config.training["autoencoder"]["steps"] == STEPS
    assert config.training["autoencoder"]["crops"] == 3
    assert list(autoencoder.glob("sheets/*.png"))
    assert list(autoencoder.rglob("events.out.tfevents*"))
    assert not list(autoencoder.glob(".partial*"))
    with pytest.raises(GeneratorError, match="autoencoder only"):
        Generator.load(autoencoder)
    # latents of training data are standardized
    paths = sorted((autoencoder / "crops").glob("*.safetensors"))
    z = [network.encode(normalize(torch.from_numpy(load_crop(path)[0])[None, None], Domain())) for path in paths]
    assert torch.stack(z).mean().abs() < 0.5
    assert 0.5 < torch.stack(z).std() < 2.0


def test_training_lowers_the_autoencoders_error(manifest, autoencoder, tmp_path):
    longer = autoencoder_run(manifest, tmp_path / "longer", steps=300, checkpoint_every=400, learning_rate=2e-3)
    crops = [load_crop(path) for path in sorted((longer / "crops").glob("*.safetensors"))]
    # windows of many levels: an untrained network's output is one level, and may be a crop's own
    windows = [random_window(*crops[i % len(crops)], np.random.default_rng(i), 16)[0] for i in range(20)]
    x = normalize(torch.from_numpy(np.stack(windows))[:, None], Domain())

    def error(folder: Path) -> float:
        network = load_autoencoder(folder)[1]
        return float((network.decode(network.encode(x)) - x).abs().mean())

    assert error(longer) < 0.7 * error(autoencoder)


def test_a_trained_generator_is_written_loads_and_samples(diffusion, autoencoder):
    generator = Generator.load(diffusion)
    facts = generator.config.training
    assert facts["autoencoder"] == read_config(autoencoder).training["autoencoder"]
    assert facts["diffusion"]["steps"] == STEPS
    assert generator.config.diffusion.prediction_type == "v_prediction"
    assert list(diffusion.glob("sheets/*.png"))
    assert list(diffusion.rglob("events.out.tfevents*"))
    region = np.full((1, 16, 16, 16), 50.0, np.float32)
    made = generator.synthesize(region, region > 0, ["a mass"], seed=0)
    assert np.isfinite(made).all()
    own, base = load_file(diffusion / "model.safetensors"), load_file(autoencoder / "model.safetensors")
    assert all(torch.equal(own[f"autoencoder.{name}"], value) for name, value in base.items())
    assert (own["denoiser.tumor_sd"] != 1.0).all()  # measured on the training set
    assert own["denoiser.unet.out.2.conv.weight"].abs().max() > 0  # zeros until the denoising loss reaches the U-Net
    assert own["denoiser.voxelwise.maps.weight"].abs().max() > 0


def test_the_prediction_type_and_provenance_are_kept(manifest, diffusion_run, tmp_path):
    out = diffusion_run(
        manifest, tmp_path / "out", steps=1, prediction_type="epsilon", data="drawn balls", licence="CC0-1.0"
    )
    config = Generator.load(out).config
    assert (config.diffusion.prediction_type, config.data, config.licence) == ("epsilon", "drawn balls", "CC0-1.0")


def test_the_words_of_the_descriptors_are_learned(manifest, diffusion_run, tmp_path):
    """The adapter tells the two attenuations apart, whatever the wording, before the denoiser has learned anything."""
    adapter_of = {}
    for steps in (0, 60):
        out = diffusion_run(manifest, tmp_path / str(steps), steps=1, text_steps=steps)
        adapter_of[steps] = Generator.load(out)

    def separation(steps: int) -> float:
        generator = adapter_of[steps]
        with torch.no_grad():
            pooled = generator.networks.denoiser.adapter(*generator.text_encoder(TEXTS["hypo"] + TEXTS["hyper"]))[1]
        within = (pooled[0] - pooled[1]).norm()
        return float((pooled[:2].mean(0) - pooled[2]).norm() / within)

    assert separation(60) > 2.0 * separation(0)


def test_every_descriptor_is_part_of_the_loss_whatever_the_lines_give(manifest):
    """Several processes wait for the gradient of each weight."""
    heads = WordHeads(8, {"attenuation": ["hyper", "hypo"], "pathology": ["PDAC", "cyst"]})
    heads.loss(torch.randn(2, 8), read_manifest(manifest)[:2])[0].backward()  # no line gives a pathology
    gradients = {name: head.weight.grad for name, head in heads.heads.items()}
    assert gradients["attenuation"].abs().max() > 0
    assert gradients["pathology"].abs().max() == 0


def test_the_voxelwise_path_learns_what_the_texts_say(manifest, diffusion_run, tmp_path):
    """Out of no more than noise it adds the contrast that the text says: about that of the manifest's tumors."""
    generator = Generator.load(diffusion_run(manifest, tmp_path / "out", steps=1, text_steps=60))
    denoiser, domain = generator.networks.denoiser, generator.domain
    tumor = np.zeros((32, 32, 32), bool)
    tumor[8:24, 8:24, 8:24] = True
    healthy = np.full(tumor.shape, 50.0, np.float32)
    images = torch.from_numpy(np.stack([healthy, plain_tumor(healthy, tumor)]))[:, None]
    mask = latent_mask(torch.from_numpy(tumor)[None, None], domain.latent_factor)
    last = torch.full((1,), generator.config.diffusion.steps - 1)

    def contrast_hu(text: str) -> float:
        with torch.no_grad():
            z_healthy, z_plain = (z[None] for z in generator.networks.autoencoder.encode(normalize(images, domain)))
            plain, nothing = denoiser.added(z_plain, z_healthy), torch.zeros_like(z_healthy)
            pooled = denoiser.adapter(*generator.text_encoder([text]))[1]
            z0 = -denoiser.voxelwise(nothing, last, nothing, plain, mask, pooled)  # at the schedule's end v is -z0
        inside = mask == 1
        return float((z0 * plain * inside).sum() / (plain**2 * inside).sum()) * PLAIN_HU

    assert contrast_hu(TEXTS["hypo"][0]) < -15.0
    assert contrast_hu(TEXTS["hyper"][0]) > 15.0


def test_worker_processes_change_nothing(part, manifest, tmp_path):
    _, run, uninterrupted = part
    assert same_weights(run(manifest, tmp_path / "out", workers=2), uninterrupted)


# --- killed and continued ---------------------------------------------------------------------------------------


def test_a_killed_run_continues_to_the_same_weights(part, manifest, tmp_path):
    _, run, uninterrupted = part
    out = tmp_path / "out"
    killed(run, manifest, out, KILLED_AT)
    assert not (out / "generator.json").exists()
    run(manifest, out, resume=True)
    assert same_weights(out, uninterrupted)
    assert read_config(out) == read_config(uninterrupted)


def test_a_run_killed_while_a_checkpoint_is_put_in_place_continues(part, manifest, tmp_path):
    _, run, uninterrupted = part
    out = tmp_path / "out"
    killed(run, manifest, out, KILLED_AT)
    (out / "checkpoint").rename(out / ".old-checkpoint")
    shutil.copytree(out / ".old-checkpoint", out / ".partial-checkpoint")
    (out / ".partial-checkpoint" / "step").unlink()
    with pytest.raises(GeneratorError, match="--resume"):
        run(manifest, out)
    run(manifest, out, resume=True)
    assert same_weights(out, uninterrupted)


def test_a_run_killed_before_its_first_checkpoint_starts_again(part, manifest, tmp_path):
    _, run, uninterrupted = part
    out = tmp_path / "out"
    killed(run, manifest, out, 1)
    run(manifest, out, resume=True)
    assert same_weights(out, uninterrupted)


def test_sample_sheets_of_before_the_first_checkpoint_are_no_strangers(manifest, autoencoder, tmp_path):
    out, often = tmp_path / "out", {"checkpoint_every": 100, "sheet_every": 1}
    killed(lambda data, to: autoencoder_run(data, to, **often), manifest, out, KILLED_AT)
    assert list(out.glob("sheets/*.png"))
    autoencoder_run(manifest, out, resume=True, **often)
    assert same_weights(out, autoencoder)


@pytest.mark.parametrize(
    "part",
    [
        "autoencoder",
        "diffusion",
    ],
    indirect=True,
)
def test_a_run_killed_after_its_last_checkpoint_still_writes_its_folder(part, manifest, tmp_path, monkeypatch):
    name, run, uninterrupted = part
    out = tmp_path / "out"
    module = autoencoder_module if name == "autoencoder" else diffusion_module
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_folder", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(manifest, out)
    run(manifest, out, resume=True)
    assert same_weights(out, uninterrupted)


def _killed(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_a_finished_run_is_not_overwritten_and_resuming_it_changes_nothing(part, manifest, tmp_path):
    _, run, finished = part
    out = shutil.copytree(finished, tmp_path / "out")
    before = times(out, "model.safetensors")
    with pytest.raises(GeneratorError, match="--resume") as caught:
        run(manifest, out)
    assert str(out) in str(caught.value)
    assert times(out, "model.safetensors") == before
    run(manifest, out, resume=True)
    assert same_weights(out, finished)


def test_a_folder_that_holds_something_else_is_left_alone(part, manifest, tmp_path):
    _, run, _ = part
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(GeneratorError, match=r"thesis\.txt"):
        run(manifest, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("changed", [{"prediction_type": "epsilon"}, {"seed": 7}, {"batch": 3}])
def test_a_run_is_not_continued_as_another_one(diffusion_run, manifest, diffusion, tmp_path, changed):
    out = shutil.copytree(diffusion, tmp_path / "out")
    with pytest.raises(GeneratorError, match=next(iter(changed))):
        diffusion_run(manifest, out, resume=True, **changed)


@pytest.mark.slow
def test_a_run_killed_by_the_system_continues_to_the_same_weights(manifest, autoencoder, tmp_path):
    out = tmp_path / "out"
    script = (
        # the current folder may be the repository's root, where the package lies without its parts
        "import sys, torch; torch.set_num_threads(1); sys.path[:] = filter(None, sys.path)\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_training import autoencoder_run\n"
        f"autoencoder_run(Path({str(manifest)!r}), Path({str(out)!r}), steps=400)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while not (out / "checkpoint" / "step").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (out / "generator.json").exists()
    autoencoder_run(manifest, out, steps=400, resume=True)
    assert same_weights(out, autoencoder_run(manifest, tmp_path / "whole", steps=400))


# --- contrastive learning ---------------------------------------------------------------------------------------


CONTRAST = ContrastConfig(weight=1.0)


@pytest.fixture(scope="module")
def contrasted(manifest: Path, diffusion_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_run(manifest, tmp_path_factory.mktemp("trained") / "contrasted", contrast=CONTRAST)


def bank(*hyper: str) -> ContrastTexts:
    """The manifest's texts, and others to contrast them with."""
    known = [Described({"attenuation": name}, tuple(texts)) for name, texts in TEXTS.items()]
    return ContrastTexts(known, [Described({"attenuation": "hyper"}, hyper)])


def test_without_weight_training_is_as_without_contrast(manifest, diffusion_run, diffusion, tmp_path):
    """Also where the manifest has nothing to contrast."""
    off = diffusion_run(manifest, tmp_path / "off", contrast=ContrastConfig(weight=0.0))
    assert same_weights(off, diffusion)
    assert read_config(off) == read_config(diffusion)
    bare = write_manifest(tmp_path / "bare.jsonl", [{**line, "descriptors": {}} for line in entries(manifest)])
    diffusion_run(bare, tmp_path / "bare", steps=1, contrast=ContrastConfig(weight=0.0))


def test_the_terms_gradient_reaches_the_denoiser_and_the_adapter(manifest, diffusion_run, contrasted, tmp_path):
    """Everything random is the same under another weight: with a detached graph the networks would be, too."""
    stronger = diffusion_run(manifest, tmp_path / "out", contrast=ContrastConfig(weight=10.0))
    a, b = (load_file(folder / "model.safetensors") for folder in (contrasted, stronger))
    for part in (
        "denoiser.unet.conv_in",
        "denoiser.voxelwise.maps",
        "denoiser.adapter.project",
        "denoiser.adapter.layer",
    ):
        names = [name for name in a if name.startswith(part)]
        assert names
        assert any(not torch.equal(a[name], b[name]) for name in names), part
    assert all(torch.equal(a[name], b[name]) for name in a if name.startswith("autoencoder."))  # f is frozen
    assert read_config(stronger).training["diffusion"]["contrast"]["weight"] == 10.0
    Generator.load(stronger)


def test_a_killed_contrastive_run_continues_to_the_same_weights(manifest, diffusion_run, contrasted, tmp_path):
    out = tmp_path / "out"
    killed(lambda data, to: diffusion_run(data, to, contrast=CONTRAST), manifest, out, KILLED_AT)
    for other in (None, ContrastConfig(weight=2.0), ContrastConfig(weight=1.0, margin=2.0)):
        with pytest.raises(GeneratorError, match="contrast"):
            diffusion_run(manifest, out, resume=True, contrast=other)
    with pytest.raises(GeneratorError, match="contrast"):
        diffusion_run(manifest, out, resume=True, contrast=CONTRAST, contrast_texts=bank("the hyperattenuating mass"))
    diffusion_run(manifest, out, resume=True, contrast=CONTRAST)
    assert same_weights(out, contrasted)


def test_a_run_begun_without_contrast_is_not_continued_with_it(manifest, diffusion_run, diffusion, tmp_path):
    out = shutil.copytree(diffusion, tmp_path / "out")
    with pytest.raises(GeneratorError, match="contrast"):
        diffusion_run(manifest, out, resume=True, contrast=CONTRAST)


def test_other_texts_than_the_manifests_are_embedded_and_contrasted(manifest, diffusion_run, tmp_path):
    texts = bank("large hyperattenuating", "hyperattenuating")
    Generator.load(diffusion_run(manifest, tmp_path / "out", steps=1, contrast=CONTRAST, contrast_texts=texts))


def test_a_manifest_without_descriptors_is_not_contrasted(manifest, diffusion_run, tmp_path):
    bare = write_manifest(tmp_path / "bare.jsonl", [{**line, "descriptors": {}} for line in entries(manifest)])
    with pytest.raises(GeneratorError, match="descriptors"):
        diffusion_run(bare, tmp_path / "out", contrast=CONTRAST)
    assert not (tmp_path / "out").exists()


# --- manifests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": "nowhere.nii.gz"}, "nowhere.nii.gz"),
        ({"mask": "nowhere.nii.gz"}, "nowhere.nii.gz"),
        ({"texts": []}, "texts"),
        ({"texts": ["a mass", " "]}, "empty"),
        ({"texts": "a mass"}, "texts"),
        ({"tumor_label": "two"}, "tumor_label"),
        ({"tumor_label": None}, "tumor_label"),
        ({"tumor_label": 0}, "tumor_label"),
    ],
)
def test_an_unusable_line_is_named(manifest, tmp_path, changes, says):
    bad = write_manifest(tmp_path / "bad.jsonl", entries(manifest, **changes))
    with pytest.raises(GeneratorError, match=says) as caught:
        autoencoder_run(bad, tmp_path / "out")
    assert f"{bad}, line 2" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_line_that_is_not_json_is_named(manifest, tmp_path):
    bad = tmp_path / "bad.jsonl"
    write_manifest(bad, entries(manifest)[:1])
    bad.write_text(bad.read_text() + "\n{'id': 1}\n")
    with pytest.raises(GeneratorError) as caught:
        read_manifest(bad)
    assert f"{bad}, line 3" in str(caught.value)


def test_a_line_ends_at_a_newline_only(manifest, tmp_path):
    """JSON text may hold what Python also takes for line breaks."""
    said = "a mass\u2028in the\x85liver"
    lines = "".join(json.dumps({**line, "texts": [said]}, ensure_ascii=False) + "\r\n" for line in entries(manifest))
    (tmp_path / "manifest.jsonl").write_bytes(lines.encode())
    assert [line.texts for line in read_manifest(tmp_path / "manifest.jsonl")] == [[said]] * 3


@pytest.mark.parametrize("content", [None, "", "\n \n"])
def test_a_manifest_without_lines_is_refused(tmp_path, content):
    path = tmp_path / "manifest.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(GeneratorError) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_a_manifest_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(GeneratorError) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_an_id_that_occurs_twice_is_named(manifest, tmp_path):
    bad = write_manifest(tmp_path / "bad.jsonl", entries(manifest, id="case0"))
    with pytest.raises(GeneratorError, match="'case0'") as caught:
        read_manifest(bad)
    assert str(bad) in str(caught.value)


def test_paths_are_relative_to_the_manifest(manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [line.image for line in read_manifest(manifest)] == [manifest.parent / f"ct{n}.nii.gz" for n in range(3)]


def test_a_mask_without_the_tumor_is_named(part, manifest, tmp_path):
    _, run, _ = part
    bad = write_manifest(tmp_path / "bad.jsonl", entries(manifest, tumor_label=7))
    with pytest.raises(GeneratorError, match="label 7") as caught:
        run(bad, tmp_path / "out")
    assert "mask1.nii.gz" in str(caught.value)
    assert not (tmp_path / "out" / "generator.json").exists()


def test_a_mask_on_another_grid_is_named(part, manifest, tmp_path):
    _, run, _ = part
    bad = write_manifest(tmp_path / "bad.jsonl", entries(manifest, mask=str(manifest.parent / "mask0.nii.gz")))
    with pytest.raises(GeneratorError, match="grid") as caught:
        run(bad, tmp_path / "out")
    assert "mask0.nii.gz" in str(caught.value)
    assert "ct1.nii.gz" in str(caught.value)


def test_a_run_that_failed_on_its_data_can_be_repeated_with_better_data(part, manifest, tmp_path):
    _, run, _ = part
    bad = write_manifest(tmp_path / "bad.jsonl", entries(manifest, tumor_label=7))
    with pytest.raises(GeneratorError):
        run(bad, tmp_path / "out")
    run(manifest, tmp_path / "out", steps=1)


@pytest.mark.parametrize("crop", [0, 18, 80])
def test_a_crop_that_cannot_be_is_refused(manifest, tmp_path, crop):
    with pytest.raises(GeneratorError, match="crop"):
        autoencoder_run(manifest, tmp_path / "out", crop=crop, steps=2)


def test_a_generator_without_an_autoencoder_is_refused(manifest, diffusion_run, tmp_path):
    with pytest.raises(GeneratorError, match="no such folder"):
        diffusion_run(manifest, tmp_path / "out", autoencoder=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


# --- crops ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("extent", "side"), [(1, 48), (28, 48), (29, 64), (76, 96), (77, 96), (300, 96)])
def test_the_window_fits_the_tumor(extent, side):
    assert window_side(extent) == side


def test_a_crop_holds_the_tumor_in_its_middle_at_one_millimetre(manifest, tmp_path):
    lines = read_manifest(manifest)
    crops = cache_crops(lines, tmp_path, Domain(), progress=False)
    assert len(crops) == len(lines)
    for crop, line in zip(crops, lines, strict=True):
        ct, mask = load_crop(crop.path)
        assert ct.shape == mask.shape == (48 + 2 * SHIFT,) * 3
        assert mask.sum() == pytest.approx(4 / 3 * np.pi * 8.0**3, rel=0.1)
        assert ct[~mask].mean() == pytest.approx(50.0, abs=3.0)
        expected = 0.0 if line.descriptors["attenuation"] == "hypo" else 110.0
        assert np.median(ct[mask]) == pytest.approx(expected, abs=4.0)


def test_every_lesion_gets_a_crop_and_specks_get_none(tmp_path):
    tumor = np.zeros((40, 60, 90), bool)
    tumor[10:18, 20:28, 10:18] = tumor[20:30, 30:40, 60:70] = True
    tumor[5, 5, 5:8] = True
    volume = Volume(
        np.full(tumor.shape, 50, np.float32), (1.0, 1.0, 1.0), (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    )
    write_volume(tmp_path / "ct.nii.gz", volume)
    write_volume(tmp_path / "mask.nii.gz", volume.with_array(tumor.astype(np.int16)))
    line = {"id": "a", "image": "ct.nii.gz", "mask": "mask.nii.gz", "tumor_label": 1, "texts": ["a mass"]}
    lines = read_manifest(write_manifest(tmp_path / "manifest.jsonl", [line]))
    crops = [load_crop(crop.path) for crop in cache_crops(lines, tmp_path / "crops", Domain(), progress=False)]
    assert sorted(int(mask.sum()) for _, mask in crops) == [8**3, 10**3]


def test_metal_stays_bright_in_a_crop(tmp_path):
    """A scanner's metal may lie beyond 16 bits."""
    ct, tumor = np.full((30, 30, 30), 50, np.float32), np.zeros((30, 30, 30), np.int16)
    tumor[10:20, 10:20, 10:20] = 1
    ct[12:16, 12:16, 12:16], ct[22:26, 22:26, 22:26] = 40_000.0, -40_000.0
    volume = Volume(ct, (1.0, 1.0, 1.0), (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    write_volume(tmp_path / "ct.nii.gz", volume)
    write_volume(tmp_path / "mask.nii.gz", volume.with_array(tumor))
    line = {"id": "a", "image": "ct.nii.gz", "mask": "mask.nii.gz", "tumor_label": 1, "texts": ["a mass"]}
    lines = read_manifest(write_manifest(tmp_path / "manifest.jsonl", [line]))
    (crop,) = cache_crops(lines, tmp_path / "crops", Domain(), progress=False)
    found, mask = load_crop(crop.path)
    assert found[mask].max() > 30_000
    assert found[~mask].min() < -30_000


def test_nothing_to_learn_from_is_an_error(tmp_path):
    tumor = np.zeros((20, 20, 20), np.int16)
    tumor[10, 10, 10] = 1
    volume = Volume(tumor, (1.0, 1.0, 1.0), (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    for name in ("ct", "mask"):
        write_volume(tmp_path / f"{name}.nii.gz", volume)
    line = {"id": "a", "image": "ct.nii.gz", "mask": "mask.nii.gz", "tumor_label": 1, "texts": ["a mass"]}
    lines = read_manifest(write_manifest(tmp_path / "manifest.jsonl", [line]))
    with pytest.raises(GeneratorError, match="too small"):
        cache_crops(lines, tmp_path / "crops", Domain(), progress=False)


def test_windows_are_random_by_seed_of_another_level_and_clipped_half_of_the_time():
    rng = np.random.default_rng(0)
    ct = rng.uniform(-500.0, 500.0, (64, 64, 64)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[28:36, 28:36, 28:36] = True
    windows = [random_window(ct, mask, np.random.default_rng(seed)) for seed in range(40)]
    assert all(w.shape == m.shape == (48, 48, 48) and m.sum() == 8**3 for w, m in windows)
    again = random_window(ct, mask, np.random.default_rng(3))
    np.testing.assert_array_equal(again[0], windows[3][0])
    np.testing.assert_array_equal(again[1], windows[3][1])
    clipped = [w.min() >= -150.0 and w.max() <= 250.0 for w, _ in windows]
    assert 10 <= sum(clipped) <= 30
    assert all(w.min() < -400.0 and w.max() > 400.0 for (w, _), c in zip(windows, clipped, strict=True) if not c)
    # image and mask move together, by one level per window; places and orientations differ
    levels = [np.sort(w[m]) - np.sort(ct[mask]) for (w, m), c in zip(windows, clipped, strict=True) if not c]
    assert all(np.ptp(level) < 1e-3 and LEVEL_HU[0] <= level[0] <= LEVEL_HU[1] for level in levels)
    assert np.ptp([level[0] for level in levels]) > 30.0
    assert len({tuple(np.argwhere(m)[0]) for _, m in windows}) > 20
    assert random_window(ct, mask, rng, 16)[0].shape == (16, 16, 16)


# --- caches -----------------------------------------------------------------------------------------------------


def test_a_second_run_reads_what_the_first_one_cached(part, manifest, tmp_path):
    name, run, _ = part
    out = tmp_path / "out"
    killed(run, manifest, out, 0)
    cached = {p: t for p, t in times(out, "*.safetensors").items() if "checkpoint" not in p}
    assert len(cached) == (3 if name == "autoencoder" else 3 + 3 + 1)  # crops, latents, texts
    run(manifest, out, resume=True, steps=1)
    after = times(out, "*.safetensors")
    assert {path: after[path] for path in cached} == cached


def test_crops_follow_their_files_and_the_domain(tmp_path):
    manifest = write_data(tmp_path)
    lines = read_manifest(manifest)
    first = cache_crops(lines, tmp_path / "crops", Domain(), progress=False)
    assert cache_crops(lines, tmp_path / "crops", Domain(), progress=False) == first
    coarse = cache_crops(lines, tmp_path / "crops", Domain(spacing_mm=(2.0, 2.0, 2.0)), progress=False)
    assert not set(coarse) & set(first)
    stat = lines[0].image.stat()
    os.utime(lines[0].image, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    changed = cache_crops(lines, tmp_path / "crops", Domain(), progress=False)
    assert [a == b for a, b in zip(first, changed, strict=True)] == [False, True, True]


def test_a_crop_belongs_to_the_line_that_asks_for_it(manifest, tmp_path):
    """An id that was changed, or two lines about one lesion: each crop leads back to its own texts."""
    lines = read_manifest(manifest)[:1]
    lines.append(lines[0].model_copy(update={"id": "second reader"}))
    crops = cache_crops(lines, tmp_path, Domain(), progress=False)
    assert [crop.line for crop in crops] == ["case0", "second reader"]


def test_latents_of_another_autoencoder_or_seed_are_not_mixed_in(manifest, tmp_path):
    crops = cache_crops(read_manifest(manifest), tmp_path / "crops", Domain(), progress=False)
    ids = ["case0", "case1", "case2"]

    def network(seed: int) -> Autoencoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Autoencoder(tiny.AUTOENCODER).eval()

    def latents(network_: Autoencoder, seed: int = 0, views: int = 1) -> torch.Tensor:
        found = cache_latents(crops, set(), network_, Domain(), tmp_path, views=views, seed=seed, progress=False)
        assert [example.line for example in found] == ids * views
        assert all(example.mask.shape == (1, 12, 12, 12) for example in found)
        assert all(float(example.mask.min()) == -1.0 and float(example.mask.max()) == 1.0 for example in found)
        return torch.stack([torch.cat([example.z, example.z_healthy, example.z_plain]) for example in found])

    first = latents(network(0))
    other = latents(network(1))
    assert not torch.equal(first, other)
    assert torch.equal(latents(network(0)), first)
    assert torch.equal(latents(network(1)), other)
    assert not torch.equal(latents(network(0), seed=1), first)
    smoothed = cache_latents(crops, set(ids), network(0), Domain(), tmp_path, views=1, seed=0, progress=False)
    assert not torch.equal(smoothed[0].z, first[0][:4])
    both = latents(network(0), views=2)
    assert torch.equal(both[:3], first)
    assert not torch.equal(both[3:], first)


def test_latents_in_bfloat16_are_kept_apart_and_nearly_the_same(manifest, tmp_path):
    crops = cache_crops(read_manifest(manifest), tmp_path / "crops", Domain(), progress=False)
    network = Autoencoder(tiny.AUTOENCODER).eval()
    how = {"views": 1, "seed": 0, "progress": False}
    exact = cache_latents(crops, set(), network, Domain(), tmp_path, **how)[0].z.float()
    rounded = cache_latents(crops, set(), network, Domain(), tmp_path, **how, bfloat16=True)[0].z.float()
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).abs().mean() < 0.05 * exact.std()
    assert torch.equal(cache_latents(crops, set(), network, Domain(), tmp_path, **how)[0].z.float(), exact)


def test_cached_texts_are_the_encoders(manifest, encoder, tmp_path):
    lines, config = read_manifest(manifest), tiny.config(encoder).text
    asked = TEXTS["hyper"] + TEXTS["hypo"]
    expected, expected_mask = TextEncoder(config)(asked)
    for _ in range(2):  # made, then read
        tokens, mask = cache_texts(lines, config, tmp_path, progress=False)(asked)
        assert torch.equal(mask, expected_mask)
        torch.testing.assert_close(tokens[mask], expected[mask], rtol=1e-2, atol=1e-2)
    assert len(list(tmp_path.glob("texts-*.safetensors"))) == 1
    more = [line.model_copy(update={"texts": [*line.texts, "the liver"]}) for line in lines]
    assert cache_texts(more, config, tmp_path, progress=False)(["the liver"])[1].sum() == 4


def test_texts_of_several_files_are_read_as_of_one(manifest, encoder, tmp_path, monkeypatch):
    lines, config = read_manifest(manifest), tiny.config(encoder).text
    asked = [*TEXTS["hyper"], *TEXTS["hypo"], *TEXTS["hyper"]]
    tokens, mask = cache_texts(lines, config, tmp_path / "one", progress=False)(asked)
    monkeypatch.setattr(latents_module, "TEXTS_PER_FILE", 2)
    again, again_mask = cache_texts(lines, config, tmp_path / "two", progress=False)(asked)
    assert len(list((tmp_path / "two").glob("texts-*.safetensors"))) == 2
    assert torch.equal(mask, again_mask)
    torch.testing.assert_close(tokens, again, rtol=1e-2, atol=1e-2)  # embedded in other batches


def test_windows_are_read_when_they_are_drawn(manifest, tmp_path):
    """Thousands of CT do not fit into memory: what is held of a window is where it lies."""
    crops = cache_crops(read_manifest(manifest), tmp_path / "crops", Domain(), progress=False)
    network = Autoencoder(tiny.AUTOENCODER).eval()
    found = cache_latents(crops, set(), network, Domain(), tmp_path, views=2, seed=0, progress=False)
    (bucket,) = found.by_size()
    assert (len(found), len(bucket), bucket.side) == (6, 6, 12)
    assert torch.equal(bucket[4].z, found[4].z)
    for file in tmp_path.glob("latents-*/*.safetensors"):
        file.unlink()
    with pytest.raises(FileNotFoundError):
        bucket[4]


def test_an_error_at_a_speck_costs_more_than_elsewhere_in_the_tumor() -> None:
    mask = torch.full((1, 1, 8, 8, 8), -1.0)
    mask[..., 2:6, 2:6, 2:6] = 1.0
    even = (mask + 1.0) / 2.0 * torch.linspace(-1.0, 1.0, 8).view(1, 8, 1, 1, 1)
    speck, elsewhere, outside = (3, 3, 3), (4, 4, 4), (0, 0, 0)
    specked = even.clone()
    specked[(0, slice(None), *speck)] += 4.0

    def cost(z0: torch.Tensor, at: tuple[int, int, int]) -> float:
        predicted = z0.clone()
        predicted[(0, slice(None), *at)] += 1.0
        return float(windows_loss(predicted, z0, mask, rare_weights(z0, mask, 0.5)))

    assert cost(specked, speck) > 5.0 * cost(specked, elsewhere)
    assert cost(even, speck) == pytest.approx(cost(even, elsewhere))
    weights = rare_weights(specked, mask, 0.5)
    assert float(weights[(0, 0, *outside)]) == 1.0
    assert float(rare_weights(10.0 * specked, mask, 0.5).max()) == 11.0  # no voxel counts more
