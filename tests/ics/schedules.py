"""Holds panelsync's schedules against an evaluation of their own, written from the README.

Random schedules with calendars are given to `panelsync schedule windows`; the same windows are worked out here, a day at a
time, with `zoneinfo` for the clock. Then `panelsync schedule compile` makes time profiles of them, which
`panelsync profile windows` opens: all of them together must open at the same times, second by second. Holidays come as
`.ics` files that `icalendar` writes, whose rules `dateutil` expands.

usage: schedules.py PANELSYNC [ROUNDS]
"""

import datetime as dt
import json
import pathlib
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

ZONES = ["UTC", "Europe/Kyiv", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Tokyo"]
UTC = dt.timezone.utc
FIRST = dt.date.today()
DAYS = 700
NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
SPANS = [
    [("09:00", "12:30"), ("13:30", "18:00")],
    [("08:00", "16:00")],
    [("22:00", "05:00")],
    [("00:00", "24:00")],
    [("02:15", "02:45")],
    [("00:30", "04:00"), ("20:00", "24:00")],
    [],
]


def text(hours):
    return ", ".join(f"{a}-{b}" for a, b in hours) if hours else "closed"


def seconds(clock):
    hour, minute = clock.split(":")
    return int(hour) * 3600 + int(minute) * 60


def instant(day, second, zone):
    """The moment at which a clock on the wall shows this: in a gap moved forward by it, of two the earlier."""
    local = dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=second)
    return int(local.replace(tzinfo=zone, fold=0).timestamp())


class Dates:
    """Dates as a schedule names them, with how much they say."""

    def __init__(self, rng, holidays):
        self.on = rng.choice([None, None, None, [0, 1, 2, 3, 4], [6, 1]])
        kind = rng.choice(["day", "day", "range", "yearly", "yearly range", "calendar"])
        start = FIRST + dt.timedelta(days=rng.randrange(DAYS))
        end = start + dt.timedelta(days=rng.randrange(1, 20))
        if kind == "day":
            self.word, self.has, weight = str(start), lambda d: d == start, (2, 0)
        elif kind == "range":
            self.word, self.has = f"{start}..{end}", lambda d: start <= d <= end
            weight = (2, -(end - start).days)
        elif kind == "calendar":
            self.word, self.has, weight = "calendar holidays", lambda d: d in holidays, (0, 0)
        else:
            a = (start.month, start.day)
            b = a if kind == "yearly" else (end.month, end.day)
            self.word = f"{a[0]:02}-{a[1]:02}" + ("" if a == b else f"..{b[0]:02}-{b[1]:02}")
            inside = lambda d: a <= (d.month, d.day) <= b
            over = lambda d: (d.month, d.day) >= a or (d.month, d.day) <= b
            self.has = inside if a <= b else over
            length = (dt.date(2000, *b) - dt.date(2000, *a)).days % 366
            weight = (1, -length)
        self.weight = weight
        if self.on is not None:
            self.word += " on " + ",".join(NAMES[d] for d in self.on)

    def names(self, day):
        return self.has(day) and (self.on is None or day.weekday() in self.on)


class Schedule:
    def __init__(self, rng, holidays):
        one, other = rng.choice(SPANS), rng.choice(SPANS)
        self.week = [one] * 5 + [other] * 2
        self.instead = []
        for _ in range(rng.randrange(3)):
            dates = Dates(rng, holidays)
            if all(dates.word != before.word for before, _ in self.instead):
                self.instead.append((dates, rng.choice(SPANS)))
        # Two ways to say the same about a day, of which none says more, have no order.
        weights = [(d.weight, d.word.split(" on ")[0]) for d, _ in self.instead]
        if len({w for w, _ in weights}) < len(weights):
            self.instead = self.instead[:1]
        self.excepted = [Dates(rng, holidays) for _ in range(rng.randrange(12))]
        self.until = FIRST + dt.timedelta(days=rng.randrange(DAYS)) if rng.random() < 0.2 else None
        self.zone = rng.choice(ZONES) if rng.random() < 0.3 else None
        self.link = str(uuid.UUID(int=rng.getrandbits(128), version=4))

    def json(self):
        value = {
            "link_id": self.link,
            "name": "Some hours",
            "hours": {"mon-fri": text(self.week[0]), "sat,sun": text(self.week[6])},
            "instead": {dates.word: text(hours) for dates, hours in self.instead},
            "except": [dates.word for dates in self.excepted],
            "from": str(FIRST),
        }
        if self.until:
            value["until"] = str(self.until)
        if self.zone:
            value["zone"] = self.zone
        return value

    def hours(self, day):
        if day < FIRST or (self.until and day > self.until):
            return []
        found = [(d.weight, False, []) for d in self.excepted if d.names(day)]
        found += [(d.weight, True, hours) for d, hours in self.instead if d.names(day)]
        if not found:
            return self.week[day.weekday()]
        return max(found, key=lambda entry: entry[:2])[2]

    def windows(self, panel, start, end):
        zone = zoneinfo.ZoneInfo(self.zone or panel)
        windows = []
        day = FIRST - dt.timedelta(days=3)
        while day <= FIRST + dt.timedelta(days=DAYS + 3):
            for a, b in self.hours(day):
                first, last = seconds(a), seconds(b)
                if last <= first:
                    last += 86400
                windows.append([max(instant(day, first, zone), start), min(instant(day, last, zone), end)])
            day += dt.timedelta(days=1)
        return merged(windows)


def merged(windows):
    out = []
    for a, b in sorted(w for w in windows if w[0] < w[1]):
        if out and a <= out[-1][1]:
            out[-1][1] = max(out[-1][1], b)
        else:
            out.append([a, b])
    return out


def calendar(rng, path):
    """Writes a file of holidays, and gives their dates by what reads such files."""
    file, dates = icalendar.Calendar(), set()
    file.add("prodid", "-//test//EN")
    file.add("version", "2.0")
    for n in range(rng.randrange(1, 9)):
        event = icalendar.Event()
        day = FIRST + dt.timedelta(days=rng.randrange(DAYS))
        length = rng.choice([1, 1, 1, 2, 5])
        event.add("uid", f"{n}@test")
        event.add("summary", "Свято, long enough that its line is folded: " + "день " * 20)
        event.add("dtstart", day)
        if length > 1 or rng.random() < 0.5:
            event.add("dtend", day + dt.timedelta(days=length))
        kind = rng.choice(["once", "once", "yearly", "nth", "with time"])
        if kind == "with time":
            event["dtstart"] = icalendar.vDatetime(dt.datetime(2026, 5, 1, 9, 0, tzinfo=UTC))
            event.pop("dtend", None)
            file.add_component(event)
            continue
        begins = [day]
        if kind == "yearly":
            day = day.replace(year=rng.choice([2010, FIRST.year])) if (day.month, day.day) != (2, 29) else day
            event["dtstart"].dt = day
            if "dtend" in event:
                event["dtend"].dt = day + dt.timedelta(days=length)
            event.add("rrule", {"freq": "yearly"})
            rule = rrule.rrule(rrule.YEARLY, dtstart=dt.datetime.combine(day, dt.time()), count=40)
            begins = [at.date() for at in rule]
        if kind == "nth":
            nth = rng.choice([1, 2, 3, 4, -1])
            weekday = rng.randrange(7)
            day = day.replace(day=1, year=FIRST.year - 1)
            event["dtstart"].dt = day
            if "dtend" in event:
                event["dtend"].dt = day + dt.timedelta(days=length)
            byday = f"{nth}{['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'][weekday]}"
            event.add("rrule", {"freq": "yearly", "bymonth": day.month, "byday": byday})
            rule = rrule.rrule(
                rrule.YEARLY,
                dtstart=dt.datetime.combine(day, dt.time()),
                bymonth=day.month,
                byweekday=rrule.weekday(weekday, nth),
                count=10,
            )
            begins = [at.date() for at in rule]
            if rng.random() < 0.3:
                event.add("exdate", [begins[1]])
                event["exdate"].params["VALUE"] = "DATE"
                del begins[1]
        for first in begins:
            dates |= {first + dt.timedelta(days=n) for n in range(length)}
        file.add_component(event)
    event = icalendar.Event()
    event.add("uid", "there is always one")
    event.add("dtstart", FIRST + dt.timedelta(days=40))
    file.add_component(event)
    dates.add(FIRST + dt.timedelta(days=40))
    path.write_bytes(file.to_ical())
    return dates


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed: {done.stderr}{done.stdout}")
    return done.stdout


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def main():
    panelsync = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    compared = profiles = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for _ in range(rounds):
            holidays = calendar(rng, folder / "holidays.ics")
            schedules = []
            while len(schedules) < 5:
                schedule = Schedule(rng, holidays)
                (folder / "hours.json").write_text(json.dumps({"schedules": [schedule.json()]}))
                # What never opens or overlaps itself is refused.
                named = ["--calendar", f"holidays={folder / 'holidays.ics'}"]
                checked = subprocess.run(
                    [panelsync, "schedule", "check", "-f", folder / "hours.json", *named, "--output", "json"],
                    capture_output=True,
                    text=True,
                )
                if checked.returncode == 0:
                    schedules.append(schedule)
                else:
                    problems = json.loads(checked.stdout)["problems"]
                    assert all(
                        "never opens" in p["message"] or "lasts into" in p["message"] for p in problems
                    ), problems
            (folder / "hours.json").write_text(json.dumps({"schedules": [s.json() for s in schedules]}))
            panel = rng.choice(ZONES)
            start = int(dt.datetime.combine(FIRST + dt.timedelta(days=2), dt.time(), UTC).timestamp())
            end = int(dt.datetime.combine(FIRST + dt.timedelta(days=DAYS - 2), dt.time(), UTC).timestamp())
            moment = lambda unix: dt.datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            span = ["--from", moment(start), "--to", moment(end), "--zone", panel, "--output", "json"]
            said = lines(run(panelsync, "schedule", "windows", "-f", folder / "hours.json", *named, *span))
            assert len(said) == len(schedules)
            for schedule, line in zip(schedules, said):
                windows = [[w["from"], w["to"]] for w in line["windows"]]
                expected = schedule.windows(panel, start, end)
                if windows != expected:
                    wrong = [w for w in windows + expected if (w in windows) != (w in expected)]
                    raise SystemExit(f"in {panel}: {json.dumps(schedule.json())} opens otherwise: {wrong[:6]}")
                (folder / "one.json").write_text(json.dumps({"schedules": [schedule.json()]}))
                compiled = run(
                    panelsync, "schedule", "compile", "-f", folder / "one.json", *named,
                    "--zone", panel, "--from", str(FIRST), "--days", str(DAYS),
                )
                count = len(json.loads(compiled)["list_items"])
                profiles += count
                if count:
                    (folder / "profiles.json").write_text(compiled)
                    opened = lines(run(panelsync, "profile", "windows", "-f", folder / "profiles.json", *span))
                    union = merged([[w["from"], w["to"]] for line in opened for w in line["windows"]])
                else:
                    union = []
                if union != expected:
                    wrong = [w for w in union + expected if (w in union) != (w in expected)]
                    raise SystemExit(f"in {panel}: the profiles of {json.dumps(schedule.json())} differ: {wrong[:6]}")
                compared += len(expected)
    print(f"{rounds * 5} schedules, {profiles} profiles made of them, {compared} windows: all the same")


main()
