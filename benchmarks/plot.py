"""Draw ratios as an SVG picture: a bar for each peer of each row, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from table import ratio_of, title

if TYPE_CHECKING:
    from rows import Row

LEFT, WIDTH, LINE, TOP = 560, 420, 18, 70
DECADES = (-1, 3)
"""The scale: powers of ten from which and to which it goes."""

STYLE = """
  .paper { fill: #fbfaf7; } text { font: 12px ui-sans-serif, Arial, sans-serif; fill: #23262d; }
  .quiet { fill: #666b76; } .grid { stroke: #d8d6d0; } .one { stroke: #23262d; }
  .better { fill: #3d8a5f; } .worse { fill: #c2603d; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #15181e; } text { fill: #e6e8ec; } .quiet { fill: #9ba1ad; }
    .grid { stroke: #333842; } .one { stroke: #e6e8ec; }
  }
"""


def ratios(row: Row, samples: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return labels and ratios of a row's figures, of those that could be measured."""
    found = []
    first, *others = [case.name for case in row.cases]
    for metric in row.metrics:
        figures = {
            name: [
                one[metric.key] for one in samples.get(name, ()) if metric.key in one
            ]
            for name in (first, *others)
        }
        for other in others:
            if figures[first] and figures[other]:
                ratio = ratio_of(metric, figures, first, other)
                if ratio > 0:
                    found.append((f"{metric.title} — {other}", ratio))
    return found


def draw(results: Mapping[str, Any], rows: Sequence[Row]) -> str:
    bars = [
        bar
        for row in rows
        if row.name in results["rows"]
        for bar in ratios(row, results["rows"][row.name])
    ]
    height = TOP + LINE * len(bars) + 20
    size = f'width="{LEFT + WIDTH + 80}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<style>{STYLE}</style>",
        f'<rect {size} class="paper"/>',
        '<text x="16" y="24">How many times as good as others; to the right of 1 is better</text>',
        f'<text x="16" y="42" class="quiet">{escape(title(results["machine"]))}</text>',
        *[_tick(decade, height) for decade in range(DECADES[0], DECADES[1] + 1)],
        *[_bar(number, *bar) for number, bar in enumerate(bars)],
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(ratio: float) -> float:
    low, high = DECADES
    place = (math.log10(ratio) - low) / (high - low)
    return LEFT + WIDTH * min(1.0, max(0.0, place))


def _tick(decade: int, height: int) -> str:
    x, name = _x(10.0**decade), "one" if decade == 0 else "grid"
    return (
        f'<path d="M{x:.0f},{TOP - 8} V{height - 14}" class="{name}"/>'
        f'<text x="{x:.0f}" y="{TOP - 12}" text-anchor="middle">{10.0**decade:g}</text>'
    )


def _bar(number: int, label: str, ratio: float) -> str:
    y, begin, end = TOP + LINE * number, *sorted((_x(1.0), _x(ratio)))
    kind = "better" if ratio >= 1 else "worse"
    return (
        f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{begin:.1f}" y="{y + 3}" width="{end - begin:.1f}" height="{LINE - 6}" '
        f'class="{kind}"/>'
        f'<text x="{max(end, _x(1.0)) + 6:.1f}" y="{y + 12}" class="quiet">{ratio:.3g}</text>'
    )
