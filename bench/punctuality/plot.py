"""The picture: each tool's lateness from p50 over p99 to the latest, on a logarithmic axis, as SVG."""

import math
from collections.abc import Sequence
from html import escape

from punctuality.stats import Lateness
from punctuality.summary import FLOORS, Row, ms

WIDTH, LEFT, RIGHT, TOP, LINE, FOOT = 860, 130, 90, 84, 46, 40  # pixels
STYLE = """
  :root { --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0; --ours: #0969da; --peer: #9a6700; --floor: #59636e }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --ours: #58a6ff; --peer: #d29922; --floor: #9198a1 }
  }
  text { font: 13px system-ui, sans-serif; fill: var(--ink) }
  .soft { fill: var(--soft); font-size: 12px }
  .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: var(--grid); stroke-width: 1 }
  .ours { --c: var(--ours) } .peer { --c: var(--peer) } .floor { --c: var(--floor) }
  .ours text { font-weight: 600 }
  .bar { stroke: var(--c); stroke-width: 5; stroke-linecap: round }
  .tail { stroke: var(--c); stroke-width: 1.5 }
  .dot { fill: var(--c) }
  .cold { opacity: 0.45 }
"""


def axis(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten (of seconds) around the values."""
    return math.floor(math.log10(max(min(values), 1e-6))), math.ceil(math.log10(max(values)))


def plot(found: Sequence[Row]) -> str:
    """One band for each tool, best first: its warm fires, and below, paler, the first after the start."""
    ordered = sorted((one for one in found if one.warm.p99 is not None), key=lambda one: one.warm.p99 or 0)
    known = [v for one in ordered for late in (one.warm, one.cold) if late for v in (late.p50, late.max) if v]
    low, high = axis(known)
    height = TOP + LINE * len(ordered) + FOOT

    def x(seconds: float) -> float:
        share = (math.log10(max(seconds, 10.0**low)) - low) / (high - low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def band(late: Lateness, y: float, kind: str) -> str:
        if late.p50 is None or late.p99 is None or late.max is None:
            return ""
        after = max(x(late.max), x(late.p50) + 5) + 8
        label = f'<text class="soft" x="{after}" y="{y + 4}">{ms(late.p99)} ms</text>' if kind == "warm" else ""
        return (
            f'<g class="{kind}">'
            f"<title>{kind}: p50 {ms(late.p50)} ms, p99 {ms(late.p99)} ms, max {ms(late.max)} ms</title>"
            f'<line class="tail" x1="{x(late.p99)}" x2="{x(late.max)}" y1="{y}" y2="{y}"/>'
            f'<line class="tail" x1="{x(late.max)}" x2="{x(late.max)}" y1="{y - 4}" y2="{y + 4}"/>'
            f'<line class="bar" x1="{x(late.p50)}" x2="{x(late.p99)}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot" cx="{x(late.p50)}" cy="{y}" r="5"/>{label}</g>'
        )

    jobs = ordered[0].jobs
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">Lateness of {jobs:,} requests due at the same instant, by tool</title>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="16" y="26">{jobs:,} jobs due at the same instant: how late are their requests?</text>',
        '<text class="soft" x="16" y="46">Dot: half are there. Bar: up to 99 %. Line: the latest. '
        "Number: the bar's end. Pale: the first fire after the start.</text>",
    ]
    for power in range(low, high + 1):
        at, label = x(10.0**power), f"{10**power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP - 14}" y2="{height - FOOT}"/>')
        parts.append(f'<text class="soft" x="{at}" y="{height - FOOT + 18}" text-anchor="middle">{label}</text>')
    for number, one in enumerate(ordered):
        y = TOP + LINE * number + LINE / 3
        kind = "ours" if one.tool.startswith("tocsin") else "floor" if one.tool in FLOORS else "peer"
        parts.append(f'<g class="{kind}"><text x="{LEFT - 14}" y="{y + 8}" text-anchor="end">{escape(one.tool)}</text>')
        parts.append(band(one.warm, y, "warm"))
        parts.append(band(one.cold, y + 13, "cold") if one.cold else "")
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])
