"""The smallest generator that works: what the tests use where a trained one is not needed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from nnunet_textomorph.generator.config import AutoencoderConfig, DenoiserConfig, GeneratorConfig, TextConfig
from nnunet_textomorph.generator.generator import Generator

WIDTH = 32  # of the text embeddings; also the fewest channels of the denoiser
WORDS = [
    "a",
    "mass",
    "with",
    "in",
    "the",
    "liver",
    "well",
    "ill",
    "defined",
    "margin",
    "margins",
    "homogeneous",
    "large",
    "hypoattenuating",
    "hyperattenuating",
]

AUTOENCODER = AutoencoderConfig(channels=(8, 8), residual_layers=1, latent_channels=4, codebook_size=32)
DENOISER = DenoiserConfig(channels=(WIDTH, WIDTH), attention=(False, True), head_channels=16)


def write_encoder(folder: Path, seed: int = 0) -> Path:
    """A Hugging Face folder with a BERT of one layer and random weights, and a tokenizer that knows ``WORDS``."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def config(encoder: Path) -> GeneratorConfig:
    text = TextConfig(
        encoder=str(encoder),
        sha256=sha256(encoder / "model.safetensors"),
        width=WIDTH,
        context_tokens=2,
        context_width=32,
    )
    return GeneratorConfig(autoencoder=AUTOENCODER, text=text, denoiser=DENOISER)


def generator(encoder: Path, seed: int = 0) -> Generator:
    """Random weights in every layer: those that MONAI starts at zero would let neither text nor context through."""
    made = Generator.untrained(config(encoder), seed)
    source = torch.Generator().manual_seed(seed)
    for parameter in made.networks.denoiser.parameters():
        if not parameter.any():
            parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.05)
    made.bfloat16 = False  # its rounding depends on the CPU and on what else is in the batch
    return made
