"""`python -m benchmarks [NAME …]`: run all benchmarks or those named, and print their figures."""

import importlib
import json
import pkgutil
import platform
import sys
from pathlib import Path

import benchmarks

PLUMBING = {"__main__", "traffic", "measure", "scale"}


def main() -> None:
    """Run them one after the other; `--json FILE` keeps the figures."""
    arguments = sys.argv[1:]
    out = None
    if "--json" in arguments:
        place = arguments.index("--json")
        out = Path(arguments[place + 1])
        del arguments[place : place + 2]
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in PLUMBING]
    unknown = [name for name in arguments if name not in known]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    results = {"machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"}
    for name in arguments or known:
        print(f"== {name}", flush=True)
        results[name] = importlib.import_module(f"benchmarks.{name}").run()
    if out:
        out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


main()
