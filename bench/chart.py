"""Draws results as SVG: one file a group; a panel of bars for each benchmark, the floor a line through it; costs that grow
with a number (names that end in _N, at least four of them) as lines. Needs nothing but Python."""
import math
import os
import re
from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, GAP, PANEL = 760, 150, 16, 4, 30
COLOURS = {'floor': '#999', 'rota': '#c2410c', 'peer': '#4b7bb5', 'quoted': '#bbb'}
CAP = 20   # bars end at so many floors, or medians of rota: the others stay readable


def text(x, y, s, anchor='start', size=11, fill='#222'):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{escape(s)}</text>'


def svg(body, height, title):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
            + text(10, 18, title, size=14) + ''.join(body) + '</svg>\n')


def panel(name, rows, top):
    """Bars for one benchmark; returns elements and the y below."""
    shown = [r for r in rows if r['median'] is not None]
    floor = next((r['median'] for r in shown if r['row'] == 'floor'), None)
    own = next((r['median'] for r in shown if r['kind'] == 'rota'), None)
    limit = max((r['median'] for r in shown), default=0) or 1
    if own or floor:
        limit = min(limit, CAP * max(own or 0, floor or 0) or limit)
    scale = (WIDTH - LEFT - 120) / limit
    unit = rows[0]['unit']
    out, y = [text(10, top + 14, f'{name} ({unit})', size=12)], top + 22
    first = y
    for r in rows:
        out.append(text(LEFT - 6, y + BAR - 4, r['row'], 'end'))
        if r['median'] is None:
            said = f'{r["quoted"]:g}, quoted: not re-measured' if 'quoted' in r else '-'
            out.append(text(LEFT + 4, y + BAR - 4, said, fill='#777'))
        else:
            length = max(1.0, min(r['median'], limit) * scale)
            out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[r["kind"]]}"/>')
            cut = ' (bar cut)' if r['median'] > limit * 1.0001 else ''
            out.append(text(LEFT + length + 5, y + BAR - 4, f'{r["median"]:.3g}{cut}'))
        y += BAR + GAP
    if floor:
        x = LEFT + min(floor, limit) * scale
        out.append(f'<line x1="{x:.1f}" y1="{first - 4}" x2="{x:.1f}" y2="{y}" stroke="#000" stroke-dasharray="4 3"/>')
    return out, y + PANEL - 14


def growth(stem, points, top):
    """Lines over a logarithmic number; points: row -> [(n, value)]."""
    height, right = 200, WIDTH - 130
    ns = [n for line in points.values() for n, _ in line]
    values = [v for line in points.values() for _, v in line if v > 0]
    if not values:
        return [], top
    high, low = math.log10(max(values) * 1.2), math.log10(min(values) / 1.2)
    wide = math.log10(max(ns)) or 1

    def place(n, v):
        return (60 + math.log10(n) / wide * (right - 60), top + 24 + height * (high - math.log10(v)) / (high - low))
    out = [text(10, top + 14, f'{stem}: cost of an operation (ns) by number, both logarithmic', size=12)]
    for e in range(int(wide) + 1):
        x = place(10 ** e, 10 ** low)[0]
        out.append(f'<line x1="{x:.1f}" y1="{top + 24}" x2="{x:.1f}" y2="{top + 24 + height}" stroke="#eee"/>')
        out.append(text(x, top + 40 + height, f'{10 ** e:,}', 'middle'))
    marks = [m * 10 ** e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    for mark in (m for m in marks if low <= math.log10(m) <= high):
        y = place(1, mark)[1]
        out.append(f'<line x1="60" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#eee"/>' + text(54, y + 4, f'{mark:g}', 'end'))
    for (row, kind), line in points.items():
        dots = [place(n, v) for n, v in sorted(line) if v > 0]
        dash = ' stroke-dasharray="4 3"' if kind == 'floor' else ''
        out.append(f'<polyline fill="none" stroke="{"#000" if kind == "floor" else COLOURS[kind]}" stroke-width="2"{dash} '
                   f'points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in dots)}"/>')
        if dots:
            out.append(text(dots[-1][0] + 6, dots[-1][1] + 4, row))
    return out, top + height + 70


def draw(group, rows, about):
    body, y, families = [], 40, {}
    names = list(dict.fromkeys(r['name'] for r in rows))
    for name in names:
        found = re.fullmatch(r'(.*)_(\d+)', name)
        if found:
            families.setdefault(found[1], []).append(name)
    lined = set()
    for stem, members in families.items():
        if len(members) < 4:
            continue
        points = {}
        for r in rows:
            if r['name'] in members and r['median'] is not None:
                points.setdefault((r['row'], r['kind']), []).append((int(r['name'].rsplit('_', 1)[1]), r['median']))
        drawn, y = growth(stem, points, y)
        body += drawn
        lined.update(members)
    for name in names:
        if name not in lined:
            drawn, y = panel(name, [r for r in rows if r['name'] == name], y)
            body += drawn
    body.append(text(10, y + 6, f'less is better; dashed: the floor. {about["model"]}, {about["system"]} {about["release"]}, '
                                f'{about["date"]}', size=10, fill='#777'))
    return svg(body, y + 16, group)


def draw_all(results, about, folder):
    os.makedirs(folder, exist_ok=True)
    groups = list(dict.fromkeys(r['group'] for r in results))
    for group in groups:
        with open(os.path.join(folder, group + '.svg'), 'w') as f:
            f.write(draw(group, [r for r in results if r['group'] == group], about))
    return len(groups)
