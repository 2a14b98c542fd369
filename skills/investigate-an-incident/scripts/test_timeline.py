#!/usr/bin/env python3
"""Checks timeline.py on a small log of each kind."""
import os
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
text = """2026-05-01 10:00:00 INFO started
2026-05-01T12:01:00+02:00 ERROR connection to 10.0.0.7:5432 refused for job 17
  at stack line without a time
2026-05-01 10:02:00Z ERROR connection to 10.0.0.8:5432 refused for job 18
2026-05-01 10:20:00Z INFO fine again
"""
lines = '{"level":50,"time":1777629660000,"msg":"disk full"}\n{"level":30,"time":1777629661000,"msg":"ok"}\n{broken\n'
with tempfile.TemporaryDirectory() as folder:
    plain, pino = os.path.join(folder, "plain.log"), os.path.join(folder, "json.log")
    for name, content in ((plain, text), (pino, lines)):
        with open(name, "w", encoding="utf-8") as log:
            log.write(content)
    out = subprocess.run(
        [sys.executable, os.path.join(here, "timeline.py"), plain, pino], check=True, capture_output=True, text=True
    ).stdout
assert "8 lines, 3 of them bad news" in out, out
assert "3 / 7" in out and "connection to <address> refused for job <n>" in out, out
assert "2026-05-01 10:01:00Z  x2" in out, out
assert "disk full" in out, out
print("timeline.py works")
