"""`pinisi expand`: gives a model more layers that leave its function unchanged."""

from __future__ import annotations

import argparse
from typing import Any

from pinisi.base.errors import ConfigError

SAILOR2 = ("sailor2-1b", "sailor2-8b", "sailor2-20b")


def add(commands: Any) -> None:
    """Adds the command."""
    expand = commands.add_parser(
        "expand",
        help="give a model more layers, copies of its own that change nothing until they are trained",
    )
    expand.add_argument(
        "model",
        metavar="FROM",
        help="the model's folder; with --dry-run also a preset of `pinisi plan` or a config.json",
    )
    expand.add_argument("out", metavar="TO", nargs="?", help="the new model's folder")
    expand.add_argument(
        "--layers", type=int, metavar="N", help="layers in all, of which the new ones are spread evenly"
    )
    expand.add_argument("--preset", choices=SAILOR2, help="a published expansion instead of --layers")
    ends = expand.add_mutually_exclusive_group()
    ends.add_argument(
        "--untie", action="store_true", help="give the head a matrix of its own, a copy of the embedding"
    )
    ends.add_argument(
        "--tie", action="store_true", help="let embedding and head be one matrix; refused where they differ"
    )
    expand.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    expand.add_argument(
        "--sequence", type=int, default=4096, metavar="S", help="tokens of a sequence, for the cost (4096)"
    )
    expand.add_argument("--json", metavar="FILE", help="the cost for programs; - is standard output")
    expand.set_defaults(run=_expand)


def _expand(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from pinisi.base.results import write_result
    from pinisi.cookbook.expand import cost_lines, costs, expand_model, expanded_spec, options_for, told
    from pinisi.models.surgery.vocabulary import stored_weights
    from pinisi.plan.source import read_source

    if options.out is None and not options.dry_run:
        raise ConfigError("where to? Give the new model's folder behind the old one, or --dry-run")
    spec = read_source(options.model).spec
    ends: Any = "untie" if options.untie else "tie" if options.tie else "keep"
    chosen = options_for(options.model, options.layers, options.preset, ends, spec)
    new, found = expanded_spec(spec, chosen)
    dtype = "bfloat16" if spec.folder is None else str(stored_weights(spec).dtype).removeprefix("torch.")
    cost = costs(spec, new, dtype, options.sequence)
    if options.dry_run:
        print("\n".join(told(found)))
    else:
        expand_model(options.model, options.out, chosen)
    print("\n".join(cost_lines(cost)))
    if options.json:
        write_result(options.json, json.dumps(cost, indent=1) + "\n")
    if not options.dry_run:
        print(f"model: {options.out}")
    return 0
