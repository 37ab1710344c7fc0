"""EXECUTE: the labelled program gated, compacted, hoisted or toggled."""
