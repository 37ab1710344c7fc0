"""Random networks against the tracing: smaller = gated = excluded, or it is a bug.

    python -m tests.fuzz --networks 2000 --start 0      # many networks, resumable
    python -m tests.fuzz --seed-of 17                   # one network again, printed
    python -m tests.fuzz --layers --networks 500        # scanned layers, each its own

`network` holds what a network is, `layers`, `shapes` and `blocks` the operations that
it is grown from, `grow` chooses among them and `check` compares.
"""
