"""Draw the core of an import graph as an SVG picture: modules on a circle.

Plain Python that knows nothing of Jackfield: the apps of ``stdlib_atlas.py`` call it.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1280, 1300
CENTRE = 640 + 700j
RADIUS = 365
LARGEST = 30
"""Radius of the largest circle."""
LONGEST = 24
"""Characters for which there is room beside a circle."""

STYLE = """
  .paper { fill: #fbfaf7; }
  text { font-family: ui-sans-serif, "Segoe UI", Helvetica, Arial, "DejaVu Sans",
         sans-serif; fill: #23262d; }
  .quiet { fill: #666b76; }
  .sample { fill: none; stroke: #8b909b; stroke-width: 2; }
  .solid { fill: #8b909b; }
  .edge { opacity: 0.55; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #15181e; }
    text { fill: #e6e8ec; }
    .quiet { fill: #9ba1ad; }
    .edge { opacity: 0.75; }
  }
  .edge:hover { opacity: 1; }
"""

Edges = Sequence[tuple[str, str]]


def draw(title: str, subtitle: str, sizes: Mapping[str, int], edges: Edges) -> str:
    """Return the picture.

    Args:
        title: The large line above.
        subtitle: The small line below it.
        sizes: Module to the number that the area of its circle stands for.
        edges: Imports ``(from, to)`` between these modules.
    """
    order = _arrange(sorted(sizes), edges)
    turns = {name: place / len(order) for place, name in enumerate(order)}
    largest = max(sizes.values(), default=1)
    radii = {name: _radius(sizes[name], largest) for name in order}
    parts = [
        _opening(title, subtitle),
        *[_edge(a, b, turns, radii) for a, b in edges],
        *[_node(name, sizes[name], turns[name], radii[name]) for name in order],
        _legend(largest),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# -- Where things are ---------------------------------------------------------------


def _arrange(names: list[str], edges: Edges) -> list[str]:
    """Order names on the circle: swap pairs while that shortens the edges."""
    place = {name: number for number, name in enumerate(names)}

    def length(name: str) -> int:
        ends = [(place[a], place[b]) for a, b in edges if name in (a, b)]
        return sum(min(abs(i - j), len(names) - abs(i - j)) for i, j in ends)

    improved = True
    while improved:
        improved = False
        for one, other in itertools.combinations(names, 2):
            before = length(one) + length(other)
            place[one], place[other] = place[other], place[one]
            if length(one) + length(other) < before:
                improved = True
            else:
                place[one], place[other] = place[other], place[one]
    return sorted(names, key=lambda name: place[name])


def _at(turn: float, distance: float) -> complex:
    """Return a point as a complex number: turns clockwise from the top, and pixels."""
    return CENTRE + cmath.rect(distance, math.tau * (turn - 0.25))


def _radius(size: int, largest: int) -> float:
    return LARGEST * math.sqrt(size / largest)


def _xy(point: complex) -> str:
    return f"{point.real:.1f},{point.imag:.1f}"


def _colour(turn: float) -> str:
    return f"hsl({360 * turn:.0f}, 60%, 52%)"


# -- What is drawn ------------------------------------------------------------------


def _opening(title: str, subtitle: str) -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{escape(title)}</title>
<style>{STYLE}</style>
<rect width="{WIDTH}" height="{HEIGHT}" class="paper"/>
<text x="48" y="72" font-size="34" font-weight="600">{escape(title)}</text>
<text x="48" y="108" font-size="19" class="quiet">{escape(subtitle)}</text>"""


def _edge(
    a: str, b: str, turns: Mapping[str, float], radii: Mapping[str, float]
) -> str:
    """Draw an arrow from one circle to another, bent towards the centre."""
    start, end = _at(turns[a], RADIUS), _at(turns[b], RADIUS)
    nearness = 1 - abs(end - start) / (2 * RADIUS)
    bend = CENTRE + (0.2 + 0.45 * nearness) * ((start + end) / 2 - CENTRE)
    into = (end - bend) / abs(end - bend)
    tip = end - into * (radii[b] + 3)
    neck = tip - into * 13
    head = " ".join(_xy(p) for p in (tip, neck + into * 5j, neck - into * 5j))
    return (
        f'<g class="edge"><title>{escape(a)} imports {escape(b)}</title>'
        f'<path d="M{_xy(start)} Q{_xy(bend)} {_xy(neck)}" fill="none" '
        f'stroke="{_colour(turns[a])}" stroke-width="2"/>'
        f'<polygon points="{head}" fill="{_colour(turns[a])}"/></g>'
    )


def _node(name: str, size: int, turn: float, radius: float) -> str:
    middle, label = _at(turn, RADIUS), _at(turn, RADIUS + radius + 9)
    angle, anchor = 360 * turn - 90, "start"
    if turn > 0.5:  # on the left, turn the text so that it is not upside down
        angle, anchor = angle - 180, "end"
    return (
        f"<g><title>{escape(name)}: imported by {size} modules</title>"
        f'<circle cx="{middle.real:.1f}" cy="{middle.imag:.1f}" r="{radius:.1f}" '
        f'fill="{_colour(turn)}"/>'
        f'<text transform="translate({_xy(label)}) rotate({angle:.1f})" dy="0.35em" '
        f'font-size="17" text-anchor="{anchor}">{escape(_short(name))}</text></g>'
    )


def _short(name: str) -> str:
    """Shorten a name that has no room: its last parts tell more than the first."""
    if len(name) <= LONGEST:
        return name
    while len(name) >= LONGEST and "." in name:
        name = name.partition(".")[2]
    return f"…{name[-LONGEST:]}"


def _legend(largest: int) -> str:
    samples = sorted({largest, max(1, largest // 4)}, reverse=True)
    circles = "\n".join(_sample(_radius(size, largest)) for size in samples)
    return f"""<g font-size="17" transform="translate(48 {HEIGHT - 110})">
<path d="M0,0 H44" class="sample"/><path d="M56,0 l-13,-5 v10 z" class="solid"/>
<text x="72" dy="0.35em" class="quiet">imports (in the importer's colour)</text>
{circles}
<text x="72" y="56" dy="0.35em" class="quiet">imported by {_listed(samples)}</text>
</g>"""


def _sample(radius: float) -> str:
    middle = 56 + LARGEST - radius  # all stand on one line
    return f'<circle cx="{LARGEST}" cy="{middle:.1f}" r="{radius:.1f}" class="sample"/>'


def _listed(samples: Sequence[int]) -> str:
    return ", by ".join(map(str, samples))
