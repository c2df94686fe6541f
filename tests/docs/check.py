#!/usr/bin/env python3
"""check.py ROOT TESTS: what the documents quote exists.

- A block of C in docs/TUTORIAL.md and docs/FROM_ASYNCIO.md stands, line for line, in the file that the comment above it
  names (<!-- examples/NAME.c -->), which is compiled and tested; a block of output in tests/examples/NAME.expected
  (<!-- output of NAME -->). A line "..." in a block stands for lines left out. No block of C is without its file.
- Every rota_* and ROTA_* in docs/*.md is declared by a public header, or is a variable of the environment.
- docs/CASES.md has each case, in order, and each names a test, a program, or says what is missing.
- Every `suite/name` that docs/CASES.md or docs/COVERAGE_OF_TUTORIALS.md gives is a test of TESTS (its --list), and every file is there.
"""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
wrong = []

# Names that are no declarations: of the environment, of the build, of internal headers that ARCHITECTURE.md explains.
OTHER_NAMES = {"ROTA_DEBUG", "ROTA_CLOCK", "ROTA_BACKEND", "ROTA_TRACE", "ROTA_LAYER", "ROTA_VERSION"}


def blocks(text):
    """(line number, comment above or None, language, lines) of each fenced block."""
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        if not lines[i].startswith("```"):
            i += 1
            continue
        above = lines[i - 1].strip() if i else ""
        mark = re.fullmatch(r"<!-- (.*) -->", above)
        start, language = i + 1, lines[i][3:].strip()
        i += 1
        body = []
        while not lines[i].startswith("```"):
            body.append(lines[i])
            i += 1
        i += 1
        yield start, mark and mark.group(1), language, body


def stands_in(body, lines):
    """Is each run of lines between "..." in there, in this order?"""
    runs, at = [[]], 0
    for line in body:
        if line.strip() == "...":
            runs.append([])
        else:
            runs[-1].append(line.rstrip())
    for run in filter(None, runs):
        while at + len(run) <= len(lines) and lines[at:at + len(run)] != run:
            at += 1
        if at + len(run) > len(lines):
            return False
        at += len(run)
    return True


def check_blocks(path):
    for line, mark, language, body in blocks(path.read_text()):
        where = f"{path.name}:{line}"
        if mark is None:
            if language == "c":
                wrong.append(f"{where}: C that names no file")
            continue
        output = re.fullmatch(r"output of (\S+)", mark)
        source = root / (f"tests/examples/{output.group(1)}.expected" if output else mark)
        if not source.exists():
            wrong.append(f"{where}: there is no {source.relative_to(root)}")
        elif not stands_in(body, [text.rstrip() for text in source.read_text().split("\n")]):
            wrong.append(f"{where}: not what {source.relative_to(root)} says")


def check_names():
    declared = set(OTHER_NAMES)
    for header in [*(root / "include").rglob("*.h*"), *root.glob("adapters/*/rota/*.h")]:
        declared |= set(re.findall(r"\b(?:rota|ROTA)_\w+", header.read_text()))
    for path in sorted((root / "docs").glob("*.md")):
        for number, line in enumerate(path.read_text().split("\n"), 1):
            for name in re.findall(r"(?<![\w/.-])(?:rota|ROTA)_(?!_)\w+\b(?![*…]|/|\.[ch]\b)", line):
                if name.endswith("_") or name in declared:
                    continue
                wrong.append(f"{path.name}:{number}: no header declares {name}")


# How many there are of each letter.
CASES = {"A": 21, "B": 29, "C": 18, "D": 12, "E": 22, "F": 24, "G": 18, "H": 17, "I": 11}


def check_cases(path):
    rows = re.findall(r"^\| ([A-Z]\d\d) \| .* \| (.*) \|$", path.read_text(), re.M)
    expected = [f"{letter}{n:02}" for letter, last in CASES.items() for n in range(1, last + 1)]
    if [number for number, _ in rows] != expected:
        wrong.append(f"{path.name}: the rows are not {expected[0]} to {expected[-1]}, each once and in order")
    for number, tests in rows:
        if not re.search(r"`\w+/[\w./]+`|\*\*|stage \w+|see below", tests):
            wrong.append(f"{path.name}: {number} names no test")


def check_coverage(path, tests):
    listed = subprocess.run([tests, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for number, line in enumerate(path.read_text().split("\n"), 1):
        for quoted in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"[a-z_0-9]+/[a-z_0-9]+", quoted):
                if quoted not in listed:
                    wrong.append(f"{path.name}:{number}: there is no test {quoted}")
            elif re.fullmatch(r"[\w/]+\.(c|h|sh|md|py)", quoted) and not (root / quoted).exists():
                wrong.append(f"{path.name}:{number}: there is no {quoted}")


for name in ("TUTORIAL.md", "FROM_ASYNCIO.md"):
    check_blocks(root / "docs" / name)
check_names()
check_cases(root / "docs/CASES.md")
check_coverage(root / "docs/CASES.md", sys.argv[2])
check_coverage(root / "docs/COVERAGE_OF_TUTORIALS.md", sys.argv[2])
print("\n".join(wrong) or "the documents quote what is there")
sys.exit(1 if wrong else 0)
