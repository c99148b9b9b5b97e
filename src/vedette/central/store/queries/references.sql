-- How cameras looked when a person said that it is right.

-- name: reference_newest
-- The picture that a camera is compared with by eye: pinned on the device, or kept here.
SELECT request, kind, asked_by, answered_ms, answer FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind IN ('reference', 'kept')
  AND answered_ms IS NOT NULL
ORDER BY answered_ms DESC, request DESC LIMIT 1

-- name: reference_facts
-- The same without the picture.
SELECT request, kind, asked_by, answered_ms FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind IN ('reference', 'kept')
  AND answered_ms IS NOT NULL
ORDER BY answered_ms DESC, request DESC LIMIT 1

-- name: reference_pending
-- Who asked the device for its pinned scene and has no answer yet.
SELECT asked_by FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind = 'reference' AND answered_ms IS NULL
  AND expires_ms > %(now_ms)s LIMIT 1

-- name: reference_keep
-- The newest picture of a camera, kept as how it shall look.
INSERT INTO requests (request, device, kind, camera, asked_by, asked_ms, expires_ms, answered_ms,
                      answer, content_type)
SELECT %(request)s, device, 'kept', camera, %(actor)s, %(now_ms)s, %(now_ms)s, %(now_ms)s, answer,
       content_type
FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind = 'thumbnail' AND answered_ms IS NOT NULL
ORDER BY asked_ms DESC LIMIT 1

-- name: references_trim
-- Older pictures of a camera that was kept or pinned anew.
DELETE FROM requests r
WHERE r.device = %(device)s AND r.kind IN ('reference', 'kept') AND r.answered_ms IS NOT NULL
  AND EXISTS (SELECT FROM requests n WHERE n.device = r.device AND n.camera = r.camera
              AND n.kind IN ('reference', 'kept') AND n.answered_ms IS NOT NULL
              AND (n.answered_ms, n.request) > (r.answered_ms, r.request))
