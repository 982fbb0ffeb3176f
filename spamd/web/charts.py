"""The pictures of the Trends page: SVG by pygal, without scripts, in the page's colours, light and dark."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from spamd.answers import Trends
from spamd.web.shown import bound, one_line

LIGHT = {"ink": "#1d2430", "soft": "#5b6675", "line": "#d9dee6", "paper": "#ffffff"}
DARK = {"ink": "#e7ebf2", "soft": "#9aa6b8", "line": "#343d4b", "paper": "#181d25"}
# keep, unsure, junk, correction: apart for the colour-blind, too (blue, amber, magenta, teal)
LIGHT_SERIES = ("#3b6fd4", "#c98a14", "#b3305f", "#167d6f")
DARK_SERIES = ("#7aa5ff", "#f0bb55", "#f07ba6", "#4fc7b5")


def draw(name: str, trends: Trends) -> bytes | None:
    """One picture as SVG; None where there is no such picture."""
    chart = CHARTS.get(name)
    return None if chart is None else _svg(chart(trends))


def _pygal() -> Any:
    """pygal (60 ms to import), without the import hook it leaves behind, which warns at every later import."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


def _style() -> Any:
    from pygal.style import Style

    return Style(
        background="transparent",
        plot_background="transparent",
        foreground=LIGHT["soft"],
        foreground_strong=LIGHT["ink"],
        foreground_subtle=LIGHT["line"],
        colors=LIGHT_SERIES,
        opacity=".9",
        opacity_hover="1",
        transition="0s",
        font_family="system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
        value_font_size=13,
        no_data_font_size=20,
        guide_stroke_color=LIGHT["line"],
        major_guide_stroke_color=LIGHT["line"],
        guide_stroke_dasharray="1,0",
        major_guide_stroke_dasharray="1,0",
    )


def _options(**more: Any) -> dict[str, Any]:
    return {
        "style": _style(),
        "width": 520,
        "height": 270,
        "margin": 8,
        "margin_left": 22,  # on a phone the letters are larger than pygal leaves room for: "10,000"
        "margin_bottom": 11,  # and reach deeper in some fonts (Nimbus Sans)
        "explicit_size": False,
        "js": (),
        "show_legend": True,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 2,
        "spacing": 6,
        "legend_box_size": 12,
        "no_data_text": "Nothing yet",
        "disable_xml_declaration": True,
        "truncate_label": 30,
        "truncate_legend": 40,
        **more,
    }


def _svg(chart: Any) -> bytes:
    text: str = chart.render(is_unicode=True)
    text = re.sub(r"<script.*?</script>|<!--.*?-->", "", text, flags=re.DOTALL)
    dark = [
        f".axis text, .legends text, .axis .major {{ fill: {DARK['soft']} !important }}",
        f".axis .line, .axis .guides, .axis .guide {{ stroke: {DARK['line']} !important }}",
        f".title, .no_data, .text-overlay text {{ fill: {DARK['ink']} !important }}",
    ]
    for place, colour in enumerate(DARK_SERIES):
        dark.append(f".color-{place} {{ fill: {colour} !important; stroke: {colour} !important }}")
    dark.append(".plot .nofill { fill: none !important }")
    # Drawn 520 wide: on a phone, where it is shown at 300, letters of 13 would be 7 high.
    phone = ".axis text { font-size: 17px !important } .legends text { font-size: 16px !important }"
    style = (
        f"<style>.axis .major {{ fill: {LIGHT['soft']} !important }} @media (max-width: 400px) {{ {phone} }} "
        f"@media (prefers-color-scheme: dark) {{ {' '.join(dark)} }}</style>"
    )
    return text.replace("</svg>", style + "</svg>").encode("utf-8")


def _whole(chart: Any, values: list[int]) -> None:
    """Whole numbers on the axis of values, at most six."""
    top = max([*values, 1])
    step = next(
        size * 10**power for power in range(12) for size in (1, 2, 5) if -(-top // (size * 10**power)) <= 5
    )
    chart.y_labels = [step * place for place in range(-(-top // step) + 1)]
    chart.value_formatter = lambda value: f"{value:,.0f}"


def _few(labels: list[str], count: int = 7) -> list[str]:
    """Every n-th label, so that they can be read."""
    step = max(1, -(-len(labels) // count))
    return [label if place % step == 0 else "" for place, label in enumerate(labels)]


def _mail_per_day(trends: Trends) -> Any:
    pygal = _pygal()

    chart = pygal.StackedBar(**_options(legend_at_bottom_columns=3))
    chart.x_labels = _few([_day(date.fromisoformat(day.day)) for day in trends.daily])
    chart.add("good", [day.keep for day in trends.daily])
    chart.add("unsure", [day.unsure for day in trends.daily])
    chart.add("junk", [day.junk for day in trends.daily])
    _whole(chart, [day.keep + day.unsure + day.junk for day in trends.daily])
    return chart


def _corrected(trends: Trends) -> Any:
    pygal = _pygal()

    chart = pygal.Bar(**_options())
    chart.x_labels = _few([_day(date.fromisoformat(day.day)) for day in trends.daily])
    chart.add("good mail taken for junk", [day.false_positives for day in trends.daily])
    chart.add("junk kept or unsure", [day.missed for day in trends.daily])
    _whole(chart, [max(day.false_positives, day.missed) for day in trends.daily])
    return chart


def _promise(trends: Trends) -> Any:
    pygal = _pygal()

    chart = pygal.Bar(
        **_options(
            legend_at_bottom_columns=3,
            print_values=True,
            print_values_position="top",  # in the bar they would be struck through by a low one
            value_formatter=lambda v: f"{v:.3g} %",
        )
    )
    accounts = [one for one in trends.promises if one.share is not None]
    chart.x_labels = [one_line(one.account, 30) for one in accounts]
    chart.add("measured", [round(100 * (one.share or 0.0), 4) for one in accounts])
    chart.add("at most (95 %)", [100 * bound(one.upper or 0.0) for one in accounts])
    chart.add("promised", [round(100 * one.promise, 4) for one in accounts])
    return chart


def _calibration(trends: Trends) -> Any:
    pygal = _pygal()

    chart = pygal.XY(
        **_options(
            x_title="probability given", y_title="was junk", range=(0, 1), xrange=(0, 1.04), dots_size=5
        )
    )
    chart.value_formatter = chart.x_value_formatter = lambda share: f"{100 * share:.0f} %"
    chart.x_labels = chart.y_labels = [0, 0.2, 0.4, 0.6, 0.8, 1]
    chart.add("this model", [(round(b.mean, 3), round(b.spam_share, 3)) for b in trends.calibration])
    chart.add("perfect", [(0, 0), (1, 1)], show_dots=False)
    return chart


def _hosts(trends: Trends) -> Any:
    pygal = _pygal()

    chart = pygal.HorizontalBar(
        **_options(
            show_legend=False,
            height=300,
            print_values=True,
            print_values_position="top",
            truncate_label=34,
            margin_left=64,  # for names wider than pygal takes letters to be, above all on a phone
        )
    )
    rows = list(reversed(trends.hosts))
    chart.x_labels = [one_line(row.host, 34) for row in rows]
    counts = [row.count for row in rows]
    # Numbers lie across the ends of the bars: pushed out to their right by spaces as wide as themselves.
    chart.add("mails", counts, formatter=lambda value: "\u2007" * (len(f"{value:,}") + 1) + f"{value:,}")
    _whole(chart, counts)
    return chart


def _nights(trends: Trends) -> Any:
    pygal = _pygal()

    chart = pygal.Line(**_options(dots_size=4))
    chart.x_labels = _few(
        [_day(datetime.fromtimestamp(night.at, UTC).astimezone()) for night in trends.nights]
    )
    chart.add("good mail learned from", [night.ham for night in trends.nights])
    chart.add("junk learned from", [night.spam for night in trends.nights])
    _whole(chart, [max(night.ham, night.spam) for night in trends.nights])
    return chart


def _day(at: date) -> str:
    return f"{at.day} {at:%b}"


CHARTS: dict[str, Callable[[Trends], Any]] = {
    "mail": _mail_per_day,
    "corrected": _corrected,
    "promise": _promise,
    "calibration": _calibration,
    "hosts": _hosts,
    "nights": _nights,
}
