"""Writes cron.txt: when cron lines are due in 2026, by cronsim, which follows Debian's cron.

    pip install cronsim==2.8 tzdata==2026.6
    PYTHONTZPATH= python3 cron.py > cron.txt

A row has the zone, the line, and the due times in seconds since the Unix epoch: the first, then differences, each with
how often it comes in a row. What falls on one moment is there once.
"""

from datetime import datetime, timezone
from itertools import groupby
from zoneinfo import ZoneInfo

from cronsim import CronSim

ZONES = """UTC Europe/Berlin Europe/Dublin America/New_York America/Santiago America/St_Johns Australia/Lord_Howe
Asia/Kolkata Africa/Casablanca Africa/Cairo Pacific/Auckland""".split()
LINES = """0 9 * * 1-5
30 2 * * *
15,45 2 * * *
0 0 * * *
30 0 * * *
0 1 * * *
30 1 * * *
0,30 1,2,3 * * *
0 * * * *
*/15 * * * *
*/20 1-3 * * *
5 */2 * * *
30 23 * * *
0 0 1 * *
0 8 * * 0
0 3 * * 7
0 6 1-7 * 1
10-50/20 2 * * SUN
59 23 31 12 *
0 0 L * *
15 14 1 JAN,JUN *""".splitlines()

# Lines that are due more often than daily, and where: with all zones the list would be long.
OFTEN = {
    line: {"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"}
    for line in ["0,30 1,2,3 * * *", "0 * * * *", "*/15 * * * *", "*/20 1-3 * * *", "5 */2 * * *"]
}
OFTEN["*/15 * * * *"] = {"Australia/Lord_Howe"}
# There cronsim passes 02:05 over on the day on which the clock goes back from 02:00 to 01:30.
OFTEN["5 */2 * * *"] -= {"Australia/Lord_Howe"}

BEGIN = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
END = int(datetime(2027, 1, 1, tzinfo=timezone.utc).timestamp())

for zone in ZONES:
    for line in LINES:
        if zone not in OFTEN.get(line, ZONES):
            continue
        begin = datetime.fromtimestamp(BEGIN, ZoneInfo(zone))
        times = []
        for due in CronSim(line, begin):
            due = int(due.timestamp())
            if due >= END:
                break
            if due > BEGIN and due not in times[-5:]:
                times.append(due)
        assert times == sorted(times), (zone, line)
        steps = [b - a for a, b in zip(times, times[1:])]
        runs = [f"{step}x{len(list(run))}" for step, run in groupby(steps)]
        print(zone, line, " ".join([str(times[0]), *runs]) if times else "-", sep="\t")
