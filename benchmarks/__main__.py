"""`python -m benchmarks [NAME …]`: run all benchmarks or those named, print their figures and write the page.

`BENCH_STORES` names a folder that keeps the filled stores for the next run of the same day; else they go at the end.
They need up to 30 GB.
"""

import importlib
import os
import pkgutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import benchmarks
from benchmarks import results
from benchmarks.measure import SAID

PLUMBING = {"__main__", "measure", "results", "scale", "traffic"}
_BUILD = Path(__file__).parents[1] / "build"


def main() -> None:
    """Run them one after the other."""
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in PLUMBING]
    unknown = [name for name in sys.argv[1:] if name not in known]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    _BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_BUILD) as folder:
        # PostgreSQL's server runs as a user of its own.
        Path(folder).chmod(0o755)
        Path(os.environ.setdefault("BENCH_STORES", folder)).mkdir(parents=True, exist_ok=True)
        failed = [name for name in sys.argv[1:] or known if not measured(name)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def measured(name: str) -> bool:
    """Run one and keep its figures; whether it ran through. If not, those before it stay."""
    began = time.monotonic()
    print(f"== {name}", flush=True)
    SAID.clear()
    module = importlib.import_module(f"benchmarks.{name}")
    try:
        figures = module.run()
    except (Exception, SystemExit):
        # Hours of the others must not be lost for it.
        traceback.print_exc()
        return False
    results.keep(name, module.__doc__ or "", figures, SAID)
    results.write_page()
    print(f"   … {time.monotonic() - began:.0f} s", flush=True)
    return True


main()
