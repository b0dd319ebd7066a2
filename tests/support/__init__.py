"""Helpers of the tests: databases, MeshHook's rows, waiting, poolers."""

from tests.support.meshhook import (
    Project,
    Workflow,
    acting_as,
    finish_run,
    insert_run,
    make_project,
    make_user,
    make_workflow,
    resume_run,
)
from tests.support.waiting import eventually

__all__ = [
    "Project",
    "Workflow",
    "acting_as",
    "eventually",
    "finish_run",
    "insert_run",
    "make_project",
    "make_user",
    "make_workflow",
    "resume_run",
]
