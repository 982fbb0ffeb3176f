"""Where things lie on each system: config, data, state, cache, logs, run file. Creates nothing unless asked.

SPAMD_HOME moves all of them below one folder, so that several installations can live side by side.
"""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

APPLICATION = "spamd-desktop"
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""How the system says that the disk, or the person's share of it, is full."""
ROOM = 256 * 1024
"""Bytes. What a start writes: the database's shared memory and log, run file, lock, some lines of log (70 kB)."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders, and the files in them that more than one room needs."""

    config: Path
    data: Path
    state: Path
    cache: Path
    log: Path
    runtime: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def secrets_file(self) -> Path:
        """Only where the person chose to keep secrets in a file."""
        return self.config / "secrets.json"

    @property
    def database(self) -> Path:
        return self.state / "spamd.db"

    @property
    def rescued_database(self) -> Path:
        """The database, where its own folder was removed and could not be made again (a service's sandbox)."""
        return self.data / "spamd.db.rescued"

    @property
    def personal_models(self) -> Path:
        return self.data / "models"

    @property
    def addon_key(self) -> Path:
        """Only where the person pasted a key into the Thunderbird add-on."""
        return self.data / "addon-key.json"

    @property
    def teach(self) -> Path:
        return self.data / "teach"

    @property
    def teach_spam(self) -> Path:
        return self.teach / "spam"

    @property
    def teach_ham(self) -> Path:
        return self.teach / "ham"

    @property
    def log_file(self) -> Path:
        return self.log / "spamd.log"

    @property
    def run_file(self) -> Path:
        """Port and token of the running daemon."""
        return self.runtime / "run.json"

    @property
    def lock_file(self) -> Path:
        return self.runtime / "daemon.lock"

    def folders(self) -> tuple[Path, ...]:
        return (
            self.config,
            self.data,
            self.state,
            self.cache,
            self.log,
            self.runtime,
            self.personal_models,
            self.teach_spam,
            self.teach_ham,
        )

    def make(self) -> None:
        """Create every folder, for this person's eyes only. OSError where that is not possible."""
        for folder in self.folders():
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        for folder in (self.config, self.data, self.state, self.cache, self.log, self.runtime):
            if os.name == "posix" and folder.stat().st_mode & 0o077:
                folder.chmod(PRIVATE_FOLDER)

    def has_room(self) -> bool:
        """Whether a start would find the room it needs: tried by writing, as a quota shows in no figure of the disk.

        True where something else is wrong: whoever needs the file says it better.
        """
        try:
            self.make()
            for folder in dict.fromkeys((self.state, self.runtime)):
                probe = folder / ".room"
                try:
                    probe.write_bytes(bytes(ROOM))
                finally:
                    probe.unlink(missing_ok=True)
        except OSError as exc:
            return exc.errno not in FULL
        return True


def is_full(place: Path) -> bool:
    """Whether the disk on which this lies, or would lie, has less room than a start needs. Writes nothing.

    False where that cannot be known, such as in another person's home.
    """
    try:
        there = next((one for one in (place, *place.parents) if one.exists()), None)
        return there is not None and shutil.disk_usage(there).free < ROOM
    except OSError:
        return False


def find(env: Mapping[str, str] | None = None) -> Paths:
    """The person's folders. env: os.environ unless given (only SPAMD_HOME is looked up in it)."""
    home = (os.environ if env is None else env).get("SPAMD_HOME", "")
    if home:
        root = Path(home).expanduser().absolute()
        return Paths(
            config=root / "config",
            data=root / "data",
            state=root / "state",
            cache=root / "cache",
            log=root / "log",
            runtime=root / "run",
        )
    from platformdirs import PlatformDirs  # 18 ms, not needed under SPAMD_HOME

    # Windows: local, not roaming: the database must not travel between machines.
    dirs = PlatformDirs(APPLICATION, appauthor=False, roaming=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = dirs.user_state_path
        return Paths(
            config=dirs.user_config_path,
            data=dirs.user_data_path,
            state=state,
            cache=dirs.user_cache_path,
            log=dirs.user_log_path,
            # Not XDG_RUNTIME_DIR: a service has it, a cron job or an ssh session may not, and both must meet.
            runtime=state / "run",
        )


def shipped_model() -> Path:
    """The base model that came with the program: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "_models" / "base"
    return inside if inside.is_dir() else package.parent / "models" / "base"


def shipped_addon() -> Path:
    """The Thunderbird add-on's source that came with the program."""
    package = Path(__file__).resolve().parent
    inside = package / "_addon"
    return inside if inside.is_dir() else package.parent / "plugin" / "thunderbird"


def write_private(path: Path, content: bytes) -> None:
    """Make a file appear whole, readable by this person only. A link is followed (dotfile folders)."""
    target = path.resolve() if path.is_symlink() else path
    target.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
