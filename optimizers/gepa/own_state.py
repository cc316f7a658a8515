"""State that only this user's own processes may have written: files with a keyed hash, checked before they are read.

GEPA keeps its state as a pickle, and reading a pickle runs whatever it says. A run folder can come from anyone, so what
is read back is a copy that carries an HMAC (RFC 2104, SHA-256) under a key of this user on this machine.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from labelwright.files import write_bytes
from labelwright.models.packaged import cache_dir

_KEY_BYTES = 32
_MAC_BYTES = hashlib.sha256().digest_size


def keep(content: bytes, path: Path, about: str) -> None:
    """Write content with its keyed hash; the file appears whole or not at all.

    Parameters
    ----------
    about : str
        What the content belongs to; ``kept`` gives it back for that and nothing else.
    """
    write_bytes(path, _mac(content, about, _key()) + content)


def kept(path: Path, about: str) -> bytes | None:
    """What ``keep`` wrote; None where there is no such file, or it is another's, another machine's, or altered."""
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
