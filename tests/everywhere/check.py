#!/usr/bin/env python3
"""Every public call that is marked as one that may suspend, (S), stands in the list of one of the files
tests/test_*everywhere*.c, and nothing else does: a call that is added to the library without a scenario fails here.

    check.py test.c... header.h...
"""
import re
import sys

# A comment, or a public declaration up to its parenthesis. Macros between the two belong to the declaration.
TOKEN = re.compile(r'/\*(?P<comment>.*?)\*/'
                   r'|^ROTA_API[^;/]*?\b(?P<name>rota_\w+)\((?P<rest>[^;]*);(?P<trailing>[ \t]*/\*.*?\*/)?'
                   r'|^(?P<other>(?:typedef|struct|enum|static inline)\b)', re.S | re.M)


def suspending(text):
    """Names of the calls that are marked, in their comment or behind them; "The same" repeats the mark before."""
    found, comment, marked = set(), '', False
    for token in TOKEN.finditer(text):
        if token['comment'] is not None:
            comment = token['comment'].strip()
        elif token['other']:
            comment = ''
        else:
            repeats = marked and re.match(r'The same[;.]', comment)
            marked = bool(repeats or re.search(r'\(S[):]', comment + (token['trailing'] or '')))
            if marked:
                found.add(re.sub(r'_at$', '', token['name']))
            comment = ''
    return found


def listed(text):
    block = re.search(r'suspending\[\] = \{(.*?)\};', text, re.S)
    return re.findall(r'"(\w+)"', block[1])


def main(*paths):
    calls, names = set(), []
    for path in paths:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        if path.endswith('.h'):
            calls |= suspending(text)
        else:
            names += listed(text)
    wrong = [f'{name}: (S) in a header, in no scenario' for name in sorted(calls - set(names))]
    wrong += [f'{name}: listed, but not (S) in any header' for name in sorted(set(names) - calls)]
    wrong += [f'{name}: listed twice' for name in sorted({name for name in names if names.count(name) > 1})]
    for line in wrong:
        print(line)
    print(f'{len(calls)} calls may suspend')
    return 1 if wrong or not calls else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
