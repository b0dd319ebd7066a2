"""Retired words stay out of everything that people read: language.md's list, as a test.

A word that is part of a name or a quotation is allowed with a reason.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

RETIRED = {
    r"told": "sent, reported, notified, announced",
    r"tells? of": "reports, announces",
    r"mend(s|ed|ing)?": "fix, repair",
    r"look(s|ed|ing)? at": "check, evaluate, read",
    r"whoever": "name the role",
    r"nobody": "no user, no daemon, no session: name the role",
    r"(some|any)body": "name the role",
    r"likewise": "also, the same",
    r"amiss": "wrong",
    r"by (it|them)sel(f|ves)": "automatically, separately",
    r"as is usual": "as usual, by default",
    r"is no (?!longer|other|more)\w+": "is not a …",
    r"since ever": "all-time",
    r"a (line|row|check|letter) each": "one … per …",
    r"(line|row|change) an? (event|workflow|project|run|channel)": "per",
    r"(runs|requests|messages|events|rows|times|transactions) a (second|minute|hour)": "per",
    r"so many (a|per) second": "the rate",
    r"without a word": "crashed",
    r"used further": "stay in use",
    r"set right": "repair",
    r"sign of life": "when it last renewed its lease",
}
"""Patterns of retired words, and what to write instead."""

RETIRED_NAMES = {
    "wanted", "asked", "given", "taken", "held", "kept", "said", "told", "here", "there", "place",
    "looks",
}  # fmt: skip
"""Names that do not say what the thing is."""

ALLOWED: dict[str, dict[str, str]] = {
    "meshmetrics/devstack/postgres/binaries.py": {"nobody": "the system user of that name"},
}
"""By file: a phrase that contains a retired word, and why it stays."""

ALLOWED_NAMES: dict[str, dict[str, str]] = {  # by file or folder
    "meshmetrics/api/http/problems.py": {
        "given": "a field of the REST API's errors, which docs/api.md promises",
    },
    "meshmetrics/api/metrics/schemas.py": {
        "held": "a field of the REST API's responses, which docs/api.md promises",
        "Held": "its schema, which generated clients use",
    },
    "meshmetrics/daemon/": {"held": "the column of take_lease: a lease is held"},
}

_GAP = r"[\s*#/-]+"  # a phrase may continue on the next line of a comment
_WORDS = re.compile(
    r"\b(?:" + "|".join(pattern.replace(" ", _GAP) for pattern in RETIRED) + r")\b",
    re.IGNORECASE,
)
_THERE = re.compile(rf"\bthere{_GAP}\Z", re.IGNORECASE)
_GENERATED = re.compile(r"<!-- (\w+)(:begin)? -->.*?<!-- (\1:end|end) -->", re.DOTALL)
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LIBRARY = "dashboard/src/lib/api/schema.ts"


def _files() -> Iterator[str]:
    yield from (path.name for path in ROOT.glob("*.md"))
    yield from (".env.example", "Dockerfile", "Makefile", "docker-compose.yml")
    for folder, suffixes in (
        ("docs", {".md"}),
        ("meshmetrics", {".py"}),
        ("sql", {".sql"}),
        ("dashboard/src", {".ts", ".svelte", ".html", ".css"}),
    ):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if (
                path.suffix in suffixes
                and not name.startswith(("sql/migrations/", "meshmetrics/_"))
                and name != _LIBRARY
            ):
                yield name


FILES = sorted(_files())


def prose(name: str) -> Iterator[tuple[int, str]]:
    """The text of a file that people read, with line numbers."""
    text = (ROOT / name).read_text()
    if name.endswith(".py"):
        yield from _python(text)
        return
    if name.endswith(".md"):
        for pattern in (_GENERATED, _FENCE):
            text = pattern.sub(lambda m: "\n" * m[0].count("\n"), text)
        text = re.sub(r"`[^`\n]*`", "``", text)
    yield 1, text


def _python(text: str) -> Iterator[tuple[int, str]]:
    """Comments and strings; those that the compiler joins, as one."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
            yield node.lineno, "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    comments: dict[int, str] = {}  # blocks of whole lines, by their last line
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            number = token.start[0]
            before = comments.pop(number - 1, "")
            comments[number] = f"{before}\n{token.string}"
    for last, block in comments.items():
        yield last - block.count("\n"), block


def retired_words(name: str) -> list[str]:
    """Each use of a retired word, with what to write instead."""
    found = set()
    for start, text in prose(name):
        for match in _WORDS.finditer(text):
            if match[0].startswith("is no") and _THERE.search(text, 0, match.start()):
                continue
            phrase = " ".join(re.split(_GAP, match[0]))
            if any(phrase in allowed for allowed in ALLOWED.get(name, {})):
                continue
            line = start + text.count("\n", 0, match.start())
            (instead,) = (
                new for old, new in RETIRED.items() if re.fullmatch(old, phrase, re.IGNORECASE)
            )
            found.add((line, f"{name}:{line}: {phrase!r}: {instead}"))
    return [text for _, text in sorted(found)]


def retired_names(name: str) -> list[str]:
    """Each variable, parameter, attribute or function with a retired name."""
    if not name.endswith(".py"):
        return []
    found = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        names = [getattr(node, field, None) for field in ("id", "arg", "attr", "name", "asname")]
        for one in names:
            if isinstance(one, str) and one.strip("_").lower() in RETIRED_NAMES:
                found.add(one)
    allowed = {n for part, names in ALLOWED_NAMES.items() if name.startswith(part) for n in names}
    return sorted(found - allowed)


def test_retired_words_are_found_wherever_people_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.test_words.ROOT", tmp_path)
    (tmp_path / "page.md").write_text("Nobody reads\n`told` or\n```\ntold\n```\nlooks\nat this.\n")
    assert [line.partition(": ")[0] for line in retired_words("page.md")] == [
        "page.md:1",
        "page.md:6",
    ]
    (tmp_path / "code.py").write_text(
        'told = 1\nx = f"it {told} tells " "of it"\n# one that looks\n# at it\n'
        'def f(asked: int) -> str:\n    """It is no URL. There is no URL. It is no longer."""\n'
    )
    assert [line.partition(": ")[0] for line in retired_words("code.py")] == [
        "code.py:2", "code.py:3", "code.py:6",
    ]  # fmt: skip
    assert retired_names("code.py") == ["asked", "told"]
    (tmp_path / "function.sql").write_text("-- Mended in two\n-- steps, by\n-- itself\n")
    assert len(retired_words("function.sql")) == 2


@pytest.mark.parametrize("name", FILES)
def test_no_retired_word_is_used(name: str) -> None:
    assert retired_words(name) == []
    assert retired_names(name) == []
