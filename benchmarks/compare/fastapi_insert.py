"""The plain pattern: FastAPI takes a report as JSON, one INSERT and one commit, then it answers.

Run in its own environment: `python fastapi_insert.py CONNINFO PORT`. Uvicorn with uvloop and
httptools, Pydantic for the frame of the report, an async pool of sixteen connections. It makes no
rollups, no coverage, no liveness, no sequence numbers: the least that a report service does.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel


class Report(BaseModel):
    """What a device sends."""

    device: str
    sent_wall_ms: int
    envelopes: list[dict[str, Any]]


pool = AsyncConnectionPool(sys.argv[1], min_size=8, max_size=16, open=False)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await pool.open(wait=True)
    yield
    await pool.close()


app = FastAPI(lifespan=lifespan)


@app.post("/report")
async def report(got: Report) -> dict[str, int]:
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO naive (device, at_ms, body) VALUES (%s, %s, %s)",
            (got.device, got.sent_wall_ms, Jsonb(got.envelopes)),
        )
    return {"taken": len(got.envelopes)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
