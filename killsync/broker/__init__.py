"""The message broker: RabbitMQ, or Dramatiq's in-memory broker where everything runs in one process."""
