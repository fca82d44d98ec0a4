// What a program with the types that openapi-typescript generates does, by openapi-fetch: logs in, registers panels,
// pushes a weekly profile, dry-runs another, reads the report, and follows the events until the batch is done.
//
// node client.js ADDRESS PASSWORD
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/schema.js";

type Profile = components["schemas"]["TimeProfileBody"];

const [address = "", password = ""] = process.argv.slice(2);
const panels = ["ts-1", "ts-2", "ts-3"];
const linkId = "91c615e3-1040-4815-8ecb-00000000b001";

function weekly(name: string, days: string[]): Profile {
  const unix = (hour: number) => Date.UTC(2026, 0, 5, hour) / 1000;
  return {
    link_id: linkId,
    name,
    time_options: { is_all_day: false, date_from: unix(9), date_to: unix(18) },
    repeat_options: {
      repeat_enable: true,
      repeat_format: {
        repeat_type: "custom",
        repeat_end: { format: "never" },
        repeat_custom: { repeat_point_type: "week", repeat_looper: 1, repeat_options: days },
      },
    },
  };
}

/** The events of a stream, as they come: their kinds and what they say. */
async function* events(stream: ReadableStream<Uint8Array>): AsyncGenerator<{ kind: string; data: Record<string, unknown> }> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    const blocks = (text + decoder.decode(piece, { stream: true })).split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const field = (name: string) => block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data");
      if (data) yield { kind: field("event") ?? "message", data: JSON.parse(data) };
    }
  }
}

// Of a call that answers JSON or lines of it, the JSON is asked for.
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: address });
const refused = await client.POST("/fleet/v1/session", { body: { username: "admin", password: "wrong" } });
assert.equal(refused.error?.status, 401);
const { data: session } = await client.POST("/fleet/v1/session", { body: { username: "admin", password } });
assert(session && session.role === "admin");
const token: string = session.token;
client.use({
  onRequest({ request }) {
    request.headers.set("authorization", `Bearer ${token}`);
  },
});

for (const id of panels) {
  const { data: added } = await client.POST("/fleet/v1/panels", { body: { id, labels: { "made-by": "typescript" }, zone: "Europe/Kyiv" } });
  assert(added);
  assert.deepEqual([added.id, added.labels["made-by"], added.state.profiles], [id, "typescript", 0]);
}

const week = ["MON", "TUE", "WED", "THU", "FRI"];
const { data: accepted } = await client.POST("/fleet/v1/batches", {
  params: { header: { Prefer: "wait=0" } },
  body: { panels, upsert: [weekly("Week", week)] },
});
assert(accepted && "id" in accepted);
const path = { id: accepted.id };

const { data: stream } = await client.GET("/fleet/v1/batches/{id}/events", { params: { path }, parseAs: "stream" });
assert(stream);
const told: string[] = [];
for await (const { kind, data } of events(stream)) {
  told.push(kind);
  if (kind === "done") assert.equal(data.state, "done");
}
assert.equal(told.filter((kind) => kind === "panel").length, panels.length);
assert.equal(told.at(-1), "done");

const { data: report } = await client.GET("/fleet/v1/batches/{id}", { params: { path } });
assert(report);
assert.deepEqual([report.state, report.items.created], ["done", panels.length]);
const { data: page } = await client.GET("/fleet/v1/batches/{id}/panels", { params: { path, query: { limit: 10 } } });
assert(page);
assert.deepEqual(page.items.map(({ panel, outcome }) => [panel, outcome]), panels.map((panel) => [panel, "applied"]));
assert.equal(page.next_cursor, null);

const { data: held } = await client.GET("/fleet/v1/panels/{id}/profiles", { params: { path: { id: "ts-1" } } });
assert.deepEqual(held?.items[0]?.profile.repeat_options.repeat_format?.repeat_custom?.repeat_options, week);

const { data: plan } = await client.POST("/fleet/v1/batches", {
  body: { selector: "made-by=typescript", upsert: [weekly("Weekend", ["SAT", "SUN"])], dry_run: true },
});
assert(plan && "plan" in plan);
assert.deepEqual(plan.plan.map((panel) => panel.updated), [1, 1, 1]);

const { error: wrong } = await client.POST("/fleet/v1/batches", { body: { panels, upsert: [weekly("Never", [])] } });
assert(wrong?.errors?.[0]?.path.startsWith("/upsert/0/"));

await client.DELETE("/fleet/v1/session");
console.log("the generated TypeScript types do all that was asked of them");
