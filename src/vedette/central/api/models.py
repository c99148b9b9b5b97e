"""The registry of models, through the operator API.

Everybody signed in may look; registering and evaluating take an operator of the whole fleet,
thresholds, waivers and signers an administrator of it. The rule: manifests and records are decoded
by the registry's own readers, under its limits, and nothing here decides a verdict.
"""

from typing import Any, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody

from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import IfMatch, require_match, tag_of, tagged
from vedette.central.registry import looking, store, waivers
from vedette.central.registry.judging import judge_anew
from vedette.central.registry.looking import (
    EvaluationListed,
    ModelListed,
    ModelView,
    VersionListed,
    VersionView,
)
from vedette.central.registry.manifest import Lineage
from vedette.central.registry.store import ModelRow, VersionRow
from vedette.central.registry.waivers import SignerRow, WaiverView
from vedette.central.store.db import Tx
from vedette.stats.gates import Policy
from vedette.wire.evaluation import MAX_MANIFEST_BYTES, MAX_RECORD_BYTES, EvaluationRecord
from vedette.wire.signed import Signed

_SLACK_BYTES: Final = 64 * 1024


class NewVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle's `bundle.json` as it is, and where the version comes from."""

    manifest: dict[str, Any]
    lineage: Lineage = Lineage()


class ModelChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a model's versions, and the digest that new ones are compared with."""

    policy: Policy = msgspec.field(default_factory=Policy)
    incumbent: str | None = None


class VersionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a version may be used (`registered`, `withdrawn`), and where it comes from."""

    state: str = "registered"
    lineage: Lineage = Lineage()


class NewSigner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may sign waivers: an Ed25519 public key in base64url, and a name."""

    key: str
    name: str


def model_tag(row: ModelRow) -> str:
    """Return the tag of a model as it is stored."""
    return tag_of(row.model, row.policy.decode(), row.incumbent)


def version_tag(row: VersionRow) -> str:
    """Return the tag of what may be changed of a version."""
    return tag_of(row.digest, row.state, row.lineage.decode())


@get("/models", summary="Models, each with its newest version and that one's verdict")
async def read_models(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[ModelListed]]:
    """Return models by name."""
    access.require(session, "viewer")
    cursors = Cursors(services, "models")
    after = cursors.read(cursor, tuple[str])
    async with services.db.transaction() as tx:
        rows = await looking.models(
            tx, services.now_ms(), after=after[0] if after else "", limit=limit + 1
        )
    return paged(request, *cursors.ends(rows, lambda row: (row.model,), limit))


@get("/models/{model:str}", summary="What is asked of a model's versions")
async def read_model(
    request: AnyRequest, services: TheServices, session: TheSession, model: FromPath[str]
) -> Response[ModelView]:
    """Return its thresholds and the incumbent."""
    access.require(session, "viewer")
    async with services.db.transaction() as tx:
        row = await store.get_model(tx, model)
    return _told(request, row)


def _told(request: AnyRequest, row: ModelRow) -> Response[ModelView]:
    tag = model_tag(row)
    view = msgspec.structs.replace(looking.model_view(row), etag=tag)
    return tagged(request, view, tag)


@put("/models/{model:str}", summary="Set thresholds and the incumbent (admin)")
async def put_model(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    data: JSONBody[ModelChange],
    if_match: IfMatch = None,
) -> Response[ModelView]:
    """Replace both; every version of the model is judged anew."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        require_match(if_match, model_tag(await store.get_model(tx, model, hold=True)))
        row = await store.set_model(
            tx, model, data.policy, data.incumbent, actor=session.username, now_ms=now_ms
        )
        await judge_anew(tx, model, now_ms)
    services.bulletin.publish("models")
    return _told(request, row)


@get("/models/{model:str}/versions", summary="Versions of a model, the newest first")
async def read_versions(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[VersionListed]]:
    """Return versions with their verdicts; those that were withdrawn too."""
    access.require(session, "viewer")
    cursors = Cursors(services, "versions", model)
    after = cursors.read(cursor, tuple[int, str]) or (2**62, "")
    async with services.db.transaction() as tx:
        rows = await looking.versions(tx, model, services.now_ms(), after=after, limit=limit + 1)
    return paged(request, *cursors.ends(rows, lambda row: (row.registered_ms, row.digest), limit))


@post(
    "/models/versions",
    summary="Register a version by its bundle's manifest (operator)",
    request_max_body_size=MAX_MANIFEST_BYTES + _SLACK_BYTES,
)
async def register_version(
    request: AnyRequest, services: TheServices, session: TheSession, data: JSONBody[NewVersion]
) -> Response[VersionListed]:
    """Return it; one that is registered already stays as it is. 409: that version is another."""
    access.require(session, "operator")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        row, is_new = await store.register(
            tx,
            msgspec.json.encode(data.manifest),
            data.lineage,
            actor=session.username,
            now_ms=now_ms,
        )
        if is_new:
            await judge_anew(tx, row.model, now_ms, row.digest)
            row = await store.get_version(tx, row.digest)
    services.bulletin.publish("models")
    return tagged(request, looking.listed(row, now_ms), version_tag(row))


async def _require(tx: Tx, model: str, digest: str) -> VersionRow:
    """Return a version of this model."""
    row = await store.get_version(tx, digest)
    if row.model != model:
        raise NotThere(detail="this model has no such version")
    return row


@get("/models/{model:str}/versions/{digest:str}", summary="A version and what its gates say")
async def read_version(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
) -> Response[VersionView]:
    """Return it with gates, waivers, lineage, slices by site, confusion and times."""
    access.require(session, "viewer")
    async with services.db.transaction() as tx:
        row = await _require(tx, model, digest)
        view = await looking.version(tx, digest, services.now_ms(), session.sites)
    return tagged(request, msgspec.structs.replace(view, etag=version_tag(row)))


@put("/models/{model:str}/versions/{digest:str}", summary="Withdraw a version, tell of it (admin)")
async def put_version(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    data: JSONBody[VersionChange],
    if_match: IfMatch = None,
) -> Response[VersionListed]:
    """Replace state and lineage; a withdrawn version fails its gates."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await store.get_model(tx, model, hold=True)
        require_match(if_match, version_tag(await _require(tx, model, digest)))
        await store.set_version(
            tx, digest, data.state, data.lineage, actor=session.username, now_ms=now_ms
        )
        await judge_anew(tx, model, now_ms, digest)
        row = await store.get_version(tx, digest)
    services.bulletin.publish("models")
    return tagged(request, looking.listed(row, now_ms), version_tag(row))


@get(
    "/models/{model:str}/versions/{digest:str}/evaluations",
    summary="What was measured of a version, the newest first",
)
async def read_evaluations(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[EvaluationListed]]:
    """Return evaluations without their counts."""
    access.require(session, "viewer")
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        rows = await store.evaluations(tx, digest)
    newest = next((row.evaluation for row in rows if row.data_sha256), "")
    found = [looking.evaluation(row, counts=row.evaluation == newest) for row in rows]
    cursors = Cursors(services, "evaluations", digest)
    return paged(
        request,
        *cut(found, lambda row: (-row.received_ms, row.evaluation), cursors, cursor, limit),
    )


@post(
    "/models/{model:str}/versions/{digest:str}/evaluations",
    summary="Add what was measured of a version (operator)",
    request_max_body_size=MAX_RECORD_BYTES,
)
async def add_evaluation(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    data: JSONBody[EvaluationRecord],
) -> Response[EvaluationListed]:
    """Store the record; the very same one once more changes nothing. Its counts must add up."""
    access.require(session, "operator")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        row = await store.add_evaluation(tx, digest, data, actor=session.username, now_ms=now_ms)
        await judge_anew(tx, model, now_ms)  # others may be compared with this one
    services.bulletin.publish("models")
    return tagged(request, looking.evaluation(row, counts=bool(row.data_sha256)))


@get(
    "/models/{model:str}/versions/{digest:str}/evaluations/{evaluation:str}",
    summary="One evaluation with every count (whole fleet)",
)
async def read_evaluation(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    evaluation: FromPath[str],
) -> Response[EvaluationRecord]:
    """Return the record as it was stored: it names every site and camera."""
    access.require_whole(session)
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        rows = await store.evaluations(tx, digest)
    found = next((row for row in rows if row.evaluation == evaluation), None)
    if found is None:
        raise NotThere(detail="this version has no such evaluation")
    return tagged(request, found.said)


@post(
    "/models/{model:str}/versions/{digest:str}/waivers",
    summary="Have a signed waiver stand for gates (admin)",
)
async def add_waiver(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    data: JSONBody[Signed],
) -> Response[WaiverView]:
    """Store a document that a signer of waivers signed; `vedette bundle waive` makes one."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        view = await waivers.add(tx, digest, data, actor=session.username, now_ms=now_ms)
        await judge_anew(tx, model, now_ms, digest)
    services.bulletin.publish("models")
    return tagged(request, view)


@delete(
    "/models/{model:str}/versions/{digest:str}/waivers/{waiver:str}",
    status_code=204,
    summary="Take a waiver back (admin)",
)
async def drop_waiver(
    *,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    waiver: FromPath[str],
) -> None:
    """Have it stand for nothing from now on; it stays to be seen."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        taken = await waivers.take_back(tx, digest, waiver, actor=session.username, now_ms=now_ms)
        if not taken:
            raise NotThere(detail="no such waiver stands")
        await judge_anew(tx, model, now_ms, digest)
    services.bulletin.publish("models")


@get("/model-signers", summary="Whose signature a waiver may have")
async def read_signers(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[SignerRow]]:
    """Return names and public keys."""
    access.require(session, "viewer")
    async with services.db.transaction() as tx:
        rows = await waivers.signers(tx)
    cursors = Cursors(services, "model-signers")
    return paged(request, *cut(rows, lambda row: (row.name, row.keyid), cursors, cursor, limit))


@post("/model-signers", summary="Name somebody who may sign waivers (admin)")
async def add_signer(
    request: AnyRequest, services: TheServices, session: TheSession, data: JSONBody[NewSigner]
) -> Response[SignerRow]:
    """Have waivers by this key count from now on."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        row = await waivers.add_signer(
            tx, data.key, data.name, actor=session.username, now_ms=services.now_ms()
        )
    return tagged(request, row)


@delete("/model-signers/{keyid:str}", status_code=204, summary="Take a signer away (admin)")
async def drop_signer(services: TheServices, session: TheSession, keyid: FromPath[str]) -> None:
    """Have what only they signed stand no more; every model is judged anew."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        if not await waivers.drop_signer(tx, keyid, actor=session.username, now_ms=now_ms):
            raise NotThere(detail="there is no such signer")
        for row in await tx.all("models_all", ModelRow):
            await judge_anew(tx, row.model, now_ms)


ROUTES: Final = [
    read_models,
    read_model,
    put_model,
    read_versions,
    register_version,
    read_version,
    put_version,
    read_evaluations,
    add_evaluation,
    read_evaluation,
    add_waiver,
    drop_waiver,
    read_signers,
    add_signer,
    drop_signer,
]
