"""Webhooks against a real HTTP server: what is posted, what is tried again, and what is never done."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bulkmail.clock import SystemClock
from bulkmail.config.secrets import Target
from bulkmail.engine import webhooks
from bulkmail.engine.webhooks import Pusher, WebhookThread, pause_seconds
from bulkmail.events.log import EventLog
from bulkmail.events.places import PlaceFile
from bulkmail.model.campaign import Webhook
from bulkmail.model.delivery import Event
from bulkmail.sandbox.certificate import Authority, server_context
from tests.store.conftest import FakeClock

SECRET = b"a secret of some length"
DOCS = Path(__file__).parents[2] / "docs" / "webhooks.md"


class Receiver:
    """Answers with `statuses` in turn, then 204; keeps what it got."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 204
        headers = {"Location": f"http://127.0.0.1:{self.port}/other"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in self.requests for event in json.loads(body)["events"]]


class State:
    """A state directory with logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "events").mkdir()

    def log(self, run: str, *names: str, first: int = 0) -> None:
        log = EventLog(self.path / "events" / f"{run}.ndjson")
        log.append([event(run, name, first + number) for number, name in enumerate(names)])
        log.close()


def event(run: str, name: str, number: int) -> Event:
    return Event(time="2027-03-01T08:15:00.123Z", event=name, run=run.partition(".")[0],
                 recipient=f"reader{number}@house.example")  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Scene = Callable[[str], Awaitable[None]]


def served(receiver: Receiver, scene: Scene, *, context: ssl.SSLContext | None = None) -> None:
    """Play the scene, which is given the receiver's URL."""

    async def main() -> None:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", receiver.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        receiver.port = runner.addresses[0][1]
        try:
            async with asyncio.timeout(10):
                await scene(f"http{'s' if context else ''}://localhost:{receiver.port}/hook")
        finally:
            await runner.cleanup()

    asyncio.run(main())


def pusher(state: State, url: str, clock: Any, **options: Any) -> Pusher:
    context = options.pop("context", None)
    hook = Webhook(url=url, secret_env="X", **{"allow_private": True, **options})
    return Pusher(state.path, "spring", Target(hook, SECRET), clock=clock, context=context)


def wait_for(what: Callable[[], object]) -> None:
    while not what():
        time.sleep(0.001)


async def pushed(state: State, url: str, clock: Any, **options: Any) -> Pusher:
    one = pusher(state, url, clock, **options)
    try:
        await one.push_all()
    finally:
        await one.close()
    return one


def test_every_event_is_posted_once_in_order_and_in_batches(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", *["attempt"] * 25)
        done = await pushed(state, url, clock, batch=10)
        assert (done.progress.events, done.progress.requests, done.progress.waiting_bytes) == (25, 3, 0)
        state.log("spring-1", "run", first=25)
        state.log("spring-1.feedback", "bounce", first=26)
        state.log("autumn-1", "attempt")
        await pushed(state, url, clock, batch=10)

    served(receiver, scene)
    assert [len(json.loads(body)["events"]) for _, body in receiver.requests] == [10, 10, 5, 1, 1]
    assert [each["recipient"] for each in receiver.events] == [f"reader{n}@house.example" for n in range(27)]


def test_the_lines_of_the_log_are_posted_as_they_are(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        await pushed(state, url, clock)

    served(receiver, scene)
    line = (state.path / "events" / "spring-1.ndjson").read_bytes().strip()
    assert receiver.requests[0][1].endswith(b'"events":[' + line + b"]}")


def test_the_documented_verification_accepts_what_is_posted_and_nothing_that_was_changed(state: State) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")

        await pushed(state, url, SystemClock)

    served(receiver, scene)
    ((headers, body),) = receiver.requests
    assert names["verified"](SECRET, headers, body)
    assert not names["verified"](SECRET, headers, body + b" ")
    assert not names["verified"](b"another", headers, body)
    later = headers | {"Bulkmail-Timestamp": str(int(headers["Bulkmail-Timestamp"]) + 1)}
    assert not names["verified"](SECRET, later, body)
    old = headers | {"Bulkmail-Timestamp": str(int(headers["Bulkmail-Timestamp"]) - 1000)}
    assert not names["verified"](SECRET, old, body)
    assert json.loads(body)["delivery"] == headers["Bulkmail-Delivery"]


def test_a_failure_is_tried_again_after_a_pause_that_a_restart_does_not_shorten(state: State, clock: FakeClock) -> None:
    receiver = Receiver(500, 503)

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        for pause in (pause_seconds(1), pause_seconds(2)):
            failed = await pushed(state, url, clock)
            assert "status 50" in failed.progress.problem
            assert failed.progress.retry_at == clock.now + pause
            asked = len(receiver.requests)
            clock.now += pause - 0.01
            await pushed(state, url, clock)
            assert len(receiver.requests) == asked
            clock.now += 0.01
        done = await pushed(state, url, clock)
        assert (done.progress.events, done.progress.problem) == (1, "")

    served(receiver, scene)
    ids = {headers["Bulkmail-Delivery"] for headers, _ in receiver.requests}
    assert len(receiver.requests) == 3
    assert len(ids) == 1


def test_pauses_double_up_to_ten_minutes() -> None:
    assert [pause_seconds(failures) for failures in (1, 2, 3, 20, 10_000)] == [1, 2, 4, 600, 600]


def test_a_redirect_is_a_failure_and_not_followed(state: State, clock: FakeClock) -> None:
    receiver = Receiver(307)

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        failed = await pushed(state, url, clock)
        assert "redirect" in failed.progress.problem

    served(receiver, scene)
    assert len(receiver.requests) == 1


def test_a_private_address_is_not_connected_to_unless_that_is_allowed(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        for where in (url, url.replace("localhost", "127.0.0.1")):
            failed = await pushed(state, where, clock, allow_private=False)
            assert "loopback" in failed.progress.problem

    served(receiver, scene)
    assert receiver.requests == []


def test_certificates_are_verified(state: State, clock: FakeClock) -> None:
    authority = Authority(now_seconds=time.time())
    receiver = Receiver()
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        failed = await pushed(state, url, clock)
        assert "certificate" in failed.progress.problem
        clock.now += 10
        done = await pushed(state, url, clock, context=trusting)
        assert done.progress.problem == ""

    served(receiver, scene, context=server_context(*authority.issue(["localhost"])))
    assert len(receiver.events) == 1


def test_only_the_events_asked_for_are_posted_and_the_others_do_not_wait(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt", "run", "bounce", "attempt")
        done = await pushed(state, url, clock, events=("bounce",))
        assert done.progress.waiting_bytes == 0

    served(receiver, scene)
    assert [each["event"] for each in receiver.events] == ["bounce"]


def test_a_new_receiver_hears_of_the_latest_run_alone_and_then_of_what_comes_back_for_others(
    state: State, clock: FakeClock
) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-9", "attempt")
        state.log("spring-10", "run")
        await pushed(state, url, clock)
        state.log("spring-9.feedback", "complaint")
        await pushed(state, url, clock)

    served(receiver, scene)
    heard = [(each["run"], each["event"]) for each in receiver.events]
    assert heard == [("spring-10", "run"), ("spring-9", "complaint")]


def test_two_processes_do_not_post_the_same(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        first, second = pusher(state, url, clock), pusher(state, url, clock)
        try:
            await first.push_all()
            state.log("spring-1", "run")
            await second.push_all()
            assert second.progress.problem == "another process posts to it"
            assert len(receiver.requests) == 1
        finally:
            await first.close()
            await second.close()

    served(receiver, scene)


def test_a_log_that_was_cut_off_and_written_on_holds_nothing_up(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "rejected", "rejected", "rejected")
        await pushed(state, url, clock)
        log = EventLog(state.path / "events" / "spring-1.ndjson")
        log.truncate(0)
        log.append([event("spring-1", "rejected", 0)])
        log.close()
        await pushed(state, url, clock)
        state.log("spring-1", "run")
        await pushed(state, url, clock)

    served(receiver, scene)
    assert receiver.events[-1]["event"] == "run"


def test_a_line_that_is_not_whole_yet_waits(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        state.log("spring-1", "attempt")
        path = state.path / "events" / "spring-1.ndjson"
        line = path.read_bytes()
        path.write_bytes(line + line[:40])
        await pushed(state, url, clock)
        path.write_bytes(line + line)
        await pushed(state, url, clock)

    served(receiver, scene)
    assert [len(json.loads(body)["events"]) for _, body in receiver.requests] == [1, 1]


def test_the_thread_posts_while_events_come_and_ends_with_what_is_left(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        hook = Webhook(url=url, secret_env="X", allow_private=True)
        thread = WebhookThread(state.path, {"spring": [Target(hook, SECRET)]}, clock=clock)
        thread.start()
        state.log("spring-1", "run")
        await asyncio.to_thread(thread.stop, 5.0)
        assert thread.progress[0].events == 1

    served(receiver, scene)


def test_a_receiver_that_never_answers_ends_nobody_and_is_told_of(state: State) -> None:
    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server:
            hook = Webhook(
                url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", secret_env="X", allow_private=True
            )
            state.log("spring-1", "run")
            thread = WebhookThread(state.path, {"spring": [Target(hook, SECRET)]}, clock=FakeClock())
            thread.start()
            await asyncio.wait_for(asyncio.to_thread(thread.stop, 0.2), 5)
            assert thread.progress[0].waiting_bytes > 0

    asyncio.run(main())


def test_a_place_file_that_is_damaged_stops_the_posting_with_a_sentence(state: State) -> None:
    hook = Webhook(url="http://127.0.0.1:1/", secret_env="X", allow_private=True)
    state.log("spring-1", "run")
    first = Pusher(state.path, "spring", Target(hook, SECRET), clock=FakeClock())
    asyncio.run(first.push_all())
    asyncio.run(first.close())
    (file,) = (state.path / "events" / "webhooks").glob("*.json")
    file.write_bytes(b"{")
    thread = WebhookThread(state.path, {"spring": [Target(hook, SECRET)]}, clock=FakeClock())
    thread.start()
    thread.stop(1.0)
    assert str(file) in thread.progress[0].problem


def test_two_campaigns_with_one_receiver_do_not_wait_for_each_other(state: State, clock: FakeClock) -> None:
    receiver = Receiver()

    async def scene(url: str) -> None:
        hook = Webhook(url=url, secret_env="X", allow_private=True)
        for campaign in ("spring", "autumn"):
            state.log(f"{campaign}-1", "run")
        targets = {"spring": [Target(hook, SECRET)], "autumn": [Target(hook, SECRET)]}
        thread = WebhookThread(state.path, targets, clock=clock)
        thread.start()
        await asyncio.to_thread(thread.stop, 5.0)
        assert [one.events for one in thread.progress] == [1, 1]

    served(receiver, scene)
    assert {each["run"] for each in receiver.events} == {"spring-1", "autumn-1"}
    assert len({headers["Bulkmail-Delivery"] for headers, _ in receiver.requests}) == 2


def test_what_the_disk_or_the_state_refuses_is_tried_again(
    state: State, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TROUBLE_PAUSE_SECONDS", 0.01)
    receiver = Receiver()

    async def scene(url: str) -> None:
        hook = Webhook(url=url, secret_env="X", allow_private=True)
        state.log("spring-1", "run")
        folder = state.path / "events" / "webhooks"
        first = Pusher(state.path, "spring", Target(hook, SECRET), clock=clock)
        await first.close()
        file = PlaceFile(state.path / "events", "spring", url)
        damaged = folder / f"{file.id}.json"
        damaged.write_bytes(b"{")
        thread = WebhookThread(state.path, {"spring": [Target(hook, SECRET)]}, clock=clock)
        thread.start()
        await asyncio.to_thread(wait_for, lambda: thread.progress[0].problem)
        damaged.unlink()
        await asyncio.to_thread(wait_for, lambda: receiver.requests)
        await asyncio.to_thread(thread.stop, 5.0)
        assert (thread.progress[0].events, thread.progress[0].problem) == (1, "")

    served(receiver, scene)
