"""kexa report and the event files, of made-up runs: the page is well formed, whole, needs nothing
from outside and runs no text as code; the events are the figures of the log."""
import html.parser
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tfevents  # noqa: E402

from e2e import expect, KEXA, TREE, totals

WRITE_RUN = TREE / "build/tests/unit/train/write_run"
REFERENCES = {"src", "href", "action", "data", "xlink:href", "srcset", "formaction", "poster"}
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(html.parser.HTMLParser):
    """Counts elements, checks that they nest, and keeps what they say."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.elements, self.ids = [], [], [], []
        self.text = {}
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is not closed" for name in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if dict(attrs).get("id"):
            self.ids.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data


def report(folder, *args):
    r = subprocess.run([KEXA, "report", folder, *args], capture_output=True, text=True,
                       timeout=100)
    if r.returncode:
        return r, None
    with open(r.stdout.strip(), encoding="utf-8") as f:
        return r, f.read()


def write_run(folder, *args):
    r = subprocess.run([WRITE_RUN, folder, *map(str, args)], capture_output=True, text=True,
                       timeout=100)
    expect(r.returncode == 0, f"write_run {args}: {r.stderr}")


def read_log(folder):
    with open(folder + "/log.jsonl", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def without_times(lines):
    return [{k: v for k, v in x.items() if k != "time"} for x in lines
            if x["event"] in ("step", "sample")]


def check_page(text, what):
    page = Page(text)
    expect(not page.wrong, f"{what}: {page.wrong[:3]}")
    expect(len(set(page.ids)) == len(page.ids), f"{what}: ids are unique")
    for section in ("summary", "curves", "experts", "flops", "samples", "recipe", "machine", "loss",
                    "bits", "mtp", "lr", "gradient", "speed", "roof", "load", "entropy",
                    "load-max", "idle", "balance"):
        expect(section in page.ids, f"{what}: a part {section}")
    outside = [(t, name, value) for t, a in page.elements for name, value in a.items()
               if name.startswith("on") or (name in REFERENCES and
                                            not value.startswith("data:image/bmp;base64,"))]
    expect(not outside, f"{what}: {outside[:3]}")
    scripts = [t for t, _ in page.elements if t == "script"]
    expect(len(scripts) == 1, f"{what}: {len(scripts)} scripts")
    expect(not re.search(r"url\(|@import|fetch\(|import\(", text), f"{what}: nothing is fetched")
    drawn = " ".join(v for t, a in page.elements if t in ("path", "line", "text", "svg", "rect")
                     for k, v in a.items() if k not in ("class", "style", "data-name"))
    expect(not re.search(r"nan|inf", drawn), f"{what}: only numbers are drawn")
    return page


def test_page(folder):
    write_run(folder, 200)
    r, text = report(folder)
    expect(text is not None, f"report: {r.stderr}")
    page = check_page(text, "200 steps")
    said = page.text["pre"]
    samples = [x for x in read_log(folder) if x["event"] == "sample"]
    expect(len(samples) == 3 and "alert(1)" in samples[0]["text"], "samples in the log")
    expect(samples[0]["text"].replace("\x01", "\ufffd") in said, "a hostile sample is text")
    expect('lr = 3e-3   # <&> "quoted"' in said, "the recipe")
    expect("nano <b>.toml" in page.text["p"], "the recipe's name")
    expect(page.text["h1"] == os.path.basename(folder), "the title")
    for name in (folder + "//", folder + "/tb/.."):
        _, text = report(name, "--out", folder + "/elsewhere.html")
        expect(Page(text).text["h1"] == os.path.basename(folder), f"the title of {name}")
    r, text = report(folder, "--out", folder + "/elsewhere.html")
    expect(text is not None and r.stdout == folder + "/elsewhere.html\n", "--out")


def test_events(folder):
    write_run(folder + "/whole", 60)
    write_run(folder + "/parts", 60)
    time.sleep(1.05)                      # files are named by the second
    write_run(folder + "/parts", 60, 25)
    whole, parts = read_log(folder + "/whole"), read_log(folder + "/parts")
    expect(without_times(whole) == without_times(parts), "the log of a run that went on")
    expect([x["event"] for x in parts].count("resume") == 1, "one resume")
    steps = [x for x in whole if x["event"] == "step"]
    for name in ("whole", "parts"):
        scalars, texts = tfevents.read_run(folder + f"/{name}/tb")
        for tag, member in (("train/loss", "loss"), ("optimizer/lr", "lr"),
                            ("heldout/bits_per_byte", "heldout_bits_per_byte")):
            want = {x["step"]: struct.unpack("f", struct.pack("f", x[member]))[0]
                    for x in steps if x[member] is not None}
            expect(scalars[tag] == want, f"{name}: {tag}")
        expect(len(scalars["router/entropy/03"]) == 60, f"{name}: entropy of the last layer")
        expect(texts["sample"] == {x["step"]: x["prompt"] + x["text"] for x in whole
                                   if x["event"] == "sample"}, f"{name}: samples")


def test_roofs(folder):
    """Begun on one machine, gone on with on another: each step is held against its own roof."""
    lines, roof, work = read_log(folder), None, 0
    for x in lines:
        if x["event"] == "resume":
            x["roof_flops"] *= 4
        roof = x.get("roof_flops", roof)
        if x["event"] == "step":
            work += roof * x["time"]["seconds"]
    steps = [x for x in lines if x["event"] == "step"]
    with open(folder + "/log.jsonl", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(x, separators=(",", ":")) + "\n" for x in lines)
    _, text = report(folder)
    share = 100 * sum(x["flops"] for x in steps) / work
    best = max(x["flops"] / x["time"]["seconds"] for x in steps[:25]) / lines[0]["roof_flops"]
    said = re.findall(r"<small>([\d.]+)% of this machine's", text)
    expect(said == [f"{share:.1f}"], f"two roofs: {said}, {share:.1f} expected")
    drawn = text.split('id="roof"')[1].split("</svg>")[0]
    top = max(float(x) for x in re.findall(r'text-anchor="end"[^>]*>([\d.]+)<', drawn))
    expect(top > 50 * best, f"the share of the first steps is drawn: up to {top}, {100 * best}")


def test_long(folder):
    write_run(folder, 5000)
    r, text = report(folder)
    expect(text is not None, f"5000 steps: {r.stderr}")
    page = check_page(text, "5000 steps")
    longest = max(len(re.findall("[ML]", a["d"])) for t, a in page.elements
                  if t == "path" and a["class"] != "band")
    expect(1000 <= longest <= 2000, f"the longest curve has {longest} points")
    expect(len(text) < 4 << 20, f"{len(text)} bytes")


def test_refused(folder):
    r, _ = report(folder)
    expect(r.returncode == 3 and "log.jsonl" in r.stderr, f"no folder: {r.stderr}")
    os.makedirs(folder)
    open(folder + "/log.jsonl", "w", encoding="utf-8").close()
    r, _ = report(folder)
    expect(r.returncode == 4 and "no step" in r.stderr, f"an empty log: {r.stderr}")
    write_run(folder, 10)
    with open(folder + "/log.jsonl", "ab") as f:
        f.write(b'{"event":"step","step":11,"loss":\xff')
    r, text = report(folder)
    expect(text is not None and "1 line of the log could not be used" in text, "a torn log")
    check_page(text, "a torn log")


with tempfile.TemporaryDirectory() as root:
    test_page(root + "/a <run>&'\"")
    test_events(root)
    test_roofs(root + "/parts")
    test_long(root + "/long")
    test_refused(root + "/refused")
raise SystemExit(totals())
