"""A model behind an address: right answers come, and a server that is slow, wrong, busy or gone ends in one clear error."""

from __future__ import annotations

import random
import socket
import threading
import time

import pytest

from pinisi.base.errors import ConfigError
from pinisi.evaluate.prompting import GenerationSettings, OpenPrompt
from pinisi.evaluate.served.client import RequestRefused, ServedModel, ServerClient, ServerError
from pinisi.evaluate.served.generator import ServedGenerator
from pinisi.evaluate.served.parallel import in_parallel
from tests.evaluate.server import Reply, chat, completion, serving

SETTINGS = GenerationSettings(9, ("\n",))
PROMPT = OpenPrompt(messages=({"role": "user", "content": "Kapal apa?"},))


def generator(address: str, waits: list[float] | None = None, **settings) -> ServedGenerator:
    """With waits that are counted instead of waited."""
    return ServedGenerator(
        ServedModel(address, "m", **settings), [].append if waits is None else waits.append
    )


def test_answers_come_in_the_order_of_prompts_whatever_order_they_are_done_in() -> None:
    draw = random.Random(3)
    texts = [f"prompt {n}" for n in range(23)]
    prompts = [
        OpenPrompt(text) if draw.random() < 0.5 else OpenPrompt(messages=({"role": "user", "content": text},))
        for text in texts
    ]
    holds = [draw.random() / 50 for _ in texts]

    def answer(asked):
        make = completion if "prompt" in asked.body else chat
        reply = make(f"to {asked.text}")
        return reply._replace(hold=holds[int(asked.text.split()[1])])

    with serving(answer) as server:
        found = generator(server.address, parallel=5).generate(prompts, SETTINGS)
    assert [answer.text for answer in found] == [f"to {text}" for text in texts]
    for asked in server.asked:
        plain = asked.path == "/v1/completions"
        assert plain == ("prompt" in asked.body) and plain != ("messages" in asked.body)
        assert asked.body["model"] == "m" and asked.body["max_tokens"] == 9 and asked.body["temperature"] == 0
        assert asked.body["stop"] == ["\n"]


def test_so_many_requests_are_under_way_at_once_and_no_more() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def work(_) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1

    assert {n for n, _ in in_parallel(work, range(30), 4)} == set(range(30))
    assert most[0] == 4


def test_how_an_answer_ended_is_told() -> None:
    replies = [
        (chat("a\nb"), ("a", "text")),  # a server that leaves the stop text in
        (chat("a", stop_reason="\n"), ("a", "text")),
        (chat("a"), ("a", "token")),
        (chat("a", "length"), ("a", "length")),
        (chat(None, "length"), ("", "length")),
    ]
    for reply, wanted in replies:
        with serving(lambda _, reply=reply: reply) as server:
            (found,) = generator(server.address).generate([PROMPT], SETTINGS)
        assert (found.text, found.ended) == wanted and found.tokens == 7


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"error": {"message": "boom"}}, 500), "says 500 (boom)"),
        (Reply({"error": {"message": "slow down"}}, 429), "says 429 (slow down)"),
        (Reply(b"<html>gateway</html>", 502), "says 502"),
        (Reply(b"<html>hello</html>"), "no JSON"),
        (Reply({"choices": []}), "no choice with a text"),
        (Reply([1, 2]), "no choice with a text"),
        (
            Reply({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}),
            "no text but NoneType",
        ),
        (Reply({"choices": [{"message": {"content": ["a"]}}]}), "no text but list"),
        (Reply(b"[" * 100_000), "no JSON"),
        (chat("whole")._replace(cut=20), "no JSON"),
        (chat("late")._replace(hold=0.7), "within 0.3 s"),
        (chat("dripping")._replace(drip=0.06), "within 0.3 s"),
    ],
)
def test_what_may_pass_is_asked_for_again_and_told_when_it_does_not(reply, words) -> None:
    waits: list[float] = []
    timeout = 0.3 if "0.3" in words else 20.0
    with serving(lambda _: reply) as server:
        with pytest.raises(ServerError, match="asked 3 times for m") as told:
            generator(server.address, waits, attempts=3, timeout=timeout).generate([PROMPT], SETTINGS)
        assert words in str(told.value) and server.address in str(told.value)
        assert len(str(told.value)) < 900 and "\n" not in str(told.value)
    assert len(waits) == 2 and 0.75 <= waits[0] <= 1.25 and 1.5 <= waits[1] <= 2.5
    with serving(lambda asked: reply if asked.number < 2 else chat("fine")) as server:
        found = generator(server.address, attempts=9, timeout=timeout).generate([PROMPT], SETTINGS)
        assert found[0].text == "fine"


def test_a_server_that_says_when_to_come_back_is_believed_up_to_a_minute() -> None:
    waits: list[float] = []
    says = ["7", "86400", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "nan"]

    def answer(asked):
        if asked.number < len(says):
            return Reply(state=503, headers={"Retry-After": says[asked.number]})
        return chat("fine")

    with serving(answer) as server:
        generator(server.address, waits, attempts=9).generate([PROMPT], SETTINGS)
    assert waits[0] == 7 and waits[1] == 60 and waits[2] < 6 and waits[3] < 11 and waits[4] < 21


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), "into PINISI_TEST_KEY"),
        (Reply({"detail": "Not Found"}, 404), "mostly ends in /v1"),
        (Reply({"error": {"message": "prompt too long"}}, 400), "too long for m"),
        (Reply({"error": {"code": "insufficient_quota", "message": "pay"}}, 429), "insufficient_quota"),
        (Reply(state=307, headers={"Location": "http://elsewhere.example/v1"}), "elsewhere.example"),
        (Reply(state=418), "says 418"),
    ],
)
def test_what_cannot_pass_is_told_at_once(reply, words, monkeypatch) -> None:
    monkeypatch.setenv("PINISI_TEST_KEY", "secret-word")
    waits: list[float] = []
    with serving(lambda _: reply) as server, pytest.raises(ServerError, match=words):
        generator(server.address, waits, key_variable="PINISI_TEST_KEY").generate([PROMPT], SETTINGS)
    assert not waits and len(server.asked) == 1


def test_a_server_that_is_not_there_is_told(monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # an address of this machine goes through no proxy
    with pytest.raises(ServerError, match=r"can't be reached.*refused"):
        generator(address, attempts=2).generate([PROMPT], SETTINGS)
    with serving(lambda _: chat("fine")) as server:
        assert generator(server.address).generate([PROMPT], SETTINGS)[0].text == "fine"


def test_the_key_goes_to_the_server_alone(monkeypatch) -> None:
    monkeypatch.setenv("PINISI_TEST_KEY", " secret-word\n")
    with serving(lambda _: Reply({"error": {"message": "not with secret-word"}}, 403)) as server:
        served = ServedModel(server.address, "m", "PINISI_TEST_KEY")
        with pytest.raises(ServerError) as told:
            ServerClient(served).ask("completions", {}, lambda value: value)
        assert server.asked[0].headers["Authorization"] == "Bearer secret-word"
        assert "secret" not in str(told.value) and "***" in str(told.value) and "secret" not in repr(served)
    monkeypatch.delenv("PINISI_TEST_KEY")
    with serving(lambda _: chat("fine")) as server:
        ServerClient(served.__class__(server.address, "m", "PINISI_TEST_KEY")).ask(
            "c", {}, lambda value: value
        )
        assert "Authorization" not in server.asked[0].headers
    monkeypatch.setenv("PINISI_TEST_KEY", "a\nb")
    with pytest.raises(ConfigError, match="holds no key"):
        ServerClient(served)


def test_a_refused_request_does_without_what_the_server_names() -> None:
    def answer(asked):
        for name, other in (("max_tokens", "max_completion_tokens"), ("temperature", "the default")):
            if name in asked.body:
                return Reply({"error": {"message": f"Unsupported: '{name}', use {other}"}}, 400)
        return chat(str(asked.body["max_completion_tokens"]))

    with serving(answer) as server:
        mine = generator(server.address, parallel=1)
        assert [a.text for a in mine.generate([PROMPT] * 3, SETTINGS)] == ["9"] * 3
        assert len(server.asked) == 5
    with serving(lambda _: Reply({"error": {"message": "no temperature here"}}, 400)) as server:
        with pytest.raises(RequestRefused):
            generator(server.address).generate([PROMPT], SETTINGS)
        assert len(server.asked) == 2


def test_the_first_error_ends_all_and_no_further_request_is_sent() -> None:
    with serving(lambda asked: Reply(state=401) if asked.number else chat("a")) as server:
        with pytest.raises(ServerError, match="401"):
            generator(server.address, parallel=2).generate([PROMPT] * 50, SETTINGS)
        time.sleep(0.1)
        assert len(server.asked) <= 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "localhost:8000"}, "none of a server"),
        ({"address": "file:///etc/passwd"}, "none of a server"),
        ({"address": "http://h:port/v1"}, "can't be read"),
        ({"address": "http://me:word@h/v1"}, "holds a user"),
        ({"address": "http://h/v1?key=1"}, "holds a user, a query"),
        ({"name": ""}, "no name"),
        ({"parallel": 0}, "must be above 0"),
        ({"timeout": float("nan")}, "must be above 0"),
    ],
)
def test_what_is_no_served_model_is_told(settings, words) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        ServedModel(**{"address": "http://h/v1", "name": "m", **settings})
    assert "word@" not in str(told.value)
