-- What is well again, though not for long enough to be over: who decides whom to tell asks for it.
CREATE INDEX alert_conditions_mending ON alert_conditions (rule, subject)
    WHERE well_ms IS NOT NULL AND raised_ms IS NOT NULL AND NOT gone;
