"""How sites and devices are, in parts that a person can act on: tiers, advice, estimates.

`tiers` judges one health report, `advice` says what is wrong and what to do, `drain` when a backlog
will be gone, `reading` fetches what they are told from.
"""
