"""The metrics in both forms, read by an independent parser of each: both hold the same.

metrics.py ADDRESS"""

import sys
from urllib.request import Request, urlopen

from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

address = sys.argv[1]


def fetch(accept):
    with urlopen(Request(f"{address}/metrics", headers={"accept": accept})) as answer:
        return answer.headers["content-type"], answer.read().decode()


def samples(families):
    return {(family.name, family.type, family.documentation, sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}


urlopen(f"{address}/metrics").read()  # so that the counters of these very requests are there in both
# As Prometheus asks, from 2.5 on.
kind, text = fetch("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind
opened = samples(open_metrics(text))
kind, text = fetch("*/*")
assert kind == "text/plain; version=0.0.4; charset=utf-8", kind
plain = samples(parser.text_string_to_metric_families(text))
assert opened == plain, opened ^ plain
assert ("panelsync_http_requests", "counter") in {series[:2] for series in plain}, plain
print(f"{len(plain)} series, the same in both forms")
