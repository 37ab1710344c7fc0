"""What this machine does: latency, gating, tracing, sweeps, coalition values."""
