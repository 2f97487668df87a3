"""Sphinx extension: what the records of `mulib bench` in book/results/kernels say.

{kernel-times}  seconds and ratios, a table per device; a device without a record is not measured yet
{roofline}      the picture: operations per byte against the speed that an H100's limits allow
"""

import json
import math
from pathlib import Path

# NVIDIA's data sheet of the H100 SXM: bytes a second, and float32 operations a second outside the tensor cores.
BANDWIDTH, PEAK = 3.35e12, 67e12
LEFT, RIGHT, TOP, BOTTOM = 70, 740, 20, 300  # of the picture, in its own units


def times(root):
    """Return the Markdown of all records, the CPU's first."""
    parts = []
    for device, name in (("cpu", "A processor, one thread"), ("cuda", "A GPU")):
        path = Path(root) / "book" / "results" / "kernels" / f"{device}.json"
        parts.append(f"### {name}\n\n{_table(json.loads(path.read_text())) if path.is_file() else 'Not measured yet.'}")
    return "\n\n".join(parts)


def _table(record):
    head = "| kernel | size | form | time, ms (lowest to highest) | times the plain loop's speed | peak memory, MB |"
    lines = [head, "|" + " --- |" * 6]
    for row in record["rows"]:
        start = f"| {row['kernel']} | {row['size']} | {row['form']} | "
        if not row["equal"]:
            lines.append(start + "not equal: no speed | | |")
            continue
        spread = f" ({1e3 * row['low']:.3g} to {1e3 * row['high']:.3g})" if "low" in row else ""
        ratio = f"{row['ratio']:,.0f}" if "ratio" in row else ""
        memory = f"{row['peak_bytes'] / 1e6:,.0f}" if row.get("peak_bytes") else ""
        lines.append(f"{start}{1e3 * row['seconds']:,.3g}{spread} | {ratio} | {memory} |")
    hardware = record["came_from"]["hardware"]
    on = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores"
    torch = record["came_from"]["versions"]["torch"]
    return "\n".join(lines) + f"\n\nMeasured {record['measured'][:10]} on {on}, torch {torch}."


def roofline(root):
    """Return the picture as SVG: a point per kernel at the book's size, on the line that bounds it."""
    record = json.loads((Path(root) / "book" / "results" / "kernels" / "cpu.json").read_text())
    floors = {
        row["kernel"]: row["floor_operations"] / row["floor_bytes"] for row in record["rows"] if row["size"] == "book"
    }
    ridge, parts = PEAK / BANDWIDTH, []
    roof = [(x, min(PEAK, x * BANDWIDTH)) for x in (0.1, ridge, 1000)]
    points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in roof)
    parts.append(f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="2"/>')
    for x in (0.1, 1, 10, 100, 1000):
        parts.append(f'<text x="{_x(x):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{x:g}</text>')
    for y in (1e11, 1e12, 1e13, 1e14):
        parts.append(f'<text x="{LEFT - 6}" y="{_y(y) + 4:.1f}" text-anchor="end">{y / 1e12:g}</text>')
    for place, (name, x) in enumerate(sorted(floors.items(), key=lambda item: item[1])):
        y = min(PEAK, x * BANDWIDTH)
        label = BOTTOM - 120 + 24 * place
        parts.append(f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="5" fill="currentColor"/>')
        parts.append(f'<path d="M{_x(x):.1f} {_y(y):.1f} L{_x(x) + 60:.1f} {label - 4}" stroke="currentColor"/>')
        parts.append(f'<text x="{_x(x) + 64:.1f}" y="{label}">{name}: {x:.2g}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 38}" text-anchor="middle">operations per byte</text>')
    parts.append(f'<text x="{LEFT + 6}" y="{TOP - 4}">tera-operations a second</text>')
    words = "Each kernel's operations per byte on the roof of an H100; the corner lies at 20."
    style = 'style="width:100%;color:var(--pst-color-text-base)" fill="currentColor" font-size="13"'
    svg = f'<svg role="img" aria-label="{words}" viewBox="0 0 780 345" {style}>'
    return "```{raw} html\n" + svg + "\n" + "\n".join(parts) + "\n</svg>\n```"


def _x(intensity):
    return LEFT + (RIGHT - LEFT) * (math.log10(intensity) + 1) / 4


def _y(speed):
    return BOTTOM - (BOTTOM - TOP) * (math.log10(speed) - 11) / 3


def fill(app, docname, source):
    for name, made in (("kernel-times", times), ("roofline", roofline)):
        block = "```{" + name + "}\n```"
        if block in source[0]:
            source[0] = source[0].replace(block, made(app.srcdir))


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("source-read", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
