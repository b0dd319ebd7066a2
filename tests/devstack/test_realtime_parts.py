"""The pure parts of the development Realtime server: frames, filters, values, tokens, rates."""

from __future__ import annotations

import contextlib
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.devstack.realtime.faults import Faults
from meshmetrics.devstack.realtime.filters import Filter, FilterError, parse
from meshmetrics.devstack.realtime.frames import (
    VERSIONS,
    Broadcast,
    Frame,
    FrameError,
    Version,
    decode,
    decode_binary,
    encode,
    encode_broadcast,
)
from meshmetrics.devstack.realtime.limits import RateCounter
from meshmetrics.devstack.realtime.tokens import REQUIRED, TokenError, mint, verify
from meshmetrics.devstack.realtime.values import fragment

SECRET = "a secret that is long enough for HS256"


class TestFrames:
    def test_a_frame_of_either_version_is_read_alike(self) -> None:
        one = '{"topic":"realtime:x","event":"e","payload":{"a":1},"ref":"2","join_ref":"1"}'
        two = '["1","2","realtime:x","e",{"a":1}]'
        wanted = ("realtime:x", "e", {"a": 1}, "2", "1")
        for text, version in ((one, VERSIONS["1.0.0"]), (two, VERSIONS["2.0.0"])):
            frame = decode(text, version)
            assert (
                frame.topic,
                frame.event,
                frame.payload,
                frame.ref,
                frame.join_ref,
            ) == wanted

    @pytest.mark.parametrize("text", ["hello", "1", "{}", "[]", '["1","2",3,"e",{}]', "null", '""'])
    @pytest.mark.parametrize("version", [1, 2])
    def test_what_is_no_frame_is_refused(self, text: str, version: Version) -> None:
        with pytest.raises(FrameError):
            decode(text, version)

    def test_a_frame_of_the_other_version_is_refused(self) -> None:
        with pytest.raises(FrameError):
            decode('["1","2","phoenix","heartbeat",{}]', 1)
        with pytest.raises(FrameError):
            decode('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}', 2)

    @given(st.text())
    def test_noise_raises_nothing_but_a_frame_error(self, noise: str) -> None:
        for version in (VERSIONS["1.0.0"], VERSIONS["2.0.0"]):
            with contextlib.suppress(FrameError):
                assert isinstance(decode(noise, version), Frame)

    def test_a_binary_push_is_read_as_the_real_clients_write_it(self) -> None:
        data = bytes.fromhex("0301020c0500013537377265616c74696d653a62696e68656c6c6f7b2278223a317d")
        frame, broadcast = decode_binary(data)
        assert (frame.join_ref, frame.ref, frame.topic) == ("5", "77", "realtime:bin")
        assert (broadcast.event, broadcast.body, broadcast.is_json) == ("hello", b'{"x":1}', True)

    @given(st.binary(max_size=40))
    def test_binary_noise_raises_nothing_but_a_frame_error(self, noise: bytes) -> None:
        for data in (noise, b"\x03" + noise):
            with contextlib.suppress(FrameError):
                decode_binary(data)

    def test_a_binary_broadcast_is_written_as_the_real_server_does(self) -> None:
        broadcast = Broadcast("hello", b'{"x":1}', binary=True)
        frame = encode_broadcast(2, "realtime:bin", broadcast)
        assert isinstance(frame, bytes)
        assert frame.hex() == "040c0500017265616c74696d653a62696e68656c6c6f7b2278223a317d"

    def test_version_one_gets_binary_json_as_json_and_other_bytes_not_at_all(self) -> None:
        frame = encode_broadcast(1, "realtime:bin", Broadcast("hello", b'{"x":1}', binary=True))
        assert isinstance(frame, str)
        assert json.loads(frame)["payload"] == {
            "event": "hello",
            "payload": {"x": 1},
            "type": "broadcast",
        }
        noise = Broadcast("hello", b"\0\1\xff", is_json=False, binary=True)
        assert encode_broadcast(1, "realtime:bin", noise) is None

    def test_version_one_has_no_join_ref(self) -> None:
        assert json.loads(encode(1, "t", "e", "{}", "2", "1")) == {
            "topic": "t",
            "event": "e",
            "payload": {},
            "ref": "2",
        }
        assert json.loads(encode(2, "t", "e", "{}", "2", "1")) == ["1", "2", "t", "e", {}]


class TestFilters:
    def test_a_condition_is_column_operator_and_value(self) -> None:
        assert parse("status=neq.running") == (Filter("status", "neq", "running"),)
        assert parse("a=eq.b=c.d") == (Filter("a", "eq", "b=c.d"),)
        assert parse("a=not.is.null") == (Filter("a", "is", "null", negated=True),)
        assert parse("id=in.(1,2,3),n=gt.5") == (
            Filter("id", "in", "{1,2,3}"),
            Filter("n", "gt", "5"),
        )
        assert parse(" ") == ()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("n=foo.1", 'Error parsing `filter` params: ["foo", "1"]'),
            ("wrong", 'Error parsing `filter` params: ["wrong"]'),
            ("n=eq", 'Error parsing `filter` params: ["eq"]'),
            ("n=in.1,2", "must be wrapped by parentheses"),
            ("n=is.maybe", "must be one of"),
        ],
    )
    def test_a_wrong_filter_is_refused_in_the_real_servers_words(
        self, text: str, message: str
    ) -> None:
        with pytest.raises(FilterError) as raised:
            parse(text)
        assert message in str(raised.value)

    def test_a_filter_prints_as_the_real_server_prints_it(self) -> None:
        assert str(Filter("nope", "eq", "1")) == '{"nope", "eq", "1", false}'


@pytest.mark.parametrize(
    ("text", "type_oid", "wanted"),
    [
        (None, 25, "null"),
        ("t", 16, "true"),
        ("9007199254740993", 20, "9007199254740993"),
        ("1e+30", 701, "1e+30"),
        ("NaN", 1700, '"NaN"'),
        ("007", 25, '"007"'),
        ('{"a": [1, null, "é"]}', 3802, '{"a": [1, null, "é"]}'),
        ("2026-11-23 18:56:33.077074+00", 1184, '"2026-11-23T18:56:33.077074+00:00"'),
        ("infinity", 1184, '"infinity"'),
        ("2026-11-23 18:56:33", 1114, '"2026-11-23T18:56:33"'),
        ("{1,NULL,3}", 1007, "[1, null, 3]"),
        ('{{"a,b","c\\"d"},{NULL,"NULL"}}', 1009, '[["a,b", "c\\"d"], [null, "NULL"]]'),
        ("{}", 1009, "[]"),
        ("\\x00ff", 17, '"\\\\x00ff"'),
    ],
)
def test_a_value_becomes_the_json_that_postgres_would_make(
    text: str | None, type_oid: int, wanted: str
) -> None:
    assert fragment(text, type_oid) == wanted
    json.loads(wanted)


class TestTokens:
    def test_a_minted_token_is_good(self) -> None:
        claims = verify(mint(SECRET, "authenticated", sub="u", tenant="t1"), SECRET)
        assert (claims["role"], claims["sub"], claims["tenant"]) == ("authenticated", "u", "t1")

    @pytest.mark.parametrize(
        ("token", "code", "message"),
        [
            ("abc", "MalformedJWT", "The token provided is not a valid JWT"),
            (
                mint("another secret, also long enough", "anon"),
                "JwtSignatureError",
                "Failed to validate JWT signature",
            ),
            (mint(SECRET, "anon", expires_in=-60), "InvalidJWTToken", "Token has expired "),
            (jwt.encode({"role": "anon"}, SECRET), "InvalidJWTToken", REQUIRED),
            (jwt.encode({"exp": 2_000_000_000}, SECRET), "InvalidJWTToken", REQUIRED),
        ],
        ids=["malformed", "forged", "expired", "no exp", "no role"],
    )
    def test_a_bad_token_is_refused_in_the_real_servers_words(
        self, token: str, code: str, message: str
    ) -> None:
        with pytest.raises(TokenError) as raised:
            verify(token, SECRET)
        assert raised.value.code == code
        assert message in str(raised.value)


class TestRates:
    def test_the_rate_is_an_average_so_a_burst_counts_until_it_is_old(self) -> None:
        now = 1000.0
        counter = RateCounter(limit=100, over=60, clock=lambda: now)
        counter.add(6000)
        assert not counter.exceeded()
        counter.add()
        assert counter.exceeded()
        now += 59
        assert counter.exceeded()
        now += 2
        assert not counter.exceeded()

    def test_what_is_about_to_come_counts_in_full(self) -> None:
        counter = RateCounter(limit=100, over=60, clock=lambda: 0.0)
        assert not counter.exceeded(100)
        assert counter.exceeded(101)


def test_faults_are_the_same_in_every_run_of_one_seed() -> None:
    def copies() -> list[list[float]]:
        faults = Faults(reorder=1.0, repeat=1, seed=7)
        return [faults.copies() for _ in range(5)]

    assert copies() == copies()
    assert all(len(times) == 2 and 0 <= min(times) <= max(times) <= 1 for times in copies())
