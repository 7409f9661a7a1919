"""`kexa pull` against a server on loopback that plays a Hugging Face hub, faults included.

Standard library only.  Each case has its own model name, and the name chooses the fault.
"""
import hashlib
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
KEXA = os.environ.get("KEXA") or str(TREE / "build/kexa")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BIG = random.Random(5).randbytes(3_000_000)
FILES = {"config.json": b'{"model_type": "llama"}\n', "model.safetensors": BIG,
         "onnx/model.onnx": b"not wanted", "tokenizer.json": b"{}", "q/model Q4.gguf": b"GGUF"}
counts = {"passed": 0, "failed": 0}
seen = []                                 # (model, file, Range, Authorization, port)
drops = {}


def expect(holds, what, detail=""):
    counts["passed" if holds else "failed"] += 1
    if not holds:
        print(f"FAIL {what} {detail}")


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def listing(model):
    if model == "o/nojson":
        return b"<html>sorry</html>"
    files = dict(FILES)
    siblings = []
    for name, data in files.items():
        s = {"rfilename": name, "size": len(data), "blobId": git_sha1(data)}
        if len(data) > 1000:
            s["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        siblings.append(s)
    if model == "o/escape":
        siblings.append({"rfilename": "../../evil.json", "size": 1})
    if model == "o/huge":
        siblings[1]["size"] = 1 << 60
    if model == "o/liar":
        siblings[1]["size"] = 1000
    return json.dumps({"sha": COMMIT, "siblings": siblings}).encode()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def do_GET(self):
        path = self.path.split("?")[0]
        port = self.server.server_address[1]
        if path.startswith("/api/models/"):
            model = path[len("/api/models/"):].split("/revision/")[0]
            seen.append((model, "api", None, self.headers["Authorization"], port))
            if model == "o/none":
                return self.answer(404)
            if model == "o/gated" and self.headers["Authorization"] != "Bearer secret":
                return self.answer(401)
            if model == "o/busy" and drops.setdefault(model, 0) < 2:
                drops[model] += 1
                return self.answer(503)
            return self.answer(200, listing(model))
        model, name = path[1:].split("/resolve/" + COMMIT + "/")
        return self.send_file(model, name.replace("%20", " "), port)

    def send_file(self, model, name, port):
        wanted = self.headers["Range"]
        seen.append((model, name, wanted, self.headers["Authorization"], port))
        data = FILES[name]
        if model == "o/elsewhere" and port == ports[0]:
            return self.answer(302, Location=f"http://localhost:{ports[1]}{self.path}")
        if model == "o/corrupt" and name == "model.safetensors":
            data = data[:-1] + bytes([data[-1] ^ 1])
        begin = int(wanted[6:].split("-")[0]) if wanted and model != "o/norange" else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        body = data[begin:]
        cut = len(data) // 3
        try:
            if model in ("o/drop", "o/norange") and name == "model.safetensors":
                drops[model] = drops.get(model, 0) + 1
                if drops[model] <= 2:
                    self.wfile.write(body[:cut])
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
            if model == "o/slow" and name == "model.safetensors":
                for at in range(0, len(body), 50_000):
                    self.wfile.write(body[at:at + 50_000])
                    time.sleep(0.02)
                return
            self.wfile.write(body)
        except OSError:
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


servers = [Server(("127.0.0.1", 0), Hub) for _ in range(2)]
ports = [s.server_address[1] for s in servers]
HUB = f"http://127.0.0.1:{ports[0]}"


def pull(folder, model, *options, token=None):
    env = {**os.environ, "HF_ENDPOINT": HUB}
    env.pop("HF_TOKEN", None)
    if token:
        env["HF_TOKEN"] = token
    return subprocess.run([KEXA, "pull", model, "-o", str(folder), *options], env=env, text=True,
                          capture_output=True, timeout=120)


def whole(folder):
    return all((folder / n).read_bytes() == FILES[n] for n in ("config.json", "model.safetensors",
                                                               "tokenizer.json"))


def refused(root, model, word, *options, **how):
    folder = root / model.replace("/", "_")
    r = pull(folder, model, *options, **how)
    expect(1 <= r.returncode <= 125 and word in r.stderr, f"{model} is refused with \"{word}\"",
           f"{r.returncode} {r.stderr}")
    return folder


def good_ways(root):
    r = pull(root / "plain", "o/plain", "--json")
    expect(r.returncode == 0 and whole(root / "plain"), "a plain pull", r.stderr)
    expect(json.loads(r.stdout)["files"] == 3, "only what is needed", r.stdout)
    n = len(seen)
    r = pull(root / "plain", "o/plain")
    expect(r.returncode == 0 and [s[1] for s in seen[n:]] == ["api"], "what is there is kept")
    (root / "plain/config.json").write_text("changed")
    r = pull(root / "plain", "o/plain")
    expect(r.returncode == 0 and whole(root / "plain"), "a changed file is fetched again", r.stderr)
    r = pull(root / "one", "o/plain", "--include", "*.gguf")
    expect((root / "one/q/model Q4.gguf").read_bytes() == b"GGUF", "one file by pattern", r.stderr)
    r = pull(root / "list", "o/plain", "--list", "--include", "*")
    expect("onnx/model.onnx" in r.stdout and not (root / "list").exists(), "a list", r.stdout)
    r = pull(root / "busy", "o/busy")
    expect(r.returncode == 0 and whole(root / "busy"), "a busy server is asked again", r.stderr)


def broken_connections(root):
    r = pull(root / "drop", "o/drop")
    ranges = [s[2] for s in seen if s[0] == "o/drop" and s[1] == "model.safetensors"]
    expect(r.returncode == 0 and whole(root / "drop"), "a dropped connection", r.stderr)
    expect(ranges[0] is None and all(ranges[1:]), "goes on where it ended", str(ranges))
    r = pull(root / "norange", "o/norange")
    expect(r.returncode == 0 and whole(root / "norange"), "a server without ranges", r.stderr)
    folder = root / "slow"
    p = subprocess.Popen([KEXA, "pull", "o/slow", "-o", str(folder)], stderr=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, env={**os.environ, "HF_ENDPOINT": HUB})
    part = folder / "model.safetensors.part"
    for _ in range(400):
        if part.exists() and part.stat().st_size > 100_000:
            break
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    _, said = p.communicate(timeout=60)
    left = part.stat().st_size if part.exists() else 0
    expect(p.returncode == 8 and b"goes on from here" in said and 0 < left < len(BIG),
           "Ctrl-C keeps the part", f"{p.returncode} {said} {left}")
    r = pull(folder, "o/slow")
    last = [s for s in seen if s[0] == "o/slow" and s[1] == "model.safetensors"][-1]
    expect(r.returncode == 0 and whole(folder) and last[2] == f"bytes={left}-",
           "and a later run goes on", f"{last} {r.stderr}")


def refusals(root):
    folder = refused(root, "o/corrupt", "checksum")
    expect(not (folder / "model.safetensors").exists()
           and not (folder / "model.safetensors.part").exists(), "corrupt bytes are thrown away")
    refused(root, "o/none", "check the name")
    refused(root, "o/gated", "HF_TOKEN")
    refused(root, "o/escape", "unusable name")
    expect(not (root.parent / "evil.json").exists(), "no file outside the folder")
    refused(root, "o/huge", "disk")
    refused(root, "o/liar", "announced")
    refused(root, "o/nojson", "JSON")
    refused(root, "../evil", "model name")
    refused(root, "plainname", "model name")
    refused(root, "o/plain", "wanted", "--include", "nothing*")


def tokens(root):
    r = pull(root / "gated", "o/gated", token="secret")
    expect(r.returncode == 0 and whole(root / "gated"), "a gated model with a token", r.stderr)
    r = pull(root / "new/er/elsewhere//", "o/elsewhere", token="secret")
    there = [s for s in seen if s[0] == "o/elsewhere" and s[4] == ports[1]]
    expect(r.returncode == 0 and whole(root / "new/er/elsewhere") and there, "a redirect", r.stderr)
    expect(not any(s[3] for s in there), "the token stays with the hub", str(there))


def main():
    for s in servers:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name) / "a"
        root.mkdir()
        for cases in (good_ways, broken_connections, refusals, tokens):
            cases(root)
    print(f"{counts['passed']} passed, {counts['failed']} failed, 0 skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
