"""What is shown: tables and figures of a study, from its files, and a page of all; and what it will cost, before that.

Its modules, in the order of imports, which may import from the rooms study, dynamics and evaluation, the page looks up
methods, and the estimate imports from all::

    captions marks room latex labels tables figures origins unfinished rulegraph records mathml documentation
    words effects references definitions card findings shown page pace timings tried pilot estimate
"""
