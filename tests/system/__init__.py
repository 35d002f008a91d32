"""Tests of real processes: PostgreSQL, RabbitMQ, a worker, a browser."""
