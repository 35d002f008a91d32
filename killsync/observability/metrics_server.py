"""Metrics of workers and scheduler over HTTP, each where a setting names a port. Off by default.

The processes of one `dramatiq` command count together through files in a folder of their own; one more process beside them
answers `/metrics` for all. What died is left out of gauges and kept in counters, as counters must not fall.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from dramatiq.broker import Broker
from dramatiq.middleware import prometheus as dramatiq_prometheus

from killsync import settings as settings_module
from killsync.logging import get_logger, setup_logging
from killsync.observability import metrics
from killsync.settings import Settings

log = get_logger("metrics")

_PREFIX = "killsync-metrics-"


class WorkerMetrics(dramatiq_prometheus.Prometheus):
    """Dramatiq's figures and our own, of every process of this command, on METRICS_HOST:WORKER_METRICS_PORT."""

    @property
    def forks(self) -> Any:
        return [serve_workers]

    def after_process_boot(self, broker: Broker) -> None:
        # prometheus_client decides at its first import whether to count in files, so the folder is named before.
        dramatiq_prometheus.DB_PATH = str(_folder())
        super().after_process_boot(broker)
        metrics.setup(gauges=False)


def _folder() -> Path:
    """Where the processes of this command count: named after their parent, which they share."""
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getppid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _sweep_folders() -> None:
    """Remove what commands left that run no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        number = folder.name.removeprefix(_PREFIX)
        if number.isdecimal() and not Path(f"/proc/{number}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def serve_workers() -> int:
    """The process beside the workers: answers until it gets a signal."""
    settings = settings_module.current()
    setup_logging(settings)
    _sweep_folders()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder())
    from prometheus_client import CollectorRegistry, multiprocess

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(_folder()))
    if not _start(settings.metrics_host, settings.worker_metrics_port, "WORKER_METRICS_PORT", registry):
        return 1
    while True:
        signal.pause()


def serve_scheduler(settings: Settings) -> None:
    """Answer `/metrics` in a thread of the scheduler, if a port is set."""
    if not settings.scheduler_metrics_port:
        return
    metrics.setup()
    from prometheus_client import REGISTRY

    _start(settings.metrics_host, settings.scheduler_metrics_port, "SCHEDULER_METRICS_PORT", REGISTRY)


def _start(host: str, port: int, setting: str, registry: Any) -> threading.Thread | None:
    from prometheus_client import start_http_server

    try:
        _, thread = start_http_server(port, host, registry)
    except OSError as error:
        # Work goes on without being measured.
        log.warning("metrics not served", setting=setting, reason=f"{host}:{port} cannot be bound ({error.strerror})")
        return None
    log.info("metrics served", url=f"http://{host}:{port}/metrics")
    return thread
