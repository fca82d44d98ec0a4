#!/usr/bin/env bash
# The served OpenAPI document: it is valid, common generators take it, programs with what they generate do what a user does,
# and the server does as it says. And the metrics, which are text: they are read by those who know both forms, and PROMTOOL
# has nothing against them. `npm ci --prefix tests/openapi` must have been run, and the virtual environment VENV hold what
# requirements.txt names.
#
# tests/openapi/check.sh BINARY VENV PROMTOOL [examples for an operation]
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$1 python=$2/bin promtool=$3 examples=${4:-25}
here=tests/openapi tools=tests/openapi/node_modules/.bin made=tests/openapi/generated

data=$(mktemp -d)
touch "$data/log"
PANELSYNC_ADMIN_PASSWORD=schema-password "$binary" serve --data-dir "$data" --listen 127.0.0.1:0 2>>"$data/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$data"' EXIT
for _ in $(seq 100); do
  address=$(sed -n 's/.* on \(http:[^ ]*\) .*/\1/p' "$data/log")
  [ -n "$address" ] && break
  sleep 0.1
done

rm -rf "$made"
mkdir -p "$made/panelsync_client"
curl -sf -o "$made/openapi.json" "$address/openapi.json"

echo "- it is valid"
"$python/openapi-spec-validator" "$made/openapi.json"
REDOCLY_TELEMETRY=off "$tools/redocly" lint --config "$here/redocly.yaml" "$made/openapi.json"

echo "- a client in Python"
"$python/openapi-python-client" generate --path "$made/openapi.json" --config "$here/python.yaml" --meta none \
  --output-path "$made/panelsync_client" --overwrite --fail-on-warning
PYTHONPATH=$made "$python/python" "$here/client.py" "$address" schema-password

echo "- a client in TypeScript"
"$tools/openapi-typescript" "$made/openapi.json" -o "$made/schema.d.ts"
"$tools/tsc" -p "$here"
node "$made/client.js" "$address" schema-password

# schemathesis sends the document's operations what they allow and what they do not: no answer is a server's failure, and
# every answer has a status, a content type and a form that the document names.
echo "- the server does as it says"
json=(-H 'content-type: application/json')
session=$(curl -sf "$address/fleet/v1/session" "${json[@]}" -d '{"username":"admin","password":"schema-password"}')
session=$(sed 's/.*"token":"//; s/".*//' <<<"$session")
curl -sf -o "$data/panel" "$address/fleet/v1/panels" "${json[@]}" -H "authorization: Bearer $session" -d '{"id":"p1","labels":{"site":"north"}}'
md5=$(printf schema-password | md5sum | cut -d' ' -f1)
panel=$(curl -sf "$address/panels/p1/api/v1/login?username=admin&password=$md5" | sed 's/.*"token":"//; s/".*//')
fleet=$(curl -sf "$address/fleet/v1/as-panel/site=north/api/v1/login?username=admin&password=$md5" | sed 's/.*"token":"//; s/".*//')

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
# What ends the session that is used, streams without an end, and lines of JSON are tested elsewhere.
ask() {
  token=$1; shift
  "$python/schemathesis" run "$address/openapi.json" -H "Authorization: Bearer $token" --checks "$checks" \
    --max-examples "$examples" --request-timeout 20 --seed 1 --warnings off --suppress-health-check all \
    --phases examples,coverage,fuzzing --exclude-path-regex '/(events|logout|session|reboot/run)$' "$@"
}
ask "$session" --include-path-regex '^/(healthz|readyz|metrics|fleet/v1/)' --exclude-path-regex 'as-panel|/(events|access-events/stream|logout|session)$|:import$'
ask "$panel" --include-path-regex '^/panels/'
ask "$fleet" --include-path-regex '/as-panel/'

echo "- the metrics"
"$python/python" "$here/metrics.py" "$address"
curl -sf "$address/metrics" | "$promtool" check metrics

# Whatever was sent, the server is there, and nothing in it broke.
curl -sf -o "$data/health" "$address/healthz"
if grep -n 'panicked\|ERROR' "$data/log"; then
  echo "the server reported failures"
  exit 1
fi
