"""Holds panelsync's windows and iCalendar files against independent libraries.

Random profiles in eight zones are given to `panelsync profile windows` and `panelsync profile ics`. The
calendar is read by `icalendar`, its rules are expanded by `dateutil`, local times become instants by `zoneinfo`
(and by the calendar's own VTIMEZONE), and the windows over six years must be the same, one by one.

usage: check.py PANELSYNC [PROFILES_PER_ZONE]
"""

import bisect
import datetime as dt
import json
import random
import subprocess
import sys
import tempfile
import uuid
import zoneinfo

import icalendar
from dateutil import rrule

# The zone database of the package `tzdata`, whatever the machine has.
zoneinfo.reset_tzpath(to=[])

ZONES = [
    "UTC",
    "Europe/Kyiv",
    "America/New_York",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Jerusalem",
    "Africa/Casablanca",
]
UTC = dt.timezone.utc
FROM = dt.datetime(2024, 1, 1, tzinfo=UTC)
TO = dt.datetime(2030, 1, 1, tzinfo=UTC)
DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


def some(rng, numbers, most):
    return sorted(rng.sample(numbers, rng.randint(1, most)))


def nth(rng):
    order = rng.choice(["first", "second", "third", "fourth", "fifth", "last"])
    return {"week_order": order, "day_type": rng.choice(DAYS + ["WEEK_DAY", "DAY_OFF"])}


def custom(rng):
    point = rng.choice(["day", "week", "month", "year"])
    rule = {"repeat_point_type": point, "repeat_looper": rng.choice([1, 1, 1, 2, 3, 5, 7, 30, 400])}
    if point == "week":
        rule["repeat_options"] = [DAYS[day] for day in some(rng, range(7), 5)]
    if point == "month":
        if rng.random() < 0.5:
            rule["repeat_options"] = {"format": "dayNumbers", "range": some(rng, range(1, 32), 4)}
        else:
            rule["repeat_options"] = {"format": "parameterizedDay", "range": nth(rng)}
    if point == "year":
        rule["repeat_options"] = {"months": some(rng, range(1, 13), 4)}
        if rng.random() < 0.6:
            rule["repeat_options"]["range"] = nth(rng)
    return rule


def profile(rng, zone):
    """A random profile whose first window does not begin in an hour that comes twice, which iCalendar cannot say."""
    tz = zoneinfo.ZoneInfo(zone)
    while True:
        start = 1420070400 + rng.randrange(0, 14 * 365 * 48) * 1800
        length = rng.choice([rng.randrange(1, 48), rng.randrange(1, 48), rng.randrange(48, 300)]) * 1800
        folds = [dt.datetime.fromtimestamp(at, tz).fold for at in (start, start + length)]
        if not any(folds):
            break
    item = {
        "link_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "name": "Profile, with; odd \\ text",
        "time_options": {"is_all_day": rng.random() < 0.3, "date_from": start, "date_to": start + length},
        "repeat_options": {"repeat_enable": rng.random() < 0.95},
    }
    if item["repeat_options"]["repeat_enable"]:
        kind = rng.choice(["day", "week", "twoWeeks", "month", "year", "custom", "custom", "custom", "custom"])
        end = {"format": "never"}
        if rng.random() < 0.5:
            end = {"format": "date", "date": start + rng.randrange(0, 3000 * 48) * 1800 + 600}
        item["repeat_options"]["repeat_format"] = {"repeat_type": kind, "repeat_end": end}
        if kind == "custom":
            item["repeat_options"]["repeat_format"]["repeat_custom"] = custom(rng)
    return item


def run(binary, *args):
    done = subprocess.run([binary, "profile", *args], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def instant(local, tz):
    """A local time as an instant: fold 0 is the earlier of two, and moves forward out of a gap."""
    return int(local.replace(tzinfo=tz, fold=0).astimezone(UTC).timestamp())


def occurrences(event, tz):
    start, end = event["DTSTART"].dt, event["DTEND"].dt
    whole_days = not isinstance(start, dt.datetime)
    if whole_days:
        start = dt.datetime.combine(start, dt.time())
        end = dt.datetime.combine(end, dt.time())
    start, end = start.replace(tzinfo=None), end.replace(tzinfo=None)
    if "RRULE" not in event:
        return [(instant(start, tz), instant(end, tz))]
    rule = dict(event["RRULE"])
    until = rule.pop("UNTIL", [None])[0]
    text = icalendar.vRecur(rule).to_ical().decode()
    length = end - start
    dates = rrule.rrulestr(text, dtstart=start, cache=False)
    first, last = FROM.replace(tzinfo=None) - length - dt.timedelta(3), TO.replace(tzinfo=None) + dt.timedelta(3)
    found = []
    for local in dates.between(first, last, inc=True):
        if until is not None:
            late = local.date() > until if whole_days else instant(local, tz) > until.timestamp()
            if late:
                break
        found.append((instant(local, tz), instant(local + length, tz)))
    return found


def merged(windows):
    low, high = int(FROM.timestamp()), int(TO.timestamp())
    result = []
    for start, end in sorted(windows):
        start, end = max(start, low), min(end, high)
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1][1] = max(result[-1][1], end)
        else:
            result.append([start, end])
    return result


def check_zone_component(calendar, zone, tz):
    """The file's own VTIMEZONE must give the same offsets as the zone database, from the events on to 2040."""
    components = [c for c in calendar.walk("VTIMEZONE")]
    assert len(components) == 1 and components[0]["TZID"] == zone, f"{zone}: one VTIMEZONE of its name"
    changes = []
    for part in components[0].walk():
        if part.name not in ("STANDARD", "DAYLIGHT"):
            continue
        before, after = part["TZOFFSETFROM"].td, part["TZOFFSETTO"].td
        start = part["DTSTART"].dt.replace(tzinfo=None)
        locals_ = [start]
        if "RRULE" in part:
            rule = rrule.rrulestr(part["RRULE"].to_ical().decode(), dtstart=start)
            locals_ = rule.between(start, dt.datetime(2041, 1, 1), inc=True)
        changes += [((local - before).replace(tzinfo=UTC), after) for local in locals_]
    changes.sort()
    moments = [moment for moment, _ in changes]
    at = dt.datetime(2015, 1, 1, 1, 30, tzinfo=UTC)
    checked = 0
    while at < dt.datetime(2040, 1, 1, tzinfo=UTC):
        place = bisect.bisect_right(moments, at)
        if place > 0:
            want = at.astimezone(tz).utcoffset()
            assert changes[place - 1][1] == want, f"{zone}: VTIMEZONE says {changes[place - 1][1]} at {at}, not {want}"
            checked += 1
        at += dt.timedelta(hours=31)
    assert checked > 5000, f"{zone}: only {checked} moments"


def main():
    binary = sys.argv[1]
    per_zone = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    rng = random.Random(20261123)
    profiles = windows_seen = never = 0
    for zone in ZONES:
        tz = zoneinfo.ZoneInfo(zone)
        items = [profile(rng, zone) for _ in range(per_zone)]
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(items, file)
        # Those that can never open are refused with their place; they are counted and left out.
        _, out, _ = run(binary, "check", "-f", file.name, "--zone", zone, "--output", "json")
        bad = {int(p["path"].split("/")[1]) for p in json.loads(out)["problems"]}
        never += len(bad)
        items = [item for i, item in enumerate(items) if i not in bad]
        with open(file.name, "w", encoding="utf-8") as again:
            json.dump(items, again)
        span = ["--from", FROM.isoformat(), "--to", TO.isoformat()]
        code, out, err = run(binary, "windows", "-f", file.name, "--zone", zone, "--output", "json", *span)
        assert code == 0, err
        theirs = {}
        code, text, err = run(binary, "ics", "-f", file.name, "--zone", zone)
        assert code == 0, err
        assert all(len(line.encode()) <= 75 for line in text.split("\n")), "lines are folded"
        calendar = icalendar.Calendar.from_ical(text)
        check_zone_component(calendar, zone, tz)
        for event in calendar.walk("VEVENT"):
            assert str(event["SUMMARY"]) == "Profile, with; odd \\ text", event["SUMMARY"]
            theirs.setdefault(str(event["UID"])[:36], []).extend(occurrences(event, tz))
        for item, line in zip(items, out.splitlines(), strict=True):
            ours = json.loads(line)
            assert ours["link_id"] == item["link_id"] and ours["zone"] == zone
            got = [[w["from"], w["to"]] for w in ours["windows"]]
            want = merged(theirs.get(item["link_id"], []))
            if got != want:
                odd = [w for w in got if w not in want][:3], [w for w in want if w not in got][:3]
                print(f"{zone}\n{json.dumps(item, indent=1)}\nonly ours, only theirs: {odd}")
                return 1
            profiles += 1
            windows_seen += len(got)
        print(f"{zone}: {len(items)} profiles agree")
    print(f"{profiles} profiles in {len(ZONES)} zones over six years: {windows_seen} windows agree, {never} never open")
    return 0


if __name__ == "__main__":
    sys.exit(main())
