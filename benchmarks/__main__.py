"""``python -m benchmarks``: every benchmark, one table. ``--markdown`` writes it to docs/performance.md."""

import importlib
import os
import platform
import sys
import time

from benchmarks.figures import Figure, Options, machine, options, parser, skipped, table

NAMES = (
    "http_read",
    "http_write",
    "operations",
    "embedded_read",
    "audit_cost",
    "floor",
    "startup",
    "memory",
    "scale",
    "cedar",
    "leases",
    "kubevault",
)
PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "performance.md")
_BEGIN, _END = "<!-- figures: python -m benchmarks --markdown -->", "<!-- end of figures -->"


def one(name: str, chosen: Options) -> list[Figure]:
    """The figures of one benchmark; one that fails does not stop the others."""
    try:
        figures: list[Figure] = importlib.import_module(f"benchmarks.{name}").run(chosen)
    except Exception as error:
        return [skipped(name, f"failed: {type(error).__name__}: {error}")]
    return figures


def write_page(text: str) -> None:
    """Put the table between the two marks of the page."""
    with open(PAGE) as file:
        page = file.read()
    head, found, rest = page.partition(_BEGIN)
    _, ended, tail = rest.partition(_END)
    if not (found and ended):
        raise SystemExit(f"{PAGE} has lost its marks")
    with open(PAGE, "w") as file:
        file.write(f"{head}{_BEGIN}\n{text}\n{_END}{tail}")


def main() -> int:
    """Entry point."""
    made = parser(__doc__ or "")
    made.add_argument("--markdown", action="store_true", help="write the table to docs/performance.md too")
    made.add_argument("--only", default="", help=f"some of {', '.join(NAMES)}, separated by commas")
    args = made.parse_args()
    names = args.only.split(",") if args.only else list(NAMES)
    if wrong := [name for name in names if name not in NAMES]:
        made.error(f"no such benchmark: {', '.join(wrong)}")
    chosen, on = options(args), machine()
    figures: list[Figure] = []
    for name in names:
        begun = time.perf_counter()
        figures += one(name, chosen)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    text = f"Taken on {time.strftime('%Y-%m-%d', time.gmtime())}, {platform.machine()}, {on}; "
    text += f"{chosen.rounds} turns of each side, medians.\n\n{table(figures)}"
    print(text)
    if args.markdown:
        write_page(text)
    failed = [figure.what for figure in figures if figure.note.startswith("failed: ")]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
