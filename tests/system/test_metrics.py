"""What Prometheus finds at web, workers and scheduler, and that the dashboard and the alerts ask for what is there."""

from __future__ import annotations

import contextlib
import inspect
import json
import random
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing
import yaml
from dramatiq.middleware import prometheus as dramatiq_prometheus
from prometheus_client.parser import text_string_to_metric_families

from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.resources import PROJECT

OPS = PROJECT / "docs" / "ops"
ALERTS = OPS / "alerts.yml"
DASHBOARD = OPS / "grafana-dashboard.json"


def quiet_port() -> int:
    """A free port below those that outgoing connections take, so that it is still free when a process comes for it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def asked_for() -> set[str]:
    """Every metric that the alerts and the dashboard name."""
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [rule["expr"] for rule in rules] + [each["expr"] for panel in panels for each in panel["targets"]]
    return {name for text in expressions for name in re.findall(r"\b(?:killsync|dramatiq)_[a-z_]+", text)}


def lint(process: str, text: str) -> None:
    """Check our own figures by Prometheus's rules, where its tool is installed."""
    promtool = shutil.which("promtool")
    if promtool:
        ours = "".join(line for line in text.splitlines(keepends=True) if "killsync_" in line.split("{")[0])
        done = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{process}: {done.stderr}{done.stdout}"


async def test_every_process_is_measured_and_what_dashboard_and_alerts_ask_for_is_there(deployment: Any) -> None:
    worker, scheduler = quiet_port(), quiet_port()
    place = deployment(
        {"kills": (12, 4, 4)}, WORKER_METRICS_PORT=str(worker), SCHEDULER_METRICS_PORT=str(scheduler)
    )  # fmt: skip
    place.start_web()
    place.start_worker(processes=2, threads=2)
    place.start_scheduler()
    pilot = place.simulated.simulator.universe.demo_characters[0].character_id
    async with Player(place.url) as player:
        assert (await player.log_in(pilot)).status == 302
        async with player.browser.get(f"{place.url}/no/such/page/{pilot}") as answer:
            assert answer.status == 404
    wait_until(lambda: place.sql("SELECT count(*) FROM sync_run WHERE status = 'succeeded'") == [(1,)], "the sync ends")
    wait_until(lambda: "scheduler started" in place.log("scheduler"), "the scheduler starts")
    wait_until(
        lambda: place.sql("SELECT sum(requests) FROM esi_usage WHERE route = 'killmail'")[0][0] == 12,
        "figures are kept",
    )
    for process in ("worker", "scheduler"):
        wait_until(lambda process=process: "metrics served" in place.log(process), f"the {process} is measured")  # type: ignore[misc]
    texts = {"web": scrape(place.port), "worker": scrape(worker), "scheduler": scrape(scheduler)}
    found = {
        name: {family.name: family for family in text_string_to_metric_families(text)} for name, text in texts.items()
    }

    def value(process: str, family: str, sample: str, **labels: str) -> float:
        return sum(each.value for each in found[process][family].samples
                   if each.name == sample and labels.items() <= each.labels.items())  # fmt: skip

    # The workers' two processes count together.
    seconds = "killsync_esi_request_duration_seconds"
    assert value("worker", seconds, f"{seconds}_count", route="killmail", outcome="2xx") == 12
    assert value("worker", "killsync_syncs", "killsync_syncs_total", status="succeeded") == 1
    assert value("worker", "dramatiq_messages", "dramatiq_messages_total", actor_name="sync_user_killmails") >= 1
    # The web process tells what the tables hold.
    assert value("web", "killsync_esi_requests", "killsync_esi_requests_total", route="killmail", outcome="2xx") == 12
    assert value("web", "killsync_database_up", "killsync_database_up") == 1
    assert value("web", "killsync_queue_consumers", "killsync_queue_consumers", queue="notifications_queue") == 2
    assert value("web", "killsync_scheduler_tick_age_seconds", "killsync_scheduler_tick_age_seconds") < 30
    assert value("scheduler", "killsync_scheduler_ticks", "killsync_scheduler_ticks_total", outcome="sent") >= 1
    assert value("scheduler", "killsync_scheduler_leads", "killsync_scheduler_leads") == 1

    for process, families in found.items():
        for name, family in families.items():
            if name.startswith("killsync_"):
                assert family.documentation and re.fullmatch(r"[a-z_]+", name), name
                assert (family.type == "counter") == any(
                    each.name.endswith("_total") for each in family.samples
                ) or not family.samples
                assert not name.endswith(("_total", "_ms", "_count")), name
            for sample in family.samples:
                assert str(pilot) not in str(sample.labels), f"{process}: a label names a person"
    exposed = {name for families in found.values() for name in families}
    # Of Dramatiq's figures a process shows those that were counted at least once.
    exposed |= set(re.findall(r'"(dramatiq_[a-z_]+)"', inspect.getsource(dramatiq_prometheus)))
    for name in asked_for():
        base = re.sub(r"_(total|bucket|count|sum)$", "", name)
        assert name in exposed or base in exposed, f"nobody exposes {name}"

    for process, text in texts.items():
        lint(process, text)
    assert place.stop("worker") == 0
    with pytest.raises(OSError):
        scrape(worker)


def test_a_port_that_is_taken_is_said_and_work_goes_on() -> None:
    from prometheus_client import CollectorRegistry

    from killsync.observability import metrics_server

    with socket.socket() as taken, structlog.testing.capture_logs() as said:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert metrics_server._start("127.0.0.1", port, "WORKER_METRICS_PORT", CollectorRegistry()) is None
    assert said[0]["setting"] == "WORKER_METRICS_PORT" and f"127.0.0.1:{port} cannot be bound" in said[0]["reason"]


def test_alerts_are_rules_that_prometheus_takes() -> None:
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".") and rule["annotations"]["what_to_do"].endswith(".")
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert f"`{rule['alert']}`" in (PROJECT / "docs" / "monitoring.md").read_text(), rule["alert"]
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: parsed only")
    for arguments in (["rules", str(ALERTS)], ["config", str(OPS / "prometheus.yml")]):
        done = subprocess.run([promtool, "check", *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr + done.stdout


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert board["uid"] and board["schemaVersion"] and board["templating"]["list"][0]["name"] == "datasource"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 12
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24 and panel["title"] and panel["targets"]
        assert all(each["expr"] and each["datasource"]["uid"] == "${datasource}" for each in panel["targets"])
    assert not list(Path(OPS).glob("*.tmp"))
