"""Writes what the page says, a function per section: from the files of a run to HTML. Each names what it lacks."""

from collections.abc import Iterable, Sequence
from html import escape
from statistics import median
from typing import TYPE_CHECKING, Any

from pinisi.report import numbers
from pinisi.report.charts import Line, dumbbells, line_chart, padded, stacked_bars, thin
from pinisi.report.numbers import is_number

if TYPE_CHECKING:  # it reads timelines, and what makes other pages shall not load schedules
    from pinisi.report.files import RunFiles

WIDTH = 1080  # of a chart over the whole page, in SVG units


def section(name: str, title: str, *parts: str, lead: str = "") -> str:
    head = f"<h2>{escape(title)}</h2>" + (f'<p class="lead">{lead}</p>' if lead else "")
    return f'<section id="{name}">{head}{"".join(parts)}</section>'


def missing(text: str) -> str:
    return f'<p class="missing">{escape(text)}</p>'


def absent(run: "RunFiles", file: str, otherwise: str) -> str:
    """One line on why a section is empty."""
    return missing(run.notes.get(file, otherwise))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> str:
    """Rows of finished HTML; all columns but the first `text_columns` are numbers."""

    def cells(row: Sequence[str], tag: str) -> str:
        kinds = [""] * text_columns + [' class="n"'] * (len(row) - text_columns)
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    top = f"<thead><tr>{cells(head, 'th')}</tr></thead>"
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def legend(items: Iterable[tuple[str, str]]) -> str:
    """(colour, text) pairs; a colour is a CSS variable's name or #rrggbb."""
    css = ((colour if colour.startswith("#") else f"var(--{colour})", text) for colour, text in items)
    inside = "".join(f'<li><i style="background:{colour}"></i>{escape(text)}</li>' for colour, text in css)
    return f'<ul class="legend">{inside}</ul>'


def headline(run: "RunFiles") -> str:
    """The run in a handful of numbers."""
    cards = [*training_cards(run), *evaluation_cards(run), *machine_cards(run)]
    if not cards:
        return section("headline", "In short", missing("No step of this run has been recorded yet."))
    inside = "".join(
        f'<div class="card"><span>{label}</span><b>{escape(value)}</b><small>{escape(note)}</small></div>'
        for label, value, note in cards
    )
    return section("headline", "In short", f'<div class="cards">{inside}</div>')


def training_cards(run: "RunFiles") -> Iterable[tuple[str, str, str]]:
    if not run.training:
        return
    first, last = run.training[0], run.training[-1]
    tokens = sum(line["tokens"] for line in run.training)
    rates = [line["tokens_per_second"] for line in run.training]
    yield (
        "training loss",
        f"{last['loss']:.3f}",
        f"nats per token, from {first['loss']:.3f} at step {first['step']}",
    )
    yield "throughput", numbers.count(median(rates)), "tokens per second, median of steps"
    seconds = numbers.duration(sum(line["seconds"] for line in run.training))
    yield "trained", f"{numbers.short(tokens)}", f"tokens in {last['step']} steps, {seconds}"


def evaluation_cards(run: "RunFiles") -> Iterable[tuple[str, str, str]]:
    if len(run.evaluations) < 2:
        return
    first, last = run.evaluations[0]["evaluation"], run.evaluations[-1]["evaluation"]
    pairs = [
        (before, after)
        for name in last
        if name in first
        and (before := numbers.bits_per_byte(first[name]))
        and (after := numbers.bits_per_byte(last[name]))
    ]
    if pairs:
        before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
        yield (
            "held-out text",
            f"{after:.3f}",
            f"bits per byte, mean of {len(pairs)} languages, from {before:.3f}",
        )


def machine_cards(run: "RunFiles") -> Iterable[tuple[str, str, str]]:
    plan = (run.config or {}).get("schedule", {})
    timeline = run.measured or run.predicted
    if timeline:
        layout = timeline.schedule.layout
        plan = timeline.schedule
        note = f"{plan.name}, {plan.microbatches} microbatches, {barriers(layout.barriers)}"
        yield "ranks", str(layout.ranks), note
    elif plan:
        yield (
            "ranks",
            str(plan.get("ranks", "?")),
            f"{plan.get('name', '')}, {barriers(plan.get('barriers', 1))}",
        )
    peaks = [item["peak"] for item in run.memory if item["peak"]]
    if peaks:
        yield (
            "peak memory",
            numbers.memory(max(peaks)),
            f"on the fullest rank; {numbers.memory(min(peaks))} on the emptiest",
        )
    if run.measured and run.predicted and run.predicted.makespan:
        error = run.measured.makespan / run.predicted.makespan - 1
        yield (
            "step, measured",
            numbers.duration(run.measured.makespan),
            f"{error:+.1%} against the prediction",
        )


def barriers(number: int) -> str:
    return f"{number} barrier" + ("" if number == 1 else "s")


def loss(run: "RunFiles") -> str:
    """Loss in all, the held-out mean where the run was evaluated, and that of each extra head."""
    if not run.training:
        return section(
            "loss", "Loss", absent(run, "metrics.jsonl", "metrics.jsonl has no training step yet.")
        )
    points = [(line["step"], line["loss"]) for line in run.training]
    held_out = [
        (line["step"], mean_loss(line["evaluation"])) for line in run.evaluations if line["evaluation"]
    ]
    lines = [Line("training", points, "1"), Line("held out, mean of languages", held_out, "2", dots=True)]
    heads = extra_heads(run)
    lines += [Line(name, values, color) for name, color, values in heads]
    chart = line_chart(lines, width=WIDTH, height=340, unit="nats per token", label="loss by step")
    names = [("c1", averaged("training loss", points))]
    if held_out:
        names.append(("c2", "held-out loss, mean of languages"))
    names += [(f"c{color}", f"{name}, of the tokens further on") for name, color, _ in heads]
    return section("loss", "Loss", legend(names), chart, lead="Nats per token, by step.")


def extra_heads(run: "RunFiles") -> list[tuple[str, str, list[tuple[float, float]]]]:
    """(name, colour, losses by step) of each extra head, of six at most: so many colours are left."""
    rows = [(line["step"], line.get("extra_head_losses", [])) for line in run.training]
    count = min(6, max(len(losses) for _, losses in rows))
    return [
        (f"extra head {k + 1}", str(k + 3), [(step, losses[k]) for step, losses in rows if k < len(losses)])
        for k in range(count)
    ]


def averaged(text: str, points: Sequence[tuple[float, float]]) -> str:
    size = thin(points)[1]
    return text if size == 1 else f"{text} (mean of {size} steps)"


def mean_loss(evaluation: dict[str, dict[str, Any]]) -> float:
    return sum(entry["loss"] for entry in evaluation.values()) / len(evaluation)


def languages(run: "RunFiles") -> str:
    """A small chart per language, all on one scale."""
    curves = {
        name: [
            (r["step"], r["losses"][name]) for r in run.training if is_number(r.get("losses", {}).get(name))
        ]
        for name in run.languages()
    }
    points = {
        name: [(r["step"], r["evaluation"][name]["loss"]) for r in run.evaluations if name in r["evaluation"]]
        for name in curves
    }
    curves = {name: thin(curve, 80)[0] for name, curve in curves.items() if curve or points[name]}
    if not curves:
        text = "metrics.jsonl has no loss by language yet."
        return section("languages", "Loss by language", absent(run, "metrics.jsonl", text))
    values = [y for name, curve in curves.items() for _, y in [*curve, *points[name]]]
    mean = thin([(r["step"], r["loss"]) for r in run.training], 80)[0]
    panels = []
    for name, curve in curves.items():
        lines = [
            Line("all", mean, "soft"),
            Line("training", curve, "1"),
            Line("held out", points[name], "2", dots=True),
        ]
        chart = line_chart(
            lines,
            width=280,
            height=150,
            unit="nats per token",
            label=f"loss of {name} by step",
            y_range=padded(values),
            small=True,
        )
        final = f"{points[name][-1][1]:.3f}" if points[name] else f"{curve[-1][1]:.3f}"
        panels.append(
            f'<figure data-language="{escape(name)}"><figcaption><b>{escape(name)}</b>'
            f"<span>{final}</span></figcaption>{chart}</figure>"
        )
    evaluated = any(points.values())
    names = [
        ("c1", "training"),
        *([("c2", "held out")] if evaluated else []),
        ("soft", "training, all languages"),
    ]
    number = "held-out" if evaluated else "training"
    lead = f"Nats per token by step, all panels on one scale; the number is the last {number} loss."
    return section(
        "languages",
        "Loss by language",
        legend(names),
        f'<div class="panels">{"".join(panels)}</div>',
        lead=lead,
    )


def held_out(run: "RunFiles") -> str:
    """Untrained against trained, in bits per byte, as a chart and in numbers."""
    title = "Held-out text, before and after"
    if not run.evaluations:
        return section(
            "held-out", title, absent(run, "metrics.jsonl", "metrics.jsonl has no evaluation yet.")
        )
    first, last = run.evaluations[0], run.evaluations[-1]
    before = "untrained" if first["step"] == 0 else f"step {first['step']}"
    after = f"step {last['step']}"
    shared = {
        name: (first["evaluation"][name], last["evaluation"][name])
        for name in last["evaluation"]
        if name in first["evaluation"]
    }
    pairs = [(name, numbers.bits_per_byte(b), numbers.bits_per_byte(a)) for name, (b, a) in shared.items()]
    rows = sorted(((name, b, a) for name, b, a in pairs if b and a), key=lambda row: row[2])
    chart = (
        dumbbells(rows, width=WIDTH // 2, before=before, after=after)
        if rows
        else missing("No bytes were counted.")
    )
    body = [
        [
            escape(name),
            numbers.count(a.get("tokens", 0)),
            f"{b['loss']:.3f}",
            f"{a['loss']:.3f}",
            *map(three, bits(b, a)),
        ]
        for name, (b, a) in sorted(shared.items(), key=lambda item: order(rows, item[0]))
    ]
    head = [
        "language",
        "tokens",
        f"loss, {before}",
        f"loss, {after}",
        f"bits per byte, {before}",
        f"bits per byte, {after}",
    ]
    key = (
        f'<ul class="legend"><li><i class="ring"></i>{before}</li>'
        f'<li><i style="background:var(--c1)"></i>{after}</li></ul>'
    )
    lead = "Bits per byte compare languages fairly whatever the tokenizer makes of them; less is better."
    if len(run.evaluations) == 1:
        lead += " Only one evaluation was made, so before and after are the same."
    return section(
        "held-out", title, f'<div class="two"><div>{key}{chart}</div>{table(head, body)}</div>', lead=lead
    )


def order(rows: Sequence[tuple[str, Any, Any]], name: str) -> int:
    """The table's order is the chart's."""
    return next((index for index, row in enumerate(rows) if row[0] == name), len(rows))


def bits(*entries: dict[str, Any]) -> list[float | None]:
    return [numbers.bits_per_byte(entry) for entry in entries]


def three(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def throughput(run: "RunFiles") -> str:
    if not run.training:
        return section(
            "throughput",
            "Throughput",
            absent(run, "metrics.jsonl", "metrics.jsonl has no training step yet."),
        )
    points = [(line["step"], line["tokens_per_second"]) for line in run.training]
    rates = sorted(y for _, y in points)
    middle = median(rates)
    top = rates[min(len(rates) - 1, int(len(rates) * 0.99))]
    chart = line_chart(
        [Line("tokens per second", points, "3")],
        width=WIDTH,
        height=220,
        unit="tokens per second",
        label="tokens per second by step",
        y_range=(0, max(top, *(y for _, y in thin(points)[0])) * 1.08),
    )
    lead = f"Tokens per second, by step; median {numbers.count(middle)}, slowest {numbers.count(rates[0])}."
    return section(
        "throughput", "Throughput", legend([("c3", averaged("tokens per second", points))]), chart, lead=lead
    )


def memory(run: "RunFiles") -> str:
    if not run.memory:
        return section("memory", "Memory", absent(run, "memory.json", "memory.json names no rank."))
    parts = list(dict.fromkeys(part for item in run.memory for part in item["parts"]))
    chart = stacked_bars(run.memory, parts, width=WIDTH)
    key = legend((f"c{number}", part) for number, part in enumerate(parts, 1))
    rows = [
        [
            f"rank {item['rank']}",
            *(numbers.memory(item["parts"].get(part, 0)) for part in parts),
            peak(item["peak"]),
        ]
        for item in run.memory
    ]
    lead = "By rank and part; the mark is the measured peak."
    return section("memory", "Memory", key, chart, table(["", *map(escape, parts), "peak"], rows), lead=lead)


def peak(value: float | None) -> str:
    return numbers.memory(value) if value else "not measured"


def comparison(run: "RunFiles") -> str:
    """Side by side with other ways to run the same model, where somebody measured them."""
    title = "Side by side"
    if not run.comparison:
        return section("comparison", title, absent(run, "comparison.json", "comparison.json has no rows."))
    fastest = max((row.get("tokens_per_second") or 0 for row in run.comparison), default=0) or 1
    head = ["", "", "tokens per second", "ratio", "peak memory by rank", "fullest rank"]
    rows = [comparison_row(row, fastest) for row in run.comparison]
    lead = "The same model and batch, run in other ways."
    return section("comparison", title, table(head, rows, text_columns=2), lead=lead)


def comparison_row(row: dict[str, Any], fastest: float) -> list[str]:
    """A row's cells; of many ranks the peaks' range, with all of them for the pointer."""
    rate, ratio, peaks = row.get("tokens_per_second"), row.get("ratio"), row.get("peak")
    peaks = peaks if isinstance(peaks, list) else [] if peaks is None else [peaks]
    sizes = [numbers.memory(value) for value in peaks]
    by_rank = " · ".join(sizes)
    if len(peaks) > 4:
        span = f"{numbers.memory(min(peaks))} to {numbers.memory(max(peaks))}"
        by_rank = f'<span title="{by_rank}">{span}</span>'
    return [
        escape(row["name"]),
        f'<i class="bar" style="width:{100 * (rate or 0) / fastest:.1f}%"></i>',
        numbers.count(rate) if rate else "not measured",
        f"{ratio:.3f}" if is_number(ratio) else "",
        by_rank,
        numbers.memory(max(peaks)) if peaks else "",
    ]


def configuration(run: "RunFiles") -> str:
    """config.toml, a card a section; its text where it can't be read."""
    if not run.config:
        text = f"<pre>{escape(run.config_text)}</pre>" if run.config_text else ""
        return section(
            "configuration", "Configuration", absent(run, "config.toml", "config.toml is empty."), text
        )
    plain = {name: value for name, value in run.config.items() if not isinstance(value, dict)}
    groups = ([("", plain)] if plain else []) + [(n, v) for n, v in run.config.items() if isinstance(v, dict)]
    cards = "".join(
        f'<div class="group"><h3>{escape(name)}</h3><dl>{entries(values)}</dl></div>'
        for name, values in groups
    )
    return section("configuration", "Configuration", f'<div class="groups">{cards}</div>')


def entries(values: dict[str, Any], prefix: str = "") -> str:
    """Keys and values, inner tables with dotted keys."""
    out = []
    for name, value in values.items():
        if isinstance(value, dict):
            out.append(entries(value, f"{prefix}{name}."))
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            shown = shown.lower() if isinstance(value, bool) else shown
            out.append(f"<dt>{escape(prefix + name)}</dt><dd>{escape(shown)}</dd>")
    return "".join(out)
