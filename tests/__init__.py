"""Tests over the real thing: real databases, a real broker with real worker processes, real HTTP to the simulator."""
