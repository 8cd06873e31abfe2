"""What was measured as the documentation shows it; `python -m benchmarks.publish FILE` does it from a results file."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from .peers.tables import full_tables, short_table
from .report import figures_table
from .row import Row

PAGE, README, PICTURES = Path("docs/benchmarks.md"), Path("README.md"), Path("docs/images")


def publish(content: dict[str, Any], root: Path) -> None:
    """Put tables between the marks of docs/benchmarks.md and README.md, and the pictures beside.

    Figures without a comparison leave the comparison as it is, and the other way round.

    Args:
        content: of a results file.
        root: of the repository.
    """
    rows = [_row(record) for record in content["rows"]]
    figures = [row for row in rows if not row.name.startswith("peers")]
    if figures:
        replace_between(root / PAGE, "figures", figures_table(figures, content["machine"]))
    for row in rows:
        if row.name == "peers":
            where = _where(content, row.details)
            replace_between(root / PAGE, "peers", f"{full_tables(row.details)}\n\n{where}")
            replace_between(root / README, "peers", f"{short_table(row.details)}\n\n{_briefly(content)}")
            from .peers.picture import draw

            draw(row.details["cells"], root / PICTURES)


def replace_between(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: the file has not just one such pair.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = path.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise ValueError(f"{path.name} needs the marks {begin} and {end}, each once")
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _row(record: dict[str, Any]) -> Row:
    names = {field.name for field in fields(Row)}
    return Row(**{name: value for name, value in record.items() if name in names})


def _briefly(content: dict[str, Any]) -> str:
    cpu = content["machine"]["cpu"]
    return f"{cpu}, one thread, median of calls in turns; ratios to this library in the same precision."


def _where(content: dict[str, Any], details: dict[str, Any]) -> str:
    machine = content["machine"]
    versions = {**machine["versions"], **{k: v for peer in details["peers"] for k, v in peer["versions"].items()}}
    absent = [f"{peer['name']}: {peer['missing']}" for peer in details["peers"] if peer["missing"]]
    return "\n\n".join(
        [
            f"Measured {content['measured'][:10]} by `{content['command']}` on {machine['cpu']}, one thread, Python "
            f"{machine['python']}; load average at the end {content['load_average_at_the_end']}.",
            "Versions: " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + ".",
            *(["Not installed: " + "; ".join(absent) + "."] if absent else []),
        ]
    )


if __name__ == "__main__":
    publish(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path.cwd())
