"""What people write today: asyncio and aiohttp, one task per device, all at once."""

import asyncio
import json
import sys
import time

import aiohttp


async def push(session, base, body):
    async with session.get(f"{base}/api/info") as answer:
        await answer.json()
    login = f"{base}/api/v1/login?username=admin&password=E10ADC3949BA59ABBE56E057F20F883E"
    async with session.get(login) as answer:
        token = (await answer.json())["token"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    path = f"{base}/api/v1/access/timeprofile/items/link"
    async with session.post(path, data=body, headers=headers) as answer:
        result = (await answer.json())["result"]
    assert all(item["success"] for item in result)


async def main():
    address, panels, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    body = sys.stdin.read()
    json.loads(body)
    started = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit)) as session:
        bases = (f"{address}/panels/sim-{n:04d}" for n in range(1, panels + 1))
        await asyncio.gather(*(push(session, base, body) for base in bases))
    print(time.monotonic() - started)


asyncio.run(main())
