"""A real PostgreSQL server in a temporary folder, for tests and benchmarks; reached by a Unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_postgres", "pgbouncer", "postgres"]


def find_postgres() -> Path | None:
    """Folder of the server's programs; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))  # Debian keeps them off the path
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def postgres(binaries: Path, *, durable: bool) -> Iterator[str]:
    """Run a server as long as the block lasts.

    Parameters
    ----------
    binaries : Path
        From `find_postgres`.
    durable : bool
        Whether commits wait for the disk. Where the server itself is never killed, tests need not wait.

    Yields
    ------
    str
        URL of its database ``postgres``.
    """
    prefix, owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="evalkit-pg-"))
    try:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        data, log = folder / "data", folder / "log"
        initdb = [binaries / "initdb", "-D", data, "-U", "study", "-A", "trust", "-E", "UTF8", "--no-sync"]
        made = subprocess.run(
            [*prefix, *map(str, initdb)], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
        )
        if made.returncode:
            raise RuntimeError(made.stderr)
        options = {
            "listen_addresses": "", "unix_socket_directories": folder, "max_connections": 200,
            "fsync": "on" if durable else "off",
        }  # fmt: skip
        words = [str(binaries / "postgres"), "-D", str(data)]
        words += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with log.open("w") as output:
            server = subprocess.Popen([*prefix, *words], env=environment, cwd=folder, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while subprocess.run([binaries / "pg_isready", "-q", "-h", folder], env=environment).returncode:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(log.read_text())
                time.sleep(0.1)
            yield f"postgresql://study@/postgres?host={folder}"
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pgbouncer(program: str, server: str, **options: str | int) -> Iterator[str]:
    """Run PgBouncer in front of a server, with transactions pooled.

    Parameters
    ----------
    program : str
    server : str
        From `postgres`.
    **options
        Of ``pgbouncer.ini``, beside what it needs to run at all.

    Yields
    ------
    str
        As `postgres`, through the pooler.
    """
    prefix, owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="evalkit-pgb-"))
    try:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        (folder / "users").write_text('"study" ""\n')
        # Without a TCP port; its number is part of the socket's name.
        settings = {
            "unix_socket_dir": folder, "listen_port": 6432, "auth_type": "trust", "auth_file": folder / "users",
            "pool_mode": "transaction", **options,
        }  # fmt: skip
        lines = [f"{name} = {value}" for name, value in settings.items()]
        databases = f"[databases]\n* = host={server.partition('host=')[2]}\n"
        (folder / "pgbouncer.ini").write_text("\n".join([databases + "[pgbouncer]", *lines, ""]))
        log = folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen([*prefix, program, str(folder / "pgbouncer.ini")], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while not (folder / ".s.PGSQL.6432").exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(log.read_text())
                time.sleep(0.05)
            yield f"postgresql://study@/postgres?host={folder}&port=6432"
        finally:
            process.kill()  # it would wait for its clients
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> tuple[list[str], pwd.struct_passwd | None]:
    """How to run a program as somebody else: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return [], None
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = users.get("postgres", users["nobody"])
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"], entry
