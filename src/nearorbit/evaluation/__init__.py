"""How it is judged: what a learned field does, held against the truth by metrics.

Its modules, in the order of imports, which may import from the rooms study, dynamics and data; models and truth
come in files::

    judged steps resolved forecast metrics observed held_out unseen verdicts scores resampling statistics
    standings
"""
