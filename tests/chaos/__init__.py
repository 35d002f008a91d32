"""Faults on real processes: web, workers and scheduler, with a PostgreSQL and a RabbitMQ of their own that may be stopped
and wiped, and the simulator as ESI. `python -m tests.chaos` runs each fault and writes the table of docs/reliability.md."""
