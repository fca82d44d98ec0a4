"""What a program with the client that openapi-python-client generates does: logs in, registers panels, pushes a weekly
profile, dry-runs another, reads the report, and follows the events until the batch is done.

client.py ADDRESS PASSWORD, with the generated package on PYTHONPATH"""

import io
import json
import sys
from datetime import datetime, timezone

from panelsync_client import AuthenticatedClient, Client
from panelsync_client.api.batches import list_batch_panels, show_batch, stream_batch_events, submit_batch
from panelsync_client.api.panels import add_panel, change_panel, import_panels
from panelsync_client.api.profiles import list_panel_profiles, show_profile
from panelsync_client.api.session import log_in, log_out
from panelsync_client.models import (
    BatchBody,
    BatchRequest,
    BatchState,
    Credentials,
    DryRun,
    PanelChange,
    PanelChangeLabels,
    PanelInput,
    PanelInputLabels,
    PanelState,
    ProblemBody,
    RepeatCustomBody,
    RepeatEndBody,
    RepeatFormatBody,
    RepeatOptionsBody,
    Role,
    TimeOptionsBody,
    TimeProfileBody,
)
from panelsync_client.types import File
from uuid import UUID

address, password = sys.argv[1:]
PANELS = ["py-1", "py-2", "py-3"]
LINK_ID = UUID("91c615e3-1040-4815-8ecb-00000000a001")


def unix(hour):
    return int(datetime(2026, 1, 5, hour, tzinfo=timezone.utc).timestamp())


def weekly(name, days):
    return TimeProfileBody(
        link_id=LINK_ID,
        name=name,
        time_options=TimeOptionsBody(is_all_day=False, date_from=unix(9), date_to=unix(18)),
        repeat_options=RepeatOptionsBody(
            repeat_enable=True,
            repeat_format=RepeatFormatBody(
                repeat_type="custom",
                repeat_end=RepeatEndBody(format_="never"),
                repeat_custom=RepeatCustomBody(repeat_point_type="week", repeat_looper=1, repeat_options=days),
            ),
        ),
    )


def events(text):
    """The events of a stream: their kinds and what they say."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "data" in fields:
            yield fields["event"], json.loads(fields["data"])


refused = log_in.sync(client=Client(address), body=Credentials(username="admin", password="wrong"))
assert isinstance(refused, ProblemBody) and refused.status == 401, refused
session = log_in.sync(client=Client(address), body=Credentials(username="admin", password=password))
assert session.role == Role.ADMIN and session.expires_at > datetime.now(timezone.utc), session
client = AuthenticatedClient(address, token=session.token, raise_on_unexpected_status=True)

labels = PanelInputLabels.from_dict({"made-by": "python"})
for panel in PANELS[:2]:
    added = add_panel.sync(client=client, body=PanelInput(id=panel, labels=labels, zone="Europe/Kyiv"))
    assert added.id == panel and added.labels["made-by"] == "python" and added.state.profiles == 0, added
line = json.dumps({"id": PANELS[2], "labels": {"made-by": "python", "old": "yes"}})
imported = import_panels.sync(client=client, body=File(payload=io.BytesIO(line.encode())))
assert imported.added == 1, imported
changed = change_panel.sync(PANELS[2], client=client, body=PanelChange(labels=PanelChangeLabels.from_dict({"old": None})))
assert changed.labels.to_dict() == {"made-by": "python"}, changed

week = ["MON", "TUE", "WED", "THU", "FRI"]
accepted = submit_batch.sync(client=client, body=BatchRequest(panels=PANELS, upsert=[weekly("Week", week)]), prefer="wait=0")
assert isinstance(accepted, BatchBody), accepted

told = list(events(stream_batch_events.sync(accepted.id, client=client)))
kinds = [kind for kind, _ in told]
assert kinds.count("panel") == len(PANELS) and kinds[-1] == "done", told
assert told[-1][1]["state"] == "done", told

report = show_batch.sync(accepted.id, client=client)
assert report.state == BatchState.DONE and report.items.created == len(PANELS), report
page = list_batch_panels.sync(accepted.id, client=client)
assert [panel.panel for panel in page.items] == PANELS and page.next_cursor is None, page
assert all(panel.outcome == PanelState.APPLIED and panel.result[0].link_id == LINK_ID for panel in page.items), page

held = list_panel_profiles.sync(PANELS[0], client=client).items[0]
assert held.profile.repeat_options.repeat_format.repeat_custom.repeat_options == week, held
assert show_profile.sync(LINK_ID, client=client).panels == len(PANELS)

asked = BatchRequest(selector="made-by=python", upsert=[weekly("Weekend", ["SAT", "SUN"])], dry_run=True)
plan = submit_batch.sync(client=client, body=asked)
assert isinstance(plan, DryRun) and [panel.updated for panel in plan.plan] == [1, 1, 1], plan

wrong = submit_batch.sync(client=client, body=BatchRequest(panels=PANELS, upsert=[weekly("Never", [])]))
assert isinstance(wrong, ProblemBody) and wrong.status == 422 and wrong.errors[0].path.startswith("/upsert/0/"), wrong

log_out.sync_detailed(client=client)
print("the generated Python client does all that was asked of it")
