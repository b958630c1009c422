# SPDX-License-Identifier: BSD-2-Clause
"""What the scripts that draw plots share: measure, keep the numbers as JSON, draw from what is kept.
Drawing needs python3-matplotlib (Debian's package); nothing else of the project does."""
import argparse
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def parser(doc):
    """With the options --out and --redraw."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", default=os.path.join(ROOT, "docs", "plots"))
    options.add_argument("--redraw", action="store_true")
    return options


def keep_and_draw(options, name, measure, draw):
    """Numbers of measure() go to OUT/NAME.json, unless --redraw; draw(pyplot, numbers, save) draws them,
    with save(figure, which) for OUT/NAME-WHICH.svg."""
    kept = os.path.join(options.out, f"{name}.json")
    try:
        import matplotlib
    except ImportError:
        sys.exit(f"{os.path.basename(sys.argv[0])}: needs matplotlib: apt-get install python3-matplotlib")
    matplotlib.use("svg")
    # The same numbers give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "cellvisor", "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot

    def save(figure, which):
        figure.tight_layout()
        figure.savefig(os.path.join(options.out, f"{name}-{which}.svg"), metadata={"Date": None})
        pyplot.close(figure)

    os.makedirs(options.out, exist_ok=True)
    if not options.redraw:
        numbers = measure()
        with open(kept, "w", encoding="ascii") as file:
            json.dump(numbers, file, indent=1)
            file.write("\n")
    with open(kept, encoding="ascii") as file:
        draw(pyplot, json.load(file), save)
