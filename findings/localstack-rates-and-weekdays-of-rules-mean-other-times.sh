#!/usr/bin/env bash
# LocalStack 4.14.0 and 2026.3.0, EventBridge rules with a schedule (PyPI: localstack-core, crontab 1.0.5).
#
# A rule's schedule becomes a line of Unix cron as it is, and cron's times are not AWS's:
#   rate(45 minutes)     fires at minute 0 and 45 of each hour: 45 minutes apart, then 15. The same goes for each
#                        number that doesn't divide 60 minutes, 24 hours or the days of a month.
#   rate(90 minutes)     is a valid rate, PutRule takes it, and the rule never fires: cron has no such step, and
#                        the error of each look at it is swallowed. The same goes for rate(36 hours).
#   cron(0 12 ? * 2 *)   is Monday on AWS, where 1 is Sunday, and Tuesday here, where 0 is. cron(0 12 ? * 2-6 *),
#                        AWS's way to say each working day, fires from Tuesday to Saturday.
# Names of days (MON-FRI) mean the same in both.
#
# Seen, in both versions, from Sunday 2026-11-29 16:13 on:
#   rate(45 minutes)    16:45 17:00 17:45 18:00
#   rate(90 minutes)    never: increment value must be less than 59, you provided 90
#   cron(0 12 ? * 2 *)  Tue Tue Tue Tue
#   cron(0 12 ? * MON *)  Mon Mon Mon Mon
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 4.14.0 2026.3.0; do
  python3 -m venv "$version"
  # Nothing else is needed of LocalStack to ask its scheduler.
  "$version/bin/pip" install --quiet --no-deps "localstack-core==$version" crontab==1.0.5
  "$version/bin/pip" install --quiet asn1crypto==1.5.1 cachetools==6.2.6 plux==1.14.0 pyyaml==6.0.3 python-dotenv==1.2.1 rich==14.3.2 \
    requests==2.32.5 psutil==7.2.2 click==8.3.1 dill==0.3.6 cryptography==46.0.5 dnspython==2.8.0 dnslib==0.9.26 \
    semver==3.0.4
  "$version/bin/python" - "$version" <<'PYTHON'
import sys
from datetime import datetime, timedelta

from localstack.services.events.scheduler import Job, convert_schedule_to_cron
from crontab import CronTab


def times(schedule, form):
    # As the scheduler's Job asks.
    cron, now, found = CronTab(Job(None, convert_schedule_to_cron(schedule), True).schedule), SUNDAY, []
    while len(found) < 4:
        now += timedelta(seconds=cron.next(now=now, default_utc=True))
        found.append(now.strftime(form))
    return " ".join(found)


SUNDAY = datetime(2026, 11, 29, 16, 13)
print(f"LocalStack {sys.argv[1]}")
seen = {}
for schedule, form in {
    "rate(45 minutes)": "%H:%M",
    "rate(90 minutes)": "%H:%M",
    "cron(0 12 ? * 2 *)": "%a",
    "cron(0 12 ? * MON *)": "%a",
}.items():
    try:
        seen[schedule] = times(schedule, form)
    except ValueError as error:
        seen[schedule] = f"never: {error}"
    print(f"  {schedule}  {seen[schedule]}")
assert list(seen.values()) == [
    "16:45 17:00 17:45 18:00",
    "never: increment value must be less than 59, you provided 90",
    "Tue Tue Tue Tue",
    "Mon Mon Mon Mon",
]
PYTHON
done
echo "as described"
