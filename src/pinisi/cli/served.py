"""Adds the options that name a model behind an OpenAI-compatible address."""

from __future__ import annotations

import argparse
from typing import Any


def add_served(parser: argparse.ArgumentParser, whose: str | None) -> None:
    """Adds the options. whose: such as "of the judge"; None where the address is an argument of its own."""
    served = parser.add_argument_group("a model behind an OpenAI-compatible address, such as a vLLM server's")
    if whose is not None:
        served.add_argument(
            "--at", metavar="URL", help=f"the address {whose}, such as http://localhost:8000/v1"
        )
    served.add_argument("--served", metavar="NAME", help="the model's name there")
    served.add_argument(
        "--key-variable",
        default="OPENAI_API_KEY",
        metavar="NAME",
        help="the environment variable that holds the key (default: %(default)s)",
    )
    served.add_argument("--parallel", type=int, default=8, help="requests at once (default: %(default)s)")
    served.add_argument(
        "--timeout", type=float, default=120.0, help="seconds for one request (default: %(default)g)"
    )
    served.add_argument(
        "--attempts", type=int, default=5, help="how often one is sent at most (default: %(default)s)"
    )


def is_address(source: str) -> bool:
    """Whether a source is a server's address, not a folder."""
    return source.startswith(("http://", "https://"))


def served_of(options: argparse.Namespace, address: str) -> Any:
    """The served model that the options name. Raises ConfigError."""
    from pinisi.base.errors import ConfigError
    from pinisi.evaluate.served.client import ServedModel

    if not options.served:
        raise ConfigError(f"{address}: name the model that answers there with --served NAME")
    how = {name: getattr(options, name) for name in ("parallel", "timeout", "attempts")}
    return ServedModel(address, options.served, options.key_variable, **how)
