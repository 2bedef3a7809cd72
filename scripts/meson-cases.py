#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Lists the single cases of a `meson test` run.

usage: meson-cases.py LABEL BUILD_FOLDER

Prints `ok NAME`, `not ok NAME: reason`, `skip NAME: reason`. A test program that reports its cases
(these lines, TAP, or cmocka's own format) counts case by case, any other as one. A program that fails
without a failed case of its own counts as failed too.
"""
import json
import re
import sys

CASE = re.compile(r'^(?:\[ *(OK|FAILED|SKIPPED|ERROR) *\] (\S+)$|(ok|not ok|skip) (?:\d+ - )?(.*))')
VERDICT = {'OK': 'ok', 'FAILED': 'not ok', 'ERROR': 'not ok', 'SKIPPED': 'skip'}
SKIP = re.compile(r'^(.*?) *# *skip(?:ped)?:? *(.*)$', re.I)


def cases(text):
    for line in text.splitlines():
        m = CASE.match(line)
        if not m:
            continue
        verdict = m[3] or VERDICT[m[1]]
        name = m[4] or m[2]
        skipped = SKIP.match(name)
        if skipped:
            verdict, name = 'skip', f'{skipped[1]}: {skipped[2] or "no reason given"}'
        yield verdict, name


def last_line(test):
    lines = (test.get('stderr', '').strip() or test.get('stdout', '').strip()).splitlines()
    return lines[-1] if lines else 'no output'


def program(test):
    """Cases of one test program, with the program's own verdict where they do not explain it."""
    found = list(dict.fromkeys(cases(test.get('stdout', '') + '\n' + test.get('stderr', ''))))
    verdicts = {verdict for verdict, _ in found}
    result = test['result']
    if result in ('OK', 'EXPECTEDFAIL'):
        return found or [('ok', '')]
    if result == 'SKIP':
        return found if 'skip' in verdicts else [('skip', ': ' + last_line(test))]
    if 'not ok' not in verdicts:
        found.append(('not ok', f': {result}, {last_line(test)}'))
    return found


label, folder = sys.argv[1:]
with open(folder + '/meson-logs/testlog.json', encoding='utf-8') as log:
    for entry in log:
        test = json.loads(entry)
        short = re.sub(r'^.* / ', '', test['name'])
        for verdict, name in program(test):
            slash = '/' if name and not name.startswith(':') else ''
            print(f'{verdict} {label}/{short}{slash}{name}')
