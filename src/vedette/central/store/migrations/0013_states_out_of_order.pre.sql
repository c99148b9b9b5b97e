-- Where a camera's states are dated out of the device's order, which of them holds at a moment is
-- decided otherwise than before (coverage.from_states): what is kept of those is resolved anew.

INSERT INTO coverage_dirty (device, camera, from_ms, to_ms)
SELECT o.device, o.camera, o.from_ms, t.through_ms
FROM (
    SELECT device, camera, min(at_ms) AS from_ms FROM (
        SELECT device, camera, at_ms,
               lag(at_ms) OVER (PARTITION BY device, camera ORDER BY epoch, seq) AS before_ms
        FROM camera_states) s
    GROUP BY device, camera HAVING bool_or(at_ms < before_ms)) o
JOIN coverage_through t USING (device) WHERE o.from_ms < t.through_ms;
