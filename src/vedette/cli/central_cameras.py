"""`vedette central cameras`: what the fleet's cameras are, and which kinds of them fail. Thin."""

import click

from vedette.central import inventory, matrix, tree
from vedette.central.inventory import Item, Present
from vedette.central.matrix import MatrixRow, Rate
from vedette.central.rollups import DAY_MS
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import in_transaction, now_ms, show_json, show_table
from vedette.cli.central_places import must_name_sites
from vedette.clock import from_wall_ms


@click.command("cameras", short_help="Print what each camera is, or which kinds fail.")
@click.option("--select", "expression", default="*", help="Which: `folder:europe/** make:axis`.")
@click.option("--matrix", "as_matrix", is_flag=True, help="Failure rates by make and model.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 92), help="Matrix.")
@click.option("--history", "with_history", is_flag=True, help="Every change, not only the present.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def cameras_command(
    config: CentralConfig,
    expression: str,
    days: int,
    *,
    as_matrix: bool,
    with_history: bool,
    as_json: bool,
) -> None:
    """Print what each camera is, or how often each kind of camera fails."""
    if as_matrix:
        _show_matrix(in_transaction(config, lambda tx: _matrix(tx, expression, days)), as_json)
        return

    async def read(tx: Tx) -> list[Item]:
        places = await tree.select(tx, expression, "camera", None, past=with_history)
        if not places:
            await must_name_sites(tx, expression)
        chosen = {(p.device, p.camera) for p in places}
        if not with_history:
            return list(await inventory.present(tx, None, chosen=chosen))
        found = await inventory.history(tx, None)
        return [item for item in found if (item.device, item.camera) in chosen]

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    head = ["camera", "make", "model", "firmware", "codec", "size", "announced", "real", "since"]
    head += [] if with_history else ["state"]
    show_table(head, [_item_cells(item) for item in found], "no camera was spoken of yet")


def state_words(state: str, signs: list[str], detail: str) -> str:
    """Return a camera's state with its reason."""
    why = ", ".join([*signs, *([detail] if detail else [])])
    return f"{state}: {why}" if why else state


def _item_cells(item: Item) -> list[str]:
    is_now = isinstance(item, Present)
    state = [state_words(item.state, item.signs, item.detail)] if is_now else []
    size = f"{item.width_px}×{item.height_px}" if item.width_px else "–"
    return [
        f"{item.site}/{item.device}/{item.camera}",
        item.make or "–",
        item.model or "–",
        item.firmware or "–",
        item.codec or "–",
        size,
        f"{item.announced_fps:g}/s" if item.announced_fps else "–",
        f"{item.rate_fps:.1f}/s" if item.rate_fps is not None else "–",
        f"{from_wall_ms(item.since_ms):%Y-%m-%d %H:%M}",
        *state,
    ]


async def _matrix(tx: Tx, expression: str, days: int) -> list[MatrixRow]:
    at_ms = now_ms()
    places = await tree.select(tx, expression, "camera", None, past=True)
    if not places:
        await must_name_sites(tx, expression)
    chosen = {(p.device, p.camera) for p in places}
    return await matrix.read(
        tx, None, from_ms=at_ms - days * DAY_MS, to_ms=at_ms, now_ms=at_ms, chosen=chosen
    )


def _show_matrix(rows: list[MatrixRow], as_json: bool) -> None:
    if as_json:
        show_json(rows)
        return
    head = ["make model firmware", "cameras", "observed", "down", "tampered", "reconnects/day",
            "failures/day (95 %)", "MTBF (95 %)", "gaps"]  # fmt: skip
    show_table(head, [_matrix_cells(row) for row in rows], "no camera yet")


def _matrix_cells(row: MatrixRow) -> list[str]:
    name = " ".join(part for part in (row.make, row.model, row.firmware) if part)
    gaps = sorted(row.gap_share.items(), key=lambda pair: -pair[1])[:2]
    return [
        name or "(said nothing)",
        str(row.cameras),
        f"{row.observed_h:,.0f} h",
        str(row.down.events),
        str(row.tampered.events),
        f"{row.reconnects.per_day:.3f}" if row.reconnects.per_day is not None else "–",
        _rate(row.failures),
        _mtbf(row),
        ", ".join(f"{cause} {share:.2%}" for cause, share in gaps) or "none",
    ]


def _rate(rate: Rate) -> str:
    if rate.per_day is None:
        return "–"
    return f"{rate.per_day:.3f} ({rate.low:.3f}–{rate.high:.3f})"


def _mtbf(row: MatrixRow) -> str:
    if row.mtbf_h is None:
        return row.verdict
    return f"{row.mtbf_h:,.0f} h ({row.mtbf_low_h:,.0f}–{row.mtbf_high_h:,.0f})"
