"""The command line. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nnunet_textomorph.cli_common import FILE, ListOptions, one_line_errors, with_options
from nnunet_textomorph.cli_evidence import benchmark, radiomics, turing
from nnunet_textomorph.cli_reports import Asked, Endpoint, model_options, reports

GENERATOR_HELP = "A folder or a name (syntumor, pixel2cancer, difftumor, lefusion, cgan); the shipped one by default."


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="nnunet-textomorph")
def main() -> None:
    """Text-driven tumor synthesis for CT, as an nnU-Net v2 plug-in."""


for _command in (reports, benchmark, radiomics, turing):
    main.add_command(_command)


@main.command()
@click.option("--out", type=FILE, default=Path("textomorph_demo"), help="A new folder.")
@click.option("--epochs", default=2, type=click.IntRange(1, 50), help="Epochs of the small network.")
@one_line_errors
def demo(out: Path, epochs: int) -> None:
    """See everything work on a phantom, in minutes: synthesize, plan, train, predict."""
    from nnunet_textomorph.demo import run_demo

    run_demo(out, epochs)


@main.command()
@click.option("--out", type=FILE, required=True, help="A new folder; nnU-Net wants a name like Dataset123_Liver.")
@click.option("--organ", type=click.Choice(["liver", "pancreas", "kidney"]), required=True)
@click.option("--cases", type=int, required=True)
@click.option("--seed", type=int, default=0)
@one_line_errors
def phantom(out: Path, organ: str, cases: int, seed: int) -> None:
    """Write an nnU-Net raw dataset of procedural abdomens with tumors of known looks, and reports of them."""
    from nnunet_textomorph.phantom import write_phantom

    click.echo(f"wrote {write_phantom(out, organ, cases, seed)}")


@main.group()
def train() -> None:
    """Train a generator on CT with tumor masks and texts (a manifest)."""


_TRAINING_OPTIONS = [
    click.option("--data", type=FILE, required=True, help="Manifest: one JSON line per CT (docs/formats.md)."),
    click.option("--out", type=FILE, required=True, help="Generator folder to write."),
    click.option("--seed", type=int, default=0),
    click.option("--resume", is_flag=True, help="Continue the run in --out after an interruption."),
    click.option("--cache", type=FILE, help="Where prepared crops and latents are kept; --out by default."),
    click.option("--mixed-precision", type=click.Choice(["no", "fp16", "bf16"]), default="no"),
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=0,
        help="Processes, per GPU, that prepare crops, latents and the autoencoder's batches.",
    ),
    click.option("--checkpoint-every", type=click.IntRange(1), default=200, help="Steps."),
]
_RARE_WEIGHT = click.option(
    "--rare-weight",
    type=click.FloatRange(0),
    default=0.0,
    help="How much more voxels far from their tumor's mean, such as calcium, count in the loss (docs/method.md).",
)
_SKIP_BAD = click.option("--skip-bad", is_flag=True, help="Go on without the lines of --data that cannot be used.")
_SHEET_EVERY = click.option("--sheet-every", type=click.IntRange(1), default=500, help="Steps between sample sheets.")


@train.command()
@with_options([*_TRAINING_OPTIONS, _SKIP_BAD, _SHEET_EVERY])
@click.option("--steps", type=click.IntRange(1), default=20_000)
@click.option("--batch", type=click.IntRange(1), default=4, help="Crops per step and process.")
@click.option("--crop", type=int, default=48, help="Voxels per side.")
@click.option("--learning-rate", type=float, default=4e-4)
@one_line_errors
def autoencoder(data: Path, **settings: Any) -> None:
    """Train the 3D VQGAN. Several GPUs: accelerate launch -m nnunet_textomorph.cli train autoencoder ..."""
    from nnunet_textomorph.generator.train_autoencoder import train_autoencoder

    click.echo(f"wrote {train_autoencoder(data, **settings)}")


@train.command()
@with_options([*_TRAINING_OPTIONS, _SKIP_BAD, _SHEET_EVERY])
@click.option("--autoencoder", type=FILE, help="Folder that train autoencoder wrote.")
@click.option("--finetune", type=FILE, help="Instead: generator folder to go on from; `default`: the shipped one.")
@click.option("--only-attention", is_flag=True, help="Fine-tune only attention, and what time and text come in by.")
@click.option("--validation", type=FILE, help="Manifest of held-out CT, looked at with every sample sheet.")
@click.option("--steps", type=click.IntRange(1), help="50,000 by default; with --finetune 2,000.")
@click.option("--batch", type=click.IntRange(1), default=8, help="Windows of 48 mm; fewer of larger ones; per process.")
@click.option("--accumulate", type=click.IntRange(1), default=1, help="Batches whose gradients make one step.")
@click.option("--learning-rate", type=float, help="3e-4 by default; with --finetune 1e-4.")
@click.option("--text-encoder", help="A Hugging Face id or a folder; by default the packaged all-MiniLM-L6-v2.")
@click.option("--prediction-type", type=click.Choice(["v_prediction", "epsilon"]), help="v_prediction by default.")
@click.option("--views", type=click.IntRange(1), default=1, help="Random windows of each tumor.")
@click.option(
    "--contrast-weight",
    type=float,
    default=0.0,
    help="Of text-driven contrastive learning beside the denoising loss; 0: none (docs/method.md).",
)
@click.option(
    "--contrast-margin",
    type=float,
    default=1.0,
    help="Up to which contradicting texts' tumors are pushed apart; 1: as far as the manifest's tumors are.",
)
@click.option("--contrast-share", type=float, default=0.25, help="Of each batch; its windows cost two passes more.")
@click.option("--bank", type=FILE, help="Description bank to contrast with, instead of the manifest's own texts.")
@_RARE_WEIGHT
@click.option("--data-note", "data_note", default="", help="What it was trained on, for the generator's record.")
@click.option("--licence", default="", help="Licence of the weights, for the generator's record.")
@one_line_errors
def diffusion(
    data: Path,
    autoencoder: Path | None,
    finetune: Path | None,
    out: Path,
    skip_bad: bool,
    data_note: str,
    contrast_weight: float,
    contrast_margin: float,
    contrast_share: float,
    bank: Path | None,
    **settings: Any,
) -> None:
    """Train the text-conditional latent diffusion. Several GPUs: as for the autoencoder."""
    from nnunet_textomorph.contrast_texts import contrast_texts
    from nnunet_textomorph.errors import UserError
    from nnunet_textomorph.generator.contrast import contrast_config
    from nnunet_textomorph.generator.folder import DEFAULT_FOLDER
    from nnunet_textomorph.generator.train_diffusion import train_diffusion
    from nnunet_textomorph.text_control import obeys

    contrast = contrast_config(contrast_weight, contrast_margin, contrast_share)
    if bank is not None and not contrast.weight:
        raise UserError(f"{bank}: is for contrastive learning, which is off; give --contrast-weight too.")
    texts = contrast_texts(data, bank, skip_bad=skip_bad) if contrast.weight else None
    settings |= {"contrast": contrast, "contrast_texts": texts, "skip_bad": skip_bad, "judge": obeys}
    settings["finetune"] = DEFAULT_FOLDER if finetune == Path("default") else finetune
    click.echo(f"wrote {train_diffusion(data, autoencoder, out, data=data_note, **settings)}")


@train.command()
@with_options([*_TRAINING_OPTIONS, _SKIP_BAD])
@click.option("--generator", type=FILE, help="Folder to distil; by default the shipped generator.")
@click.option("--sampling-steps", type=click.IntRange(1, 66), default=4, help="That the second denoiser takes.")
@click.option("--trajectories", type=click.IntRange(1), default=3000, help="Tumors that the first one makes for it.")
@click.option(
    "--candidates",
    type=click.IntRange(1),
    default=1,
    help="Noises that each is tried from, at most, until it shows what its text says; else the nearest is kept.",
)
@click.option(
    "--also",
    type=FILE,
    multiple=True,
    help="A generator fine-tuned from --generator, to make candidates in turn with it.",
)
@_RARE_WEIGHT
@click.option("--steps", type=click.IntRange(1), default=3000, help="Of training.")
@click.option("--batch", type=click.IntRange(1), default=16, help="Windows of 48 mm per step; fewer of larger ones.")
@click.option("--learning-rate", type=float, default=3e-4)
@one_line_errors
def distillation(data: Path, generator: Path | None, out: Path, **settings: Any) -> None:
    """Teach a second denoiser to sample in a few steps without guidance what the first one does in many with it."""
    from nnunet_textomorph.generator.train_distillation import train_distillation
    from nnunet_textomorph.text_control import obeys_in_composition_too as judge

    click.echo(f"wrote {train_distillation(data, generator, out, judge=judge, **settings)}")


@main.command()
@click.option("--image", type=FILE, help="CT in HU (NIfTI, NRRD or MetaImage), any spacing.  [required]")
@click.option("--organ-mask", type=FILE, help="Segmentation on the same grid.  [required]")
@click.option("--label", type=click.IntRange(1), help="The host's value in it.  [required]")
@click.option("--organ", help="The host's name; added to the text where that does not name it.  [required]")
@click.option("--text", help='As in a report: "A hypoattenuating mass with ill-defined margins."  [required]')
@click.option("--diameter-mm", type=float, help="Of a ball of the tumor's volume; 25 if no tumor mask is given.")
@click.option("--tumor-mask", type=FILE, help="Where the tumor is to be, instead of a random shape.")
@click.option(
    "--solver",
    type=click.Choice(["ddpm", "ddim", "dpmsolver++", "unipc"]),
    help="Of the diffusion; the generator's own by default. ddpm draws noise and wants 200 steps.",
)
@click.option("--steps", type=click.IntRange(1, 200), help="Of the solver; the generator's own by default.")
@click.option("--guidance", type=click.FloatRange(0), help="Of the text; the generator's own by default.")
@click.option("--seed", type=int, help="0 by default.")
@click.option("--tumor-value", type=click.IntRange(1, 32767), help="Of the tumor in label.nii.gz; 100 by default.")
@click.option("--batch", type=FILE, help="Instead of all these: many tumors, a JSON line each (docs/formats.md).")
@click.option("--generator", type=FILE, help=GENERATOR_HELP)
@click.option("--out", type=FILE, required=True, help="A new folder; with --batch also one to go on in.")
@one_line_errors
def synthesize(batch: Path | None, generator: Path | None, out: Path, **settings: Any) -> None:
    """Put one described tumor into your own CT, or many.

    Many, on several GPUs: accelerate launch -m nnunet_textomorph.cli synthesize --batch ...
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if batch is not None:
        if given:
            raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} belongs into the lines of --batch.")
        from nnunet_textomorph.batch import run_batch

        if run_batch(batch, out, generator):
            raise SystemExit(1)
        return
    for name in ("image", "organ_mask", "label", "organ", "text"):
        if name not in given:
            raise click.UsageError(f"Missing option '--{name.replace('_', '-')}'.")
    from nnunet_textomorph.synthesize import SynthesisRequest
    from nnunet_textomorph.synthesize import synthesize as run

    given["generator"] = generator
    fields: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    folder = run(SynthesisRequest(**fields), out)
    click.echo(f"wrote {folder}; look at {folder / 'preview.png'}")


@main.command()
@click.argument("dataset")
@click.option("-c", "--configuration", default="3d_fullres")
@click.option("-p", "--plans", default="nnUNetPlans", help="nnU-Net's plans, to check the configuration against.")
@click.option("--generator", type=FILE, help=GENERATOR_HELP)
@click.option("--bank", type=FILE, help="A description bank; the shipped one by default.")
@click.option("--host-label", multiple=True, help="Name in dataset.json, where it cannot be inferred.")
@click.option("--tumor-label", multiple=True, help="Name in dataset.json, where it cannot be inferred.")
@click.option("--overwrite", is_flag=True)
@one_line_errors
def plan(
    dataset: str,
    configuration: str,
    plans: str,
    generator: Path | None,
    bank: Path | None,
    host_label: tuple[str, ...],
    tumor_label: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write TextoMorphPlans.json for a dataset that nnU-Net has planned: what is put where."""
    from nnunet_textomorph.plan import write_plan

    made, path = write_plan(dataset, configuration, generator, bank, plans, overwrite, host_label, tumor_label)
    click.echo(f"hosts:  {', '.join(f'{name} ({value})' for name, value in made.hosts.items())}")
    click.echo(f"tumors: {', '.join(f'{name} ({value})' for name, value in made.tumors.items())}")
    click.echo(f"texts:  {made.bank or 'of the shipped bank; --bank takes one of your own reports (docs/reports.md)'}")
    click.echo(f"wrote {path}")


@main.command()
@click.argument("dataset")
@click.option("-c", "--configuration", default="3d_fullres")
@click.option("--trainer", default="nnUNetTrainer", help="Whose validation folders are read.")
@click.option("-p", "--plans", default="nnUNetPlans")
@click.option("--predictions", type=FILE, help="A folder of predictions, instead of validation folders.")
@click.option("--images", type=FILE, help="Of --predictions, where they are not of the dataset's training cases.")
@click.option("--labels", type=FILE, help="Likewise.")
@click.option(
    "--min-overlap", type=click.FloatRange(0, 1), default=0.0, help="Share of a lesion below which it counts as missed."
)
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes.")
@click.option("--out", type=FILE, help="A new folder; by default TextoMorphMissed beside nnU-Net's plans.")
@click.option("--overwrite", is_flag=True)
@model_options
@one_line_errors
def mine(
    dataset: str, configuration: str, out: Path | None, workers: int, engine: str, concurrency: int, **settings: Any
) -> None:
    """Collect the lesions that a trained nnU-Net missed, to train on (trainer nnUNetTrainerTextoMorphTargeted).

    They are described by measurement; with --engine openai a vision model looks at three views of each.
    """
    from nnunet_textomorph.mining import mine as run
    from nnunet_textomorph.mining import mining_folder, summary_table

    endpoint = Endpoint(concurrency=concurrency, **{name: settings.pop(name) for name in _MODEL_SETTINGS})
    if engine == "offline":
        mined = run(dataset, configuration, out=out, workers=workers, **settings)
    else:
        with Asked(endpoint, mining_folder(dataset, out)) as asked:
            asked.warn()
            model = asked.model()
            mined = run(dataset, configuration, out=out, workers=concurrency, model=model, **settings)
    if mined.unfinished:
        folds = ", ".join(map(str, mined.unfinished))
        click.echo(f"without a finished validation, hence not mined: folds {folds}", err=True)
    click.echo(summary_table(mined.summary))
    click.echo(f"wrote {len(mined.bank.lesions)} missed lesions to {mined.folder}")


@main.command(cls=ListOptions)
@click.option("-i", "images", type=FILE, required=True, help="Folder of CT, named as nnU-Net wants: CASE_0000.nii.gz.")
@click.option("-m", "model_folder", type=FILE, required=True, help="TRAINER__PLANS__CONFIGURATION of a classifier.")
@click.option("-o", "out", type=FILE, required=True, help="Folder for classification.json and .csv.")
@click.option("--lesions", type=FILE, help="Folder of segmentations of the lesions: CASE.nii.gz.")
@click.option("--segmenter", type=FILE, help="Instead: model folder of a trained nnU-Net that finds them.")
@click.option(
    "--lesion-label",
    "lesion_labels",
    type=click.IntRange(1),
    multiple=True,
    help="Values of the lesions, if not the training's (--lesions), or not named as tumors (--segmenter).",
)
@click.option("--classes", "true_classes", type=FILE, help="True classes (case, class), to hold the results against.")
@click.option("-f", "folds", multiple=True, help="Folds that are averaged (-f 0 1); all trained ones by default.")
@click.option("-chk", "checkpoint", default="checkpoint_final.pth")
@click.option(
    "-device", "device", type=click.Choice(["cuda", "cpu", "mps"]), help="cuda by default, where there is one."
)
@click.option("--disable_tta", is_flag=True, help="No test-time mirroring.")
@click.option("--overwrite", is_flag=True)
@one_line_errors
def classify(images: Path, model_folder: Path, out: Path, disable_tta: bool, **settings: Any) -> None:
    """Tell the classes of lesions and patients, by a model of nnUNetTrainerTextoMorphClassifier."""
    from nnunet_textomorph.classify import classify as run

    written = run(images, model_folder, out, mirroring=not disable_tta, **settings)
    without = sum(patient["probabilities"] is None for patient in written["patients"])
    if without:
        click.echo(f"patients without a lesion, hence without a class: {without}", err=True)
    if written["table"]:
        click.echo(written["table"])
    click.echo(f"wrote {len(written['lesions'])} lesions of {len(written['patients'])} patients to {out}")


_MODEL_SETTINGS = set(Endpoint._fields) - {"concurrency", "no_deidentify", "dry_run"}


if __name__ == "__main__":
    main()
