"""R2Z2 for many who poll as fast as they may: wrk asks one web process while workers sync. Needs wrk.

A third of what is asked is not there yet, a third is the newest number, a third are entries: what pollers ask for. Each
request names an address of its own by a trusted proxy's header (TRUSTED_PROXIES): one address alone may ask 20 times a second.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench import place as places
from bench.pipeline import THREADS, USERS, queue
from bench.simulated import simulated
from tests.support.deployment import Deployment

CONNECTIONS = 40
#: Addresses that ask, of 20 networks.
POLLERS = 400
#: Entries that are asked for, the newest.
NEWEST = 50

_SCRIPT = """
local count, newest = 0, {newest}
request = function()
  count = count + 1
  local path = "/ephemeral/sequence.json"
  if count % 3 == 1 then path = "/ephemeral/" .. (newest + 1000000) .. ".json" end
  if count % 3 == 2 then path = "/ephemeral/" .. (newest - count % {entries}) .. ".json" end
  local address = "10.0." .. count % 20 .. "." .. math.floor(count / 20) % {pollers_a_network}
  return wrk.format("GET", path, {{["X-Forwarded-For"] = address, ["Accept-Encoding"] = "gzip"}})
end
local threads = {{}}
setup = function(thread) table.insert(threads, thread) end
response = function(status) statuses = statuses or {{}}; statuses[status] = (statuses[status] or 0) + 1 end
done = function()
  for _, thread in ipairs(threads) do
    local statuses = thread:get("statuses") or {{}}
    for status, number in pairs(statuses) do print("status " .. status .. ": " .. number) end
  end
end
"""


def run(options: Any) -> dict[str, Any]:
    """Requests a second, alone and beside a sync, and what one costs."""
    if shutil.which("wrk") is None:
        return {"not measured": "wrk is not installed"}
    wanted = round(options.backfill / USERS * 1.02)
    with (
        simulated([wanted] * USERS) as esi,
        places.deployment(esi, TRUSTED_PROXIES="127.0.0.1/32") as place,
    ):
        place.start_web()
        pilots = esi.pilots(USERS)
        places.log_in(place, pilots)
        place.start_worker(processes=1, threads=THREADS)
        queue(place, pilots[:1])
        places.wait_for(place, min(wanted, NEWEST * 2), 120)
        time.sleep(2)  # what remains of it
        alone = _ask(place, options.seconds)
        before = places.stored(place)
        syncing = threading.Thread(target=queue, args=(place, pilots[1:]))
        syncing.start()
        places.wait_for(place, before + 20, 60)
        began, first = time.monotonic(), places.stored(place)
        beside = _ask(place, options.seconds)
        flow = (places.stored(place) - first) / (time.monotonic() - began)
        syncing.join()
    return {
        "beside a sync": beside, "goal, requests/s": 2_000, "killmails/s stored meanwhile": round(flow, 1), "alone": alone,
        "connections": CONNECTIONS, "addresses": POLLERS,
    }  # fmt: skip


def _ask(place: Deployment, seconds: float) -> dict[str, Any]:
    """What wrk measures, and the web process's CPU time."""
    newest = int(place.sql("SELECT last FROM killmail_counter")[0][0])
    process = psutil.Process(place.processes["web"].pid)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "poll.lua"
        script.write_text(_SCRIPT.format(newest=newest, entries=min(NEWEST, newest), pollers_a_network=POLLERS // 20))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", "--latency", "-s", str(script), place.url]
        subprocess.run([*command, "-d2s"], capture_output=True, timeout=60, check=True)  # until entries are in memory
        used = process.cpu_times()
        done = subprocess.run(
            [*command, f"-d{seconds:.0f}s"], capture_output=True, text=True, timeout=seconds + 60, check=True
        )
        now = process.cpu_times()
    spent = now.user + now.system - used.user - used.system
    statuses = {code: int(number) for code, number in re.findall(r"status (\d+): (\d+)", done.stdout)}
    requests = sum(statuses.values())
    if not statuses.keys() <= {"200", "404"}:
        raise RuntimeError(f"who polled was told {statuses}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    late = re.search(r"99%\s+(\S+)", done.stdout)
    assert rate is not None and late is not None, done.stdout
    return {
        "requests/s": round(float(rate[1])), "requests a CPU second": round(requests / spent), "p99": late[1],
        "answers": statuses,
    }  # fmt: skip
