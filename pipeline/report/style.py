"""How every plot looks, on pages and in reports.

Colours are those of Okabe and Ito 2008 ("Color Universal Design") that have a contrast of 3 to 1 or more on white and
on the dark background of pages; text and axes take the colour of the text around them.
"""

from __future__ import annotations

from typing import Any

BLUE, VERMILION, GREEN = SERIES = ("#0072B2", "#D55E00", "#009E73")
# Told apart by the shape, too.
SHAPES = ("circle", "square", "diamond")
TEXT = "currentColor"
# In pixels, without axes: what a telephone shows unscaled.
WIDTH, HEIGHT = 280, 180
# One that browsers have or have a stand-in of the same widths for, so that texts are as long as they were measured.
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": None,
    "axis": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "domainColor": TEXT,
        "tickColor": TEXT,
        "gridColor": TEXT,
        "gridOpacity": 0.15,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 0,
    },
    # Above the axis, where it is read without turning the head.
    "axisLeft": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": -30, "titleY": -10},
    # Room for names, should the font that shows them be a wider one.
    "padding": {"left": 24, "top": 8, "right": 12, "bottom": 4},
    "legend": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "orient": "bottom",
        "direction": "vertical",
        "symbolSize": 60,
    },
    "view": {"stroke": None},
    "bar": {"color": BLUE},
    "line": {"color": BLUE, "strokeWidth": 2},
    "point": {"color": BLUE, "filled": True, "size": 60, "opacity": 1},
    "rule": {"color": BLUE, "strokeWidth": 2},
}
