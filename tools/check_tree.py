"""The laws of the tree that a script can check.  Usage: check_tree.py [--self-test] [ROOT]

Include direction, limits on files, functions and lines, file names, a README in every folder
of src, and that what the documents mention exists.  CONTRIBUTING.md states the laws in words.
The last line is "N passed, N failed, N skipped", one for each law.
"""
import os
import re
import subprocess
import sys
import tempfile

# A folder may include folders of a lower number; text may also include format, its equal.
LEVEL = {"base": 0, "kern": 0, "format": 1, "text": 1, "dev": 2, "model": 3, "data": 3,
         "run": 4, "train": 4, "serve": 5, "post": 5, "eval": 5, "cmd": 6}
SAME_LEVEL = {("text", "format")}
# The one header of an equal that a folder may include: what data fills and model computes.
EQUAL_HEADERS = {"data": "model/batch.h"}

FILE_LINES, HEADER_LINES, FUNCTION_LINES, COLUMNS = 800, 300, 80, 100
BANNED_NAMES = {"util", "utils", "common", "misc", "helper", "helpers", "manager", "impl"}
# Functions allowed to be longer, each with its reason: {"path:function": "reason"}.
LONG_FUNCTIONS = {}
# The same name in many folders on purpose.
REPEATED_NAMES = {"README.md", ".gitignore", "config.json", "tokenizer.json",
                  "tokenizer_config.json", "generation_config.json"}


def tracked_files(root):
    """Files git knows or would add; where git cannot say, all but what is built."""
    try:
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root,
                             capture_output=True, text=True, check=True).stdout
        names = out.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = [os.path.relpath(os.path.join(d, f), root)
                 for d, _, files in os.walk(root) for f in files]
        names = [n for n in names if not n.startswith(("build/", ".git/"))
                 and "/__pycache__/" not in n]
    return sorted(n for n in names if os.path.isfile(os.path.join(root, n)))


class Tree:
    def __init__(self, root):
        self.root = root
        self.files = tracked_files(root)
        self.c_files = [f for f in self.files if f.endswith((".c", ".h", ".cu"))]

    def text(self, name):
        with open(os.path.join(self.root, name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def lines(self, name):
        return self.text(name).split("\n")


def src_folder(name):
    parts = name.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "src" else None


def check_direction(tree):
    """cmd > serve, post, eval > run, train > model, data > dev > format, text > base, kern"""
    for name in tree.c_files:
        here = src_folder(name)
        if here is None:
            continue
        if here not in LEVEL:
            yield f"{name}: folder {here} has no level in tools/check_tree.py"
            continue
        for n, line in enumerate(tree.lines(name), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            there = found.group(1).split("/")[0] if found else None
            if there is None or there == here or there not in LEVEL:
                continue
            if EQUAL_HEADERS.get(here) == found.group(1):
                continue
            if here == "kern":
                yield f"{name}:{n}: kern includes only libc, intrinsics and itself"
            elif LEVEL[there] >= LEVEL[here] and (here, there) not in SAME_LEVEL:
                yield f"{name}:{n}: {here} may not include {there}"


def check_doors(tree):
    """A folder shows others only <dir>/<dir>.h; kern also shows one header for each op."""
    for name in tree.c_files:
        here = src_folder(name)
        if here is None:
            continue
        for n, line in enumerate(tree.lines(name), 1):
            found = re.match(r'\s*#\s*include\s+"(([^"/]+)/([^"]+))"', line)
            if not found or found.group(2) not in LEVEL or found.group(2) == here:
                continue
            there, header = found.group(2), found.group(3)
            if EQUAL_HEADERS.get(here) == found.group(1):
                continue
            allowed = {f"{there}.h"}
            if there == "kern":
                parts = header.split("/")
                if len(parts) == 2 and parts[1] == parts[0] + ".h":
                    continue
                allowed |= {"half_bits.h", "qtype.h", "cpu.h"}
            # A header may name just the part of base it stands on.
            if there == "base" and name.endswith(".h"):
                continue
            if there == "format" and here == "text" and name.endswith(".c"):
                allowed |= {"gguf.h", "json_file.h"}
            if header not in allowed:
                yield f"{name}:{n}: include {there}/{there}.h, not {found.group(1)}"


def functions(lines):
    """(name, first line, length) of every function: from its head to a closing brace in
    column one."""
    start = None
    for i, line in enumerate(lines):
        if re.match(r"[A-Za-z_].*\(", line) and not line.rstrip().endswith(";"):
            start = i
        elif line.startswith("}") and start is not None:
            if not line.startswith("};") and not line.startswith("} "):
                head = re.search(r"(\w+)\s*\(", lines[start])
                yield head.group(1) if head else "?", start + 1, i - start + 1
            start = None


def check_limits(tree):
    """Files under 800 lines, headers under 300, functions under 80, lines to 100 columns."""
    for name in tree.files:
        if not name.endswith((".c", ".h", ".cu", ".py", ".sh", ".js", ".css")) and name != "go":
            continue
        lines = tree.lines(name)
        limit = HEADER_LINES if name.endswith(".h") else FILE_LINES
        if len(lines) - 1 > limit:
            yield f"{name}: {len(lines) - 1} lines, the limit is {limit}"
        for n, line in enumerate(lines, 1):
            if len(line) > COLUMNS:
                yield f"{name}:{n}: {len(line)} columns, the limit is {COLUMNS}"
    for name in tree.c_files:
        for function, first, length in functions(tree.lines(name)):
            if length > FUNCTION_LINES and f"{name}:{function}" not in LONG_FUNCTIONS:
                yield (f"{name}:{first}: {function} has {length} lines, "
                       f"the limit is {FUNCTION_LINES}")


def check_blanks(tree):
    """No tabs, no trailing blanks, a newline at the end (C, scripts and documents)."""
    for name in tree.files:
        if not name.endswith((".c", ".h", ".cu", ".py", ".sh", ".md")):
            continue
        text = tree.text(name)
        if text and not text.endswith("\n"):
            yield f"{name}: no newline at the end"
        for n, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip():
                yield f"{name}:{n}: blanks at the end of the line"
            if "\t" in line and not name.endswith(".md"):
                yield f"{name}:{n}: a tab"


def check_names(tree):
    """File names of code are unique in the whole tree and say what the file is about."""
    seen = {}
    for name in tree.files:
        base = os.path.basename(name)
        stem = base.split(".")[0]
        if stem.lower() in BANNED_NAMES:
            yield f"{name}: \"{stem}\" says nothing; name the idea"
        if base.endswith((".c", ".h", ".cu", ".py", ".sh")):
            if base in seen and base not in REPEATED_NAMES:
                yield f"{name}: the name is also {seen[base]}"
            seen[base] = name


def check_readmes(tree):
    """Every folder right below src, and tests, tools and examples, has a README.md."""
    folders = {f"src/{src_folder(n)}" for n in tree.c_files if src_folder(n)}
    folders |= {n.split("/")[0] for n in tree.files
                if n.split("/")[0] in ("tests", "tools", "examples", "bench")}
    for folder in sorted(folders):
        if f"{folder}/README.md" not in tree.files:
            yield f"{folder}: no README.md"


PATH = re.compile(r"\b(?:src|tests|tools|docs|include|examples|bench|recipes)/"
                  r"[A-Za-z0-9_./{},-]*[A-Za-z0-9_}]")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def braces(path):
    """a/{b,c}.h -> a/b.h a/c.h"""
    found = re.search(r"\{([^{}]*)\}", path)
    if not found:
        return [path]
    return [p for part in found.group(1).split(",")
            for p in braces(path[:found.start()] + part + path[found.end():])]


def check_documents(tree):
    """Paths and links in *.md exist.  A pattern with <, * or N in it is not a path; the notes
    of tests/gold and the change log also speak of other trees."""
    known = set(tree.files)
    for name in tree.files:
        known.update(name[:i] for i, c in enumerate(name) if c == "/")
    for name in tree.files:
        if (not name.endswith(".md") or name == "CHANGELOG.md"
                or name.startswith("tests/gold/")):
            continue
        folder = os.path.dirname(name)
        for n, line in enumerate(tree.lines(name), 1):
            for found in PATH.finditer(line):
                rest = line[found.end():]
                before = line[:found.start()]
                if before.endswith(("/", "-", "build/", "~", "$")) or rest[:1] in ("<", "*", "/<"):
                    continue
                if re.search(r"\b(NAME|NNNN|OP)\b", found.group(0)) or rest[:2] in ("/*", "_*"):
                    continue
                for path in braces(found.group(0).rstrip(".")):
                    if path not in known:
                        yield f"{name}:{n}: {path} does not exist"
            for found in LINK.finditer(line):
                path = os.path.normpath(os.path.join(folder, found.group(1)))
                if path not in known:
                    yield f"{name}:{n}: the link {found.group(1)} leads nowhere"


CHECKS = [check_direction, check_doors, check_limits, check_blanks, check_names,
          check_readmes, check_documents]


def run(root):
    tree = Tree(root)
    failed = 0
    for check in CHECKS:
        complaints = list(check(tree))
        for complaint in complaints:
            print(complaint)
        failed += bool(complaints)
    print(f"{len(CHECKS) - failed} passed, {failed} failed, 0 skipped")
    return failed != 0


# One broken tree for each law: files that must make exactly that check complain.
BROKEN = [
    (check_direction, {"src/base/a.c": '#include "run/run.h"\n'}),
    (check_direction, {"src/kern/a.c": '#include "base/base.h"\n'}),
    (check_direction, {"src/format/a.c": '#include "text/text.h"\n'}),
    (check_direction, {"src/odd/a.c": "\n"}),
    (check_direction, {"src/data/a.c": '#include "model/model.h"\n'}),
    (check_doors, {"src/model/a.c": '#include "format/npy.h"\n'}),
    (check_limits, {"src/base/a.c": "\n" * 801}),
    (check_limits, {"src/base/a.h": "\n" * 301}),
    (check_limits, {"src/base/a.c": "int f(void)\n{\n" + "    ;\n" * 78 + "}\n"}),
    (check_limits, {"src/base/a.c": "/* " + "x" * 98 + " */\n"}),
    (check_blanks, {"src/base/a.c": "int a; \n"}),
    (check_blanks, {"src/base/a.c": "\tint a;\n"}),
    (check_blanks, {"src/base/a.c": "int a;"}),
    (check_names, {"src/base/util.c": "\n"}),
    (check_names, {"src/base/a.c": "\n", "src/text/a.c": "\n"}),
    (check_readmes, {"src/base/a.c": "\n"}),
    (check_documents, {"A.md": "see src/base/none.c\n"}),
    (check_documents, {"A.md": "see [b](docs/none.md)\n"}),
]
GOOD = {
    "build/src/cmd/a.c": "\t",
    "tools/README.md": "\n",
    "tools/__pycache__/util.py": "\t",
    "src/text/README.md": "The door is `src/text/text.h`, see [it](text.h).\n",
    "src/text/text.h": '#include "base/err.h"\n#include "format/format.h"\n',
    "src/data/README.md": "\n",
    "src/data/b.c": '#include "model/batch.h"\n',
    "src/cmd/README.md": "src/{text,cmd}/README.md\n",
    "src/cmd/a.c": '#include "text/text.h"\nint f(void)\n{\n' + "    ;\n" * 77 + "}\n",
}


def write_tree(root, files):
    for name, text in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def self_test():
    """Every law must be able to complain, and a good tree must pass them all."""
    failed = 0
    for check, files in BROKEN + [(None, GOOD)]:
        with tempfile.TemporaryDirectory() as root:
            write_tree(root, files)
            tree = Tree(root)
            if check:
                ok = bool(list(check(tree)))
            else:
                complaints = [c for each in CHECKS for c in each(tree)]
                ok = not complaints
            if not ok:
                print(f"self-test: {check.__name__ if check else 'good tree'}: {list(files)}")
                failed += 1
    print(f"{len(BROKEN) + 1 - failed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    words = [w for w in sys.argv[1:] if w != "--self-test"]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.exit(self_test() if "--self-test" in sys.argv else run(words[0] if words else here))
