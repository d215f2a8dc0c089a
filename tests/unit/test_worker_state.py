"""What the workers' parent tells of them."""

from __future__ import annotations

import os

from cli.worker_state import WorkerState, read

MEMBER = {"pid": 1, "number": 0, "state": "serving", "calls": 2, "served": 3, "refused": 0}


def test_the_state_is_kept_while_the_parent_lives(tmp_path):
    """Whoever asks reads what was told last; nothing is left once the workers have ended."""
    state = WorkerState(tmp_path, "127.0.0.1:8084")
    state.tell([], False)
    state.tell([MEMBER], True)
    assert read(tmp_path) == [
        {"pid": os.getpid(), "listen": "127.0.0.1:8084", "stopping": True, "workers": [MEMBER]}
    ]
    state.forget()
    assert read(tmp_path) == []


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    """The workers' parent goes on where the state cannot be kept, and says so."""
    (tmp_path / "workers").write_text("a file in the folder's place")
    state = WorkerState(tmp_path, "127.0.0.1:8084")
    state.tell([MEMBER], False)
    state.forget()
    assert "not written" in caplog.text
