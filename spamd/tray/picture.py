"""The icon's pictures, drawn: a shield in the colour of the state, so that no file and no theme is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spamd.tray.view import Face, IconState

if TYPE_CHECKING:
    from PIL import Image

SIZE = 64  # pixels; panels scale down
_FINE = 4  # drawn larger, then scaled: smooth edges

_COLOURS = {
    IconState.FILTERING: (47, 109, 181, 255),
    IconState.LEARNING: (46, 139, 87, 255),
    IconState.PAUSED: (128, 128, 128, 255),
    IconState.ATTENTION: (196, 52, 52, 255),
    IconState.AWAY: (128, 128, 128, 150),
}
_WHITE = (255, 255, 255, 255)
_AMBER = (240, 170, 30, 255)

_Point = tuple[float, float]


def draw(face: Face) -> Image.Image:
    """RGBA, SIZE by SIZE. Colour and sign differ for every state (colour alone tells not everybody)."""
    from PIL import Image, ImageDraw

    side = SIZE * _FINE
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)

    def at(points: list[_Point]) -> list[_Point]:
        return [(x * side, y * side) for x, y in points]

    def line(points: list[_Point], width: float = 0.075) -> None:
        pen.line(at(points), fill=_WHITE, width=round(width * side), joint="curve")
        for x, y in at(points):
            half = width * side / 2
            pen.ellipse((x - half, y - half, x + half, y + half), fill=_WHITE)

    shield: list[_Point] = [(0.5, 0.03), (0.9, 0.17), (0.9, 0.5)]
    shield += [(0.86, 0.66), (0.77, 0.8), (0.65, 0.9), (0.5, 0.97)]
    shield += [(1 - x, y) for x, y in reversed(shield[1:-1])]
    if face.progress is None:
        pen.polygon(at(shield), fill=_COLOURS[face.state])
    else:  # a disc: the shield's corners would stick out of the ring
        pen.ellipse((0.06 * side, 0.06 * side, 0.94 * side, 0.94 * side), fill=_COLOURS[face.state])

    if face.state is IconState.FILTERING:  # an envelope
        line([(0.27, 0.34), (0.73, 0.34), (0.73, 0.64), (0.27, 0.64), (0.27, 0.34)])
        line([(0.27, 0.35), (0.5, 0.52), (0.73, 0.35)])
    elif face.state is IconState.LEARNING:  # an eye
        box = (0.22 * side, 0.3 * side, 0.78 * side, 0.68 * side)
        pen.ellipse(box, outline=_WHITE, width=round(0.07 * side))
        pen.ellipse((0.42 * side, 0.41 * side, 0.58 * side, 0.57 * side), fill=_WHITE)
    elif face.state is IconState.PAUSED:
        for left in (0.33, 0.55):
            pen.rectangle((left * side, 0.3 * side, (left + 0.12) * side, 0.68 * side), fill=_WHITE)
    elif face.state is IconState.ATTENTION:
        line([(0.5, 0.25), (0.5, 0.55)], 0.12)
        pen.ellipse((0.43 * side, 0.65 * side, 0.57 * side, 0.79 * side), fill=_WHITE)
    else:  # nothing runs: crossed out
        line([(0.33, 0.33), (0.67, 0.67)])
        line([(0.67, 0.33), (0.33, 0.67)])

    if face.progress is not None:  # a ring that fills, from the top
        ring = (0.02 * side, 0.02 * side, 0.98 * side, 0.98 * side)
        width = round(0.1 * side)
        pen.arc(ring, 0, 360, fill=(255, 255, 255, 130), width=width)
        pen.arc(ring, -90, -90 + 360 * max(0.03, face.progress), fill=_AMBER, width=width)
    elif face.waiting and face.state in (IconState.FILTERING, IconState.LEARNING):
        pen.ellipse((0.64 * side, 0.62 * side, 0.99 * side, 0.97 * side), fill=_AMBER)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
