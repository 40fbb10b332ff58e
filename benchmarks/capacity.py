"""Works out what 10 million and 1 billion GIFs cost, from a result of benchmarks/cluster.py.

    python benchmarks/capacity.py benchmarks/results/DATE-COMMIT-cluster.json [--price 0.04] [--write PAGE.md]

Prints a table in Markdown; ``--write`` puts it between the marks ``<!-- capacity -->`` and
``<!-- /capacity -->`` of a page. What is measured comes from the result; what is assumed are the options
below, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodreel.runtime.cluster import BLOCK_INPUTS, BLOCKS_AN_ACTOR

BEGIN, END = "<!-- capacity -->\n", "<!-- /capacity -->"
DRIVER_BYTES = 900
"""Of the driver's memory for each input of a round: path, key and stamp (640 by tracemalloc, with URLs of 60
characters), and its share of the pickled block (250)."""


@dataclass(frozen=True)
class Measured:
    """From the result: seconds of a core a clip, bytes, and rates of one process."""

    core_s: float
    clip_bytes: float
    row_bytes: float
    part_write_s: float
    listing_per_s: float
    footers_per_s: float
    actor_mib: float


@dataclass(frozen=True)
class Assumed:
    """Not measured: prices in dollars, rates of an object store, and the share of time that cores read."""

    price: float
    busy: float
    get_price: float
    put_price: float
    list_price: float
    store_listing_per_s: float
    store_read_s: float


def read_result(path: Path) -> Measured:
    facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    store, turns = facts["store"], facts["turns"]["2"]
    return Measured(
        core_s=statistics.median(turn["cpu_s_per_clip"] for turn in turns),
        clip_bytes=facts["inputs"]["mean_bytes"],
        row_bytes=store["row_bytes"],
        part_write_s=store["part_write_s"],
        listing_per_s=store["listing_per_s"],
        footers_per_s=store["footers_per_s"],
        actor_mib=statistics.median(turn["actor_mib"] for turn in turns),
    )


def work_out(clips: int, cores: int, m: Measured, a: Assumed) -> list[str]:
    """Cells of one column."""
    core_hours = clips * m.core_s / a.busy / 3600
    hours = core_hours / cores
    listing = clips / a.store_listing_per_s / 3600
    parts = -(-clips // BLOCK_INPUTS)
    requests = clips / 1000 * a.get_price + parts / 1000 * a.put_price + clips / 1000 / 1000 * a.list_price
    round_inputs = min(clips, cores * BLOCKS_AN_ACTOR * BLOCK_INPUTS)
    return [
        f"{core_hours:,.0f}",
        format_hours(hours),
        f"{core_hours * a.price:,.0f}",
        f"{requests:,.0f}",
        f"{clips * m.clip_bytes / 1e12:,.1f} TB",
        f"{clips * m.clip_bytes / hours / 3600 * 8 / 1e9:.1f} Gbit/s",
        f"{cores * a.busy / m.core_s:,.0f}",
        format_hours(listing),
        f"{parts:,}",
        f"{clips * m.row_bytes / 1e9:,.1f} GB",
        f"{round_inputs * DRIVER_BYTES / 1e9:.1f} GB",
        format_hours(parts / m.footers_per_s / 3600),
        format_hours(parts * a.store_read_s / 3600),
        f"{cores * m.actor_mib / 1024:,.0f} GiB",
    ]


ROWS = (
    "core-hours",
    "time to read all",
    "compute, dollars",
    "requests (GET, PUT, LIST), dollars",
    "bytes read",
    "bandwidth that this takes",
    "GETs a second",
    "listing, one driver",
    "parts",
    "table, all parts",
    "driver's memory for one round",
    "footers at a resume, local disk",
    "footers at a resume, object store",
    "memory of all actors",
)


def format_hours(hours: float) -> str:
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} s"
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def format_table(result: Path, m: Measured, a: Assumed, plans: list[tuple[int, int]]) -> str:
    columns = [work_out(clips, cores, m, a) for clips, cores in plans]
    heads = [f"{clips:,} on {cores:,} cores" for clips, cores in plans]
    lines = [
        f"Measured (`benchmarks/results/{result.name}`): {m.core_s * 1e3:.1f} ms of a core a clip, "
        f"{m.clip_bytes / 1e3:.0f} kB a clip, {m.row_bytes:.0f} bytes a row, {m.part_write_s * 1e3:.0f} ms "
        f"to write a part, {m.footers_per_s:,.0f} footers a second on a local disk, {m.actor_mib:.0f} MiB an "
        f"actor. "
        f"Assumed: {a.price:g} dollars a core-hour, cores busy {a.busy:.0%} of the time, requests at "
        f"{a.get_price:g}, {a.put_price:g} and {a.list_price:g} dollars a thousand GETs, PUTs and LISTs, "
        f"{a.store_listing_per_s:,.0f} keys a second listed, {a.store_read_s * 1e3:.0f} ms to read a footer "
        "from an object store; no charge for bytes inside a region.",
        "",
        "| | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
        *(f"| {row} | " + " | ".join(cells) + " |" for row, *cells in zip(ROWS, *columns, strict=True)),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    parser.add_argument("--price", type=float, default=0.04, help="dollars a core-hour")
    parser.add_argument("--busy", type=float, default=0.85, help="share of the time in which cores read")
    parser.add_argument("--get-price", type=float, default=0.0004, help="dollars a thousand GETs")
    parser.add_argument("--put-price", type=float, default=0.005, help="dollars a thousand PUTs")
    parser.add_argument("--list-price", type=float, default=0.005, help="dollars a thousand LISTs")
    parser.add_argument("--store-listing", type=float, default=5000, help="keys a second, one driver")
    parser.add_argument(
        "--store-read", type=float, default=0.06, help="seconds to read a footer from a store"
    )
    parser.add_argument("--cores", type=int, nargs=2, default=(64, 2048), help="for 10 million, 1 billion")
    parser.add_argument("--write", type=Path, metavar="PAGE.md")
    options = parser.parse_args()
    assumed = Assumed(
        options.price, options.busy, options.get_price, options.put_price, options.list_price,
        options.store_listing, options.store_read,
    )  # fmt: skip
    plans = [(10_000_000, options.cores[0]), (1_000_000_000, options.cores[1])]
    table = format_table(options.result, read_result(options.result), assumed, plans)
    print(table, end="")
    if options.write is not None:
        text = options.write.read_text("utf-8")
        before, rest = text.split(BEGIN)
        options.write.write_text(before + BEGIN + table + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
