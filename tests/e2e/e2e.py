"""What scripts of tests/e2e share: the program under test, the tree, and counting."""
import os
import pathlib

TREE = pathlib.Path(__file__).resolve().parents[2]
KEXA = os.environ.get("KEXA") or str(TREE / "build/kexa")
counts = {"passed": 0, "failed": 0, "skipped": 0}


def expect(holds, what):
    counts["passed" if holds else "failed"] += 1
    print(("ok " if holds else "FAIL ") + str(what))


def totals():
    """The last line, and the exit status."""
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return counts["failed"] > 0
