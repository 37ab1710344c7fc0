"""Speed on this machine: latency, gating, tracing, sweeps, coalition values."""
