-- Shadow: what devices counted, pictures that differ, and what people made of them.

-- name: shadow_add
-- What a device counted of a candidate; of so many cameras and candidates as one device may bring.
INSERT INTO shadow_sums (rollout, device, camera, a, b, slot, site, first_ms, last_ms, frames,
                         differing, failed, shed, both_n, only_a, only_b)
SELECT %(rollout)s::text, %(device)s::text, %(camera)s::text, %(a)s::text, %(b)s::text,
       %(slot)s::text, %(site)s::text, %(start_ms)s::bigint, %(end_ms)s::bigint,
       %(frames)s::bigint, %(differing)s::bigint, %(failed)s::bigint, %(shed)s::bigint,
       %(both_n)s::bigint, %(only_a)s::bigint, %(only_b)s::bigint
WHERE (SELECT count(*) FROM shadow_sums WHERE device = %(device)s) < %(most)s
ON CONFLICT (rollout, device, camera, a, b) DO UPDATE
SET first_ms = least(shadow_sums.first_ms, excluded.first_ms),
    last_ms = greatest(shadow_sums.last_ms, excluded.last_ms),
    frames = shadow_sums.frames + excluded.frames,
    differing = shadow_sums.differing + excluded.differing,
    failed = shadow_sums.failed + excluded.failed,
    shed = shadow_sums.shed + excluded.shed,
    both_n = shadow_sums.both_n + excluded.both_n,
    only_a = shadow_sums.only_a + excluded.only_a,
    only_b = shadow_sums.only_b + excluded.only_b

-- name: disagreement_add
-- A picture on which both models differ; past what one device may bring in a day it is not kept.
INSERT INTO disagreements (device, disagreement, rollout, slot, site, camera, a, b, at_ms,
                           received_ms, weight, lot, body, picture)
SELECT %(device)s::text, %(disagreement)s::text, %(rollout)s::text, %(slot)s::text, %(site)s::text,
       %(camera)s::text, %(a)s::text, %(b)s::text, %(at_ms)s::bigint, %(received_ms)s::bigint,
       %(weight)s::double precision, md5(%(device)s || '/' || %(disagreement)s), %(body)s::bytea,
       %(picture)s::bytea
WHERE (SELECT count(*) FROM disagreements
       WHERE device = %(device)s AND received_ms > %(received_ms)s - 86400000) < %(most)s
ON CONFLICT (device, disagreement) DO NOTHING

-- name: review_rollouts
-- The rollouts with anything in shadow, of these sites (null: all), the newest first.
SELECT rollout, min(slot) AS slot, sum(frames)::bigint AS frames,
       sum(differing)::bigint AS differing, sum(failed)::bigint AS failed,
       sum(shed)::bigint AS shed, sum(both_n)::bigint AS both_n, sum(only_a)::bigint AS only_a,
       sum(only_b)::bigint AS only_b, count(DISTINCT device)::int AS devices,
       count(DISTINCT (device, camera))::int AS cameras, max(last_ms)::bigint AS last_ms
FROM shadow_sums
WHERE (%(sites)s::text[] IS NULL OR site = ANY (%(sites)s::text[]))
  AND (%(rollout)s::text = '' OR rollout = %(rollout)s)
GROUP BY rollout ORDER BY max(last_ms) DESC, rollout LIMIT 200

-- name: review_counts
-- How much of each rollout waits for this reviewer, and how much was judged by anybody.
SELECT d.rollout, count(*)::int AS sent,
       count(*) FILTER (WHERE j.judged > 0)::int AS reviewed,
       count(*) FILTER (WHERE NOT j.mine
           AND (j.judged = 0 OR (j.judged = 1 AND d.lot < %(twice)s)))::int AS waiting
FROM disagreements d
CROSS JOIN LATERAL (
    SELECT count(*) AS judged, coalesce(bool_or(reviewer = %(reviewer)s), false) AS mine
    FROM judgements WHERE device = d.device AND disagreement = d.disagreement
) j
WHERE (%(sites)s::text[] IS NULL OR d.site = ANY (%(sites)s::text[]))
  AND (%(rollout)s::text = '' OR d.rollout = %(rollout)s)
GROUP BY d.rollout

-- name: review_next
-- The next one for this reviewer: by chance, those whose picture came first; some are judged twice.
SELECT d.device, d.disagreement, d.rollout, d.slot, d.site, d.camera, d.at_ms, d.received_ms,
       d.body, d.picture IS NOT NULL AS has_picture
FROM disagreements d
CROSS JOIN LATERAL (
    SELECT count(*) AS judged, coalesce(bool_or(reviewer = %(reviewer)s), false) AS mine
    FROM judgements WHERE device = d.device AND disagreement = d.disagreement
) j
WHERE d.rollout = %(rollout)s AND (%(sites)s::text[] IS NULL OR d.site = ANY (%(sites)s::text[]))
  AND NOT j.mine AND (j.judged = 0 OR (j.judged = 1 AND d.lot < %(twice)s))
ORDER BY d.picture IS NULL, d.lot LIMIT 1

-- name: review_one
-- One of them, in these sites.
SELECT d.device, d.disagreement, d.rollout, d.slot, d.site, d.camera, d.at_ms, d.received_ms,
       d.body, d.picture IS NOT NULL AS has_picture
FROM disagreements d
WHERE d.device = %(device)s AND d.disagreement = %(disagreement)s
  AND (%(sites)s::text[] IS NULL OR d.site = ANY (%(sites)s::text[]))

-- name: review_picture
-- The picture, where it is here.
SELECT picture FROM disagreements
WHERE device = %(device)s AND disagreement = %(disagreement)s AND picture IS NOT NULL

-- name: review_look
-- A look at a picture; nothing where the same person looked a moment ago.
INSERT INTO disagreement_looks (actor, device, disagreement, at_ms)
VALUES (%(actor)s, %(device)s, %(disagreement)s, %(now_ms)s)
ON CONFLICT (actor, device, disagreement) DO UPDATE SET at_ms = excluded.at_ms
WHERE disagreement_looks.at_ms < excluded.at_ms - %(same_ms)s
   OR disagreement_looks.at_ms > excluded.at_ms
RETURNING true

-- name: judgement_put
-- What somebody thinks of one; a second thought replaces the first.
INSERT INTO judgements (device, disagreement, reviewer, at_ms, verdict)
VALUES (%(device)s, %(disagreement)s, %(reviewer)s, %(now_ms)s, %(verdict)s)
ON CONFLICT (device, disagreement, reviewer) DO UPDATE
SET at_ms = excluded.at_ms, verdict = excluded.verdict

-- name: judgement_last
-- What this reviewer judged last in a rollout, not long ago.
SELECT d.device, d.disagreement FROM judgements j JOIN disagreements d USING (device, disagreement)
WHERE j.reviewer = %(reviewer)s AND d.rollout = %(rollout)s AND j.at_ms >= %(since_ms)s
  AND (%(sites)s::text[] IS NULL OR d.site = ANY (%(sites)s::text[]))
ORDER BY j.at_ms DESC LIMIT 1

-- name: judgement_drop
-- What somebody thought of one is taken back.
DELETE FROM judgements
WHERE device = %(device)s AND disagreement = %(disagreement)s AND reviewer = %(reviewer)s

-- name: judgements_of
-- All judgements of a rollout, each thing by its first, in the order in which they were made.
SELECT d.device, d.disagreement, d.weight, j.reviewer, j.verdict, j.at_ms
FROM disagreements d JOIN judgements j USING (device, disagreement)
WHERE d.rollout = %(rollout)s ORDER BY j.at_ms, d.device, d.disagreement, j.reviewer LIMIT 20000

-- name: review_pictures_expire
-- Pictures whose time is over; what was judged of them stays.
UPDATE disagreements SET picture = NULL WHERE picture IS NOT NULL AND received_ms < %(before_ms)s

-- name: disagreements_expire
-- All of it, long after.
DELETE FROM disagreements WHERE received_ms < %(before_ms)s

-- name: shadow_expire
-- What devices counted, long after.
DELETE FROM shadow_sums WHERE last_ms < %(before_ms)s

-- name: disagreement_looks_expire
-- Looks that are no longer a moment ago.
DELETE FROM disagreement_looks WHERE at_ms < %(before_ms)s
