"""Where the service listens."""

import asyncio
import socket

from schedsearch.cli.serve import _listening


def test_small_answers_are_sent_at_once():
    """Else the end of one waits until its beginning is acknowledged, which takes 40 ms."""

    async def delays() -> bool:
        asked = asyncio.get_running_loop().create_future()
        with _listening("127.0.0.1", 0) as listener:
            server = await asyncio.start_server(
                lambda _, sink: asked.set_result(sink), sock=listener
            )
            _, client = await asyncio.open_connection(*listener.getsockname())
            sink = await asked
            option = sink.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY
            )
            for one in (sink, client):
                one.close()
                await one.wait_closed()
            server.close()
            await server.wait_closed()
            return option == 0

    assert not asyncio.run(delays())
