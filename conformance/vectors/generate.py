#!/usr/bin/env python3
"""Golden vectors of the sidelog wire protocol, version 1: the generator.

Writes frames.json, batches.json, negatives.json and errors.json beside itself. It shares no code
with any server or client and needs the standard library only; check.py is the second, independent
decoder. Every run writes the same bytes: nothing here depends on time, chance or a zlib version.

Usage: generate.py          write the files
       generate.py --check  exit 1 if a file differs from what would be written
"""
import json
import pathlib
import sys

sys.dont_write_bytecode = True

from generator.rows import GOLDEN, USED_GOLDEN
from generator.frames import rows_frames
from generator.batches import rows_batches
from generator.negatives import rows_negatives
from generator.errors import rows_errors

HERE = pathlib.Path(__file__).resolve().parent


def render(name, about, rows, seen):
    """One file's text; `seen` collects the ids of all files."""
    rows = list(rows)
    for r in rows:
        assert r["id"] not in seen, f"{name}: {r['id']} twice"
        seen.add(r["id"])
    lines = ",\n".join("  " + json.dumps(r, ensure_ascii=False) for r in rows)
    return (f'{{"schema": "sidelog-vectors/1", "protocol": "1.0", "file": "{name}", "about": "{about}", "rows": [\n'
            f"{lines}\n]}}\n")


FILES = {
    "frames": ("valid prefaces and frames of plane C, decoded", rows_frames),
    "batches": ("record batches: valid ones decoded, bad ones with the code they earn", rows_batches),
    "negatives": ("prefaces and frames that are refused, ignored or end the connection", rows_negatives),
    "errors": ("error answers and GOAWAYs: every code, every TLV", rows_errors),
}


def main():
    stale, seen = 0, set()
    for name, (about, rows) in FILES.items():
        path, out = HERE / f"{name}.json", render(name, about, rows(), seen)
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text("utf-8") != out:
                print(f"{path.name}: differs from what generate.py writes", file=sys.stderr)
                stale = 1
        else:
            path.write_text(out, "utf-8")
            print(f"{path.name}: {out.count(chr(10)) - 2} rows")
    missing = set(GOLDEN) - USED_GOLDEN
    assert not missing, f"golden bytes not reproduced: {sorted(missing)}"
    return stale


if __name__ == "__main__":
    sys.exit(main())
