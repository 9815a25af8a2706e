"""`python -m benchmarks [NAME …]`: run all benchmarks or those named, print their figures and write the page."""

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks import results
from benchmarks.measure import SAID

PLUMBING = {"__main__", "measure", "results", "scale", "traffic"}


def main() -> None:
    """Run them one after the other."""
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in PLUMBING]
    unknown = [name for name in sys.argv[1:] if name not in known]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    for name in sys.argv[1:] or known:
        print(f"== {name}", flush=True)
        SAID.clear()
        module = importlib.import_module(f"benchmarks.{name}")
        results.keep(name, module.__doc__ or "", module.run(), SAID)
    results.write_page()


main()
