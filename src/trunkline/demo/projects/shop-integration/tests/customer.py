"""A customer: looks around the shop over HTTP and says what it saw. Ends with 1 when something is wrong."""

import json
import sys
import urllib.error
import urllib.request

BASE, VERSION = sys.argv[1], (sys.argv[2:] or [""])[0]
EXPECTED_PAGES = ["/", "/items", "/healthz"]


def get(path):
    with urllib.request.urlopen(BASE + path, timeout=5) as answer:
        return json.load(answer)


for page in EXPECTED_PAGES:
    body = get(page)
    print(page, "answers", json.dumps(body), flush=True)
front = get("/")
if VERSION and front["version"] != VERSION:
    print("the shop runs", front["version"], "and not what was built:", VERSION)
    sys.exit(1)
for name, price in get("/items").items():
    assert price > 0, name
try:
    get("/nowhere")
except urllib.error.HTTPError as problem:
    assert problem.code == 404
print("the customer is content")
