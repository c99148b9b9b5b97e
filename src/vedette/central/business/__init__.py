"""What the fleet is for: objectives kept, figures of the business, people's word, cost.

    places    the nearest rule for a site: its own, its folder's, everybody's
    slo       how much of a month was observed, against what was promised
    kpi       figures that somebody else measures, beside what the cameras counted
    overrides how often people said that a model was wrong
    cost      what an inference costs

The rule here as everywhere: a value without coverage is null, and too little evidence is no pass.
"""
