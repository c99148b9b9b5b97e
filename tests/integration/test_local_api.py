"""The device's own interface: still pictures, their verdicts, and those who should not come in."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette

from vedette.clock import SystemClock
from vedette.edge.local.app import StillService, build
from vedette.edge.local.serve import read_token
from vedette.edge.models import Models
from vedette.edge.settings import EdgeConfig, LocalApi
from vedette.errors import ConfigError
from vedette.inference.library import Library
from vedette.sim.closed_world import BLUE, Quirk, World, back_and_forth, write_bundle
from vedette.sim.faults import free_port
from vedette.vision.quality import QualityLimits

TOKEN = "a-token-of-this-test-only"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WORLD = World([back_and_forth(1, y=0.8, start_s=0.0, legs=2, leg_s=4.0)])


def jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    """Return a uint8 BGR picture as JPEG."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def walker(scale: int = 4) -> np.ndarray:
    """Return a picture with one walker in it, large and textured enough to be a good one."""
    small = WORLD.picture(1.0)
    large = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    noise = np.random.default_rng(1).integers(-6, 7, large.shape)
    return np.clip(large.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def oriented(data: bytes, orientation: int) -> bytes:
    """Return a JPEG with EXIF data that names one of the eight orientations."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\x00\x00"
    tiff = b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + entry + b"\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds walkers, and one that answers nonsense."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder / "walkers")
    return folder


Client = Callable[..., httpx.Client]
Server = Callable[[Starlette], httpx.Client]


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve an application on a real socket; return a caller of it."""
    with contextlib.ExitStack() as ending:

        def start(app: Starlette) -> httpx.Client:
            listening = socket.create_server(("127.0.0.1", 0))
            running = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
            thread.start()
            ending.callback(thread.join, 20)
            ending.callback(setattr, running, "should_exit", True)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            # Made while the thread starts: connections wait in the socket's backlog.
            return ending.enter_context(httpx.Client(base_url=address, headers=BEARER, timeout=30))

        yield start


@pytest.fixture
def client(server: Server, models_dir: Path) -> Client:
    """Return a caller of the service over these models."""

    def make(folder: Path = models_dir, *, sure: float = 0.6, **limits: Any) -> httpx.Client:
        clock = SystemClock()
        models = Models(Library(folder), ["cpu"], clock)
        service = StillService(models, ("walkers", "absent"), sure, clock)
        return server(build(service, TOKEN, at_once=1, **limits))

    return make


def test_a_good_picture_is_accepted_with_what_is_in_it(client: Client) -> None:
    """The walker is found where it stands, in pixels of the picture that was sent."""
    picture = walker()
    answer = client().post("/v1/infer", content=jpeg(picture))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["verdict"] == "accepted", found
    (one,) = found["objects"]
    height, width = picture.shape[:2]
    assert found["picture_px"] == [width, height]
    (true,) = WORLD.boxes(1.0).values()
    small_h, small_w = WORLD.picture(1.0).shape[:2]
    scale = np.array([width / small_w, height / small_h] * 2)
    assert np.abs(np.array(one["xyxy"]) - np.array(true) * scale).max() <= 8 * scale.max()
    assert one["label"] == "person"
    assert found["model"] == "walkers"
    assert found["digest"].startswith("sha256:")


def test_an_unsure_answer_needs_a_person(client: Client) -> None:
    """Nothing below `sure` is accepted, however good the picture."""
    answer = client(sure=1.0).post("/v1/infer", content=jpeg(walker())).json()
    assert answer["verdict"] == "needs_human"
    assert answer["why"][0].startswith("person at ")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (np.zeros_like, "ImageTooDark"),
        (lambda p: np.full_like(p, 255), "ImageTooBright"),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 25), "ImageTooBlurry"),
        (lambda p: p[:40, :40], "LowResolution"),
    ],
)
def test_a_bad_picture_is_to_be_taken_again_and_the_model_does_not_run(
    client: Client, spoil: Any, problem: str
) -> None:
    """The person with the camera is told what to change; `force` runs the model all the same."""
    data = jpeg(spoil(walker()))
    caller = client()
    assessed = caller.post("/v1/assess", content=data).json()
    assert assessed["verdict"] == "recapture"
    assert problem in assessed["quality"]["problems"]
    assert len(assessed["quality"]["advice"]) == len(assessed["quality"]["problems"])
    refused = caller.post("/v1/infer", content=data).json()
    assert refused["verdict"] == "recapture"
    assert refused["objects"] is refused["model_ms"] is None
    forced = caller.post("/v1/infer?force=1", content=data).json()
    assert forced["verdict"] == "recapture"
    assert forced["objects"] is not None


def test_a_picture_as_large_as_the_models_input_is_large_enough(client: Client) -> None:
    """A model made for small pictures gets them; without a model the usual limit stands."""
    small = walker(scale=1)
    assert small.shape[0] < QualityLimits().picture_px[1]
    caller = client()
    assessed = caller.post("/v1/assess", content=jpeg(small)).json()
    assert assessed["quality"]["problems"] == ["LowResolution"]
    assert assessed["turned_deg"] == 0
    found = caller.post("/v1/infer", content=jpeg(small)).json()
    assert found["quality"]["problems"] == []
    assert len(found["objects"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v2/infer", 404), ("GET", "/", 404), ("GET", "/v1/infer", 405)],
)
def test_what_there_is_not_is_a_problem_document(
    client: Client, method: str, path: str, status: int
) -> None:
    """An unknown path or method is told as every other error is, with what there is."""
    answer = client().request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert "/v1/assess" in answer.json()["detail"]
    assert (status == 405) == ("allow" in answer.headers)


def test_a_turned_picture_is_seen_upright(client: Client) -> None:
    """EXIF says turn clockwise by 90: the size is that of the upright picture, and it is told."""
    lying = np.ascontiguousarray(np.rot90(walker()))  # turned counterclockwise
    answer = client().post("/v1/infer", content=oriented(jpeg(lying), 6)).json()
    assert answer["turned_deg"] == 90
    assert answer["picture_px"] == [walker().shape[1], walker().shape[0]]
    assert len(answer["objects"]) == 1


def test_png_and_webp_are_read_as_well(client: Client) -> None:
    """What phones and tools send besides JPEG."""
    for extension in (".png", ".webp", ".bmp"):
        data = cv2.imencode(extension, walker())[1].tobytes()
        assert client().post("/v1/assess", content=data).status_code == 200, extension


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF89a....",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        jpeg(walker())[:200],
        jpeg(walker())[: len(jpeg(walker())) * 7 // 10],
        jpeg(walker())[: len(jpeg(walker())) * 19 // 20],
        b"\xff\xd8\xff" + b"\x00" * 4_000,
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02" * 9,
    ],
    ids=[
        "empty",
        "gif",
        "svg",
        "cut off",
        "cut at 70 %",
        "cut at 95 %",
        "jpeg of zeros",
        "png of 3.6 gigapixels",
    ],
)
def test_what_is_no_picture_is_refused_with_what_to_send(client: Client, body: bytes) -> None:
    """422 as a problem document, nothing worse."""
    answer = client().post("/v1/infer", content=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize("shown", ["", "Bearer wrong", "Basic eDp5", f"Bearer {TOKEN}x", "Bearer"])
def test_nobody_comes_in_without_the_token(client: Client, shown: str) -> None:
    """401 before a byte of the body is looked at."""
    headers = {"Authorization": shown}
    answer = client().post("/v1/infer", content=jpeg(walker()), headers=headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text


def test_a_body_over_the_limit_is_refused_by_its_header_and_by_its_bytes(client: Client) -> None:
    """Whether the length is told or not."""
    caller = client(max_body_bytes=1_000)
    assert caller.post("/v1/assess", content=b"x" * 2_000).status_code == 413
    chunks = (b"x" * 400 for _ in range(5))
    assert caller.post("/v1/assess", content=chunks).status_code == 413


def test_an_unknown_model_and_a_missing_one_are_told_apart(client: Client) -> None:
    """404 for a name nobody configured, 503 for one whose bundle is not there."""
    caller = client()
    unknown = caller.post("/v1/infer?model=nobody", content=jpeg(walker()))
    assert unknown.status_code == 404
    assert "walkers" in unknown.json()["detail"]
    assert caller.post("/v1/infer?model=absent", content=jpeg(walker())).status_code == 503


def test_a_model_that_answers_nonsense_is_a_clean_error(client: Client, tmp_path: Path) -> None:
    """NaN out of the network is a 503, and the next picture is served."""
    write_bundle(tmp_path / "walkers", Quirk.NAN)
    caller = client(tmp_path)
    blue = walker()
    blue[20:120, 20:220] = BLUE
    answer = caller.post("/v1/infer", content=jpeg(blue))
    assert answer.status_code == 503
    assert caller.post("/v1/assess", content=jpeg(walker())).status_code == 200


def test_more_callers_than_there_is_room_for_are_asked_to_come_back(
    server: Server, models_dir: Path
) -> None:
    """One is worked on, one waits, the third gets 429 and when to come back; nobody is lost."""
    inside, go_on = threading.Semaphore(0), threading.Event()

    class Slow(StillService):
        def assess(self, data: bytes) -> Any:
            inside.release()
            assert go_on.wait(20)
            return super().assess(data)

    clock = SystemClock()
    service = Slow(Models(Library(models_dir), ["cpu"], clock), ("walkers",), 0.6, clock)
    app = build(service, TOKEN, at_once=1)
    caller, data, answers = server(app), jpeg(walker()), []

    def call() -> None:
        answers.append(caller.post("/v1/assess", content=data).status_code)

    first, second = threading.Thread(target=call), threading.Thread(target=call)
    first.start()
    assert inside.acquire(timeout=20)
    second.start()
    while app.state.door.inside < 2:
        assert second.is_alive()
    third = caller.post("/v1/assess", content=data)
    assert third.status_code == 429
    assert third.headers["Retry-After"] == "1"
    go_on.set()
    first.join(20)
    second.join(20)
    assert answers == [200, 200]


def test_the_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """A second start shows the same one; one that others may read is refused."""
    config = EdgeConfig(state_dir=tmp_path / "state", models_dir=tmp_path)
    token, path = read_token(config)
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token(config)[0] == token
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        read_token(config)
    missing = EdgeConfig(
        state_dir=tmp_path, models_dir=tmp_path, local_api=LocalApi(token_file=tmp_path / "none")
    )
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(missing)


@pytest.fixture
def served(models_dir: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`vedette edge serve` as a process of its own, and its address."""
    port = free_port()
    config = tmp_path / "edge.yaml"
    config.write_text(f"state_dir: {tmp_path / 'state'}\nmodels_dir: {models_dir}\n")
    command = ["edge", "serve", "--config", str(config), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "vedette.cli.main", "--log-json", *command],
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if b"local.started" in line:
            break
    yield process, f"http://127.0.0.1:{port}"
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_the_command_serves_and_ends_cleanly(
    served: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    """A real socket, the token from its file, and SIGTERM."""
    process, address = served
    token = (tmp_path / "state" / "local-api.token").read_text()
    retrying = httpx.HTTPTransport(retries=5)  # the socket is there a moment after the log line
    with httpx.Client(transport=retrying, timeout=20) as caller:
        bearer = {"Authorization": f"Bearer {token}"}
        found = caller.post(f"{address}/v1/infer", content=jpeg(walker()), headers=bearer).json()
    assert found["verdict"] == "accepted"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
