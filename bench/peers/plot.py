"""The picture of a result, as SVG: a bar for each subject and row, as a share of the peak."""
import math

import report

COLOURS = {
    "ringfold": "#2f6db5", "PyTorch": "#f4bd7c", "oneDNN": "#95d3ab", "OpenBLAS": "#dfafd0",
    "flash-linear-attention": "#a5dde2", "PyTorch, chunked": "#f4bd7c",
    "gloo, overlapping": "#f4bd7c", "gloo, waiting": "#f1e08a",
}
WIDTH, PANEL, LABELS, BAR, GAP, COLUMNS = 1120, 520, 216, 8, 10, 2


def text(x, y, words, size=12, anchor="start", fill="#222", weight="normal"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
            f'font-weight="{weight}">{words}</text>')


def bar(x, y, width, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 1}" fill="{colour}"/>'


def height_of(rows):
    return 74 + sum(len(row["seconds"]) * BAR + GAP for row in rows)


def panel(result, group, rows, left, top, limit):
    """One group; the axis ends at limit."""
    subjects = ["ringfold", *report.peers_of(rows)]
    begin, width = left + LABELS, PANEL - LABELS - 40
    bottom = top + height_of(rows) - 26
    yield text(left, top + 14, group, size=15, weight="bold")
    x = left
    for name in subjects:
        yield bar(x, top + 26, 12, COLOURS[name])
        yield text(x + 16, top + 33, name, size=11, fill="#444")
        x += 34 + 5.8 * len(name)
    for i in range(int(limit * 4) + 1):
        at, colour = begin + width * i / 4 / limit, "#888" if i == 4 else "#e4e4e4"
        yield f'<line x1="{at:.1f}" y1="{top + 44}" x2="{at:.1f}" y2="{bottom}" stroke="{colour}"/>'
        if limit <= 1.25 or i % 2 == 0:
            yield text(at, bottom + 14, f"{25 * i} %", size=10, anchor="middle", fill="#666")
    y = top + 50
    for row in rows:
        middle = y + len(row["seconds"]) * BAR / 2 + 4
        yield text(begin - 8, middle, row["name"], size=11, anchor="end")
        for name in (each for each in subjects if each in row["seconds"]):
            share = report.of_peak(result, row, name)
            yield bar(begin, y, width * share / limit, COLOURS[name])
            if name == "ringfold":
                yield text(begin + width * share / limit + 4, y + BAR - 1, f"{share:.0%}", size=9, fill="#2f6db5")
            y += BAR
        y += GAP


def picture(result):
    groups = list(report.groups(result).items())
    parts, top = [], 64
    for i in range(0, len(groups), COLUMNS):
        line = groups[i:i + COLUMNS]
        highest = max(report.of_peak(result, row, name) for _, rows in line for row in rows for name in row["seconds"])
        limit = max(1, math.ceil(highest * 4 + 0.2) / 4)
        for column, (group, rows) in enumerate(line):
            parts += panel(result, group, rows, 24 + column * (PANEL + 32), top, limit)
        top += max(height_of(rows) for _, rows in line) + 16
    title = f"Shares of the fp32 multiply-add peak: ringfold beside its peers, {result['date']}"
    below = f"{result['machine']['processor']}, one core; rings: two. Longer is faster."
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>',
        text(24, 28, title, size=18, weight="bold"), text(24, 48, below, fill="#666"), *parts, "</svg>"]) + "\n"
