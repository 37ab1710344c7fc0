"""Records in a file of JSON lines, which a run adds one by one."""

import contextlib
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gamepruning.files.atomic import disk_problem, new_file
from gamepruning.files.plain_json import to_json
from gamepruning.types import InputError


class Records:
    """The lines of a file; each has a stage and an epoch. Threads may share it.

    Example:
      >>> records = Records(Path("metrics.jsonl"))
      >>> for epoch in (1, 2):
      ...     records.add({"stage": "dense", "epoch": epoch})
      >>> records.forget_after("dense", 1)
      >>> records.read()
      [{'stage': 'dense', 'epoch': 1}]
    """

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.RLock()

    def add(self, record: dict[str, Any]) -> None:
        """Append a line: all of it, or nothing where the disk is full."""
        line = (to_json(record) + "\n").encode()
        try:
            with self._lock, self.path.open("ab", buffering=0) as file:
                size = file.tell()
                try:
                    if file.write(line) < len(line):
                        raise OSError(28, "No space left on device")
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            told = f"cannot write {self.path}: {disk_problem(error) or error}"
            raise InputError(told) from error

    def read(self) -> list[dict[str, Any]]:
        """The records so far."""
        return read_records(self.path)

    def forget_after(self, stage: str, epoch: int) -> None:
        """Leave out what a stage added after an epoch."""
        with self._lock:
            found = self.read()
            self._write(r for r in found if r["stage"] != stage or r["epoch"] <= epoch)

    def sort(self) -> None:
        """Put the records in the order of their stages' names."""
        with self._lock:
            self._write(sorted(self.read(), key=lambda record: record["stage"]))

    def _write(self, records: Iterable[dict[str, Any]]) -> None:
        text = "".join(to_json(record) + "\n" for record in records)
        with new_file(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines, up to the first that is damaged, if any.

    Each has a stage and an epoch. There is none if there is no file.
    """
    records: list[dict[str, Any]] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    with contextlib.suppress(ValueError, RecursionError):
        for line in text.split("\n"):
            match record := json.loads(line):
                case {"stage": str(), "epoch": bool()}:
                    break
                case {"stage": str(), "epoch": int()}:
                    records.append(record)
                case _:
                    break
    return records
