"""Average the weights of a generator and of what it was fine-tuned to (WiSE-FT, Wortsman et al. 2022).

    python benchmarks/average_generators.py --base DIR --finetuned DIR --out DIR [--share 0.5]

What one of the two draws too dark and the other too faint, their mean can draw as it should be. Both distilled, or
neither. Where it was used, generator/default/README.md tells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.generator import own_parts


def average(into: nn.Module, other: nn.Module, share: float) -> None:
    """``into``'s weights become ``share`` of their own and the rest of ``other``'s."""
    values = other.state_dict()
    for name, value in into.state_dict().items():
        if value.is_floating_point():
            value.mul_(share).add_(values[name], alpha=1.0 - share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--finetuned", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the fine-tuned one")
    args = parser.parse_args()
    base, made = Generator.load(args.base), Generator.load(args.finetuned)
    if (made.distilled is None) != (base.distilled is None):
        parser.error("Only one of the two has a distilled denoiser; give two that have one, or none.")
    average(made.networks, base.networks, args.share)
    if made.distilled is not None and base.distilled is not None:
        average(own_parts(made.distilled), own_parts(base.distilled), args.share)
    facts = {"share_of_finetuned": args.share, "base": base.weights_hash}
    training = {**made.config.training, "averaged": facts}
    made.config = made.config.model_copy(update={"training": training})
    made.save(args.out)


if __name__ == "__main__":
    main()
