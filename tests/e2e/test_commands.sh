#!/bin/sh
# The command line as a person and a script meet it: help, mistakes, pipes, exit statuses.
set -u
cd "${KEXA_TREE:?}" || exit 1
kexa=${KEXA:?}
passed=0 failed=0 skipped=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset KEXA_CPU

# expect WHAT STATUS PATTERN COMMAND...: exit status, and a pattern in stdout or stderr (none if
# empty).
expect() {
    what=$1 want=$2 pattern=$3
    shift 3
    "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
    status=$?
    if [ "$status" -eq "$want" ] &&
        { [ -z "$pattern" ] || cat "$tmp/out" "$tmp/err" | grep -q -e "$pattern"; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s: status %d, expected %d and "%s" in:\n' "$what" "$status" "$want" "$pattern"
        head -n 20 "$tmp/out" "$tmp/err"
    fi
}

skip() { printf 'skip %s: %s\n' "$1" "$2"; skipped=$((skipped + 1)); }

expect overview 0 '  doctor ' "$kexa"
expect version 0 '^kexa [0-9]*\.[0-9]*\.[0-9]*$' "$kexa" --version
expect no-such-command 2 'did you mean doctor' "$kexa" docter
expect no-such-option 2 'did you mean --json' "$kexa" doctor --jsn
expect operand-too-many 2 'takes no operand' "$kexa" doctor now
expect full-disk 3 'standard output' sh -c "'$kexa' help --as man > /dev/full"
expect closed-input 3 'standard input: cannot read' sh -c "'$kexa' run -m none <&-"
expect closed-output 3 'standard output' sh -c "'$kexa' --version >&-"

# ./go finds its tree from anywhere, through a link too.
ln -s "$KEXA_TREE/go" "$tmp/kexa-go"
expect go-by-a-link 0 '"version"' sh -c "cd '$tmp' && ./kexa-go doctor --json"

# Every command teaches: its own help says its name, its use and -h.
"$kexa" | sed -nE 's/^  ([a-z]+( [a-z]+)?)  .*/\1/p' > "$tmp/names"
# A name may be two words.
# shellcheck disable=SC2086
while read -r name; do
    expect "help of $name" 0 "^Usage: kexa $name" "$kexa" $name --help
    expect "man page has $name" 0 "^.SS kexa $name" "$kexa" help --as man
    expect "examples of $name" 0 '^Examples:' "$kexa" help $name
done < "$tmp/names"
expect "there are commands" 0 tokenize cat "$tmp/names"

"$kexa" help --as markdown > "$tmp/cli.md"
expect 'docs/cli.md is current (make docs)' 0 '' cmp "$tmp/cli.md" docs/cli.md
expect bash-completion 0 '' sh -c "'$kexa' help --as bash | bash -n"
cat > "$tmp/complete.bash" <<'BASH'
source "$1"
COMP_WORDS=(kexa tokenize --js) COMP_CWORD=2 COMP_LINE='' COMP_POINT=0
_kexa
echo "${COMPREPLY[@]}"
BASH
"$kexa" help --as bash > "$tmp/kexa.bash"
expect bash-completes 0 '^--json$' bash "$tmp/complete.bash" "$tmp/kexa.bash"
if command -v man > /dev/null; then
    "$kexa" help --as man > "$tmp/kexa.1"
    expect man-page 0 'kexa tokenize' sh -c "man --warnings=w -l $tmp/kexa.1 2>&1 | col -b"
else
    skip man-page "man is not installed"
fi

# A reader that goes away ends kexa without a word and without a signal.
{ "$kexa" help --as markdown; echo $? > "$tmp/status"; } 2> "$tmp/err" | head -n 1 > /dev/null
expect quiet-pipe 0 '^[03]$' cat "$tmp/status"
expect quiet-pipe-words 1 '' grep . "$tmp/err"

expect doctor-json 0 ok sh -c "'$kexa' doctor --json | '${KEXA_PYTHON:-python3}' -c '
import json, sys
d = json.load(sys.stdin)
assert d[\"cpus\"] >= 1 and d[\"gpu\"] is None and isinstance(d[\"problems\"], list)
assert d[\"cpu_level\"] in (\"c\", \"avx2\", \"avx512\", \"amx\")
print(\"ok\")'"
expect doctor-cap 0 '^cpu level *c$' env KEXA_CPU=c "$kexa" doctor
expect doctor-lost-model 0 'correct or unset' env KEXA_MODEL=/nowhere "$kexa" doctor
expect no-model 2 'go model' env -u KEXA_MODEL XDG_CACHE_HOME=/nowhere "$kexa" tokenize hi
expect lost-model 3 '/nowhere' "$kexa" tokenize -m /nowhere hi

# A model that is cut short while it is used: a sentence and a status, no signal.
cp tests/gold/exaone_moe/lllg/model.gguf "$tmp/cut.gguf"
{
    for _ in 1 2 3 4 5 6 7 8 9; do
        ! grep -q memory "$tmp/cut.err" || break
        sleep 0.3
    done
    sleep 0.3
    truncate -s 4096 "$tmp/cut.gguf"
    echo hello
} | { "$kexa" chat -m "$tmp/cut.gguf" --format chatml -n 3 > /dev/null 2> "$tmp/cut.err"
      echo "status $?" >> "$tmp/cut.err"; }
expect cut-model 0 'cut short' cat "$tmp/cut.err"
expect cut-model-status 0 'status 3' cat "$tmp/cut.err"

if [ -z "${KEXA_MODEL:-}" ]; then
    skip tokenize "no model"
else
    expect tokenize 0 '^ *504  "The"$' "$kexa" tokenize 'The sea'
    expect ids 0 '^504 3426$' "$kexa" tokenize --ids 'The sea'
    expect special 0 '"<|im_start|>"  control' "$kexa" tokenize '<|im_start|>user'
    expect special-off 0 '^ *44  "<"' "$kexa" tokenize --special off '<|im_start|>user'
    expect tokenize-twice 2 'not both' "$kexa" tokenize -f README.md text
    expect detokenize 0 '^The sea' "$kexa" detokenize 504 3426
    expect detokenize-json 0 '^"The sea"$' "$kexa" detokenize --json '[504, 3426]'
    expect detokenize-range 4 'not below' "$kexa" detokenize 999999
    expect detokenize-words 4 'not a token id' "$kexa" detokenize hello
    expect round-trip 0 '' sh -c \
        "'$kexa' tokenize --ids -f docs/cli.md | '$kexa' detokenize | cmp - docs/cli.md"
    expect answer-full-disk 3 'answer [0-9] tokens' sh -c "'$kexa' run Hi --temp 0 > /dev/full"
    expect empty 0 '' sh -c "printf '' | '$kexa' tokenize"
    expect json 0 '"n_tokens":2' "$kexa" tokenize --json 'The sea'
fi

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
