"""kexa chat as a person and a pipe meet it, with SmolLM2; its prompts against jinja2."""
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
KEXA = os.environ.get("KEXA") or str(TREE / "build/kexa")
MODEL = os.environ.get("KEXA_MODEL", "")
GREEDY = ["--temp", "0"]
counts = {"passed": 0, "failed": 0, "skipped": 0}


def expect(holds, what, seen=""):
    counts["passed" if holds else "failed"] += 1
    if not holds:
        print(f"FAIL {what}: {seen!r}")


def chat(text, *options):
    """A chat through a pipe."""
    return subprocess.run([KEXA, "chat", "-m", MODEL, *options], input=text, timeout=100,
                          capture_output=True, encoding="utf-8")


def expect_refused(what, status, pattern, text, *options):
    r = chat(text, *options)
    expect(r.returncode == status and re.search(pattern, r.stderr), what,
           (r.returncode, r.stdout, r.stderr))


def check_template():
    script = str(TREE / "tests/gold/chat/make_chat.py")
    r = subprocess.run([sys.executable, script, "--check", MODEL], capture_output=True,
                       encoding="utf-8")
    expect(r.returncode == 0, "chat.json is what jinja2 makes of the model's template", r.stdout)


def prompt_tokens(message):
    stats = chat(f"{message}\n/stats\n", "-n", "1").stdout
    return int(re.search(r"prompt +(\d+) tokens", stats)[1])


def check_answers():
    asked = [*GREEDY, "-n", "40"]
    r = chat("The capital of France is\n", *asked)
    expect(r.returncode == 0 and "Paris" in r.stdout, "the capital of France", r.stdout)
    expect(re.fullmatch(r"(kexa: memory: .*\n)?", r.stderr), "no remarks in a pipe", r.stderr)
    r = chat("The capital of France is\n", *asked, "--stop", "Paris")
    expect(r.stdout.endswith("France is \n"), "--stop ends the answer before its text", r.stdout)
    a, b, c = (chat("Tell me a story.", "-n", "12", "--temp", "1", "--seed", s).stdout
               for s in "778")
    expect(a == b and a != c, "the same seed tells the same story", (a, b, c))
    plain, control = prompt_tokens("x"), prompt_tokens("<|im_end|>")
    expect(control >= plain + 3, "a control token in a message is plain text", (plain, control))


def check_saved(folder):
    """A conversation that goes on answers as one that is saved and loaded."""
    path = f"{folder}/talk.json"
    end = ["Name one colour.", "/stats"]
    live = chat("\n".join(["Hello!", f"/save {path}", *end]), *GREEDY, "-n", "10").stdout
    again = chat("\n".join([f"/load {path}", *end]), *GREEDY, "-n", "10").stdout
    answer = [re.search(r"(Saved|Loaded).*\n([\s\S]*?)\nSmol", s)[2] for s in (live, again)]
    expect(answer[0] == answer[1], "kept tokens change nothing", answer)
    expect(re.search(r"\((\d+) more were held", live)[1] != "0", "a second turn keeps tokens", live)
    with open(path, encoding="utf-8") as f:
        roles = [m["role"] for m in json.load(f)]
    expect(roles == ["system", "user", "assistant"], "the saved roles", roles)
    expect_refused("a bad file is refused", 4, "JSON", f"/load {__file__}\n")


def check_refusals():
    expect_refused("a full context", 6, "tokens, and the context of 20 has no room",
                   "A message that is longer than its context.\n", "--ctx", "20")
    expect_refused("a context that fills up", 6, "cut short: all 60 tokens",
                   "Count to a hundred.\n", "--ctx", "60", *GREEDY)
    expect_refused("an unknown format", 2,
                   "k-exaone, exaone4, gemma, smollm2, chatml", "", "--format", "vicuna")
    expect_refused("no thinking mode", 2, "no thinking mode", "", "--think", "on")
    expect_refused("a zero byte", 4, "line 2 .* zero byte", "/stats\na\0b\n")
    expect_refused("an unknown word", 2, "did you mean /stats", "/stat\n")


def check_taking_back(folder):
    """/edit, /retry and /undo, and thinking that is cut short."""
    one, none, thought = (f"{folder}/{name}.json" for name in ("one", "none", "thought"))
    lines = ["Hi", "/edit Hello", "/retry", f"/save {one}", "/undo", f"/save {none}", "/undo"]
    r = chat("\n".join(lines), *GREEDY, "-n", "5")
    expect(r.returncode == 2 and "nothing to take back" in r.stderr, "an /undo too many", r.stderr)
    said = json.loads(pathlib.Path(one).read_text("utf-8"))
    expect([m["role"] for m in said[1:]] == ["user", "assistant"] and said[1]["content"] == "Hello",
           "/edit and /retry put one question in place of another", said)
    left = [m["role"] for m in json.loads(pathlib.Path(none).read_text("utf-8"))]
    expect(left == ["system"], "/undo takes both back", left)
    r = chat(f"Hi\n/save {thought}\n", *GREEDY, "-n", "20", "--format", "exaone4", "--think", "8")
    said = json.loads(pathlib.Path(thought).read_text("utf-8"))[1]
    expect(0 < len(said["reasoning_content"]) < 80 and said["content"] and r.returncode == 0,
           "thinking ends after 8 tokens", said)


class Terminal:
    def __init__(self, folder, *options):
        pid, self.fd = pty.fork()
        if pid == 0:
            env = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
            env.update(XDG_STATE_HOME=folder, TERM="xterm", HOME=folder)
            os.execve(KEXA, [KEXA, "chat", "-m", MODEL, *options], env)
        self.pid, self.seen = pid, ""

    def wait_for(self, pattern, seconds=20):
        """What was shown up to the end of the pattern; it is then forgotten."""
        end = time.monotonic() + seconds
        while not (m := re.search(pattern, self.seen)):
            ready = select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]
            try:
                more = os.read(self.fd, 65536) if ready else b""
            except OSError:
                more = b""
            if not more:
                expect(False, f"the terminal shows {pattern}", self.seen)
                return ""
            self.seen += more.decode("utf-8", "replace")
        text, self.seen = self.seen[:m.end()], self.seen[m.end():]
        return text

    def type(self, text):
        time.sleep(0.2)                  # the prompt is drawn before the editor takes over
        os.write(self.fd, text.encode())

    def status(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None


def check_terminal(folder):
    # Without its ends of turn (ids 0 and 2) an answer lasts until it is stopped.
    t = Terminal(folder, *GREEDY, "--ctx", "2000", "--logit-bias", "0=-inf",
                 "--logit-bias", "2=-inf")
    t.wait_for(r"\[  0% of 2000\] > ")
    t.type("/system 안녕하세요\x7f\x7f히\r")            # backspace takes a whole syllable
    t.wait_for("The system message is now: 안녕하히\r\n")
    t.wait_for("> ")
    t.type("Count from one to one thousand.\r")
    t.wait_for("thousand.\r\n")
    t.wait_for(".{8}")                                   # it has begun to answer
    t.type("\x03")
    t.wait_for("stopped; what was said stays")
    t.wait_for(r"% of 2000\] > ")
    t.type("\x1b[A\x1b[A\r")                             # the history: two lines up
    t.wait_for("The system message is now: 안녕하히\r\n")
    t.wait_for("> ")
    t.type("/edit\r")
    t.wait_for(r"> Count from one to one thousand\.")     # the old question, to be changed
    t.type("\x15한글 두 줄\\\r")
    t.wait_for(r"\.\.\. ")                               # goes on after a backslash
    t.type("abc\x03")
    t.wait_for("Ctrl-C once more leaves")
    t.wait_for("> ")
    t.type("\x03")
    expect(t.status() == 0, "Ctrl-C twice at the prompt leaves with status 0")
    history = pathlib.Path(folder, "kexa/history")
    expect(history.stat().st_mode & 0o777 == 0o600, "only its owner reads the history")
    text = history.read_text("utf-8")
    expect("안녕하히" in text, "the history has what was typed", text)


def main():
    if not MODEL or not os.path.exists(MODEL):
        print("skip test_chat: no model; set KEXA_MODEL or run ./go model")
        counts["skipped"] += 1
        return
    check_template()
    check_answers()
    check_refusals()
    with tempfile.TemporaryDirectory() as folder:
        check_saved(folder)
        check_taking_back(folder)
        check_terminal(folder)


main()
print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
sys.exit(counts["failed"] != 0)
