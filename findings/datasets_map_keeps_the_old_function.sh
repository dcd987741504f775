#!/usr/bin/env bash
# datasets: after an edit of a function that is imported, `map` gives the rows that the old function made.
#
# Versions: datasets 5.2.0, pyarrow 26.0.0 (Python 3.11).
# Seen: a script maps rows of a JSON Lines file by prompts.ask of a module, by a lambda that calls it, and by a function of its own with the
#   same text. All three are edited and the script is run again: the rows of the first two are the old ones, those of the third are new.
#   The cache's key holds the code of what stands in the script; of what is imported it holds the name.
# Why it matters: prompts, filters and extraction are moved out of the script as soon as there are two scripts. From then on a change of
#   the prompt changes nothing on this machine, shows on every other one, and nothing says that rows came from the cache.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'datasets==5.2.0' 'pyarrow==26.0.0' 'pandas==2.3.3'
cd "$work"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME="$work/home" PYTHONDONTWRITEBYTECODE=1
echo '{"text": "add two numbers"}' > rows.jsonl
cat > prompts.py <<'P'
def ask(row):
    return {"prompt": "old: " + row["text"]}
P
cat > script.py <<'P'
import datasets
import prompts


def own(row):
    return {"prompt": "old: " + row["text"]}


rows = datasets.load_dataset("json", data_files="rows.jsonl", split="train")
for function in (prompts.ask, lambda row: prompts.ask(row), own):
    print(rows.map(function)[0]["prompt"][:3])
P
run() { venv/bin/python script.py 2>stderr.txt | tr '\n' ' ' || { tail -5 stderr.txt; exit 1; }; }
before=$(run)
sed -i 's/old: /new: /' prompts.py script.py
after=$(run)
rm -r home
fresh=$(run)
venv/bin/python -c 'import datasets; print("datasets", datasets.__version__)'
echo "imported, lambda, own | before the edit: $before| after it: $after| after it, cache removed: $fresh"
[[ $before == "old old old " && $after == "old old new " && $fresh == "new new new " ]]
