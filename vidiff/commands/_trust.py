"""`--trust MODULE`, for every verb that loads a checkpoint."""

# Imports no torch.

from __future__ import annotations

import argparse


def add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that the checkpoint may name classes of (repeat for several)",
    )
