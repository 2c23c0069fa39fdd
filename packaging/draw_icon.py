"""Draw the icon: words of a sentence on the left, of its translation on the right, and the attention between them.

python packaging/draw_icon.py     # writes desktop_app/icons/keras-transformer.png; needs Pillow
"""

from pathlib import Path

from PIL import Image, ImageDraw

OUTPUT = Path(__file__).resolve().parents[1] / "desktop_app" / "icons" / "keras-transformer.png"
SIZE = 256
SCALE = 4  # drawn larger, then shrunk: smooth edges
GROUND, INK, GOLD = "#2563c9", "#ffffff", "#ffd75e"
LEFT, RIGHT = 74, 182  # x of the two columns of words
ROWS = (78, 128, 178)
WIDTHS = ((34, 26, 34), (26, 34, 26))  # half the lengths of the words, left and right
LINKS = ((0, 1, 9, GOLD), (1, 0, 9, GOLD), (2, 2, 9, GOLD), (0, 0, 3, INK), (2, 1, 3, INK))


def main() -> None:
    """Write the picture."""
    picture = Image.new("RGBA", (SIZE * SCALE,) * 2, (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)

    def box(left, top, right, bottom, radius, colour):
        corners = [value * SCALE for value in (left, top, right, bottom)]
        draw.rounded_rectangle(corners, radius * SCALE, fill=colour)

    box(8, 8, SIZE - 8, SIZE - 8, 52, GROUND)
    for source, target, width, colour in LINKS:
        begin = (LEFT + WIDTHS[0][source] + 4, ROWS[source])
        end = (RIGHT - WIDTHS[1][target] - 4, ROWS[target])
        draw.line(
            [tuple(v * SCALE for v in point) for point in (begin, end)], fill=colour, width=width * SCALE
        )
        for x, y in (begin, end):
            r = width / 2
            draw.ellipse([v * SCALE for v in (x - r, y - r, x + r, y + r)], fill=colour)
    for column, x in enumerate((LEFT, RIGHT)):
        for row, y in enumerate(ROWS):
            half = WIDTHS[column][row]
            box(x - half, y - 12, x + half, y + 12, 12, INK)
    OUTPUT.parent.mkdir(exist_ok=True)
    small = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    small.quantize(64, method=Image.Quantize.FASTOCTREE).save(OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
