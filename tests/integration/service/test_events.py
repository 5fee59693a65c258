"""Streams of events, looked at while studies come and go between two looks at the store."""

import asyncio

import yaml

from schedsearch.service.api.events import _followed
from schedsearch.service.events import Watcher
from tests.integration.service.conftest import STUDY


def test_study_that_is_younger_than_the_last_look_is_followed(service):
    office = service.client.app.state.office

    async def told() -> list[bytes]:
        watcher = Watcher(office.store, period=0.2)
        others = watcher.looks()
        await anext(others)
        office.store.service.add_launch("small", yaml.safe_load(STUDY), "me", "noted")
        stream = _followed(watcher, office, "small", None)
        first = await anext(stream)
        office.store.service.remove_launch("small", None)
        found = [first, *[event async for event in stream]]
        await others.aclose()
        await watcher.close()
        return found

    assert [event.split(b"\n")[0] for event in asyncio.run(told())] == [
        b"event: study",
        b"event: deleted",
    ]
