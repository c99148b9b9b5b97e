"""Every route of people, by pages and by API: what somebody with a scope gets, and what changes.

The same requests are made twice: when nothing but the asker's own site is there, and when a second
site has come with everything that a site can have. Whoever sees a part of the fleet must get the
same answers, byte for byte, whether or not the other part exists. A new route fails the first test
until it stands in one of the tables here.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import msgspec
import pytest
from litestar import Litestar, Request
from litestar.testing import AsyncTestClient

from vedette.central import (
    accounts,
    audit,
    desired,
    enrolment,
    people,
    saved,
    scopes,
    tree,
)
from vedette.central.alerting import store as alerts
from vedette.central.alerting.facts import (
    History,
    Incident,
    IncidentState,
    Member,
    Severity,
    Silence,
    Subject,
    Where,
)
from vedette.central.api import access
from vedette.central.api.routes import operator_routes
from vedette.central.app import build_services
from vedette.central.bulletin import Bulletin
from vedette.central.business import cost, kpi, overrides, slo
from vedette.central.console import live
from vedette.central.exporting import holding
from vedette.central.ingest import writing
from vedette.central.ingest.effects import Effects
from vedette.central.ingest.writing import Heard
from vedette.central.people import Wanted
from vedette.central.rollouts import ordering
from vedette.central.rollouts.facts import Plan
from vedette.central.services import Services
from vedette.central.settings import CentralConfig, Limits
from vedette.central.store.db import Tx
from vedette.central.tree import Place
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.messages import (
    Aggregate,
    CameraHealth,
    CommissionReport,
    EventKind,
    EventReport,
    Frames,
    HealthReport,
    PipelineHealth,
    State,
    SystemHealth,
)
from vedette.wire.signed import CameraSettings, Zone
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact, Disagreement

pytestmark = pytest.mark.anyio

HOUR_MS: Final = 3_600_000
SQUARE: Final = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)]
JPEG: Final = b"\xff\xd8\xff picture"

SITE: Final = "/v1/sites/{site}"
DEVICE: Final = f"{SITE}/devices/{{device}}"
CAMERA: Final = f"{DEVICE}/cameras/{{camera}}"
PAGE: Final = "/sites/{site}/cameras/{device}/{camera}"
MODEL: Final = "/v1/models/{model}"
VERSION: Final = f"{MODEL}/versions/{{digest}}"
ROLLOUT: Final = "/v1/rollouts/{rollout}"
CHANNEL: Final = "/v1/channels/{channel}"
DELIVERY: Final = "/v1/deliveries/{delivery}"
HOLD: Final = "/v1/events/{event}/hold"
HOOK: Final = {"type": "webhook", "url": "https://192.0.2.1/"}
INCIDENT: Final = "/v1/incidents/{incident}"
ITEM: Final = "/v1/review/{rollout}/items/{device}/{disagreement}"
ARTEFACT: Final = Artefact(
    kind=ArtefactKind.APP, target="app/one/1.1", sha256="a" * 64, bytes=1,
    digest=f"sha256:{'a' * 64}",
)  # fmt: skip
SILENCE: Final[dict[str, Any]] = {
    "to_ms": 2**52,
    "from_ms": 2**52 - 9,
    "where": {"sites": ["{site}"]},
}
NEW_ROLLOUT: Final[dict[str, Any]] = {
    "kind": "app", "slot": "app", "artefact": msgspec.to_builtins(ARTEFACT), "sites": ["{site}"],
}  # fmt: skip

NEW_LADDER: Final[dict[str, Any]] = {
    "ladder": "{ladder}", "steps": [{"tell": ["person:{username}"]}]
}  # fmt: skip

NEW_RULE: Final[dict[str, Any]] = {
    "rule": "{rule}", "health": {"is": "disk"}, "where": {"sites": ["{site}"]}
}  # fmt: skip

REGISTERED: Final = {
    "model": "door-watch", "digest": f"sha256:{'d' * 64}", "waiver": "e" * 64, "keyid": "f" * 32,
    "sha256": "a" * 64, "ladder": "guards", "schedule": "nights", "override": "ov-1",
    "rule": "night-watch",
}  # fmt: skip
"""Of the registry of models and of alerts, which are the whole fleet's: nobody with a scope changes
them."""

OPEN: Final = {
    "GET /schema", "GET /schema/openapi.json", "GET /schema/{path}",
    "GET /links/{device}/{evidence}/{name}",
    "GET /setup", "GET /setup/{token}", "GET /sign-in", "GET /sign-in/oidc",
    "GET /sign-in/oidc/callback", "GET /static/{version}/{name}",
    "GET /take/{token}", "POST /setup", "POST /sign-in", "POST /take/{token}",
}  # fmt: skip
"""Answered without a session."""

QUERY: Final = "of=site:{site}&metric=coverage&group_by=site,device,camera,folder&step=day"

READ: Final[dict[str, tuple[str, ...]]] = {
    "/": ("/", "/?q={word}", "/?view=grid", "/?sel=site:{site}", "/?group={group}",
          "/?folder={folder}", "/?cause=throttled-7d"),
    "/-/patterns": ("/-/patterns",),
    "/-/patterns/{name}": ("/-/patterns/no-such",),
    "/account": ("/account",),
    "/at/{site}/{device}": ("/at/{site}/{device}",),
    "/at/{site}/{device}/{camera}": ("/at/{site}/{device}/{camera}",),
    "/business": ("/business", "/business?of={word}", "/business?of=site:{site}",
                  "/business?of={folder}", "/business?of=group:{group}"),
    "/business.csv": ("/business.csv", "/business.csv?of=site:{site}"),
    "/events": ("/events", "/events?site={site}", "/events?camera={camera}",
                "/events?label={word}-label"),
    "/events.csv": ("/events.csv", "/events.csv?site={site}"),
    "/events.json": ("/events.json", "/events.json?label={word}-label"),
    "/events/{event}": ("/events/{event}",),
    "/events/{event}/clip/{name}": ("/events/{event}/clip/clip.mp4",),
    "/channels": ("/channels",),
    "/channels/{channel}": ("/channels/{channel}",),
    "/deliveries": ("/deliveries", "/deliveries?channel={channel}", "/deliveries?state=dead",
                    "/deliveries?export={export}"),
    "/exports": ("/exports",),
    "/exports/{export}": ("/exports/{export}",),
    "/holds": ("/holds",),
    "/incidents": ("/incidents", "/incidents?state=any", "/incidents?site={site}",
                   "/incidents?q={word}"),
    "/incidents/{incident}": ("/incidents/{incident}",),
    "/incidents/{incident}/resolve": ("/incidents/{incident}/resolve",),
    "/keys": ("/keys",),
    "/ladders": ("/ladders",),
    "/ladders/{ladder}": ("/ladders/{ladder}", "/ladders/new"),
    "/oncall": ("/oncall",),
    "/oncall/{schedule}": ("/oncall/{schedule}", "/oncall/new"),
    "/metrics": ("/metrics",),
    "/review": ("/review",),
    "/review/{rollout}": ("/review/{rollout}",),
    "/review/{rollout}/{device}/{disagreement}/picture": (
        "/review/{rollout}/{device}/{disagreement}/picture",),
    "/rules": ("/rules", "/rules?done=removed&rule={word}"),
    "/rules/{rule}": ("/rules/{rule}", "/rules/new", "/rules/new?like={rule}"),
    "/rules-file": ("/rules-file",),
    "/rules.yaml": ("/rules.yaml",),
    "/rollouts": ("/rollouts", "/rollouts?state=draft", "/rollouts?q={word}"),
    "/rollouts/{rollout}": ("/rollouts/{rollout}", "/rollouts/{rollout}?q={device}"),
    "/rollouts/{rollout}/do/{order}": ("/rollouts/{rollout}/do/stop",),
    "/rollouts/{rollout}/plan": ("/rollouts/{rollout}/plan",),
    "/places": ("/places?q={word}", "/places?q=", "/places?q=%25", "/places?q=_"),
    "/silences": ("/silences", "/silences?site={word}"),
    "/settings": ("/settings",),
    "/settings/account": ("/settings/account",),
    "/settings/audit": ("/settings/audit",),
    "/settings/audit/export/{form}": ("/settings/audit/export/audit.csv",),
    "/settings/claims": ("/settings/claims", "/settings/claims?used=true&site={site}"),
    "/settings/folders": ("/settings/folders", "/settings/folders?folder={folder}"),
    "/settings/groups": ("/settings/groups", "/settings/groups?group={group}"),
    "/settings/health": ("/settings/health",),
    "/settings/retention": ("/settings/retention",),
    "/settings/sessions": ("/settings/sessions", "/settings/sessions?of=all"),
    "/settings/sites": ("/settings/sites", "/settings/sites?q=site:{site}"),
    "/settings/sites/{site}": ("/settings/sites/{site}",),
    "/settings/tokens": ("/settings/tokens", "/settings/tokens?of=all"),
    "/settings/users": ("/settings/users",),
    "/settings/users/{username}": ("/settings/users/{username}",),
    "/sites/{site}": ("/sites/{site}",),
    PAGE: (PAGE, f"{PAGE}?range=7d"),
    f"{PAGE}/counts": (f"{PAGE}/counts",),
    f"{PAGE}/picture": (f"{PAGE}/picture",),
    f"{PAGE}/reference": (f"{PAGE}/reference",),
    f"{PAGE}/speed": (f"{PAGE}/speed",),
    f"{PAGE}/thumbnail": (f"{PAGE}/thumbnail",),
    f"{PAGE}/zones": (f"{PAGE}/zones",),
    "/sites/{site}/devices/{device}": ("/sites/{site}/devices/{device}",),
    "/sites/{site}/devices/{device}/answers/{request_id}": (
        "/sites/{site}/devices/{device}/answers/{request_id}",),
    "/sites/{site}/devices/{device}/do/{action}": (
        "/sites/{site}/devices/{device}/do/revoke", "/sites/{site}/devices/{device}/do/{action}"),
    "/v1/archive": ("/v1/archive?from_ms=0&to_ms=4000000000000",
                    "/v1/archive?from_ms=0&to_ms=4000000000000&site={site}"),
    "/v1/archive/plan": ("/v1/archive/plan?from_ms=0&to_ms=4000000000000",
                         "/v1/archive/plan?from_ms=0&to_ms=4000000000000&device={device}"),
    "/v1/audit": ("/v1/audit",),
    "/v1/audit/chain": ("/v1/audit/chain",),
    "/v1/camera-matrix": ("/v1/camera-matrix", "/v1/camera-matrix?q=site:{site}"),
    "/v1/cameras": ("/v1/cameras", "/v1/cameras?q=make:{word}*"),
    "/v1/channels": ("/v1/channels",),
    CHANNEL: (CHANNEL,),
    "/v1/deliveries": ("/v1/deliveries", "/v1/deliveries?channel={channel}",
                       "/v1/deliveries?state=dead", "/v1/deliveries?export={export}"),
    DELIVERY: (DELIVERY,),
    "/v1/claims": ("/v1/claims", "/v1/claims?used=true"),
    "/v1/clock": ("/v1/clock",),
    "/v1/contacts": ("/v1/contacts",),
    "/v1/contacts/{username}": ("/v1/contacts/{username}",),
    "/v1/costs": ("/v1/costs", "/v1/costs?of=site:{site}"),
    "/v1/devices": ("/v1/devices", "/v1/devices?q=device:{device}"),
    "/v1/devices/{device}/keys": ("/v1/devices/{device}/keys",),
    "/v1/distribution": ("/v1/distribution?metric=latency&of=site:{site}",
                         "/v1/distribution?metric=confidence"),
    "/v1/dwell": ("/v1/dwell", "/v1/dwell?group_by=site"),
    "/v1/events": ("/v1/events", "/v1/events?device={device}"),
    "/v1/events/{event}": ("/v1/events/{event}",),
    "/v1/events/{event}/clip": ("/v1/events/{event}/clip",),
    "/v1/events/{event}/clip/{name}": ("/v1/events/{event}/clip/clip.mp4",),
    HOLD: (HOLD,),
    "/v1/exports": ("/v1/exports",),
    "/v1/exports/{export}": ("/v1/exports/{export}",),
    "/v1/fleet": ("/v1/fleet",),
    "/v1/folders": ("/v1/folders",),
    "/v1/groups": ("/v1/groups",),
    "/v1/heatmap": ("/v1/heatmap?of=camera:{camera}",),
    "/v1/kpis": ("/v1/kpis",),
    "/v1/kpis/{name}": ("/v1/kpis/till", "/v1/kpis/till?of=site:{site}"),
    "/v1/kpis/{name}/beside": ("/v1/kpis/till/beside?metric=frames.captured",),
    "/v1/ladders": ("/v1/ladders",),
    "/v1/ladders/{ladder}": ("/v1/ladders/{ladder}",),
    "/v1/metrics": ("/v1/metrics",),
    "/v1/oncall": ("/v1/oncall",),
    "/v1/oncall/{schedule}": ("/v1/oncall/{schedule}?from_ms=1000&to_ms=2000",),
    "/v1/oncall/{schedule}/overrides": ("/v1/oncall/{schedule}/overrides",),
    "/v1/overrides": ("/v1/overrides", "/v1/overrides?of=site:{site}"),
    "/v1/quarantine": ("/v1/quarantine",),
    "/v1/query": (f"/v1/query?{QUERY}", "/v1/query?metric=frames.captured&group_by=site",
                  "/v1/query?metric=coverage&group_by=label:tier",
                  "/v1/query?metric=coverage&of=group:{group}"),
    "/models": ("/models",),
    "/models/{model}": ("/models/{model}",),
    "/models/{model}/{digest}": ("/models/{model}/{digest}",),
    "/v1/model-signers": ("/v1/model-signers",),
    "/v1/models": ("/v1/models",),
    MODEL: (MODEL,),
    f"{MODEL}/versions": (f"{MODEL}/versions",),
    VERSION: (VERSION,),
    f"{VERSION}/evaluations": (f"{VERSION}/evaluations",),
    f"{VERSION}/evaluations/{{evaluation}}": (f"{VERSION}/evaluations/none",),
    "/v1/rollouts": ("/v1/rollouts", "/v1/rollouts?state=draft"),
    ROLLOUT: (ROLLOUT,),
    f"{ROLLOUT}/devices": (f"{ROLLOUT}/devices", f"{ROLLOUT}/devices?state=none"),
    f"{ROLLOUT}/gates": (f"{ROLLOUT}/gates",),
    f"{ROLLOUT}/history": (f"{ROLLOUT}/history", f"{ROLLOUT}/history?device=*"),
    "/v1/holds": ("/v1/holds", "/v1/holds?site={site}"),
    "/v1/incidents": ("/v1/incidents", "/v1/incidents?site={site}", "/v1/incidents?rule=dark"),
    "/v1/incidents/counts": ("/v1/incidents/counts",),
    INCIDENT: (INCIDENT,),
    f"{INCIDENT}/timeline": (f"{INCIDENT}/timeline",),
    f"{INCIDENT}/events": (f"{INCIDENT}/events",),
    "/v1/silences": ("/v1/silences", "/v1/silences?state=now"),
    "/v1/silences/{silence}": ("/v1/silences/{silence}",),
    "/v1/releases": ("/v1/releases",),
    "/v1/review": ("/v1/review",),
    "/v1/review/{rollout}/next": ("/v1/review/{rollout}/next",),
    f"{ITEM}/picture": (f"{ITEM}/picture",),
    "/v1/releases/files/{sha256}": ("/v1/releases/files/" + "a" * 64,),
    "/v1/rules": ("/v1/rules",),
    "/v1/rules/{rule}": ("/v1/rules/{rule}",),
    "/v1/rules/{rule}/versions": ("/v1/rules/{rule}/versions",),
    "/v1/rules-file": ("/v1/rules-file",),
    "/v1/schedules": ("/v1/schedules",),
    "/v1/schedules/{schedule}": ("/v1/schedules/{schedule}",),
    "/v1/select": ("/v1/select", "/v1/select?q=site:{site}&level=site",
                   "/v1/select?q=group:{group}", "/v1/select?q=label:tier={word}*&level=device"),
    "/v1/sites": ("/v1/sites",),
    SITE: (SITE,),
    f"{SITE}/darkness": (f"{SITE}/darkness",),
    f"{SITE}/keys": (f"{SITE}/keys",),
    f"{SITE}/timeline": (f"{SITE}/timeline",),
    CAMERA: (CAMERA,),
    f"{CAMERA}/commissionings": (f"{CAMERA}/commissionings",),
    f"{CAMERA}/coverage": (f"{CAMERA}/coverage",),
    f"{CAMERA}/inventory": (f"{CAMERA}/inventory",),
    f"{CAMERA}/settings": (f"{CAMERA}/settings",),
    f"{CAMERA}/settings/versions": (f"{CAMERA}/settings/versions",),
    f"{CAMERA}/thumbnail": (f"{CAMERA}/thumbnail",),
    f"{DEVICE}/condition": (f"{DEVICE}/condition",),
    f"{DEVICE}/diagnostics": (f"{DEVICE}/diagnostics",),
    f"{DEVICE}/diagnostics/{{request_id}}": (f"{DEVICE}/diagnostics/{{request_id}}",),
    f"{DEVICE}/diagnostics/{{request_id}}/answer": (f"{DEVICE}/diagnostics/{{request_id}}/answer",),
    f"{DEVICE}/timeline": (f"{DEVICE}/timeline",),
    f"{DEVICE}/uplink": (f"{DEVICE}/uplink",),
    "/v1/slo": ("/v1/slo", "/v1/slo?of=site:{site}"),
    "/v1/slo/objectives": ("/v1/slo/objectives",),
    "/v1/tokens": ("/v1/tokens",),
    "/v1/users": ("/v1/users",),
    "/v1/views": ("/v1/views",),
    "/v1/worst": ("/v1/worst?metric=coverage", "/v1/worst?metric=coverage&group_by=site"),
}  # fmt: skip
"""How each route is read: aimed at `{site}` and the like, the asker's own and the other's."""

STREAMS: Final = {"/events-stream"}
"""Has a test of its own: it goes on for ever."""

_MADE: Final[dict[str, Any]] = {"expression": "*", "note": ""}
WRITE: Final[dict[str, Any]] = {
    "POST /events/{event}/clip": {},
    "POST /events/{event}/clip/drop": {},
    "POST /events/{event}/hold": {"reason": "mine"},
    "POST /events/{event}/hold/drop": {"reason": "mine"},
    "POST /v1/events/{event}/clip": {},
    "DELETE /v1/events/{event}/clip": None,
    "POST /settings/account/contacts": None,
    "POST /settings/account/contacts/drop": None,
    "POST /settings/account/contacts/quiet": None,
    "POST /settings/account/contacts/test": None,
    "POST /settings/account/password": None,
    "POST /settings/audit/check": {},
    "POST /settings/claims": {"site": "{site}"},
    "POST /settings/claims/withdraw": {"claim": "{claim}"},
    "POST /settings/folders/fill": {"folder": "{folder}", "sites": "{site}"},
    "POST /settings/folders/move": {"folder": "{folder}", "to": "{folder}/x"},
    "POST /settings/groups": {"name": "{group}", "expression": "*"},
    "POST /settings/groups/drop": {"name": "{group}"},
    "POST /settings/sessions/end": {"token": "{session}"},
    "POST /settings/sessions/end-others": None,
    "POST /settings/sites": {"site": "{site}", "time_zone": "UTC"},
    "POST /settings/sites/{site}/hours": {"when": "always"},
    "POST /settings/sites/{site}/labels": {"key": "a", "value": "b"},
    "POST /settings/sites/{site}/place": {"name": "x", "time_zone": "UTC", "folder": ""},
    "POST /settings/tokens": None,
    "POST /settings/tokens/end": {"token": "{token}"},
    "POST /settings/users": {"username": "new", "role": "admin", "sees": "everything"},
    "POST /settings/users/{username}/reset": {},
    "POST /settings/users/{username}/scope": {"role": "admin", "sees": "everything"},
    "POST /settings/users/{username}/{what}": {},
    "POST /sign-out": None,
    f"POST {PAGE}/reference/ask": {},
    f"POST {PAGE}/reference/keep": {},
    f"POST {PAGE}/thumbnail": {},
    f"POST {PAGE}/zones/back": {"version": "1", "if_version": "1"},
    "POST /sites/{site}/devices/{device}/pictures/{camera}": {},
    "POST /sites/{site}": {"name": "x", "time_zone": "UTC", "folder": ""},
    "POST /sites/{site}/labels": {"labels": "a=b"},
    "POST /sites/{site}/devices/{device}/do/{action}": {"reason": "x", "sure": "yes"},
    "POST /sites/{site}/devices/{device}/labels": {"labels": "a=b"},
    "POST /sites/{site}/devices/{device}/questions": {"kind": "log", "lines": "10"},
    "POST /views": None,
    "POST /views/drop": {"name": "{view}"},
    "POST /views/start": {"owner": "{username}", "name": "{view}"},
    "POST /channels": {"channel": "new", "kind": "webhook", "url": "https://192.0.2.1/"},
    "POST /channels/{channel}/{action}": {},
    "POST /deliveries/replay": {"channel": "{channel}"},
    "POST /deliveries/{delivery}/{action}": {},
    "POST /exports": {"export": "new", "channel": "{channel}", "tell_event": "yes", "link_h": "1"},
    "POST /exports/{export}/{action}": {},
    "POST /incidents/acknowledge": {"incident": "{incident}"},
    "POST /incidents/{incident}/{action}": {"note": "x"},
    "POST /ladders/{ladder}": {"text": "ladders: []"},
    "POST /ladders/{ladder}/remove": {},
    "POST /oncall/{schedule}": {"text": "schedules: []"},
    "POST /oncall/{schedule}/hand-over": {"note": "the gate sticks"},
    "POST /oncall/{schedule}/overrides": {"person": "{username}", "hours": "2"},
    "POST /oncall/{schedule}/overrides/{override}/end": {},
    "POST /oncall/{schedule}/remove": {},
    "POST /silences": {"site": "{site}", "hours": "2", "reason": "x"},
    "POST /silences/{silence}/end": {},
    "POST /v1/channels": {"channel": "new", "settings": HOOK},
    f"PUT {CHANNEL}": {"settings": HOOK},
    f"DELETE {CHANNEL}": None,
    f"POST {CHANNEL}/rotate-secret": {},
    f"POST {CHANNEL}/enable": {},
    f"POST {CHANNEL}/disable": {"why": "x"},
    f"POST {CHANNEL}/test": {},
    f"POST {CHANNEL}/replay": {},
    f"POST {DELIVERY}/replay": {},
    f"POST {DELIVERY}/cancel": {},
    f"PUT {HOLD}": {"reason": "claim 7"},
    f"DELETE {HOLD}": None,
    "PUT /v1/exports/{export}": {"channel": "{channel}"},
    "DELETE /v1/exports/{export}": None,
    "POST /v1/exports/{export}/try": {},
    "POST /v1/exports/{export}/enable": {},
    "POST /v1/exports/{export}/disable": {},
    "POST /v1/exports/{export}/replay": {},
    "POST /v1/claims": {"site": "{site}"},
    "DELETE /v1/claims/{claim}": None,
    "PUT /v1/contacts/{username}": {"contacts": []},
    "DELETE /v1/contacts/{username}": None,
    "POST /v1/contacts/{username}/test": {},
    "PUT /v1/costs/rates": {"place": "site:{site}", "rates": {"currency": "EUR"}},
    "POST /v1/devices/{device}/re-enrol": {"reason": "x"},
    "POST /v1/devices/{device}/release": {},
    "POST /v1/devices/{device}/revoke": {"reason": "x"},
    "POST /v1/devices/{device}/rotate-key": {},
    "POST /v1/folders/move": {"folder": "{folder}", "to": "{folder}/x"},
    "PUT /v1/groups/{group}": _MADE,
    "DELETE /v1/groups/{group}": None,
    "PUT /v1/kpis/{name}": {"title": "x"},
    "DELETE /v1/kpis/{name}": None,
    "POST /v1/kpis/{name}/values": {
        "values": [{"site": "{site}", "start_ms": 0, "end_ms": 60_000, "value": 1.0}]
    },
    "PUT /v1/ladders/{ladder}": NEW_LADDER,
    "DELETE /v1/ladders/{ladder}": None,
    "POST /v1/ladders/{ladder}/follow": {"draft": NEW_LADDER},
    "PUT /v1/oncall/{schedule}/hand-over": {"note": "the gate sticks"},
    "POST /v1/oncall/{schedule}/overrides": {"person": "{username}", "to_ms": 4_000_000_000_000},
    "DELETE /v1/oncall/{schedule}/overrides/{override}": None,
    "PUT /v1/schedules/{schedule}": {
        "schedule": "{schedule}",
        "time_zone": "UTC",
        "shifts": [{"people": ["x"], "start": "2026-01-01T00:00"}],
    },
    "DELETE /v1/schedules/{schedule}": None,
    "POST /v1/overrides": {"event": "{event}", "verdict": "wrong"},
    "POST /models/{model}/{digest}/state": {"state": "withdrawn"},
    "POST /models/{model}/{digest}/waivers/{waiver}/drop": {},
    "POST /v1/model-signers": {"key": "A" * 43, "name": "x"},
    "DELETE /v1/model-signers/{keyid}": None,
    f"PUT {MODEL}": {},
    "POST /v1/models/versions": {"manifest": {}},
    f"PUT {VERSION}": {},
    f"POST {VERSION}/evaluations": {"digest": "{digest}", "at_ms": 1},
    f"POST {VERSION}/waivers": {"payload": "", "payloadType": "", "signatures": []},
    f"DELETE {VERSION}/waivers/{{waiver}}": None,
    "POST /v1/rollouts": NEW_ROLLOUT,
    "POST /v1/rollouts/plan": NEW_ROLLOUT,
    "POST /rules": {"tell": "channel:{channel}"},
    "POST /rules-file": {"text": "rules: []", "do": "apply", "prune": "yes"},
    "POST /rules/{rule}": {"text": "rules: []"},
    "POST /rules/{rule}/{action}": {},
    f"PUT {ROLLOUT}/approval": {},
    f"POST {ROLLOUT}/orders": {"order": "stop"},
    "POST /rollouts/{rollout}/do/{order}": {"reason": "x", "sure": "yes"},
    "POST /review/{rollout}/back": {},
    "POST /review/{rollout}/{device}/{disagreement}": {"side": "first"},
    "DELETE /v1/review/{rollout}/last": None,
    f"POST {ITEM}/verdict": {"side": "first"},
    f"POST {INCIDENT}/actions": {"action": "resolve"},
    "POST /v1/incidents/actions": {"incidents": ["{incident}"], "action": "acknowledge"},
    "PUT /v1/rules/{rule}": NEW_RULE,
    "DELETE /v1/rules/{rule}": None,
    "POST /v1/rules/{rule}/enable": None,
    "POST /v1/rules/{rule}/disable": None,
    "POST /v1/rules/{rule}/test": {},
    "POST /v1/rules-file": {"text": "rules: []"},
    "POST /v1/silences": SILENCE,
    "POST /v1/silences/preview": SILENCE,
    "PUT /v1/silences/{silence}": SILENCE,
    "DELETE /v1/silences/{silence}": None,
    "POST /v1/releases/metadata": {"files": {}},
    "PUT /v1/releases/files/{sha256}": {"begin": 0, "total": 1, "data": "AA=="},
    "POST /v1/sites": {"site": "{site}"},
    f"PATCH {SITE}": {"name": "x"},
    f"PUT {SITE}/keys": {"documents": []},
    f"PATCH {SITE}/labels": {"labels": {"a": "b"}},
    f"PUT {SITE}/policy": {"payload": "", "payloadType": "", "signatures": []},
    f"PATCH {CAMERA}/labels": {"labels": {"a": "b"}},
    f"PUT {CAMERA}/settings": {"threshold": 0.5},
    f"POST {CAMERA}/thumbnail": {},
    f"POST {DEVICE}/diagnostics": {"kind": "log"},
    f"PATCH {DEVICE}/labels": {"labels": {"a": "b"}},
    f"PUT {DEVICE}/uplink": {"uplink": {"backfill_kbit_s": 10.0}},
    "PUT /v1/slo/objectives": {"place": "site:{site}", "percent": 90.0},
    "PUT /v1/start-view": {"owner": "{username}", "name": "{view}"},
    "DELETE /v1/tokens/{token}": None,
    "POST /v1/users": {"username": "new", "role": "admin", "everything": True},
    "DELETE /v1/users/{username}": None,
    "POST /v1/users/{username}/disable": {},
    "POST /v1/users/{username}/enable": {},
    "POST /v1/users/{username}/reset": {},
    "DELETE /v1/users/{username}/sessions": None,
    "POST /v1/users/{username}/password-link": {},
    "PUT /v1/users/{username}/scope": {"role": "viewer"},
    "PUT /v1/views/{view}": None,
    "DELETE /v1/views/{view}": None,
}
"""Every change, with what is sent when it is aimed at what is another's. None and no name in the
path: it speaks of nobody but the asker."""

OWN_ONLY: Final = {
    "POST /settings/account/contacts",
    "POST /settings/account/contacts/drop", "POST /settings/account/contacts/quiet",
    "POST /settings/account/contacts/test",
    "POST /settings/account/password", "POST /settings/sessions/end-others",
    "POST /settings/tokens", "POST /sign-out", "POST /views", "PUT /v1/views/{view}",
}  # fmt: skip


def routes() -> list[str]:
    """Return every route of people as `METHOD /path`."""
    found: list[str] = []
    for route in Litestar(route_handlers=operator_routes()).routes:
        methods = getattr(route, "methods", ())
        found += [f"{method} {route.path_format}" for method in methods if method != "OPTIONS"]
    return sorted(set(found))


def test_every_route_has_its_place_in_the_tables() -> None:
    """A new route must be told here before it can be landed: what is sent to it as an attack."""
    known = OPEN | {f"GET {path}" for path in (*READ, *STREAMS)} | set(WRITE)
    own = {name for name in routes() if not name.startswith("GET /schema")}
    assert own - known == set()
    assert {name for name in known if not name.startswith("GET /schema")} - own == set()


class House:
    """A central that begins with one site; a second one can be had."""

    def __init__(self, services: Services, client: AsyncTestClient) -> None:
        self.services = services
        self.client = client
        self.names: dict[str, dict[str, str]] = {}

    async def token(self, name: str, role: str, **scope: list[str]) -> dict[str, str]:
        """Return the headers of a program that sees a part of the fleet."""
        async with self.services.db.transaction() as tx:
            now_ms = self.services.now_ms()
            await accounts.put_user(
                tx, name, role, scope.get("sites", []), now_ms, scope.get("folders", [])
            )
            token, _ = await accounts.open_session(tx, name, now_ms, life_s=3600, kind="api")
        return {"Authorization": f"Bearer {token}"}

    async def ask(
        self, headers: dict[str, str], method: str, there: str, body: Any = None
    ) -> httpx.Response:
        """Make one request: a form for a page, JSON for the API."""
        more: dict[str, Any] = {} if body is None else {"json": body}
        if body is not None and not there.startswith("/v1/"):
            more = {"data": body}
        return await self.client.request(
            method, there, headers=headers, follow_redirects=False, **more
        )

    async def digest(self) -> dict[str, str]:
        """Return what every table holds, but for what says who was here."""
        async with self.services.db.transaction() as tx:
            cursor = await tx.connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
            tables = [str(name) for (name,) in await cursor.fetchall()]
            found: dict[str, str] = {}
            for table in tables:
                if table in {"sessions", "audit_log"}:
                    continue
                text = f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
                ((digest,),) = await (await tx.connection.execute(text.encode())).fetchall()
                found[table] = str(digest)
        return found


async def furnish(services: Services, word: str) -> dict[str, str]:
    """Have a site with everything that a site can have, all of it named by `word`."""
    now_ms, boss = services.now_ms(), f"{word}-user"
    by = {"actor": boss, "now_ms": now_ms}
    site, device, camera = f"{word}-site", f"{word}-dev", f"{word}-cam"
    of = {"device": device, "camera": camera}
    async with services.db.transaction() as tx:
        await enrolment.add_site(tx, site, name=f"The {word} site", folder=f"{word}-folder", **by)
        await tx.run(
            "device_add", device=device, site=site, public_key=f"key {word}",
            hardware=f"{word} board", version=f"9-{word}", now_ms=now_ms,
        )  # fmt: skip
        await people.add(tx, boss, Wanted(role="operator", sites=[site]), **by)
        held: dict[str, str] = {}
        for kind in ("browser", "api"):
            token, _ = await accounts.open_session(
                tx, boss, now_ms, life_s=9999, kind=kind, label=f"{word} token",
                origin=accounts.Origin(address="10.0.0.1", agent=f"{word}-agent"),
            )  # fmt: skip
            held[kind] = people.name_of(token)
        claim = await enrolment.make_claim(tx, site, device=f"{word}-next", **by)
        await _tell(tx, word, now_ms)
        await tree.put_group(tx, f"{word}-group", f"site:{site}", note=f"{word} note", **by)
        for place in (Place(site=site), Place(site=site, device=device)):
            await tree.change_labels(tx, place, {"tier": f"{word}-label"}, **by)
        for name, query in (("where", f"sel=site:{site}"), ("words", f"q={word}")):
            view = f"{word}-{name}"
            await saved.put(tx, boss, view, query, shared=True, now_ms=now_ms)
        await slo.set_target(tx, f"site:{site}", 97.5, **by)
        await cost.set_rates(tx, f"site:{site}", cost.Rates(currency="XXX", device_hour=7.0), **by)
        figure = kpi.Value(site=site, start_ms=now_ms - HOUR_MS, end_ms=now_ms, value=4711.0)
        await kpi.push(tx, "till", [figure], now_ms=now_ms)
        said = overrides.NewOverride(event=f"{word}-event", verdict="wrong", note=f"{word} said")
        await overrides.say(tx, said, scope=None, actor=boss, now_ms=now_ms)
        await tx.connection.execute(
            b"INSERT INTO happenings VALUES (%s, %s, 'start', 0, %s)",
            (device, now_ms - HOUR_MS, msgspec.json.encode({"cause": f"{word} cause"})),
        )
        await tx.connection.execute(
            b"INSERT INTO site_transitions (site, at_ms, noticed_ms, state, devices)"
            b" VALUES (%s, %s, %s, 'dark', %s)",
            (site, now_ms - HOUR_MS, now_ms, [device]),
        )
        await tx.connection.execute(
            b"UPDATE devices SET quarantined_ms = %s WHERE device = %s", (now_ms, device)
        )
        await _roll_out(tx, word, now_ms)
        await _alert(tx, word, now_ms)
        await audit.write(tx, at_ms=now_ms, actor=boss, action="device.revoke", target=device)
    zone = Zone(name=f"{word}-zone", polygon=SQUARE)
    settings = CameraSettings(camera=camera, zones=[zone])
    online = services.online_key
    await desired.change_camera(
        services.db, services.bulletin, online, device, settings, note=f"{word} note", **by
    )
    request = await desired.ask_thumbnail(services.db, services.bulletin, **of, **by)
    await desired.answer_request(
        services.db, services.bulletin, device, request, JPEG + word.encode(), now_ms=now_ms
    )
    async with services.db.transaction() as tx:
        await tx.connection.execute(
            b"UPDATE requests SET request = %s WHERE request = %s", (f"rq-{word}", request)
        )
    return {
        "word": word, "site": site, "folder": f"{word}-folder", "event": f"{word}-event",
        "group": f"{word}-group", "username": boss, "view": f"{word}-where", "name": "till",
        "request_id": f"rq-{word}", "claim": enrolment.secret_hash(claim)[:8].hex(),
        "session": held["browser"], "token": held["api"], "what": "delete", "action": "revoke",
        "rollout": f"{word}-rollout", "disagreement": f"{word}-dis", "order": "stop",
        "channel": f"{word}-hook", "delivery": f"{word}-dl", "export": f"{word}-export",
        "incident": f"in-{word}", "silence": f"si-{word}",
        **REGISTERED, **of,
    }  # fmt: skip


async def _alert(tx: Tx, word: str, now_ms: int) -> None:
    """Have an open incident with event and timeline, a delivery of it, a channel, a silence."""
    await tx.connection.execute(
        b"INSERT INTO alert_channels (channel, kind, body, enabled, changed_by, changed_ms)"
        b" VALUES (%s, 'webhook', %s, false, %s, %s)",
        (f"{word}-hook", msgspec.json.encode(HOOK), f"{word}-user", now_ms),
    )
    await tx.connection.execute(
        b"INSERT INTO deliveries (delivery, key, channel, incident, kind, media, state, made_ms,"
        b" asked_ms, subject, body)"
        b" VALUES (%s, %s, %s, %s, 'test', 'text/plain', 'dead', %s, 0, %s, '{}')",
        (f"{word}-dl", f"{word}-dl", f"{word}-hook", f"in-{word}", now_ms, f"{word} subject"),
    )
    await tx.run(
        "export_put", export=f"{word}-export", enabled=True, by=f"{word}-user", now_ms=now_ms,
        body=msgspec.json.encode({"export": f"{word}-export", "channel": f"{word}-hook"}),
    )  # fmt: skip
    await holding.hold(
        tx, f"{word}-dev", f"{word}-event", reason=f"{word} claim", by=f"{word}-user",
        now_ms=now_ms,
    )  # fmt: skip
    about = Subject(site=f"{word}-site", device=f"{word}-dev", camera=f"{word}-cam")
    incident = Incident(
        incident=f"in-{word}", key=f"dark|{word}", rule="dark", severity=Severity.CRITICAL,
        state=IncidentState.OPEN, title=f"{word} is dark", subject=about, opened_ms=now_ms,
        changed_ms=now_ms, known_ms=now_ms, silenced=f"si-{word}", version=1,
        members=[Member(subject=about, began_ms=now_ms, last_ms=now_ms, text=f"{word} text")],
    )  # fmt: skip
    line = History(incident=incident.incident, at_ms=now_ms, kind="opened", text=f"{word} line")
    await alerts.put(tx, [incident], {})
    await alerts.add_history(tx, [line])
    await tx.run(
        "incident_event_add", incident=incident.incident, device=about.device,
        event=f"{word}-event", at_ms=now_ms, late=False,
    )  # fmt: skip
    silence = Silence(
        silence=f"si-{word}", from_ms=now_ms, to_ms=now_ms + HOUR_MS, reason=f"{word} reason",
        where=Where(sites=[about.site]), made_by=f"{word}-user",
    )  # fmt: skip
    await tx.run(
        "alert_silence_put", silence=silence.silence, from_ms=silence.from_ms,
        to_ms=silence.to_ms, ended_ms=None, body=msgspec.json.encode(silence),
    )  # fmt: skip


async def _roll_out(tx: Tx, word: str, now_ms: int) -> None:
    """Have a rollout to the site, with its device."""
    plan = Plan(
        rollout=f"{word}-rollout", kind=ArtefactKind.APP, slot="app", artefact=ARTEFACT,
        sites=[f"{word}-site"],
    )  # fmt: skip
    await ordering.make(tx, plan, actor=f"{word}-user", note=f"{word} note", now_ms=now_ms)
    device, camera = f"{word}-dev", f"{word}-cam"
    await tx.connection.execute(
        b"INSERT INTO rollout_devices (rollout, device) VALUES (%s, %s)", (plan.rollout, device)
    )
    body = Disagreement(
        disagreement=f"{word}-dis", rollout=plan.rollout, slot="app", camera=camera, at_ms=now_ms,
        a=ARTEFACT.digest, b=ARTEFACT.digest, picture_px=(64, 48), crop_px=(0, 0, 64, 48),
    )  # fmt: skip
    await tx.connection.execute(
        b"INSERT INTO disagreements VALUES (%s, %s, %s, 'app', %s, %s, %s, %s, %s, %s, 1, 'x', %s,"
        b" %s)",
        (device, body.disagreement, plan.rollout, f"{word}-site", camera, body.a, body.b, now_ms,
         now_ms, codec.encode(body), JPEG + word.encode()),
    )  # fmt: skip


async def _tell(tx: Tx, word: str, now_ms: int) -> None:
    """Have the device's reports: health, a minute, an event, a commissioning."""
    site, device, camera = f"{word}-site", f"{word}-dev", f"{word}-cam"
    minute_ms = now_ms - now_ms % 60_000 - HOUR_MS
    health = HealthReport(
        at_ms=now_ms,
        period_s=30,
        version=f"9-{word}",
        system=SystemHealth(boot_id=f"{word}-boot", reboot_cause="watchdog"),
        pipeline=PipelineHealth(
            running=True, cameras=[CameraHealth(camera=camera, state=State.OK, since_ms=now_ms)]
        ),
        problems=[f"{word} problem"],
    )
    report = EventReport(
        event=f"{word}-event", camera=camera, kind=EventKind.PRESENCE, at_ms=now_ms,
        label=f"{word}-label", where=f"{word}-zone",
    )  # fmt: skip
    told = CommissionReport(camera=camera, at_ms=now_ms, by=f"{word} person")
    counted = Aggregate(
        camera=camera,
        start_ms=minute_ms,
        end_ms=minute_ms + 60_000,
        frames=Frames(captured=4711, analysed=4711),
    )
    effects = Effects(
        cameras={(device, camera): minute_ms},
        minutes={(device, camera, minute_ms): [counted]},
        events=[
            {"device": device, "event": report.event, "site": site, "camera": camera,
             "kind": "presence", "at_ms": now_ms, "received_ms": now_ms, "late": False,
             "dated": True, "label": report.label, "where_name": report.where, "evidence": "",
             "body": codec.encode(report)},
        ],
        commissions=[
            {"device": device, "camera": camera, "at_ms": now_ms, "received_ms": now_ms,
             "body": codec.encode(told)},
        ],
    )  # fmt: skip
    heard = {device: Heard(now_ms, f"{word}-boot", 1)}
    await writing.write(tx, effects, heard=heard, lanes={}, now_ms=now_ms)
    await tx.connection.execute(
        b"UPDATE devices SET health = %s, health_at_ms = %s WHERE device = %s",
        (codec.encode(health), now_ms, device),
    )


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[House]:
    """A central with one site and one kind of figure, over a fresh database."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    limits = Limits(requests_per_minute=1_000_000, refused_per_minute=1_000_000)
    services = build_services(CentralConfig(limits=limits), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    async with services.db.transaction() as tx:
        await accounts.put_user(tx, "root", "admin", None, services.now_ms())
        by = {"actor": "root", "now_ms": services.now_ms()}
        await kpi.put(tx, "till", title="Till", unit="", adds_up=True, **by)
    web: Any = build_web(services)
    async with AsyncTestClient(web, base_url="http://127.0.0.1:8080") as client:
        made = House(services, client)
        made.names["ours"] = await furnish(services, "ours")
        yield made
    await services.db.close()


OTHERS: Final = {
    "word": "secret", "site": "secret-site", "device": "secret-dev", "camera": "secret-cam",
    "folder": "secret-folder", "event": "secret-event", "group": "secret-group", "name": "till",
    "username": "secret-user", "view": "secret-where", "request_id": "rq-secret",
    "action": "revoke", "what": "delete", "rollout": "secret-rollout",
    "disagreement": "secret-dis", "order": "stop", "channel": "secret-hook",
    "delivery": "secret-dl", "export": "secret-export", "incident": "in-secret",
    "silence": "si-secret", **REGISTERED,
}  # fmt: skip


def _plain(text: str) -> str:
    """Return an answer without what differs from one request to the next."""
    text = re.sub(r"audit/[0-9]+", "audit/", text)  # numbered as the whole log is
    return re.sub(r"[\w=-]{40,}~[\w=-]{40,}", "token", text)  # written anew into each page


async def _walk(house: House, askers: dict[str, dict[str, str]]) -> dict[str, tuple[int, str]]:
    """Read every route as every asker, aimed at what is theirs and at what is not.

    In every way as who may most; others in the first.
    """
    found: dict[str, tuple[int, str]] = {}
    for who, headers in askers.items():
        for path, ways in READ.items():
            for way in ways if who == "admin" else ways[:1]:
                for names in (house.names["ours"], OTHERS):
                    there = way.format(**names)
                    if f"{who} {there}" in found:
                        continue
                    answer = await house.ask(headers, "GET", there)
                    assert answer.status_code != 500, (who, path, there, answer.text)
                    found[f"{who} {there}"] = answer.status_code, _plain(answer.text)
    return found


@pytest.mark.timeout(180)  # several hundred requests
async def test_nothing_that_is_read_depends_on_what_others_have(house: House) -> None:
    """Names, counts, coverage, people, figures of a second site change no answer at all."""
    askers = {
        "viewer": await house.token("vic", "viewer", sites=["ours-site"]),
        "admin": await house.token("ada", "admin", folders=["ours-folder"]),
    }
    before = await _walk(house, askers)
    assert sum(status == 200 for status, _ in before.values()) > 120
    await furnish(house.services, "secret")
    async with house.services.db.transaction() as tx:  # their own looks stand in timelines
        await tx.connection.execute(b"DELETE FROM audit_log WHERE actor IN ('vic', 'ada')")
    after = await _walk(house, askers)
    for key, answer in before.items():
        assert after[key] == answer, key


def _filled(what: Any, names: dict[str, str]) -> Any:
    """Return a body with every `{name}` in it."""
    if isinstance(what, dict):
        return {key: _filled(value, names) for key, value in what.items()}
    if isinstance(what, list):
        return [_filled(value, names) for value in what]
    return what.format(**names) if isinstance(what, str) else what


async def _attack(
    house: House, askers: list[dict[str, str]], names: dict[str, str]
) -> list[tuple[str, int, str]]:
    """Have every asker try every change at `names`; return what came of each."""
    found: list[tuple[str, int, str]] = []
    for headers in askers:
        for name, body in WRITE.items():
            if name in OWN_ONLY:
                continue
            method, path = name.split(" ")
            answer = await house.ask(headers, method, path.format(**names), _filled(body, names))
            said = answer.text + answer.headers.get("location", "")
            for random in ("claim", "token", "session"):
                said = said.replace(names[random], random)
            found.append((name, answer.status_code, _plain(said)))
    return found


async def test_nothing_of_others_is_changed_by_any_route(house: House) -> None:
    """Every change, aimed at what is another's, is refused alike before and after it is there.

    And no table has another row afterwards.
    """
    askers = [
        await house.token("ada", "admin", folders=["ours-folder"]),
        await house.token("olga", "operator", sites=["ours-site"]),
    ]
    nobodys = OTHERS | dict.fromkeys(("claim", "token", "session"), "0" * 16)
    before = await _attack(house, askers, nobodys)
    theirs = await furnish(house.services, "secret")
    assert {name: theirs[name] for name in OTHERS} == OTHERS
    still = await house.digest()
    after = await _attack(house, askers, theirs)
    for there, none in zip(after, before, strict=True):
        assert there == none
    now = await house.digest()
    assert {table for table, digest in now.items() if digest != still[table]} == set()


async def test_a_viewer_changes_nothing_at_all(house: House) -> None:
    """Every change but those of their own account is refused to a viewer of that very site."""
    vic = await house.token("vic", "viewer", sites=["ours-site"])
    ours = house.names["ours"]
    still = await house.digest()
    for name, body in WRITE.items():
        if name in OWN_ONLY or name.startswith(("POST /views", "DELETE /v1/views")):
            continue
        method, path = name.split(" ")
        answer = await house.ask(vic, method, path.format(**ours), _filled(body, ours))
        assert answer.status_code in {400, 403, 404}, (name, answer.status_code)
    after = await house.digest()
    assert {table for table, digest in after.items() if digest != still[table]} == set()


async def test_an_open_page_hears_nothing_of_a_site_that_was_taken_away(house: House) -> None:
    """The stream of somebody whose scope has changed ends; they listen anew by what they see."""
    headers = await house.token("vic", "viewer", sites=["ours-site", "other-site"])
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    app = house.client.app
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": pairs,
        "litestar_app": app,
    }
    request: Request[Any, Any, Any] = Request(scope)
    session = await access.find(request, house.services)
    assert session is not None
    assert await live.still_there(request, house.services, session)
    by = {"actor": "root", "now_ms": house.services.now_ms()}
    async with house.services.db.transaction() as tx:
        await scopes.set_scope(tx, "vic", sites=["ours-site"], **by)
    assert not await live.still_there(request, house.services, session)


async def test_one_reader_has_no_streams_without_end() -> None:
    """Beyond its share a stream ends at once; another person's, and one after a close, goes on."""
    bulletin, clock = Bulletin(), ManualClock()
    held = [live.news(bulletin, clock, ["fleet"], by="vic") for _ in range(live.MAX_STREAMS)]
    for stream in held:
        await anext(stream)
    one_more = [message async for message in live.news(bulletin, clock, ["fleet"], by="vic")]
    assert len(one_more) == 1
    assert bulletin.readers == live.MAX_STREAMS
    others = live.news(bulletin, clock, ["fleet"], by="ann")
    await anext(others)
    await held.pop().aclose()  # pyright: ignore[reportAttributeAccessIssue]
    again = live.news(bulletin, clock, ["fleet"], by="vic")
    await anext(again)
    assert bulletin.readers_of("vic") == live.MAX_STREAMS
    for stream in (*held, others, again):
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
