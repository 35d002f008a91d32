"""Tests in this process over a real database and the simulator."""
