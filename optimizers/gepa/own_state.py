"""GEPA's state, of which only what this user's own processes wrote is read back.

GEPA keeps its state as a pickle, and reading a pickle runs whatever it says. A run folder can come from anyone, so what
is read back is a copy that carries an HMAC (RFC 2104, SHA-256) under a key of this user on this machine.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from labelwright.errors import ModelError
from labelwright.files import write_bytes
from labelwright.models.packaged import cache_dir

_KEY_BYTES = 32
_MAC_BYTES = hashlib.sha256().digest_size
# Where GEPA keeps its state, the copy of it that is read back, and the search that both belong to.
_STATE, _KEPT, _INPUTS = "gepa_state.bin", "state.kept", "inputs.sha256"


@dataclass(frozen=True)
class StateFolder:
    """A folder for GEPA's state, with none in it but our own.

    Attributes
    ----------
    inputs : str
        A hash of all that the search depends on.
    stranger : bool
        Whether there was state that is not our own; it is gone.
    """

    folder: Path
    inputs: str
    stranger: bool

    @classmethod
    def open(cls, folder: Path, inputs: str) -> StateFolder:
        """Make the folder ready for a search: with the state of the same one, where that is ours, and else without any.

        GEPA reads its state from wherever it finds it. So what lies there is replaced by the copy that this user kept
        of it, and everything is removed where there is none, or it belongs to a search with other inputs.

        Raises
        ------
        ModelError
            State that is not ours and cannot be removed.
        """
        marker, state = folder / _INPUTS, folder / _STATE
        same = marker.is_file() and marker.read_text() == inputs
        ours = _kept(folder / _KEPT, inputs) if same else None
        stranger = same and ours is None and os.path.lexists(state)
        if folder.is_symlink():
            folder.unlink()  # a link leads to what is not ours
            stranger = True
        if ours is None:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        if ours is None and os.path.lexists(state):
            raise ModelError(f"{state} is not ours and cannot be removed: delete it, or choose another run")
        if ours is not None:
            state.unlink(missing_ok=True)
            state.write_bytes(ours)
        marker.write_text(inputs)
        return cls(folder, inputs, stranger)

    def keep(self) -> None:
        """Copy what GEPA has just written, with its keyed hash."""
        content = (self.folder / _STATE).read_bytes()
        write_bytes(self.folder / _KEPT, _mac(content, self.inputs, _key()) + content)


def _kept(path: Path, about: str) -> bytes | None:
    """What ``StateFolder.keep`` wrote; None where there is none, or it is another's, another machine's, or altered."""
    try:
        data = path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b""
    except OSError:
        return None
    mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
    return content if hmac.compare_digest(mac, _mac(content, about, _key())) else None


def _mac(content: bytes, about: str, key: bytes) -> bytes:
    return hmac.digest(key, hashlib.sha256(about.encode()).digest() + content, "sha256")


def _key() -> bytes:
    """This user's key, made at first use, readable by nobody else; one of this process alone where none can be kept."""
    path = cache_dir() / "key"
    try:
        if path.exists():
            return _checked(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        made = secrets.token_bytes(_KEY_BYTES)
        scratch = path.with_name(f".key-{os.getpid()}")
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made)
        try:
            # Of two processes that begin at once, one makes the key.
            os.link(scratch, path)
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
        return _checked(path)
    except OSError:
        return _UNKEPT


def _checked(path: Path) -> bytes:
    """The key in a file, if it is this user's and nobody else can read it."""
    about = path.lstat()
    own = stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077
    key = path.read_bytes() if own else b""
    return key if len(key) == _KEY_BYTES else _UNKEPT


_UNKEPT = secrets.token_bytes(_KEY_BYTES)
