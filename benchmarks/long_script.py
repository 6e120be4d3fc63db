"""Scripts as long as wanted, of what real ones are made of: arithmetic, texts, collections, loops, Grid steps.

`python -m benchmarks.long_script 10000 > long.wit` writes one.
"""

from __future__ import annotations

import itertools
import sys

_PART = """\
    ~ part {n}: totals of a few items, told as text ~
    Int:first{n} = {n} * 3 + 1;
    Double:share{n} = (first{n} + 2.5) / 4.0 - 0.125;
    String:name{n} = "part " + {n} + " of " + first{n};
    LongCollection:items{n} = [{n}, 2, 3, 5, 8, 13];
    LongCollection:squares{n} = Grid.ForEach(item in items{n}) => Long(item * item + first{n});
    Long:total{n} = 0;
    ForEach(square{n} in squares{n})
    {{
        If(square{n} % 2 == 0 && square{n} > first{n})
        {{
            total{n} = total{n} + square{n};
        }}
        Else
        {{
            total{n} = total{n} - 1;
        }}
    }}
    Tuple:pair{n} = Tuple(total{n}, share{n} * 2.0);
    Try
    {{
        Trace(name{n} + ": " + pair{n}.Item1 + " and " + Text.Join(", ", ["a", "b", name{n}]));
    }}
    Catch(String:reason{n})
    {{
        Trace("failed: " + reason{n}, false);
    }}
"""


def long_script(lines: int, job_lines: int | None = None) -> str:
    """A script of at least so many lines, in jobs of about `job_lines`, or in one."""
    written: list[str] = []
    part = itertools.count(1)
    for job in itertools.count(1):
        body: list[str] = []
        while len(body) < (job_lines or lines):
            body += _PART.format(n=next(part)).splitlines()
        written += [f"Job:Work{job}(Int:given = {job})", "{", "    Trace(given);", *body, "}", ""]
        if len(written) >= lines:
            return "\n".join(written)
    raise AssertionError


if __name__ == "__main__":
    sys.stdout.write(long_script(int(sys.argv[1])))
