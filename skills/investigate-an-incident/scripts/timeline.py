#!/usr/bin/env python3
"""Counts the errors of log files over time and groups messages that differ only in ids and numbers.

    timeline.py LOG... [--minutes N] [--top N]

Reads plain text and JSON lines; a line without a time belongs to the one before. Times are told in UTC."""
import argparse
import json
import re
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone

TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,]\d+)?\s*(Z|[+-]\d\d:?\d\d)?")
BAD = re.compile(r"\b(error|fatal|panic|critical|exception|traceback|fail(?:ed|ure)?|timed? ?out|refused|oom|killed)\b", re.I)
VARIES = [
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b(?:0x)?[0-9a-f]{8,}\b", re.I), "<hex>"),
    (re.compile(r"\"[^\"]{0,200}\"|'[^']{0,200}'"), "<text>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
]
LEVELS = {50: "error", 60: "fatal"}


def time_of(text):
    found = TIME.search(text[:200])
    if not found:
        return None
    zone = found.group(7)
    when = datetime(*(int(part) for part in found.groups()[:6]), tzinfo=timezone.utc)
    if zone and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        shift = timedelta(hours=hours, minutes=minutes)
        when = when - shift if zone[0] == "+" else when + shift
    return when


def read_line(line):
    """The time, the message and whether it is bad news."""
    if line.lstrip().startswith("{"):
        try:
            data = json.loads(line)
        except ValueError:
            data = None
        if isinstance(data, dict):
            message = str(data.get("msg") or data.get("message") or data.get("event") or line.strip())
            level = data.get("level") or data.get("severity") or ""
            word = LEVELS.get(level, str(level)).lower()
            stamp = data.get("time") or data.get("timestamp") or data.get("ts") or data.get("@timestamp")
            if isinstance(stamp, (int, float)):
                try:
                    when = datetime.fromtimestamp(stamp / 1000 if stamp > 1e11 else stamp, timezone.utc)
                except (OverflowError, OSError, ValueError):
                    when = None
            else:
                when = time_of(str(stamp or line))
            return when, message, word in ("error", "fatal", "critical", "panic") or bool(BAD.search(message))
    when = time_of(line)
    message = TIME.sub("", line, count=1).strip(" \t\n-|[]") if when else line.strip()
    return when, message, bool(BAD.search(line))


def shape_of(message):
    shape = message[:500]
    for pattern, word in VARIES:
        shape = pattern.sub(word, shape)
    return shape[:160]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("logs", nargs="+")
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--top", type=int, default=15)
    options = parser.parse_args()
    span = max(1, options.minutes) * 60
    spans, errors, shapes, first = Counter(), Counter(), Counter(), {}
    lines = undated = 0
    for name in options.logs:
        when = None
        with open(name, encoding="utf-8", errors="replace") as log:
            for number, line in enumerate(log, 1):
                if not line.strip():
                    continue
                lines += 1
                own, message, is_bad = read_line(line)
                when = own or when
                if when is None:
                    undated += 1
                    continue
                slot = int(when.timestamp()) // span * span
                spans[slot] += 1
                if is_bad:
                    errors[slot] += 1
                    shape = shape_of(message)
                    shapes[shape] += 1
                    if shape not in first or when < first[shape][0]:
                        first[shape] = (when, f"{name}:{number}", message[:200])
    show = lambda when: when.strftime("%Y-%m-%d %H:%M:%SZ")
    print(f"{lines} lines, {sum(errors.values())} of them bad news, {undated} without a time")
    if not spans:
        return 0
    most = max(errors.values(), default=0)
    print(f"\nPer {options.minutes} min (UTC): bad / all")
    for slot in sorted(spans):
        if errors[slot] or len(spans) <= 60:
            bar = "#" * (errors[slot] * 30 // most if most else 0)
            print(f"{show(datetime.fromtimestamp(slot, timezone.utc))}  {errors[slot]:6d} / {spans[slot]:<7d} {bar}")
    print("\nMessages in the order they appeared first")
    for shape, (when, place, message) in sorted(first.items(), key=lambda item: item[1][0])[: options.top]:
        print(f"{show(when)}  x{shapes[shape]:<6d} {place}  {message}")
    print("\nMost frequent")
    for shape, count in shapes.most_common(options.top):
        print(f"{count:7d}  since {show(first[shape][0])}  {shape}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
