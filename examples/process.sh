#!/bin/sh
# Send a text through Fanfold with curl and print the JSON answer.
#
#   export FANFOLD_API_KEY=ff_live_...      # printed by ./scripts/run
#   examples/process.sh [FILE]
#
# FANFOLD_URL is the server, http://127.0.0.1:8000 unless set. python3 only turns the file into JSON.
set -eu

: "${FANFOLD_API_KEY:?Set FANFOLD_API_KEY to an API key; ./scripts/run prints one.}"
file=${1:-$(dirname "$0")/long-text.txt}

body=$(python3 -c '
import json, sys
try:
    text = open(sys.argv[1], encoding="utf-8").read()
except (OSError, UnicodeDecodeError) as error:
    reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
    sys.exit(f"{sys.argv[1]} cannot be read: {reason}.")
json.dump({"text": text, "split": {"by": "paragraphs", "size": 900}, "fold": {"by": "concat"}}, sys.stdout)
' "$file")

printf %s "$body" |
    curl --silent --show-error --fail-with-body --max-time 150 \
        --header "Authorization: Bearer $FANFOLD_API_KEY" \
        --header "Content-Type: application/json" \
        --data-binary @- \
        "${FANFOLD_URL:-http://127.0.0.1:8000}/v1/process"
echo
