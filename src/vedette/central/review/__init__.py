"""Review: what people make of pictures on which a candidate and the model in use differ.

`queue` shows the next one, blind, and takes judgements; `gate` says how many it takes and what they
come to (pure); `evidence` joins both for the rollout's gate.
"""
