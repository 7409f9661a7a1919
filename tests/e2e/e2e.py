"""What scripts of tests/e2e share: the program under test, the tree, and counting."""
import os
import pathlib
import subprocess
import tempfile
import time

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


def in_new_folder(prepare, *tests):
    """prepare(folder), then each test(folder), one that breaks off counted as failed; the exit
    status."""
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        prepare(root)
        for test in tests:
            try:
                test(root)
            except (RuntimeError, OSError, ValueError, KeyError,
                    subprocess.TimeoutExpired) as e:
                expect(False, f"{test.__name__}: {e}")
    print(f"{time.time() - start:.1f} s")
    return totals()
