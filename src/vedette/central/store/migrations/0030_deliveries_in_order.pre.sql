-- What is due on a channel in the order in which it is sent: a long backlog costs a lease nothing.

CREATE INDEX deliveries_in_order ON deliveries (channel, priority, (tries > 0), due_ms, made_ms)
    WHERE due_ms IS NOT NULL;
