"""The device: cameras to events, aggregates and evidence, a durable spool, and central."""
