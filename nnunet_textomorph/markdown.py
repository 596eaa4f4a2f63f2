"""What goes into a Markdown table."""

from __future__ import annotations


def markdown_escaped(text: str) -> str:
    """Text as one cell: a bar or a new line in a user's name ends none."""
    return " ".join(text.split()).replace("|", "\\|")
