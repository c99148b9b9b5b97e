"""Alerts: from what happened to the person who does something about it.

    events ──ingest──▶ alert_inbox ──rules──────▶ signals ──planner──▶ incidents
    health, coverage ───────────────conditions──▶ signals              incidents ──ladder──▶ notices
    notices ──channels──▶ people and programs

Where things are: `facts` the words · `rules` what is worth a signal · `conditions` health that is
not well, now · `planner` which incident a signal belongs to · `ladder`, `reaching`, `oncall` who is
told, when · `seeing` which event is the proof, in words · `people` who can be reached, who took
over · `simulate` a course in thought · `rota`, `doubts` what people see of ladders and schedules ·
`documents` rules, ladders and schedules as they were written, by version · `store`, `jobs` one turn
in one transaction · `channels/` carrying a notice to where people look.

The rules: deciding is pure (`plan(…) -> Decision`); a turn is one transaction that takes its inputs
and leaves its results, so a restart or a second worker strands nothing and doubles nothing; late
news is written down and wakes nobody.
"""
